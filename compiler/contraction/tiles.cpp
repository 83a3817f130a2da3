// Tasks: which panels of columns and which rows are computed together, by one thread.
#include "compiler/contraction/tiles.h"

#include "compiler/contraction/tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

namespace {

// The axes but the last.
AxisList outer(const AxisList& axes) { return {axes.begin(), axes.end() - 1}; }

loop::Block over_axes(const AxisList& axes, loop::Block body) {
  std::vector<loop::Variable> variables;
  std::vector<Dim> extents;
  for (const Axis& axis : axes) {
    variables.push_back(axis.variable);
    extents.push_back(axis.extent);
  }
  return loop::nest(variables, extents, std::move(body));
}

}  // namespace

TileBuilder::TileBuilder(const Contraction& contraction, const TilePlan& plan,
                         const loop::NewBuffer& new_buffer)
    : c_(contraction),
      plan_(plan),
      new_buffer_(new_buffer),
      rows_(contraction.rows.back().extent),
      columns_(contraction.columns.back().extent),
      panel_columns_(plan.panel_columns()),
      panel_pitch_(plan.panel_pitch(contraction)),
      has_one_run_(plan.has_one_run(contraction)) {
  if (!has_one_run_) {
    run_extent_ = along_first_axis(plan_.inner_run);
    runs_ = loop::size(maximum(1, ceil_div(c_.inner[0].extent, run_extent_)));
  }
  panel_size_ = plan_.panel_rows(c_, inner_of_run()) * panel_pitch_;
}

void TileBuilder::make_buffers() {
  const bool may_pack = plan_.rows_to_pack_from != 0;
  if (may_pack || plan_.packs(columns_)) {
    const bool is_rest = plan_.b_in_place && !may_pack;
    panel_ = new_buffer_("panel", c_.dtype,
                         panel_size_ * (is_rest ? Dim(1) : plan_.panels_of_task) +
                             Dim(c_.positions.empty() ? 0 : plan_.tile_columns()),
                         loop::Space::worker);
  }
  if (plan_.rows_of_block != 0) {
    block_ = new_buffer_("block", c_.dtype, inner_of_run() * Dim(plan_.rows_of_block),
                         loop::Space::worker);
  }
  if (!plan_.has_one_block(c_)) {
    earlier_ = new_buffer_("earlier", c_.dtype, Dim(plan_.accumulators * plan_.lanes),
                           loop::Space::worker);
  }
  if (!has_one_run_) {
    kept_ = new_buffer_("kept", c_.dtype, plan_.panels_of_task * rows_kept() * kept_pitch(),
                        loop::Space::worker);
  }
}

loop::Kernel TileBuilder::run() {
  make_buffers();
  loop::Kernel kernel;
  kernel.body = {loop::statement(all_tasks())};
  kernel.work = loop::size(c_.work());
  return kernel;
}

// The tasks of all products of a batch, and at all positions along other axes of the columns, which
// threads share: there may be one product, or many of one task.
loop::For TileBuilder::all_tasks() {
  const loop::For one = *loop::as_for(tasks().at(0));
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const AxisList& axes : {c_.batch, outer(c_.columns)}) {
    for (const Axis& axis : axes) {
      variables.push_back(axis.variable);
      extents.push_back(loop::size(axis.extent));
    }
  }
  std::int64_t tasks_of_product = 0;
  const bool is_small = loop::is_integer_constant(one.extent, tasks_of_product);
  if (is_small && tasks_of_product == 1) {
    // No more is gained by it than dividing costs.
    loop::Block block = over_axes(c_.batch, over_axes(outer(c_.columns), {loop::statement(one)}));
    loop::For outermost = *loop::as_for(block.at(0));
    outermost.kind = loop::LoopKind::parallel;
    return outermost;
  }
  loop::For all = one;
  all.kind = loop::LoopKind::parallel;
  if (variables.empty()) return all;
  variables.push_back(one.variable);
  extents.push_back(one.extent);
  all.variable = loop::fresh_variable(one.variable.name);
  for (const loop::Expr& extent : extents) {
    all.extent = &extent == &extents.front() ? extent : all.extent * extent;
  }
  all.body =
      loop::substitute(one.body, loop::unflatten(variables, extents, loop::variable(all.variable)));
  return all;
}

// The loop over tasks of one product: some panels of columns with all rows, or with a group of
// them.
loop::Block TileBuilder::tasks() {
  const Dim panels = number_of_panels();
  const Dim groups = ceil_div(panels, plan_.panels_of_task);
  const Dim all_rows = c_.rows.size() == 1 ? rows_ : count(outer(c_.rows));
  loop::For loop = serial_loop("task", loop::size(groups));
  loop::Expr group = loop::variable(loop.variable), first_row = loop::integer(0);
  loop::Expr rows = loop::size(all_rows);
  if (plan_.rows_of_task != 0) {
    const Dim parts = ceil_div(all_rows, Dim(plan_.rows_of_task));
    loop.extent = loop::size(groups * parts);
    const loop::Expr task = group;
    group = groups.is_constant(1) ? loop::integer(0)
                                  : loop::binary(Op::floor_div, task, loop::size(parts));
    rows = loop::integer(plan_.rows_of_task);
    first_row = (task - group * loop::size(parts)) * rows;
    if (!(all_rows.is_constant() && all_rows.constant() % plan_.rows_of_task == 0)) {
      rows = loop::binary(Op::min, rows, loop::size(all_rows) - first_row);
    }
  }
  const loop::Expr first = group * loop::size(plan_.panels_of_task);
  loop::Expr count = loop::size(plan_.panels_of_task);
  if (!(panels - floor_div(panels, plan_.panels_of_task) * plan_.panels_of_task).is_constant(0)) {
    count = loop::binary(Op::min, count, loop::size(panels) - first);
  }
  const auto task = [&](bool b_in_place) {
    plan_.b_in_place = b_in_place;
    return over_inner_runs([&] {
      loop::Block body = pack_panels(first, count);
      for (loop::Stmt& stmt : rows_of_task(first, count, first_row, rows)) {
        body.push_back(std::move(stmt));
      }
      return body;
    });
  };
  if (plan_.rows_to_pack_from == 0) {
    loop.body = task(plan_.b_in_place);
  } else {
    loop::If choice;
    choice.condition = loop::binary(Op::le, loop::integer(plan_.rows_to_pack_from),
                                    loop::size(kroton::count(c_.rows)));
    choice.then_body = task(false);
    choice.else_body = task(true);
    loop.body = {loop::statement(std::move(choice))};
  }
  return {loop::statement(std::move(loop))};
}

// A task goes through all its tiles for one run before the next: what is read of A and B is then
// still in the cache for the next tile, however many inner elements there are.
template <class Body>
loop::Block TileBuilder::over_inner_runs(const Body& body) {
  if (has_one_run_) return body();
  loop::For runs = serial_loop("run", runs_);
  run_ = loop::variable(runs.variable);
  runs.body = body();
  return {loop::statement(std::move(runs))};
}

// A tile may reach past the last row by less than a small tile.
Dim TileBuilder::rows_kept() const {
  const Dim surplus(plan_.small_tile_rows(1));
  if (c_.rows.size() == 1) {
    return (plan_.rows_of_task != 0 ? Dim(plan_.rows_of_task) : rows_) + surplus;
  }
  const Dim outer_rows = plan_.rows_of_task != 0 ? Dim(plan_.rows_of_task) : count(outer(c_.rows));
  return outer_rows * (rows_ + surplus);
}

loop::Expr TileBuilder::kept_at(const loop::Expr& row, const loop::Expr& column) const {
  return (number_ * loop::size(rows_kept()) + row + row_shift_) * loop::size(kept_pitch()) +
         column_in_panel_ + column;
}

// The last tile of a panel of several may reach past it.
Dim TileBuilder::kept_pitch() const {
  return c_.positions.empty() ? panel_columns_ : panel_columns_ + Dim(plan_.tile_columns());
}

// Whole panels, and one for what is left.
Dim TileBuilder::number_of_panels() const {
  return c_.positions.empty() ? ceil_div(columns_, panel_columns_)
                              : ceil_div(c_.positions[0].extent, plan_.positions_of_panel);
}

Dim TileBuilder::columns_of_whole_panels() const {
  if (c_.positions.empty()) return floor_div(columns_, panel_columns_) * panel_columns_;
  return floor_div(c_.positions[0].extent, plan_.positions_of_panel) * panel_columns_;
}

loop::Block TileBuilder::pack_panels(const loop::Expr& first, const loop::Expr& panels) {
  return each_panel(first, panels,
                    [&](const loop::Expr& number, const loop::Expr& column, const Dim& columns) {
                      return plan_.packs(columns) ? pack(number, column, columns) : loop::Block{};
                    });
}

// The rows of a task: those of the only axis, or all of the last axis at some positions along the
// others.
loop::Block TileBuilder::rows_of_task(const loop::Expr& first, const loop::Expr& panels,
                                      const loop::Expr& first_row, const loop::Expr& rows) {
  const auto blocks = [&](const loop::Expr& from, const loop::Expr& number) {
    return plan_.rows_of_block != 0 ? row_blocks(first, panels, from, number)
                                    : panel_tiles(first, panels, from, number);
  };
  if (c_.rows.size() == 1) {
    row_shift_ = loop::integer(0) - first_row;
    return blocks(first_row, rows);
  }
  loop::For loop = serial_loop("outer_row", rows);
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const Axis& axis : outer(c_.rows)) {
    variables.push_back(axis.variable);
    extents.push_back(loop::size(axis.extent));
  }
  outer_rows_ = loop::unflatten(variables, extents, first_row + loop::variable(loop.variable));
  row_shift_ = loop::variable(loop.variable) * loop::size(rows_ + Dim(plan_.small_tile_rows(1)));
  loop.body = blocks(loop::integer(0), loop::size(rows_));
  return {loop::statement(std::move(loop))};
}

loop::Block TileBuilder::panel_tiles(const loop::Expr& first, const loop::Expr& panels,
                                     const loop::Expr& first_row, const loop::Expr& rows) {
  return each_panel(first, panels,
                    [&](const loop::Expr& number, const loop::Expr& column, const Dim& columns) {
                      number_ = number;
                      return row_tiles(column, columns, first_row, rows);
                    });
}

// Blocks of rows, each with its part of A packed: block[k, i] = A[row + i, k].
loop::Block TileBuilder::row_blocks(const loop::Expr& first, const loop::Expr& panels,
                                    const loop::Expr& first_row, const loop::Expr& rows) {
  const std::int64_t rows_of_block = plan_.rows_of_block;
  const loop::Expr height = loop::integer(rows_of_block);
  loop::For blocks = serial_loop(
      "block", loop::binary(Op::floor_div, rows + loop::integer(rows_of_block - 1), height));
  const loop::Expr done = loop::variable(blocks.variable) * height;
  loop::Expr inside = height;
  if (std::int64_t known = 0;
      !loop::is_integer_constant(rows, known) || known % rows_of_block != 0) {
    inside = loop::binary(Op::min, height, rows - done);
  }
  first_of_block_ = first_row + done;
  const loop::Variable i = loop::fresh_variable("i");
  blocks.body = pack_rows(first_of_block_,
                          vector_loop(i, Dim(rows_of_block), static_cast<int>(rows_of_block)));
  if (inside != height) {
    loop::For part = vector_loop(i, Dim(rows_of_block), 0);
    part.extent = inside;
    loop::If choice;
    choice.condition = loop::binary(Op::eq, inside, height);
    choice.then_body = std::move(blocks.body);
    choice.else_body = pack_rows(first_of_block_, std::move(part));
    blocks.body = {loop::statement(std::move(choice))};
  }
  for (loop::Stmt& stmt : panel_tiles(first, panels, first_of_block_, inside)) {
    blocks.body.push_back(std::move(stmt));
  }
  return {loop::statement(std::move(blocks))};
}

// Strip by strip of columns, which stays in the first cache if it can, tiles for `rows` rows from
// first_row on: full ones, and for the rest one exact tile if its height is known, else small ones
// of which the last may reach past the end.
loop::Block TileBuilder::row_tiles(const loop::Expr& first, const Dim& columns,
                                   const loop::Expr& first_row, const loop::Expr& rows) {
  const std::vector<ColumnTiles> groups = tiles_of_panel(columns);
  int vectors = 1;
  for (const ColumnTiles& group : groups) vectors = std::max(vectors, group.vectors);
  const int full_rows = plan_.tile_rows(vectors);
  const int small_rows = plan_.small_tile_rows(vectors);
  const loop::Expr whole = loop::binary(Op::floor_div, rows, loop::integer(full_rows));
  const loop::Expr rest = rows - whole * loop::integer(full_rows);
  const loop::Expr first_of_rest = first_row + whole * loop::integer(full_rows);
  std::int64_t known = 0;
  const bool is_known = loop::is_integer_constant(rows, known);
  loop::Block all;
  for (const ColumnTiles& group : groups) {
    loop::For along = serial_loop("strip", group.count);
    std::int64_t strips = 0;
    const bool is_one = loop::is_integer_constant(group.count, strips) && strips == 1;
    column_in_panel_ = group.first;
    if (!is_one) {
      column_in_panel_ =
          column_in_panel_ +
          loop::variable(along.variable) * loop::integer(std::int64_t{group.vectors} * plan_.lanes);
    }
    loop::Block block;
    const auto tiles = [&](const loop::Expr& count, int tile_rows, const loop::Expr& from,
                           bool may_pass_end) {
      loop::For loop = serial_loop("tile", count);
      const loop::Expr row = from + loop::variable(loop.variable) * loop::integer(tile_rows);
      loop.body = tile(tile_rows, group.vectors, first + column_in_panel_, group.columns, row,
                       may_pass_end);
      block.push_back(loop::statement(std::move(loop)));
    };
    if (!is_known || known >= full_rows) tiles(whole, full_rows, first_row, false);
    if (!is_known) {
      tiles(loop::binary(Op::floor_div, rest + loop::integer(small_rows - 1),
                         loop::integer(small_rows)),
            small_rows, first_of_rest, small_rows > 1);
    } else if (known % full_rows != 0) {
      tiles(loop::integer(1), static_cast<int>(known % full_rows), first_of_rest, false);
    }
    if (!is_one) {
      along.body = std::move(block);
      block = {loop::statement(std::move(along))};
    }
    for (loop::Stmt& stmt : block) all.push_back(std::move(stmt));
  }
  column_in_panel_ = loop::integer(0);
  return all;
}

std::vector<TileBuilder::ColumnTiles> TileBuilder::tiles_of_panel(const Dim& columns) const {
  const loop::Expr one = loop::integer(1), zero = loop::integer(0);
  const std::int64_t lanes = plan_.lanes;
  if (c_.positions.empty() && columns.is_constant()) {
    return {{zero, one, plan_.vectors_for(columns), columns}};
  }
  if (c_.positions.empty()) {
    // What is left of all columns, in one tile: of the least width, by halves, that they fit in.
    const auto has = [&](std::int64_t least) { return minimum(1, floor_div(columns, Dim(least))); };
    std::vector<ColumnTiles> result;
    Dim wider = 0;
    for (int vectors = plan_.vectors; vectors >= 1; vectors /= 2) {
      const Dim so_many = has(vectors == 1 ? 1 : vectors / 2 * lanes + 1);
      result.push_back({zero, loop::size(so_many - wider), vectors, columns});
      wider = so_many;
    }
    return result;
  }
  if (!columns.is_constant()) {
    // What whole tiles leave over, in narrower ones: tiles of half the width and so on, and a
    // vector that is not full.
    std::vector<ColumnTiles> result;
    Dim done = 0;
    for (std::int64_t vectors = plan_.vectors; vectors >= 1; vectors /= 2) {
      const Dim width = Dim(vectors * lanes), tiles = floor_div(columns - done, width);
      result.push_back({loop::size(done), loop::size(tiles), static_cast<int>(vectors), width});
      done = done + tiles * width;
    }
    const Dim rest = columns - done;
    result.push_back({loop::size(done), loop::size(ceil_div(rest, lanes)), 1, rest});
    return result;
  }
  // As many as are needed, all of about the same width.
  std::vector<ColumnTiles> result;
  const std::int64_t filled = (columns.constant() + lanes - 1) / lanes;
  const std::int64_t tiles = (filled + plan_.vectors - 1) / plan_.vectors;
  std::int64_t done = 0;
  const auto add = [&](std::int64_t count, std::int64_t vectors, std::int64_t of_each) {
    if (count == 0) return;
    result.push_back(
        {loop::integer(done), loop::integer(count), static_cast<int>(vectors), Dim(of_each)});
    done += count * vectors * lanes;
  };
  const std::int64_t narrow = filled / tiles, wide = filled % tiles;
  const bool is_cut = columns.constant() % lanes != 0;
  add(wide, narrow + 1, (narrow + 1) * lanes);
  add(tiles - wide - (is_cut ? 1 : 0), narrow, narrow * lanes);
  if (is_cut) add(1, narrow, columns.constant() - done);
  return result;
}

loop::Kernel build_tiles(const Contraction& contraction, const TilePlan& plan,
                         const loop::NewBuffer& new_buffer) {
  return TileBuilder(contraction, plan, new_buffer).run();
}

}  // namespace kroton
