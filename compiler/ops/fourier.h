// Discrete Fourier transforms of a known length.
#pragma once
#include "compiler/ir/op.h"

namespace kroton::ops {

// Whether rows of n elements are transformed by `fourier`: n has no prime factor above 13.
bool has_fourier(std::int64_t n);
// Of x, (..., 2, n), the real and the imaginary parts of rows: their sums over j of x_j e^(sign 2
// pi i j k / n), in the same shape. f32 or f64.
Tensor fourier(const Tensor& x, int sign);

}  // namespace kroton::ops
