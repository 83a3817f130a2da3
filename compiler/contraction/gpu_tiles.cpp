#include "compiler/contraction/gpu_tiles.h"

#include <algorithm>

#include "compiler/contraction/gpu_thread_tiles.h"
#include "compiler/loop/matrix_tile.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

// Results with few rows or columns, known to be few, get a tile that they fill.
constexpr std::int64_t few = 16;
// Tiles of results with many rows and columns, known to be many: a thread multiplies 8 by 8, so
// that it reads less of shared memory for each product. Numbers of 8 bytes would fill its
// registers.
constexpr int large_tile = 128;
constexpr int large_depth = 8;
constexpr int large_thread = 8;
constexpr std::int64_t most_large_bytes = 4;
// Tiles that leave a large device half empty, and those that fill it: several warps of each fit on
// a processor, and each thread has many sums under way.
constexpr std::int64_t few_tiles = 132;
constexpr std::int64_t enough_tiles = 2 * few_tiles;
// Inner elements that one block is quickly done with, and the least of a part.
constexpr std::int64_t quick_inner = 256;
constexpr std::int64_t least_inner = 128;

void append(Places& places, const Places& more) {
  places.insert(places.end(), more.begin(), more.end());
}

// Neighbouring threads bring what lies beside each other in memory.
class ScalarTiles final : public GpuThreadTileBuilder {
 public:
  using GpuThreadTileBuilder::GpuThreadTileBuilder;

 private:
  int elements_of(bool is_a) const { return plan_.depth * (is_a ? plan_.rows : plan_.columns); }
  int held_of(bool is_a) const override {
    return (elements_of(is_a) + plan_.threads() - 1) / plan_.threads();
  }

  void begin(const std::vector<Slice>&, loop::Block&) override {}
  void fetch_first(const std::vector<Slice>& both_slices, const loop::Expr& step,
                   loop::Block& to) override {
    for (const Slice& slice : both_slices) {
      to.push_back(fetch(slice, step * loop::integer(plan_.depth)));
    }
  }
  void fetch_next(const std::vector<Slice>& both_slices, const loop::Expr& step,
                  loop::Block& to) override {
    fetch_first(both_slices, step, to);
  }

  // `body` for every element that a thread has of the slice: its number there, its register.
  template <class Body>
  loop::Stmt over_elements(const Slice& slice, const Body& body) const {
    const loop::Variable t = loop::fresh_variable("t");
    const loop::Variable n = loop::fresh_variable("n");
    const loop::Expr number =
        loop::variable(n) * loop::integer(plan_.threads()) + loop::variable(t);
    return threads(t, plan_.threads(),
                   unrolled(n, held_of(slice.is_a), body(number, loop::variable(n))));
  }

  // Where an element of the slice lies: neighbouring threads read neighbouring elements.
  struct At {
    loop::Expr k, at;  // inner element; row or column of the tile
  };
  At place_of(const Slice& slice, const loop::Expr& number) const {
    const AxisList& axes = slice.is_a ? c_.rows : c_.columns;
    const loop::Expr& operand = slice.is_a ? c_.a : c_.b;
    const bool inner_runs_fastest = is_contiguous(operand, c_.inner.back()) ||
                                    (slice.is_a && !is_contiguous(operand, axes.back()));
    const loop::Expr fast = loop::integer(inner_runs_fastest ? plan_.depth : slice.width);
    const loop::Expr slow = loop::binary(Op::floor_div, number, fast);
    const loop::Expr quick = loop::binary(Op::mod, number, fast);
    return inner_runs_fastest ? At{quick, slow} : At{slow, quick};
  }

  // Reads a slice that begins at that inner element, zeros past the operand's ends.
  loop::Stmt fetch(const Slice& slice, const loop::Expr& first_k) const {
    const AxisList& axes = slice.is_a ? c_.rows : c_.columns;
    const loop::Expr& operand = slice.is_a ? c_.a : c_.b;
    const loop::Expr first = slice.is_a ? first_row_ : first_column_;
    const Dim& size = slice.is_a ? rows_ : columns_;
    return over_elements(slice, [&](const loop::Expr& number, const loop::Expr& n) {
      const At at = place_of(slice, number);
      // Of the slice behind the last, which is not used, nothing is read.
      loop::Expr inside = loop::binary(Op::lt, first_k + at.k, loop::size(inner_));
      if (!fits(size, slice.width)) {
        inside = loop::binary(Op::logical_and, inside,
                              loop::binary(Op::lt, first + at.at, loop::size(size)));
      }
      if (elements_of(slice.is_a) % plan_.threads() != 0) {
        inside = loop::binary(Op::logical_and, inside,
                              loop::binary(Op::lt, number, loop::integer(elements_of(slice.is_a))));
      }
      Places places = places_of(axes, first + at.at);
      append(places, places_of(c_.inner, first_k + at.k));
      const loop::Expr value = loop::substitute(operand, places);
      const loop::Expr zero = loop::real(0, c_.dtype);
      if (!may_stop(value)) {
        return loop::Block{loop::Store{slice.held, n, only_inside(value, inside)}};
      }
      return loop::Block{loop::statement(loop::If{
          inside, {loop::Store{slice.held, n, value}}, {loop::Store{slice.held, n, zero}}})};
    });
  }

  loop::Stmt to_shared(const Slice& slice) const override {
    return over_elements(slice, [&](const loop::Expr& number, const loop::Expr& n) {
      const At at = place_of(slice, number);
      const loop::Block store{loop::Store{slice.shared, at.k * loop::integer(slice.stride) + at.at,
                                          loop::load(slice.held, n)}};
      if (elements_of(slice.is_a) % plan_.threads() == 0) return store;
      return loop::Block{loop::statement(loop::If{
          loop::binary(Op::lt, number, loop::integer(elements_of(slice.is_a))), store, {}})};
    });
  }
};

}  // namespace

int GpuTilePlan::threads() const {
  return units ? loop::warps_of(*units) * Machine::warp
               : rows / thread_rows * (columns / thread_columns);
}

std::string GpuTilePlan::to_string() const {
  std::string text = "tile " + std::to_string(rows) + " x " + std::to_string(columns) +
                     ", slices of " + std::to_string(depth) + ", ";
  if (units) return text + std::string(name_of(*element)) + " by matrix units";
  return text + std::to_string(thread_rows) + " x " + std::to_string(thread_columns) +
         " results a thread";
}

namespace {

// The small tiles, or the large ones where there are more of these than few; both where the sizes
// are not known, or all are asked for.
std::vector<GpuTilePlan> either(const Contraction& c, GpuTilePlan small, GpuTilePlan large,
                                bool all) {
  if (all) return {small, large};
  const Dim tiles = count(c.batch) * ceil_div(count(c.rows), Dim(large.rows)) *
                    ceil_div(count(c.columns), Dim(large.columns));
  large.are_wanted = minimum(1, floor_div(tiles, few_tiles + 1));
  small.are_wanted = 1 - large.are_wanted;
  if (large.are_wanted.is_constant(0)) return {small};
  if (large.are_wanted.is_constant(1)) return {large};
  return {small, large};
}

std::vector<GpuTilePlan> plan_scalar_tiles(const Contraction& c, bool all) {
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
  } else if (size_of(c.dtype) <= most_large_bytes) {
    GpuTilePlan large = plan;
    large.rows = large.columns = large_tile;
    large.thread_rows = large.thread_columns = large_thread;
    large.depth = std::min(plan.depth, large_depth);
    return either(c, plan, large, all);
  }
  return {plan};
}

// What lies in memory where the contraction reads a value of its own dtype.
DType stored_dtype(const loop::Expr& operand) {
  const bool is_converted = operand->op == Op::cast && is_only_stored(operand->args[0]->dtype);
  return is_converted ? operand->args[0]->dtype : operand->dtype;
}

// The dtype of operands that the device's matrix units multiply: one that is only stored, in which
// both lie in memory, since their products are exact in what they are added in; else that of the
// contraction itself where less exact products are asked for.
std::optional<DType> unit_dtype(const Contraction& c, const Machine& machine) {
  if (!machine.has_matrix_units() || c.dtype != DType::f32) return std::nullopt;
  const DType dtype = stored_dtype(c.a);
  if (dtype == stored_dtype(c.b) && is_only_stored(dtype)) return dtype;
  return machine.tf32 ? std::optional(c.dtype) : std::nullopt;
}

GpuTilePlan unit_plan(DType element, const loop::MatrixTile& tile) {
  GpuTilePlan plan;
  plan.element = element;
  plan.units = tile;
  plan.rows = tile.rows;
  plan.columns = tile.columns;
  plan.depth = tile.depth;
  return plan;
}

// Tiles of results with few rows or columns, of few results, of many: as many bytes along the inner
// axis whatever the elements are, so that three slices of the largest are 48 KB.
constexpr int unit_depth_bytes = 64;

std::vector<GpuTilePlan> plan_unit_tiles(const Contraction& c, DType element, bool all) {
  const Dim rows = count(c.rows), columns = count(c.columns);
  const int depth = unit_depth_bytes / static_cast<int>(size_of(element));
  if (rows.is_constant() && rows.constant() <= few) {
    return {unit_plan(element, {16, 128, depth, 16, 32})};
  }
  if (columns.is_constant() && columns.constant() <= few) {
    return {unit_plan(element, {128, 16, depth, 32, 16})};
  }
  return either(c, unit_plan(element, {64, 64, depth, 32, 32}),
                unit_plan(element, {128, 128, depth, 64, 32}), all);
}

std::unique_ptr<GpuTileBuilder> builder_of(const Contraction& contraction, const GpuTilePlan& plan,
                                           const loop::NewBuffer& new_buffer) {
  if (plan.units) return matrix_unit_builder(contraction, plan, new_buffer);
  return std::make_unique<ScalarTiles>(contraction, plan, new_buffer);
}

}  // namespace

std::vector<GpuTilePlan> plan_gpu_tiles(const Contraction& c, const Machine& machine, bool all) {
  if (const std::optional<DType> element = unit_dtype(c, machine)) {
    return plan_unit_tiles(c, *element, all);
  }
  return plan_scalar_tiles(c, all);
}

GpuTilePlan plan_waiting_tiles(const Contraction& c, const Machine& machine) {
  GpuTilePlan plan;
  if (const std::optional<DType> element = unit_dtype(c, machine)) {
    plan = plan_unit_tiles(c, *element, true).front();
  } else {
    // Deep slices: what a thread has under way of the next one has to last for a latency.
    plan.rows = 16;
    plan.columns = 32;
    plan.depth = size_of(c.dtype) <= most_large_bytes ? 64 : 32;
    plan.thread_rows = plan.thread_columns = 2;
  }
  const Dim inner = count(c.inner);
  if (inner.is_constant() && inner.constant() <= quick_inner) return plan;
  const Dim tiles = maximum(1, count(c.batch) * ceil_div(count(c.rows), Dim(plan.rows)) *
                                   ceil_div(count(c.columns), Dim(plan.columns)));
  const Dim most = maximum(1, floor_div(few_tiles, tiles));
  plan.slices_of_part =
      maximum(least_inner / plan.depth, ceil_div(ceil_div(inner, Dim(plan.depth)), most));
  return plan;
}

loop::Kernel build_gpu_tiles(const Contraction& contraction, const GpuTilePlan& plan,
                             const loop::NewBuffer& new_buffer) {
  return builder_of(contraction, plan, new_buffer)->run();
}

std::optional<GpuTilePlan> plan_gpu_parts(const Contraction& c, const GpuTilePlan& plan,
                                          bool always) {
  const auto at_least_one = [](const Dim& size) { return maximum(1, size); };
  const Dim inner = count(c.inner);
  const Dim tiles = at_least_one(count(c.batch) * ceil_div(count(c.rows), Dim(plan.rows)) *
                                 ceil_div(count(c.columns), Dim(plan.columns)));
  GpuTilePlan parts = plan;
  Dim most = at_least_one(floor_div(enough_tiles, tiles));
  const auto share_out = [&] {
    parts.slices_of_part =
        maximum(least_inner / plan.depth, ceil_div(ceil_div(inner, Dim(plan.depth)), most));
  };
  if (always) {
    if (inner.is_constant() && inner.constant() <= least_inner) return std::nullopt;
    most = maximum(2, most);
    share_out();
    return parts;
  }
  parts.are_wanted = plan.are_wanted * minimum(1, floor_div(few_tiles, tiles)) *
                     minimum(1, floor_div(inner, quick_inner + 1));
  if (parts.are_wanted.is_constant(0)) return std::nullopt;
  share_out();
  return parts;
}

GpuPartsKernels build_gpu_parts(const Contraction& contraction, const GpuTilePlan& parts,
                                const loop::NewBuffer& new_buffer) {
  return builder_of(contraction, parts, new_buffer)->run_in_parts();
}

}  // namespace kroton
