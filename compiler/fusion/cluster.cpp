#include "compiler/fusion/fusion.h"

#include <algorithm>

namespace kroton {

using Vertex = Graph::Vertex;

bool Cluster::reduces() const {
  return std::find(reduced.begin(), reduced.end(), true) != reduced.end();
}

Index Cluster::full_point() const {
  Index point;
  for (const loop::Variable& v : variables) point.push_back(loop::variable(v));
  return point;
}

Index Cluster::outer_point() const {
  Index point;
  for (std::size_t axis = 0; axis < variables.size(); ++axis) {
    if (!reduced[axis]) point.push_back(loop::variable(variables[axis]));
  }
  return point;
}

Dims Cluster::outer_domain() const {
  Dims shape;
  for (std::size_t axis = 0; axis < domain.size(); ++axis) {
    if (!reduced[axis]) shape.push_back(domain[axis]);
  }
  return shape;
}

Vertex stored_source(const Graph& graph, Vertex v) {
  while (graph[v].op->regroups) v = graph.operand(v, 0);
  return v;
}

bool same_index(const Index& a, const Index& b) {
  return a == b;  // expressions are hash-consed: equal handles, equal expressions
}

std::string Fusion::to_string(const Graph& graph) const {
  std::string text;
  for (std::size_t c = 0; c < clusters.size(); ++c) {
    const Cluster& cluster = clusters[c];
    const char* kinds[] = {"loops", "contraction", "write",     "scan",
                           "call",  "branch",      "attention", "pairs"};
    text += "cluster " + std::to_string(c) + " " + kinds[static_cast<int>(cluster.kind)] +
            " over " + kroton::to_string(cluster.domain);
    if (cluster.reduces()) {
      text += " reducing";
      for (std::size_t axis = 0; axis < cluster.reduced.size(); ++axis) {
        if (cluster.reduced[axis]) text += " " + std::to_string(axis);
      }
    }
    for (const auto& [condition, holds] : cluster.guard) {
      text += (holds ? " if %" : " unless %") + std::to_string(condition);
    }
    text += ":";
    for (Vertex v : cluster.members) {
      const bool root =
          std::find(cluster.roots.begin(), cluster.roots.end(), v) != cluster.roots.end();
      text += " %" + std::to_string(v) + "=" + std::string(graph[v].op->name) + (root ? "*" : "");
    }
    text += "\n";
  }
  return text;
}

}  // namespace kroton
