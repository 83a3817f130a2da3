// Sorting whole numbers on a GPU, stable and without atomic operations: the same order on every
// call.
#pragma once
#include <optional>
#include <vector>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

// Rows of keys, sorted by digits of 6 bits, the lowest first. A block counts the digits of its
// keys, each thread those of neighbouring ones; a second kernel makes of the counts where each
// block's elements of each digit go, a third one brings them there.
struct GpuSort {
  Dim rows = 1, count;       // keys of a row
  Dim wanted = 1;            // or 0: nothing is to be done
  BufferRef keys[2];         // i32 or i64; the first has them, passes go from one to the other
  BufferRef places[2];       // beside them, where each was in its row, of any integers; or null
  int low = 0, bits = 0;     // of a key that count
  bool is_signed = false;    // the highest of them is the sign
  std::optional<Dim> limit;  // that keys from 0 on are below: the passes that takes, up to `bits`

  int passes() const;  // at most
  // Whether there is that one: 1 or 0.
  Dim has_pass(int pass) const;
  // With their schedule.
  std::vector<Kernel> kernels(const NewBuffer& new_buffer) const;
};

// Keys from 0 to below `limit`, i32, of which the host starts the passes that the limit takes.
class GpuRadixSort {
 public:
  // Of both, the most that there may be: the places are i32.
  static constexpr std::int64_t most_keys = (std::int64_t{1} << 31) - 1;
  static constexpr std::int64_t most_limit = std::int64_t{1} << 30;

  // `wanted`: 1, or 0 where nothing is to be done.
  GpuRadixSort(const Dim& count, const Dim& limit, const Dim& wanted, const NewBuffer& new_buffer);

  // Where the keys are to be before the kernels run.
  const BufferRef& unsorted() const { return sort_.keys[0]; }
  std::vector<Kernel> kernels(const NewBuffer& new_buffer) const {
    return sort_.kernels(new_buffer);
  }
  // Of the element that comes at that position: its key, and where it was, i32. 0 where a condition
  // is given and does not hold.
  Expr key(const Expr& position, const Expr& condition = nullptr) const {
    return sorted(sort_.keys, position, condition);
  }
  Expr place(const Expr& position) const { return sorted(sort_.places, position, nullptr); }

 private:
  Expr sorted(const BufferRef (&buffers)[2], const Expr& position, const Expr& condition) const;

  GpuSort sort_;
  Dim is_odd_ = 1;  // how many passes there are
};

}  // namespace kroton::loop
