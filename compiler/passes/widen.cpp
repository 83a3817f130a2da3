// Arithmetic on dtypes that are only stored: on conversions of the operands, the result rounded.
#include <algorithm>

#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

// Whether values go through the op, or come from elsewhere, as they are.
bool keeps_stored(const OpRecord& op) {
  switch (op.kind) {
    case OpKind::leaf:
    case OpKind::call:
    case OpKind::scan:
    case OpKind::result:
    case OpKind::branch:
      return true;
    default:
      return op.is_view || op.keeps_stored;
  }
}

Vertex converted(Graph& graph, Vertex v, DType dtype, SourceLine line) {
  if (graph[v].type.dtype == dtype) return v;
  Attributes attributes;
  attributes.dtype = dtype;
  return graph.add(cast_op, {v}, std::move(attributes), line);
}

DType computed_in(DType dtype) { return info_of(dtype).computed_in; }

}  // namespace

bool compute_in_wider_dtypes(Graph& graph) {
  bool changed = false;
  for (const Vertex v : graph.topological_order()) {
    const VertexData data = graph[v];
    if (keeps_stored(*data.op)) continue;
    std::vector<Vertex> operands = graph.operands(v);
    const bool narrow = is_only_stored(data.type.dtype) ||
                        std::any_of(operands.begin(), operands.end(), [&](Vertex operand) {
                          return is_only_stored(graph[operand].type.dtype);
                        });
    if (!narrow) continue;
    for (Vertex& operand : operands) {
      operand = converted(graph, operand, computed_in(graph[operand].type.dtype), data.line);
    }
    Attributes attributes = data.attributes;
    attributes.dtype = computed_in(attributes.dtype);
    const Vertex wide = graph.add(*data.op, operands, std::move(attributes), data.line);
    graph.replace(v, converted(graph, wide, data.type.dtype, data.line));
    changed = true;
  }
  return changed;
}

}  // namespace kroton
