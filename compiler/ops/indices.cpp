#include "compiler/ops/indices.h"

#include <algorithm>

#include "compiler/ops/records.h"

namespace kroton::ops {

void require_indices(const TypeContext& context, int k) {
  if (!is_integer(context.input(k).dtype)) {
    context.fail_type("indices must be integers");
  }
}

Position gathered_position(const ReferenceContext& c, const Position& position,
                           const std::vector<std::int64_t>& thin_shape, std::string_view op) {
  const int axis = c.attributes.axes[0];
  const ReferenceValue& indices = *c.inputs[1];
  const auto first = position.begin() + axis;
  const auto last = first + static_cast<std::ptrdiff_t>(indices.shape.size());
  Position result(position.begin(), first);
  const auto offset = static_cast<std::size_t>(offset_of(indices.shape, Position(first, last)));
  result.push_back(
      checked_index(indices.data[offset], thin_shape[static_cast<std::size_t>(axis)], axis, op));
  result.insert(result.end(), last, position.end());
  return result;
}

TensorType scatter_type(TypeContext& context, const Dims& thin, Accepts accepts) {
  const TensorType& values = context.input(0);
  const TensorType& indices = context.input(1);
  require_indices(context, 1);
  if (accepts == Accepts::numbers && values.dtype == DType::boolean) {
    context.fail_type("takes numbers only");
  }
  const Dims expected = replace_axis(thin, context.attributes().axes[0], indices.shape);
  if (expected.size() != values.shape.size()) {
    context.fail_shape("values must be " + to_string(expected));
  }
  for (std::size_t axis = 0; axis < expected.size(); ++axis) {
    context.equal(expected[axis], values.shape[axis], "values must be " + to_string(expected));
  }
  return {values.dtype, thin};
}

namespace {

Tensor checked_along(const Tensor& indices, const Dim& size, int axis, std::string_view op,
                     bool from_end) {
  Attributes attributes;
  attributes.dims = {size};
  attributes.axes = {axis};
  attributes.integers = {from_end ? 1 : 0};
  attributes.name = op;
  return apply(checked_index_op, {indices}, std::move(attributes));
}

}  // namespace

Tensor checked_indices(const Tensor& indices, const Dim& size, int axis, std::string_view op) {
  return checked_along(indices, size, axis, op, true);
}

Tensor checked_positions(const Tensor& positions, const Dim& size, int axis, std::string_view op) {
  return checked_along(positions, size, axis, op, false);
}

Tensor merged_indices(const Tensor& indices, const Dim& size, int axis, std::string_view op) {
  const Tensor checked = checked_indices(indices, size, axis, op);
  return checked + iota(checked.shape(), 0) * size_of_dim(size);
}

Tensor indices_first(const Tensor& values, int axis, int index_axes) {
  std::vector<int> axes = axes_from(0, values.rank());
  std::rotate(axes.begin() + 1, axes.begin() + 1 + axis, axes.begin() + 1 + axis + index_axes);
  return transpose(values, axes);
}

}  // namespace kroton::ops
