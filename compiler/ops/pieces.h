// Small parts of the functions that are compositions.
#pragma once
#include "compiler/ops/rules.h"

namespace kroton::ops {

// `count` elements along the axis from `first` on, by steps of `step`.
Tensor run_of(const Tensor& x, int axis, const Dim& first, const Dim& count, std::int64_t step = 1);
// size, or 0 where that is negative.
Dim not_negative(const Dim& size);
// x, integers and booleans as f32.
Tensor floating(const Operand& x);
// x; unless it is floating point, an error of that function.
Tensor floating_only(const Operand& x, const char* name);
// The axis counted from 0; a scalar, which has none, is an error of that function.
int axis_of(const char* name, const Tensor& x, int axis);
// The line in scope, or else that place.
SourceLine line_of(const Operand::Location& location);

}  // namespace kroton::ops
