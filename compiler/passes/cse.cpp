#include <algorithm>
#include <unordered_map>

#include "compiler/passes/passes.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// What makes two vertices one value. The operands of commutative ops are sorted.
struct Value {
  const VertexData* data;
  std::vector<Vertex> operands;

  friend bool operator==(const Value& a, const Value& b) {
    return a.data->op == b.data->op && a.operands == b.operands && a.data->type == b.data->type &&
           a.data->attributes == b.data->attributes;
  }
};

struct ValueHash {
  std::size_t operator()(const Value& value) const {
    std::size_t hash = value.data->attributes.hash() ^ std::hash<const void*>()(value.data->op);
    for (const Vertex operand : value.operands) hash = hash * 1000003 + operand;
    return hash;
  }
};

}  // namespace

bool eliminate_common_subexpressions(Graph& graph) {
  bool changed = false;
  std::unordered_map<Value, Vertex, ValueHash> known;
  // Operands come first, so that a vertex is compared when its operands are merged already.
  for (const Vertex v : graph.topological_order()) {
    Value value{&graph[v], graph.operands(v)};
    if (graph[v].op->commutative) std::sort(value.operands.begin(), value.operands.end());
    const auto [entry, inserted] = known.try_emplace(std::move(value), v);
    if (inserted) continue;
    graph.replace(v, entry->second);
    changed = true;
  }
  return changed;
}

}  // namespace kroton
