// What the rules about views and reductions share: shapes of vertices, and new views of them.
#pragma once
#include <algorithm>

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

}  // namespace kroton
