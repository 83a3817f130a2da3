// Where the elements of a Multiply lie: in shared memory and in the threads' registers. The code
// for CUDA has the same in its own words (codegen/cuda/matrix_prelude.cpp).
#pragma once
#include <utility>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Neighbours in 16 bytes: what one thread reads or copies at a time.
inline int elements_together(DType dtype) { return 16 / static_cast<int>(size_of(dtype)); }

inline int warps_of(const MatrixTile& tile) {
  return tile.rows / tile.warp_rows * (tile.columns / tile.warp_columns);
}
inline int sums_of_thread(const MatrixTile& tile) {
  return tile.warp_rows * tile.warp_columns / 32;
}

// A tile in shared memory is lines of `width` elements, a power of two, in pieces of 16 bytes. The
// pieces of each line are exchanged in another way, so that those at one place of neighbouring
// lines, which a warp reads together, are in different banks. `across` the inner axis, numbers of 4
// bytes are read one by one, of two pieces in each line.
struct TileLines {
  int width, together;
  bool across;
};
inline TileLines lines_of_a(const MatrixTile& tile, DType dtype) {
  return {tile.a_runs_inner ? tile.depth : tile.rows, elements_together(dtype), !tile.a_runs_inner};
}
inline TileLines lines_of_b(const MatrixTile& tile, DType dtype) {
  return {tile.b_runs_inner ? tile.depth : tile.columns, elements_together(dtype),
          !tile.b_runs_inner};
}

// What a line's pieces are exchanged by: the number of each is combined with it by exclusive or.
struct Exchange {
  int lines_alike;  // that many lines after each other have the same
  int factor;       // of the line's number then
  int count;        // modulo
};
inline Exchange exchange_of(const TileLines& lines) {
  constexpr int pieces_of_banks = 8;
  const int pieces = lines.width / lines.together;
  if (pieces >= pieces_of_banks) {
    const bool pairs = lines.across && lines.together == 4;
    return {1, pairs ? 2 : 1, pieces_of_banks};
  }
  return {pieces_of_banks / pieces, 1, pieces};
}

inline int place_in_tile(const TileLines& lines, int line, int at) {
  const Exchange exchange = exchange_of(lines);
  const int by = line / exchange.lines_alike * exchange.factor % exchange.count;
  return line * lines.width + (at / lines.together ^ by) * lines.together + at % lines.together;
}
// The same of expressions; of the first of its piece where that is what `at` is.
Expr place_in_tile(const TileLines& lines, const Expr& line, const Expr& at);

inline int place_of_a(const MatrixTile& tile, DType dtype, int row, int k) {
  return tile.a_runs_inner ? place_in_tile(lines_of_a(tile, dtype), row, k)
                           : place_in_tile(lines_of_a(tile, dtype), k, row);
}
inline int place_of_b(const MatrixTile& tile, DType dtype, int k, int column) {
  return tile.b_runs_inner ? place_in_tile(lines_of_b(tile, dtype), column, k)
                           : place_in_tile(lines_of_b(tile, dtype), k, column);
}

// Row and column in the block's tile of a thread's sum: warps share the tile, and their lanes each
// 16 x 8 sums of a warp's, four a lane: in two rows two neighbours each.
inline std::pair<int, int> place_of_sum(const MatrixTile& tile, std::int64_t thread, int sum) {
  const int lane = static_cast<int>(thread % 32), warp = static_cast<int>(thread / 32);
  const int warps_across = tile.columns / tile.warp_columns;
  const int part = sum / 4, parts_across = tile.warp_columns / 8;
  return {
      warp / warps_across * tile.warp_rows + part / parts_across * 16 + sum % 4 / 2 * 8 + lane / 4,
      warp % warps_across * tile.warp_columns + part % parts_across * 8 + lane % 4 * 2 + sum % 2};
}

// The value that is multiplied: of 32 bits, rounded to 11 bits, ties away from zero.
double multiplied(double value, DType dtype);

}  // namespace kroton::loop
