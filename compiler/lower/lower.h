// From an optimised graph to a Program.
#pragma once
#include "compiler/ir/graph.h"
#include "compiler/lower/program.h"

namespace kroton {

// What the checking mode looks for (docs/checking.md).
struct Checks {
  bool memory = false;  // accesses outside of a buffer, reads of what nothing has written
  bool values = false;  // results that are not finite though their operands are
  // What KROTON_CHECK asks for: nothing if it is not set, empty or "0"; "memory", "values"; both
  // for "1". ValueError for anything else.
  static Checks from_environment();
};

// What lowering needs to know of the machine that the Program is for, and what to add.
struct Machine {
  bool gpu = false;       // kernels are scheduled for blocks of threads
  int vector_bytes = 16;  // CPU: of the widest vector register to use
  Checks checks = {};
};

// `name` becomes the entry's symbol.
Program lower(const Graph& graph, const std::string& name, const Machine& machine);

}  // namespace kroton
