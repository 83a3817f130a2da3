// Samples of ops on matrices whose sizes must be known.
#pragma once
#include "compiler/ops/samples.h"

namespace kroton::ops {

// As add_samples, of functions of one operand: its last two axes have known sizes, those of the
// sample, where those before them are free.
void add_known_samples(std::vector<Sample>& samples, const std::vector<HostShape>& shapes,
                       Tensor (*function)(const Tensor& x), bool differentiable = true);

// Matrices whose eigenvalues, or singular values, are apart from each other.
Tensor apart(const Tensor& x);

}  // namespace kroton::ops
