// Loops of which one does all that another does, and more: the one that computes tangents beside
// the states, and the one that computes the states alone.
#pragma once
#include "compiler/ir/graph.h"

namespace kroton {

// The results of a loop become those of another one of as many steps, needed under the same
// conditions, that has its states. Returns whether that changed the graph.
bool merge_loops(Graph& graph);

}  // namespace kroton
