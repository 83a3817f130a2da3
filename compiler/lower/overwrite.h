// Questions about kernels that decide when a step may run and where it may store.
#pragma once
#include "compiler/lower/program.h"

namespace kroton {

// Whether the kernel may stop with an error.
bool has_checks(const loop::Kernel& kernel);
// Whether any of them calls code that may end the call.
bool has_calls(const std::vector<Step>& steps);
// Whether `result` may be stored over `state`: every element of the old value is read, if at all,
// by the statement that replaces it. `stores_once`: no element of the result is stored twice.
// Buffers by id.
bool may_overwrite(const loop::Kernel& kernel, int result, int state, bool stores_once);
// The block with stores to the buffer `from` going to `to`.
loop::Block with_stores_to(const loop::Block& block, int from, const loop::BufferRef& to);

}  // namespace kroton
