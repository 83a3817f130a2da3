// The tile of results in registers.
#include "compiler/contraction/tile_builder.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

loop::Expr TileBuilder::a_at(const loop::Expr& row, const Point& k) const {
  Places places = outer_rows_;
  places.push_back({c_.rows.back().variable, row});
  add_inner_places(places, k);
  return loop::substitute(c_.a, places);
}

loop::Expr TileBuilder::b_at(const Point& k, const loop::Expr& column) const {
  Places places{{c_.columns.back().variable, column}};
  add_inner_places(places, k);
  return loop::substitute(c_.b, places);
}

void TileBuilder::add_inner_places(Places& places, const Point& k) const {
  for (std::size_t axis = 0; axis < k.size(); ++axis) {
    const bool is_cut = axis == 0 && !has_one_run_;
    places.push_back(
        {c_.inner[axis].variable, is_cut ? run_ * loop::size(run_extent_) + k[axis] : k[axis]});
  }
}

Dim TileBuilder::along_first_axis(std::int64_t elements) const {
  if (c_.inner.size() == 1) return Dim(elements);
  const Dim others = count({c_.inner.begin() + 1, c_.inner.end()});
  return maximum(1, floor_div(Dim(elements), maximum(1, others)));
}

Dim TileBuilder::inner_of_run() const {
  return has_one_run_ ? count(c_.inner)
                      : run_extent_ * count({c_.inner.begin() + 1, c_.inner.end()});
}

loop::Expr TileBuilder::position_of(const Point& k) const {
  loop::Expr position = k[0];
  for (std::size_t axis = 1; axis < k.size(); ++axis) {
    position = position * loop::size(c_.inner[axis].extent) + k[axis];
  }
  return position;
}

std::vector<loop::Expr> TileBuilder::inner_extents() const {
  std::vector<loop::Expr> extents;
  for (const Axis& axis : c_.inner) extents.push_back(loop::size(axis.extent));
  if (!has_one_run_) {
    extents[0] = loop::extent_of_block(extents[0], loop::size(run_extent_), run_);
  }
  return extents;
}

loop::For TileBuilder::vector_loop(const loop::Variable& variable, const Dim& extent,
                                   int unrolled) const {
  loop::For loop;
  loop.variable = variable;
  loop.extent = loop::size(extent);
  loop.kind = loop::LoopKind::vector;
  loop.width = plan_.lanes;
  loop.unrolled = unrolled;
  return loop;
}

// rows x columns results from (first_row, first) on.
loop::Block TileBuilder::tile(int rows, int vectors, const loop::Expr& first, const Dim& columns,
                              const loop::Expr& first_row, bool may_pass_end) {
  const int padded = vectors * plan_.lanes;
  const loop::BufferRef sums =
      new_buffer_("tile", c_.dtype, Dim(rows * padded), loop::Space::registers);
  const loop::Expr last = loop::size(rows_ - Dim(1));
  const auto over_tile = [&](const Dim& extent, const auto& statement, bool only_inside = false) {
    const loop::Variable i = loop::fresh_variable("i");
    const loop::Variable j = loop::fresh_variable("j");
    loop::For lanes = vector_loop(j, extent, padded);
    lanes.body = statement(loop::variable(i), loop::variable(j));
    loop::For each;
    each.variable = i;
    each.extent = loop::integer(rows);
    each.kind = loop::LoopKind::unroll;
    each.body = {loop::statement(std::move(lanes))};
    if (only_inside) {
      loop::If inside;
      inside.condition = loop::binary(Op::le, first_row + loop::variable(i), last);
      inside.then_body = std::move(each.body);
      each.body = {loop::statement(std::move(inside))};
    }
    return loop::statement(std::move(each));
  };
  const auto at = [&](const loop::Expr& i, const loop::Expr& j) {
    return i * loop::integer(padded) + j;
  };
  loop::Block block{loop::Allocate{sums}};
  const loop::Stmt zeros = over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
    return loop::Block{loop::Store{sums, at(i, j), loop::real(0, c_.dtype)}};
  });

  // A part of a vector of B in place goes by way of a row of zeros.
  loop::BufferRef row_of_b;
  if (!plan_.packs(columns) && !columns.is_constant(padded)) {
    row_of_b = new_buffer_("row", c_.dtype, Dim(padded), loop::Space::registers);
    block.push_back(loop::Allocate{row_of_b});
  }
  // More inner elements than are added one after the other: blocks of the first inner axis.
  const bool one_block = plan_.has_one_block(c_);
  std::vector<loop::Expr> extents = inner_extents();
  loop::For blocks;
  blocks.variable = loop::fresh_variable("k_block");
  const loop::Expr number = loop::variable(blocks.variable);
  const Dim first_axis_block = along_first_axis(plan_.inner_block);
  if (!one_block) {
    const loop::Expr length = loop::size(first_axis_block);
    blocks.extent = loop::binary(
        Op::max, loop::integer(1),
        loop::binary(Op::floor_div, extents[0] + loop::size(first_axis_block - Dim(1)), length));
    extents[0] = loop::extent_of_block(extents[0], length, number);
  }

  loop::Block steps = over_inner(extents, [&](Point k) {
    if (!one_block) k[0] = number * loop::size(first_axis_block) + k[0];
    loop::Block body;
    if (row_of_b) {
      const auto fill = [&](const Dim& extent, const auto& value) {
        const loop::Variable j = loop::fresh_variable("j");
        loop::For lanes = vector_loop(j, extent, padded);
        lanes.body = {loop::Store{row_of_b, loop::variable(j), value(loop::variable(j))}};
        body.push_back(loop::statement(std::move(lanes)));
      };
      fill(Dim(padded), [&](const loop::Expr&) { return loop::real(0, c_.dtype); });
      fill(columns, [&](const loop::Expr& j) { return b_at(k, first + j); });
    }
    body.push_back(over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      loop::Expr row = first_row + i;
      if (may_pass_end) row = loop::binary(Op::min, row, last);
      const loop::Expr a = plan_.rows_of_block != 0
                               ? loop::load(block_, block_index(k, row - first_of_block_))
                               : a_at(row, k);
      const loop::Expr b = plan_.packs(columns)
                               ? loop::load(panel_, panel_index(number_, k, column_in_panel_ + j))
                           : row_of_b ? loop::load(row_of_b, j)
                                      : b_at(k, first + j);
      return loop::Block{loop::Store{sums, at(i, j), loop::fma(a, b, loop::load(sums, at(i, j)))}};
    }));
    return body;
  });

  // What a block or a run gives is added to what those before it gave.
  const auto stored = [&](const loop::BufferRef& to, const loop::BufferRef& earlier, bool adds) {
    return over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      const loop::Expr kept = earlier == kept_ ? kept_at(first_row + i, j) : at(i, j);
      loop::Expr sum = loop::load(sums, at(i, j));
      if (adds) sum = loop::load(earlier, kept) + sum;
      return loop::Block{loop::Store{to, to == sums ? at(i, j) : kept, sum}};
    });
  };
  const auto if_below = [](const loop::Expr& low, const loop::Expr& high, loop::Stmt then,
                           loop::Block otherwise = {}) {
    return loop::statement(
        loop::If{loop::binary(Op::lt, low, high), {std::move(then)}, std::move(otherwise)});
  };
  if (one_block) {
    block.push_back(zeros);
    for (loop::Stmt& stmt : steps) block.push_back(std::move(stmt));
  } else {
    blocks.body = {zeros};
    for (loop::Stmt& stmt : steps) blocks.body.push_back(std::move(stmt));
    blocks.body.push_back(if_below(loop::integer(0), number, stored(sums, earlier_, true)));
    blocks.body.push_back(
        if_below(number + loop::integer(1), blocks.extent, stored(earlier_, earlier_, false)));
    block.push_back(loop::statement(std::move(blocks)));
  }

  loop::Stmt results = over_tile(
      columns,
      [&](const loop::Expr& i, const loop::Expr& j) {
        Places places = outer_rows_;
        places.push_back({c_.rows.back().variable, first_row + i});
        places.push_back({c_.columns.back().variable, first + j});
        places.push_back({c_.sum, loop::load(sums, at(i, j))});
        loop::Block stores;
        for (const loop::Store& store : c_.stores) {
          stores.push_back(loop::Store{store.buffer, loop::substitute(store.index, places),
                                       loop::substitute(store.value, places)});
        }
        return stores;
      },
      may_pass_end);
  if (has_one_run_) {
    block.push_back(std::move(results));
    return block;
  }
  block.push_back(if_below(loop::integer(0), run_, stored(sums, kept_, true)));
  block.push_back(
      if_below(run_ + loop::integer(1), runs_, stored(kept_, kept_, false), {std::move(results)}));
  return block;
}

}  // namespace kroton
