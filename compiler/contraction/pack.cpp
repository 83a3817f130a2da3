// Copies of what a tile cannot read fast where it lies.
#include "compiler/contraction/tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

loop::Expr TileBuilder::panel_index(const loop::Expr& number, const Point& k,
                                    const loop::Expr& column) const {
  loop::Expr inside = panel_row_of(k) * loop::size(panel_pitch_) + column;
  if (!plan_.b_in_place) inside = number * loop::size(panel_size_) + inside;
  if (!c_.overlap) return inside;
  const Dim further = Dim(c_.overlap->distance) * plan_.columns_of_position;
  return inside + k[c_.overlap->inner] * loop::size(further);
}

TileBuilder::Point TileBuilder::origin() const { return Point(c_.inner.size(), loop::integer(0)); }

// The panel's row for an inner point: those along the axis of an overlap share one.
loop::Expr TileBuilder::panel_row_of(const Point& k) const {
  loop::Expr position = k[0];
  for (std::size_t axis = 1; axis < k.size(); ++axis) {
    if (c_.overlap && axis == c_.overlap->inner) continue;
    position = position * loop::size(c_.inner[axis].extent) + k[axis];
  }
  return position;
}

loop::Expr TileBuilder::block_index(const Point& k, const loop::Expr& row) const {
  return position_of(k) * loop::integer(plan_.rows_of_block) + row;
}

loop::Stmt TileBuilder::zeros(const loop::BufferRef& buffer, const loop::Expr& from,
                              const Dim& count) const {
  const loop::Variable j = loop::fresh_variable("j");
  loop::For lanes = vector_loop(j, count, 0);
  lanes.body = {loop::Store{buffer, from + loop::variable(j), loop::real(0, c_.dtype)}};
  return loop::statement(std::move(lanes));
}

// panel[k, j] = B[k, first + j], anything where j is past the last column.
loop::Block TileBuilder::pack(const loop::Expr& number, const loop::Expr& first,
                              const Dim& columns) {
  if (!c_.positions.empty()) return pack_windows(number, first, columns);
  if (is_contiguous(c_.b, c_.inner.back())) return pack_transposed(number, first, columns);
  loop::Block block;
  const loop::Variable j = loop::fresh_variable("j");
  const int padded = plan_.tile_columns();
  const auto fill = [&](const Dim& extent, const auto& value) {
    for (loop::Stmt& stmt : over_inner([&](const Point& k) {
           loop::For lanes = vector_loop(j, extent, padded);
           lanes.body = {loop::Store{panel_, panel_index(number, k, loop::variable(j)), value(k)}};
           return loop::Block{loop::statement(std::move(lanes))};
         })) {
      block.push_back(std::move(stmt));
    }
  };
  if (!columns.is_constant(padded)) {
    fill(Dim(padded), [&](const Point&) { return loop::real(0, c_.dtype); });
  }
  fill(columns, [&](const Point& k) { return b_at(k, first + loop::variable(j)); });
  return block;
}

// The same where B is contiguous along the last inner axis: squares of W x W elements, which the
// emitter transposes in registers, then what is left of that axis. Past the last column its
// elements are read again.
loop::Block TileBuilder::pack_transposed(const loop::Expr& number, const loop::Expr& first,
                                         const Dim& columns) {
  const int vectors = plan_.vectors_for(columns);
  const int lanes = plan_.lanes;
  const loop::Variable square = loop::fresh_variable("square");
  const loop::Variable strip = loop::fresh_variable("strip");
  const loop::Variable last = loop::fresh_variable("k");
  const loop::Variable j = loop::fresh_variable("j");
  const auto copy = [&](Point k, const loop::Expr& along, const loop::Expr& column) {
    loop::Expr from = first + column;
    if (!columns.is_constant(vectors * lanes)) {
      from = loop::binary(Op::min, from, loop::size(columns_ - Dim(1)));
    }
    k.push_back(along);
    return loop::Block{loop::Store{panel_, panel_index(number, k, column), b_at(k, from)}};
  };
  std::vector<loop::Expr> outer_extents = inner_extents();
  const loop::Expr inner = outer_extents.back();
  outer_extents.pop_back();
  const loop::Expr squares = loop::binary(Op::floor_div, inner, loop::integer(lanes));
  const loop::Expr whole = squares * loop::integer(lanes);
  const loop::Expr rest = inner - whole;
  return over_inner(outer_extents, [&](const Point& k) {
    loop::For columns_of_square;
    columns_of_square.variable = j;
    columns_of_square.extent = loop::integer(lanes);
    columns_of_square.kind = loop::LoopKind::unroll;
    columns_of_square.body =
        copy(k, loop::variable(square) * loop::integer(lanes) + loop::variable(last),
             loop::variable(strip) * loop::integer(lanes) + loop::variable(j));
    loop::For along = vector_loop(last, Dim(lanes), lanes);
    along.body = {loop::statement(std::move(columns_of_square))};
    loop::Block block{
        serial(square, squares,
               {serial(strip, loop::integer(vectors), {loop::statement(std::move(along))})})};
    if (std::int64_t known = 0; !loop::is_integer_constant(rest, known) || known != 0) {
      block.push_back(
          serial(j, loop::integer(vectors * lanes),
                 {serial(last, rest, copy(k, whole + loop::variable(last), loop::variable(j)))}));
    }
    return block;
  });
}

// The same of windows: for the positions of the panel, and those that an overlap adds to them, row
// after row.
loop::Block TileBuilder::pack_windows(const loop::Expr& number, const loop::Expr& first,
                                      const Dim& columns) {
  const Dim& width = plan_.columns_of_position;
  const bool is_whole = columns == panel_columns_;
  Dim positions = plan_.positions_of_panel;
  if (!is_whole) {
    const Dim& all = c_.positions[0].extent;
    positions = all - floor_div(all, positions) * positions;
  }
  std::vector<loop::Expr> extents = inner_extents();
  if (c_.overlap) {
    positions =
        positions + (c_.inner[c_.overlap->inner].extent - Dim(1)) * Dim(c_.overlap->distance);
    extents[c_.overlap->inner] = loop::integer(1);
  }
  const loop::Expr first_position = loop::binary(Op::floor_div, first, loop::size(width));
  // What tiles read past the last column: of a panel that is not whole, in each of its rows.
  const auto zeros_from = [&](const loop::Expr& start) {
    const loop::Variable j = loop::fresh_variable("j");
    loop::For lanes = vector_loop(j, Dim(plan_.tile_columns()), plan_.tile_columns());
    lanes.body = {loop::Store{panel_, start + loop::variable(j), loop::real(0, c_.dtype)}};
    return loop::statement(std::move(lanes));
  };
  loop::Block block = over_inner(extents, [&](Point k) {
    if (c_.overlap) k[c_.overlap->inner] = loop::integer(0);
    const loop::Variable p = loop::fresh_variable("p");
    Places places{{c_.positions[0].variable, first_position + loop::variable(p)}};
    add_inner_places(places, k);
    loop::Expr column = loop::variable(p) * loop::size(width), at = loop::integer(0);
    std::vector<loop::Variable> others;
    for (std::size_t axis = 1; axis < c_.positions.size(); ++axis) {
      others.push_back(loop::fresh_variable("p"));
      const loop::Expr place = loop::variable(others.back());
      places.push_back({c_.positions[axis].variable, place});
      at = at * loop::size(c_.positions[axis].extent) + place;
    }
    loop::Block body{
        loop::Store{panel_, panel_index(number, k, column + at), loop::substitute(c_.b, places)}};
    const auto filled = [&](loop::Stmt copy) {
      loop::Block row{std::move(copy)};
      if (!is_whole) {
        row.push_back(zeros_from(panel_index(number, k, loop::size(positions * width))));
      }
      return row;
    };
    // Along one axis alone the positions are the lanes.
    if (others.empty()) {
      loop::For lanes = vector_loop(p, positions, 0);
      lanes.body = std::move(body);
      return filled(loop::statement(std::move(lanes)));
    }
    for (std::size_t axis = c_.positions.size() - 1; axis > 0; --axis) {
      const Dim& extent = c_.positions[axis].extent;
      if (axis + 1 == c_.positions.size()) {
        loop::For lanes = vector_loop(others[axis - 1], extent, 0);
        lanes.body = std::move(body);
        body = {loop::statement(std::move(lanes))};
      } else {
        body = {serial(others[axis - 1], loop::size(extent), std::move(body))};
      }
    }
    return filled(serial(p, loop::size(positions), std::move(body)));
  });
  loop::Expr end = loop::size(panel_pitch_);
  for (const loop::Expr& extent : extents) end = end * extent;
  if (is_whole) block.push_back(zeros_from(panel_index(number, origin(), loop::integer(0)) + end));
  return block;
}

// The part of a block of A that the loop over its rows, `lanes`, goes through.
loop::Block TileBuilder::pack_rows(const loop::Expr& first_row, loop::For lanes) {
  return over_inner([&](const Point& k) {
    const loop::Expr i = loop::variable(lanes.variable);
    lanes.body = {loop::Store{block_, block_index(k, i), a_at(first_row + i, k)}};
    return loop::Block{loop::statement(lanes)};
  });
}

}  // namespace kroton
