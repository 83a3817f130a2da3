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

// A panel of windows: columns enough where sizes are not known, and what it takes to copy a vector.
constexpr std::int64_t few_columns = 256;
constexpr double cycles_to_pack = 2.5;

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
  const std::int64_t lines = plan.tile_columns() * bytes / line;
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
  const bool is_panel = columns.is_constant() && columns.constant() <= plan.tile_columns();
  if (!plan.b_in_place || is_panel) return;
  const std::optional<std::int64_t> from = rows_to_pack_from(c, plan, machine);
  if (rows.is_constant()) {
    const Dim panels = ceil_div(c.columns.back().extent, Dim(plan.tile_columns()));
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

// How many positions along the first axis make a panel of windows: as many as fill vectors well,
// pay for the rows that the panel has more than it has positions, and leave the panel in the second
// cache and tasks for the threads.
void place_windows(TilePlan& plan, const Contraction& c, const Machine& machine) {
  plan.b_in_place = false;
  plan.columns_of_position = count({c.positions.begin() + 1, c.positions.end()});
  const Dim& positions = c.positions[0].extent;
  plan.positions_of_panel = 1;
  const Dim inner = count(c.inner), rows = count(c.rows), batch = count(c.batch);
  const Dim& columns = plan.columns_of_position;
  if (!positions.is_constant() || !columns.is_constant() || !inner.is_constant() ||
      positions.constant() == 0 || columns.constant() == 0 || inner.constant() == 0) {
    plan.positions_of_panel =
        maximum(1, minimum(positions, floor_div(few_columns, maximum(1, columns))));
    return;
  }
  const std::int64_t in_panel = plan.panel_rows(c, inner).constant();
  const double many = rows.is_constant() ? static_cast<double>(rows.constant()) : 64;
  const auto cost_of = [&](std::int64_t along) {
    plan.positions_of_panel = along;
    const std::int64_t vectors = (along * columns.constant() + plan.lanes - 1) / plan.lanes;
    const std::int64_t pitch = plan.panel_pitch(c).constant();
    return static_cast<double>(vectors * inner.constant()) * many / 2 +
           static_cast<double>(in_panel * pitch) * cycles_to_pack / plan.lanes;
  };
  double best = 0;
  std::int64_t best_positions = 1;
  for (std::int64_t along = 1; along <= positions.constant(); ++along) {
    const double cost =
        static_cast<double>(positions.constant() / along) * cost_of(along) +
        (positions.constant() % along != 0 ? cost_of(positions.constant() % along) : 0);
    plan.positions_of_panel = along;
    const std::int64_t elements = in_panel * plan.panel_pitch(c).constant();
    const bool is_large =
        elements * static_cast<std::int64_t>(size_of(c.dtype)) > machine.second_cache / 2;
    const std::int64_t parts = (positions.constant() + along - 1) / along;
    const bool are_few = batch.is_constant() && batch.constant() * parts < 4;
    if (along > 1 && (is_large || are_few)) break;
    if (along == 1 || cost < best) {
      best = cost;
      best_positions = along;
    }
  }
  plan.positions_of_panel = best_positions;
  // All inner elements in one run, if the panel then stays in the cache.
  const std::int64_t row =
      plan.panel_pitch(c).constant() * static_cast<std::int64_t>(size_of(c.dtype)) * in_panel;
  const std::int64_t fitting =
      machine.second_cache * inner.constant() / 2 / std::max<std::int64_t>(1, row);
  plan.inner_run = fitting >= inner.constant()
                       ? inner.constant()
                       : std::max<std::int64_t>(1, fitting / plan.inner_block) * plan.inner_block;
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
  return !b_in_place || (!parts_in_place && columns != panel_columns());
}

Dim TilePlan::panel_rows(const Contraction& c, const Dim& inner) const {
  return c.overlap ? floor_div(inner, maximum(1, c.inner[c.overlap->inner].extent)) : inner;
}

Dim TilePlan::panel_pitch(const Contraction& c) const {
  if (!has_windows() || !c.overlap) return panel_columns();
  const Dim further = (c.inner[c.overlap->inner].extent - Dim(1)) * Dim(c.overlap->distance);
  return panel_columns() + further * columns_of_position;
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
  const std::string windows = has_windows()
                                  ? "; panels of " + positions_of_panel.to_string() + " x " +
                                        columns_of_position.to_string() + " positions"
                                  : "";
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
         number(inner_block) + ", runs of " + number(inner_run) + windows;
}

namespace {

// Whether the elements of each row lie one behind the other, in the order of the inner axes.
bool has_rows_in_order(const loop::Expr& a, const AxisList& inner) {
  Dim step = 1;
  for (auto axis = inner.rbegin(); axis != inner.rend(); ++axis) {
    if (axis->extent.is_constant(1)) continue;
    if (a->op != loop::Op::load || loop::is_conditional(*a)) return false;
    const loop::Expr found = loop::stride_of(a->args[0], axis->variable);
    const std::optional<Dim> along = found ? loop::as_dim(found) : std::nullopt;
    if (!along || *along != step) return false;
    step = step * axis->extent;
  }
  return true;
}

}  // namespace

bool copies_a(const Contraction& c) {
  // Filters that are turned around or have their channels exchanged: the elements of a row are
  // then on a line each, for every panel again.
  if (!c.positions.empty()) return !has_rows_in_order(c.a, c.inner);
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
      plan.tile_columns() * static_cast<std::int64_t>(size_of(c.dtype));
  const std::int64_t blocks = machine.second_cache / 4 / row_of_panel / plan.inner_block;
  plan.inner_run = std::max<std::int64_t>(1, blocks) * plan.inner_block;
  if (c.rows.size() > 1) {
    // Rows along several axes go over a panel one after the other: it should stay in the first
    // cache.
    plan.inner_run = std::max<std::int64_t>(1, machine.first_cache() / row_of_panel);
  }
  plan.parts_in_place = machine.masks;
  if (!c.positions.empty()) {
    place_windows(plan, c, machine);
    return plan;
  }
  place_b(plan, c, machine);
  const Dim panels = ceil_div(columns, Dim(plan.tile_columns()));
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

void narrow_tiles(TilePlan& plan, const Contraction& c, const Machine& machine) {
  constexpr int narrowest = 2;
  const Dim inner = count(c.inner);
  if (!inner.is_constant()) return;
  const std::int64_t of_vector = inner.constant() * machine.vector_bytes;
  for (int vectors = plan.vectors; vectors >= narrowest; --vectors) {
    if (vectors * of_vector > machine.first_cache() * 3 / 4) continue;
    plan.vectors = vectors;
    return;
  }
}

}  // namespace kroton
