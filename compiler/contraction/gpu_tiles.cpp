#include "compiler/contraction/gpu_tiles.h"

#include <algorithm>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

// Results with few rows or columns, known to be few, get a tile that they fill.
constexpr std::int64_t few = 16;
// Elements that one row of a slice is longer than the tile: threads that write one column of it
// reach different banks, and rows stay aligned for loads of four.
constexpr int padding = 4;

std::vector<loop::Variable> variables_of(const AxisList& axes) {
  std::vector<loop::Variable> variables;
  for (const Axis& axis : axes) variables.push_back(axis.variable);
  return variables;
}

// The places along the axes that a position among all of theirs stands for.
Places places_of(const AxisList& axes, const loop::Expr& position) {
  std::vector<loop::Expr> extents;
  for (const Axis& axis : axes) extents.push_back(loop::size(axis.extent));
  return loop::unflatten(variables_of(axes), extents, position);
}

void append(Places& places, const Places& more) {
  places.insert(places.end(), more.begin(), more.end());
}

class GpuTileBuilder {
 public:
  GpuTileBuilder(const Contraction& contraction, const GpuTilePlan& plan,
                 const loop::NewBuffer& new_buffer)
      : c_(contraction),
        plan_(plan),
        new_buffer_(new_buffer),
        rows_(count(c_.rows)),
        columns_(count(c_.columns)),
        inner_(count(c_.inner)) {}

  loop::Kernel run() {
    loop::For blocks;
    blocks.kind = loop::LoopKind::block;
    blocks.variable = loop::fresh_variable("block");
    // The last two stand for the tile's place.
    AxisList axes = c_.batch;
    axes.push_back({loop::fresh_variable("tile_row"), ceil_div(rows_, Dim(plan_.rows))});
    axes.push_back({loop::fresh_variable("tile_column"), ceil_div(columns_, Dim(plan_.columns))});
    const Places at = places_of(axes, loop::variable(blocks.variable));
    for (const auto& [variable, value] : at) {
      if (variable == axes[axes.size() - 2].variable) {
        first_row_ = value * loop::integer(plan_.rows);
      }
      if (variable == axes.back().variable) first_column_ = value * loop::integer(plan_.columns);
    }
    blocks.extent = loop::size(count(axes));
    blocks.width = plan_.threads();
    blocks.body = loop::substitute(tile(), at);
    loop::Kernel kernel;
    kernel.body = loop::simplify_indices({loop::statement(std::move(blocks))});
    kernel.work = loop::size(c_.work());
    return kernel;
  }

 private:
  loop::Block tile() {
    const auto buffer = [&](const char* name, int size, loop::Space space) {
      return new_buffer_(name, c_.dtype, Dim(size), space);
    };
    const int results = plan_.thread_rows * plan_.thread_columns;
    const int a_stride = plan_.rows + padding;
    const int b_stride = plan_.columns + padding;
    const auto a_slice = buffer("a_slice", plan_.depth * a_stride, loop::Space::shared);
    const auto b_slice = buffer("b_slice", plan_.depth * b_stride, loop::Space::shared);
    const auto sums = buffer("sums", results, loop::Space::registers);
    loop::Block block{loop::Allocate{a_slice}, loop::Allocate{b_slice}, loop::Allocate{sums}};
    const auto zeros = [&](const loop::BufferRef& to) {
      return over_results([&](const Result& r) {
        return loop::Block{loop::Store{to, r.sum, loop::real(0, c_.dtype)}};
      });
    };

    loop::For steps, blocks;
    steps.variable = loop::fresh_variable("step");
    steps.extent = loop::size(ceil_div(inner_, Dim(plan_.depth)));
    loop::Expr step = loop::variable(steps.variable);
    // More inner elements than make a block: the sums of blocks are added to each other.
    loop::BufferRef totals = sums;
    if (!inner_.is_constant() || inner_.constant() > loop::sum_block) {
      totals = buffer("totals", results, loop::Space::registers);
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
    const loop::Expr first = step * loop::integer(plan_.depth);
    steps.body.push_back(slice(a_slice, first, true));
    steps.body.push_back(slice(b_slice, first, false));
    steps.body.push_back(loop::Barrier{});
    steps.body.push_back(over_results(
        [&](const Result& r) {
          const auto a = loop::load(a_slice, r.k * loop::integer(a_stride) + r.row);
          const auto b = loop::load(b_slice, r.k * loop::integer(b_stride) + r.column);
          return loop::Block{loop::Store{sums, r.sum, loop::fma(a, b, loop::load(sums, r.sum))}};
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

    block.push_back(over_results([&](const Result& r) {
      const loop::Expr row = first_row_ + r.row;
      const loop::Expr column = first_column_ + r.column;
      Places places = places_of(c_.rows, row);
      append(places, places_of(c_.columns, column));
      places.push_back({c_.sum, loop::load(totals, r.sum)});
      loop::Block stores(c_.stores.begin(), c_.stores.end());
      return inside(row, rows_, plan_.rows,
                    inside(column, columns_, plan_.columns, loop::substitute(stores, places)));
    }));
    return block;
  }

  // One of a thread's results: its row and column in the tile, the inner element, its register.
  struct Result {
    loop::Expr row, column, k, sum;
  };

  // `body` for every result of every thread, and for each of `depth` inner elements if given.
  template <class Body>
  loop::Stmt over_results(const Body& body, int depth = 0) {
    const loop::Variable t = loop::fresh_variable("t");
    const loop::Variable k = loop::fresh_variable("k");
    const loop::Variable i = loop::fresh_variable("i");
    const loop::Variable j = loop::fresh_variable("j");
    const loop::Expr across = loop::integer(plan_.columns / plan_.thread_columns);
    const loop::Expr down = loop::binary(Op::floor_div, loop::variable(t), across);
    const loop::Expr right = loop::binary(Op::mod, loop::variable(t), across);
    Result result;
    result.row = down * loop::integer(plan_.thread_rows) + loop::variable(i);
    result.column = right * loop::integer(plan_.thread_columns) + loop::variable(j);
    result.k = loop::variable(k);
    result.sum = loop::variable(i) * loop::integer(plan_.thread_columns) + loop::variable(j);
    loop::Block results = unrolled(j, plan_.thread_columns, body(result));
    results = unrolled(i, plan_.thread_rows, std::move(results));
    if (depth > 0) results = unrolled(k, depth, std::move(results));
    return threads(t, plan_.threads(), std::move(results));
  }

  // Brings rows (or columns) of an operand to shared memory, zeros past its ends. Neighbouring
  // threads read neighbouring elements.
  loop::Stmt slice(const loop::BufferRef& to, const loop::Expr& first_k, bool is_a) {
    const AxisList& axes = is_a ? c_.rows : c_.columns;
    const loop::Expr& operand = is_a ? c_.a : c_.b;
    const int width = is_a ? plan_.rows : plan_.columns;
    const loop::Expr first = is_a ? first_row_ : first_column_;
    const Dim& size = is_a ? rows_ : columns_;
    const bool inner_runs_fastest =
        is_contiguous(operand, c_.inner.back()) || (is_a && !is_contiguous(operand, axes.back()));
    const loop::Variable t = loop::fresh_variable("t");
    const loop::Expr fast = loop::integer(inner_runs_fastest ? plan_.depth : width);
    const loop::Expr slow = loop::binary(Op::floor_div, loop::variable(t), fast);
    const loop::Expr quick = loop::binary(Op::mod, loop::variable(t), fast);
    const loop::Expr k = inner_runs_fastest ? quick : slow;
    const loop::Expr at = inner_runs_fastest ? slow : quick;
    const loop::Expr place = k * loop::integer(width + padding) + at;
    Places places = places_of(axes, first + at);
    append(places, places_of(c_.inner, first_k + k));
    const loop::Block zero{loop::Store{to, place, loop::real(0, c_.dtype)}};
    loop::Block body{loop::Store{to, place, loop::substitute(operand, places)}};
    body = inside(first + at, size, width, std::move(body), zero);
    body = inside(first_k + k, inner_, plan_.depth, std::move(body), zero);
    return threads(t, plan_.depth * width, std::move(body));
  }

  // `body` where index < size, unless that is so for every tile.
  static loop::Block inside(const loop::Expr& index, const Dim& size, int tile, loop::Block body,
                            loop::Block otherwise = {}) {
    if ((size - floor_div(size, Dim(tile)) * Dim(tile)).is_constant(0)) return body;
    return {loop::statement(loop::If{loop::binary(Op::lt, index, loop::size(size)), std::move(body),
                                     std::move(otherwise)})};
  }

  static loop::Block unrolled(const loop::Variable& variable, int extent, loop::Block body) {
    loop::For loop;
    loop.kind = loop::LoopKind::unroll;
    loop.variable = variable;
    loop.extent = loop::integer(extent);
    loop.body = std::move(body);
    return {loop::statement(std::move(loop))};
  }

  static loop::Stmt threads(const loop::Variable& variable, int extent, loop::Block body) {
    loop::For loop;
    loop.kind = loop::LoopKind::thread;
    loop.variable = variable;
    loop.extent = loop::integer(extent);
    loop.body = std::move(body);
    return loop::statement(std::move(loop));
  }

  const Contraction& c_;
  const GpuTilePlan& plan_;
  const loop::NewBuffer& new_buffer_;
  const Dim rows_, columns_, inner_;
  loop::Expr first_row_, first_column_;
};

}  // namespace

std::string GpuTilePlan::to_string() const {
  return "tile " + std::to_string(rows) + " x " + std::to_string(columns) + ", slices of " +
         std::to_string(depth) + ", " + std::to_string(thread_rows) + " x " +
         std::to_string(thread_columns) + " results a thread";
}

GpuTilePlan plan_gpu_tiles(const Contraction& c) {
  GpuTilePlan plan;
  const Dim inner = count(c.inner), rows = count(c.rows), columns = count(c.columns);
  if (inner.is_constant() && inner.constant() > 0 && inner.constant() < plan.depth) {
    plan.depth = static_cast<int>(inner.constant());
  }
  if (rows.is_constant() && rows.constant() <= few) {
    plan.rows = few;
    plan.thread_rows = 1;
  } else if (columns.is_constant() && columns.constant() <= few) {
    plan.columns = few;
    plan.thread_columns = 1;
  }
  return plan;
}

loop::Kernel build_gpu_tiles(const Contraction& contraction, const GpuTilePlan& plan,
                             const loop::NewBuffer& new_buffer) {
  return GpuTileBuilder(contraction, plan, new_buffer).run();
}

}  // namespace kroton
