// What is left to do when the steps of a Program stand.
#pragma once
#include "compiler/ir/graph.h"
#include "compiler/lower/program.h"

namespace kroton {

// The steps with every kernel and loop named by its number, and verified.
std::vector<Step> finished(const std::vector<Step>& steps, bool contract);

// Fills in the Program's size variables, in the order in which the inputs and outputs mention them:
// the same for equal functions, whatever the process has made before.
void collect_sizes(Program& program, const Graph& graph);

}  // namespace kroton
