// What a `call` node calls.
#pragma once
#include <kroton/external.h>

namespace kroton {

// Nodes share it: two calls are equal only if they are of one ExternalOp.
struct Callee {
  ExternalOptions options;
};

}  // namespace kroton
