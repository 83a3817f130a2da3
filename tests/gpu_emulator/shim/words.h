// What blocks store for those after them, and wait for. Blocks run one after the other, in the
// order of their numbers, so that what is missing stays so.
#pragma once
#include "warps.h"

namespace emulator {

struct Turn {
  int block;
  unsigned run;
};

// Of the first word, as the kernels' own text has it.
inline Turn take_turn(const Global<unsigned long long>& words, int line) {
  static unsigned long long turn;
  if (thread_number() == 0) {
    unsigned long long& first = *words[0].place;
    turn = first++;
    if (static_cast<unsigned>(turn) == machine.block_count.x - 1) first = (turn >> 32) + 1 << 32;
  }
  block_barrier(line);
  return {static_cast<int>(static_cast<unsigned>(turn)), static_cast<unsigned>(turn >> 32) + 1};
}

template <class T>
inline long long first_word(long long start, long long index) {
  return 16 + start + index * (sizeof(T) > 4 ? 2 : 1);
}

template <class T>
inline void tell(const Global<unsigned long long>& words, long long start, long long index,
                 const Turn& turn, typename Plain<T>::Type value) {
  unsigned halves[2] = {};
  memcpy(halves, &value, sizeof value);
  const long long at = first_word<T>(start, index);
  for (int k = 0; k < (sizeof(T) > 4 ? 2 : 1); ++k) {
    const Element<unsigned long long> word = words[At(at + k)];
    if (*word.place >> 32 == turn.run) {
      fail("thread %u of block %d stores element %lld of what blocks wait for a second time",
           thread_number(), turn.block, index);
    }
    *word.place = static_cast<unsigned long long>(turn.run) << 32 | halves[k];
  }
}

template <class T>
inline T told(const Global<unsigned long long>& words, long long start, long long index,
              const Turn& turn) {
  unsigned halves[2] = {};
  const long long at = first_word<T>(start, index);
  for (int k = 0; k < (sizeof(T) > 4 ? 2 : 1); ++k) {
    const Element<unsigned long long> word = words[At(at + k)];
    if (*word.place >> 32 != turn.run) {
      fail("thread %u of block %d waits for element %lld, which no block before it has stored",
           thread_number(), turn.block, index);
    }
    halves[k] = static_cast<unsigned>(*word.place);
  }
  T value;
  memcpy(&value, halves, sizeof value);
  return value;
}

}  // namespace emulator
