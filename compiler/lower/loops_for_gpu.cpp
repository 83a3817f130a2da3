// Elementwise work and reductions on a GPU: which kernels suit the sizes, and both kinds where
// those are not known.
#include <algorithm>

#include "compiler/lower/loops_lowering.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {

using loop::Op;
using Vertex = Graph::Vertex;

std::vector<loop::Kernel> LoopsLowering::for_gpu() {
  std::optional<ReductionParts> parts;
  if (cluster_.reduces() && !machine_.one_block) {
    const std::optional<std::size_t> last = last_before_results();
    const bool by_columns = last && !lies_along_rows(*last);
    if (!by_columns && sums_relative_to_most()) {
      parts = register_parts(cluster_.domain, cluster_.reduced);
      at_once_ = parts.has_value();
    }
    if (!parts) parts = reduction_parts(cluster_.domain, cluster_.reduced, by_columns, stages_);
  }
  if (!parts) return rows_or_all(1);
  std::vector<loop::Kernel> kernels = in_runs({parts->axis, parts->step, parts->are_wanted});
  if (parts->are_wanted.is_constant()) return kernels;
  use_accumulators();
  in_runs_ = at_once_ = false;
  append(kernels, rows_or_all(1 - parts->are_wanted));
  return kernels;
}

bool LoopsLowering::sums_relative_to_most() {
  const Accumulator* most = nullptr;
  const Accumulator* sum = nullptr;
  for (const Accumulator& a : accumulators_) {
    const int stage = ready_[a.vertex];
    if (stage > 2) continue;
    const Accumulator*& one = stage == 1 ? most : sum;
    if (one != nullptr || a.is_arg || a.of_finite || !is_float(a.variable.dtype)) return false;
    one = &a;
  }
  const bool stores = std::any_of(cluster_.roots.begin(), cluster_.roots.end(),
                                  [&](Vertex v) { return is_full(v) && ready_[v] < 2; });
  if (most == nullptr || sum == nullptr || stores || most->op != Op::max || sum->op != Op::add ||
      most->variable.dtype != sum->variable.dtype) {
    return false;
  }
  const Index point = cluster_.full_point();
  const loop::Expr element = context_.value(graph_.operand(most->vertex, 0), point);
  const loop::Expr power = context_.value(graph_.operand(sum->vertex, 0), point);
  return power->op == Op::exp && power->args[0]->op == Op::sub &&
         power->args[0]->args[0] == element &&
         power->args[0]->args[1] == loop::variable(most->variable);
}

std::vector<loop::Kernel> LoopsLowering::rows_or_all(const Dim& are_wanted) {
  const loop::Kernel kernel = whole();
  const auto where = [&](const Dim& flag) {
    loop::Kernel one = kernel;
    one.body = only_if(flag, kernel.body);
    return finish(std::move(one), work());
  };
  const std::optional<Dim> length = row_length();
  if (!length || length->is_constant() || machine_.one_block) return where(are_wanted);
  const Dim are_long = minimum(1, floor_div(*length, Machine::warp_row + 1));
  machine_.longest_row = Machine::warp_row;
  std::vector<loop::Kernel> kernels = where(are_wanted * (1 - are_long));
  machine_.longest_row = 0;
  const loop::For* blocks = loop::as_for(kernels[0].body.back());
  // Threads may be dealt out otherwise than by rows: then one kernel is for all.
  if (blocks == nullptr || blocks->width != Machine::warp) return where(are_wanted);
  const Dim are_longer = minimum(1, floor_div(*length, Machine::block_row + 1));
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

bool LoopsLowering::holds_rows(const loop::Kernel& kernel) {
  bool holds = false;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const auto* array = std::get_if<loop::Allocate>(&s);
    holds = holds || (array != nullptr && array->buffer->space == loop::Space::registers);
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
