#include "compiler/passes/passes.h"

namespace kroton {

bool eliminate_dead_code(Graph& graph) { return graph.remove_dead() > 0; }

}  // namespace kroton
