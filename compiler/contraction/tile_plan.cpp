#include "compiler/contraction/tile_plan.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace kroton {
namespace {

// Panels of columns from which on a task is a panel with all rows, and how many tasks there should
// be where rows are shared out too.
constexpr std::int64_t enough_panels = 8;
constexpr std::int64_t enough_tasks = 16;
// Panels from which on rows are only shared out as far as that pays for packing.
constexpr std::int64_t enough_panels_to_pack = 4;
// Rows of a task: at least so many tiles, and so many rows to pay for packing.
constexpr std::int64_t fewest_tiles = 4;
constexpr std::int64_t rows_to_pack_for = 96;
// From how many rows on it pays to pack a panel of B: where its pieces push each other out of the
// cache, where each lies on a page of its own, where its pages are more than the processor keeps at
// hand, and always.
constexpr std::int64_t rows_where_it_collides = 14;
constexpr std::int64_t rows_where_it_is_far = 33;
constexpr std::int64_t few_rows = 49;
constexpr std::int64_t rows_that_always_pay_for_packing = 128;
// Columns and inner elements from which on a transposed A is copied before the product: so many
// multiply-adds with each of its elements are much to one copy, and so many inner elements, each on
// a line of its own, are no longer in the first cache when the next panel needs them.
constexpr std::int64_t columns_to_copy_a_for = 256, inner_to_copy_a_for = 384;
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

// How a panel of B lies in the caches where it is read in place: its pieces, one from each row, as
// far apart as the rows. If that is a power of two they meet in few sets, and what is needed again
// for the next tile is gone.
struct PanelInPlace {
  bool collides = false;  // in the second cache
  bool is_far = false;    // on more pages than the processor reaches quickly one after the other
};

PanelInPlace panel_in_place(const Contraction& c, const TilePlan& plan, const Machine& machine) {
  PanelInPlace result;
  const std::optional<std::int64_t> step = stride(c.b, c.inner.back());
  const Dim inner = count(c.inner);
  if (!step || !inner.is_constant()) return result;
  const auto bytes = static_cast<std::int64_t>(size_of(c.dtype));
  const std::int64_t pitch = *step * bytes, line = Machine::cache_line;
  const std::int64_t pieces = inner.constant();
  result.is_far = std::min(pieces, pieces * pitch / machine.page_bytes) > machine.mapped_at_once;
  // Pages lie anywhere; within a page pieces begin at some of its lines.
  const std::int64_t lines = plan.panel_columns() * bytes / line;
  const std::int64_t lines_of_page = machine.page_bytes / line;
  const std::int64_t places =
      pitch % line != 0 ? lines_of_page : lines_of_page / std::gcd(pitch / line, lines_of_page);
  const std::int64_t sets = machine.second_cache / machine.second_cache_ways / line *
                            std::min(lines_of_page, places * lines) / lines_of_page;
  result.collides = 2 * pieces * lines > sets * machine.second_cache_ways;
  return result;
}

// From how many rows of the product on a panel of B is copied; none if it has to be, whatever the
// number, or never has.
std::optional<std::int64_t> rows_to_pack_from(const Contraction& c, const TilePlan& plan,
                                              const Machine& machine) {
  const PanelInPlace panel = panel_in_place(c, plan, machine);
  if (panel.collides) return rows_where_it_collides;
  if (panel.is_far) return rows_where_it_is_far;
  const Dim bytes =
      count(c.inner) * count(c.columns) * Dim(static_cast<std::int64_t>(size_of(c.dtype)));
  if (bytes.is_constant() && bytes.constant() > machine.mapped_bytes) return few_rows;
  return std::nullopt;
}

// Whether whole panels of B are read where they lie, and what is left to be seen at run time. That
// costs no copy, and the panels of a B that is no wider than one lie well as they are.
void place_b(TilePlan& plan, const Contraction& c, const Machine& machine) {
  plan.b_in_place = is_contiguous(c.b, c.columns.back());
  const Dim rows = count(c.rows), columns = count(c.columns);
  const bool is_panel = columns.is_constant() && columns.constant() <= plan.panel_columns();
  if (!plan.b_in_place || is_panel) return;
  const std::optional<std::int64_t> from = rows_to_pack_from(c, plan, machine);
  if (rows.is_constant()) {
    const Dim panels = ceil_div(c.columns.back().extent, Dim(plan.panel_columns()));
    const std::int64_t shares = panels.is_constant() && panels.constant() < enough_panels_to_pack
                                    ? enough_tasks / std::max<std::int64_t>(1, panels.constant())
                                    : 1;
    plan.b_in_place = from ? rows.constant() < *from
                           : rows.constant() / shares < rows_that_always_pay_for_packing;
  } else if (from) {
    plan.rows_to_pack_from = *from;
  } else if (!columns.is_constant()) {
    plan.b_in_place = false;
  }
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

bool TilePlan::has_one_run(const Contraction& c) const {
  const Dim inner = count(c.inner);
  return inner.is_constant() && inner.constant() <= inner_run;
}

std::string TilePlan::to_string() const {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  return "tile " + number(tile_rows(vectors)) + " rows x " + number(vectors) + " vectors of " +
         number(lanes) + "; B " +
         (!b_in_place      ? "packed"
          : parts_in_place ? "in place"
                           : "in place, its rest packed") +
         (rows_to_pack_from == 0 ? "" : ", packed from " + number(rows_to_pack_from) + " rows on") +
         "; A " +
         (rows_of_block == 0 ? "in place" : "packed " + number(rows_of_block) + " rows at a time") +
         "; a task: " + panels_of_task.to_string() + " panels, " +
         (rows_of_task == 0 ? "all" : number(rows_of_task)) + " rows; sums of " +
         number(inner_block) + ", runs of " + number(inner_run);
}

bool copies_a(const Contraction& c) {
  const Dim columns = count(c.columns), inner = count(c.inner);
  const auto is_enough = [](const Dim& size, std::int64_t least) {
    return size.is_constant() && size.constant() >= least;
  };
  return c.rows.size() == 1 && c.inner.size() == 1 && is_enough(columns, columns_to_copy_a_for) &&
         is_enough(inner, inner_to_copy_a_for) && is_contiguous(c.a, c.rows.back()) &&
         !is_contiguous(c.a, c.inner.back());
}

TilePlan plan_tiles(const Contraction& c, const Machine& machine) {
  TilePlan plan;
  plan.lanes = machine.vector_bytes / static_cast<int>(size_of(c.dtype));
  set_tile(plan, machine);
  const Dim& columns = c.columns.back().extent;
  plan.vectors = plan.vectors_for(columns);
  const std::int64_t row_of_panel =
      plan.panel_columns() * static_cast<std::int64_t>(size_of(c.dtype));
  const std::int64_t blocks = machine.second_cache / 4 / row_of_panel / plan.inner_block;
  plan.inner_run = std::max<std::int64_t>(1, blocks) * plan.inner_block;
  place_b(plan, c, machine);
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
