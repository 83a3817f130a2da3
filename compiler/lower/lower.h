// From an optimised graph to a Program.
#pragma once
#include "compiler/ir/graph.h"
#include "compiler/lower/program.h"

namespace kroton {

// `name` becomes the entry's symbol; `vector_bytes` is the widest vector register to use.
Program lower(const Graph& graph, const std::string& name, int vector_bytes);

}  // namespace kroton
