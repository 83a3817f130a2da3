// Operands by which no derivative is known.
#pragma once
#include <kroton/tensor.h>

namespace kroton {

// x; a gradient that passes here is a ValueError "function: there is no gradient with respect to
// operand". The rule of the op that has it as an operand gives it any cotangent.
Tensor without_gradient(const Tensor& x, const char* function, const char* operand);

}  // namespace kroton
