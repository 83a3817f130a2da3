// The table that makes equal expressions one node.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// The node equal to `candidate`, which becomes it if none lives. Thread-safe. Nodes leave with
// their last user; destroying a deep expression does not recurse.
Expr intern(ExprNode&& candidate);

}  // namespace kroton::loop
