#include "compiler/contraction/gpu_shared_tile.h"

#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

// The index with variables in place of the numbers of groups: of heads, say, that share a row of
// keys, which is the quotient of a head's number.
std::pair<loop::Expr, std::vector<loop::Variable>> with_groups(
    const loop::Expr& index, std::span<const AxisList* const> all) {
  std::vector<loop::Variable> groups;
  const auto is_axis = [&](const loop::Expr& e) {
    if (e->op != Op::variable) return false;
    for (const AxisList* axes : all) {
      for (const Axis& axis : *axes) {
        if (axis.variable == e->variable) return true;
      }
    }
    return false;
  };
  loop::Rewriter rewrite([&](const loop::Expr& e) {
    const bool divides = e->op == Op::div || e->op == Op::floor_div || e->op == Op::mod;
    if (!divides || !is_axis(e->args[0]) || !loop::as_dim(e->args[1])) return e;
    groups.push_back(loop::fresh_variable("group"));
    return loop::variable(groups.back());
  });
  loop::Expr replaced = rewrite(index);
  return {replaced, groups};
}

// Whether pieces of 16 bytes along the line lie in memory as they are wanted and begin at
// multiples of 16 bytes; null if that cannot be.
loop::Expr pieces_are_aligned(const SharedTile& tile, std::span<const AxisList* const> all) {
  const AxisList& along = tile.runs_inner ? *tile.inner : *tile.axes;
  const loop::Expr& value = tile.value;
  if (along.size() != 1 || value->op != Op::load || loop::is_conditional(*value) ||
      !is_contiguous(value, along[0])) {
    return nullptr;
  }
  const loop::Expr pieces = loop::integer(loop::elements_together(value->dtype));
  const auto [index, groups] = with_groups(value->args[0], all);
  loop::Expr aligned = loop::boolean_constant(true);
  Places zeros{{along[0].variable, loop::integer(0)}};
  const auto require = [&](const loop::Expr& elements) {
    aligned = loop::binary(
        Op::logical_and, aligned,
        loop::binary(Op::eq, loop::binary(Op::mod, elements, pieces), loop::integer(0)));
  };
  for (const AxisList* axes : all) {
    for (const Axis& axis : *axes) {
      if (axis.variable == along[0].variable) continue;
      const loop::Expr step = loop::stride_of(index, axis.variable);
      if (!step || !loop::as_dim(step)) return nullptr;
      require(step);
      zeros.push_back({axis.variable, loop::integer(0)});
    }
  }
  for (const loop::Variable& group : groups) {
    const loop::Expr step = loop::stride_of(index, group);
    if (!step || !loop::as_dim(step)) return nullptr;
    require(step);
    zeros.push_back({group, loop::integer(0)});
  }
  const loop::Expr start = loop::substitute(index, zeros);
  if (!loop::as_dim(start)) return nullptr;
  require(start);
  std::int64_t known = 1;
  return loop::is_integer_constant(aligned, known) && known == 0 ? nullptr : aligned;
}

// Whether rows or columns of the tile may be none of the operand's.
bool may_be_outside(const SharedTile& tile) {
  return tile.may_begin_outside || !fits(tile.size, tile.width);
}

loop::Stmt tile_copied(const SharedTile& tile, const loop::Expr& to, const loop::Expr& value,
                       const loop::Expr& k, const loop::Expr& place) {
  const loop::Expr inner = loop::size(tile.inner_size), size = loop::size(tile.size);
  loop::Expr available = tile.runs_inner ? inner - k : size - place;
  const loop::Expr line_is_there =
      tile.runs_inner ? loop::binary(Op::lt, place, size) : loop::binary(Op::lt, k, inner);
  if (!tile.runs_inner || may_be_outside(tile)) {
    available = loop::select(line_is_there, available, loop::integer(0));
  }
  return loop::Copy{tile.buffer,         to,          value->buffer, value->args[0], available,
                    tile.lines.together, tile.aligned};
}

loop::Stmt tile_stored(const SharedTile& tile, const loop::Expr& to, const loop::Expr& value,
                       const loop::Expr& k, const loop::Expr& place) {
  loop::Expr inside = loop::binary(Op::lt, k, loop::size(tile.inner_size));
  if (may_be_outside(tile)) {
    inside =
        loop::binary(Op::logical_and, inside, loop::binary(Op::lt, place, loop::size(tile.size)));
  }
  if (!may_stop(value)) {
    return loop::Store{tile.buffer, to, GpuTileBuilder::only_inside(value, inside)};
  }
  return loop::statement(loop::If{inside,
                                  {loop::Store{tile.buffer, to, value}},
                                  {loop::Store{tile.buffer, to, loop::real(0, value->dtype)}}});
}

}  // namespace

SharedTile shared_tile(const loop::Expr& value, bool is_a, const AxisList& axes,
                       const AxisList& inner, int width, int depth,
                       std::span<const AxisList* const> all) {
  SharedTile tile{
      value,
      &axes,
      &inner,
      count(axes),
      count(inner),
      width,
      depth,
      is_contiguous(value, inner.back()) || (is_a && !is_contiguous(value, axes.back()))};
  tile.aligned = pieces_are_aligned(tile, all);
  return tile;
}

loop::Stmt bring(const SharedTile& tile, const loop::Expr& first, const loop::Expr& first_inner,
                 const loop::Expr& start, int threads) {
  const int together = tile.aligned ? tile.lines.together : 1;
  const std::int64_t pieces = tile.elements() / together;
  const auto rounds = static_cast<int>((pieces + threads - 1) / threads);
  const loop::Variable t = loop::fresh_variable("t");
  const loop::Variable n = loop::fresh_variable("n");
  const loop::Expr piece = loop::variable(n) * loop::integer(threads) + loop::variable(t);
  const loop::Expr in_line = loop::integer(tile.lines.width / together);
  const loop::Expr line = loop::binary(Op::floor_div, piece, in_line);
  const loop::Expr at = loop::binary(Op::mod, piece, in_line) * loop::integer(together);
  const loop::Expr k = first_inner + (tile.runs_inner ? at : line);
  const loop::Expr place = first + (tile.runs_inner ? line : at);
  Places places = GpuTileBuilder::places_of(*tile.axes, place);
  for (auto& one : GpuTileBuilder::places_of(*tile.inner, k)) places.push_back(std::move(one));
  const loop::Expr value = loop::substitute(tile.value, places);
  const loop::Expr to = start + loop::place_in_tile(tile.lines, line, at);
  loop::Block body = tile.aligned ? loop::Block{tile_copied(tile, to, value, k, place)}
                                  : loop::Block{tile_stored(tile, to, value, k, place)};
  if (pieces % threads != 0) {
    body = {loop::statement(
        loop::If{loop::binary(Op::lt, piece, loop::integer(pieces)), std::move(body), {}})};
  }
  return GpuTileBuilder::threads(t, threads, GpuTileBuilder::unrolled(n, rounds, std::move(body)));
}

}  // namespace kroton
