// Products by the matrix units of a GPU.
#include <algorithm>

#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/matrix_tile.h"

namespace kroton {
namespace {

using loop::Op;

// Slices of the operands in shared memory: one is multiplied, the others are on their way.
constexpr int stages = 3;

// The warps of a block multiply slices of both operands in shared memory. Those of the next steps
// come meanwhile: by copies that nobody waits for, or, of operands whose neighbours along no axis
// are known to be neighbours in memory, by way of the threads.
class UnitTiles final : public GpuTileBuilder {
 public:
  using GpuTileBuilder::GpuTileBuilder;

 private:
  // An operand's slices in shared memory: lines along the inner axis, or across it.
  struct Operand {
    bool is_a;
    loop::Expr value;  // as it lies in memory
    const AxisList* axes;
    Dim size;
    loop::Expr first;  // row or column of the tile
    int width;         // rows or columns of the tile
    bool runs_inner;
    loop::TileLines lines;
    loop::BufferRef slices;
    // Where it may be copied by whole pieces: whether those are aligned.
    loop::Expr aligned = nullptr;
    std::int64_t elements(int depth) const { return std::int64_t{width} * depth; }
  };

  loop::Block tile() override {
    tile_ = *plan_.units;
    Operand a = operand(true), b = operand(false);
    tile_.a_runs_inner = a.runs_inner;
    tile_.b_runs_inner = b.runs_inner;
    a.lines = loop::lines_of_a(tile_, *plan_.element);
    b.lines = loop::lines_of_b(tile_, *plan_.element);
    const int held = loop::sums_of_thread(tile_);
    const auto sums = new_buffer_("sums", c_.dtype, Dim(held), loop::Space::registers);
    loop::Block block;
    for (Operand* one : {&a, &b}) {
      one->slices = new_buffer_(one->is_a ? "a_slices" : "b_slices", *plan_.element,
                                Dim(one->elements(plan_.depth) * stages), loop::Space::shared);
      block.push_back(loop::Allocate{one->slices});
    }
    block.push_back(loop::Allocate{sums});
    block.push_back(over_sums([&](const Sum& sum) {
      const loop::Expr number = sum.first + loop::variable(sum.next);
      return unrolled(sum.next, 2, {loop::Store{sums, number, loop::real(0, c_.dtype)}});
    }));
    const Steps all = steps();
    const auto bring_both = [&](loop::Block& into, const loop::Expr& step) {
      const loop::Expr stage = loop::binary(Op::mod, step, loop::integer(stages));
      for (const Operand* one : {&a, &b}) into.push_back(bring(*one, all.first + step, stage));
    };
    for (int k = 0; k + 1 < stages; ++k) bring_both(block, loop::integer(k));
    // Which copies the barrier of a step need not wait for: those of the slices behind its own.
    const int copying = (a.aligned ? 1 : 0) + (b.aligned ? 1 : 0);
    loop::For loop;
    loop.variable = loop::fresh_variable("step");
    loop.extent = all.count;
    const loop::Expr step = loop::variable(loop.variable);
    loop.body.push_back(loop::Barrier{copying * (stages - 2)});
    bring_both(loop.body, step + loop::integer(stages - 1));
    const loop::Expr stage = loop::binary(Op::mod, step, loop::integer(stages));
    loop.body.push_back(loop::Multiply{sums, a.slices, b.slices,
                                       stage * loop::integer(a.elements(plan_.depth)),
                                       stage * loop::integer(b.elements(plan_.depth)), tile_});
    block.push_back(loop::statement(std::move(loop)));
    // A block does not end while copies to its memory are on their way.
    block.push_back(loop::Barrier{});
    block.push_back(over_sums([&](const Sum& sum) {
      return store_neighbours(sum.row, sum.column, sum.next, 2,
                              loop::load(sums, sum.first + loop::variable(sum.next)));
    }));
    return block;
  }

  Operand operand(bool is_a) const {
    Operand o;
    o.is_a = is_a;
    o.value = is_a ? c_.a : c_.b;
    if (o.value->dtype != *plan_.element) o.value = o.value->args[0];
    o.axes = is_a ? &c_.rows : &c_.columns;
    o.size = is_a ? rows_ : columns_;
    o.first = is_a ? first_row_ : first_column_;
    o.width = is_a ? plan_.rows : plan_.columns;
    o.runs_inner = is_contiguous(o.value, c_.inner.back()) ||
                   (is_a && !is_contiguous(o.value, o.axes->back()));
    o.aligned = pieces_are_aligned(o);
    return o;
  }

  // Whether pieces of 16 bytes along the line lie in memory as they are wanted and begin at
  // multiples of 16 bytes; null if that cannot be.
  loop::Expr pieces_are_aligned(const Operand& o) const {
    const AxisList& along = o.runs_inner ? c_.inner : *o.axes;
    if (along.size() != 1 || o.value->op != Op::load || loop::is_conditional(*o.value) ||
        !is_contiguous(o.value, along[0])) {
      return nullptr;
    }
    const loop::Expr pieces = loop::integer(loop::elements_together(*plan_.element));
    const loop::Expr& index = o.value->args[0];
    loop::Expr aligned = loop::boolean_constant(true);
    Places zeros{{along[0].variable, loop::integer(0)}};
    const auto require = [&](const loop::Expr& elements) {
      aligned = loop::binary(
          Op::logical_and, aligned,
          loop::binary(Op::eq, loop::binary(Op::mod, elements, pieces), loop::integer(0)));
    };
    for (const AxisList* axes : {&c_.batch, &c_.rows, &c_.columns, &c_.inner}) {
      for (const Axis& axis : *axes) {
        if (axis.variable == along[0].variable) continue;
        const loop::Expr step = loop::stride_of(index, axis.variable);
        if (!step || !loop::as_dim(step)) return nullptr;
        require(step);
        zeros.push_back({axis.variable, loop::integer(0)});
      }
    }
    const loop::Expr start = loop::substitute(index, zeros);
    if (!loop::as_dim(start)) return nullptr;
    require(start);
    std::int64_t known = 1;
    return loop::is_integer_constant(aligned, known) && known == 0 ? nullptr : aligned;
  }

  // Brings the slice of that number, counted from the first of all, to its place; zeros past the
  // operand's ends.
  loop::Stmt bring(const Operand& o, const loop::Expr& number, const loop::Expr& stage) const {
    const int together = o.aligned ? o.lines.together : 1;
    const std::int64_t pieces = o.elements(plan_.depth) / together;
    const int threads_of_block = plan_.threads();
    const auto rounds = static_cast<int>((pieces + threads_of_block - 1) / threads_of_block);
    const loop::Variable t = loop::fresh_variable("t");
    const loop::Variable n = loop::fresh_variable("n");
    const loop::Expr piece =
        loop::variable(n) * loop::integer(threads_of_block) + loop::variable(t);
    const loop::Expr in_line = loop::integer(o.lines.width / together);
    const loop::Expr line = loop::binary(Op::floor_div, piece, in_line);
    const loop::Expr at = loop::binary(Op::mod, piece, in_line) * loop::integer(together);
    const loop::Expr k = number * loop::integer(plan_.depth) + (o.runs_inner ? at : line);
    const loop::Expr place = o.first + (o.runs_inner ? line : at);
    Places places = places_of(*o.axes, place);
    for (auto& one : places_of(c_.inner, k)) places.push_back(std::move(one));
    const loop::Expr value = loop::substitute(o.value, places);
    const loop::Expr to =
        stage * loop::integer(o.elements(plan_.depth)) + loop::place_in_tile(o.lines, line, at);
    loop::Block body = o.aligned ? loop::Block{copied(o, to, value, k, place)}
                                 : loop::Block{stored(o, to, value, k, place)};
    if (pieces % threads_of_block != 0) {
      body = {loop::statement(
          loop::If{loop::binary(Op::lt, piece, loop::integer(pieces)), std::move(body), {}})};
    }
    return threads(t, threads_of_block, unrolled(n, rounds, std::move(body)));
  }

  loop::Stmt copied(const Operand& o, const loop::Expr& to, const loop::Expr& value,
                    const loop::Expr& k, const loop::Expr& place) const {
    const loop::Expr inner = loop::size(inner_), size = loop::size(o.size);
    loop::Expr available = o.runs_inner ? inner - k : size - place;
    const loop::Expr line_is_there =
        o.runs_inner ? loop::binary(Op::lt, place, size) : loop::binary(Op::lt, k, inner);
    if (!o.runs_inner || !fits(o.size, o.width)) {
      available = loop::select(line_is_there, available, loop::integer(0));
    }
    return loop::Copy{o.slices,         to,       value->buffer, value->args[0], available,
                      o.lines.together, o.aligned};
  }

  loop::Stmt stored(const Operand& o, const loop::Expr& to, const loop::Expr& value,
                    const loop::Expr& k, const loop::Expr& place) const {
    loop::Expr inside = loop::binary(Op::lt, k, loop::size(inner_));
    if (!fits(o.size, o.width)) {
      inside =
          loop::binary(Op::logical_and, inside, loop::binary(Op::lt, place, loop::size(o.size)));
    }
    if (!may_stop(value)) return loop::Store{o.slices, to, only_inside(value, inside)};
    return loop::statement(loop::If{inside,
                                    {loop::Store{o.slices, to, value}},
                                    {loop::Store{o.slices, to, loop::real(0, value->dtype)}}});
  }

  // Two neighbours of a thread's sums: the place of the first in the tile, its register; the
  // number of one of them.
  struct Sum {
    loop::Expr row, column, first;
    loop::Variable next;
  };

  // `body` for every two sums of every thread, in the places that loop::place_of_sum says.
  template <class Body>
  loop::Stmt over_sums(const Body& body) const {
    const auto number = [](std::int64_t value) { return loop::integer(value); };
    const loop::Variable t = loop::fresh_variable("t"), i = loop::fresh_variable("i"),
                         j = loop::fresh_variable("j"), half = loop::fresh_variable("half"),
                         next = loop::fresh_variable("next");
    const int down = tile_.warp_rows / 16, across = tile_.warp_columns / 8;
    const loop::Expr lane = loop::binary(Op::mod, loop::variable(t), number(32));
    const loop::Expr warp = loop::binary(Op::floor_div, loop::variable(t), number(32));
    const loop::Expr warps = number(tile_.columns / tile_.warp_columns);
    Sum sum;
    sum.row = loop::binary(Op::floor_div, warp, warps) * number(tile_.warp_rows) +
              loop::variable(i) * number(16) + loop::variable(half) * number(8) +
              loop::binary(Op::floor_div, lane, number(4));
    sum.column = loop::binary(Op::mod, warp, warps) * number(tile_.warp_columns) +
                 loop::variable(j) * number(8) + loop::binary(Op::mod, lane, number(4)) * number(2);
    sum.first = ((loop::variable(i) * number(across) + loop::variable(j)) * number(2) +
                 loop::variable(half)) *
                number(2);
    sum.next = next;
    loop::Block results = unrolled(j, across, body(sum));
    results = unrolled(half, 2, std::move(results));
    results = unrolled(i, down, std::move(results));
    return threads(t, plan_.threads(), std::move(results));
  }

  loop::MatrixTile tile_;
};

}  // namespace

std::unique_ptr<GpuTileBuilder> matrix_unit_builder(const Contraction& contraction,
                                                    const GpuTilePlan& plan,
                                                    const loop::NewBuffer& new_buffer) {
  return std::make_unique<UnitTiles>(contraction, plan, new_buffer);
}

}  // namespace kroton
