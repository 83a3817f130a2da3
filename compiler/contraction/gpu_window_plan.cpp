// Which tiles and slices a convolution on a GPU has.
#include <algorithm>
#include <limits>

#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/contraction/gpu_windows.h"

namespace kroton {
namespace {

// Places of a window that a slice has as a whole, at most, and elements of one that it has if it
// may: enough products between two barriers, and no more elements than a thread has registers for.
constexpr std::int64_t most_whole = 9;
constexpr std::int64_t slice_elements = 16;
// Results of a gradient by filters: places of a window.
constexpr std::int64_t most_places = 128;
// Rows or columns that are too few for a tile of 64.
constexpr std::int64_t small_tile = 16, middle_tile = 32, window_tile = 64;

// The tile whose rows leave the least of it empty, of equals the largest.
GpuTilePlan tile_of(const Contraction& c) {
  const Dim rows = count(c.rows), columns = count(c.columns);
  GpuTilePlan plan;
  plan.rows = window_tile;
  if (rows.is_constant()) {
    double best = std::numeric_limits<double>::max();
    for (const auto& [size, cost] :
         {std::pair{window_tile, 1.0}, {middle_tile, 1.1}, {small_tile, 1.3}}) {
      const auto computed = static_cast<double>(ceil_div(rows, size).constant() * size) * cost;
      if (computed >= best) continue;
      best = computed;
      plan.rows = int_of(size);
    }
  }
  const bool wide = size_of(c.dtype) > 4;
  plan.columns = wide ? window_tile : 2 * window_tile;
  if (plan.rows == window_tile && columns.is_constant() && columns.constant() > 0 &&
      ceil_div(columns, 2 * window_tile).constant() * 2 >
          ceil_div(columns, window_tile).constant()) {
    plan.columns = window_tile;
  }
  plan.thread_rows = plan.rows == small_tile ? 4 : 8;
  if (wide) plan.thread_rows /= 2;
  plan.thread_columns = 4;
  return plan;
}

// As many as leave few places empty behind the last run.
std::int64_t run_of(const Dim& extent) {
  constexpr std::int64_t least = 8;
  if (!extent.is_constant() || extent.constant() > 8 * slice_elements) return slice_elements;
  std::int64_t best = slice_elements;
  const auto computed = [&](std::int64_t run) { return ceil_div(extent, run).constant() * run; };
  for (std::int64_t run = slice_elements; run >= least; --run) {
    if (computed(run) < computed(best)) best = run;
  }
  return best;
}

}  // namespace

Dim GpuWindowPlan::slices() const { return count(outer) * ceil_div(cut.extent, Dim(taken)); }

std::string GpuWindowPlan::to_string() const {
  std::string text = tile.to_string() + ": " + std::to_string(taken) + " of " + cut.variable.name;
  for (const Axis& axis : whole) text += ", all of " + axis.variable.name;
  return text;
}

std::optional<GpuWindowPlan> plan_gpu_windows(const Contraction& c, bool columns_are_positions) {
  if (may_stop(c.a) || may_stop(c.b)) return std::nullopt;
  AxisList inner;
  for (const Axis& axis : c.inner) {
    if (!axis.extent.is_constant(1)) inner.push_back(axis);
  }
  if (inner.empty()) return std::nullopt;
  GpuWindowPlan plan;
  plan.columns_are_positions = columns_are_positions;
  plan.tile = tile_of(c);
  if (columns_are_positions) {
    plan.cut = inner[0];
    std::size_t first = inner.size();
    std::int64_t whole = 1;
    while (first > 1 && inner[first - 1].extent.is_constant() &&
           inner[first - 1].extent.constant() * whole <= most_whole) {
      whole *= inner[--first].extent.constant();
    }
    if (whole == 0) return std::nullopt;
    const auto middle = inner.begin() + static_cast<std::ptrdiff_t>(first);
    plan.outer.assign(inner.begin() + 1, middle);
    plan.whole.assign(middle, inner.end());
    const std::int64_t groups = plan.tile.threads() / plan.tile.columns;
    const std::int64_t each = slice_elements / groups;  // elements of a thread
    plan.taken = groups * std::max<std::int64_t>(1, (each + whole / 2) / whole);
    plan.tile.depth = int_of(plan.taken * whole);
    return plan;
  }
  Dim places = 1;
  for (std::size_t k = 1; k < c.columns.size(); ++k) places = places * c.columns[k].extent;
  if (!places.is_constant() || places.constant() > most_places) return std::nullopt;
  const Dim last = inner.back().extent;
  std::size_t cut = inner.size() - 1;
  std::int64_t whole = 1;
  if (last.is_constant() && last.constant() < gpu_window_lanes && cut > 0) {
    whole = last.constant();
    if (whole == 0) return std::nullopt;
    plan.whole = {inner.back()};
    --cut;
  }
  plan.cut = inner[cut];
  plan.outer.assign(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(cut));
  plan.taken = plan.whole.empty() ? run_of(plan.cut.extent) : slice_elements / whole;
  plan.tile.depth = int_of(plan.taken * whole);
  return plan;
}

std::optional<GpuWindowPlan> plan_gpu_window_parts(const Contraction& c, const GpuWindowPlan& plan,
                                                   bool always) {
  const std::optional<GpuTilePlan> shared = plan_gpu_parts(c, plan.tile, always);
  if (!shared) return std::nullopt;
  GpuWindowPlan parts = plan;
  parts.tile = *shared;
  // Blocks of fewer threads are more of them.
  constexpr std::int64_t usual_threads = 256;
  const Dim slices = shared->slices_of_part * Dim(plan.tile.threads());
  parts.tile.slices_of_part = maximum(slice_elements / 2, ceil_div(slices, usual_threads));
  return parts;
}

}  // namespace kroton
