// What the threads of a block or of a warp do together.
#pragma once
#include "memory.h"

namespace emulator {

inline void block_barrier(int line) { wait(State::at_barrier, line); }

// All blocks of the grid.
inline void grid_barrier(int line) {
  if (!machine.request->together) {
    fail("line %d: blocks wait for each other that are not all there at once", line);
  }
  wait(State::at_meeting, line);
}

inline uint64_t warp_operation(int line, WarpOp op, uint32_t mask, uint64_t value, int operand,
                               int width) {
  Thread& self = *machine.current;
  self.op = op;
  self.mask = mask;
  self.value = value;
  self.operand = operand;
  self.width = width;
  if (!(mask >> (self.index.x % 32) & 1u)) {
    fail("thread %u of block %u: line %d: a warp operation whose mask %08x leaves the thread out",
         self.index.x, machine.block.x, line, mask);
  }
  wait(State::at_warp, line);
  return self.value;
}

inline void warp_barrier(int line, uint32_t mask = 0xffffffffu) {
  warp_operation(line, WarpOp::barrier, mask, 0, 0, 32);
}

template <class T>
inline T shuffle(int line, WarpOp op, uint32_t mask, T value, int operand, int width = 32) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = warp_operation(line, op, mask, bits, operand, width);
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
inline typename Plain<T>::Type shuffle(int line, WarpOp op, uint32_t mask, const Element<T>& value,
                                       int operand, int width = 32) {
  return shuffle(line, op, mask, static_cast<typename Plain<T>::Type>(value), operand, width);
}

inline unsigned ballot(int line, uint32_t mask, bool value) {
  return static_cast<unsigned>(warp_operation(line, WarpOp::ballot, mask, value, 0, 32));
}

struct Together {
  void (*act)(void* const* lanes);
  void* place;
};

// All lanes give a place of their own, and one does what the warp does together.
inline void together(int line, void (*act)(void* const* lanes), void* place) {
  Together given{act, place};
  warp_operation(line, WarpOp::together, 0xffffffffu, reinterpret_cast<uint64_t>(&given), 0, 32);
}

}  // namespace emulator
