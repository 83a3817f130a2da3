#include "compiler/lower/plan.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "compiler/dim/size_samples.h"

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
  SizeSamples samples = SizeSamples(bytes);
  std::set<std::size_t> users = {};  // steps of the Program, with what is in them
};

struct Slot {
  Dim bytes;
  SizeSamples samples;
  std::size_t free_from = 0;  // the step after its last user
  std::vector<loop::BufferRef> buffers;
  std::set<std::size_t> users;  // of all of them
};

// Proofs that fail take long, and sizes of which there are many in a Program are seldom known to be
// in an order: of the slots that may do, the nearest ones are tried.
constexpr int most_failed_proofs = 8;

// Which steps of a Program come behind which, by the buffers that they read and write.
class StepOrder {
 public:
  // Of Programs with more steps nothing is worked out.
  static constexpr std::size_t most_steps = 2048;

  explicit StepOrder(const Program& program) : program_(program) {
    const std::size_t count = program.steps.size();
    before_.assign(count, std::vector<bool>(count, false));
    for (std::size_t step = 0; step < count; ++step) {
      read_.clear();
      written_.clear();
      collect(program.steps[step]);
      for (const int id : read_) {
        if (!written_.count(id)) come_behind(step, uses_[id].writers);
      }
      for (const int id : written_) {
        come_behind(step, uses_[id].writers);
        come_behind(step, uses_[id].readers);
      }
      for (const int id : read_) uses_[id].readers.push_back(step);
      for (const int id : written_) uses_[id] = {{step}, {}};
    }
  }

  // Whether the step waits for all of these anyway.
  bool is_behind(std::size_t step, const std::set<std::size_t>& steps) const {
    return std::all_of(steps.begin(), steps.end(),
                       [&](std::size_t other) { return other == step || before_[step][other]; });
  }

 private:
  struct Uses {
    std::vector<std::size_t> writers, readers;
  };

  int id_of(const loop::BufferRef& buffer) const {
    const auto placed = program_.placements.find(buffer->id);
    const bool is_part =
        placed != program_.placements.end() && placed->second.kind == Placement::Kind::part;
    return is_part ? placed->second.of->id : buffer->id;
  }
  void collect(const Step& step) {
    const auto add = [&](const loop::BufferRef& buffer, std::set<int>& to) {
      to.insert(id_of(buffer));
    };
    visit(
        step,
        [&](const loop::Kernel& kernel) {
          for (const loop::BufferRef& buffer : kernel.inputs) add(buffer, read_);
          for (const loop::BufferRef& buffer : kernel.outputs) add(buffer, written_);
        },
        [&](const Scan& scan) {
          if (scan.idle) add(scan.idle, read_);
        },
        [&](const Branch& branch) { add(branch.condition, read_); },
        [&](const Call& call) {
          for (const Call::Value& value : call.inputs) add(value.buffer, read_);
          for (const Call::Value& value : call.outputs) add(value.buffer, written_);
        });
    for_each_inner(step, [&](const auto& inner) {
      for (const Step& one : inner) collect(one);
    });
  }
  void come_behind(std::size_t step, const std::vector<std::size_t>& others) {
    std::vector<bool>& before = before_[step];
    for (const std::size_t other : others) {
      if (other == step || before[other]) continue;
      before[other] = true;
      for (std::size_t k = 0; k < other; ++k) before[k] = before[k] || before_[other][k];
    }
  }

  const Program& program_;
  std::vector<std::vector<bool>> before_;  // by the later step, then by the earlier one
  std::set<int> read_, written_;           // by the step at hand
  std::map<int, Uses> uses_;               // since the last writer
};

// Steps that do not depend on each other may run side by side, unless they have memory in turns.
// What is small has memory of its own where that keeps them apart: small steps are those that do
// not fill a device. Free sizes count as if they were so long.
constexpr std::int64_t small_bytes = 1 << 20, most_bytes_for_branches = 64 << 20;
constexpr std::int64_t usual_size = 256;

std::int64_t usual_bytes(const Dim& bytes) {
  if (bytes.is_constant()) return bytes.constant();
  try {
    return bytes.evaluate([](const DimAtom&) { return usual_size; });
  } catch (const ValueError&) {  // of many free axes
    return std::numeric_limits<std::int64_t>::max();
  }
}

// When buffers are in use, by the positions of kernels in program order.
class Lives {
 public:
  Lives(const Program& program, std::int64_t line) : program_(program), line_(line) {
    for (; step_ < program.steps.size(); ++step_) walk({program.steps[step_]});
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
    auto found = lives_.find(buffer->id);
    if (found == lives_.end()) {
      found =
          lives_
              .emplace(buffer->id, Life{buffer, position_, position_, aligned_bytes(buffer, line_)})
              .first;
    }
    Life& life = found->second;
    life.last = position_;
    life.users.insert(step_);
  }

  const Program& program_;
  std::int64_t line_;
  std::size_t position_ = 0;
  std::size_t step_ = 0;  // of the Program
  std::map<int, Life> lives_;
  std::set<int> in_parts_;
  std::vector<std::pair<std::size_t, std::size_t>> loops_;  // inner ones first
};

std::vector<ArenaGap> plan(Program& program, std::int64_t line, bool with_gaps,
                           bool side_by_side = false) {
  const std::vector<Life> order = Lives(program, line).in_order();
  std::vector<Slot> slots;
  std::optional<StepOrder> steps;
  if (side_by_side && program.steps.size() <= StepOrder::most_steps) steps.emplace(program);
  std::int64_t for_branches = 0;  // bytes that would not be needed without
  for (const Life& life : order) {
    const std::int64_t usual = usual_bytes(life.bytes);
    const bool keeps_apart =
        steps && usual <= small_bytes && for_branches + usual <= most_bytes_for_branches;
    bool is_kept_apart = false;
    const auto may_take = [&](const Slot& slot) {
      const bool may_follow = !keeps_apart || steps->is_behind(*life.users.begin(), slot.users);
      is_kept_apart = is_kept_apart || !may_follow;
      return may_follow;
    };
    const auto first_of = [&](const std::vector<Slot*>& candidates, const auto& fits) -> Slot* {
      int failures = 0;
      for (Slot* slot : candidates) {
        if (fits(*slot)) {
          if (may_take(*slot)) return slot;
        } else if (++failures == most_failed_proofs) {
          break;
        }
      }
      return nullptr;
    };
    std::vector<Slot*> free;
    for (Slot& slot : slots) {
      if (slot.free_from <= life.first) free.push_back(&slot);
    }
    // Of several alike the last one.
    std::ranges::reverse(free);
    std::ranges::stable_sort(free, {}, [](const Slot* slot) { return slot->samples.sum(); });
    // The free slot that fits with the least to spare, as far as sizes can be compared.
    std::vector<Slot*> larger, smaller;
    for (Slot* slot : free) {
      if (!slot->samples.is_below_somewhere(life.samples)) larger.push_back(slot);
      if (!life.samples.is_below_somewhere(slot->samples)) smaller.push_back(slot);
    }
    Slot* best = first_of(
        larger, [&](const Slot& slot) { return provably_at_least(slot.bytes, life.bytes); });
    if (!best) {
      // Else the largest one that is free and provably smaller grows.
      std::ranges::stable_sort(smaller, std::greater(),
                               [](const Slot* slot) { return slot->samples.sum(); });
      best = first_of(smaller,
                      [&](const Slot& slot) { return provably_at_least(life.bytes, slot.bytes); });
      if (best) {
        best->bytes = life.bytes;
        best->samples = life.samples;
      }
    }
    if (!best) {
      slots.push_back({life.bytes, life.samples, 0, {}, {}});
      best = &slots.back();
      if (is_kept_apart) for_branches += usual;
    }
    best->free_from = life.last + 1;
    best->buffers.push_back(life.buffer);
    best->users.insert(life.users.begin(), life.users.end());
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

void plan_memory(Program& program, std::int64_t line, bool side_by_side) {
  plan(program, line, false, side_by_side);
}

std::vector<ArenaGap> plan_memory_with_gaps(Program& program, std::int64_t line) {
  return plan(program, line, true);
}

}  // namespace kroton
