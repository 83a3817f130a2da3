// Keys of one block of threads in shared memory, sorted there: stable, without atomic operations.
#pragma once
#include <cstdint>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

Stmt loop_over(LoopKind kind, const Variable& v, const Expr& extent, Block body);

// The lowest bits become the highest ones.
Expr turned_right(const Expr& key, int bits);

// Each thread has some neighbouring keys in registers, counts their lowest four bits in counters of
// its own, and puts each key where the counts of all threads say; then the key is turned right by
// four bits, for the next time. So all times have the same code.
class KeyTile {
 public:
  static constexpr int digit_bits = 4;

  // `threads`: of the block, a multiple of 32 up to 256. Keys of a thread: a power of two.
  KeyTile(int threads, int keys_of_thread, DType dtype, bool has_places,
          const NewBuffer& new_buffer);

  std::int64_t size() const { return std::int64_t{threads_} * keys_of_thread_; }
  Block buffers() const;

  Expr key(const Expr& i) const;
  Expr place(const Expr& i) const;
  Block put(const Expr& i, const Expr& key, const Expr& place) const;  // place: null if none

  // By so many digits, where the first `there` keys are some: behind a barrier, up to a barrier.
  void sort(Block& block, int digits, const Expr& there) const;

  // Sums in shared memory, one a thread: up to a barrier behind which `sums_before` adds up those
  // of the threads before t.
  const BufferRef& sums() const { return sums_; }
  void bring_sums_together(Block& block) const;
  // Declares the sum, and adds to it.
  Block sum_before(const Variable& sum, const Expr& t) const;

 private:
  Block sort_by_digit(const Expr& there) const;
  Expr place_in_tile(const Expr& i) const;
  Expr counter_of(const Expr& t, const Expr& k, const Expr& there) const;
  Expr counter_at(const Expr& digit, const Expr& t) const;

  int threads_, keys_of_thread_;
  BufferRef keys_, places_;                       // shared
  BufferRef counters_, sums_, sums_of_groups_;    // shared
  BufferRef own_keys_, own_places_, own_before_;  // registers
};

}  // namespace kroton::loop
