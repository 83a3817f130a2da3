#include <algorithm>

#include "compiler/fusion/fuser.h"

namespace kroton {

using Vertex = Graph::Vertex;

void Fuser::compute_with_rows() {
  for (int c = 0; c < static_cast<int>(result_.clusters.size()); ++c) {
    const Cluster& cluster = at(c);
    if (cluster.kind != Cluster::Kind::loops || !cluster.reduces() || !reduces_all(cluster)) {
      continue;
    }
    const std::vector<Vertex> members = members_of_[c];
    for (Vertex sum : members) {
      if (graph_[sum].op->kind == OpKind::reduce) move_to_rows(graph_.operand(sum, 0), c);
    }
  }
}

void Fuser::move_to_rows(Vertex v, int from) {
  const auto own = computed_[v].find(from);
  if (own == computed_[v].end() || result_.stored[v] || graph_[v].type.shape != at(from).domain ||
      own->second.points.size() != 1 || !same_index(own->second.points[0], at(from).full_point())) {
    return;
  }
  // What is computed for v alone, and what that reads.
  std::vector<Vertex> moved{v};
  std::set<Vertex> moves{v}, read;
  for (std::size_t k = 0; k < moved.size(); ++k) {
    for (Vertex o : graph_.operands(moved[k])) {
      if (computed_[o].count(from) == 0 || result_.stored[o]) {
        if (result_.stored[o]) read.insert(o);
      } else if (graph_[o].op->kind == OpKind::reduce) {
        return;
      } else if (moves.insert(o).second) {
        moved.push_back(o);
      }
    }
  }
  const auto is_read_here = [&](Vertex o) {
    return std::ranges::any_of(graph_.users(o), [&](Vertex user) {
      return computed_[user].count(from) != 0 && moves.count(user) == 0;
    });
  };
  for (Vertex m : moved) {
    if (m != v && is_read_here(m)) return;
  }
  for (int c = 0; c < static_cast<int>(result_.clusters.size()); ++c) {
    if (c == from || !may_take_from_rows(c, from, v, read)) continue;
    if (size_of_[c] + moved.size() > largest_cluster) continue;
    Renamed renamed;
    std::size_t next = 0;
    for (std::size_t axis = 0; axis < at(c).variables.size(); ++axis) {
      if (at(c).reduced[axis]) continue;
      renamed.emplace_back(at(from).variables[next++], loop::variable(at(c).variables[axis]));
    }
    for (Vertex m : moved) {
      if (computed_[m].count(c) == 0) members_of_[c].push_back(m);
      move_demand(computed_[m], c, from, renamed);
      std::erase(members_of_[from], m);
    }
    size_of_[c] += moved.size();
    at(c).roots.insert(at(c).roots.begin(), v);
    result_.stored[v] = true;
    runs_before_.add_reader(c, from);
    for (Vertex o : read) {
      if (!is_read_here(o)) move_demand(demands_[o], c, from, renamed);
      for (int other = 0; other < static_cast<int>(result_.clusters.size()); ++other) {
        if (other != c && stores(other, o)) runs_before_.add_reader(other, c);
      }
      const bool is_needed = wanted_[o] || std::ranges::any_of(demands_[o], [&](const auto& d) {
                               return d.first != c;
                             });
      if (stores(c, o) && !is_needed) {
        std::erase(at(c).roots, o);
        result_.stored[o] = false;
      }
    }
    return;
  }
}

bool Fuser::stores(int c, Vertex v) {
  const std::vector<Vertex>& roots = at(c).roots;
  return std::find(roots.begin(), roots.end(), v) != roots.end();
}

bool Fuser::may_take_from_rows(int c, int from, Vertex v, const std::set<Vertex>& read) {
  const Cluster& cluster = at(c);
  if (cluster.kind != Cluster::Kind::loops || !cluster.reduces() || reduces_all(cluster) ||
      cluster.guard != at(from).guard || cluster.outer_domain() != at(from).domain) {
    return false;
  }
  // A check that fails must not leave what another kernel may overwrite half done.
  const auto is_wanted = [&](Vertex root) { return wanted_[root]; };
  if (fails_[v] && std::ranges::any_of(cluster.roots, is_wanted)) return false;
  bool reads_result = false;
  for (Vertex o : read) {
    if (stores(c, o)) {
      const Demand& demand = demands_[o].at(from);
      const bool is_own = demand.points.size() == 1 && !demand.needs_storage &&
                          same_index(demand.points[0], at(from).full_point());
      reads_result = reads_result || (is_own && graph_[o].op->kind == OpKind::reduce);
      if (!is_own) return false;
      continue;
    }
    for (int other = 0; other < static_cast<int>(result_.clusters.size()); ++other) {
      if (stores(other, o) && runs_before_.lead_to({c}, other)) return false;
    }
  }
  return reads_result;
}

}  // namespace kroton
