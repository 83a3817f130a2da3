#include "compiler/fusion/fuser.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/ops/records.h"

namespace kroton {

using Vertex = Graph::Vertex;

void Demand::add(const Index& point) {
  for (const Index& known : points) {
    if (same_index(known, point)) return;
  }
  points.push_back(point);
}

void Fuser::note_places() {
  place_of_.assign(graph_.size(), 0);
  fails_.assign(graph_.size(), false);
  for (std::size_t k = 0; k < order_.size(); ++k) {
    const Vertex v = order_[k];
    place_of_[v] = k;
    const OpRecord& op = *graph_[v].op;
    const auto fails = [&](Vertex operand) { return fails_[operand]; };
    fails_[v] = op.observable || ((op.has_points() || op.kind == OpKind::reduce) &&
                                  std::ranges::any_of(graph_.operands(v), fails));
  }
}

Fusion Fuser::run() {
  for (auto it = order_.rbegin(); it != order_.rend(); ++it) place(*it);
  all_are_placed_ = true;
  for (Vertex v : order_) merge_reductions(v);
  for (Vertex v : order_) merge_stages(v);
  if (machine_.gpu) {
    for (Vertex v : order_) join_elements(v);
  }
  if (machine_.gpu) compute_with_rows();
  for (Vertex v : order_) {
    for (const auto& [cluster, demand] : computed_[v]) {
      result_.clusters[static_cast<std::size_t>(cluster)].members.push_back(v);
    }
  }
  // Found from the results on, stored from the operands on: a value is at hand when it is made.
  for (Cluster& cluster : result_.clusters) {
    if (takes_members(cluster)) std::reverse(cluster.roots.begin(), cluster.roots.end());
  }
  sort_clusters();
  return std::move(result_);
}

void Fuser::place(Vertex v) {
  const OpRecord& op = *graph_[v].op;
  Demands& demands = demands_[v];
  switch (op.kind) {
    case OpKind::leaf:
      result_.stored[v] = op.at == nullptr;  // literals are written into the code
      merge_wanted_readers(v);
      return;
    case OpKind::elementwise:
    case OpKind::pointwise:
      place_pointwise(v, demands);
      break;
    case OpKind::reduce:
      place_reduce(v, demands);
      break;
    case OpKind::contraction:
      place_contraction(v, demands);
      break;
    case OpKind::write:
      store(v, new_cluster(v, Cluster::Kind::write, {}), demands);
      break;
    case OpKind::result:
      result_.stored[v] = true;  // by the cluster of its operand
      return;
    case OpKind::scan:
      place_with_results(v, Cluster::Kind::scan);
      break;
    case OpKind::call:
      place_with_results(v, Cluster::Kind::call);
      break;
    case OpKind::branch:
      store(v, new_cluster(v, Cluster::Kind::branch, {}), demands);
      break;
    case OpKind::composite:
      throw InternalError("fusion: " + std::string(op.name) + " should have been expanded");
  }
  ask_operands(v);
}

void Fuser::place_with_results(Vertex v, Cluster::Kind kind) {
  const int c = new_cluster(v, kind, {});
  computed_[v][c];
  for (Vertex result : graph_.users(v)) {
    computed_[result][c];
    at(c).roots.push_back(result);
    for (const auto& [reader, demand] : demands_[result]) runs_before_.add_reader(c, reader);
  }
}

bool Fuser::must_store(Vertex v, const Demands& demands) const {
  if (wanted_[v]) return true;
  return std::any_of(demands.begin(), demands.end(),
                     [](const auto& d) { return d.second.needs_storage; });
}

void Fuser::place_pointwise(Vertex v, Demands& demands) {
  const OpRecord& op = *graph_[v].op;
  const bool needs_order = std::any_of(demands.begin(), demands.end(),
                                       [](const auto& d) { return d.second.needs_order; });
  const bool has_room = std::all_of(demands.begin(), demands.end(),
                                    [&](const auto& d) { return views_of_[d.first] < most_views; });
  // What reduces the same rows reads them once.
  if (op.is_view) merge_readers(v, reduces_same_rows);
  if (op.is_view && !wanted_[v] && reads_across(v, demands)) {
    store(v, new_cluster(v, Cluster::Kind::loops, graph_[v].type.shape), demands);
    return;
  }
  if (op.is_view && !wanted_[v] && !needs_order && has_room) {
    inline_into(v, demands);
    return;
  }
  if (!must_store(v, demands) && has_room) {
    if (demands.size() == 1 && worth_inlining(v, demands.begin()->first, demands.begin()->second)) {
      inline_into(v, demands);
      return;
    }
    if (demands.size() > 1 &&
        (op.is_redrawn || (is_cheap(v, demands) && costly_operands(v) <= 1)) &&
        std::all_of(demands.begin(), demands.end(),
                    [&](const auto& d) { return worth_inlining(v, d.first, d.second); })) {
      inline_into(v, demands);
      return;
    }
  }
  merge_readers(v);
  if (!must_store(v, demands) && demands.size() == 1 &&
      worth_inlining(v, demands.begin()->first, demands.begin()->second)) {
    inline_into(v, demands);
    return;
  }
  for (const auto& [c, demand] : demands) {
    const Cluster& cluster = at(c);
    if (!takes_members(cluster) || size_of_[c] >= largest_cluster) continue;
    if (is_drawn(v) && !may_draw(cluster)) continue;
    if (cluster.guard != guards_[v]) continue;
    if (demand.points.size() != 1 || demand.needs_storage) continue;
    // A slice from the start is read at the same points, but is not the whole.
    const Dims& shape = graph_[v].type.shape;
    const bool full = shape == cluster.domain && same_index(demand.points[0], cluster.full_point());
    const bool outer =
        shape == cluster.outer_domain() && same_index(demand.points[0], cluster.outer_point());
    // Sharing a loop with a reduction saves reading v again; sharing one with the product or the
    // reduction that v comes from saves storing what is in between.
    if (cluster.reduces() && full && !outer && feeds_from_elsewhere(v, cluster)) continue;
    if ((full || outer) && stays_acyclic(c, demands)) {
      store(v, c, demands);
      return;
    }
  }
  const int c = new_cluster(v, Cluster::Kind::loops, graph_[v].type.shape);
  store(v, c, demands);
}

bool Fuser::is_cheap(Vertex v, const Demands& demands) {
  const int cost = graph_[v].op->cost;
  if (cost <= cheap) return true;
  if (!machine_.gpu || cost > cheaper_than_array) return false;
  const bool is_for_each = std::ranges::all_of(demands, [&](const auto& d) {
    return goes_once_over(at(d.first).domain, graph_[v].type.shape);
  });
  if (cost <= cheaper_than_memory) return is_for_each;
  // One of the readers has to compute it in any case.
  const auto reads_anyway = [&](const auto& d) {
    const std::vector<Vertex> operands = graph_.operands(v);
    return std::ranges::all_of(operands, [&](Vertex o) {
      return is_literal(source_of(o)) || is_smaller(source_of(o), v) ||
             demands_[o].count(d.first) != 0;
    });
  };
  return is_for_each && std::ranges::count_if(demands, reads_anyway) + 1 >= std::ssize(demands);
}

bool Fuser::goes_once_over(const Dims& domain, const Dims& shape) {
  if (domain.size() != shape.size()) return false;
  constexpr double most = 1.5;  // with what lies around it
  double times = 1;
  for (std::size_t axis = 0; axis < domain.size(); ++axis) {
    if (domain[axis] == shape[axis]) continue;
    if (!domain[axis].is_constant() || !shape[axis].is_constant()) return false;
    times *= static_cast<double>(domain[axis].constant()) /
             static_cast<double>(std::max<std::int64_t>(shape[axis].constant(), 1));
  }
  return times <= most;
}

void Fuser::inline_into(Vertex v, const Demands& demands) {
  computed_[v] = demands;
  for (const auto& [c, demand] : demands) {
    ++(graph_[v].op->is_view ? views_of_ : size_of_)[c];
    members_of_[c].push_back(v);
  }
}

void Fuser::place_reduce(Vertex v, Demands& demands) {
  const TensorType& input = graph_[graph_.operand(v, 0)].type;
  const std::vector<bool> removed = removed_axes(v);
  for (auto& [c, demand] : demands) {
    if (demand.points.size() != 1 || demand.needs_storage || size_of_[c] >= largest_cluster)
      continue;
    if (at(c).guard != guards_[v] || !stays_acyclic(c, demands)) continue;
    if (!join_reduction(c, demand.points[0], graph_[v].type.shape, input.shape, removed)) continue;
    finish(v, c, demands);
    return;
  }
  const int c = new_cluster(v, Cluster::Kind::loops, input.shape);
  at(c).reduced = removed;
  store(v, c, demands);
}

bool Fuser::join_reduction(int c, const Index& point, const Dims& shape, const Dims& input,
                           const std::vector<bool>& removed) {
  Cluster& cluster = at(c);
  if (cluster.kind != Cluster::Kind::loops || is_one_pass_.count(c) != 0) return false;
  if (cluster.domain == input && (cluster.reduced == removed || !cluster.reduces())) {
    // The same rows: read once per row.
    Cluster probe = cluster;
    probe.reduced = removed;
    if (!same_index(point, probe.outer_point())) return false;
    if (shape.empty() && !cluster.reduces()) {
      // The elements that read it would have to wait for the whole array on one thread.
      const Dim count = element_count(input);
      if (!count.is_constant() || count.constant() > small_domain) return false;
    }
    cluster.reduced = removed;
    return true;
  }
  if (!cluster.reduces() && cluster.domain == shape && same_index(point, cluster.full_point())) {
    // The cluster works on the results: its axes become the outer axes.
    std::vector<loop::Variable> variables;
    std::size_t next = 0;
    for (std::size_t axis = 0; axis < input.size(); ++axis) {
      variables.push_back(removed[axis] ? loop::fresh_variable("r") : cluster.variables[next++]);
    }
    cluster.domain = input;
    cluster.variables = variables;
    cluster.reduced = removed;
    return true;
  }
  return false;
}

void Fuser::place_contraction(Vertex v, Demands& demands) {
  merge_readers(v);
  for (auto& [c, demand] : demands) {
    Cluster& cluster = at(c);
    if (demand.points.size() != 1 || demand.needs_storage) continue;
    if (cluster.kind != Cluster::Kind::loops || cluster.reduces()) continue;
    if (cluster.guard != guards_[v] || cluster.domain != graph_[v].type.shape) continue;
    if (!same_index(demand.points[0], cluster.full_point())) continue;
    if (!stays_acyclic(c, demands)) continue;
    cluster.kind = Cluster::Kind::contraction;
    cluster.hero = v;
    finish(v, c, demands);
    return;
  }
  store(v, new_cluster(v, Cluster::Kind::contraction, graph_[v].type.shape), demands);
}

void Fuser::finish(Vertex v, int c, Demands& demands) {
  if (must_store(v, demands) || demands.size() > 1) {
    store(v, c, demands);
    return;
  }
  computed_[v][c] = demands.at(c);
  ++size_of_[c];
  members_of_[c].push_back(v);
}

void Fuser::store(Vertex v, int c, const Demands& demands) {
  Cluster& cluster = at(c);
  result_.stored[v] = true;
  cluster.roots.push_back(v);
  Demand& own = computed_[v][c];
  if (const auto it = demands.find(c); it != demands.end()) {
    own.points = it->second.points;
    own.conditional = it->second.conditional;
  }
  if (own.points.empty()) {
    const bool reduces = graph_[v].op->kind == OpKind::reduce;
    own.points.push_back(reduces ? cluster.outer_point() : cluster.full_point());
  }
  ++size_of_[c];
  members_of_[c].push_back(v);
  for (const auto& [other, demand] : demands) {
    if (other != c) runs_before_.add_reader(c, other);
  }
}

void Fuser::ask_operands(Vertex v) {
  const OpRecord& op = *graph_[v].op;
  const std::vector<Vertex> operands = graph_.operands(v);
  for (auto& [c, demand] : computed_[v]) {
    const Cluster& cluster = at(c);
    const bool regroups = is_regrouping(graph_, v);
    const bool in_order = op.kind == OpKind::branch || gives_results(op.kind);
    if (op.kind == OpKind::write || op.kind == OpKind::contraction || in_order || regroups ||
        demand.needs_storage) {
      for (std::size_t k = 0; k < operands.size(); ++k) {
        const Vertex o = op.kind == OpKind::scan ? stored_source(graph_, operands[k]) : operands[k];
        Demand& asked = demands_[o][c];
        if (k == 0 && sees_padding(v)) {
          asked.add(place_of_operand(v, 0, cluster));
          continue;
        }
        if (converts_operand(v, k)) {
          asked.add(place_of_operand(v, k, cluster));
          continue;
        }
        if (op.kind == OpKind::write && k == 0) {
          asked.add(any_point(o));
          continue;
        }
        asked.needs_storage = true;
        asked.needs_order = asked.needs_order || regroups || in_order;
      }
      continue;
    }
    // What the product converts is not computed in it.
    const bool is_converted =
        cluster.kind == Cluster::Kind::contraction &&
        (conversion_of(cluster.hero, 0) == v || conversion_of(cluster.hero, 1) == v);
    for (const Index& point : demand.points) {
      if (op.kind == OpKind::reduce) {
        Index full = cluster.full_point();
        std::size_t next = 0;
        for (std::size_t axis = 0; axis < full.size(); ++axis) {
          if (!cluster.reduced[axis]) full[axis] = point[next++];
        }
        demands_[operands[0]][c].add(full);
        continue;
      }
      for (const OperandRead& read : operand_reads(graph_, v, point)) {
        const Vertex operand = operands[static_cast<std::size_t>(read.position)];
        Demand& asked = demands_[operand][c];
        asked.add(read.index);
        asked.conditional = asked.conditional || demand.conditional || read.conditional;
        // A check would stop where the value is not wanted, or not look at all that is.
        asked.needs_storage = asked.needs_storage || is_converted ||
                              (graph_[operand].op->observable &&
                               (asked.conditional || !checks_all(operand, read.index, cluster)));
      }
    }
  }
}

bool Fuser::sees_padding(Vertex v) const {
  const OpRecord& op = *graph_[v].op;
  return op.kind == OpKind::contraction && graph_[graph_.operand(v, 0)].op == &unslice_op &&
         overlaps_little(roles_of(v), graph_[v].type.shape);
}

ContractionRoles Fuser::roles_of(Vertex v) const {
  return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                             graph_[graph_.operand(v, 1)].type.shape);
}

std::optional<Vertex> Fuser::conversion_of(Vertex v, std::size_t number) const {
  if (graph_[v].op->kind != OpKind::contraction) return std::nullopt;
  if (!machine_.converts_operands && (number != 1 || graph_.operand(v, 0) == graph_.operand(v, 1) ||
                                      !roles_of(v).windows.empty())) {
    return std::nullopt;
  }
  Vertex operand = graph_.operand(v, static_cast<int>(number));
  // Keys that several heads share are converted once, then repeated: that is where they lie, too.
  while (machine_.converts_operands && graph_[operand].op->is_view &&
         !is_regrouping(graph_, operand)) {
    operand = graph_.operand(operand, 0);
  }
  const bool converts = graph_[operand].op == &cast_op &&
                        is_only_stored(graph_[graph_.operand(operand, 0)].type.dtype);
  return converts ? std::optional(operand) : std::nullopt;
}

// Where a contraction's operand is read, for any point of the inner axes.
Index Fuser::place_of_operand(Vertex v, std::size_t number, const Cluster& cluster) const {
  Index inner;
  for (std::size_t k = 0; k < roles_of(v).inner.size(); ++k) {
    inner.push_back(loop::variable(loop::fresh_variable("k")));
  }
  return graph_[v].op->factors(graph_[v].attributes, cluster.full_point(), inner)[number];
}

bool Fuser::checks_all(Vertex v, const Index& index, const Cluster& cluster) const {
  if (!graph_[v].op->has_points()) return true;
  const std::vector<bool> checked = checked_axes(graph_, v);
  std::set<int> used;
  for (std::size_t axis = 0; axis < index.size(); ++axis) {
    const Dim& size = graph_[v].type.shape[axis];
    if (!checked[axis] || size.is_constant(1)) continue;
    const loop::Expr& e = index[axis];
    if (e->op != loop::Op::variable || !used.insert(e->variable.id).second) return false;
    for (std::size_t k = 0; k < cluster.variables.size(); ++k) {
      if (cluster.variables[k].id == e->variable.id && cluster.domain[k] != size) return false;
    }
  }
  return true;
}

Index Fuser::any_point(Vertex v) const {
  Index point;
  for (int axis = 0; axis < graph_[v].type.rank(); ++axis) {
    point.push_back(loop::variable(loop::fresh_variable("any")));
  }
  return point;
}

int Fuser::new_cluster(Vertex hero, Cluster::Kind kind, const Dims& domain) {
  Cluster cluster;
  cluster.kind = kind;
  cluster.hero = hero;
  cluster.guard = guards_[hero];
  cluster.domain = domain;
  for (std::size_t axis = 0; axis < domain.size(); ++axis) {
    cluster.variables.push_back(
        loop::fresh_variable(std::string(1, static_cast<char>('i' + axis % 6))));
  }
  cluster.reduced.assign(domain.size(), false);
  result_.clusters.push_back(std::move(cluster));
  size_of_.push_back(0);
  views_of_.push_back(0);
  runs_before_.add();
  return static_cast<int>(result_.clusters.size()) - 1;
}

bool Fuser::stays_acyclic(int c, const Demands& demands) {
  std::vector<int> others;
  for (const auto& [other, demand] : demands) {
    if (other != c) others.push_back(other);
  }
  return !runs_before_.lead_to(others, c);
}

void Fuser::sort_clusters() {
  const std::size_t n = result_.clusters.size();
  std::vector<int> waiting(n, 0);
  for (std::size_t c = 0; c < n; ++c) {
    for (int reader : runs_before_.readers_of(static_cast<int>(c))) {
      ++waiting[static_cast<std::size_t>(reader)];
    }
  }
  // Ready clusters in the order of their first root, which keeps values' lives short.
  std::set<std::pair<std::size_t, std::size_t>> ready;
  const auto key = [&](std::size_t c) {
    return std::pair{static_cast<std::size_t>(result_.clusters[c].members.front()), c};
  };
  std::size_t merged = 0;
  for (std::size_t c = 0; c < n; ++c) {
    if (result_.clusters[c].members.empty()) {
      ++merged;
    } else if (waiting[c] == 0) {
      ready.insert(key(c));
    }
  }
  std::vector<Cluster> sorted;
  while (!ready.empty()) {
    const std::size_t c = ready.begin()->second;
    ready.erase(ready.begin());
    for (int s : runs_before_.readers_of(static_cast<int>(c))) {
      if (--waiting[static_cast<std::size_t>(s)] == 0)
        ready.insert(key(static_cast<std::size_t>(s)));
    }
    sorted.push_back(std::move(result_.clusters[c]));
  }
  if (sorted.size() != n - merged)
    throw InternalError("fusion: the clusters depend on each other in a circle");
  result_.clusters = std::move(sorted);
}

Fusion fuse(const Graph& graph, const FusionFor& machine) { return Fuser(graph, machine).run(); }

}  // namespace kroton
