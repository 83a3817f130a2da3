// Sorting whole numbers on a GPU, stable and without atomic operations: the same order on every
// call.
#pragma once
#include "compiler/loop/schedule.h"

namespace kroton::loop {

// Keys from 0 to below `limit`, i32, sorted by digits of 6 bits, the lowest first. A block counts
// the digits of its keys, each thread those of neighbouring ones; a second kernel makes of the
// counts where each block's elements of each digit go, a third one brings them there. Of the digits
// that a limit of unknown size may have, the host starts the kernels that it needs.
class GpuRadixSort {
 public:
  // Of both, the most that there may be: the places are i32.
  static constexpr std::int64_t most_keys = (std::int64_t{1} << 31) - 1;
  static constexpr std::int64_t most_limit = std::int64_t{1} << 30;

  // `wanted`: 1, or 0 where nothing is to be done.
  GpuRadixSort(const Dim& count, const Dim& limit, const Dim& wanted, NewBuffer new_buffer);

  // Where the keys are to be before the kernels run.
  const BufferRef& unsorted() const { return keys_[0]; }
  // With their schedule.
  std::vector<Kernel> kernels() const;
  // Of the element that comes at that position: its key, and where it was, i32. 0 where a condition
  // is given and does not hold.
  Expr key(const Expr& position, const Expr& condition = nullptr) const {
    return sorted(keys_, position, condition);
  }
  Expr place(const Expr& position) const { return sorted(places_, position, nullptr); }

 private:
  struct Tables {
    BufferRef counts;  // of each digit, of each chunk
    BufferRef totals;  // of each digit
  };
  Expr sorted(const BufferRef (&buffers)[2], const Expr& position, const Expr& condition) const;
  // Whether the keys have that digit: 1 or 0.
  Dim has_digit(int pass) const;
  Kernel count_digits(int pass, const Tables& tables) const;
  Kernel find_starts(int pass, const Tables& tables) const;
  Kernel move(int pass, const Tables& tables) const;
  Kernel finished(const Variable& block, const Dim& blocks, int threads, Block body,
                  const Dim& work) const;

  Dim count_, limit_, wanted_, chunks_;
  NewBuffer new_buffer_;
  BufferRef keys_[2], places_[2];  // passes go from one to the other
  int passes_ = 1;                 // at most
  Dim is_odd_ = 1;                 // how many there are
};

}  // namespace kroton::loop
