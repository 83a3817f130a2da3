// What gathers, scatters and updates at indices share. All walk over pairs of elements: a `thin`
// tensor has one position on an axis, attributes.axes[0], where a `wide` one has the indices' axes.
// The indices are operand 1.
#pragma once
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"

namespace kroton::ops {

inline Index slice_of(const Index& index, int first, int count) {
  return Index(index.begin() + first, index.begin() + first + count);
}

inline loop::Expr as_index(const loop::Expr& e) { return loop::cast(e, DType::i64); }

void require_indices(const TypeContext& context, int k);

// The index in the thin tensor of an element of the wide one: `checked` makes a position on that
// axis of the number that the indices hold.
template <class Context>
Index gathered(Context& context, const Index& index,
               const std::function<loop::Expr(const loop::Expr&, int axis)>& checked) {
  const int axis = context.attributes().axes[0];
  const int count = context.input_type(1).rank();
  Index result(index.begin(), index.begin() + axis);
  result.push_back(checked(as_index(context.input(1, slice_of(index, axis, count))), axis));
  result.insert(result.end(), index.begin() + axis + count, index.end());
  return result;
}

template <class Context>
Index gathered(Context& context, const Index& index, const Dims& thin_shape) {
  return gathered(context, index, [&](const loop::Expr& e, int axis) {
    return context.check_index(e, thin_shape[static_cast<std::size_t>(axis)], axis);
  });
}

// The same of a reference.
Position gathered_position(const ReferenceContext& c, const Position& position,
                           const std::vector<std::int64_t>& thin_shape, std::string_view op);

// The type of what operand 0, values at indices, is brought into: of that shape.
TensorType scatter_type(TypeContext& context, const Dims& thin, Accepts accepts);

// The indices into an axis of x as integers from 0 on, checked when they are evaluated; `op` is
// whose error it is.
Tensor checked_indices(const Tensor& indices, const Dim& size, int axis, std::string_view op);
// The same where negative ones are not counted from the end, but an error.
Tensor checked_positions(const Tensor& positions, const Dim& size, int axis, std::string_view op);

// take_along_axis at positions that are in range.
Tensor take_along(const Tensor& x, const Tensor& positions, int axis);

// Indices (count, i...) into an axis of `size` of each row's own, as indices into count * size
// rows.
Tensor merged_indices(const Tensor& indices, const Dim& size, int axis, std::string_view op);
// Values (count, axes before, i..., axes behind) with the indices' axes behind the rows.
Tensor indices_first(const Tensor& values, int axis, int index_axes);

}  // namespace kroton::ops
