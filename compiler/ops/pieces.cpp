#include "compiler/ops/pieces.h"

namespace kroton::ops {

Tensor run_of(const Tensor& x, int axis, const Dim& first, const Dim& count, std::int64_t step) {
  const auto rank = static_cast<std::size_t>(x.rank()), along = static_cast<std::size_t>(axis);
  Dims starts(rank, Dim(0)), sizes = x.shape();
  std::vector<std::int64_t> steps(rank, 1);
  starts[along] = first;
  sizes[along] = count;
  steps[along] = step;
  return strided_slice(x, starts, sizes, steps);
}

Dim not_negative(const Dim& size) { return provably_at_least(size, 0) ? size : maximum(size, 0); }

Tensor floating(const Operand& x) {
  const Tensor tensor = x.tensor();
  return is_float(tensor.dtype()) ? tensor : cast(tensor, DType::f32);
}

Tensor floating_only(const Operand& x, const char* name) {
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) {
    fail_type(OpRecord{.name = name}, {tensor}, "takes floating point only");
  }
  return tensor;
}

int axis_of(const char* name, const Tensor& x, int axis) {
  if (x.rank() == 0) fail_shape(OpRecord{.name = name}, {x}, "a scalar has no axes");
  return resolve_axis(axis, x.rank(), name);
}

SourceLine line_of(const Operand::Location& location) {
  return LineScope::current().value_or(SourceLine{location.file_name(), location.line()});
}

}  // namespace kroton::ops
