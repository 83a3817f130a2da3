// Gathers and scatters with indices of each line's own, and positions in flattened arrays.
#include <kroton/indexing.h>

#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// Whether the axes but one have equal sizes; the result has the indices' shape.
TensorType along_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  const TensorType& indices = context.input(1);
  ops::require_indices(context, 1);
  if (x.rank() != indices.rank()) context.fail_shape("the indices must have the rank of x");
  TensorType result{x.dtype, indices.shape};
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (axis == context.attributes().axes[0]) continue;
    result.shape[at(axis)] = context.equal(x.shape[at(axis)], indices.shape[at(axis)],
                                           ops::sizes_differ(axis, x.rank()));
  }
  return result;
}

// The positions in the flattened array of that shape of what the indices, which are in range, name.
Tensor flat_positions(const Tensor& indices, const Dims& shape, int axis) {
  Tensor result;
  for (int k = 0; k < indices.rank(); ++k) {
    const Tensor index = k == axis ? cast(indices, DType::i64) : iota(indices.shape(), k);
    result = k == 0 ? index : result * size_of_dim(shape[at(k)]) + index;
  }
  return flatten(result);
}

Tensors along_vjp(const Tensor& y, const Tensor& g) {
  const Node& node = y.node();
  const Dims& shape = node.inputs[0].shape();
  const Tensor positions = flat_positions(node.inputs[1], shape, node.attributes.axes[0]);
  const Tensor sums = scatter_add(flatten(g), positions, {element_count(shape)});
  return {reshape(sums, shape), Tensor()};
}

loop::Expr along_at(PointContext& context, const Index& index) {
  Index source = index;
  source[at(context.attributes().axes[0])] = ops::as_index(context.input(1, index));
  return context.input(0, source);
}

void along_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  const int axis = c.attributes.axes[0];
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    ops::Position source = position;
    source[at(axis)] =
        ops::checked_index(c.inputs[1]->data[next], x.shape[at(axis)], axis, "take_along_axis");
    c.output.data[next++] = x.data[static_cast<std::size_t>(ops::offset_of(x.shape, source))];
  });
}

std::vector<Sample> along_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& x, const ops::HostShape& indices, int axis) {
    const auto size =
        static_cast<double>(x[at(axis < 0 ? axis + static_cast<int>(x.size()) : axis)]);
    for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
      samples.push_back(
          {{ops::spread(dtype, x, -2, 2), ops::spread(DType::i64, indices, -size, size - 1)},
           [=](std::span<const Tensor> in) { return take_along_axis(in[0], in[1], axis); },
           is_float(dtype)});
    }
  };
  add({3}, {5}, 0);
  add({1}, {0}, 0);
  add({3, 17}, {3, 4}, 1);
  add({17, 3}, {4, 3}, 0);
  add({2, 3, 5}, {2, 1, 5}, -2);
  add({3, 17}, {1, 4}, 1);
  add({1, 17}, {3, 4}, 1);
  return samples;
}

void draw_along(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  const int axis = d.below(d[x].rank());
  Dims shape = d[x].shape();
  const Dim size = shape[at(axis)];
  if (d.one_in(2)) shape[at(axis)] = d.size();
  d.call("take_along_axis", take_along_axis, x, d.indices(shape, size), axis);
}

// x and the tensors with their other axes broadcast to each other's.
struct PickedLines {
  Tensor x, indices;
  int axis = 0;
};

PickedLines picked_lines(const char* op, const Operand& x, const Operand& indices, int axis) {
  PickedLines result{x.tensor(), indices.tensor(), 0};
  const OpRecord record{.name = op};
  const Tensors both{result.x, result.indices};
  if (!is_integer(result.indices.dtype())) ops::fail_type(record, both, "indices must be integers");
  result.axis = ops::resolve_axis(axis, result.x.rank(), op);
  if (result.x.rank() != result.indices.rank()) {
    ops::fail_shape(record, both, "the indices must have the rank of x");
  }
  Dims of_x = result.x.shape(), of_indices = result.indices.shape();
  const Dim size = of_x[at(result.axis)], count = of_indices[at(result.axis)];
  of_x[at(result.axis)] = of_indices[at(result.axis)] = 1;
  Dims common = ops::common_shape(record, both, {of_x, of_indices});
  common[at(result.axis)] = size;
  result.x = ops::broadcast_towards(result.x, common);
  common[at(result.axis)] = count;
  result.indices =
      ops::checked_indices(ops::broadcast_towards(result.indices, common), size, result.axis, op);
  return result;
}

// x with values brought to the flat positions that the indices name.
Tensor brought_along(const char* op, const Operand& x, const Operand& indices,
                     const Operand& values, int axis,
                     Tensor (*bring)(const Operand&, const Operand&, const Operand&, int)) {
  const PickedLines lines = picked_lines(op, x, indices, axis);
  const Tensor value = values.tensor(lines.x.dtype());
  if (value.dtype() != lines.x.dtype()) {
    ops::fail_type(OpRecord{.name = op}, {lines.x, value}, "x and the values must have one dtype");
  }
  const Tensor each = broadcast_to(value, lines.indices.shape());
  const Dims& shape = lines.x.shape();
  const Tensor positions = flat_positions(lines.indices, shape, lines.axis);
  return reshape(bring(flatten(lines.x), flatten(each), positions, 0), shape);
}

}  // namespace

// y = the elements of x at indices, which are in range, along attributes.axes[0]; any dtype.
// vjp: dx = dy added at the indices
constinit const OpRecord take_along_axis_op = {.name = "take_along_axis",
                                               .arity = 2,
                                               .keeps_stored = true,
                                               .infer = along_type,
                                               .vjp = along_vjp,
                                               .at = along_at,
                                               .reference = along_reference,
                                               .batch = ops::batch_along_axes<take_along_axis_op>,
                                               .draw = draw_along,
                                               .samples = along_samples};

Tensor ops::take_along(const Tensor& x, const Tensor& positions, int axis) {
  Attributes attributes;
  attributes.axes = {axis};
  return apply(take_along_axis_op, {x, positions}, std::move(attributes));
}

Tensor take_along_axis(const Operand& x, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  const PickedLines lines = picked_lines("take_along_axis", x, indices, axis);
  return ops::take_along(lines.x, lines.indices, lines.axis);
}

Tensor put_along_axis(const Operand& x, const Operand& indices, const Operand& values, int axis) {
  const LineScope scope(x.line());
  return brought_along("put_along_axis", x, indices, values, axis, set_at);
}

Tensor add_along_axis(const Operand& x, const Operand& indices, const Operand& values, int axis) {
  const LineScope scope(x.line());
  return brought_along("add_along_axis", x, indices, values, axis, add_at);
}

Tensors unravel_index(const Operand& indices, const Dims& shape) {
  const LineScope scope(indices.line());
  const Tensor given = indices.tensor();
  if (!is_integer(given.dtype())) {
    ops::fail_type(OpRecord{.name = "unravel_index"}, {given}, "indices must be integers");
  }
  Tensor rest = ops::checked_positions(given, element_count(shape), 0, "unravel_index");
  Tensors result(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const Tensor size = size_of_dim(shape[axis]);
    result[axis] = axis == 0 ? rest : rest % size;
    if (axis > 0) rest = floor_div(rest, size);
  }
  return result;
}

Tensor ravel_multi_index(const Tensors& indices, const Dims& shape,
                         const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  const OpRecord op{.name = "ravel_multi_index"};
  if (indices.size() != shape.size() || indices.empty()) {
    ops::fail_value("ravel_multi_index", "there are " + std::to_string(indices.size()) +
                                             " tensors of indices for a shape of " +
                                             std::to_string(shape.size()) + " axes");
  }
  const Tensors all = ops::broadcast(op, indices);
  Tensor result;
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (!is_integer(all[k].dtype())) ops::fail_type(op, {all[k]}, "indices must be integers");
    const Tensor index =
        ops::checked_positions(all[k], shape[k], static_cast<int>(k), "ravel_multi_index");
    result = k == 0 ? index : result * size_of_dim(shape[k]) + index;
  }
  return result;
}

namespace {

std::pair<Array, Array> triangle_indices(const char* op, std::int64_t n, std::int64_t k,
                                         std::optional<std::int64_t> m, bool lower) {
  const std::int64_t columns = m.value_or(n);
  if (n < 0 || columns < 0) {
    ops::fail_value(op, "a size is negative: " + std::to_string(std::min(n, columns)));
  }
  std::vector<std::int64_t> rows_found, columns_found;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t diagonal = std::clamp<std::int64_t>(i + k, -1, columns);
    const std::int64_t first = lower ? 0 : std::max<std::int64_t>(diagonal, 0);
    const std::int64_t last = lower ? std::min(diagonal + 1, columns) : columns;
    for (std::int64_t j = first; j < last; ++j) {
      rows_found.push_back(i);
      columns_found.push_back(j);
    }
  }
  return {Array::from(rows_found), Array::from(columns_found)};
}

}  // namespace

std::pair<Array, Array> tril_indices(std::int64_t n, std::int64_t k,
                                     std::optional<std::int64_t> m) {
  return triangle_indices("tril_indices", n, k, m, true);
}

std::pair<Array, Array> triu_indices(std::int64_t n, std::int64_t k,
                                     std::optional<std::int64_t> m) {
  return triangle_indices("triu_indices", n, k, m, false);
}

}  // namespace kroton
