// The matrix product on GPUs. A block computes a tile of results: its threads bring a slice of both
// operands to shared memory, a few inner elements deep, and each multiplies what its own few
// results need into registers. Elementwise work on the product is done before it is stored.
#include <kroton/error.h>

#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/index.h"
#include "compiler/loop/simplify.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/product.h"

namespace kroton {
namespace {

using loop::Op;
using Vertex = Graph::Vertex;

// A block's tile and a thread's part of it. rows/thread_rows * columns/thread_columns threads.
struct Tile {
  int rows = 64;
  int columns = 64;
  int depth = 16;  // inner elements per slice
  int thread_rows = 4;
  int thread_columns = 4;
  int threads() const { return rows / thread_rows * (columns / thread_columns); }
};

// Results with few rows or columns, known to be few, get a tile that they fill.
constexpr std::int64_t few = 16;
// Elements that one row of a slice is longer than the tile: threads that write one column of it
// reach different banks, and rows stay aligned for loads of four.
constexpr int padding = 4;

class GpuDotLowering {
 public:
  explicit GpuDotLowering(KernelContext& context)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        dot_(cluster_.hero),
        dtype_(graph_[dot_].type.dtype) {
    const std::size_t rank = cluster_.domain.size();
    rows_ = cluster_.domain[rank - 2];
    columns_ = cluster_.domain[rank - 1];
    const auto& flags = graph_[dot_].attributes.integers;
    transpose_a_ = !flags.empty() && flags[0] != 0;
    transpose_b_ = flags.size() > 1 && flags[1] != 0;
    const Dims& a_shape = graph_[graph_.operand(dot_, 0)].type.shape;
    inner_ = a_shape[a_shape.size() - (transpose_a_ ? 2 : 1)];
    if (inner_.is_constant() && inner_.constant() > 0 && inner_.constant() < tile_.depth) {
      tile_.depth = static_cast<int>(inner_.constant());
    }
    if (rows_.is_constant() && rows_.constant() <= few) {
      tile_.rows = few;
      tile_.thread_rows = 1;
    } else if (columns_.is_constant() && columns_.constant() <= few) {
      tile_.columns = few;
      tile_.thread_columns = 1;
    }
  }

  std::vector<loop::Kernel> run() {
    const std::size_t rank = cluster_.domain.size();
    const loop::Variable block = fresh_variable("block");
    Dims extents(cluster_.domain.begin(), cluster_.domain.end() - 2);
    extents.push_back(ceil_div(rows_, Dim(tile_.rows)));
    extents.push_back(ceil_div(columns_, Dim(tile_.columns)));
    std::vector<loop::Expr> counts;
    for (const Dim& extent : extents) counts.push_back(loop::size(extent));
    // The last two stand for the tile's place; the rest are the cluster's own.
    std::vector<loop::Variable> places(cluster_.variables.begin(), cluster_.variables.end());
    places[rank - 2] = fresh_variable("tile_row");
    places[rank - 1] = fresh_variable("tile_column");
    const auto at = loop::unflatten(places, counts, loop::variable(block));
    for (const auto& [variable, value] : at) {
      if (variable == places[rank - 2]) first_row_ = value * loop::integer(tile_.rows);
      if (variable == places[rank - 1]) first_column_ = value * loop::integer(tile_.columns);
    }
    for (std::size_t axis = 0; axis + 2 < rank; ++axis) {
      batch_.push_back(loop::variable(cluster_.variables[axis]));
    }
    loop::For blocks;
    blocks.kind = loop::LoopKind::block;
    blocks.variable = block;
    blocks.extent = loop::size(element_count(extents));
    blocks.width = tile_.threads();
    blocks.body = loop::substitute(tile(), at);
    loop::Kernel kernel;
    kernel.product = library_product(context_);
    kernel.body = loop::simplify_indices({loop::statement(std::move(blocks))});
    kernel.work = loop::size(element_count(cluster_.domain) * inner_ * Dim(2) +
                             element_count(cluster_.domain) * Dim(context_.cost()));
    return {std::move(kernel)};
  }

 private:
  loop::Block tile() {
    const auto buffer = [&](const char* name, int size, loop::Space space) {
      return context_.buffers().create(name, dtype_, Dim(size), space);
    };
    const int a_stride = tile_.rows + padding;
    const int b_stride = tile_.columns + padding;
    const auto a_slice = buffer("a_slice", tile_.depth * a_stride, loop::Space::shared);
    const auto b_slice = buffer("b_slice", tile_.depth * b_stride, loop::Space::shared);
    const auto sums =
        buffer("sums", tile_.thread_rows * tile_.thread_columns, loop::Space::registers);
    loop::Block block{loop::Allocate{a_slice}, loop::Allocate{b_slice}, loop::Allocate{sums}};
    const auto zeros = [&](const loop::BufferRef& to) {
      return over_results([&](const Place& p) {
        return loop::Block{loop::Store{to, p.sum, loop::real(0, dtype_)}};
      });
    };

    loop::For steps, blocks;
    steps.variable = fresh_variable("step");
    steps.extent = loop::size(ceil_div(inner_, Dim(tile_.depth)));
    loop::Expr step = loop::variable(steps.variable);
    // More inner elements than make a block: the sums of blocks are added to each other.
    loop::BufferRef totals = sums;
    if (!inner_.is_constant() || inner_.constant() > loop::sum_block) {
      totals = buffer("totals", tile_.thread_rows * tile_.thread_columns, loop::Space::registers);
      block.push_back(loop::Allocate{totals});
      block.push_back(zeros(totals));
      const loop::Expr in_block =
          loop::integer(std::max<std::int64_t>(1, loop::sum_block / tile_.depth));
      blocks.variable = fresh_variable("block");
      blocks.extent = loop::blocks_in(steps.extent, in_block);
      const loop::Expr number = loop::variable(blocks.variable);
      step = number * in_block + step;
      steps.extent = loop::extent_of_block(steps.extent, in_block, number);
    }
    const loop::Expr first = step * loop::integer(tile_.depth);
    steps.body.push_back(slice(a_slice, first, true));
    steps.body.push_back(slice(b_slice, first, false));
    steps.body.push_back(loop::Barrier{});
    steps.body.push_back(over_results(
        [&](const Place& p) {
          const auto a = loop::load(a_slice, p.k * loop::integer(a_stride) + p.row);
          const auto b = loop::load(b_slice, p.k * loop::integer(b_stride) + p.column);
          return loop::Block{loop::Store{sums, p.sum, loop::fma(a, b, loop::load(sums, p.sum))}};
        },
        tile_.depth));
    steps.body.push_back(loop::Barrier{});
    blocks.body = {zeros(sums), make_for(std::move(steps))};
    if (totals != sums) {
      blocks.body.push_back(over_results([&](const Place& p) {
        const loop::Expr total = loop::load(totals, p.sum) + loop::load(sums, p.sum);
        return loop::Block{loop::Store{totals, p.sum, total}};
      }));
      blocks.body = {make_for(std::move(blocks))};
    }
    for (loop::Stmt& stmt : blocks.body) block.push_back(std::move(stmt));

    block.push_back(over_results([&](const Place& p) {
      const loop::Expr row = first_row_ + p.row;
      const loop::Expr column = first_column_ + p.column;
      context_.set_value({dot_, cluster_.full_point()}, loop::load(totals, p.sum));
      const std::size_t rank = cluster_.domain.size();
      loop::Block stores;
      for (Vertex root : cluster_.roots) {
        stores.push_back(context_.store_root(root, cluster_.full_point()));
      }
      stores = loop::substitute(
          stores, {{cluster_.variables[rank - 2], row}, {cluster_.variables[rank - 1], column}});
      return inside(row, rows_, tile_.rows, inside(column, columns_, tile_.columns, stores));
    }));
    return block;
  }

  // One of a thread's results: its row and column in the tile, the inner element, its register.
  struct Place {
    loop::Expr row, column, k, sum;
  };

  // `body` for every result of every thread, `depth` times.
  template <class Body>
  loop::Stmt over_results(const Body& body, int depth = 1) {
    const loop::Variable t = fresh_variable("t");
    const loop::Variable k = fresh_variable("k");
    const loop::Variable i = fresh_variable("i");
    const loop::Variable j = fresh_variable("j");
    const loop::Expr across = loop::integer(tile_.columns / tile_.thread_columns);
    const loop::Expr down = loop::binary(Op::floor_div, loop::variable(t), across);
    const loop::Expr right = loop::binary(Op::mod, loop::variable(t), across);
    Place place;
    place.row = down * loop::integer(tile_.thread_rows) + loop::variable(i);
    place.column = right * loop::integer(tile_.thread_columns) + loop::variable(j);
    place.k = loop::variable(k);
    place.sum = loop::variable(i) * loop::integer(tile_.thread_columns) + loop::variable(j);
    loop::Block results = unrolled(j, tile_.thread_columns, body(place));
    results = unrolled(i, tile_.thread_rows, std::move(results));
    if (depth > 1) results = unrolled(k, depth, std::move(results));
    return threads(t, tile_.threads(), std::move(results));
  }

  // Brings rows (or columns) of an operand to shared memory, zeros past its ends. Neighbouring
  // threads read neighbouring elements.
  loop::Stmt slice(const loop::BufferRef& to, const loop::Expr& first_k, bool is_a) {
    const int width = is_a ? tile_.rows : tile_.columns;
    const loop::Expr first = is_a ? first_row_ : first_column_;
    const Dim& size = is_a ? rows_ : columns_;
    const bool inner_runs_fastest = is_a != (is_a ? transpose_a_ : transpose_b_);
    const loop::Variable t = fresh_variable("t");
    const loop::Expr fast = loop::integer(inner_runs_fastest ? tile_.depth : width);
    const loop::Expr slow = loop::binary(Op::floor_div, loop::variable(t), fast);
    const loop::Expr quick = loop::binary(Op::mod, loop::variable(t), fast);
    const loop::Expr k = inner_runs_fastest ? quick : slow;
    const loop::Expr at = inner_runs_fastest ? slow : quick;
    const loop::Expr place = k * loop::integer(width + padding) + at;
    Index index = batch_;
    const bool inner_last = inner_runs_fastest;
    index.push_back(inner_last ? first + at : first_k + k);
    index.push_back(inner_last ? first_k + k : first + at);
    const Vertex operand = graph_.operand(dot_, is_a ? 0 : 1);
    const loop::Block zero{loop::Store{to, place, loop::real(0, dtype_)}};
    loop::Block body{loop::Store{to, place, context_.value(operand, index)}};
    body = inside(first + at, size, width, std::move(body), zero);
    body = inside(first_k + k, inner_, tile_.depth, std::move(body), zero);
    return threads(t, tile_.depth * width, std::move(body));
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
    return {make_for(std::move(loop))};
  }

  static loop::Stmt threads(const loop::Variable& variable, int extent, loop::Block body) {
    loop::For loop;
    loop.kind = loop::LoopKind::thread;
    loop.variable = variable;
    loop.extent = loop::integer(extent);
    loop.body = std::move(body);
    return make_for(std::move(loop));
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Vertex dot_;
  DType dtype_;
  Tile tile_;
  Dim rows_, columns_, inner_;
  bool transpose_a_ = false, transpose_b_ = false;
  loop::Expr first_row_, first_column_;
  Index batch_;
};

}  // namespace

std::vector<loop::Kernel> lower_gpu_dot(KernelContext& context) {
  return GpuDotLowering(context).run();
}

}  // namespace kroton
