// How a contraction runs on a CPU: the numbers and choices of docs/matmul.md.
#pragma once
#include "compiler/base/machine.h"
#include "compiler/contraction/contraction.h"

namespace kroton {

struct TilePlan {
  // A tile of results in registers: at most so many vectors of sums, and so many rows.
  int lanes = 4;  // of a vector
  int accumulators = 8;
  int most_rows = 4;
  int vectors = 2;  // of columns in a whole panel

  // Whole panels of B are read where they lie; and so is what is left of the columns.
  bool b_in_place = true;
  bool parts_in_place = false;
  // Where it is not known how many rows there are: from so many on B is packed all the same, which
  // is seen at run time. 0: never.
  std::int64_t rows_to_pack_from = 0;

  std::int64_t rows_of_block = 0;  // of A that are packed together; 0: A is read where it lies

  // What a task computes: panels with all rows, or with so many of them. Of several row axes it is
  // the positions of all but the last that are counted.
  Dim panels_of_task = 1;
  std::int64_t rows_of_task = 0;  // 0: all

  // Inner elements that a tile adds one after the other. More come in blocks, whose sums are added
  // to each other (loop/sum_blocks.h).
  std::int64_t inner_block = 1024;
  // Inner elements that a task goes through with all its tiles, before it does so with the next: as
  // many as leave a panel of B in the second cache.
  std::int64_t inner_run = 2048;

  // Windows: a panel has the columns of so many positions along the first axis, and several tiles.
  // 0: a panel is as wide as a tile.
  Dim positions_of_panel = 0;
  Dim columns_of_position = 1;

  bool has_windows() const { return !positions_of_panel.is_constant(0); }
  int tile_columns() const { return vectors * lanes; }
  Dim panel_columns() const {
    return has_windows() ? positions_of_panel * columns_of_position : Dim(tile_columns());
  }
  // Rows of a full tile of so many vectors; and of the tiles for what full ones leave over: enough
  // sums to hide the latency of a multiply-add, few enough to waste little.
  int tile_rows(int tile_vectors) const;
  int small_tile_rows(int tile_vectors) const;
  // The vectors that so many columns fill, at most those of a panel.
  int vectors_for(const Dim& columns) const;
  // Inner elements, and columns, that a packed panel has room for: what windows that overlap have
  // in common is there once, and the next tile's columns may be read past the last.
  Dim panel_rows(const Contraction& c, const Dim& inner) const;
  Dim panel_pitch(const Contraction& c) const;
  // Whether a panel of so many columns is copied.
  bool packs(const Dim& columns) const;
  bool has_one_block(const Contraction& c) const;
  bool has_one_run(const Contraction& c) const;

  std::string to_string() const;
};

// Whether A is copied as a whole, before the product, so that the elements of a row are neighbours.
bool copies_a(const Contraction& contraction);

TilePlan plan_tiles(const Contraction& contraction, const Machine& machine);

// Narrower tiles, if with them the columns of a tile stay in the first cache for all rows.
void narrow_tiles(TilePlan& plan, const Contraction& contraction, const Machine& machine);

}  // namespace kroton
