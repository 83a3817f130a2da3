// The parts of build_tiles: tasks (tiles.cpp), packing (pack.cpp) and the tile (tile.cpp).
#pragma once
#include "compiler/contraction/tiles.h"
#include "compiler/loop/traverse.h"

namespace kroton {

class TileBuilder {
 public:
  TileBuilder(const Contraction& contraction, const TilePlan& plan,
              const loop::NewBuffer& new_buffer);
  loop::Kernel run();

 private:
  // One place along each inner axis.
  using Point = std::vector<loop::Expr>;

  // Tasks.
  loop::For all_tasks();
  loop::Block tasks();
  loop::Block pack_panels(const loop::Expr& first, const loop::Expr& panels);
  loop::Block rows_of_task(const loop::Expr& first, const loop::Expr& panels,
                           const loop::Expr& first_row, const loop::Expr& rows);
  loop::Block row_blocks(const loop::Expr& first, const loop::Expr& panels,
                         const loop::Expr& first_row, const loop::Expr& rows);
  loop::Block panel_tiles(const loop::Expr& first, const loop::Expr& panels,
                          const loop::Expr& first_row, const loop::Expr& rows);
  loop::Block row_tiles(const loop::Expr& first, const Dim& columns, const loop::Expr& first_row,
                        const loop::Expr& rows);
  // The body for each of `panels` panels from `first` on, given the panel's number within the task,
  // its first column and its columns: code of its own for what is left over at the end. None where
  // `body` gives none.
  template <class Body>
  loop::Block each_panel(const loop::Expr& first, const loop::Expr& panels, const Body& body);

  // Packing.
  loop::Block pack(const loop::Expr& number, const loop::Expr& first, const Dim& columns);
  loop::Block pack_transposed(const loop::Expr& number, const loop::Expr& first,
                              const Dim& columns);
  loop::Block pack_rows(const loop::Expr& first_row, loop::For lanes);
  // An element of the panel with a number. Where B is read in place only the last one is packed.
  loop::Expr panel_index(const loop::Expr& number, const Point& k, const loop::Expr& column) const;
  loop::Expr block_index(const Point& k, const loop::Expr& row) const;

  // The tile. With may_pass_end, rows past the last are computed from the last row's operands and
  // not stored.
  loop::Block tile(int rows, int vectors, const loop::Expr& first, const Dim& columns,
                   const loop::Expr& first_row, bool may_pass_end);

  loop::Expr a_at(const loop::Expr& row, const Point& k) const;
  loop::Expr b_at(const Point& k, const loop::Expr& column) const;
  // Where an inner point lies among all of them, row-major.
  loop::Expr position_of(const Point& k) const;
  // Loops over the inner axes, or the first of them, around what `body` gives for a point.
  template <class Body>
  loop::Block over_inner(const Body& body) const {
    return over_inner(inner_extents(), body);
  }
  template <class Body>
  loop::Block over_inner(const std::vector<loop::Expr>& extents, const Body& body) const;
  std::vector<loop::Expr> inner_extents() const;
  loop::For vector_loop(const loop::Variable& variable, const Dim& extent, int unrolled) const;

  const Contraction& c_;
  TilePlan plan_;
  const loop::NewBuffer& new_buffer_;
  const Dim& rows_;     // of the last row axis
  const Dim& columns_;  // of the last column axis
  loop::BufferRef panel_, block_;
  loop::BufferRef earlier_;  // a tile: the sums of earlier blocks of inner elements
  // Of what is being made: the places along the other row axes, the panel's number in the task, the
  // first row of the packed block.
  Places outer_rows_;
  loop::Expr number_, first_of_block_;
};

template <class Body>
loop::Block TileBuilder::over_inner(const std::vector<loop::Expr>& extents,
                                    const Body& body) const {
  Point k;
  std::vector<loop::For> loops;
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    loop::For& loop = loops.emplace_back();
    loop.variable = loop::fresh_variable(c_.inner[axis].variable.name);
    loop.extent = extents[axis];
    k.push_back(loop::variable(loop.variable));
  }
  loop::Block block = body(k);
  for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {
    loop->body = std::move(block);
    block = {loop::statement(std::move(*loop))};
  }
  return block;
}

}  // namespace kroton
