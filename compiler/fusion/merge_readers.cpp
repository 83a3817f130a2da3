#include "compiler/fusion/fuser.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton {

using Vertex = Graph::Vertex;

void Fuser::merge_readers(Vertex v) {
  merge_readers(v, [](const Cluster&, const Cluster&) { return true; });
}

void Fuser::merge_readers(Vertex v,
                          const std::function<bool(const Cluster&, const Cluster&)>& may) {
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

void Fuser::merge_wanted_readers(Vertex v) {
  const auto is_wanted = [&](const Cluster& cluster) {
    return !cluster.reduces() &&
           std::ranges::all_of(cluster.roots, [&](Vertex root) { return wanted_[root]; });
  };
  merge_readers(v,
                [&](const Cluster& a, const Cluster& b) { return is_wanted(a) && is_wanted(b); });
}

void Fuser::merge_reductions(Vertex v) {
  if (!result_.stored[v]) return;
  merge_readers(v, [](const Cluster& a, const Cluster& b) { return a.reduces() && b.reduces(); });
}

void Fuser::merge_stages(Vertex v) {
  if (!result_.stored[v]) return;
  std::vector<int> readers;
  for (const auto& [c, demand] : demands_[v]) {
    if (reads_each(c, demand)) readers.push_back(c);
  }
  for (std::size_t i = 0; i < readers.size(); ++i) {
    for (std::size_t k = 0; k < readers.size(); ++k) {
      const int a = readers[i], b = readers[k];
      if (a == b || !may_be_earlier_stage(a, b)) continue;
      const std::vector<Vertex> roots = at(a).roots;
      merge(b, a);
      for (Vertex root : roots) {
        const bool is_read =
            std::ranges::any_of(demands_[root], [&](const auto& d) { return d.first != b; });
        if (wanted_[root] || is_read) continue;
        std::erase(at(b).roots, root);
        result_.stored[root] = false;
      }
      merge_stages(v);
      return;
    }
  }
}

bool Fuser::may_be_earlier_stage(int a, int b) {
  const Cluster &x = at(a), &y = at(b);
  if (x.domain != y.domain || x.guard != y.guard || !reduces_same_rows(x, y)) return false;
  if (size_of_[a] + size_of_[b] > largest_cluster || views_of_[a] + views_of_[b] > most_views) {
    return false;
  }
  if (may_fail(a) || may_fail(b)) return false;
  std::vector<int> others = runs_before_.readers_of(a);
  if (std::erase(others, b) == 0 || runs_before_.lead_to(others, b)) return false;
  return std::ranges::all_of(x.roots, [&](Vertex root) {
    const auto asked = demands_[root].find(b);
    if (asked == demands_[root].end()) return true;
    const Demand& demand = asked->second;
    return graph_[root].type.shape == y.outer_domain() && !demand.needs_storage &&
           demand.points.size() == 1 && same_index(demand.points[0], y.outer_point());
  });
}

void Fuser::join_elements(Vertex v) {
  if (!result_.stored[v]) return;
  std::vector<int> readers;
  for (const auto& [c, demand] : demands_[v]) {
    if (reads_each(c, demand)) readers.push_back(c);
  }
  for (const int rows : readers) {
    if (!at(rows).reduces()) continue;
    for (const int c : readers) {
      if (c == rows || !may_join_elements(rows, c)) continue;
      merge(rows, c);
      // Nobody else reads it.
      std::erase_if(at(rows).roots, [&](Vertex root) {
        const Demands& demands = demands_[root];
        const bool is_own = !wanted_[root] && demands.size() == 1 && demands.count(rows) != 0 &&
                            !demands.at(rows).needs_storage;
        if (is_own) result_.stored[root] = false;
        return is_own;
      });
    }
  }
}

bool Fuser::may_join_elements(int rows, int c) {
  const Cluster &x = at(rows), &y = at(c);
  if (y.roots.empty() || y.reduces() || x.domain != y.domain || x.guard != y.guard) return false;
  if (reduces_all(x)) return false;
  // Rows lie along the last axes. The results of columns are there when all have been looked at.
  const bool has_rows = std::is_sorted(x.reduced.begin(), x.reduced.end());
  if (size_of_[rows] + size_of_[c] > largest_cluster ||
      views_of_[rows] + views_of_[c] > most_views || may_fail(rows) || may_fail(c)) {
    return false;
  }
  if (std::ranges::any_of(members_of_[c], [&](Vertex member) { return is_drawn(member); })) {
    return false;
  }
  Index outer;
  for (std::size_t axis = 0; axis < y.variables.size(); ++axis) {
    if (!x.reduced[axis]) outer.push_back(loop::variable(y.variables[axis]));
  }
  bool reads = false;
  for (const Vertex root : x.roots) {
    const auto found = demands_[root].find(c);
    if (found == demands_[root].end()) continue;
    const Demand& demand = found->second;
    const bool is_full = graph_[root].type.shape == x.domain;
    if (demand.needs_storage || demand.points.size() != 1 || !(has_rows || is_full) ||
        !same_index(demand.points[0], is_full ? y.full_point() : outer)) {
      return false;
    }
    reads = true;
  }
  std::vector<int> others = runs_before_.readers_of(rows);
  std::erase(others, c);
  return reads && !runs_before_.lead_to(others, c);
}

bool Fuser::reads_each(int c, const Demand& demand) {
  return at(c).kind == Cluster::Kind::loops && !demand.needs_storage && demand.points.size() == 1 &&
         same_index(demand.points[0], at(c).full_point());
}

bool Fuser::reduces_all(const Cluster& cluster) {
  return std::find(cluster.reduced.begin(), cluster.reduced.end(), false) == cluster.reduced.end();
}

bool Fuser::may_merge(int a, int b, Vertex v) {
  const Cluster &x = at(a), &y = at(b);
  if (x.domain != y.domain || x.guard != y.guard) return false;
  // Numbers cost nothing on a CPU; on a GPU each kernel costs a launch.
  if (x.domain.empty() && !machine_.gpu) return false;
  const bool reduce = x.reduces() || y.reduces();
  if (reduce && !reduces_same_rows(x, y)) {
    const bool to_scalars =
        (reduces_all(x) && (reduces_all(y) || !y.reduces())) || (reduces_all(y) && !x.reduces());
    if (!to_scalars || !is_one_pass(a) || !is_one_pass(b)) return false;
  }
  if (size_of_[a] + size_of_[b] > largest_cluster || views_of_[a] + views_of_[b] > most_views) {
    return false;
  }
  if (may_fail(a) || may_fail(b) || runs_before_.are_ordered(a, b)) return false;
  // What reduces cannot be taken in by the product or the reduction that v comes from.
  return !reduce || all_are_placed_ ||
         (is_free(a) && is_free(b) && !feeds_from_elsewhere(v, x) && !feeds_from_elsewhere(v, y));
}

bool Fuser::reduces_same_rows(const Cluster& x, const Cluster& y) {
  return x.reduces() && x.reduced == y.reduced && !reduces_all(x);
}

bool Fuser::is_free(int c) {
  const Cluster& cluster = at(c);
  return std::none_of(cluster.roots.begin(), cluster.roots.end(),
                      [&](Vertex root) { return feeds_from_elsewhere(root, cluster); });
}

bool Fuser::may_fail(int c) {
  return std::ranges::any_of(at(c).roots, [&](Vertex root) { return fails_[root]; });
}

bool Fuser::is_one_pass(int c) {
  std::vector<Vertex>& members = members_of_[c];
  std::ranges::sort(members, {}, [&](Vertex v) { return place_of_[v]; });
  std::set<Vertex> after;  // members computed from a reduction
  for (Vertex v : members) {
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

void Fuser::move_demand(Demands& demands, int a, int b, const Renamed& renamed) {
  const auto found = demands.find(b);
  if (found == demands.end()) return;
  const Demand moved = std::move(found->second);
  demands.erase(found);
  Demand& demand = demands[a];
  demand.needs_storage = demand.needs_storage || moved.needs_storage;
  demand.needs_order = demand.needs_order || moved.needs_order;
  demand.conditional = demand.conditional || moved.conditional;
  for (Index point : moved.points) {
    for (loop::Expr& e : point) e = loop::substitute(e, renamed);
    demand.add(point);
  }
}

void Fuser::merge(int a, int b) {
  Renamed renamed;
  for (std::size_t axis = 0; axis < at(b).variables.size(); ++axis) {
    renamed.emplace_back(at(b).variables[axis], loop::variable(at(a).variables[axis]));
  }
  // Only members ask for something, of their operands.
  for (Vertex member : members_of_[b]) {
    if (computed_[member].count(a) == 0) members_of_[a].push_back(member);
    move_demand(computed_[member], a, b, renamed);
    for (Vertex operand : graph_.operands(member)) move_demand(demands_[operand], a, b, renamed);
  }
  members_of_.erase(b);
  Cluster &to = at(a), &from = at(b);
  if ((to.reduces() || from.reduces()) && !reduces_same_rows(to, from)) is_one_pass_.insert(a);
  if (is_one_pass_.erase(b) != 0) is_one_pass_.insert(a);
  to.roots.insert(to.roots.end(), from.roots.begin(), from.roots.end());
  if (from.reduces()) to.reduced = from.reduced;
  from.roots.clear();
  size_of_[a] += size_of_[b];
  views_of_[a] += views_of_[b];
  runs_before_.merge(a, b);
}

}  // namespace kroton
