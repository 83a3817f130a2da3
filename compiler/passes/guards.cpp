#include "compiler/passes/guards.h"

#include <set>

#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

bool branches(const Graph& graph, const std::vector<Vertex>& order) {
  return std::any_of(order.begin(), order.end(),
                     [&](Vertex v) { return graph[v].op->kind == OpKind::branch; });
}

// The paths under which each vertex is needed, where what is needed under several counts as needed
// under what they have in common.
class Needs {
 public:
  explicit Needs(const Graph& graph)
      : graph_(graph), order_(graph.topological_order()), paths_(graph.size()) {
    for (const Vertex v : graph.outputs) paths_[v] = {Guard()};
    for (const Graph::Update& update : graph.updates) paths_[update.value] = {Guard()};
    for (auto v = order_.rbegin(); v != order_.rend(); ++v) {
      paths_[*v] = reduced(paths_[*v]);
      const Guard guard = guard_of(*v);
      const std::vector<Vertex> operands = graph.operands(*v);
      const bool branch = graph[*v].op->kind == OpKind::branch;
      for (std::size_t k = 0; k < operands.size(); ++k) {
        add(operands[k], branch && k > 0 ? extended(guard, {operands[0], k == 1}) : guard);
      }
    }
  }

  const std::vector<Vertex>& order() const { return order_; }
  const std::vector<Guard>& operator[](Vertex v) const { return paths_[v]; }
  Guard guard_of(Vertex v) const {
    Guard guard = common_prefix(paths_[v]);
    const VertexData& data = graph_[v];
    if (data.op != &ifelse_op) return guard;
    const std::optional<std::size_t> most = most_conditions(data.attributes);
    if (most && guard.size() > *most) guard.resize(*most);
    return guard;
  }

 private:
  void add(Vertex v, Guard guard) {
    std::vector<Guard>& paths = paths_[v];
    if (paths.size() == 1 && paths[0].empty()) return;
    if (std::find(paths.begin(), paths.end(), guard) != paths.end()) return;
    if (guard.empty()) paths.clear();
    paths.push_back(std::move(guard));
  }

  const Graph& graph_;
  std::vector<Vertex> order_;
  std::vector<std::vector<Guard>> paths_;
};

// By vertex: it or something that it is computed from may fail.
std::vector<bool> failing(const Graph& graph, const std::vector<Vertex>& order) {
  std::vector<bool> result(graph.size(), false);
  for (const Vertex v : order) {
    const std::vector<Vertex> operands = graph.operands(v);
    result[v] = may_fail(*graph[v].op, graph[v].attributes) ||
                std::any_of(operands.begin(), operands.end(), [&](Vertex o) { return result[o]; });
  }
  return result;
}

// A boolean: whether the path holds from its step `first` on. Conditions behind others are only
// evaluated under them.
Vertex holds(Graph& graph, const Guard& path, std::size_t first, SourceLine line) {
  Vertex result = 0;
  for (std::size_t k = path.size(); k-- > first;) {
    const Vertex condition = path[k].condition;
    const bool last = k + 1 == path.size();
    if (last) {
      result = path[k].holds ? condition : graph.add(logical_not_op, {condition}, {}, line);
      continue;
    }
    const Vertex no = graph.build(
        {}, line, [&](std::span<const Tensor>) { return make_literal(0.0, DType::boolean, line); });
    result = graph.add(
        ifelse_op,
        path[k].holds ? std::vector{condition, result, no} : std::vector{condition, no, result}, {},
        line);
  }
  return result;
}

// By vertex: it is `v` or computed from it.
std::vector<bool> computed_from(const Graph& graph, const std::vector<Vertex>& order, Vertex v) {
  std::vector<bool> result(graph.size(), false);
  for (const Vertex u : order) {
    const std::vector<Vertex> operands = graph.operands(u);
    result[u] = u == v ||
                std::any_of(operands.begin(), operands.end(), [&](Vertex o) { return result[o]; });
  }
  return result;
}

bool has_steps_of(const Guard& path, const Guard& steps) {
  return std::all_of(steps.begin(), steps.end(), [&](const auto& step) {
    return std::find(path.begin(), path.end(), step) != path.end();
  });
}

// Paths of which one holds wherever `v` is needed, by conditions that can be known before it.
std::vector<Guard> paths_before(const Graph& graph, const Needs& needs,
                                const std::vector<bool>& fails, Vertex v) {
  // A path with all steps of another one, in whatever order, adds nothing to it.
  std::vector<Guard> paths;
  for (const Guard& path : needs[v]) {
    const bool adds = std::none_of(needs[v].begin(), needs[v].end(), [&](const Guard& other) {
      return other.size() < path.size() && has_steps_of(path, other);
    });
    if (adds) paths.push_back(path);
  }
  // What is computed from v says nothing before v is there. The path without it holds more often;
  // it ends before a condition that may fail where what is left out does not hold.
  const std::vector<bool> later = computed_from(graph, needs.order(), v);
  for (Guard& path : paths) {
    Guard before;
    for (const auto& step : path) {
      if (later[step.condition]) continue;
      if (fails[step.condition] && !has_steps_of(before, needs.guard_of(step.condition))) break;
      before.push_back(step);
    }
    path = std::move(before);
  }
  return reduced(paths);
}

// A boolean: whether one of the paths holds, where their first `shared` steps do.
Vertex one_holds(Graph& graph, const std::vector<Guard>& paths, std::size_t shared,
                 SourceLine line) {
  Vertex result = holds(graph, paths[0], shared, line);
  for (std::size_t k = 1; k < paths.size(); ++k) {
    result = graph.add(logical_or_op, {result, holds(graph, paths[k], shared, line)}, {}, line);
  }
  return result;
}

// ifelse(needed, v, 0) in the place of v, guarded by no more than the first `shared` conditions.
Vertex confine(Graph& graph, Vertex v, Vertex needed, std::size_t shared) {
  const VertexData data = graph[v];
  const Vertex copy = graph.add(*data.op, graph.operands(v), data.attributes, data.line);
  const Vertex zero = graph.build({}, data.line, [&](std::span<const Tensor>) {
    return make_literal(0.0, data.type.dtype, data.line);
  });
  const Vertex zeros = add_repeated(graph, zero, data.type.shape, data.line);
  Attributes attributes;
  set_most_conditions(attributes, shared);
  const Vertex confined = graph.add(ifelse_op, {needed, copy, zeros}, attributes, data.line);
  graph.replace(v, confined);
  return confined;
}

}  // namespace

std::vector<Guard> find_guards(const Graph& graph) {
  std::vector<Guard> guards(graph.size());
  if (!branches(graph, graph.topological_order())) return guards;
  const Needs needs(graph);
  for (const Vertex v : needs.order()) guards[v] = needs.guard_of(v);
  return guards;
}

bool confine_failures(Graph& graph) {
  if (!branches(graph, graph.topological_order())) return false;
  std::set<Vertex> confined;
  for (bool changed = true; changed;) {
    changed = false;
    const Needs needs(graph);
    const std::vector<bool> fails = failing(graph, needs.order());
    for (auto v = needs.order().rbegin(); v != needs.order().rend() && !changed; ++v) {
      if (needs[*v].size() == 1 || !fails[*v] || confined.contains(*v)) continue;
      // A loop or a call has no value of its own: its results are confined, all by one condition
      // and under one guard, which becomes the loop's.
      if (graph[*v].op->kind == OpKind::result) continue;
      const bool has_results = gives_results(graph[*v].op->kind);
      const std::size_t shared = common_prefix(needs[*v]).size();
      const std::vector<Guard> paths = paths_before(graph, needs, fails, *v);
      if (common_prefix(paths).size() == shared && paths.size() == 1) continue;
      const Vertex needed = one_holds(graph, paths, shared, graph[*v].line);
      for (const Vertex value : has_results ? graph.users(*v) : std::vector{*v}) {
        confined.insert(confine(graph, value, needed, shared));
      }
      changed = true;
    }
  }
  return !confined.empty();
}

}  // namespace kroton
