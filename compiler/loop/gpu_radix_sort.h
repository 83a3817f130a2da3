// Sorting whole numbers on a GPU, stable: the same order on every call.
#pragma once
#include <optional>
#include <vector>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

// Rows of keys, of up to 2^31 elements. Short ones are sorted by rank, many of them in a block;
// what one block has room for in its shared memory; others by digits of 8 bits, the lowest first. A
// kernel counts the keys with each value of each digit; then there is one for each digit, whose
// blocks tell each other how many of their keys have each value (gpu_earlier_blocks.h) and bring
// them to where these counts say, sorted in shared memory first, so that neighbours go to
// neighbouring places. Where sizes are free, the host starts the kernels that suit.
struct GpuSort {
  Dim rows = 1, count;       // keys of a row
  Dim wanted = 1;            // or 0: nothing is to be done
  DType dtype = DType::i32;  // of keys: i32 or i64
  int bits = 32;             // of a key that count, the lowest ones; a multiple of 8
  bool is_signed = false;    // the highest of them is the sign
  bool has_places = true;    // where each was in its row, i32
  int first = 0;             // if it is not 0: only so many of a row are wanted, up to `most_first`

  // The i-th key of a row. It does not fail: the threads of a block wait for each other.
  std::function<Expr(const Expr& row, const Expr& i)> key;
  // What is done with the key that comes at a place of its row; `from`: where it was, i32.
  std::function<Block(const Expr& row, const Expr& to, const Expr& from, const Expr& key)> put;

  static constexpr int most_first = 64;
  // With their schedule.
  std::vector<Kernel> kernels(const NewBuffer& new_buffer) const;
};

// What of a GpuSort is done where a block has room for a row, up to `most_in_block`; nothing where
// `wanted` is 0.
constexpr std::int64_t most_in_block = 2048;
std::vector<Kernel> sort_short_rows(const GpuSort& sort, const NewBuffer& new_buffer);
// The first ones of longer rows: blocks leave those of their parts of the rows, and so on until
// there is one.
std::vector<Kernel> first_of_long_rows(const GpuSort& sort, const Dim& wanted,
                                       const NewBuffer& new_buffer);

// The passes of a sort by digits.
struct GpuDigits {
  Dim rows = 1, count, wanted = 1;
  int bits = 32;
  std::optional<Dim> limit;  // that keys from 0 on are below: the passes that takes, up to `bits`
  // Passes go from the first buffers to the second and back. Keys are turned right by 8 bits each
  // time.
  BufferRef keys[2], places[2];   // places: null if there are none
  const GpuSort* ends = nullptr;  // where keys come from and go; null: they are in the first buffer

  int passes() const;  // at most
  // Whether there is that one: 1 or 0.
  Dim has_pass(int pass) const;
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
  const BufferRef& unsorted() const { return digits_.keys[0]; }
  std::vector<Kernel> kernels(const NewBuffer& new_buffer) const {
    return digits_.kernels(new_buffer);
  }
  // Of the element that comes at that position: its key, and where it was, i32. 0 where a condition
  // is given and does not hold.
  Expr key(const Expr& position, const Expr& condition = nullptr) const;
  Expr place(const Expr& position) const { return sorted(digits_.places, position, nullptr); }

 private:
  Expr sorted(const BufferRef (&buffers)[2], const Expr& position, const Expr& condition) const;

  GpuDigits digits_;
  Dim passes_ = 0;
  Dim is_odd_ = 1;  // how many passes there are
};

// The key with its sign turned, and back: all bits count alike then.
Expr without_sign(const GpuSort& sort, const Expr& key);
// 1 if the size is more than the bound, else 0.
Dim is_above(const Dim& size, std::int64_t bound);

// A kernel of blocks, with its schedule.
Kernel kernel_of_sort(const Variable& block, const Dim& blocks, int threads, Block body,
                      const Dim& work);

}  // namespace kroton::loop
