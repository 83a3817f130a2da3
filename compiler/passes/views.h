// What the rules about views and reductions share: shapes of vertices, and new views of them.
#pragma once
#include <algorithm>
#include <optional>
#include <vector>

#include "compiler/ops/records.h"
#include "compiler/passes/match.h"

namespace kroton {

using Result = std::optional<Vertex>;

inline const Dims& shape(const Graph& graph, Vertex v) { return graph[v].type.shape; }
inline const Dim& size_at(const Dims& dims, int axis) {
  return dims[static_cast<std::size_t>(axis)];
}
inline int rank(const Graph& graph, Vertex v) { return graph[v].type.rank(); }

inline bool contains(const std::vector<int>& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

inline Vertex add_view(Graph& graph, const OpRecord& op, Vertex x, Attributes attributes,
                       SourceLine line) {
  return graph.add(op, {x}, std::move(attributes), line);
}

inline Vertex add_broadcast(Graph& graph, Vertex x, Dims dims, std::vector<int> axes,
                            SourceLine line) {
  Attributes attributes;
  attributes.dims = std::move(dims);
  attributes.axes = std::move(axes);
  return add_view(graph, broadcast_op, x, std::move(attributes), line);
}

inline Vertex add_reshape(Graph& graph, Vertex x, Dims dims, SourceLine line) {
  if (shape(graph, x) == dims) return x;
  Attributes attributes;
  attributes.dims = std::move(dims);
  return add_view(graph, reshape_op, x, std::move(attributes), line);
}

// Where each axis of `from` is in `to`, -1 for axes of size 1, if the shapes differ only in axes of
// size 1.
inline std::optional<std::vector<int>> unit_mapping(const Dims& from, const Dims& to) {
  std::vector<int> mapping(from.size(), -1);
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < from.size(); ++axis) {
    if (from[axis].is_constant(1)) continue;
    while (next < to.size() && to[next].is_constant(1)) ++next;
    if (next == to.size() || !(to[next] == from[axis])) return std::nullopt;
    mapping[axis] = static_cast<int>(next++);
  }
  while (next < to.size() && to[next].is_constant(1)) ++next;
  if (next != to.size()) return std::nullopt;
  return mapping;
}

}  // namespace kroton
