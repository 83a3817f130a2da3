// Which steps of a loop change nothing: those after an `until` has held, and those of a gradient
// that belong to them.
#pragma once
#include <optional>

#include "compiler/ir/graph.h"

namespace kroton {

// Where a step's parameter number `flag` is true, every state keeps its value.
struct IdleSteps {
  std::size_t flag = 0;
  bool to_the_end = true;  // it stays true from then on; else it was true in all steps before
  // For each of the stacks what such a step shows, a literal or a broadcast one, an empty Tensor
  // where the stack is a state's history.
  std::vector<Tensor> rows;
};

// The state whose values a stack shows: those before the steps or after them.
struct History {
  int state = -1;
  bool after = false;
};
History history_of(const Attributes& loop, const Attributes& stack);

// Of a loop and the stacks that are wanted of it, if a flag is found.
std::optional<IdleSteps> find_idle_steps(const Graph& graph, Graph::Vertex loop,
                                         const std::vector<Graph::Vertex>& stacks);

}  // namespace kroton
