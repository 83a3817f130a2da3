#include "compiler/contraction/gpu_thread_tiles.h"

#include <algorithm>

#include "compiler/loop/sum_blocks.h"

namespace kroton {
namespace {

constexpr int columns_of_load = 4;

}  // namespace

loop::Block GpuThreadTileBuilder::tile() {
  const auto slice = [&](bool is_a) {
    Slice made;
    made.is_a = is_a;
    made.width = is_a ? plan_.rows : plan_.columns;
    made.stride = made.width + gpu_tile_padding;
    made.shared = buffer(is_a ? "a_slice" : "b_slice", plan_.depth * made.stride, shared);
    made.held = buffer(is_a ? "a_next" : "b_next", held_of(is_a), registers);
    return made;
  };
  const std::vector<Slice> both_slices{slice(true), slice(false)};
  const int results = plan_.thread_rows * plan_.thread_columns;
  const loop::BufferRef sums = buffer("sums", results, registers);
  loop::Block block;
  for (const Slice& s : both_slices) block.push_back(loop::Allocate{s.shared});
  block.push_back(loop::Allocate{sums});
  for (const Slice& s : both_slices) block.push_back(loop::Allocate{s.held});
  const auto zeros = [&](const loop::BufferRef& to) {
    return over_results([&](const Result& r) {
      return loop::Block{loop::Store{to, r.sum, loop::real(0, c_.dtype)}};
    });
  };

  begin(both_slices, block);
  const Steps all = this->steps();
  loop::For steps, blocks;
  steps.variable = loop::fresh_variable("step");
  steps.extent = all.count;
  loop::Expr step = loop::variable(steps.variable);
  // More inner elements than make a block: the sums of blocks are added to each other.
  loop::BufferRef totals = sums;
  const Dim longest = (plan_.is_in_parts() ? plan_.slices_of_part : slices()) * plan_.depth;
  if (!longest.is_constant() || longest.constant() > loop::sum_block) {
    totals = buffer("totals", results, registers);
    block.push_back(loop::Allocate{totals});
    block.push_back(zeros(totals));
    const loop::Expr in_block =
        loop::integer(std::max<std::int64_t>(1, loop::sum_block / plan_.depth));
    blocks.variable = loop::fresh_variable("block");
    blocks.extent = loop::blocks_in(steps.extent, in_block);
    const loop::Expr number = loop::variable(blocks.variable);
    step = number * in_block + step;
    steps.extent = loop::extent_of_block(steps.extent, in_block, number);
  }
  fetch_first(both_slices, all.first, block);
  for (const Slice& s : both_slices) steps.body.push_back(to_shared(s));
  steps.body.push_back(loop::Barrier{});
  fetch_next(both_slices, all.first + step + loop::integer(1), steps.body);
  steps.body.push_back(over_results(
      [&](const Result& r) {
        const auto element = [&](const Slice& s, const loop::Expr& at) {
          return loop::load(s.shared, r.k * loop::integer(s.stride) + at);
        };
        const auto sum = loop::fma(element(both_slices[0], r.row),
                                   element(both_slices[1], r.column), loop::load(sums, r.sum));
        return loop::Block{loop::Store{sums, r.sum, sum}};
      },
      plan_.depth));
  steps.body.push_back(loop::Barrier{});
  blocks.body = {zeros(sums), loop::statement(std::move(steps))};
  if (totals == sums) {
    for (loop::Stmt& stmt : blocks.body) block.push_back(std::move(stmt));
  } else {
    blocks.body.push_back(over_results([&](const Result& r) {
      const loop::Expr total = loop::load(totals, r.sum) + loop::load(sums, r.sum);
      return loop::Block{loop::Store{totals, r.sum, total}};
    }));
    block.push_back(loop::statement(std::move(blocks)));
  }
  block.push_back(store_all(totals));
  return block;
}

loop::Stmt GpuThreadTileBuilder::store_all(const loop::BufferRef& totals) const {
  const int count = neighbours_along_axis(std::min(plan_.thread_columns, columns_of_load));
  if (count == 1) {
    return over_results(
        [&](const Result& r) { return store(r.row, r.column, loop::load(totals, r.sum)); });
  }
  return over_results(
      [&](const Result& r) {
        const loop::Variable next = loop::fresh_variable("next");
        return store_neighbours(r.row, r.column, next, count,
                                loop::load(totals, r.sum + loop::variable(next)));
      },
      0, count);
}

template <class Body>
loop::Stmt GpuThreadTileBuilder::over_results(const Body& body, int depth, int together) const {
  const loop::Variable t = loop::fresh_variable("t");
  const loop::Variable k = loop::fresh_variable("k");
  const loop::Variable i = loop::fresh_variable("i");
  const loop::Variable j = loop::fresh_variable("j");
  const loop::Expr across = loop::integer(plan_.columns / plan_.thread_columns);
  const loop::Expr down = loop::binary(loop::Op::floor_div, loop::variable(t), across);
  const loop::Expr right = loop::binary(loop::Op::mod, loop::variable(t), across);
  Result result;
  result.row = down * loop::integer(plan_.thread_rows) + loop::variable(i);
  // More columns than one load brings lie in groups as far apart as the tile allows: neighbouring
  // threads' loads are neighbours in shared memory, and so are their stores.
  const int group = std::min(plan_.thread_columns, columns_of_load);
  const loop::Expr first =
      together == 1 ? loop::variable(j) : loop::variable(j) * loop::integer(together);
  const loop::Expr groups = loop::binary(loop::Op::floor_div, first, loop::integer(group));
  result.column = groups * loop::integer(plan_.columns / (plan_.thread_columns / group)) +
                  right * loop::integer(group) +
                  loop::binary(loop::Op::mod, first, loop::integer(group));
  result.k = loop::variable(k);
  result.sum = loop::variable(i) * loop::integer(plan_.thread_columns) + first;
  loop::Block results = unrolled(j, plan_.thread_columns / together, body(result));
  results = unrolled(i, plan_.thread_rows, std::move(results));
  if (depth > 0) results = unrolled(k, depth, std::move(results));
  return threads(t, plan_.threads(), std::move(results));
}

}  // namespace kroton
