// Values that one stage of a kernel computes and a later one reads again.
#include <algorithm>

#include "compiler/lower/loops_lowering.h"

namespace kroton {

using Vertex = Graph::Vertex;

namespace {

// Work of one element from which a value is kept for later stages rather than computed again.
constexpr int worth_keeping = 8;
// On a GPU rows are kept in shared memory: those longer than what one thread does alone, as long as
// all of a kernel's leave room for several blocks on a processor.
constexpr std::int64_t least_shared_row = 17;  // elements

}  // namespace

bool LoopsLowering::fits_shared(const Dim& count, DType dtype) {
  if (!count.is_constant() || count.constant() < least_shared_row) return false;
  const std::int64_t bytes = count.constant() * size_of(dtype);
  if (shared_bytes_ + bytes > machine_.block_shared_bytes) return false;
  shared_bytes_ += bytes;
  return true;
}

void LoopsLowering::keep_for_later(int stage, loop::Block& body) {
  if (stage == stages_) return;
  const std::vector<Place> now = costly_in(stage);
  std::vector<loop::Expr> values, checked;  // before any of them is a load
  for (const Place& place : now) {
    values.push_back(context_.value(place.vertex, place.index));
    checked.push_back(context_.checked(values.back()));
  }
  std::vector<Place> later = costly_after(stage);
  for (std::size_t k = now.size(); k-- > 0;) {
    const Place& place = now[k];
    const loop::Expr& value = values[k];
    if (std::find(later.begin(), later.end(), place) == later.end()) continue;
    loop::BufferRef buffer;
    loop::Expr index;
    if (const std::optional<Vertex> result = lend_result(value->dtype)) {
      buffer = context_.buffers().of(*result);
      index = linear_index(cluster_.domain, cluster_.full_point());
    } else {
      Dims row;
      Index at;
      for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
        if (!cluster_.reduced[axis]) continue;
        row.push_back(cluster_.domain[axis]);
        at.push_back(loop::variable(cluster_.variables[axis]));
      }
      const Dim count = element_count(row);
      if (in_runs_ || by_columns_ || (machine_.gpu && !fits_shared(count, value->dtype))) continue;
      buffer = context_.buffers().create("row", value->dtype, count,
                                         machine_.gpu ? loop::Space::shared : loop::Space::worker);
      index = linear_index(row, at);
    }
    body.push_back(loop::Store{buffer, index, checked[k]});
    context_.set_value(place, loop::load(buffer, index));
    later = costly_after(stage);
  }
}

std::optional<Vertex> LoopsLowering::lend_result(DType dtype) {
  std::optional<Vertex> last;
  for (Vertex v : cluster_.roots) {
    if (is_full(v) && ready_.at(v) + 1 == stages_) last = v;
  }
  if (machine_.gpu || lent_ || !last || graph_[*last].type.dtype != dtype) return std::nullopt;
  lent_ = true;
  return last;
}

std::vector<KernelContext::Place> LoopsLowering::costly_in(int stage) {
  context_.forget_values();
  const Index point = cluster_.full_point();
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] == stage) context_.value(graph_.operand(a.vertex, 0), point);
  }
  for (Vertex v : cluster_.roots) {
    if (is_full(v) && ready_[v] + 1 == stage) context_.value(v, point);
  }
  std::vector<Place> costly;
  for (const Place& place : context_.computed()) {
    if (graph_[place.vertex].op->cost >= worth_keeping && runs_along_row(place.index)) {
      costly.push_back(place);
    }
  }
  return costly;
}

std::vector<KernelContext::Place> LoopsLowering::costly_after(int stage) {
  std::vector<Place> costly;
  for (int later = stage + 1; later <= stages_; ++later) {
    for (Place& place : costly_in(later)) costly.push_back(std::move(place));
  }
  return costly;
}

bool LoopsLowering::runs_along_row(const Index& index) const {
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (!cluster_.reduced[axis] || cluster_.domain[axis].is_constant(1)) continue;
    const bool runs = std::any_of(index.begin(), index.end(), [&](const loop::Expr& e) {
      return loop::depends_on(e, cluster_.variables[axis]);
    });
    if (!runs) return false;
  }
  return true;
}

}  // namespace kroton
