#include "compiler/passes/merge_loops.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/scan_op.h"
#include "compiler/passes/guards.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// Whether `v` is computed from `from`.
bool is_computed_from(const Graph& graph, Vertex v, Vertex from) {
  std::unordered_set<Vertex> seen{v};
  std::vector<Vertex> pending{v};
  while (!pending.empty()) {
    const Vertex now = pending.back();
    pending.pop_back();
    if (now == from) return true;
    for (const Vertex operand : graph.operands(now)) {
      if (seen.insert(operand).second) pending.push_back(operand);
    }
  }
  return false;
}

// A loop that does all that another one does.
class Merger {
 public:
  Merger(Graph& graph, Vertex loop, Vertex other)
      : graph_(graph),
        loop_(loop),
        other_(other),
        data_(graph[loop]),
        into_(graph[other]),
        view_(data_.attributes),
        into_view_(into_.attributes) {}

  // Whether the results of `loop` are now those of `other`.
  bool run() {
    if (!(view_.count == into_view_.count) || !has_states()) return false;
    find_operands();
    std::vector<Tensor> expressions = body().results;
    std::vector<Vertex> stacks;
    for (const Vertex v : graph_.users(loop_)) {
      if (!graph_.is_op(v, scan_stack_op)) continue;
      stacks.push_back(v);
      expressions.push_back(graph_[v].attributes.body->results[0]);
    }
    bool fits = true;
    expressions = substitute(expressions, [&](const Tensor& t) -> std::optional<Tensor> {
      const auto known = parameters_.find(&t.node());
      if (known != parameters_.end()) return known->second;
      fits = fits && !strangers_.contains(&t.node());
      return std::nullopt;
    });
    for (std::size_t k = 0; k < states_.size(); ++k) {
      fits = fits && same(expressions[k], into_body().results[states_[k]]);
    }
    if (!fits || is_computed_from(graph_, other_, loop_)) return false;
    for (const Vertex v : graph_.users(loop_)) {
      if (!graph_.is_op(v, scan_last_op)) continue;
      Attributes last = graph_[v].attributes;
      const auto state = static_cast<std::size_t>(result_number(last));
      set_last(last, static_cast<int>(states_[state]), into_view_.states);
      graph_.replace(v, graph_.add(scan_last_op, {other_}, std::move(last), graph_[v].line));
    }
    for (std::size_t k = 0; k < stacks.size(); ++k) {
      Attributes stack = graph_[stacks[k]].attributes;
      stack.body = std::make_shared<const Body>(
          Body{into_body().parameters, {expressions[states_.size() + k]}});
      graph_.replace(stacks[k],
                     graph_.add(scan_stack_op, {other_}, std::move(stack), graph_[stacks[k]].line));
    }
    return true;
  }

 private:
  const Body& body() const { return *data_.attributes.body; }
  const Body& into_body() const { return *into_.attributes.body; }

  // The same states from the same values on: a loop that was made of this one has its parameters.
  bool has_states() {
    const std::vector<Vertex> from = graph_.operands(loop_), to = graph_.operands(other_);
    for (std::size_t k = 0; k < static_cast<std::size_t>(view_.states); ++k) {
      const auto end = into_body().parameters.begin() + into_view_.states;
      const auto found = std::find_if(into_body().parameters.begin(), end, [&](const Tensor& t) {
        return same(t, body().parameters[k]);
      });
      if (found == end) return false;
      states_.push_back(static_cast<std::size_t>(found - into_body().parameters.begin()));
      if (from[k] != to[states_[k]]) return false;
      parameters_.emplace(&body().parameters[k].node(), *found);
    }
    return true;
  }

  // Its rows and what stays the same, by the parameters that the other one has for them.
  void find_operands() {
    const std::vector<Vertex> from = graph_.operands(loop_), to = graph_.operands(other_);
    for (std::size_t k = static_cast<std::size_t>(view_.states); k < from.size(); ++k) {
      const int row = static_cast<int>(k) - view_.states;
      const Tensor& parameter = body().parameters[k];
      for (std::size_t j = static_cast<std::size_t>(into_view_.states); j < to.size(); ++j) {
        const int into_row = static_cast<int>(j) - into_view_.states;
        const bool are_rows = row < view_.rows, into_rows = into_row < into_view_.rows;
        if (to[j] != from[k] || are_rows != into_rows) continue;
        if (are_rows && (!(view_.offset(row) == into_view_.offset(into_row)) ||
                         view_.stride(row) != into_view_.stride(into_row))) {
          continue;
        }
        parameters_.emplace(&parameter.node(), into_body().parameters[j]);
        break;
      }
      // One that the other loop does not have must not be needed.
      if (!parameters_.contains(&parameter.node())) strangers_.insert(&parameter.node());
    }
  }

  Graph& graph_;
  const Vertex loop_, other_;
  const VertexData data_, into_;
  const ScanView view_, into_view_;
  std::vector<std::size_t> states_;  // by state: its number in the other loop
  std::unordered_map<const Node*, Tensor> parameters_;
  std::unordered_set<const Node*> strangers_;
};

}  // namespace

bool merge_loops(Graph& graph) {
  std::vector<Vertex> loops;
  for (const Vertex v : graph.topological_order()) {
    if (graph.is_op(v, scan_op)) loops.push_back(v);
  }
  if (loops.size() < 2) return false;
  const std::vector<Guard> guards = find_guards(graph);
  const auto states = [&](Vertex v) { return ScanView(graph[v].attributes).states; };
  bool changed = false;
  for (const Vertex loop : loops) {
    for (const Vertex other : loops) {
      const bool may_hold_it = other != loop && states(other) >= states(loop) &&
                               !graph.is_dead(loop) && !graph.is_dead(other) &&
                               guards[loop] == guards[other];
      if (!may_hold_it || !Merger(graph, loop, other).run()) continue;
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace kroton
