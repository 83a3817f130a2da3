// The tiles of kernels that multiply pairs of a row and a key (gpu_pair_tiles.h).
#pragma once
#include <kroton/dtype.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace kroton {

// A block's tile: so many rows, and so many keys at a time.
struct PairTilePlan {
  int rows, keys;
  DType element;            // of what is multiplied
  bool units;               // the device's matrix units multiply
  int thread_rows, across;  // of a thread; threads that share a row
};

// By matrix units, whose warps have so many rows each; by threads, with inner elements that are
// filled up to a multiple.
inline constexpr int attention_warp_rows = 16;
inline constexpr int attention_thread_depth = 8;
inline constexpr int attention_load = 4;  // columns that one load brings

inline constexpr int scalar_thread_rows = 4;
inline constexpr int scalar_threads = 128;
// Inner elements and columns that rows in shared memory and sums in registers have room for.
inline constexpr std::int64_t most_head = 128;

inline int filled_up(std::int64_t size, int to) {
  return static_cast<int>((size + to - 1) / to * to);
}
// Of tiles that matrix units read, whose lines are powers of two.
inline int width_of_units(std::int64_t size) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(size, attention_warp_rows))));
}
// Columns in groups of which one load brings all, as many for each thread.
inline int scalar_columns(std::int64_t columns, int across) {
  const int each = filled_up(columns, across) / across;
  return across * (each <= 2 ? each : filled_up(each, attention_load));
}

// Shared memory that a block has without asking.
inline constexpr std::int64_t attention_bytes = 48 << 10;

}  // namespace kroton
