// Copies of what a tile cannot read fast where it lies.
#include "compiler/contraction/tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

loop::Expr TileBuilder::panel_index(const loop::Expr& number, const Point& k,
                                    const loop::Expr& column) const {
  const loop::Expr row =
      plan_.b_in_place ? position_of(k) : number * loop::size(inner_of_run()) + position_of(k);
  return row * loop::integer(plan_.panel_columns()) + column;
}

loop::Expr TileBuilder::block_index(const Point& k, const loop::Expr& row) const {
  return position_of(k) * loop::integer(plan_.rows_of_block) + row;
}

// panel[k, j] = B[k, first + j], anything where j is past the last column.
loop::Block TileBuilder::pack(const loop::Expr& number, const loop::Expr& first,
                              const Dim& columns) {
  if (is_contiguous(c_.b, c_.inner.back())) return pack_transposed(number, first, columns);
  loop::Block block;
  const loop::Variable j = loop::fresh_variable("j");
  const int padded = plan_.panel_columns();
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
  const auto serial = [](const loop::Variable& variable, loop::Expr extent, loop::Block body) {
    loop::For loop;
    loop.variable = variable;
    loop.extent = std::move(extent);
    loop.body = std::move(body);
    return loop::statement(std::move(loop));
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

// The part of a block of A that the loop over its rows, `lanes`, goes through.
loop::Block TileBuilder::pack_rows(const loop::Expr& first_row, loop::For lanes) {
  return over_inner([&](const Point& k) {
    const loop::Expr i = loop::variable(lanes.variable);
    lanes.body = {loop::Store{block_, block_index(k, i), a_at(first_row + i, k)}};
    return loop::Block{loop::statement(lanes)};
  });
}

}  // namespace kroton
