// Products whose result may be found to be one column, or one row, when the function runs.
#pragma once
#include <vector>

#include "compiler/base/machine.h"
#include "compiler/contraction/contraction.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {

// Loops around each result's sum of `added`, all of it for each of the parts; not scheduled.
loop::Kernel loops_of_sums(const Contraction& contraction, const loop::Expr& added,
                           const AxisList& parts = {});

// The kernels for all sizes: `tiles`, and before it, where numbers of columns and rows are free,
// those of a matrix and a vector. At any call one of them has results to compute.
std::vector<loop::Kernel> with_vector_products(const Contraction& contraction, loop::Kernel tiles,
                                               const Machine& machine, BufferTable& buffers);

}  // namespace kroton
