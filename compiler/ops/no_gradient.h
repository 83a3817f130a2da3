// Operands by which no derivative is known.
#pragma once
#include <kroton/tensor.h>

namespace kroton {

// x; a gradient that passes here is a ValueError "function: there is no gradient by `operand`".
Tensor without_gradient(const Tensor& x, const char* function, const char* operand);

}  // namespace kroton
