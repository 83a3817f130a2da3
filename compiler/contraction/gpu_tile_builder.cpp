#include "compiler/contraction/gpu_tile_builder.h"

#include <algorithm>

#include "compiler/loop/index_arithmetic.h"

namespace kroton {

using loop::Op;

bool may_stop(const loop::Expr& value) {
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&value, 1));
  return std::any_of(nodes.begin(), nodes.end(),
                     [](const loop::Expr& e) { return loop::may_fail(e->op); });
}

bool fits(const Dim& size, std::int64_t tile) {
  return (size - floor_div(size, Dim(tile)) * Dim(tile)).is_constant(0);
}

GpuTileBuilder::GpuTileBuilder(const Contraction& contraction, const GpuTilePlan& plan,
                               const loop::NewBuffer& new_buffer)
    : c_(contraction),
      plan_(plan),
      new_buffer_(new_buffer),
      rows_(count(c_.rows)),
      columns_(count(c_.columns)),
      inner_(count(c_.inner)) {}

Places GpuTileBuilder::places_of(const AxisList& axes, const loop::Expr& position) {
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const Axis& axis : axes) {
    variables.push_back(axis.variable);
    extents.push_back(loop::size(axis.extent));
  }
  return loop::unflatten(variables, extents, position);
}

loop::Kernel GpuTileBuilder::run() {
  loop::For blocks;
  blocks.kind = loop::LoopKind::block;
  blocks.variable = loop::fresh_variable("block");
  // The last two stand for the tile's place.
  AxisList axes;
  if (plan_.is_in_parts()) axes.push_back({part_, parts()});
  axes.insert(axes.end(), c_.batch.begin(), c_.batch.end());
  axes.push_back({loop::fresh_variable("tile_row"), ceil_div(rows_, Dim(plan_.rows))});
  axes.push_back({loop::fresh_variable("tile_column"), ceil_div(columns_, Dim(plan_.columns))});
  first_row_ = loop::variable(axes[axes.size() - 2].variable) * loop::integer(plan_.rows);
  first_column_ = loop::variable(axes.back().variable) * loop::integer(plan_.columns);
  // A place that takes a division is worked out once.
  Places at;
  for (auto& [variable, value] : places_of(axes, loop::variable(blocks.variable))) {
    if (value->args.empty()) {
      at.emplace_back(variable, value);
    } else {
      blocks.body.push_back(loop::Declare{variable, value});
    }
  }
  for (loop::Stmt& stmt : loop::substitute(tile(), at)) blocks.body.push_back(std::move(stmt));
  blocks.extent = loop::size(count(axes) * plan_.are_wanted);
  blocks.width = plan_.threads();
  loop::Kernel kernel;
  kernel.body = loop::simplify_indices({loop::statement(std::move(blocks))});
  kernel.work = loop::size(c_.work());
  return kernel;
}

GpuPartsKernels GpuTileBuilder::run_in_parts() {
  partial_ =
      new_buffer_("partial", c_.dtype, partial_count() * plan_.are_wanted, loop::Space::global);
  return {run(), combine()};
}

loop::Expr GpuTileBuilder::partial_index(const loop::Expr& part, const loop::Expr& row,
                                         const loop::Expr& column) const {
  loop::Expr at = part;
  for (const Axis& axis : c_.batch) {
    at = at * loop::size(axis.extent) + loop::variable(axis.variable);
  }
  return (at * loop::size(rows_) + row) * loop::size(columns_) + column;
}

loop::Kernel GpuTileBuilder::combine() const {
  const auto flat = [](const AxisList& axes) {
    loop::Expr at = loop::integer(0);
    for (const Axis& axis : axes) {
      at = at * loop::size(axis.extent) + loop::variable(axis.variable);
    }
    return at;
  };
  loop::For parts_loop;
  parts_loop.variable = loop::fresh_variable("part");
  parts_loop.extent = loop::size(parts());
  parts_loop.body = {
      loop::Accumulate{c_.sum, Op::add,
                       loop::load(partial_, partial_index(loop::variable(parts_loop.variable),
                                                          flat(c_.rows), flat(c_.columns)))}};
  loop::Block body{loop::Declare{c_.sum, loop::real(0, c_.dtype)},
                   loop::statement(std::move(parts_loop))};
  body.insert(body.end(), c_.stores.begin(), c_.stores.end());
  loop::Kernel kernel;
  kernel.body = over_results(c_, std::move(body));
  kernel.work = loop::size(partial_count());
  return kernel;
}

GpuTileBuilder::Steps GpuTileBuilder::steps() const {
  const loop::Expr all = loop::size(slices());
  if (!plan_.is_in_parts()) return {loop::integer(0), all};
  const loop::Expr first = loop::variable(part_) * loop::size(plan_.slices_of_part);
  return {first, loop::binary(Op::min, loop::size(plan_.slices_of_part), all - first)};
}

int GpuTileBuilder::neighbours_along_axis(int most) const {
  if (partial_ != nullptr || c_.columns.size() == 1) return most;
  int count = most;
  while (!fits(c_.columns.back().extent, count)) count /= 2;
  return count;
}

loop::Block GpuTileBuilder::stored(const Contraction& contraction, const loop::Expr& row,
                                   const loop::Expr& column, const loop::Expr& sum,
                                   const loop::Expr& next, int count) const {
  if (partial_ != nullptr) {
    return {loop::Store{partial_, partial_index(loop::variable(part_), row, column + next), sum}};
  }
  Places places = places_of(contraction.rows, row);
  const Axis& last = contraction.columns.back();
  const bool are_along = contraction.columns.size() > 1 && fits(last.extent, count);
  for (auto& [variable, place] :
       places_of(contraction.columns, are_along ? column : column + next)) {
    places.emplace_back(variable, are_along && variable == last.variable ? place + next : place);
  }
  places.push_back({contraction.sum, sum});
  return loop::substitute(loop::Block(contraction.stores.begin(), contraction.stores.end()),
                          places);
}

loop::Block GpuTileBuilder::store(const loop::Expr& row_of_tile, const loop::Expr& column_of_tile,
                                  const loop::Expr& sum) const {
  const loop::Expr row = first_row_ + row_of_tile;
  const loop::Expr column = first_column_ + column_of_tile;
  return inside(row, rows_, plan_.rows,
                inside(column, columns_, plan_.columns, stored(c_, row, column, sum)));
}

loop::Block GpuTileBuilder::store_neighbours(const loop::Expr& row_of_tile,
                                             const loop::Expr& column_of_tile,
                                             const loop::Variable& next, int count,
                                             const loop::Expr& sum) const {
  return store_neighbours_of(c_, plan_.columns, row_of_tile, first_column_ + column_of_tile, next,
                             count, sum);
}

loop::Block GpuTileBuilder::store_neighbours_of(const Contraction& contraction, int tile_columns,
                                                const loop::Expr& row_of_tile,
                                                const loop::Expr& column,
                                                const loop::Variable& next, int count,
                                                const loop::Expr& sum) const {
  const loop::Expr row = first_row_ + row_of_tile;
  const Dim columns = kroton::count(contraction.columns);
  loop::For neighbours;
  neighbours.variable = next;
  neighbours.kind = loop::LoopKind::vector;
  neighbours.width = neighbours.unrolled = count;
  neighbours.extent = loop::integer(count);
  if (!fits(columns, tile_columns)) {
    neighbours.extent = loop::binary(Op::min, loop::size(columns) - column, neighbours.extent);
  }
  neighbours.body = stored(contraction, row, column, sum, loop::variable(next), count);
  return inside(row, rows_, plan_.rows, {loop::statement(std::move(neighbours))});
}

loop::Expr GpuTileBuilder::only_inside(const loop::Expr& value, const loop::Expr& inside) {
  loop::Rewriter rewrite([&](const loop::Expr& e) {
    if (e->op != Op::load) return e;
    const loop::Expr when =
        loop::is_conditional(*e) ? loop::binary(Op::logical_and, inside, e->args[1]) : inside;
    return loop::load(e->buffer, e->args[0], when);
  });
  const loop::Expr guarded = rewrite(value);
  return value->op == Op::load ? guarded
                               : loop::select(inside, guarded, loop::real(0, value->dtype));
}

loop::Block GpuTileBuilder::inside(const loop::Expr& index, const Dim& size, int tile,
                                   loop::Block body) {
  if (fits(size, tile)) return body;
  return {loop::statement(
      loop::If{loop::binary(Op::lt, index, loop::size(size)), std::move(body), {}})};
}

loop::Block GpuTileBuilder::unrolled(const loop::Variable& variable, int extent, loop::Block body) {
  loop::For loop;
  loop.kind = loop::LoopKind::unroll;
  loop.variable = variable;
  loop.extent = loop::integer(extent);
  loop.body = std::move(body);
  return {loop::statement(std::move(loop))};
}

loop::Stmt GpuTileBuilder::threads(const loop::Variable& variable, int extent, loop::Block body) {
  loop::For loop;
  loop.kind = loop::LoopKind::thread;
  loop.variable = variable;
  loop.extent = loop::integer(extent);
  loop.body = std::move(body);
  return loop::statement(std::move(loop));
}

}  // namespace kroton
