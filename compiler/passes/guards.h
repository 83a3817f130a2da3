// Guards: under which conditions of ifelse a vertex is needed. docs/decisions/0014-ifelse.md.
#pragma once
#include "compiler/ir/graph.h"
#include "compiler/ir/guard_path.h"

namespace kroton {

using Guard = GuardPath<Graph::Vertex>;

// By vertex: what all its uses have in common. An output or update is always needed; what the
// first value of an ifelse v needs, and nothing else does, has the guard of v and v's condition;
// the condition itself has the guard of v. Empty for vertices that nothing uses.
std::vector<Guard> find_guards(const Graph& graph);

}  // namespace kroton
