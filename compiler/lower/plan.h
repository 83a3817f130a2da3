// Memory: which buffers share which part of the arena.
#pragma once
#include "compiler/lower/program.h"

namespace kroton {

// A cache line of the host; what libraries on a device would like matrices to be aligned to.
constexpr std::int64_t host_line = 64, device_line = 256;

// Places every buffer of program.steps that has no placement yet: global ones into arena slots by
// their lives in step order, worker scratch behind them. Sets arena_bytes. Sizes stay symbolic: a
// slot is used again only for a buffer that provably fits at every size. Every slot starts at a
// multiple of `line` bytes. `side_by_side`: steps that do not depend on each other may run at the
// same time, and small buffers of theirs do not share a slot.
void plan_memory(Program& program, std::int64_t line = host_line, bool side_by_side = false);

// Memory that belongs to no buffer.
struct ArenaGap {
  Dim offset;  // from the arena's start
  std::int64_t bytes = 0;
  std::string where;  // "behind row"
};

// The same with gaps of one line before, between and behind the slots.
std::vector<ArenaGap> plan_memory_with_gaps(Program& program, std::int64_t line);

}  // namespace kroton
