// What the records and the user's functions share: building nodes, type rules, promotion and
// broadcasting.
#pragma once
#include <kroton/ops.h>

#include "compiler/ir/op.h"

namespace kroton::ops {

// make_node at the line in scope. Every user function opens a LineScope for its operand's line.
Tensor apply(const OpRecord& op, std::vector<Tensor> inputs, Attributes attributes = {});

// ---- Type rules

// TypeError unless every input's dtype is accepted.
void require(const TypeContext& context, Accepts accepts);
// All inputs have one dtype (TypeError) and one shape (ShapeError); that type.
TensorType equal_types(TypeContext& context);
// What the attributes dtype and dims say.
inline TensorType stated_type(TypeContext& context) {
  return {context.attributes().dtype, context.attributes().dims};
}
// All inputs have one shape; that shape.
Dims equal_shapes(TypeContext& context);

// Inputs of one accepted type; the result has it too.
template <Accepts accepts>
TensorType same_type(TypeContext& context) {
  require(context, accepts);
  return equal_types(context);
}

// "sizes differ", and on which axis if there are several.
std::string sizes_differ(int axis, int rank);

// The positions first, first + step, ... (count of them, perhaps none) lie on that axis of operand
// k: checked at the call where that is not known.
void check_range(TypeContext& context, int k, int axis, const Dim& first, std::int64_t step,
                 const Dim& count);
// What messages call an axis: "axis 0 of x, whose size is %0"; the rows of a loop's results are its
// steps.
std::string axis_in_words(const Tensor& x, int axis);

// While one lives, check_range speaks of that loop's steps, which read rows of sequences.
class ScanScope {
 public:
  ScanScope(std::string loop, const Dim& count) : name(std::move(loop)), steps(count) {
    current() = this;
  }
  ~ScanScope() { current() = previous_; }
  ScanScope(const ScanScope&) = delete;
  ScanScope& operator=(const ScanScope&) = delete;
  static const ScanScope*& current();
  const std::string name;
  const Dim steps;

 private:
  const ScanScope* previous_ = current();
};

// ---- Errors of arguments that are not tensors

// ValueError "op: what  [file:line]".
[[noreturn]] void fail_value(std::string_view op, const std::string& what);
// ShapeError or TypeError with the operands' types, as a type rule gives it.
[[noreturn]] void fail_shape(const OpRecord& op, const std::vector<Tensor>& operands,
                             const std::string& what);
[[noreturn]] void fail_type(const OpRecord& op, const std::vector<Tensor>& operands,
                            const std::string& what);
// `axis` counted from the start; ValueError if it is not in [-rank, rank).
int resolve_axis(int axis, int rank, std::string_view op);

// x, if size >= least; otherwise ShapeError, of free sizes at the call: "op: what", in which %0 is
// the size and %1 the least one, with the user's operands where they are at hand, and the line.
Tensor size_check(const Tensor& x, const char* op, const std::vector<Tensor>& operands,
                  const Dim& size, const Dim& least, const std::string& what);

// ---- Promotion and broadcasting

// Both operands in their common dtype; literals take the dtype of the tensor they meet.
std::vector<Tensor> promoted(const Operand& x, const Operand& y);
std::vector<Tensor> promoted(std::vector<Tensor> tensors);
// The shape that `shapes` broadcast to; ShapeError naming `op` and its operands if there is none.
Dims common_shape(const OpRecord& op, const std::vector<Tensor>& operands,
                  const std::vector<Dims>& shapes);
// x repeated towards `shape`, aligned at the last axes: only sizes that are missing or 1. Other
// sizes stay, and the type rule of the op that follows decides whether they may meet.
Tensor broadcast_towards(const Tensor& x, const Dims& shape);
// Every tensor at the common shape; ShapeError naming `op` if there is none.
std::vector<Tensor> broadcast(const OpRecord& op, std::vector<Tensor> tensors);
// Booleans and integers as i64, unsigned ones as u64, in which they are added and multiplied.
Tensor widened(const Operand& x);
// f(x); of a dtype that is only stored, f of x in the dtype that it is computed in, rounded once.
// For compositions that would lose digits, or overflow, between their ops.
template <class F>
Tensor computed(const Tensor& x, const F& f) {
  if (!is_only_stored(x.dtype())) return f(x);
  return cast(f(Tensor(cast(x, info_of(x.dtype()).computed_in))), x.dtype());
}
// The node of a unary op, and of a binary op on promoted and broadcast operands.
Tensor apply_unary(const OpRecord& op, const Operand& x);
Tensor apply_binary(const OpRecord& op, const Operand& x, const Operand& y);

// ---- Shapes

// x repeated to `shape`, where axis i of x is axis axes[i] of the result.
Tensor broadcast_axes(const Tensor& x, const Dims& shape, std::vector<int> axes);
// A reduced tensor (axes removed) back at `shape`: repeated along `axes`.
Tensor unreduce(const Tensor& reduced, const Dims& shape, const std::vector<int>& axes);
// The axes of a tensor of that rank that are not in `axes`.
std::vector<int> other_axes(int rank, const std::vector<int>& axes);
// `shape` with size 1 at `axes`.
Dims with_ones(Dims shape, const std::vector<int>& axes);
// `shape` with axis `axis` replaced by `sizes`.
Dims replace_axis(const Dims& shape, int axis, const Dims& sizes);
// first, first + 1, ... (count numbers).
std::vector<int> axes_from(int first, int count);
// A reduced tensor with its reduced axes back, at size 1.
Tensor keep_axes(const Tensor& reduced, const Dims& shape, const std::vector<int>& axes);
// slice: element i of the result is element starts + i * steps of x, per axis.
Tensor strided_slice(const Tensor& x, const Dims& starts, const Dims& sizes,
                     std::vector<std::int64_t> steps);
// unslice: element i of x is element starts + i * steps of the result, which has `shape` and zeros
// elsewhere.
Tensor unslice(const Tensor& x, const Dims& starts, const Dims& shape,
               std::vector<std::int64_t> steps);

// ---- Derivatives

// The product of the other elements along `axes`, for each element.
Tensor prod_others(const Tensor& x, const std::vector<int>& axes);

// ---- Batch rules: operands of which some carry an extra first axis, the axis of the rows

// (count,) + shape.
Dims with_rows(const Dim& count, const Dims& shape);
// Every operand with the axis of the rows: those that are not mapped are repeated along it.
std::vector<Tensor> with_rows(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                              const Dim& count);
// Each axis, one further back.
std::vector<int> axes_behind_rows(std::vector<int> axes);
// The attributes of a slice or unslice that leaves the rows whole.
Attributes bounds_behind_rows(Attributes attributes, const Dim& count);
// x with axis `from` at position `to`, the others in their order.
Tensor move_axis(const Tensor& x, int from, int to);

// Elementwise, or along the last axes whatever stands before them.
template <const OpRecord& op>
Tensor batch_elementwise(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                         const Attributes& attributes, const Dim& count) {
  return apply(op, with_rows(operands, mapped, count), attributes);
}

// Along attributes.axes of the operands.
template <const OpRecord& op>
Tensor batch_along_axes(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                        const Attributes& attributes, const Dim& count) {
  Attributes shifted = attributes;
  shifted.axes = axes_behind_rows(std::move(shifted.axes));
  return apply(op, with_rows(operands, mapped, count), std::move(shifted));
}

// Row by row along the first axis of every operand and of the result: more of those rows.
template <const OpRecord& op>
Tensor batch_rows(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                  const Attributes& attributes, const Dim& count) {
  std::vector<Tensor> merged = with_rows(operands, mapped, count);
  const Dim rows = merged[0].shape(1);
  for (Tensor& operand : merged) {
    Dims shape(operand.shape().begin() + 1, operand.shape().end());
    shape[0] = count * rows;
    operand = reshape(operand, shape);
  }
  const Tensor result = apply(op, std::move(merged), attributes);
  Dims shape = with_rows(count, result.shape());
  shape[1] = rows;
  return reshape(result, shape);
}

}  // namespace kroton::ops
