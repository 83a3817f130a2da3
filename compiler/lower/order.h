// The order in which the kernels of clusters run.
#pragma once
#include <set>

#include "compiler/lower/program.h"
#include "compiler/passes/guards.h"

namespace kroton {

// The kernels of one cluster, and what decides when they may run.
struct StepGroup {
  std::vector<Step> steps;
  Guard guard;
  std::set<int> read, written;  // buffers
  bool checks = false;          // or prints: the call may end in it
  bool overwrites_state = false;
};

// Positions of the groups in an order that respects reads, overwrites and checks; empty if there is
// none. `states`: the buffers of shared variables.
std::vector<std::size_t> order_of(const std::vector<StepGroup>& groups,
                                  const std::set<int>& states);

}  // namespace kroton
