// Memory: which buffers share which part of the arena.
#pragma once
#include "compiler/lower/program.h"

namespace kroton {

// Places every buffer of program.steps that has no placement yet: global ones into arena slots by
// their lives in step order, worker scratch behind them. Sets arena_bytes. Sizes stay symbolic: a
// slot is used again only for a buffer that provably fits at every size.
void plan_memory(Program& program);

}  // namespace kroton
