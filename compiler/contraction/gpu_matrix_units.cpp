// Products by the matrix units of a GPU.
#include <algorithm>

#include "compiler/contraction/gpu_shared_tile.h"
#include "compiler/contraction/gpu_tile_builder.h"

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
  loop::Block tile() override {
    tile_ = *plan_.units;
    SharedTile a = operand(true), b = operand(false);
    tile_.a_runs_inner = a.runs_inner;
    tile_.b_runs_inner = b.runs_inner;
    a.lines = loop::lines_of_a(tile_, *plan_.element);
    b.lines = loop::lines_of_b(tile_, *plan_.element);
    const int held = loop::sums_of_thread(tile_);
    const auto sums = new_buffer_("sums", c_.dtype, Dim(held), loop::Space::registers);
    loop::Block block;
    for (SharedTile* one : {&a, &b}) {
      one->buffer = new_buffer_(one == &a ? "a_slices" : "b_slices", *plan_.element,
                                Dim(one->elements() * stages), loop::Space::shared);
      block.push_back(loop::Allocate{one->buffer});
    }
    block.push_back(loop::Allocate{sums});
    block.push_back(over_sums([&](const Sum& sum) {
      const loop::Expr number = sum.first + loop::variable(sum.next);
      return unrolled(sum.next, 2, {loop::Store{sums, number, loop::real(0, c_.dtype)}});
    }));
    const Steps all = steps();
    const auto bring_both = [&](loop::Block& into, const loop::Expr& step) {
      const loop::Expr stage = loop::binary(Op::mod, step, loop::integer(stages));
      const loop::Expr first_inner = (all.first + step) * loop::integer(plan_.depth);
      for (const SharedTile* one : {&a, &b}) {
        into.push_back(bring(*one, one == &a ? first_row_ : first_column_, first_inner,
                             stage * loop::integer(one->elements()), plan_.threads()));
      }
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
    loop.body.push_back(loop::Multiply{sums, a.buffer, b.buffer,
                                       stage * loop::integer(a.elements()),
                                       stage * loop::integer(b.elements()), tile_});
    block.push_back(loop::statement(std::move(loop)));
    // A block does not end while copies to its memory are on their way.
    block.push_back(loop::Barrier{});
    block.push_back(over_sums([&](const Sum& sum) {
      return store_neighbours(sum.row, sum.column, sum.next, 2,
                              loop::load(sums, sum.first + loop::variable(sum.next)));
    }));
    return block;
  }

  SharedTile operand(bool is_a) const {
    loop::Expr value = is_a ? c_.a : c_.b;
    if (value->dtype != *plan_.element) value = value->args[0];
    const AxisList* const all[] = {&c_.batch, &c_.rows, &c_.columns, &c_.inner};
    return shared_tile(value, is_a, is_a ? c_.rows : c_.columns, c_.inner,
                       is_a ? plan_.rows : plan_.columns, plan_.depth, all);
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
