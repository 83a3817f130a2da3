// What messages call an op.
#pragma once
#include <string>

#include "compiler/ir/op.h"

namespace kroton {

// The function that the user has called and that builds a node of this op; for operators the op.
std::string user_function(const OpRecord& op);

}  // namespace kroton
