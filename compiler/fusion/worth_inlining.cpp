#include "compiler/fusion/fuser.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton {

using Vertex = Graph::Vertex;

namespace {

// Ops before one that writes its result by loops of its own, which may have no vectors.
constexpr std::size_t most_in_write = 4;
// Elements that a line of memory holds.
constexpr std::int64_t short_row = 16;

Dims without_ones(const Dims& shape) {
  Dims kept;
  for (const Dim& d : shape) {
    if (!d.is_constant(1)) kept.push_back(d);
  }
  return kept;
}

}  // namespace

bool Fuser::reads_across(Vertex v, const Demands& demands) {
  const Dims& shape = graph_[v].type.shape;
  const Dim count = element_count(shape);
  if (count.is_constant() && count.constant() < small_domain) return false;
  const auto is_short = [](const Dim& d) { return d.is_constant() && d.constant() < short_row; };
  if (std::any_of(shape.begin(), shape.end(), is_short)) return false;
  return std::any_of(demands.begin(), demands.end(), [&](const auto& entry) {
    const auto& [c, demand] = entry;
    const Cluster& cluster = at(c);
    if (demand.needs_storage || cluster.variables.empty()) return false;
    if (cluster.kind != Cluster::Kind::contraction && !cluster.reduces()) return false;
    const loop::Variable& along = cluster.variables.back();
    return std::any_of(demand.points.begin(), demand.points.end(),
                       [&](const Index& point) {
                         return runs_along(point, along) && reads_other_axis(v, point, along);
                       }) &&
           works_along(c, v, along);
  });
}

bool Fuser::runs_along(const Index& index, const loop::Variable& along) {
  return index.size() > 1 && is_axis(index.back(), along);
}

bool Fuser::reads_other_axis(Vertex v, const Index& point, const loop::Variable& along) const {
  const std::vector<OperandRead> reads = operand_reads(graph_, v, point);
  return std::any_of(reads.begin(), reads.end(), [&](const OperandRead& read) {
    const Index& index = read.index;
    return index.size() > 1 && index.back()->op == loop::Op::variable &&
           !is_axis(index.back(), along) &&
           std::any_of(index.begin(), index.end() - 1,
                       [&](const loop::Expr& e) { return is_axis(e, along); });
  });
}

bool Fuser::works_along(int c, Vertex v, const loop::Variable& along) {
  if (runs_along(at(c).full_point(), along)) {
    for (Vertex root : at(c).roots) {
      if (graph_[root].type.shape == at(c).domain) return true;
    }
  }
  for (Vertex member : members_of_[c]) {
    if (!graph_[member].op->has_points()) continue;
    const std::vector<Vertex> operands = graph_.operands(member);
    for (const Index& point : computed_[member].at(c).points) {
      for (const OperandRead& read : operand_reads(graph_, member, point)) {
        const Vertex operand = operands[static_cast<std::size_t>(read.position)];
        if (operand != v && !graph_[operand].op->is_view && runs_along(read.index, along)) {
          return true;
        }
      }
    }
  }
  return false;
}

bool Fuser::is_axis(const loop::Expr& e, const loop::Variable& v) {
  return e->op == loop::Op::variable && e->variable == v;
}

bool Fuser::takes_members(const Cluster& cluster) {
  return cluster.kind == Cluster::Kind::loops || cluster.kind == Cluster::Kind::contraction;
}

bool Fuser::reads_start(Vertex v, Vertex write) const {
  const int start = graph_[write].op->starts_from;
  if (start < 0) return false;
  const std::vector<Vertex> operands = graph_.operands(v);
  return std::find(operands.begin(), operands.end(), graph_.operand(write, start)) !=
         operands.end();
}

bool Fuser::worth_inlining(Vertex v, int c, const Demand& demand) {
  const Cluster& cluster = at(c);
  if (size_of_[c] >= largest_cluster) return false;
  const int cost = graph_[v].op->cost;
  // Asks for each element once, but perhaps one at a time.
  if (cluster.kind == Cluster::Kind::write) {
    const Dims& shape = graph_[v].type.shape;
    const bool is_narrow =
        shape.empty() || (shape.back().is_constant() && shape.back().constant() < short_row);
    return demand.points.size() == 1 && cost <= cheap && size_of_[c] <= most_in_write &&
           !is_narrow && !reads_start(v, cluster.hero);
  }
  if (!takes_members(cluster)) return false;
  if (is_drawn(v) && !may_draw(cluster)) return false;
  // What lies inside zeros is read where it lies: a load with a condition.
  constexpr std::size_t few = 4, few_loads = 16;
  const std::size_t most = graph_[v].op == &unslice_op ? few_loads : few;
  if (cost <= cheap && demand.points.size() <= most) return true;
  if (demand.points.size() > 1) return false;
  // Once per element of its own: the axes it depends on come first, so that it moves out of the
  // loops over the others.
  std::vector<bool> missing(cluster.variables.size(), false);
  bool is_any_missing = false, moves_out = true;
  for (std::size_t axis = 0; axis < cluster.variables.size(); ++axis) {
    if (cluster.domain[axis].is_constant(1)) continue;
    bool used = false;
    for (const loop::Expr& e : demand.points[0]) {
      used = used || loop::depends_on(e, cluster.variables[axis]);
    }
    missing[axis] = !used;
    if (cluster.reduced[axis]) continue;
    moves_out = moves_out && !(used && is_any_missing);
    is_any_missing = is_any_missing || !used;
  }
  return moves_out || (machine_.gpu && comes_from_own(v, cluster, missing));
}

bool Fuser::comes_from_own(Vertex v, const Cluster& cluster,
                           const std::vector<bool>& missing) const {
  if (cluster.kind != Cluster::Kind::loops || cluster.reduces()) return false;
  constexpr int furthest = 32;
  std::vector<Vertex> pending{v};
  std::set<Vertex> seen{v};
  for (int visited = 0; !pending.empty() && visited < furthest; ++visited) {
    const Vertex next = pending.back();
    pending.pop_back();
    for (Vertex o : graph_.operands(next)) {
      const OpRecord& op = *graph_[o].op;
      if (op.kind == OpKind::reduce && graph_[graph_.operand(o, 0)].type.shape == cluster.domain &&
          removed_axes(o) == missing) {
        return true;
      }
      // What is stored in any case is so elsewhere.
      if (op.has_points() && !wanted_[o] && seen.insert(o).second) pending.push_back(o);
    }
  }
  return false;
}

bool Fuser::may_draw(const Cluster& cluster) {
  return cluster.kind == Cluster::Kind::loops && !cluster.reduces();
}

bool Fuser::is_drawn(Vertex v) {
  const auto known = drawn_.find(v);
  return known != drawn_.end() ? known->second : (drawn_[v] = find_drawn(v));
}

bool Fuser::find_drawn(Vertex v) {
  if (graph_[v].op->is_redrawn) return true;
  if (graph_[v].op->kind != OpKind::elementwise && !graph_[v].op->is_view) return false;
  bool draws = false;
  for (Vertex o : graph_.operands(v)) {
    if (is_drawn(o)) {
      draws = true;
    } else if (!is_literal(source_of(o)) && !is_smaller(source_of(o), v)) {
      return false;
    }
  }
  return draws;
}

Vertex Fuser::source_of(Vertex v) const {
  while (graph_[v].op->is_view) v = graph_.operand(v, 0);
  return v;
}

bool Fuser::feeds_from_elsewhere(Vertex v, const Cluster& cluster) const {
  constexpr int furthest = 32;
  std::vector<Vertex> pending{v};
  std::set<Vertex> seen{v};
  bool elsewhere = false;
  for (int visited = 0; !pending.empty() && visited < furthest; ++visited) {
    const Vertex next = pending.back();
    pending.pop_back();
    // What is regrouped lies in memory: no product or reduction behind it takes the cluster in.
    if (machine_.gpu && is_regrouping(graph_, next)) continue;
    for (Vertex o : graph_.operands(next)) {
      const OpRecord& op = *graph_[o].op;
      if (op.kind == OpKind::reduce && reduces_rows(o, cluster)) return false;
      elsewhere = elsewhere || op.kind == OpKind::contraction || op.kind == OpKind::reduce;
      if (op.has_points() && seen.insert(o).second) pending.push_back(o);
    }
  }
  return elsewhere;
}

bool Fuser::reduces_rows(Vertex v, const Cluster& cluster) const {
  return graph_[graph_.operand(v, 0)].type.shape == cluster.domain &&
         removed_axes(v) == cluster.reduced;
}

std::vector<bool> Fuser::removed_axes(Vertex v) const {
  const TensorType& input = graph_[graph_.operand(v, 0)].type;
  std::vector<bool> removed(static_cast<std::size_t>(input.rank()), false);
  for (int axis : graph_[v].attributes.axes) removed[static_cast<std::size_t>(axis)] = true;
  return removed;
}

int Fuser::costly_operands(Vertex v) const {
  int count = 0;
  for (Vertex o : graph_.operands(v)) {
    const Vertex source = source_of(o);
    if (!is_literal(source) && !is_smaller(source, v)) ++count;
  }
  return count;
}

bool Fuser::is_smaller(Vertex source, Vertex v) const {
  return without_ones(graph_[source].type.shape).size() < without_ones(graph_[v].type.shape).size();
}

bool is_regrouping(const Graph& graph, Vertex v) {
  return graph[v].op->regroups &&
         without_ones(graph[v].type.shape) != without_ones(graph[graph.operand(v, 0)].type.shape);
}

}  // namespace kroton
