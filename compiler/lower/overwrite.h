// Questions about kernels that decide when a step may run and where it may store.
#pragma once
#include <optional>

#include "compiler/lower/program.h"

namespace kroton {

// Whether the kernel may stop with an error.
bool has_checks(const loop::Kernel& kernel);
// Whether any of them calls code that may end the call.
bool has_calls(const std::vector<Step>& steps);
// The kernel's body with `result` stored over `state`; null where an element of the old value could
// be gone before it is read. It is read in the block that stores the new value: by the store
// itself, or into a scalar before anything is stored there. `stores_once`: no element of the result
// is stored twice. What would store what is there already is left out, all of the body if there is
// nothing else. Buffers by id.
std::optional<loop::Block> stored_over(const loop::Kernel& kernel, int result,
                                       const loop::BufferRef& state, bool stores_once);

}  // namespace kroton
