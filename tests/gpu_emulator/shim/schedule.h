// Runs the threads of a block as fibers, and lets warps and blocks go on that wait together.
#pragma once
#include "warps.h"

namespace emulator {

// Lets a warp go on whose masked threads all wait at one operation. False if it may not.
inline bool release_warp(int warp, int threads) {
  Thread* lanes = machine.threads + warp * 32;
  const int count = threads - warp * 32 < 32 ? threads - warp * 32 : 32;
  bool released = false;
  // Who has returned is not waited for, but by matrix units, and has no value.
  const auto has_left = [&](int lane, WarpOp op) {
    return op != WarpOp::together && lane < count && lanes[lane].state == State::done;
  };
  for (int first = 0; first < count; ++first) {
    const Thread& leader = lanes[first];
    if (leader.state != State::at_warp) continue;
    bool complete = true;
    for (int lane = 0; lane < 32 && complete; ++lane) {
      if (!(leader.mask >> lane & 1u) || has_left(lane, leader.op)) continue;
      complete = lane < count && lanes[lane].state == State::at_warp &&
                 lanes[lane].line == leader.line && lanes[lane].op == leader.op &&
                 lanes[lane].mask == leader.mask;
    }
    if (!complete) continue;
    const uint32_t mask = leader.mask;
    if (leader.op == WarpOp::together) {
      void* places[32];
      for (int lane = 0; lane < 32; ++lane) {
        places[lane] = reinterpret_cast<Together*>(lanes[lane].value)->place;
      }
      reinterpret_cast<Together*>(leader.value)->act(places);
    }
    uint64_t given[32] = {}, got[32] = {};
    uint64_t votes = 0;
    for (int lane = 0; lane < count; ++lane) {
      given[lane] = lanes[lane].value;
      const bool votes_too = (mask >> lane & 1u) && !has_left(lane, leader.op);
      if (votes_too && lanes[lane].value) votes |= uint64_t(1) << lane;
    }
    for (int lane = 0; lane < count; ++lane) {
      if (!(mask >> lane & 1u) || has_left(lane, leader.op)) continue;
      const Thread& self = lanes[lane];
      const int group = lane / self.width * self.width;
      int from = lane;
      switch (self.op) {
        case WarpOp::barrier:
        case WarpOp::ballot:
        case WarpOp::together:
          break;
        case WarpOp::index:
          from = group + (self.operand & (self.width - 1));
          break;
        case WarpOp::up:
          from = lane - self.operand >= group ? lane - self.operand : lane;
          break;
        case WarpOp::down:
          from = lane + self.operand < group + self.width ? lane + self.operand : lane;
          break;
        case WarpOp::exclusive_or:
          from = (lane ^ self.operand) < group + self.width ? lane ^ self.operand : lane;
          break;
      }
      if (!(mask >> from & 1u) || has_left(from, leader.op)) {
        note_failure("line %d: lane %d takes the value of lane %d, which is not in the mask %08x or "
                     "has returned",
                     self.line, lane, from, mask);
        return false;
      }
      got[lane] = self.op == WarpOp::ballot ? votes : given[from];
    }
    if (leader.op == WarpOp::barrier && mask == 0xffffffffu) ++machine.warp_barriers[warp];
    for (int lane = 0; lane < count; ++lane) {
      if (!(mask >> lane & 1u) || has_left(lane, leader.op)) continue;
      lanes[lane].value = got[lane];
      lanes[lane].state = State::ready;
    }
    released = true;
  }
  return released;
}

inline const char* name_of(State state) {
  return state == State::at_barrier   ? "waits at __syncthreads"
         : state == State::at_warp    ? "waits at a warp operation"
         : state == State::at_meeting ? "waits for the grid"
                                      : "has returned";
}

// Whether all threads of the block wait at one barrier, of the block or of the grid.
inline bool wait_together(int threads) {
  const Thread& first = machine.threads[0];
  for (int t = 0; t < threads; ++t) {
    const Thread& other = machine.threads[t];
    const bool waits = first.state == State::at_barrier || first.state == State::at_meeting;
    if (waits && other.state == first.state && other.line == first.line) continue;
    // Two that differ, or thread 0 alone at a warp operation that cannot be completed.
    note_failure("divergent barrier in block %u: thread 0 %s (line %d), thread %d %s (line %d)",
                 machine.block.x, name_of(first.state), first.line, t, name_of(other.state),
                 other.line);
    return false;
  }
  return true;
}

// Lets the block go on behind the barrier that all its threads wait at.
inline void release_block(int threads) {
  ++machine.barrier;
  for (int t = 0; t < threads; ++t) machine.threads[t].state = State::ready;
}

inline void fiber_main() {
  machine.body(machine.environment);
  machine.current->state = State::done;
  for (;;) kroton_emulator_switch(&machine.current->stack_pointer, machine.scheduler);
}

inline void start(Thread& thread) {
  if (machine.free_count > 0) {
    thread.stack = machine.free_stacks[--machine.free_count];
  } else {
    thread.stack = static_cast<char*>(aligned_alloc(64, stack_bytes));
  }
  char* top = thread.stack + stack_bytes;
#if defined(__x86_64__)
  // The return address of a call: the stack is off 16 bytes by 8 then.
  void** slot = reinterpret_cast<void**>(top - 16);
  slot[0] = reinterpret_cast<void*>(&fiber_main);
  slot[1] = nullptr;
  thread.stack_pointer = slot - 6;
  memset(thread.stack_pointer, 0, 6 * sizeof(void*));
#else
  void** slot = reinterpret_cast<void**>(top - 160);
  memset(slot, 0, 160);
  slot[11] = reinterpret_cast<void*>(&fiber_main);  // x30
  thread.stack_pointer = slot;
#endif
}

inline void begin_block(int threads) {
  machine.serial = ++machine.serials;
  machine.barrier = 1;
  for (uint32_t& count : machine.warp_barriers) count = 1;
  for (int t = 0; t < threads; ++t) {
    Thread& thread = machine.threads[t];
    thread.stack = nullptr;
    thread.state = State::ready;
    thread.line = 0;
    thread.index.x = static_cast<unsigned>(t);
    thread.copy_count = 0;
    thread.group = 0;
  }
}

// Runs the block until its threads have returned, or all wait for the grid.
inline void run_block(int threads) {
  for (;;) {
    int done = 0;
    for (int t = 0; t < threads; ++t) {
      Thread& thread = machine.threads[t];
      if (thread.state == State::ready) {
        if (!thread.stack) start(thread);
        machine.current = &thread;
        kroton_emulator_switch(&machine.scheduler, thread.stack_pointer);
        if (machine.failed) return;
        if (thread.state == State::done) give_back(thread);
      }
      done += thread.state == State::done;
    }
    if (done == threads) return;
    bool released = false;
    for (int warp = 0; warp * 32 < threads; ++warp) released |= release_warp(warp, threads);
    if (machine.failed) return;
    if (released) continue;
    if (!wait_together(threads) || machine.threads[0].state == State::at_meeting) return;
    release_block(threads);
  }
}

}  // namespace emulator
