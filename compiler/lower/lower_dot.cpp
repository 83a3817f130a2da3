// The matrix product as a scheduled loop nest. docs/matmul.md explains the choices.
//
// A tile of mr x nr results lives in registers while k runs. Columns of B that do not lie in memory
// as a tile reads them are packed once into a panel that the tiles of many rows share. Elementwise
// work on the product (bias, activation, parameter update) is done on the tile before it is stored.
#include <kroton/error.h>

#include <algorithm>

#include "compiler/loop/sum_blocks.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

using loop::Op;
using Vertex = Graph::Vertex;

// Panels of columns from which on a task is a panel with all rows, and how many tasks there should
// be where rows are shared out too.
constexpr std::int64_t enough_panels = 8;
constexpr std::int64_t enough_tasks = 16;
// Rows of a task: at least so many tiles, and so many rows to pay for packing.
constexpr int fewest_tiles = 4;
constexpr std::int64_t rows_to_pack_for = 96;
// A larger B has more pages than the processor keeps at hand when a panel goes through its rows; it
// is packed if the product has more than a few rows.
constexpr std::int64_t bytes_in_place = 8 << 20;
constexpr std::int64_t few_rows = 48;
// A transposed A is packed, so many rows of the product at a time, when its rows in memory are so
// long and all of it is so large that a strip of it does not stay in the cache.
constexpr std::int64_t bytes_of_far_rows = 2048;
constexpr std::int64_t bytes_of_large_a = 2 << 20;
constexpr std::int64_t rows_of_block = 48;

// Inner elements that a tile adds one after the other. More come in blocks, see sum_blocks.h.
constexpr std::int64_t inner_block = 1024;

constexpr int enough_accumulators = 8;
constexpr int most_small_rows = 4;

// What fits the register file: accumulators, a vector of B for each vector of columns and a
// broadcast of A. 32 registers with AVX-512, 16 before.
struct Registers {
  int accumulators;
  int vectors;  // of columns in a tile
  int rows;     // of a tile at most
  bool masks;   // loads of parts of a vector are single instructions
};

// AVX-512: the rows of a tile read lines of A that may all lie in one set of the cache, which has
// eight ways.
Registers registers_for(int vector_bytes) {
  if (vector_bytes == 64) return {24, 4, 8, true};
  if (vector_bytes == 32) return {12, 2, 6, true};
  return {8, 2, 4, false};
}

class DotLowering {
 public:
  DotLowering(KernelContext& context, int vector_bytes)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        dot_(cluster_.hero),
        dtype_(graph_[dot_].type.dtype),
        registers_(registers_for(vector_bytes)),
        width_(vector_bytes / static_cast<int>(size_of(dtype_))),
        panel_columns_(registers_.vectors * width_) {
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
    if (columns_.is_constant()) {
      panel_columns_ = width_ * vectors_of(columns_);
    }
    in_place_ = reads_in_place();
    packs_a_ = packs_a();
    if (packs_a_) panels_per_task_ = panels_for_block();
    if (!in_place_ || (!registers_.masks && !columns_.is_constant(panel_columns_))) {
      panel_ = context_.buffers().create(
          "panel", dtype_, inner_ * Dim(panel_columns_) * (in_place_ ? Dim(1) : panels_per_task_),
          loop::Space::worker);
    }
    if (packs_a_) {
      block_ = context_.buffers().create("block", dtype_, inner_ * Dim(rows_of_block),
                                         loop::Space::worker);
    }
    if (!is_one_block()) {
      const auto carried = [&](const char* name) {
        return context_.buffers().create(name, dtype_, Dim(registers_.accumulators * width_),
                                         loop::Space::worker);
      };
      carried_ = {carried("sums"), carried("sums_group"), carried("sums_total")};
    }
    loop::Kernel kernel;
    kernel.body = tasks();
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
  bool is_one_block() const { return inner_.is_constant() && inner_.constant() <= inner_block; }

  int vectors_of(const Dim& columns) const {
    const std::int64_t vectors = (columns.constant() + width_ - 1) / width_;
    return static_cast<int>(std::clamp<std::int64_t>(vectors, 1, registers_.vectors));
  }
  // Rows of a full tile.
  int height(int vectors) const {
    return std::min(registers_.rows, registers_.accumulators / vectors);
  }
  // Rows of the tiles for what full tiles leave over: enough accumulators to hide the latency of a
  // multiply-add, few enough to waste little.
  int small_height(int vectors) const {
    return std::min({enough_accumulators / vectors, most_small_rows, height(vectors)});
  }

  // Whether the operand's elements are neighbours in memory along its rows' (0) or columns' (1)
  // index.
  bool is_contiguous(Vertex v, bool transposed, int axis) {
    const loop::Variable row = fresh_variable("row");
    const loop::Variable column = fresh_variable("column");
    const loop::Expr read = operand(v, loop::variable(row), loop::variable(column), transposed);
    if (read->op != Op::load) return false;
    const loop::Expr stride = loop::stride_of(read->args[0], axis == 0 ? row : column);
    std::int64_t step = 0;
    return stride && loop::is_integer_constant(stride, step) && step == 1;
  }

  // Whole panels of a B whose rows are contiguous need no packing, unless it is large.
  bool reads_in_place() {
    if (!is_contiguous(b_, transpose_b_, 1)) return false;
    if (rows_.is_constant() && rows_.constant() <= few_rows) return true;
    if (columns_.is_constant() && columns_.constant() <= panel_columns_) return true;
    const Dim bytes = inner_ * columns_ * Dim(static_cast<std::int64_t>(size_of(dtype_)));
    if (bytes.is_constant()) return bytes.constant() <= bytes_in_place;
    return rows_.is_constant() || columns_.is_constant();
  }

  bool packs_a() {
    if (!rows_.is_constant() || !columns_.is_constant()) return false;
    const std::int64_t row = rows_.constant() * static_cast<std::int64_t>(size_of(dtype_));
    const bool large = inner_.is_constant() ? row * inner_.constant() > bytes_of_large_a
                                            : row > 2 * bytes_of_far_rows;
    return row >= bytes_of_far_rows && large && is_contiguous(a_, transpose_a_, 0) &&
           !is_contiguous(a_, transpose_a_, 1);
  }

  // A packed block of A serves as many panels as can be had: all where B is read in place, else as
  // many as leave enough tasks.
  Dim panels_for_block() const {
    const Dim panels = ceil_div(columns_, Dim(panel_columns_));
    return in_place_ ? panels : Dim(std::max<std::int64_t>(1, panels.constant() / enough_panels));
  }

  // parallel task { some panels of columns with all rows, or with a group of them }
  loop::Block tasks() {
    const Dim panels = ceil_div(columns_, Dim(panel_columns_));
    const Dim groups = ceil_div(panels, panels_per_task_);
    const loop::Variable task = fresh_variable("task");
    loop::Expr group = loop::variable(task), part = loop::integer(0);
    loop::Expr rows = loop::size(rows_);
    loop::For loop;
    loop.variable = task;
    loop.extent = loop::size(groups);
    if (groups.is_constant() && !groups.is_constant(0) && groups.constant() < enough_panels) {
      const std::int64_t height = rows_of_task(groups.constant());
      const Dim parts = ceil_div(rows_, Dim(height));
      loop.extent = loop::size(groups * parts);
      part = group;
      group = groups.is_constant(1) ? loop::integer(0)
                                    : loop::binary(Op::floor_div, part, loop::size(parts));
      part = (part - group * loop::size(parts)) * loop::integer(height);
      rows = loop::integer(height);
      if (!(rows_.is_constant() && rows_.constant() % height == 0)) {
        rows = loop::binary(Op::min, rows, loop::size(rows_) - part);
      }
    }
    const loop::Expr first = group * loop::size(panels_per_task_);
    loop::Expr count = loop::size(panels_per_task_);
    if (!(panels - floor_div(panels, panels_per_task_) * panels_per_task_).is_constant(0)) {
      count = loop::binary(Op::min, count, loop::size(panels) - first);
    }
    loop.body = pack_panels(first, count);
    for (loop::Stmt& stmt :
         packs_a_ ? row_blocks(first, count, part, rows) : panel_tiles(first, count, part, rows)) {
      loop.body.push_back(std::move(stmt));
    }
    return {make_for(std::move(loop))};
  }

  // Rows that a task computes where groups of panels alone are too few tasks: a divisor of a known
  // number of rows if there is one.
  std::int64_t rows_of_task(std::int64_t groups) const {
    const int tile = height(panel_columns_ / width_);
    if (!rows_.is_constant()) return std::int64_t{2 * fewest_tiles} * tile;
    if (rows_.is_constant(0)) return 1;
    const std::int64_t parts = (enough_tasks + groups - 1) / groups;
    const std::int64_t share = (rows_.constant() + parts - 1) / parts;
    if (packs_a_) return (share + rows_of_block - 1) / rows_of_block * rows_of_block;
    const std::int64_t fewest =
        std::max(share, in_place_ ? std::int64_t{fewest_tiles} * tile : rows_to_pack_for);
    for (std::int64_t rows = fewest; rows < 2 * fewest; ++rows) {
      if (rows_.constant() % rows == 0) return rows;
    }
    return std::min((fewest + tile - 1) / tile * tile, rows_.constant());
  }

  // The body for each of `count` panels from `first` on, given the panel's number within the task,
  // its first column and its columns: code of its own for what is left over at the end. None where
  // `body` gives none.
  template <class Body>
  loop::Block each_panel(const loop::Expr& first, const loop::Expr& count, const Body& body) {
    const Dim whole = floor_div(columns_, Dim(panel_columns_)) * Dim(panel_columns_);
    const Dim rest = columns_ - whole;
    const loop::Variable panel = fresh_variable("panel");
    const bool one = panels_per_task_.is_constant(1);
    const loop::Expr number = one ? loop::integer(0) : loop::variable(panel);
    const loop::Expr column = (first + number) * loop::integer(panel_columns_);
    loop::Block block;
    if (rest.is_constant(0)) {
      block = body(number, column, Dim(panel_columns_));
    } else if (whole.is_constant(0)) {
      block = body(number, column, rest);
    } else {
      loop::If choice;
      choice.condition = loop::binary(Op::lt, column, loop::size(whole));
      choice.then_body = body(number, column, Dim(panel_columns_));
      choice.else_body = body(number, column, rest);
      if (choice.then_body.empty() && choice.else_body.empty()) return {};
      block = {std::make_shared<const loop::If>(std::move(choice))};
    }
    if (one || block.empty()) return block;
    loop::For loop;
    loop.variable = panel;
    loop.extent = count;
    loop.body = std::move(block);
    return {make_for(std::move(loop))};
  }

  loop::Block pack_panels(const loop::Expr& first, const loop::Expr& count) {
    return each_panel(first, count,
                      [&](const loop::Expr& number, const loop::Expr& column, const Dim& columns) {
                        return is_packed(columns) ? pack(number, column, columns) : loop::Block{};
                      });
  }

  loop::Block panel_tiles(const loop::Expr& first, const loop::Expr& count,
                          const loop::Expr& first_row, const loop::Expr& rows) {
    return each_panel(first, count,
                      [&](const loop::Expr& number, const loop::Expr& column, const Dim& columns) {
                        number_ = number;
                        return row_tiles(column, columns, first_row, rows);
                      });
  }

  bool is_packed(const Dim& columns) const {
    return !in_place_ || (!registers_.masks && !columns.is_constant(panel_columns_));
  }

  // An element of the panel with a number. Where B is read in place only the last one is packed.
  loop::Expr panel_index(const loop::Expr& number, const loop::Expr& k, const loop::Expr& j) const {
    const loop::Expr row = in_place_ ? k : number * loop::size(inner_) + k;
    return row * loop::integer(panel_columns_) + j;
  }

  // panel[k, j] = B[k, first + j], anything where j is past the last column.
  loop::Block pack(const loop::Expr& number, const loop::Expr& first, const Dim& columns) {
    if (is_contiguous(b_, transpose_b_, 0)) return pack_transposed(number, first, columns);
    loop::Block block;
    const loop::Variable k = fresh_variable("k");
    const loop::Variable j = fresh_variable("j");
    const loop::Expr at = panel_index(number, loop::variable(k), loop::variable(j));
    loop::For lanes = vector_loop(j, Dim(panel_columns_), panel_columns_);
    loop::For steps;
    steps.variable = k;
    steps.extent = loop::size(inner_);
    if (!columns.is_constant(panel_columns_)) {
      lanes.body = {loop::Store{panel_, at, loop::real(0, dtype_)}};
      steps.body = {make_for(lanes)};
      block.push_back(make_for(steps));
      lanes = vector_loop(j, columns, panel_columns_);
    }
    lanes.body = {loop::Store{
        panel_, at, operand(b_, loop::variable(k), first + loop::variable(j), transpose_b_)}};
    steps.body = {make_for(std::move(lanes))};
    block.push_back(make_for(std::move(steps)));
    return block;
  }

  // The same where B is contiguous along k: squares of W x W elements, which the emitter transposes
  // in registers, then what is left of k. Past the last column its elements are read again.
  loop::Block pack_transposed(const loop::Expr& number, const loop::Expr& first,
                              const Dim& columns) {
    const int vectors = columns.is_constant() ? vectors_of(columns) : registers_.vectors;
    const loop::Variable square = fresh_variable("square");
    const loop::Variable strip = fresh_variable("strip");
    const loop::Variable k = fresh_variable("k");
    const loop::Variable j = fresh_variable("j");
    const auto copy = [&](const loop::Expr& row, const loop::Expr& column) {
      loop::Expr from = first + column;
      if (!columns.is_constant(vectors * width_)) {
        from = loop::binary(Op::min, from, loop::size(columns_ - Dim(1)));
      }
      return loop::Block{loop::Store{panel_, panel_index(number, row, column),
                                     operand(b_, row, from, transpose_b_)}};
    };
    const auto serial = [](const loop::Variable& variable, const Dim& extent, loop::Block body) {
      loop::For loop;
      loop.variable = variable;
      loop.extent = loop::size(extent);
      loop.body = std::move(body);
      return make_for(std::move(loop));
    };
    const Dim squares = floor_div(inner_, Dim(width_));
    const loop::Expr whole = loop::size(squares * Dim(width_));
    loop::For columns_of_square;
    columns_of_square.variable = j;
    columns_of_square.extent = loop::integer(width_);
    columns_of_square.kind = loop::LoopKind::unroll;
    columns_of_square.body =
        copy(loop::variable(square) * loop::integer(width_) + loop::variable(k),
             loop::variable(strip) * loop::integer(width_) + loop::variable(j));
    loop::For lanes = vector_loop(k, Dim(width_), width_);
    lanes.body = {make_for(std::move(columns_of_square))};
    loop::Block block{
        serial(square, squares, {serial(strip, Dim(vectors), {make_for(std::move(lanes))})})};
    const Dim rest = inner_ - squares * Dim(width_);
    if (!rest.is_constant(0)) {
      block.push_back(
          serial(j, Dim(vectors * width_),
                 {serial(k, rest, copy(whole + loop::variable(k), loop::variable(j)))}));
    }
    return block;
  }

  // Blocks of rows, each with its part of A packed: block[k, i] = A[row + i, k].
  loop::Block row_blocks(const loop::Expr& first, const loop::Expr& count,
                         const loop::Expr& first_row, const loop::Expr& rows) {
    const loop::Variable b = fresh_variable("block");
    const loop::Expr height = loop::integer(rows_of_block);
    const loop::Expr done = loop::variable(b) * height;
    loop::Expr inside = height;
    if (std::int64_t known = 0;
        !loop::is_integer_constant(rows, known) || known % rows_of_block != 0) {
      inside = loop::binary(Op::min, height, rows - done);
    }
    const loop::Variable k = fresh_variable("k");
    const loop::Variable i = fresh_variable("i");
    const auto copy = [&](loop::For lanes) {
      const loop::Expr at = loop::variable(k) * height + loop::variable(i);
      lanes.body = {loop::Store{
          block_, at,
          operand(a_, first_row + done + loop::variable(i), loop::variable(k), transpose_a_)}};
      loop::For steps;
      steps.variable = k;
      steps.extent = loop::size(inner_);
      steps.body = {make_for(std::move(lanes))};
      return make_for(std::move(steps));
    };
    loop::For part = vector_loop(i, Dim(rows_of_block), 0);
    part.extent = inside;
    loop::If choice;
    choice.condition = loop::binary(Op::eq, inside, height);
    choice.then_body = {copy(vector_loop(i, Dim(rows_of_block), rows_of_block))};
    choice.else_body = {copy(std::move(part))};
    loop::For blocks;
    blocks.variable = b;
    blocks.extent = loop::binary(Op::floor_div, rows + loop::integer(rows_of_block - 1), height);
    blocks.body = {std::make_shared<const loop::If>(std::move(choice))};
    first_of_block_ = first_row + done;
    for (loop::Stmt& stmt : panel_tiles(first, count, first_row + done, inside)) {
      blocks.body.push_back(std::move(stmt));
    }
    return {make_for(std::move(blocks))};
  }

  // Tiles for `rows` rows from first_row on: full ones, and for the rest one exact tile if its
  // height is known, else small ones of which the last may reach past the end.
  loop::Block row_tiles(const loop::Expr& first, const Dim& columns, const loop::Expr& first_row,
                        const loop::Expr& rows) {
    const int vectors = columns.is_constant() ? vectors_of(columns) : panel_columns_ / width_;
    const int full_rows = height(vectors);
    const int small_rows = small_height(vectors);
    loop::Block block;
    const loop::Expr whole = loop::binary(Op::floor_div, rows, loop::integer(full_rows));
    const auto tiles = [&](const loop::Expr& count, int tile_rows, const loop::Expr& from,
                           bool may_pass_end) {
      const loop::Variable t = fresh_variable("tile");
      loop::For loop;
      loop.variable = t;
      loop.extent = count;
      loop.body = tile(tile_rows, vectors, first, columns,
                       from + loop::variable(t) * loop::integer(tile_rows), may_pass_end);
      block.push_back(make_for(std::move(loop)));
    };
    std::int64_t known = 0;
    const bool is_known = loop::is_integer_constant(rows, known);
    if (!is_known || known >= full_rows) tiles(whole, full_rows, first_row, false);
    const loop::Expr rest = rows - whole * loop::integer(full_rows);
    const loop::Expr first_of_rest = first_row + whole * loop::integer(full_rows);
    if (!is_known) {
      tiles(loop::binary(Op::floor_div, rest + loop::integer(small_rows - 1),
                         loop::integer(small_rows)),
            small_rows, first_of_rest, small_rows > 1);
    } else if (known % full_rows != 0) {
      tiles(loop::integer(1), static_cast<int>(known % full_rows), first_of_rest, false);
    }
    return block;
  }

  // rows x columns results from (first_row, first) on.
  // With may_pass_end, rows past the last are computed from the last row's operands, not stored.
  loop::Block tile(int rows, int vectors, const loop::Expr& first, const Dim& columns,
                   const loop::Expr& first_row, bool may_pass_end) {
    const int padded = vectors * width_;
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
    loop::Block sums;
    sums.push_back(over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      return loop::Block{loop::Store{accumulators, at(i, j), loop::real(0, dtype_)}};
    }));
    loop::For steps, blocks;
    steps.variable = fresh_variable("k");
    steps.extent = loop::size(inner_);
    loop::Expr k = loop::variable(steps.variable);
    blocks.variable = fresh_variable("k_block");
    blocks.extent = loop::size(maximum(1, ceil_div(inner_, Dim(inner_block))));
    if (!is_one_block()) {
      const loop::Expr number = loop::variable(blocks.variable);
      steps.extent = loop::extent_of_block(steps.extent, loop::integer(inner_block), number);
      k = number * loop::integer(inner_block) + k;
    }
    // B's elements in place; a part of a vector by way of a row of zeros.
    const auto in_place = [&](const loop::Expr& j) {
      return operand(b_, k, first + j, transpose_b_);
    };
    loop::BufferRef row_of_b;
    if (!is_packed(columns) && !columns.is_constant(padded)) {
      row_of_b = context_.buffers().create("row", dtype_, Dim(padded), loop::Space::registers);
      block.push_back(loop::Allocate{row_of_b});
      const auto fill = [&](const Dim& extent, const auto& value) {
        const loop::Variable j = fresh_variable("j");
        loop::For lanes = vector_loop(j, extent, padded);
        lanes.body = {loop::Store{row_of_b, loop::variable(j), value(loop::variable(j))}};
        return make_for(std::move(lanes));
      };
      steps.body.push_back(
          fill(Dim(padded), [&](const loop::Expr&) { return loop::real(0, dtype_); }));
      steps.body.push_back(fill(columns, in_place));
    }
    steps.body.push_back(over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
      loop::Expr row = first_row + i;
      if (may_pass_end) row = loop::binary(Op::min, row, last);
      const loop::Expr a =
          packs_a_ ? loop::load(block_, k * loop::integer(rows_of_block) + (row - first_of_block_))
                   : operand(a_, row, k, transpose_a_);
      const loop::Expr b = is_packed(columns) ? loop::load(panel_, panel_index(number_, k, j))
                           : row_of_b         ? loop::load(row_of_b, j)
                                              : in_place(j);
      const loop::Expr sum = loop::load(accumulators, at(i, j));
      return loop::Block{loop::Store{accumulators, at(i, j), loop::fma(a, b, sum)}};
    }));
    sums.push_back(make_for(std::move(steps)));
    if (!is_one_block()) {
      sums.push_back(carried_over(blocks, rows * padded, [&](bool to_memory) {
        return over_tile(Dim(padded), [&](const loop::Expr& i, const loop::Expr& j) {
          const loop::BufferRef& to = to_memory ? carried_.sums : accumulators;
          const loop::BufferRef& from = to_memory ? accumulators : carried_.sums;
          return loop::Block{loop::Store{to, at(i, j), loop::load(from, at(i, j))}};
        });
      }));
      blocks.body = std::move(sums);
      sums = {make_for(std::move(blocks))};
    }
    for (loop::Stmt& stmt : sums) block.push_back(std::move(stmt));

    block.push_back(over_tile(
        columns,
        [&](const loop::Expr& i, const loop::Expr& j) {
          context_.set_value({dot_, cluster_.full_point()}, loop::load(accumulators, at(i, j)));
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

  // What follows a block of inner elements, where there are several: the tile goes to memory and is
  // added to what the blocks before it gave; after the last one it comes back.
  template <class Copy>
  loop::Stmt carried_over(const loop::For& blocks, int count, const Copy& copy) const {
    const loop::Expr number = loop::variable(blocks.variable);
    const auto over = [&](const std::function<loop::Block(const loop::Expr&)>& body) {
      const loop::Variable j = fresh_variable("j");
      loop::For lanes = vector_loop(j, Dim(count), 0);
      lanes.body = body(loop::variable(j));
      return make_for(std::move(lanes));
    };
    loop::If several{loop::binary(Op::lt, loop::integer(1), blocks.extent), {copy(true)}, {}};
    for (loop::Stmt& stmt : loop::carry_sums({carried_}, number, blocks.extent, over, false)) {
      several.then_body.push_back(std::move(stmt));
    }
    const loop::Expr is_last = loop::binary(Op::le, blocks.extent, number + loop::integer(1));
    several.then_body.push_back(
        std::make_shared<const loop::If>(loop::If{is_last, {copy(false)}, {}}));
    return std::make_shared<const loop::If>(std::move(several));
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
    loop.width = width_;
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
  Registers registers_;
  int width_;          // lanes of one vector
  int panel_columns_;  // nr, whole vectors
  Dim rows_, columns_, inner_;
  Vertex a_ = 0, b_ = 0;
  bool transpose_a_ = false, transpose_b_ = false;
  Index batch_;
  bool in_place_ = false;  // whole panels of B are not packed
  bool packs_a_ = false;   // A is packed in blocks of rows
  Dim panels_per_task_ = 1;
  loop::BufferRef panel_, block_;
  loop::CarriedSums carried_;  // of a tile
  // Of the tiles that are being made: their panel's number in the task, the first row of the block.
  loop::Expr number_, first_of_block_;
};

}  // namespace

std::vector<loop::Kernel> lower_dot(KernelContext& context, const Machine& machine) {
  if (machine.gpu) return lower_gpu_dot(context);
  return DotLowering(context, machine.vector_bytes).run();
}

}  // namespace kroton
