// From an optimised graph to a Program.
#pragma once
#include "compiler/ir/graph.h"
#include "compiler/lower/program.h"

namespace kroton {

// What lowering needs to know of the machine that the Program is for.
struct Machine {
  bool gpu = false;       // kernels are scheduled for blocks of threads
  int vector_bytes = 16;  // CPU: of the widest vector register to use
};

// `name` becomes the entry's symbol.
Program lower(const Graph& graph, const std::string& name, const Machine& machine);

}  // namespace kroton
