// Gathers, scatters, and tensors made of indices.
#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using ops::as_index;
using ops::gathered;
using ops::gathered_position;
using ops::merged_indices;
using ops::require_indices;
using ops::slice_of;

// ---- take and scatter_add

TensorType take_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  require_indices(context, 1);
  return {x.dtype,
          ops::replace_axis(x.shape, context.attributes().axes[0], context.input(1).shape)};
}

loop::Expr take_at(PointContext& context, const Index& index) {
  return context.input(0, gathered(context, index, context.input_type(0).shape));
}

void take_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    const ops::Position source = gathered_position(c, position, x.shape, "take");
    c.output.data[next++] = x.data[static_cast<std::size_t>(ops::offset_of(x.shape, source))];
  });
}

void scatter_write(WriteContext& context) {
  context.nest(context.type().shape, [&](const Index& index) {
    context.store(index, loop::whole_number(0, context.type().dtype));
  });
  context.nest(context.input_type(0).shape, [&](const Index& index) {
    const Index target = gathered(context, index, context.type().shape);
    context.store(target, context.stored(target) + context.input(0, index));
  });
}

void scatter_reference(ReferenceContext& c) {
  const ReferenceValue& values = *c.inputs[0];
  std::vector<ops::CompensatedSum> sums(c.output.data.size());
  std::size_t next = 0;
  ops::for_each_position(values.shape, [&](const ops::Position& position) {
    const ops::Position target = gathered_position(c, position, c.output.shape, "scatter_add");
    sums[static_cast<std::size_t>(ops::offset_of(c.output.shape, target))].add(values.data[next++]);
  });
  for (std::size_t i = 0; i < sums.size(); ++i) c.output.data[i] = sums[i].value();
}

Tensor take_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                  const Attributes& attributes, const Dim& count) {
  const Tensor& x = operands[0];
  const Tensor& indices = operands[1];
  const int axis = attributes.axes[0];
  if (!mapped[1]) {
    return take(x, indices, axis + 1);
  }
  if (!mapped[0]) {
    return ops::move_axis(take(x, indices, axis), axis, 0);
  }
  const Tensor slices = ops::move_axis(x, axis + 1, 1);
  const Dim& size = slices.shape(1);
  Dims merged(slices.shape().begin() + 1, slices.shape().end());
  merged[0] = count * size;
  const Tensor y = take(reshape(slices, merged), merged_indices(indices, size, axis, "take"));
  // (count, i..., axes before, axes behind) -> (count, axes before, i..., axes behind)
  const int index_axes = indices.rank() - 1;
  std::vector<int> axes = ops::axes_from(0, y.rank());
  std::rotate(axes.begin() + 1, axes.begin() + 1 + index_axes,
              axes.begin() + 1 + index_axes + axis);
  return transpose(y, axes);
}

Tensor scatter_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                     const Attributes& attributes, const Dim& count) {
  const Tensor& indices = operands[1];
  const int axis = attributes.axes[0];
  if (!mapped[1]) {
    return scatter_add(operands[0], indices, ops::with_rows(count, attributes.dims), axis + 1);
  }
  const Tensor values =
      ops::indices_first(ops::with_rows(operands, mapped, count)[0], axis, indices.rank() - 1);
  const Dim& size = attributes.dims[at(axis)];
  Dims split = ops::replace_axis(attributes.dims, axis, {});
  split.insert(split.begin(), {count, size});
  Dims merged(split.begin() + 1, split.end());
  merged[0] = count * size;
  const Tensor y = scatter_add(values, merged_indices(indices, size, axis, "scatter_add"), merged);
  return ops::move_axis(reshape(y, split), 1, axis + 1);
}

std::vector<Sample> take_samples() {
  std::vector<Sample> samples;
  const auto rows = [&](const ops::HostShape& x, const ReferenceValue& indices, int axis) {
    for (DType dtype : ops::dtypes_of(ops::any_dtype)) {
      samples.push_back({{ops::spread(dtype, x, -2, 2), indices},
                         [axis](std::span<const Tensor> in) { return take(in[0], in[1], axis); },
                         is_float(dtype)});
    }
  };
  rows({3}, ops::values(DType::i64, {}, {2}), 0);
  rows({17, 3}, ops::values(DType::i64, {4}, {16, 0, 3, 0}), 0);
  rows({17, 3}, ops::values(DType::i32, {2, 2}, {-1, 5, -17, 5}), 0);
  rows({3, 17}, ops::values(DType::i64, {3}, {1, -2, 1}), -1);
  rows({2, 3, 5}, ops::values(DType::i64, {1}, {2}), 1);
  rows({1, 5}, ops::values(DType::i64, {0}, {}), 0);
  return samples;
}

std::vector<Sample> scatter_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& values, const ReferenceValue& indices,
                       const Dims& shape, int axis) {
    for (DType dtype : ops::dtypes_of(ops::number)) {
      samples.push_back({{ops::spread(dtype, values, -2, 2), indices},
                         [shape, axis](std::span<const Tensor> in) {
                           return scatter_add(in[0], in[1], shape, axis);
                         },
                         is_float(dtype)});
    }
  };
  add({}, ops::values(DType::i64, {}, {1}), {3}, 0);
  add({4, 3}, ops::values(DType::i64, {4}, {16, 0, 3, 0}), {17, 3}, 0);
  add({2, 2, 3}, ops::values(DType::i32, {2, 2}, {-1, 5, -17, 5}), {17, 3}, 0);
  add({3, 3}, ops::values(DType::i64, {3}, {1, -2, 1}), {3, 17}, 1);
  add({0, 5}, ops::values(DType::i64, {0}, {}), {1, 5}, 0);
  return samples;
}

// ---- pick

TensorType pick_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  const TensorType& labels = context.input(1);
  require_indices(context, 1);
  if (x.rank() != 2 || labels.rank() != 1) {
    context.fail_shape("takes a matrix and a vector of labels");
  }
  return {x.dtype, {context.equal(x.shape[0], labels.shape[0], "sizes differ on axis 0")}};
}

std::vector<Sample> pick_samples() {
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::number)) {
    for (const auto& [rows, classes] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 3}, {1, 1}, {3, 17}, {17, 3}}) {
      ReferenceValue labels = ops::spread(DType::i32, {rows}, 0, static_cast<double>(classes - 1));
      if (rows > 1) {
        labels.data[1] = -1;
      }
      samples.push_back({{ops::spread(dtype, {rows, classes}, -2, 2), labels},
                         [](std::span<const Tensor> in) { return pick(in[0], in[1]); },
                         is_float(dtype)});
    }
  }
  return samples;
}

// ---- one_hot

TensorType one_hot_type(TypeContext& context) {
  require_indices(context, 0);
  TensorType type{context.attributes().dtype, context.input(0).shape};
  type.shape.push_back(context.attributes().dims[0]);
  return type;
}

loop::Expr one_hot_at(PointContext& context, const Index& index) {
  const int axis = static_cast<int>(index.size()) - 1;
  const loop::Expr label = as_index(context.input(0, slice_of(index, 0, axis)));
  const loop::Expr checked = context.check_index(label, context.attributes().dims[0], axis);
  return loop::cast(loop::binary(loop::Op::eq, checked, index[at(axis)]), context.type().dtype);
}

void one_hot_reference(ReferenceContext& c) {
  const std::int64_t classes = c.output.shape.back();
  const int axis = static_cast<int>(c.output.shape.size()) - 1;
  if (classes == 0) return;  // no element, so that no label is looked at
  for (std::size_t i = 0; i < c.inputs[0]->data.size(); ++i) {
    const std::int64_t label = ops::checked_index(c.inputs[0]->data[i], classes, axis, "one_hot");
    c.output.data[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(label)] = 1;
  }
}

std::vector<Sample> one_hot_samples() {
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const ops::HostShape& shape : {ops::HostShape{}, {0}, {1}, {17}, {3, 5}}) {
      samples.push_back({{ops::spread(DType::i64, shape, -5, 4)},
                         [dtype](std::span<const Tensor> x) { return one_hot(x[0], 5, dtype); },
                         false});
    }
  }
  return samples;
}

// ---- iota and size: no operands

std::vector<Sample> iota_samples() {
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::number)) {
    const auto along = [&](const Dims& shape, int axis) {
      samples.push_back(
          {{}, [=](std::span<const Tensor>) { return iota(shape, axis, dtype); }, false});
    };
    along({0}, 0);
    along({1}, 0);
    along({17}, 0);
    along({3, 17}, 0);
    along({3, 17}, -1);
  }
  return samples;
}

// The size of a free axis, seen through a tensor that has it.
std::vector<Sample> size_samples() {
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::number)) {
    samples.push_back(
        {{}, [dtype](std::span<const Tensor>) { return size_of_dim(17, dtype); }, false});
    samples.push_back({{ops::spread(dtype, {3, 5}, -2, 2)},
                       [dtype](std::span<const Tensor> x) {
                         return x[0] * size_of_dim(element_count(x[0].shape()), dtype);
                       },
                       is_float(dtype)});
  }
  return samples;
}

// ---- draws

// The shape of some indices: of an operand's axes, of the program's sizes, or none.
Dims draw_index_shape(ops::Draw& d) {
  Dims shape;
  for (int k = d.below(3); k > 0; --k) shape.push_back(d.size());
  return shape;
}

void draw_take(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  const int axis = d.below(d[x].rank());
  const Dim size = d[x].shape()[at(axis)];
  // Indices as many as there are elements: what is gathered has the shape of what it comes from.
  const Dims shape = d.one_in(3) ? Dims{size} : draw_index_shape(d);
  if (axis == 0 && d.one_in(3)) {
    ops::Cut cut{.kind = ops::Cut::Kind::tensor};
    cut.slot = d.indices(shape, size);
    d.call(ops::index_call(x, {cut}));
    return;
  }
  d.call("take", take, x, d.indices(shape, size), axis);
}

void draw_scatter(ops::Draw& d) {
  const ops::Slot values = d.operand(ops::number, 1, 3);
  Dims shape = d[values].shape();
  const int axis = d.below(static_cast<int>(shape.size()));
  const Dims count = {shape[at(axis)]};
  const Dim size = d.one_in(2) ? shape[at(axis)] : d.size();
  shape[at(axis)] = size;
  const ops::Slot indices = d.indices(count, size);
  d.call("scatter_add", scatter_add, values, indices, std::move(shape), axis);
}

void draw_pick(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 2, 2);
  const Dims shape = d[x].shape();
  d.call("pick", pick, x, d.indices({shape[0]}, shape[1]));
}

void draw_one_hot(ops::Draw& d) {
  const std::vector<DType> dtypes = ops::dtypes_of(ops::any_dtype);
  const Dim classes = d.size();
  const ops::Slot labels = d.indices(draw_index_shape(d), classes);
  d.call("one_hot", one_hot, labels, classes, dtypes[d.below(std::size(dtypes))]);
}

DType draw_number(ops::Draw& d) {
  const std::vector<DType> dtypes = ops::dtypes_of(ops::number);
  return dtypes[d.below(std::size(dtypes))];
}

void draw_iota(ops::Draw& d) {
  if (d.one_in(2)) {
    d.call("arange", arange, d.size(), draw_number(d));
    return;
  }
  Dims shape = {d.size()};
  if (d.one_in(2)) shape.push_back(d.size());
  const int axis = d.below(static_cast<int>(shape.size()));
  d.call("iota", iota, std::move(shape), axis, draw_number(d));
}

void draw_size(ops::Draw& d) {
  d.call("size_of_dim", size_of_dim, d.one_in(2) ? d.size() : d.size() * d.size(), draw_number(d));
}

}  // namespace

// y = slices of x at integer indices along attributes.axes[0], any dtype.
// vjp: dx = scatter_add(dy, indices)
constinit const OpRecord take_op = {
    .name = "take",
    .arity = 2,
    .observable = true,
    .keeps_stored = true,
    .infer = take_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Tensor& x = y.node().inputs[0];
      return {scatter_add(g, y.node().inputs[1], x.shape(), y.node().attributes.axes[0]), Tensor()};
    },
    .at = take_at,
    .reference = take_reference,
    .batch = take_batch,
    .draw = draw_take,
    .samples = take_samples};

// y = zeros of shape attributes.dims with values added at integer indices along attributes.axes[0],
// in row-major order of values; numbers.   vjp: dvalues = take(dy, indices)
constinit const OpRecord scatter_add_op = {
    .name = "scatter_add",
    .kind = OpKind::write,
    .arity = 2,
    .adds = true,
    .observable = true,
    .infer =
        [](TypeContext& context) {
          return ops::scatter_type(context, context.attributes().dims, ops::Accepts::numbers);
        },
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {take(g, y.node().inputs[1], y.node().attributes.axes[0]), Tensor()};
    },
    .write = scatter_write,
    .reference = scatter_reference,
    .batch = scatter_batch,
    .draw = draw_scatter,
    .samples = scatter_samples};

// y = integers x as indices from 0 on into an axis of attributes.dims[0] elements, i64: negative
// ones are counted from the end, or are errors too if attributes.integers[0] is 0.
// attributes.axes[0] and name: the axis and the op that errors name.
constinit const OpRecord checked_index_op = {
    .name = "checked_index",
    .observable = true,
    .infer = [](TypeContext& context) -> TensorType {
      require_indices(context, 0);
      return {DType::i64, context.input(0).shape};
    },
    .at =
        [](PointContext& context, const Index& index) {
          const Attributes& attributes = context.attributes();
          const loop::Expr x = as_index(context.input(0, index));
          if (attributes.integers[0] == 0) {
            return context.check_position(x, attributes.dims[0], attributes.axes[0]);
          }
          return context.check_index(x, attributes.dims[0], attributes.axes[0]);
        },
    .reference =
        [](ReferenceContext& c) {
          const std::int64_t size = c.size(c.attributes.dims[0]);
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            const Number& x = c.inputs[0]->data[i];
            const bool below = c.attributes.integers[0] == 0 && x < 0;
            c.output.data[i] = ops::checked_index(below ? x - size : x, size, c.attributes.axes[0],
                                                  c.attributes.name);
          }
        },
    .batch = ops::batch_elementwise<checked_index_op>,
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const DType dtype : {DType::i32, DType::i64}) {
            for (const ops::HostShape& shape : {ops::HostShape{}, {0}, {1}, {17}, {3, 5}}) {
              samples.push_back({{ops::spread(dtype, shape, -5, 4)},
                                 [](std::span<const Tensor> x) {
                                   return ops::checked_indices(x[0], 5, 1, "take");
                                 },
                                 false});
              samples.push_back({{ops::spread(dtype, shape, 0, 4)},
                                 [](std::span<const Tensor> x) {
                                   return ops::checked_positions(x[0], 5, 0, "bincount");
                                 },
                                 false});
            }
          }
          return samples;
        }};

// y[i] = x[i, labels[i]], any dtype; labels: integers.   vjp: dx = dy[:, None] * one_hot(labels)
constinit const OpRecord pick_op = {
    .name = "pick",
    .arity = 2,
    .observable = true,
    .keeps_stored = true,
    .infer = pick_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Tensor& x = y.node().inputs[0];
      return {expand_dims(g, 1) * one_hot(y.node().inputs[1], x.shape(1), x.dtype()), Tensor()};
    },
    .jvp = [](const Tensor& y, std::span<const Tensor> tangents) -> Tensor {
      return pick(tangents[0], y.node().inputs[1]);
    },
    .at =
        [](PointContext& context, const Index& index) {
          const loop::Expr label = as_index(context.input(1, index));
          return context.input(
              0, {index[0], context.check_index(label, context.input_type(0).shape[1], 1)});
        },
    .reference =
        [](ReferenceContext& c) {
          const std::int64_t classes = c.inputs[0]->shape[1];
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            const std::int64_t label = ops::checked_index(c.inputs[1]->data[i], classes, 1, "pick");
            c.output.data[i] =
                c.inputs[0]
                    ->data[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(label)];
          }
        },
    .batch = ops::batch_rows<pick_op>,
    .draw = draw_pick,
    .samples = pick_samples};

// y[..., c] = 1 where c is the label, else 0, as attributes.dtype; labels: integers; the number of
// classes is attributes.dims[0].   Not differentiable.
constinit const OpRecord one_hot_op = {.name = "one_hot",
                                       .observable = true,
                                       .keeps_stored = true,
                                       .infer = one_hot_type,
                                       .at = one_hot_at,
                                       .reference = one_hot_reference,
                                       .batch = ops::batch_elementwise<one_hot_op>,
                                       .draw = draw_one_hot,
                                       .samples = one_hot_samples};

// y = the index along attributes.axes[0], shape attributes.dims, attributes.dtype (a number).
// No operands.
constinit const OpRecord iota_op = {
    .name = "iota",
    .arity = 0,
    .keeps_stored = true,
    .infer = [](TypeContext& context) -> TensorType {
      if (context.attributes().dtype == DType::boolean) {
        context.fail_type("gives numbers only");
      }
      return {context.attributes().dtype, context.attributes().dims};
    },
    .at =
        [](PointContext& context, const Index& index) {
          return loop::cast(index[at(context.attributes().axes[0])], context.type().dtype);
        },
    .reference =
        [](ReferenceContext& c) {
          std::size_t next = 0;
          ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
            c.output.data[next++] = position[at(c.attributes.axes[0])];
          });
        },
    .draw = draw_iota,
    .samples = iota_samples};

// y = the value of the size attributes.dims[0], a scalar of attributes.dtype. No operands.
constinit const OpRecord size_op = {
    .name = "size",
    .arity = 0,
    .keeps_stored = true,
    .infer = [](TypeContext& context) -> TensorType { return {context.attributes().dtype, {}}; },
    .at =
        [](PointContext& context, const Index&) {
          return loop::cast(loop::size(context.attributes().dims[0]), context.type().dtype);
        },
    .reference = [](ReferenceContext& c) { c.output.data[0] = c.size(c.attributes.dims[0]); },
    .draw = draw_size,
    .samples = size_samples};

Tensor take(const Operand& x, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, tensor.rank(), "take")};
  return ops::apply(take_op, {tensor, indices.tensor()}, std::move(attributes));
}

Tensor scatter_add(const Operand& values, const Operand& indices, const Dims& shape, int axis) {
  const LineScope scope(values.line());
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, static_cast<int>(shape.size()), "scatter_add")};
  attributes.dims = shape;
  return ops::apply(scatter_add_op, {values.tensor(), indices.tensor()}, std::move(attributes));
}

Tensor pick(const Operand& x, const Operand& labels) {
  const LineScope scope(x.line());
  return ops::apply(pick_op, {x.tensor(), labels.tensor()});
}

Tensor one_hot(const Operand& labels, const Dim& classes, DType dtype) {
  const LineScope scope(labels.line());
  Attributes attributes;
  attributes.dims = {classes};
  attributes.dtype = dtype;
  return ops::apply(one_hot_op, {labels.tensor()}, std::move(attributes));
}

Tensor iota(const Dims& shape, int axis, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, static_cast<int>(shape.size()), "iota")};
  attributes.dims = shape;
  attributes.dtype = dtype;
  return ops::apply(iota_op, {}, std::move(attributes));
}

Tensor arange(const Dim& size, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return iota({size}, 0, dtype);
}

Tensor size_of_dim(const Dim& size, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Attributes attributes;
  attributes.dims = {size};
  attributes.dtype = dtype;
  return ops::apply(size_op, {}, std::move(attributes));
}

Tensor full(const Dims& shape, const Operand& value) {
  const LineScope scope(value.line());
  return broadcast_to(value, shape);
}

Tensor zeros(const Dims& shape, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return full(shape, Operand(0).tensor(dtype));
}

Tensor ones(const Dims& shape, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return full(shape, Operand(1).tensor(dtype));
}

Tensor full_like(const Operand& x, const Operand& value) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return full(tensor.shape(), cast(value.tensor(tensor.dtype()), tensor.dtype()));
}

Tensor zeros_like(const Operand& x) {
  const LineScope scope(x.line());
  return full_like(x, 0);
}

Tensor ones_like(const Operand& x) {
  const LineScope scope(x.line());
  return full_like(x, 1);
}

}  // namespace kroton
