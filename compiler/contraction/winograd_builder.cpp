#include "compiler/contraction/winograd_builder.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton::winograd {

using loop::Op;

Tiling::Tiling(const AxisList& of_pictures, const AxisList& of_positions,
               const std::vector<int>& results_of_tile)
    : pictures(of_pictures), positions(of_positions) {
  for (std::size_t axis = 0; axis < results_of_tile.size(); ++axis) {
    const Transforms& t = transforms(results_of_tile[axis]);
    of_elements.push_back(t.elements);
    of_filter.push_back(t.filter);
    of_results.push_back(t.results);
    results.push_back(results_of_tile[axis]);
    window.push_back(static_cast<std::int64_t>(t.filter.at(0).size()));
    seen.push_back(static_cast<std::int64_t>(t.elements.size()));
    products *= seen.back();
    tiles.push_back(ceil_div(positions[axis].extent, results.back()));
  }
  rows = pictures;
  for (std::size_t axis = 0; axis + 1 < axes(); ++axis) {
    rows.push_back({loop::fresh_variable("t"), tiles[axis]});
  }
}

Matrices::Matrices(DType dtype, const Dim& rows, const Dim& columns_of_row)
    : columns(columns_of_row),
      pitch(rows * columns_of_row +
            Dim(Machine::cache_line / static_cast<std::int64_t>(size_of(dtype)))) {}

loop::Expr Matrices::index(const loop::Expr& number, const loop::Expr& row,
                           const loop::Expr& column) const {
  return number * loop::size(pitch) + row * loop::size(columns) + column;
}

loop::Expr first_of_batch(const AxisList& batch, std::int64_t numbers) {
  loop::Expr first = loop::integer(0);
  for (const Axis& axis : batch) {
    first = first * loop::size(axis.extent) + loop::variable(axis.variable);
  }
  return first * loop::integer(numbers);
}

Panels::Panels(DType dtype, const Dim& rows_of_panel, const Dim& columns,
               std::int64_t columns_of_panel)
    : rows(rows_of_panel),
      count(ceil_div(columns, columns_of_panel)),
      width(columns_of_panel),
      matrices(dtype, count * rows_of_panel, Dim(columns_of_panel)) {}

loop::Kernel over_matrix(const AxisList& batch, const Axis& row, const Axis& column,
                         std::int64_t lanes, loop::Block body) {
  loop::For inner;
  inner.variable = column.variable;
  inner.extent = loop::size(column.extent);
  inner.kind = loop::LoopKind::vector;
  inner.width = static_cast<int>(lanes);
  inner.body = std::move(body);
  AxisList outer = batch;
  outer.push_back(row);
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const Axis& axis : outer) {
    variables.push_back(axis.variable);
    extents.push_back(loop::size(axis.extent));
  }
  const loop::Variable all = loop::fresh_variable("row");
  const std::int64_t cost = static_cast<std::int64_t>(inner.body.size()) * 8;
  loop::For rows;
  rows.variable = all;
  rows.extent = loop::size(count(outer));
  rows.kind = loop::LoopKind::parallel;
  rows.body = loop::substitute(loop::Block{loop::statement(std::move(inner))},
                               loop::unflatten(variables, extents, loop::variable(all)));
  loop::Kernel kernel;
  kernel.body = {loop::statement(std::move(rows))};
  kernel.work = loop::size(count(outer) * column.extent * Dim(cost));
  return kernel;
}

Builder::Lines Builder::make_lines(const char* name,
                                   const std::vector<std::int64_t>& counts) const {
  Lines lines;
  lines.counts = counts;
  lines.pitch = t_.row_length() * Dim(t_.results.back()) + Dim(counts.back() - t_.results.back());
  std::int64_t number = 1;
  for (std::size_t axis = 0; axis + 1 < counts.size(); ++axis) number *= counts[axis];
  lines.size = ceil_div(Dim(number) * lines.pitch, plan_.lanes) * Dim(plan_.lanes);
  const auto buffer = [&] {
    return new_buffer_(name, c_.dtype, Dim(plan_.lanes) * lines.size, loop::Space::worker);
  };
  lines.by_channel = buffer();
  lines.by_place = buffer();
  return lines;
}

Places Builder::row_places(const loop::Expr& number) const {
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const Axis& axis : t_.rows) {
    variables.push_back(axis.variable);
    extents.push_back(loop::size(axis.extent));
  }
  Places places = loop::unflatten(variables, extents, number);
  std::reverse(places.begin(), places.end());  // as the axes are
  return places;
}

loop::Stmt Builder::copy_lines(const Lines& lines, const TileOperand& operand,
                               const loop::Expr& first, const loop::Expr& count,
                               const Places& places) const {
  const std::size_t last = t_.axes() - 1, pictures = t_.pictures.size();
  const loop::Variable slot = loop::fresh_variable("slot");
  Places at(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(pictures));
  at.push_back({operand.channel.variable, first + loop::variable(slot)});
  loop::Expr line = loop::integer(0), inside;
  std::vector<loop::Variable> numbers;
  for (std::size_t axis = 0; axis < last; ++axis) {
    numbers.push_back(loop::fresh_variable("i"));
    const loop::Expr i = loop::variable(numbers.back());
    line = line * loop::integer(lines.counts[axis]) + i;
    loop::Expr position = places[pictures + axis].second * loop::integer(t_.results[axis]) + i;
    if (!t_.is_whole(axis)) {
      const loop::Expr end = loop::size(t_.positions[axis].extent + Dim(operand.more[axis]));
      const loop::Expr is_one = loop::binary(Op::lt, position, end);
      inside = inside ? loop::binary(Op::logical_and, inside, is_one) : is_one;
      position = loop::binary(Op::min, position, end - loop::integer(1));
    }
    at.push_back({operand.positions[axis].variable, position});
  }
  const loop::Variable w = loop::fresh_variable("w");
  at.push_back({operand.positions[last].variable, loop::variable(w)});
  loop::For along = vector_loop(w, t_.positions[last].extent + Dim(operand.more[last]), 0);
  loop::Expr value = loop::substitute(operand.element, at);
  if (inside) value = loop::select(inside, value, loop::real(0, c_.dtype));
  along.body = {loop::Store{lines.by_channel,
                            loop::variable(slot) * loop::size(lines.size) +
                                line * loop::size(lines.pitch) + loop::variable(w),
                            value}};
  // Channels within a line: what of it is padding is seen once for all.
  loop::Stmt copy = serial(slot, count, {loop::statement(std::move(along))});
  for (std::size_t axis = last; axis-- > 0;) {
    copy = serial(numbers[axis], loop::integer(lines.counts[axis]), {std::move(copy)});
  }
  return copy;
}

// Squares that are transposed in registers: vectors are read along the places of a channel and
// stored along the channels of a place, or the other way round.
loop::Stmt Builder::exchange(const Lines& lines, bool to_lanes) const {
  const loop::Variable square = loop::fresh_variable("square"),
                       place = loop::fresh_variable("place"), slot = loop::fresh_variable("slot");
  const loop::Expr at = loop::variable(square) * lanes() + loop::variable(place);
  const loop::Expr by_channel = loop::variable(slot) * loop::size(lines.size) + at;
  const loop::Expr by_place = at * lanes() + loop::variable(slot);
  loop::For stored;
  stored.variable = to_lanes ? slot : place;
  stored.extent = lanes();
  stored.kind = loop::LoopKind::unroll;
  stored.body = {
      to_lanes ? loop::Store{lines.by_place, by_place, loop::load(lines.by_channel, by_channel)}
               : loop::Store{lines.by_channel, by_channel, loop::load(lines.by_place, by_place)}};
  loop::For read = vector_loop(to_lanes ? place : slot, Dim(plan_.lanes), plan_.lanes);
  read.body = {loop::statement(std::move(stored))};
  return serial(square, loop::size(floor_div(lines.size, plan_.lanes)),
                {loop::statement(std::move(read))});
}

loop::Expr Builder::element_index(const Lines& lines, const std::vector<std::int64_t>& place,
                                  const loop::Expr& tile, const loop::Expr& lane) const {
  std::int64_t line = 0;
  for (std::size_t axis = 0; axis + 1 < place.size(); ++axis) {
    line = line * lines.counts[axis] + place[axis];
  }
  const loop::Expr along = tile * loop::integer(t_.results.back()) + loop::integer(place.back());
  return (loop::integer(line) * loop::size(lines.pitch) + along) * lanes() + lane;
}

}  // namespace kroton::winograd
