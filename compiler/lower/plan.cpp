#include "compiler/lower/plan.h"

#include <algorithm>
#include <set>

namespace kroton {
namespace {

Dim aligned_bytes(const loop::BufferRef& buffer, std::int64_t line) {
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
  std::vector<loop::BufferRef> buffers;
};

// When buffers are in use, by the positions of kernels in program order.
class Lives {
 public:
  Lives(const Program& program, std::int64_t line) : program_(program), line_(line) {
    walk(program.steps);
    // What a loop uses and others use too lives through all its iterations, as do the buffers whose
    // parts its iterations use.
    for (const auto& [begin, end] : loops_) {
      for (auto& [id, life] : lives_) {
        if (life.last < begin || life.first > end) continue;
        if (life.first >= begin && life.last <= end && !in_parts_.count(id)) continue;
        life.first = std::min(life.first, begin);
        life.last = std::max(life.last, end);
      }
    }
  }

  std::vector<Life> in_order() const {
    std::vector<Life> order;
    for (const auto& [id, life] : lives_) order.push_back(life);
    std::sort(order.begin(), order.end(), [](const Life& a, const Life& b) {
      return std::pair(a.first, a.buffer->id) < std::pair(b.first, b.buffer->id);
    });
    return order;
  }

 private:
  void walk(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      const std::size_t begin = position_;
      for_each_buffer(step, [this](const loop::BufferRef& buffer) { use(buffer); });
      const Scan* scan = as<Scan>(step);
      if (!scan) ++position_;
      for_each_inner(step, [this](const auto& inner) { walk(inner); });
      if (scan && position_ > begin) loops_.emplace_back(begin, position_ - 1);
    }
  }

  void use(loop::BufferRef buffer) {
    const auto placed = program_.placements.find(buffer->id);
    if (placed != program_.placements.end()) {
      if (placed->second.kind != Placement::Kind::part) return;
      buffer = placed->second.of;
      if (program_.placements.count(buffer->id)) return;
      in_parts_.insert(buffer->id);
    }
    Life& life = lives_
                     .try_emplace(buffer->id,
                                  Life{buffer, position_, position_, aligned_bytes(buffer, line_)})
                     .first->second;
    life.last = position_;
  }

  const Program& program_;
  std::int64_t line_;
  std::size_t position_ = 0;
  std::map<int, Life> lives_;
  std::set<int> in_parts_;
  std::vector<std::pair<std::size_t, std::size_t>> loops_;  // inner ones first
};

std::vector<ArenaGap> plan(Program& program, std::int64_t line, bool with_gaps) {
  const std::vector<Life> order = Lives(program, line).in_order();
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
    best->buffers.push_back(life.buffer);
  }
  Dim offset = 0;
  std::vector<ArenaGap> gaps;
  const auto leave_gap = [&](const std::string& where) {
    if (!with_gaps) return;
    gaps.push_back({offset, line, where});
    offset = offset + Dim(line);
  };
  leave_gap("before the first buffer");
  for (const Slot& slot : slots) {
    std::string names;
    for (const loop::BufferRef& buffer : slot.buffers) {
      program.placements[buffer->id].offset = offset;
      names += (names.empty() ? "behind " : ", ") + buffer->name;
    }
    offset = offset + slot.bytes;
    leave_gap(names);
  }
  // Scratch lives inside one step: all steps share one region.
  Dim largest = 0;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    Dim within = 0;
    for (const loop::BufferRef& buffer : kernel.scratch)
      within = within + aligned_bytes(buffer, line);
    if (provably_at_least(within, largest)) {
      largest = within;
    } else if (!provably_at_least(largest, within)) {
      largest = maximum(largest, within);
    }
  });
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    Dim within = 0;
    for (const loop::BufferRef& buffer : kernel.scratch) {
      Placement& place = program.placements[buffer->id];
      place.kind = Placement::Kind::worker_scratch;
      place.offset = offset + within;
      place.stride = largest;
      within = within + aligned_bytes(buffer, line);
    }
  });
  if (!largest.is_constant(0)) {
    offset = offset + largest * worker_count();
    leave_gap("behind the workers' memory");
  }
  program.arena_bytes = offset;
  return gaps;
}

}  // namespace

void plan_memory(Program& program, std::int64_t line) { plan(program, line, false); }

std::vector<ArenaGap> plan_memory_with_gaps(Program& program, std::int64_t line) {
  return plan(program, line, true);
}

}  // namespace kroton
