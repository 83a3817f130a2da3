#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

std::optional<Vertex> expand(Graph& graph, Vertex v) {
  const VertexData data = graph[v];
  return graph.build(graph.operands(v), data.line, [&](std::span<const Tensor> operands) {
    return data.op->expand(operands, data.attributes);
  });
}

std::vector<Rule> expand_rules() {
  // Gradients have been taken by now.
  std::vector<Rule> rules = {
      algebra(call("stop_gradient", {term(0)}), [](const Match& m) -> Tensor { return m[0]; })};
  for (const OpRecord* record : all_ops()) {
    if (record->kind == OpKind::composite) rules.push_back({record->name, expand});
  }
  return rules;
}

}  // namespace

bool expand_composites(Graph& graph) {
  static const auto& rules = *new std::vector<Rule>(expand_rules());  // never destroyed
  return rewrite(graph, "expand", rules);
}

}  // namespace kroton
