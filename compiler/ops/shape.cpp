// Views: the elements of one operand at other indices.
#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// ---- broadcast

TensorType broadcast_type(TypeContext& context) {
  const Dims& shape = context.input(0).shape;
  const std::vector<int>& axes = context.attributes().axes;
  TensorType type{context.input(0).dtype, context.attributes().dims};
  bool increasing = axes.size() == shape.size();
  for (std::size_t i = 0; increasing && i < axes.size(); ++i) {
    increasing = axes[i] < type.rank() && axes[i] > (i == 0 ? -1 : axes[i - 1]);
  }
  if (!increasing) {
    context.fail_shape("cannot be repeated to " + to_string(type.shape));
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    Dim& size = type.shape[at(axes[i])];
    if (!shape[i].is_constant(1)) {
      size = context.equal(size, shape[i], "cannot be repeated to " + to_string(type.shape));
    }
  }
  return type;
}

loop::Expr broadcast_at(PointContext& context, const Index& index) {
  const Dims& shape = context.input_type(0).shape;
  Index source;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const int axis = context.attributes().axes[i];
    source.push_back(shape[i].is_constant(1) ? loop::integer(0) : index[at(axis)]);
  }
  return context.input(0, source);
}

Tensors broadcast_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& x = y.node().inputs[0];
  const std::vector<int>& axes = y.node().attributes.axes;
  std::vector<int> repeated = ops::other_axes(y.rank(), axes);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (x.shape()[i].is_constant(1) && !y.shape(axes[i]).is_constant(1)) {
      repeated.push_back(axes[i]);
    }
  }
  return {reshape(repeated.empty() ? g : sum(g, Axes(repeated)), x.shape())};
}

void broadcast_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    ops::Position source(x.shape.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
      source[i] = x.shape[i] == 1 ? 0 : position[at(c.attributes.axes[i])];
    }
    c.output.data[static_cast<std::size_t>(ops::offset_of(c.output.shape, position))] =
        x.data[static_cast<std::size_t>(ops::offset_of(x.shape, source))];
  });
}

Tensor broadcast_batch(std::span<const Tensor> operands, const std::vector<bool>&,
                       const Attributes& attributes, const Dim& count) {
  std::vector<int> axes = ops::axes_behind_rows(attributes.axes);
  axes.insert(axes.begin(), 0);
  return ops::broadcast_axes(operands[0], ops::with_rows(count, attributes.dims), std::move(axes));
}

std::vector<Sample> broadcast_samples() {
  std::vector<Sample> samples;
  const auto to = [&](const ops::HostShape& shape, const Dims& target) {
    ops::add_samples(samples, {shape},
                     [target](std::span<const Tensor> x) { return broadcast_to(x[0], target); });
  };
  to({}, {17});
  to({}, {3, 1});
  to({1}, {3});
  to({3}, {17, 3});
  to({3, 1}, {3, 5});
  to({3, 1, 5}, {2, 3, 17, 5});
  to({1, 3}, {0, 3});
  to({0}, {3, 0});
  return samples;
}

// ---- reshape

TensorType reshape_type(TypeContext& context) {
  const Dims& shape = context.attributes().dims;
  context.equal(element_count(context.input(0).shape), element_count(shape),
                "the element count is not that of " + to_string(shape));
  return {context.input(0).dtype, shape};
}

Dim product(const Dims& dims, std::size_t first, std::size_t last) {
  return element_count(Dims(dims.begin() + static_cast<std::ptrdiff_t>(first),
                            dims.begin() + static_cast<std::ptrdiff_t>(last)));
}

// The index in `to` of the element at `index` in `from`; both are row-major. Axes fall into blocks
// with the same element count on both sides, so that an axis that stays keeps its own index, merged
// axes give an affine index, and only split axes cost divisions.
Index reindex(const Dims& from, const Dims& to, const Index& index) {
  Index result(to.size(), loop::integer(0));
  std::size_t from_done = 0, to_done = 0;
  while (from_done < from.size() || to_done < to.size()) {
    // The shortest block; when no two products have the same form, all that is left is one.
    std::size_t from_end = from.size(), to_end = to.size();
    const std::size_t left = from.size() - from_done + to.size() - to_done;
    bool found = false;
    for (std::size_t count = 2; count < left && !found; ++count) {
      for (std::size_t i = 1; i < count && !found; ++i) {
        const std::size_t j = count - i;
        if (from_done + i <= from.size() && to_done + j <= to.size() &&
            product(from, from_done, from_done + i) == product(to, to_done, to_done + j)) {
          from_end = from_done + i;
          to_end = to_done + j;
          found = true;
        }
      }
    }
    loop::Expr linear = loop::integer(0);
    for (std::size_t i = from_done; i < from_end; ++i) {
      if (!from[i].is_constant(1)) {
        linear = linear * loop::size(from[i]) + index[i];
      }
    }
    std::size_t first = to_done;  // the outermost axis with more than one index takes what is left
    while (first + 1 < to_end && to[first].is_constant(1)) {
      ++first;
    }
    for (std::size_t j = to_end; j-- > first;) {
      if (j == first) {
        result[j] = linear;
      } else if (!to[j].is_constant(1)) {
        result[j] = loop::binary(loop::Op::mod, linear, loop::size(to[j]));
        linear = loop::binary(loop::Op::div, linear, loop::size(to[j]));
      }
    }
    from_done = from_end;
    to_done = to_end;
  }
  return result;
}

Tensor reshape_batch(std::span<const Tensor> operands, const std::vector<bool>&,
                     const Attributes& attributes, const Dim& count) {
  return reshape(operands[0], ops::with_rows(count, attributes.dims));
}

std::vector<Sample> reshape_samples() {
  std::vector<Sample> samples;
  const auto to = [&](const ops::HostShape& shape, const Dims& target) {
    ops::add_samples(samples, {shape},
                     [target](std::span<const Tensor> x) { return reshape(x[0], target); });
  };
  to({}, {1, 1});
  to({1}, {});
  to({0}, {3, 0});
  to({17}, {17, 1});
  to({3, 17}, {-1});
  to({3, 4}, {4, 3});
  to({6, 5}, {2, 3, 1, 5});
  to({2, 3, 5}, {2, 15});
  to({4, 1, 3, 6}, {2, 2, 18});
  to({2, 6, 5}, {3, 4, -1});
  return samples;
}

// ---- transpose

TensorType transpose_type(TypeContext& context) {
  TensorType type = context.input(0);
  std::vector<int> sorted = context.attributes().axes;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != ops::axes_from(0, type.rank())) {
    context.fail_shape("the axes are not a permutation of the axes of x");
  }
  for (int i = 0; i < type.rank(); ++i) {
    type.shape[at(i)] = context.input(0).shape[at(context.attributes().axes[at(i)])];
  }
  return type;
}

std::vector<int> inverse(const std::vector<int>& permutation) {
  std::vector<int> result(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i) {
    result[at(permutation[i])] = static_cast<int>(i);
  }
  return result;
}

void transpose_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    ops::Position source(position.size());
    for (std::size_t i = 0; i < position.size(); ++i) {
      source[at(c.attributes.axes[i])] = position[i];
    }
    c.output.data[next++] = x.data[static_cast<std::size_t>(ops::offset_of(x.shape, source))];
  });
}

Tensor transpose_batch(std::span<const Tensor> operands, const std::vector<bool>&,
                       const Attributes& attributes, const Dim&) {
  std::vector<int> axes = ops::axes_behind_rows(attributes.axes);
  axes.insert(axes.begin(), 0);
  return transpose(operands[0], axes);
}

std::vector<Sample> transpose_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{}, {3}, {3, 17}, {0, 3}, {1, 17}, {2, 3, 5}},
                   [](std::span<const Tensor> x) { return transpose(x[0]); });
  ops::add_samples(samples, {{2, 3, 5}, {17, 1, 3}},
                   [](std::span<const Tensor> x) { return transpose(x[0], {2, 0, 1}); });
  ops::add_samples(samples, {{2, 3, 1, 5}},
                   [](std::span<const Tensor> x) { return swapaxes(x[0], -1, 1); });
  return samples;
}

// ---- slice

// A slice of one element comes from an integer index, which a free size may not hold; the bounds
// of other slices are clamped when they are built.
TensorType slice_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  const Attributes& attributes = context.attributes();
  const int rank = x.rank();
  if (attributes.dims.size() != 2 * at(rank) || attributes.integers.size() != at(rank)) {
    context.fail_shape("the number of bounds is not the rank of x");
  }
  TensorType type{x.dtype, Dims(attributes.dims.begin() + rank, attributes.dims.end())};
  for (int axis = 0; axis < rank; ++axis) {
    const Dim& size = x.shape[at(axis)];
    const Dim& start = attributes.dims[at(axis)];
    const Dim from_end = size - start;
    const bool is_index =
        type.shape[at(axis)].is_constant(1) && ops::ScanScope::current() == nullptr;
    if (is_index && (start.is_constant() || from_end.is_constant())) {
      const Dim needed = start.is_constant() ? start + 1 : from_end;
      const Dim index = start.is_constant() ? start : 0 - from_end;
      if (provably_at_least(size, needed)) continue;
      context.require_equal(maximum(needed - size, 0), 0,
                            "index: index " + index.to_string() + " is out of range for " +
                                ops::axis_in_words(context.tensor(0), axis),
                            {size});
    } else {
      ops::check_range(context, 0, axis, start, attributes.integers[at(axis)],
                       type.shape[at(axis)]);
    }
  }
  return type;
}

loop::Expr slice_at(PointContext& context, const Index& index) {
  const Attributes& attributes = context.attributes();
  Index source;
  for (std::size_t axis = 0; axis < index.size(); ++axis) {
    source.push_back(loop::size(attributes.dims[axis]) +
                     index[axis] * loop::integer(attributes.integers[axis]));
  }
  return context.input(0, source);
}

Tensors slice_vjp(const Tensor& y, const Tensor& g) {
  Attributes attributes = y.node().attributes;
  const Tensor& x = y.node().inputs[0];
  std::copy(x.shape().begin(), x.shape().end(), attributes.dims.begin() + x.rank());
  return {ops::apply(unslice_op, {g}, std::move(attributes))};
}

void slice_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    ops::Position source(position.size());
    for (std::size_t axis = 0; axis < position.size(); ++axis) {
      source[axis] = c.size(c.attributes.dims[axis]) + position[axis] * c.attributes.integers[axis];
    }
    c.output.data[next++] = x.data[static_cast<std::size_t>(ops::offset_of(x.shape, source))];
  });
}

Tensor slice_batch(std::span<const Tensor> operands, const std::vector<bool>&,
                   const Attributes& attributes, const Dim& count) {
  return ops::apply(slice_op, {operands[0]}, ops::bounds_behind_rows(attributes, count));
}

std::vector<Sample> slice_samples() {
  std::vector<Sample> samples;
  const auto cut = [&](const ops::HostShape& shape, const Dims& starts, const Dims& sizes,
                       const std::vector<std::int64_t>& steps) {
    ops::add_samples(samples, {shape}, [=](std::span<const Tensor> x) {
      return ops::strided_slice(x[0], starts, sizes, steps);
    });
  };
  cut({17}, {3}, {5}, {1});
  cut({17}, {16}, {17}, {-1});
  cut({17}, {1}, {6}, {3});
  cut({3}, {2}, {1}, {1});
  cut({3}, {0}, {0}, {1});
  cut({0}, {0}, {0}, {1});
  cut({3, 17}, {1, 14}, {2, 4}, {1, -4});
  cut({2, 3, 5}, {0, 2, 1}, {2, 1, 2}, {1, 1, 2});
  return samples;
}

void draw_broadcast(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 0, 3);
  Dims shape = d[x].shape();
  for (Dim& size : shape) {
    if (size.is_constant(1) && !d.one_in(4)) size = d.size();
  }
  for (int k = d.below(shape.size() < 3 ? 3 : 2); k > 0; --k) shape.insert(shape.begin(), d.size());
  d.call("broadcast_to", broadcast_to, x, std::move(shape));
}

void draw_reshape(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, d.one_in(6) ? 0 : 1);
  Dims shape = d[x].shape();
  switch (d.below(6)) {
    case 0:
      d.call("expand_dims", expand_dims, x, d.below(static_cast<int>(shape.size()) + 1));
      return;
    case 1:
      d.call("squeeze", squeeze, x, std::monostate());
      return;
    case 2: {  // an axis in two, where its size is known
      for (std::size_t axis = 0; axis < shape.size() && shape.size() < 5; ++axis) {
        for (const int factor : {2, 3, 11}) {
          if (!shape[axis].is_constant() || shape[axis].constant() % factor != 0) continue;
          shape[axis] = shape[axis].constant() / factor;
          shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), factor);
          d.call("reshape", static_cast<Tensor (*)(const Operand&, const Dims&)>(reshape), x,
                 std::move(shape));
          return;
        }
      }
      break;
    }
    case 3:  // two axes in one
      if (shape.size() > 1) {
        const auto axis = at(d.below(static_cast<int>(shape.size()) - 1));
        shape[axis] = shape[axis] * shape[axis + 1];
        shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
      }
      break;
    case 4:  // the same elements in other rows
      std::reverse(shape.begin(), shape.end());
      break;
    default:
      shape = {element_count(shape)};
  }
  d.call("reshape", static_cast<Tensor (*)(const Operand&, const Dims&)>(reshape), x,
         std::move(shape));
}

void draw_transpose(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, d.one_in(8) ? 1 : 2);
  const int rank = d[x].rank();
  if (d.one_in(3)) {
    d.call("swapaxes", swapaxes, x, d.axis(x), d.axis(x));
    return;
  }
  std::vector<int> axes = ops::axes_from(0, rank);
  if (d.one_in(3)) {
    for (int i = rank; i > 1; --i) std::swap(axes[at(i - 1)], axes[at(d.below(i))]);
  } else {
    std::reverse(axes.begin(), axes.end());
  }
  d.call("transpose", transpose, x, std::move(axes));
}

// A bound of a slice: open, from either end, past the end, or computed of the size.
std::optional<Dim> draw_bound(ops::Draw& d, const Dim& size) {
  switch (d.below(8)) {
    case 0:
      return Dim(d.below(4));
    case 1:
      return Dim(-1 - d.below(3));
    case 2:
      return Dim(d.below(40) - 20);
    case 3:
      return size.is_constant() ? Dim(size.constant() - 1) : size - 1;
    case 4:
      return floor_div(size, 2);
    default:
      return std::nullopt;
  }
}

void draw_slice(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1);
  const int rank = d[x].rank();
  const int count = 1 + d.below(rank);
  std::vector<ops::Cut> cuts(at(count));
  for (int axis = 0; axis < count; ++axis) {
    const Dim size = d[x].shape()[at(axis)];
    ops::Cut& cut = cuts[at(axis)];
    if (axis + 1 < count && d.one_in(2)) continue;
    if (d.value(size) > 0 && d.one_in(4)) {
      cut.kind = ops::Cut::Kind::position;
      const auto limit = static_cast<int>(d.value(size));
      cut.position = d.below(2 * limit) - limit;
      continue;
    }
    constexpr int steps[] = {1, 1, 1, -1, -1, 2, -2, 3};
    cut.kind = ops::Cut::Kind::part;
    cut.step = steps[d.below(std::size(steps))];
    cut.start = draw_bound(d, size);
    cut.stop = draw_bound(d, size);
  }
  d.call(ops::index_call(x, std::move(cuts)));
}

}  // namespace

// y = x repeated to attributes.dims; axis i of x is axis attributes.axes[i] of y (increasing), and
// a size known to be 1 repeats; any dtype.   vjp: dx = dy summed over what was repeated
constinit const OpRecord broadcast_op = {.name = "broadcast",
                                         .cost = 0,
                                         .is_view = true,
                                         .linear = Linear::jointly,
                                         .infer = broadcast_type,
                                         .vjp = broadcast_vjp,
                                         .at = broadcast_at,
                                         .reference = broadcast_reference,
                                         .batch = broadcast_batch,
                                         .draw = draw_broadcast,
                                         .samples = broadcast_samples};

// y = the elements of x, in row-major order, under shape attributes.dims; any dtype.
// vjp: dx = dy under the shape of x
constinit const OpRecord reshape_op = {
    .name = "reshape",
    .cost = 0,
    .is_view = true,
    .regroups = true,
    .linear = Linear::jointly,
    .infer = reshape_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {reshape(g, y.node().inputs[0].shape())};
    },
    .at =
        [](PointContext& context, const Index& index) {
          return context.input(0,
                               reindex(context.type().shape, context.input_type(0).shape, index));
        },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = reshape_batch,
    .draw = draw_reshape,
    .samples = reshape_samples};

// y = x with axis i of y being axis attributes.axes[i] of x; any dtype.
// vjp: dx = dy transposed by the inverse permutation
constinit const OpRecord transpose_op = {.name = "transpose",
                                         .cost = 0,
                                         .is_view = true,
                                         .linear = Linear::jointly,
                                         .infer = transpose_type,
                                         .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
                                           return {transpose(g, inverse(y.node().attributes.axes))};
                                         },
                                         .at =
                                             [](PointContext& context, const Index& index) {
                                               Index source(index.size());
                                               for (std::size_t i = 0; i < index.size(); ++i) {
                                                 source[at(context.attributes().axes[i])] =
                                                     index[i];
                                               }
                                               return context.input(0, source);
                                             },
                                         .reference = transpose_reference,
                                         .batch = transpose_batch,
                                         .draw = draw_transpose,
                                         .samples = transpose_samples};

// y[i] = x[start + i * step] per axis; any dtype. attributes.dims: the starts, then the sizes of y;
// attributes.integers: the steps, not 0.   vjp: dx = unslice(dy)
constinit const OpRecord slice_op = {.name = "slice",
                                     .cost = 0,
                                     .is_view = true,
                                     .linear = Linear::jointly,
                                     .infer = slice_type,
                                     .vjp = slice_vjp,
                                     .at = slice_at,
                                     .reference = slice_reference,
                                     .batch = slice_batch,
                                     .draw = draw_slice,
                                     .samples = slice_samples};

Tensor broadcast_to(const Operand& x, const Dims& shape) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const int offset = static_cast<int>(shape.size()) - tensor.rank();
  return ops::broadcast_axes(tensor, shape, ops::axes_from(offset, tensor.rank()));
}

Tensor reshape(const Operand& x, const Dims& shape) {
  const LineScope scope(x.line());
  Tensor tensor = x.tensor();
  Dims target = shape;
  const auto unknown = std::find(target.begin(), target.end(), Dim(-1));
  if (unknown != target.end()) {
    *unknown = 1;
    if (std::find(target.begin(), target.end(), Dim(-1)) != target.end()) {
      ops::fail_value("reshape", "more than one size is -1 in " + to_string(shape));
    }
    const Dim rest = element_count(target);
    if (rest.is_constant(0)) {
      ops::fail_value("reshape", "-1 cannot be worked out in " + to_string(shape));
    }
    *unknown = floor_div(element_count(tensor.shape()), rest);
  }
  for (const Dim& size : target) {
    if (size.is_constant() && size.constant() < 0) {
      ops::fail_value("reshape", "a size is negative in " + to_string(shape));
    }
  }
  if (target == tensor.shape()) {
    return tensor;
  }
  Attributes attributes;
  attributes.dims = std::move(target);
  return ops::apply(reshape_op, {tensor}, std::move(attributes));
}

Tensor flatten(const Operand& x) {
  const LineScope scope(x.line());
  return reshape(x, {-1});
}

Tensor flatten(const Operand& x, int start_axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const int start = ops::resolve_axis(start_axis, tensor.rank(), "flatten");
  Dims target(tensor.shape().begin(), tensor.shape().begin() + start);
  target.push_back(product(tensor.shape(), at(start), at(tensor.rank())));
  return reshape(tensor, target);
}

Tensor transpose(const Operand& x, const std::vector<int>& axes) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  Attributes attributes;
  for (int axis : axes) {
    attributes.axes.push_back(ops::resolve_axis(axis, tensor.rank(), "transpose"));
  }
  const std::vector<int> identity = ops::axes_from(0, tensor.rank());
  if (axes.empty()) {
    attributes.axes.assign(identity.rbegin(), identity.rend());
  }
  return attributes.axes == identity ? tensor
                                     : ops::apply(transpose_op, {tensor}, std::move(attributes));
}

Tensor swapaxes(const Operand& x, int axis1, int axis2) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  std::vector<int> axes = ops::axes_from(0, tensor.rank());
  std::swap(axes[at(ops::resolve_axis(axis1, tensor.rank(), "swapaxes"))],
            axes[at(ops::resolve_axis(axis2, tensor.rank(), "swapaxes"))]);
  return transpose(tensor, axes);
}

Tensor expand_dims(const Operand& x, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  Dims shape = tensor.shape();
  shape.insert(shape.begin() + ops::resolve_axis(axis, tensor.rank() + 1, "expand_dims"), Dim(1));
  return reshape(tensor, shape);
}

Tensor squeeze(const Operand& x, const Axes& axes) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const std::vector<int> named = axes.resolve(tensor.rank(), "squeeze");
  Dims shape;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    const bool is_one = tensor.shape(axis).is_constant(1);
    const bool is_named = std::find(named.begin(), named.end(), axis) != named.end();
    if (is_named && !is_one && !axes.is_all()) {
      ops::fail_shape(OpRecord{.name = "squeeze"}, {tensor},
                      "the size of axis " + std::to_string(axis) + " is not known to be 1");
    }
    if (!is_named || !is_one) {
      shape.push_back(tensor.shape(axis));
    }
  }
  return reshape(tensor, shape);
}

}  // namespace kroton
