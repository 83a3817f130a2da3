#include "compiler/contraction/tile_plan.h"

#include <algorithm>

namespace kroton {
namespace {

// Panels of columns from which on a task is a panel with all rows, and how many tasks there should
// be where rows are shared out too.
constexpr std::int64_t enough_panels = 8;
constexpr std::int64_t enough_tasks = 16;
// Rows of a task: at least so many tiles, and so many rows to pay for packing.
constexpr std::int64_t fewest_tiles = 4;
constexpr std::int64_t rows_to_pack_for = 96;
// A B whose pages are more than the processor keeps at hand is packed if the product has more than
// a few rows.
constexpr std::int64_t few_rows = 48;
constexpr std::int64_t rows_of_packed_block = 48;

constexpr int enough_accumulators = 8;
constexpr int most_small_rows = 4;

// What fits the register file: sums, a vector of B for each vector of columns, a broadcast of A
// and, without a fused multiply-add, a product.
void set_tile(TilePlan& plan, const Machine& machine) {
  if (machine.vector_registers >= 32) {
    plan.vectors = 4;
    plan.accumulators = 24;
    // The rows of a tile read lines of A that may all lie in one set of the cache.
    plan.most_rows = machine.cache_ways;
  } else {
    plan.vectors = 2;
    plan.most_rows = machine.fused_multiply_add ? 6 : 4;
    plan.accumulators = plan.vectors * plan.most_rows;
  }
}

// Whole panels of a B whose rows are contiguous need no packing, unless it is large.
bool reads_b_in_place(const Contraction& c, const TilePlan& plan, const Machine& machine) {
  if (!is_contiguous(c.b, c.columns.back())) return false;
  const Dim rows = count(c.rows), columns = count(c.columns);
  if (rows.is_constant() && rows.constant() <= few_rows) return true;
  if (columns.is_constant() && columns.constant() <= plan.panel_columns()) return true;
  const Dim bytes = count(c.inner) * columns * Dim(static_cast<std::int64_t>(size_of(c.dtype)));
  if (bytes.is_constant()) return bytes.constant() <= machine.mapped_bytes;
  return rows.is_constant() || columns.is_constant();
}

// A transposed A is packed, some rows of the product at a time, when its rows in memory are so long
// and all of it is so large that a strip of it does not stay in the cache.
bool packs_a(const Contraction& c, const Machine& machine) {
  const Dim& rows = c.rows.back().extent;
  const Dim columns = count(c.columns), inner = count(c.inner);
  if (c.rows.size() > 1 || !rows.is_constant() || !columns.is_constant()) return false;
  const std::int64_t row = rows.constant() * static_cast<std::int64_t>(size_of(c.dtype));
  const std::int64_t far = machine.page_bytes / 2;
  const bool large =
      inner.is_constant() ? row * inner.constant() > 2 * machine.second_cache : row > 2 * far;
  return row >= far && large && is_contiguous(c.a, c.rows.back()) &&
         !is_contiguous(c.a, c.inner.back());
}

// Rows that a task computes where the groups of panels alone are too few tasks: a divisor of a
// known number of rows if there is one.
std::int64_t rows_of_task(const Contraction& c, const TilePlan& plan, std::int64_t groups) {
  const std::int64_t tile = plan.tile_rows(plan.vectors);
  const Dim& last = c.rows.back().extent;
  const std::int64_t parts = (enough_tasks + groups - 1) / groups;
  if (c.rows.size() > 1) {
    const Dim outer = count(c.rows) == Dim(0) ? Dim(1) : count({c.rows.begin(), c.rows.end() - 1});
    const std::int64_t to_pay =
        last.is_constant() ? rows_to_pack_for / std::max<std::int64_t>(1, last.constant()) + 1 : 1;
    return std::max(to_pay, outer.is_constant() ? outer.constant() / parts : 1);
  }
  if (!last.is_constant()) return 2 * fewest_tiles * tile;
  if (last.is_constant(0)) return 1;
  const std::int64_t share = (last.constant() + parts - 1) / parts;
  if (plan.rows_of_block != 0) {
    return (share + plan.rows_of_block - 1) / plan.rows_of_block * plan.rows_of_block;
  }
  const std::int64_t fewest =
      std::max(share, plan.b_in_place ? fewest_tiles * tile : rows_to_pack_for);
  for (std::int64_t rows = fewest; rows < 2 * fewest; ++rows) {
    if (last.constant() % rows == 0) return rows;
  }
  return std::min((fewest + tile - 1) / tile * tile, last.constant());
}

}  // namespace

int TilePlan::tile_rows(int tile_vectors) const {
  return std::min(most_rows, accumulators / tile_vectors);
}

int TilePlan::small_tile_rows(int tile_vectors) const {
  return std::min({enough_accumulators / tile_vectors, most_small_rows, tile_rows(tile_vectors)});
}

int TilePlan::vectors_for(const Dim& columns) const {
  if (!columns.is_constant()) return vectors;
  const std::int64_t filled = (columns.constant() + lanes - 1) / lanes;
  return static_cast<int>(std::clamp<std::int64_t>(filled, 1, vectors));
}

bool TilePlan::packs(const Dim& columns) const {
  return !b_in_place || (!parts_in_place && !columns.is_constant(panel_columns()));
}

bool TilePlan::has_one_block(const Contraction& c) const {
  const Dim inner = count(c.inner);
  return inner.is_constant() && inner.constant() <= inner_block;
}

std::string TilePlan::to_string() const {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  return "tile " + number(tile_rows(vectors)) + " rows x " + number(vectors) + " vectors of " +
         number(lanes) + "; B " +
         (!b_in_place      ? "packed"
          : parts_in_place ? "in place"
                           : "in place, its rest packed") +
         "; A " +
         (rows_of_block == 0 ? "in place" : "packed " + number(rows_of_block) + " rows at a time") +
         "; a task: " + panels_of_task.to_string() + " panels, " +
         (rows_of_task == 0 ? "all" : number(rows_of_task)) + " rows; sums of " +
         number(inner_block);
}

TilePlan plan_tiles(const Contraction& c, const Machine& machine) {
  TilePlan plan;
  plan.lanes = machine.vector_bytes / static_cast<int>(size_of(c.dtype));
  set_tile(plan, machine);
  const Dim& columns = c.columns.back().extent;
  plan.vectors = plan.vectors_for(columns);
  plan.b_in_place = reads_b_in_place(c, plan, machine);
  plan.parts_in_place = machine.masks;
  const Dim panels = ceil_div(columns, Dim(plan.panel_columns()));
  if (packs_a(c, machine)) {
    // A packed block serves as many panels as can be had: all where B is read in place, else as
    // many as leave enough tasks.
    plan.rows_of_block = rows_of_packed_block;
    plan.panels_of_task = plan.b_in_place
                              ? panels
                              : Dim(std::max<std::int64_t>(1, panels.constant() / enough_panels));
  }
  const Dim groups = ceil_div(panels, plan.panels_of_task);
  if (groups.is_constant() && !groups.is_constant(0) && groups.constant() < enough_panels) {
    plan.rows_of_task = rows_of_task(c, plan, groups.constant());
  }
  return plan;
}

}  // namespace kroton
