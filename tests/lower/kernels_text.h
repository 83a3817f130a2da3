// The kernels that a function is lowered to, as text.
#pragma once
#include <kroton/kroton.h>

#include <string>
#include <utility>
#include <vector>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"

// For vectors of 64 bytes.
inline std::string kernels(
    const std::vector<kroton::Tensor>& inputs, const std::vector<kroton::Tensor>& outputs,
    const std::vector<std::pair<kroton::Shared, kroton::Tensor>>& updates = {}) {
  kroton::Graph graph(inputs, outputs, updates);
  kroton::run_passes(graph);
  return to_string(kroton::lower(graph, "golden", kroton::x86_machine(64)));
}
