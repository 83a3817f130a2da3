// The parts of build_tiles: tasks (tiles.cpp), packing (pack.cpp) and the tile (tile.cpp).
#pragma once
#include "compiler/contraction/tiles.h"
#include "compiler/loop/traverse.h"

namespace kroton {

inline loop::For serial_loop(const char* name, loop::Expr extent) {
  loop::For loop;
  loop.variable = loop::fresh_variable(name);
  loop.extent = std::move(extent);
  return loop;
}

inline loop::Stmt serial(const loop::Variable& variable, loop::Expr extent, loop::Block body) {
  loop::For loop;
  loop.variable = variable;
  loop.extent = std::move(extent);
  loop.body = std::move(body);
  return loop::statement(std::move(loop));
}

class TileBuilder {
 public:
  TileBuilder(const Contraction& contraction, const TilePlan& plan,
              const loop::NewBuffer& new_buffer);
  virtual ~TileBuilder() = default;
  loop::Kernel run();

 protected:
  // One place along each inner axis, within the run in progress.
  using Point = std::vector<loop::Expr>;

  // Tasks.
  loop::For all_tasks();
  virtual loop::Block tasks();
  virtual void make_buffers();
  virtual loop::Block pack_panels(const loop::Expr& first, const loop::Expr& panels);
  virtual loop::Block rows_of_task(const loop::Expr& first, const loop::Expr& panels,
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
  loop::Block pack_windows(const loop::Expr& number, const loop::Expr& first, const Dim& columns);
  loop::Block pack_rows(const loop::Expr& first_row, loop::For lanes);
  // An element of the panel with a number. Where B is read in place only the last one is packed.
  loop::Expr panel_index(const loop::Expr& number, const Point& k, const loop::Expr& column) const;
  Point origin() const;
  loop::Expr panel_row_of(const Point& k) const;
  loop::Expr block_index(const Point& k, const loop::Expr& row) const;

  // The tile. With may_pass_end, rows past the last are computed from the last row's operands and
  // not stored.
  loop::Block tile(int rows, int vectors, const loop::Expr& first, const Dim& columns,
                   const loop::Expr& first_row, bool may_pass_end);

  loop::Expr a_at(const loop::Expr& row, const Point& k) const;
  loop::Expr b_at(const Point& k, const loop::Expr& column) const;
  void add_inner_places(Places& places, const Point& k) const;
  // Where an inner point lies among all of its run, row-major.
  loop::Expr position_of(const Point& k) const;
  // The tiles' columns within a panel: so many tiles one after the other, of so many vectors, the
  // first of which begins there; all but the last are full.
  struct ColumnTiles {
    loop::Expr first, count;
    int vectors = 1;
    Dim columns;  // of the last tile
  };
  std::vector<ColumnTiles> tiles_of_panel(const Dim& columns) const;
  // What `body` makes for each run of inner elements.
  template <class Body>
  loop::Block over_inner_runs(const Body& body);
  // How many along the first inner axis make so many inner elements, at least 1.
  Dim along_first_axis(std::int64_t elements) const;
  Dim inner_of_run() const;  // the inner elements of a run
  Dim rows_kept() const;     // of sums of earlier runs, for a panel
  Dim kept_pitch() const;
  Dim number_of_panels() const;
  Dim columns_of_whole_panels() const;
  loop::Expr kept_at(const loop::Expr& row, const loop::Expr& column) const;
  // Loops over the inner axes, or the first of them, around what `body` gives for a point.
  template <class Body>
  loop::Block over_inner(const Body& body) const {
    return over_inner(inner_extents(), body);
  }
  template <class Body>
  loop::Block over_inner(const std::vector<loop::Expr>& extents, const Body& body) const;
  std::vector<loop::Expr> inner_extents() const;
  // buffer[from + j] = 0 for each j below `count`.
  loop::Stmt zeros(const loop::BufferRef& buffer, const loop::Expr& from, const Dim& count) const;
  loop::For vector_loop(const loop::Variable& variable, const Dim& extent, int unrolled) const;

  const Contraction& c_;
  TilePlan plan_;
  const loop::NewBuffer& new_buffer_;
  const Dim& rows_;     // of the last row axis
  const Dim& columns_;  // of the last column axis
  const Dim panel_columns_;
  Dim panel_pitch_;  // of a row of a panel, which may be longer
  Dim panel_size_;   // from one panel to the next
  loop::BufferRef panel_, block_;
  // The sums of earlier blocks of inner elements: a tile's within a run, and those that all of a
  // task's tiles have from earlier runs.
  loop::BufferRef earlier_, kept_;
  const bool has_one_run_;
  Dim run_extent_;   // of the first inner axis
  loop::Expr runs_;  // of inner elements
  // Of what is being made: the run of inner elements, the places along the other row axes, what a
  // row of the last axis is shifted by among the task's, the panel's number in the task, the first
  // row of the packed block.
  loop::Expr run_;
  Places outer_rows_;
  loop::Expr row_shift_, number_, first_of_block_;
  loop::Expr column_in_panel_ = loop::integer(0);  // of the tile's first column
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

template <class Body>
loop::Block TileBuilder::each_panel(const loop::Expr& first, const loop::Expr& panels,
                                    const Body& body) {
  const Dim whole = columns_of_whole_panels();
  const Dim rest = columns_ - whole;
  const bool one = plan_.panels_of_task.is_constant(1);
  loop::For loop = serial_loop("panel", panels);
  const loop::Expr number = one ? loop::integer(0) : loop::variable(loop.variable);
  const loop::Expr column = (first + number) * loop::size(panel_columns_);
  loop::Block block;
  if (rest.is_constant(0)) {
    block = body(number, column, panel_columns_);
  } else if (whole.is_constant(0)) {
    block = body(number, column, rest);
  } else {
    loop::If choice;
    choice.condition = loop::binary(loop::Op::lt, column, loop::size(whole));
    choice.then_body = body(number, column, panel_columns_);
    choice.else_body = body(number, column, rest);
    if (choice.then_body.empty() && choice.else_body.empty()) return {};
    block = {loop::statement(std::move(choice))};
  }
  if (one || block.empty()) return block;
  loop.body = std::move(block);
  return {loop::statement(std::move(loop))};
}

}  // namespace kroton
