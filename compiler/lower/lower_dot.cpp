// The matrix product as a scheduled loop nest. docs/matmul.md explains the choices.
//
// A tile of mr x nr results lives in registers while k runs; the nr columns of B for it are packed
// once into a panel that the tiles of all rows share. Elementwise work on the product (bias,
// activation, parameter update) is done on the tile before it is stored.
#include <kroton/error.h>

#include <algorithm>

#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

using loop::Op;
using Vertex = Graph::Vertex;

// Rows of results that one task computes when the columns are too few to share out.
constexpr int rows_per_task = 4;  // in tiles
// Rows of the tiles for what full tiles leave over: enough accumulators to hide the latency of a
// multiply-add, few enough to waste little.
constexpr int small_rows = 4;
// Panels of columns from which on threads share out panels rather than rows.
constexpr std::int64_t enough_panels = 8;

struct Tile {
  int rows;     // mr
  int columns;  // nr, whole vectors
  int width;    // lanes of one vector
};

// The largest tile whose accumulators, one vector of B per column vector and a broadcast of A fit
// the register file: 32 registers with AVX-512, 16 before.
Tile tile_for(int vector_bytes, DType dtype) {
  const int width = vector_bytes / static_cast<int>(size_of(dtype));
  const int rows = vector_bytes == 64 ? 12 : vector_bytes == 32 ? 6 : 4;
  return {rows, 2 * width, width};
}

class DotLowering {
 public:
  DotLowering(KernelContext& context, int vector_bytes)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        dot_(cluster_.hero),
        dtype_(graph_[dot_].type.dtype),
        tile_(tile_for(vector_bytes, dtype_)) {
    const std::size_t rank = cluster_.domain.size();
    rows_ = cluster_.domain[rank - 2];
    columns_ = cluster_.domain[rank - 1];
    a_ = graph_.operand(dot_, 0);
    b_ = graph_.operand(dot_, 1);
    const auto& flags = graph_[dot_].attributes.integers;
    transpose_a_ = !flags.empty() && flags[0] != 0;
    transpose_b_ = flags.size() > 1 && flags[1] != 0;
    const Dims& a_shape = graph_[a_].type.shape;
    inner_ = a_shape[a_shape.size() - (transpose_a_ ? 2 : 1)];
    for (std::size_t axis = 0; axis + 2 < rank; ++axis) {
      batch_.push_back(loop::variable(cluster_.variables[axis]));
    }
  }

  std::vector<loop::Kernel> run() {
    if (columns_.is_constant() && columns_.constant() <= tile_.width) tile_.columns = tile_.width;
    panel_ = context_.buffers().create("panel", dtype_, inner_ * Dim(tile_.columns),
                                       loop::Space::worker);
    const bool share_panels =
        !columns_.is_constant() || columns_.constant() >= enough_panels * tile_.columns;
    loop::Kernel kernel;
    kernel.body = share_panels ? panels_outside() : rows_outside();
    const std::size_t rank = cluster_.domain.size();
    if (rank > 2) {
      std::vector<loop::Variable> variables(cluster_.variables.begin(),
                                            cluster_.variables.end() - 2);
      Dims extents(cluster_.domain.begin(), cluster_.domain.end() - 2);
      kernel.body = nest(variables, extents, std::move(kernel.body));
    }
    mark_parallel(kernel.body);
    kernel.work = loop::size(element_count(cluster_.domain) * inner_ * Dim(2) +
                             element_count(cluster_.domain) * Dim(context_.cost()));
    return {std::move(kernel)};
  }

 private:
  // parallel panel { pack; row tiles }
  loop::Block panels_outside() {
    const loop::Variable panel = fresh_variable("panel");
    const loop::Expr first = loop::variable(panel) * loop::integer(tile_.columns);
    loop::For loop;
    loop.variable = panel;
    loop.extent = loop::size(ceil_div(columns_, Dim(tile_.columns)));
    loop.body = one_panel(first, loop::integer(0), loop::size(rows_));
    return {make_for(std::move(loop))};
  }

  // parallel group of rows { panel { pack; row tiles of the group } }
  loop::Block rows_outside() {
    const std::int64_t group = std::int64_t{rows_per_task} * tile_.rows;
    const loop::Variable task = fresh_variable("rows");
    const loop::Variable panel = fresh_variable("panel");
    const loop::Expr first_row = loop::variable(task) * loop::integer(group);
    const loop::Expr first_column = loop::variable(panel) * loop::integer(tile_.columns);
    loop::For panels;
    panels.variable = panel;
    panels.extent = loop::size(ceil_div(columns_, Dim(tile_.columns)));
    loop::For tasks;
    tasks.variable = task;
    tasks.extent = loop::size(ceil_div(rows_, Dim(group)));
    loop::Expr rows = loop::integer(group);
    if (!(rows_.is_constant() && rows_.constant() % group == 0)) {
      rows = loop::binary(Op::min, rows, loop::size(rows_) - first_row);
    }
    panels.body = one_panel(first_column, first_row, rows);
    tasks.body = {make_for(std::move(panels))};
    return {make_for(std::move(tasks))};
  }

  // Packs the panel that starts at column `first` and computes `rows` rows from `first_row` on.
  loop::Block one_panel(const loop::Expr& first, const loop::Expr& first_row,
                        const loop::Expr& rows) {
    const Dim whole = floor_div(columns_, Dim(tile_.columns)) * Dim(tile_.columns);
    const Dim rest = columns_ - whole;
    const auto variant = [&](const Dim& columns) {
      loop::Block block = pack(first, columns);
      for (loop::Stmt& stmt : row_tiles(first, columns, first_row, rows))
        block.push_back(std::move(stmt));
      return block;
    };
    if (rest.is_constant(0)) return variant(Dim(tile_.columns));
    if (whole.is_constant(0)) return variant(rest);
    loop::If choice;
    choice.condition = loop::binary(Op::lt, first, loop::size(whole));
    choice.then_body = variant(Dim(tile_.columns));
    choice.else_body = variant(rest);
    return {std::make_shared<const loop::If>(std::move(choice))};
  }

  // panel[k, j] = B[k, first + j], zero where j is past the last column.
  loop::Block pack(const loop::Expr& first, const Dim& columns) {
    loop::Block block;
    const loop::Variable k = fresh_variable("k");
    const loop::Variable j = fresh_variable("j");
    const loop::Expr at = loop::variable(k) * loop::integer(tile_.columns) + loop::variable(j);
    loop::For lanes = vector_loop(j, Dim(tile_.columns), tile_.columns);
    loop::For steps;
    steps.variable = k;
    steps.extent = loop::size(inner_);
    if (!columns.is_constant(tile_.columns)) {
      lanes.body = {loop::Store{panel_, at, loop::real(0, dtype_)}};
      steps.body = {make_for(lanes)};
      block.push_back(make_for(steps));
      lanes = vector_loop(j, columns, tile_.columns);
    }
    const loop::Expr value =
        operand(b_, loop::variable(k), first + loop::variable(j), transpose_b_);
    lanes.body = {loop::Store{panel_, at, value}};
    if (transpose_b_) {
      // Along k the operand is contiguous: read whole vectors there.
      lanes.kind = loop::LoopKind::serial;
      lanes.unrolled = 0;
      lanes.width = 1;
      loop::For run = vector_loop(k, inner_, 0);
      run.body = lanes.body;
      lanes.body = {make_for(std::move(run))};
      block.push_back(make_for(std::move(lanes)));
    } else {
      steps.body = {make_for(std::move(lanes))};
      block.push_back(make_for(std::move(steps)));
    }
    return block;
  }

  // Tiles for `rows` rows from first_row on: full ones, and for the rest one exact tile if its
  // height is known, else small ones of which the last may reach past the end.
  loop::Block row_tiles(const loop::Expr& first, const Dim& columns, const loop::Expr& first_row,
                        const loop::Expr& rows) {
    loop::Block block;
    const loop::Expr height = loop::integer(tile_.rows);
    const loop::Expr whole = loop::binary(Op::floor_div, rows, height);
    const auto tiles = [&](const loop::Expr& count, int tile_rows, const loop::Expr& from,
                           bool may_pass_end) {
      const loop::Variable t = fresh_variable("tile");
      loop::For loop;
      loop.variable = t;
      loop.extent = count;
      loop.body = tile(tile_rows, first, columns,
                       from + loop::variable(t) * loop::integer(tile_rows), may_pass_end);
      block.push_back(make_for(std::move(loop)));
    };
    std::int64_t known = 0;
    const bool is_known = loop::is_integer_constant(rows, known);
    if (!is_known || known >= tile_.rows) tiles(whole, tile_.rows, first_row, false);
    const loop::Expr rest = rows - whole * height;
    if (!is_known) {
      const loop::Expr small = loop::integer(small_rows);
      tiles(loop::binary(Op::floor_div, rest + loop::integer(small_rows - 1), small), small_rows,
            first_row + whole * height, true);
    } else if (known % tile_.rows != 0) {
      tiles(loop::integer(1), static_cast<int>(known % tile_.rows), first_row + whole * height,
            false);
    }
    return block;
  }

  // rows x columns results from (first_row, first) on.
  // With may_pass_end, rows past the last are computed from the last row's operands, not stored.
  loop::Block tile(int rows, const loop::Expr& first, const Dim& columns,
                   const loop::Expr& first_row, bool may_pass_end) {
    const int padded =
        columns.is_constant()
            ? static_cast<int>((columns.constant() + tile_.width - 1) / tile_.width) * tile_.width
            : tile_.columns;
    const auto accumulators =
        context_.buffers().create("tile", dtype_, Dim(rows * padded), loop::Space::registers);
    const loop::Expr last = loop::size(rows_ - Dim(1));
    const auto over_tile = [&](const Dim& extent, const auto& statement, bool only_inside = false) {
      const loop::Variable i = fresh_variable("i");
      const loop::Variable j = fresh_variable("j");
      loop::For lanes = vector_loop(j, extent, padded);
      lanes.body = statement(loop::variable(i), loop::variable(j));
      loop::For each;
      each.variable = i;
      each.extent = loop::integer(rows);
      each.kind = loop::LoopKind::unroll;
      each.body = {make_for(std::move(lanes))};
      if (only_inside) {
        loop::If inside;
        inside.condition = loop::binary(Op::le, first_row + loop::variable(i), last);
        inside.then_body = std::move(each.body);
        each.body = {std::make_shared<const loop::If>(std::move(inside))};
      }
      return make_for(std::move(each));
    };
    const auto at = [&](const loop::Expr& i, const loop::Expr& j) {
      return i * loop::integer(padded) + j;
    };
    loop::Block block{loop::Allocate{accumulators}};
    block.push_back(over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      return loop::Block{loop::Store{accumulators, at(i, j), loop::real(0, dtype_)}};
    }));
    const loop::Variable k = fresh_variable("k");
    loop::For steps;
    steps.variable = k;
    steps.extent = loop::size(inner_);
    steps.body = {over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      const loop::Expr row = first_row + i;
      const loop::Expr a = operand(a_, may_pass_end ? loop::binary(Op::min, row, last) : row,
                                   loop::variable(k), transpose_a_);
      const loop::Expr b = loop::load(panel_, loop::variable(k) * loop::integer(tile_.columns) + j);
      const loop::Expr sum = loop::load(accumulators, at(i, j));
      return loop::Block{loop::Store{accumulators, at(i, j), loop::fma(a, b, sum)}};
    })};
    block.push_back(make_for(std::move(steps)));

    block.push_back(over_tile(
        columns,
        [&](const loop::Expr& i, const loop::Expr& j) {
          context_.forget_values();
          context_.set_value(dot_, loop::load(accumulators, at(i, j)));
          Index point = batch_;
          point.push_back(first_row + i);
          point.push_back(first + j);
          loop::Block stores;
          for (Vertex root : cluster_.roots) {
            stores.push_back(at_point(context_.store_root(root, cluster_.full_point()), point));
          }
          return stores;
        },
        may_pass_end));
    return block;
  }

  // The statement with the cluster's variables at a point of the tile.
  loop::Stmt at_point(const loop::Stmt& stmt, const Index& point) const {
    std::vector<std::pair<loop::Variable, loop::Expr>> replacements;
    for (std::size_t axis = batch_.size(); axis < point.size(); ++axis) {
      replacements.push_back({cluster_.variables[axis], point[axis]});
    }
    const auto& store = std::get<loop::Store>(stmt);
    return loop::Store{store.buffer, loop::substitute(store.index, replacements),
                       loop::substitute(store.value, replacements)};
  }

  loop::Expr operand(Vertex v, const loop::Expr& row, const loop::Expr& column, bool transposed) {
    Index index = batch_;
    index.push_back(transposed ? column : row);
    index.push_back(transposed ? row : column);
    return context_.value(v, index);
  }

  loop::For vector_loop(const loop::Variable& variable, const Dim& extent, int unrolled) const {
    loop::For loop;
    loop.variable = variable;
    loop.extent = loop::size(extent);
    loop.kind = loop::LoopKind::vector;
    loop.width = tile_.width;
    loop.unrolled = unrolled;
    return loop;
  }

  static void mark_parallel(loop::Block& body) {
    auto& outer = std::get<std::shared_ptr<const loop::For>>(body.at(0));
    loop::For copy = *outer;
    copy.kind = loop::LoopKind::parallel;
    body[0] = make_for(std::move(copy));
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Vertex dot_;
  DType dtype_;
  Tile tile_;
  Dim rows_, columns_, inner_;
  Vertex a_ = 0, b_ = 0;
  bool transpose_a_ = false, transpose_b_ = false;
  Index batch_;
  loop::BufferRef panel_;
};

}  // namespace

std::vector<loop::Kernel> lower_dot(KernelContext& context, const Machine& machine) {
  if (machine.gpu) return lower_gpu_dot(context);
  return DotLowering(context, machine.vector_bytes).run();
}

}  // namespace kroton
