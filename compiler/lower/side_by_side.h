// Kernels that do not need each other as one launch.
#pragma once
#include "compiler/lower/program.h"

namespace kroton {

// For GPUs, before the kernels have names of their own and memory is planned. Kernels with blocks
// of as many threads, of which none touches what another one writes, become one, whose blocks are
// those of the first, then those of the second: a launch takes as long as 6 MB of memory.
// Neighbours do so, and where results are known to be few, kernels that may move to each other:
// what they give lies in memory longer for it. docs/decisions/0070-kernels-side-by-side.md
std::vector<Step> side_by_side(const std::vector<Step>& steps, const Program& program);

}  // namespace kroton
