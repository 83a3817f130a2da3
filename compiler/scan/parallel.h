// Passes for graphs that a GPU computes, behind those of passes/passes.h.
#pragma once
#include "compiler/ir/graph.h"

namespace kroton {

// Scans whose steps wait for each other only in states that are linear in themselves, element by
// element (s = a * s + b, s + x, s * x, max(s, x), where a, b and x may depend on other such
// states), become running operations along the steps, which many threads share. Results differ by
// the rounding of sums and products (docs/gpu.md).
bool scans_in_parallel(Graph& graph);

// After run_passes.
bool run_gpu_passes(Graph& graph);

}  // namespace kroton
