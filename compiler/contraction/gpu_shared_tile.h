// An operand's tile in shared memory, as matrix units read it.
#pragma once
#include <span>

#include "compiler/contraction/contraction.h"
#include "compiler/loop/matrix_tile.h"

namespace kroton {

// Lines along the inner axis, or across it.
struct SharedTile {
  loop::Expr value;      // the operand's elements as they lie in memory
  const AxisList* axes;  // rows or columns
  const AxisList* inner;
  Dim size, inner_size;  // of these
  int width, depth;      // rows or columns of the tile, its inner elements
  bool runs_inner;
  loop::TileLines lines = {};
  loop::BufferRef buffer = nullptr;
  // Where it may be copied by whole pieces: whether those are aligned.
  loop::Expr aligned = nullptr;
  bool may_begin_outside = false;  // a row or column past the end may be the first one asked for
  std::int64_t elements() const { return std::int64_t{width} * depth; }
};

// An operand in the order that it has in memory, its lines and buffer not set. `all`: the axes that
// it may depend on.
SharedTile shared_tile(const loop::Expr& value, bool is_a, const AxisList& axes,
                       const AxisList& inner, int width, int depth,
                       std::span<const AxisList* const> all);

// The block's threads bring the elements from that row (or column) and inner element on to the
// buffer's elements from `to` on; zeros past the operand's ends.
loop::Stmt bring(const SharedTile& tile, const loop::Expr& first, const loop::Expr& first_inner,
                 const loop::Expr& to, int threads);

}  // namespace kroton
