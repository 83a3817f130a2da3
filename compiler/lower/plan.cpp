#include "compiler/lower/plan.h"

#include <algorithm>

namespace kroton {
namespace {

// Every slot starts on a cache line.
Dim aligned_bytes(const loop::BufferRef& buffer) {
  constexpr std::int64_t line = 64;
  const Dim bytes = buffer->size * Dim(static_cast<std::int64_t>(size_of(buffer->dtype)));
  return ceil_div(bytes, line) * Dim(line);
}

struct Life {
  loop::BufferRef buffer;
  std::size_t first = 0, last = 0;
  Dim bytes;
};

struct Slot {
  Dim bytes;
  std::size_t free_from = 0;  // the step after its last user
  std::vector<int> buffers;
};

}  // namespace

void plan_memory(Program& program) {
  std::map<int, Life> lives;
  std::map<int, loop::BufferRef> scratch;
  for (std::size_t step = 0; step < program.steps.size(); ++step) {
    const auto& kernel = std::get<loop::Kernel>(program.steps[step].kind);
    for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
      for (const loop::BufferRef& buffer : *list) {
        if (program.placements.count(buffer->id)) continue;
        Life& life = lives.try_emplace(buffer->id, Life{buffer, step, step, {}}).first->second;
        life.last = step;
      }
    }
    for (const loop::BufferRef& buffer : kernel.scratch) scratch[buffer->id] = buffer;
  }
  std::vector<Life> order;
  for (auto& [id, life] : lives) {
    life.bytes = aligned_bytes(life.buffer);
    order.push_back(life);
  }
  std::sort(order.begin(), order.end(), [](const Life& a, const Life& b) {
    return std::pair(a.first, a.buffer->id) < std::pair(b.first, b.buffer->id);
  });
  std::vector<Slot> slots;
  for (const Life& life : order) {
    // The free slot that fits with the least to spare, as far as sizes can be compared.
    Slot* best = nullptr;
    for (Slot& slot : slots) {
      if (slot.free_from > life.first || !provably_at_least(slot.bytes, life.bytes)) continue;
      if (!best || provably_at_least(best->bytes, slot.bytes)) best = &slot;
    }
    if (!best) {
      // Else one that is free and provably smaller grows.
      for (Slot& slot : slots) {
        if (slot.free_from > life.first || !provably_at_least(life.bytes, slot.bytes)) continue;
        if (!best || provably_at_least(slot.bytes, best->bytes)) best = &slot;
      }
      if (best) best->bytes = life.bytes;
    }
    if (!best) {
      slots.push_back({life.bytes, 0, {}});
      best = &slots.back();
    }
    best->free_from = life.last + 1;
    best->buffers.push_back(life.buffer->id);
  }
  Dim offset = 0;
  for (const Slot& slot : slots) {
    for (int id : slot.buffers) program.placements[id] = {Placement::Kind::arena, 0, offset, {}};
    offset = offset + slot.bytes;
  }
  // Scratch lives inside one step: all steps share one region.
  Dim largest = 0;
  for (const Step& step : program.steps) {
    Dim within = 0;
    for (const loop::BufferRef& buffer : std::get<loop::Kernel>(step.kind).scratch) {
      within = within + aligned_bytes(buffer);
    }
    if (provably_at_least(within, largest)) {
      largest = within;
    } else if (!provably_at_least(largest, within)) {
      largest = maximum(largest, within);
    }
  }
  for (const Step& step : program.steps) {
    Dim within = 0;
    for (const loop::BufferRef& buffer : std::get<loop::Kernel>(step.kind).scratch) {
      program.placements[buffer->id] = {Placement::Kind::worker_scratch, 0, offset + within,
                                        largest};
      within = within + aligned_bytes(buffer);
    }
  }
  program.arena_bytes = largest.is_constant(0) ? offset : offset + largest * worker_count();
}

}  // namespace kroton
