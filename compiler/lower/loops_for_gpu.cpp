// Elementwise work and reductions on a GPU: which kernels suit the sizes, and both kinds where
// those are not known.
#include <algorithm>
#include <array>

#include "compiler/loop/gpu_schedule.h"
#include "compiler/lower/loops_lowering.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {

using loop::Op;
using Vertex = Graph::Vertex;

namespace {

// Elements of a run that stay in registers, along rows and down columns.
constexpr std::int64_t held_run_of_row = Machine::block_row;
constexpr std::int64_t held_run_of_column = 512;
// Lengths of columns that are not known, for each of which there is a kernel.
constexpr std::int64_t short_column = 512;
constexpr std::array<std::int64_t, 4> longest_columns = {4096, 2048, 1024, short_column};

// 1 where it is more than `most`, else 0.
Dim is_more(const Dim& size, std::int64_t most) { return minimum(1, floor_div(size, most + 1)); }

}  // namespace

std::vector<loop::Kernel> LoopsLowering::for_gpu() {
  if (!cluster_.reduces() || machine_.one_block) return rows_or_all(1);
  const std::optional<std::size_t> last = last_before_results();
  by_columns_ = last && !lies_along_rows(*last);
  const bool in_stages = by_columns_ && stages_ > 1;
  const std::int64_t held = in_stages ? held_columns() : 0;
  const Dim length = reduced_count();
  if (held > 0 && length.is_constant()) return finish(whole(), work());
  std::optional<ReductionParts> parts;
  if (find_relative_sums()) {
    parts = by_columns_
                ? register_parts(cluster_.domain, cluster_.reduced, held_run_of_column,
                                 std::max(held, held_run_of_column))
                : register_parts(cluster_.domain, cluster_.reduced, held_run_of_row, quick_row);
    if (!parts) relative_.clear();
  }
  const bool at_once = !relative_.empty();
  if (!parts) {
    parts = reduction_parts(cluster_.domain, cluster_.reduced, by_columns_, stages_);
    if (parts && held > 0) parts->are_wanted = parts->are_wanted * is_more(length, held);
  }
  const Dim in_one = parts ? 1 - parts->are_wanted : Dim(1);
  std::vector<loop::Kernel> kernels;
  if (parts) {
    kernels = in_runs({parts->axes, parts->step, parts->are_wanted});
    if (parts->are_wanted.is_constant()) return kernels;
    use_accumulators();
    in_runs_ = false;
    relative_.clear();
  }
  if (held == 0) {
    append(kernels, rows_or_all(in_one));
    return kernels;
  }
  const auto of_columns = [&](std::int64_t longest, const Dim& flag) {
    machine_.longest_row = longest;
    append(kernels, where(whole(), flag));
    machine_.longest_row = 0;
  };
  const Dim are_held = 1 - is_more(length, held);
  if (held > short_column) {
    of_columns(short_column, 1 - is_more(length, short_column));
    of_columns(held, is_more(length, short_column) * are_held);
  } else {
    of_columns(held, are_held);
  }
  if (!at_once) of_columns(0, in_one * (1 - are_held));
  return kernels;
}

std::int64_t LoopsLowering::held_columns() {
  const Dim length = reduced_count();
  const loop::Kernel kernel = whole();
  const auto holds = [&](std::int64_t longest) {
    machine_.longest_row = longest;
    const bool result = holds_rows(finish(kernel, work()).front());
    machine_.longest_row = 0;
    return result;
  };
  if (length.is_constant()) return holds(0) ? length.constant() : 0;
  for (const std::int64_t longest : longest_columns) {
    if (holds(longest)) return longest;
  }
  return 0;
}

Dim LoopsLowering::reduced_count() const {
  Dim count = 1;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (cluster_.reduced[axis]) count = count * cluster_.domain[axis];
  }
  return count;
}

bool LoopsLowering::find_relative_sums() {
  const bool stores = std::any_of(cluster_.roots.begin(), cluster_.roots.end(),
                                  [&](Vertex v) { return is_full(v) && ready_[v] < 2; });
  if (stores) return false;
  std::vector<Relative> found;
  for (const Accumulator& a : accumulators_) {
    if (a.of_finite) return false;
    if (ready_[a.vertex] != 2) continue;
    const std::optional<Relative> relative = relative_sum(a);
    if (!relative) return false;
    found.push_back(*relative);
  }
  relative_ = std::move(found);
  return !relative_.empty();
}

std::optional<LoopsLowering::Relative> LoopsLowering::relative_sum(const Accumulator& sum) {
  const DType dtype = sum.variable.dtype;
  if (sum.is_arg || sum.op != Op::add || !is_float(dtype)) return std::nullopt;
  const loop::Expr term = context_.value(graph_.operand(sum.vertex, 0), cluster_.full_point());
  if (term->op != Op::mul && term->op != Op::exp) return std::nullopt;
  const bool is_square = term->op == Op::mul && term->args[0] == term->args[1];
  // Which of two factors is the distance, and what the other one adds up to.
  std::size_t place = 0;
  std::optional<Vertex> weights;
  for (; term->op == Op::mul && !is_square && place < 2; ++place) {
    weights = first_stage(Op::add, term->args[1 - place], dtype);
    if (weights) break;
  }
  if (place == 2) return std::nullopt;
  const loop::Expr& difference = term->args[place];
  if (difference->op != Op::sub) return std::nullopt;
  const loop::Expr& centre = difference->args[1];
  const OfRun kind = term->op == Op::exp ? OfRun::exponentials
                     : is_square         ? OfRun::squares
                                         : OfRun::weighted;
  const bool is_exponential = kind == OfRun::exponentials;
  const std::optional<Vertex> first =
      first_stage(is_exponential ? Op::max : Op::add, difference->args[0], dtype);
  if (!first) return std::nullopt;
  if (is_exponential && centre != loop::variable(accumulator_of(*first).variable)) {
    return std::nullopt;
  }
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (cluster_.reduced[axis] && loop::depends_on(centre, cluster_.variables[axis])) {
      return std::nullopt;
    }
  }
  return Relative{sum.vertex, *first, kind, centre, weights.value_or(0)};
}

std::optional<Vertex> LoopsLowering::first_stage(Op op, const loop::Expr& value, DType dtype) {
  const Index point = cluster_.full_point();
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] == 1 && !a.is_arg && a.op == op && a.variable.dtype == dtype &&
        context_.value(graph_.operand(a.vertex, 0), point) == value) {
      return a.vertex;
    }
  }
  return std::nullopt;
}

std::vector<loop::Kernel> LoopsLowering::rows_or_all(const Dim& are_wanted) {
  const loop::Kernel kernel = whole();
  const auto where = [&](const Dim& flag) { return this->where(kernel, flag); };
  const std::optional<Dim> length = row_length();
  if (!length || length->is_constant() || machine_.one_block) return where(are_wanted);
  const Dim are_long = is_more(*length, Machine::warp_row);
  machine_.longest_row = Machine::warp_row;
  std::vector<loop::Kernel> kernels = where(are_wanted * (1 - are_long));
  machine_.longest_row = 0;
  const loop::For* blocks = loop::as_for(kernels[0].body.back());
  // Threads may be dealt out otherwise than by rows: then one kernel is for all.
  if (blocks == nullptr || blocks->width != Machine::warp) return where(are_wanted);
  const Dim are_above_parts = is_more(*length, loop::longest_part_row);
  machine_.longest_row = loop::longest_part_row;
  std::vector<loop::Kernel> parts = where(are_wanted * (1 - are_above_parts));
  if (loop::as_for(parts[0].body.back())->width < Machine::warp) {
    machine_.longest_row = Machine::warp_row;
    kernels = where(are_wanted * are_above_parts * (1 - are_long));
    kernels.insert(kernels.begin(), parts.begin(), parts.end());
  }
  const Dim are_longer = is_more(*length, Machine::block_row);
  machine_.longest_row = Machine::block_row;
  std::vector<loop::Kernel> held = where(are_wanted * are_long * (1 - are_longer));
  machine_.longest_row = 0;
  if (!holds_rows(held[0])) {
    append(kernels, where(are_wanted * are_long));
    return kernels;
  }
  append(kernels, std::move(held));
  append(kernels, where(are_wanted * are_longer));
  return kernels;
}

std::vector<loop::Kernel> LoopsLowering::where(loop::Kernel kernel, const Dim& flag) const {
  kernel.body = only_if(flag, std::move(kernel.body));
  return finish(std::move(kernel), work());
}

bool LoopsLowering::holds_rows(const loop::Kernel& kernel) {
  bool holds = false;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const auto* array = std::get_if<loop::Allocate>(&s);
    holds = holds || (array != nullptr && array->buffer->space == loop::Space::registers &&
                      !array->buffer->size.is_constant(1));
  });
  return holds;
}

std::optional<Dim> LoopsLowering::row_length() const {
  Dim length = 1;
  std::int64_t least = 1;
  bool is_along = false, are_several = false;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (cluster_.domain[axis].is_constant(1)) continue;
    is_along = cluster_.reduced[axis];
    are_several = are_several || !is_along;
    if (!is_along) continue;
    length = length * cluster_.domain[axis];
    if (cluster_.domain[axis].is_constant()) least *= cluster_.domain[axis].constant();
  }
  return is_along && are_several && least <= Machine::warp_row ? std::optional(length)
                                                               : std::nullopt;
}

std::optional<std::size_t> LoopsLowering::last_before_results() const {
  std::optional<std::size_t> last;
  bool is_along = false;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (cluster_.domain[axis].is_constant(1)) continue;
    is_along = cluster_.reduced[axis];
    if (is_along) last = axis;
  }
  return is_along ? std::nullopt : last;
}

}  // namespace kroton
