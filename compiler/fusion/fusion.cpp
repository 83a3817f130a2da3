#include "compiler/fusion/fusion.h"

#include <kroton/error.h>

#include <algorithm>
#include <unordered_map>

#include "compiler/loop/traverse.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// A kernel's expression grows with its members, code generation grows faster than that, and a
// call's stack holds the values that have no room in registers.
constexpr std::size_t largest_cluster = 96;
constexpr std::size_t most_views = 640;
// Work of one element that may be done again for every reader instead of being stored.
constexpr int cheap = 1;
// Ops before one that writes its result by loops of its own, which may have no vectors.
constexpr std::size_t most_in_write = 4;
// The whole-array normalisations of this many elements run as one serial kernel.
constexpr std::int64_t small_domain = 4096;
// Elements that a line of memory holds.
constexpr std::int64_t short_row = 16;

// What the clusters ask of one vertex.
struct Demand {
  std::vector<Index> points;   // distinct indices at which it is evaluated
  bool needs_storage = false;  // must lie in memory, perhaps behind views
  bool needs_order = false;    // must lie in memory itself, in row-major order
  bool conditional = false;  // not wherever the cluster is evaluated: an index may be out of range
};
using Demands = std::map<int, Demand>;  // by cluster

void add_point(Demand& demand, const Index& point) {
  for (const Index& known : demand.points) {
    if (same_index(known, point)) return;
  }
  demand.points.push_back(point);
}

Dims without_ones(const Dims& shape) {
  Dims kept;
  for (const Dim& d : shape) {
    if (!d.is_constant(1)) kept.push_back(d);
  }
  return kept;
}

class Fuser {
 public:
  explicit Fuser(const Graph& graph)
      : graph_(graph),
        guards_(find_guards(graph)),
        demands_(graph.size()),
        computed_(graph.size()),
        wanted_(graph.size(), false) {
    result_.stored.assign(graph.size(), false);
    for (Vertex v : graph.outputs) wanted_[v] = true;
    for (const Graph::Update& u : graph.updates) wanted_[u.value] = true;
  }

  Fusion run() {
    const std::vector<Vertex> order = graph_.topological_order();
    for (auto it = order.rbegin(); it != order.rend(); ++it) place(*it);
    for (Vertex v : order) {
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

 private:
  void place(Vertex v) {
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

  // A scan or a call is a cluster with its results, whose readers have been placed before.
  void place_with_results(Vertex v, Cluster::Kind kind) {
    const int c = new_cluster(v, kind, {});
    computed_[v][c];
    for (Vertex result : graph_.users(v)) {
      computed_[result][c];
      at(c).roots.push_back(result);
      for (const auto& [reader, demand] : demands_[result]) successors_[c].insert(reader);
    }
  }

  bool must_store(Vertex v, const Demands& demands) const {
    if (wanted_[v]) return true;
    return std::any_of(demands.begin(), demands.end(),
                       [](const auto& d) { return d.second.needs_storage; });
  }

  void place_pointwise(Vertex v, Demands& demands) {
    const OpRecord& op = *graph_[v].op;
    const bool needs_order = std::any_of(demands.begin(), demands.end(),
                                         [](const auto& d) { return d.second.needs_order; });
    const bool has_room = std::all_of(demands.begin(), demands.end(), [&](const auto& d) {
      return views_of_[d.first] < most_views;
    });
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
      if (demands.size() == 1 &&
          worth_inlining(v, demands.begin()->first, demands.begin()->second)) {
        inline_into(v, demands);
        return;
      }
      if (demands.size() > 1 && (op.is_redrawn || (op.cost <= cheap && costly_operands(v) <= 1)) &&
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
      const bool full =
          shape == cluster.domain && same_index(demand.points[0], cluster.full_point());
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

  // Whether a product or rows of a reduction would read the view's operand against its order in
  // memory, a line for each element, and something else along it, so that the other order is no
  // better. A nest of elementwise work reads such operands in tiles, what is small lies in a cache,
  // and of rows shorter than a line the next element is in the same one.
  bool reads_across(Vertex v, const Demands& demands) {
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

  // Whether the last of several axes is that of the variable.
  static bool runs_along(const Index& index, const loop::Variable& along) {
    return index.size() > 1 && is_axis(index.back(), along);
  }

  // Whether the view's operand has another of the cluster's axes in place of that one.
  bool reads_other_axis(Vertex v, const Index& point, const loop::Variable& along) const {
    const std::vector<OperandRead> reads = operand_reads(graph_, v, point);
    return std::any_of(reads.begin(), reads.end(), [&](const OperandRead& read) {
      const Index& index = read.index;
      return index.size() > 1 && index.back()->op == loop::Op::variable &&
             !is_axis(index.back(), along) &&
             std::any_of(index.begin(), index.end() - 1,
                         [&](const loop::Expr& e) { return is_axis(e, along); });
    });
  }

  // Whether the cluster stores, or reads of an operand other than v, elements along that axis.
  bool works_along(int c, Vertex v, const loop::Variable& along) {
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

  static bool is_axis(const loop::Expr& e, const loop::Variable& v) {
    return e->op == loop::Op::variable && e->variable == v;
  }

  // v is computed wherever it is read.
  void inline_into(Vertex v, const Demands& demands) {
    computed_[v] = demands;
    for (const auto& [c, demand] : demands) {
      ++(graph_[v].op->is_view ? views_of_ : size_of_)[c];
      members_of_[c].push_back(v);
    }
  }

  void place_reduce(Vertex v, Demands& demands) {
    const TensorType& input = graph_[graph_.operand(v, 0)].type;
    const std::vector<bool> removed = removed_axes(v);
    for (auto& [c, demand] : demands) {
      if (demand.points.size() != 1 || demand.needs_storage || size_of_[c] >= largest_cluster)
        continue;
      if (at(c).guard != guards_[v] || !stays_acyclic(c, demands)) continue;
      if (!join_reduction(c, demand.points[0], graph_[v].type.shape, input.shape, removed))
        continue;
      finish(v, c, demands);
      return;
    }
    const int c = new_cluster(v, Cluster::Kind::loops, input.shape);
    at(c).reduced = removed;
    store(v, c, demands);
  }

  // Whether the cluster can compute a reduction that it reads at `point`; reshapes it if so.
  bool join_reduction(int c, const Index& point, const Dims& shape, const Dims& input,
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

  void place_contraction(Vertex v, Demands& demands) {
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

  // v is computed in cluster c: stored if anyone else reads it.
  void finish(Vertex v, int c, Demands& demands) {
    if (must_store(v, demands) || demands.size() > 1) {
      store(v, c, demands);
      return;
    }
    computed_[v][c] = demands.at(c);
    ++size_of_[c];
    members_of_[c].push_back(v);
  }

  void store(Vertex v, int c, const Demands& demands) {
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
      if (other != c) successors_[c].insert(other);
    }
  }

  // Clusters that go over all elements of v and reduce the same axes or none, or of which one
  // reduces them to scalars and the other gives a result for each, become one: then v need not be
  // stored for the other.
  void merge_readers(Vertex v) {
    merge_readers(v, [](const Cluster&, const Cluster&) { return true; });
  }

  // Of those the ones that `may` meet.
  template <class May>
  void merge_readers(Vertex v, const May& may) {
    std::vector<int> readers;
    for (const auto& [c, demand] : demands_[v]) {
      if (reads_each(c, demand)) readers.push_back(c);
    }
    for (std::size_t i = 0; i < readers.size(); ++i) {
      for (std::size_t k = i + 1; k < readers.size();) {
        const int a = readers[i], b = readers[k];
        if (may(at(a), at(b)) && may_merge(a, b, v)) {
          merge(a, b);
          readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(k));
        } else {
          ++k;
        }
      }
    }
  }

  // Elementwise clusters that go over all elements of an argument, and whose results are all asked
  // for, so that none lies in memory longer for it, become one: then v is read once.
  void merge_wanted_readers(Vertex v) {
    const auto is_wanted = [&](const Cluster& cluster) {
      return !cluster.reduces() &&
             std::ranges::all_of(cluster.roots, [&](Vertex root) { return wanted_[root]; });
    };
    merge_readers(v,
                  [&](const Cluster& a, const Cluster& b) { return is_wanted(a) && is_wanted(b); });
  }

  bool reads_each(int c, const Demand& demand) {
    return at(c).kind == Cluster::Kind::loops && !demand.needs_storage &&
           demand.points.size() == 1 && same_index(demand.points[0], at(c).full_point());
  }

  static bool reduces_all(const Cluster& cluster) {
    return std::find(cluster.reduced.begin(), cluster.reduced.end(), false) ==
           cluster.reduced.end();
  }

  // Whether two clusters that read v may.
  bool may_merge(int a, int b, Vertex v) {
    const Cluster &x = at(a), &y = at(b);
    if (x.domain.empty() || x.domain != y.domain || x.guard != y.guard) return false;
    const bool reduce = x.reduces() || y.reduces();
    if (reduce && !reduces_same_rows(x, y)) {
      const bool to_scalars =
          (reduces_all(x) && (reduces_all(y) || !y.reduces())) || (reduces_all(y) && !x.reduces());
      if (!to_scalars || !is_one_pass(a) || !is_one_pass(b)) return false;
    }
    if (size_of_[a] + size_of_[b] > largest_cluster || views_of_[a] + views_of_[b] > most_views) {
      return false;
    }
    if (leads_to(a, b) || leads_to(b, a) || may_fail(a) || may_fail(b)) return false;
    // What reduces cannot be taken in by the product or the reduction that v comes from.
    return !reduce ||
           (is_free(a) && is_free(b) && !feeds_from_elsewhere(v, x) && !feeds_from_elsewhere(v, y));
  }

  // The same axes and not all: the stages of both, however many, go over the same rows.
  static bool reduces_same_rows(const Cluster& x, const Cluster& y) {
    return x.reduces() && x.reduced == y.reduced && !reduces_all(x);
  }

  // No product or reduction that is still to come could take the cluster in.
  bool is_free(int c) {
    const Cluster& cluster = at(c);
    return std::none_of(cluster.roots.begin(), cluster.roots.end(),
                        [&](Vertex root) { return feeds_from_elsewhere(root, cluster); });
  }

  // Whether a check may stop the cluster's kernel, which then must not overwrite a state that the
  // other one may.
  bool may_fail(int c) {
    std::vector<Vertex> pending = at(c).roots;
    std::set<Vertex> seen(pending.begin(), pending.end());
    while (!pending.empty()) {
      const Vertex next = pending.back();
      pending.pop_back();
      const OpRecord& op = *graph_[next].op;
      if (op.observable) return true;
      if (!op.has_points() && op.kind != OpKind::reduce) continue;
      for (Vertex o : graph_.operands(next)) {
        if (seen.insert(o).second) pending.push_back(o);
      }
    }
    return false;
  }

  // Whether the cluster's reductions need none of each other, nor positions, which are not reduced
  // in parts.
  bool is_one_pass(int c) {
    std::set<Vertex> after;  // members computed from a reduction
    for (Vertex v : graph_.topological_order()) {
      if (computed_[v].count(c) == 0) continue;
      const std::vector<Vertex> operands = graph_.operands(v);
      const bool is_after = std::any_of(operands.begin(), operands.end(),
                                        [&](Vertex o) { return after.count(o) != 0; });
      const OpRecord& op = *graph_[v].op;
      if (op.kind == OpKind::reduce) {
        const bool is_arg = op.reduction == Reduction::argmax || op.reduction == Reduction::argmin;
        if (is_after || is_arg) return false;
      }
      if (is_after || op.kind == OpKind::reduce) after.insert(v);
      if (is_after && graph_[v].type.shape == at(c).domain) return false;
    }
    return true;
  }

  // What b does becomes a part of a.
  void merge(int a, int b) {
    std::vector<std::pair<loop::Variable, loop::Expr>> renamed;
    for (std::size_t axis = 0; axis < at(b).variables.size(); ++axis) {
      renamed.emplace_back(at(b).variables[axis], loop::variable(at(a).variables[axis]));
    }
    for (std::vector<Demands>* all : {&demands_, &computed_}) {
      for (Demands& demands : *all) {
        const auto found = demands.find(b);
        if (found == demands.end()) continue;
        const Demand moved = std::move(found->second);
        demands.erase(found);
        Demand& demand = demands[a];
        demand.needs_storage = demand.needs_storage || moved.needs_storage;
        demand.needs_order = demand.needs_order || moved.needs_order;
        demand.conditional = demand.conditional || moved.conditional;
        for (Index point : moved.points) {
          for (loop::Expr& e : point) e = loop::substitute(e, renamed);
          add_point(demand, point);
        }
      }
    }
    Cluster &to = at(a), &from = at(b);
    if ((to.reduces() || from.reduces()) && !reduces_same_rows(to, from)) is_one_pass_.insert(a);
    if (is_one_pass_.erase(b) != 0) is_one_pass_.insert(a);
    to.roots.insert(to.roots.end(), from.roots.begin(), from.roots.end());
    if (from.reduces()) to.reduced = from.reduced;
    from.roots.clear();
    size_of_[a] += size_of_[b];
    views_of_[a] += views_of_[b];
    successors_[a].insert(successors_[b].begin(), successors_[b].end());
    successors_[b].clear();
    for (std::set<int>& successors : successors_) {
      if (successors.erase(b) != 0) successors.insert(a);
    }
  }

  // Whether something that reads what `from` stores comes before `to`.
  bool leads_to(int from, int to) const {
    const std::set<int>& readers = successors_[static_cast<std::size_t>(from)];
    std::vector<int> pending(readers.begin(), readers.end());
    std::set<int> seen = readers;
    while (!pending.empty()) {
      const int next = pending.back();
      pending.pop_back();
      if (next == to) return true;
      for (int s : successors_[static_cast<std::size_t>(next)]) {
        if (seen.insert(s).second) pending.push_back(s);
      }
    }
    return false;
  }

  // Whether results may be stored by the cluster. Those of write and branch are one op by itself.
  static bool takes_members(const Cluster& cluster) {
    return cluster.kind == Cluster::Kind::loops || cluster.kind == Cluster::Kind::contraction;
  }

  // Whether v reads what the result of `write` starts from. Where it is stored over that, what has
  // been added already would be read.
  bool reads_start(Vertex v, Vertex write) const {
    const int start = graph_[write].op->starts_from;
    if (start < 0) return false;
    const std::vector<Vertex> operands = graph_.operands(v);
    return std::find(operands.begin(), operands.end(), graph_.operand(write, start)) !=
           operands.end();
  }

  // Whether evaluating v inside cluster c repeats no costly work.
  bool worth_inlining(Vertex v, int c, const Demand& demand) {
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
    bool missing = false;
    for (std::size_t axis = 0; axis < cluster.variables.size(); ++axis) {
      if (cluster.domain[axis].is_constant(1)) continue;
      bool used = false;
      for (const loop::Expr& e : demand.points[0]) {
        used = used || loop::depends_on(e, cluster.variables[axis]);
      }
      if (cluster.reduced[axis]) continue;
      if (used && missing) return false;
      missing = missing || !used;
    }
    return true;
  }

  // Products and reductions are written out many times, which is too much code for a block of
  // random words.
  static bool may_draw(const Cluster& cluster) {
    return cluster.kind == Cluster::Kind::loops && !cluster.reduces();
  }

  // Whether v is made of random numbers, and of nothing else that is read for each element.
  bool is_drawn(Vertex v) {
    const auto known = drawn_.find(v);
    return known != drawn_.end() ? known->second : (drawn_[v] = find_drawn(v));
  }
  bool find_drawn(Vertex v) {
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

  bool is_literal(Vertex v) const { return graph_[v].op->kind == OpKind::leaf && graph_[v].op->at; }

  // What views of views of it v is.
  Vertex source_of(Vertex v) const {
    while (graph_[v].op->is_view) v = graph_.operand(v, 0);
    return v;
  }

  // Whether v's value comes by elementwise steps from a product or a reduction, and from none that
  // runs over the cluster's own rows.
  bool feeds_from_elsewhere(Vertex v, const Cluster& cluster) const {
    constexpr int furthest = 32;
    std::vector<Vertex> pending{v};
    std::set<Vertex> seen{v};
    bool elsewhere = false;
    for (int visited = 0; !pending.empty() && visited < furthest; ++visited) {
      const Vertex next = pending.back();
      pending.pop_back();
      for (Vertex o : graph_.operands(next)) {
        const OpRecord& op = *graph_[o].op;
        if (op.kind == OpKind::reduce && reduces_rows(o, cluster)) return false;
        elsewhere = elsewhere || op.kind == OpKind::contraction || op.kind == OpKind::reduce;
        if (op.has_points() && seen.insert(o).second) pending.push_back(o);
      }
    }
    return elsewhere;
  }

  bool reduces_rows(Vertex v, const Cluster& cluster) const {
    return graph_[graph_.operand(v, 0)].type.shape == cluster.domain &&
           removed_axes(v) == cluster.reduced;
  }

  std::vector<bool> removed_axes(Vertex v) const {
    const TensorType& input = graph_[graph_.operand(v, 0)].type;
    std::vector<bool> removed(static_cast<std::size_t>(input.rank()), false);
    for (int axis : graph_[v].attributes.axes) removed[static_cast<std::size_t>(axis)] = true;
    return removed;
  }

  // The operands that have to be read for each element: not literals, nor what is the same for
  // many.
  int costly_operands(Vertex v) const {
    int count = 0;
    for (Vertex o : graph_.operands(v)) {
      const Vertex source = source_of(o);
      if (!is_literal(source) && !is_smaller(source, v)) ++count;
    }
    return count;
  }

  // Whether the source of an operand of v has an axis less that is not of one element.
  bool is_smaller(Vertex source, Vertex v) const {
    return without_ones(graph_[source].type.shape).size() <
           without_ones(graph_[v].type.shape).size();
  }

  // A reshape that changes more than axes of size 1: its operand must lie in memory, where the
  // elements' order is what counts.
  bool is_regrouping(Vertex v) const {
    return graph_[v].op->regroups && without_ones(graph_[v].type.shape) !=
                                         without_ones(graph_[graph_.operand(v, 0)].type.shape);
  }

  // Adds what v's evaluation reads to its operands' demands.
  void ask_operands(Vertex v) {
    const OpRecord& op = *graph_[v].op;
    const std::vector<Vertex> operands = graph_.operands(v);
    for (auto& [c, demand] : computed_[v]) {
      const Cluster& cluster = at(c);
      const bool regroups = is_regrouping(v);
      const bool in_order = op.kind == OpKind::branch || gives_results(op.kind);
      if (op.kind == OpKind::write || op.kind == OpKind::contraction || in_order || regroups ||
          demand.needs_storage) {
        for (std::size_t k = 0; k < operands.size(); ++k) {
          const Vertex o =
              op.kind == OpKind::scan ? stored_source(graph_, operands[k]) : operands[k];
          Demand& asked = demands_[o][c];
          if (k == 0 && sees_padding(v)) {
            add_point(asked, place_of_windows(v, cluster));
            continue;
          }
          if (op.kind == OpKind::write && k == 0) {
            add_point(asked, any_point(o));
            continue;
          }
          asked.needs_storage = true;
          asked.needs_order = asked.needs_order || regroups || in_order;
        }
        continue;
      }
      for (const Index& point : demand.points) {
        if (op.kind == OpKind::reduce) {
          Index full = cluster.full_point();
          std::size_t next = 0;
          for (std::size_t axis = 0; axis < full.size(); ++axis) {
            if (!cluster.reduced[axis]) full[axis] = point[next++];
          }
          add_point(demands_[operands[0]][c], full);
          continue;
        }
        for (const OperandRead& read : operand_reads(graph_, v, point)) {
          const Vertex operand = operands[static_cast<std::size_t>(read.position)];
          Demand& asked = demands_[operand][c];
          add_point(asked, read.index);
          asked.conditional = asked.conditional || demand.conditional || read.conditional;
          // A check would stop where the value is not wanted, or not look at all that is.
          asked.needs_storage = asked.needs_storage ||
                                (graph_[operand].op->observable &&
                                 (asked.conditional || !checks_all(operand, read.index, cluster)));
        }
      }
    }
  }

  // Whether v's windows overlap little, so that what they see is copied, and some of that is
  // padding: the copy has it, and nothing with padding is stored.
  bool sees_padding(Vertex v) const {
    const OpRecord& op = *graph_[v].op;
    return op.kind == OpKind::contraction && graph_[graph_.operand(v, 0)].op == &unslice_op &&
           overlaps_little(roles_of(v), graph_[v].type.shape);
  }

  ContractionRoles roles_of(Vertex v) const {
    return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                               graph_[graph_.operand(v, 1)].type.shape);
  }

  // Where in operand 0 an element of the contraction v finds one of its factors.
  Index place_of_windows(Vertex v, const Cluster& cluster) const {
    Index inner;
    for (std::size_t k = 0; k < roles_of(v).inner.size(); ++k) {
      inner.push_back(loop::variable(loop::fresh_variable("k")));
    }
    return graph_[v].op->factors(graph_[v].attributes, cluster.full_point(), inner)[0];
  }

  // Whether evaluating the observable v at that index all over the cluster's domain looks at
  // whatever it checks: along such an axis it is at each place.
  bool checks_all(Vertex v, const Index& index, const Cluster& cluster) const {
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

  // Wherever loops of an op's own ask for an element.
  Index any_point(Vertex v) const {
    Index point;
    for (int axis = 0; axis < graph_[v].type.rank(); ++axis) {
      point.push_back(loop::variable(loop::fresh_variable("any")));
    }
    return point;
  }

  int new_cluster(Vertex hero, Cluster::Kind kind, const Dims& domain) {
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
    successors_.emplace_back();
    return static_cast<int>(result_.clusters.size()) - 1;
  }

  // With v computed in c, every other reader of v comes after c: none of them may lead back to c.
  bool stays_acyclic(int c, const Demands& demands) const {
    std::vector<int> pending;
    for (const auto& [other, demand] : demands) {
      if (other != c) pending.push_back(other);
    }
    std::set<int> seen(pending.begin(), pending.end());
    while (!pending.empty()) {
      const int next = pending.back();
      pending.pop_back();
      if (next == c) return false;
      for (int s : successors_[static_cast<std::size_t>(next)]) {
        if (seen.insert(s).second) pending.push_back(s);
      }
    }
    return true;
  }

  void sort_clusters() {
    const std::size_t n = result_.clusters.size();
    std::vector<int> waiting(n, 0);
    for (const auto& set : successors_) {
      for (int s : set) ++waiting[static_cast<std::size_t>(s)];
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
      for (int s : successors_[c]) {
        if (--waiting[static_cast<std::size_t>(s)] == 0)
          ready.insert(key(static_cast<std::size_t>(s)));
      }
      sorted.push_back(std::move(result_.clusters[c]));
    }
    if (sorted.size() != n - merged)
      throw InternalError("fusion: the clusters depend on each other in a circle");
    result_.clusters = std::move(sorted);
  }

  Cluster& at(int c) { return result_.clusters[static_cast<std::size_t>(c)]; }

  const Graph& graph_;
  std::vector<Guard> guards_;  // by vertex
  Fusion result_;
  std::vector<Demands> demands_;       // by vertex
  std::map<Vertex, bool> drawn_;       // as far as is_drawn has been asked
  std::vector<Demands> computed_;      // by vertex: where it is evaluated, at which points
  std::vector<bool> wanted_;           // outputs and updates
  std::vector<std::size_t> size_of_;   // by cluster: members other than views
  std::vector<std::size_t> views_of_;  // by cluster: views among the members
  std::unordered_map<int, std::vector<Vertex>> members_of_;  // by cluster: those placed so far
  std::vector<std::set<int>> successors_;  // by cluster: those that read its roots
  std::set<int> is_one_pass_;              // clusters made of several: no reduction joins them
};

}  // namespace

Fusion fuse(const Graph& graph) { return Fuser(graph).run(); }

}  // namespace kroton
