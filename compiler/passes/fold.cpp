#include <algorithm>
#include <bit>
#include <cmath>

#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

constexpr std::int64_t largest_result = 1024;  // elements

ReferenceValue value_of(const Tensor& expression) {
  return evaluate(std::span(&expression, 1), {}).front();
}

bool same(const Number& a, const Number& b) {
  if (a.is_whole()) return a == b;
  const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };
  return bits(a) == bits(b);  // 0 is not -0
}

// A vertex of that value and type: a literal, repeated if all elements are equal, or an array.
Vertex add_value(Graph& graph, const ReferenceValue& value, const Dims& shape, SourceLine line) {
  const Number first = value.data.front();
  const bool uniform = std::all_of(value.data.begin(), value.data.end(),
                                   [&](const Number& x) { return same(x, first); });
  const Vertex leaf = graph.build({}, line, [&](std::span<const Tensor>) {
    if (!uniform) return make_constant(to_array(value), line);
    return make_literal(first, value.dtype, line);
  });
  return uniform ? add_repeated(graph, leaf, shape, line) : leaf;
}

// An elementwise op on repeated literals: of any shape, by evaluating one element.
std::optional<Vertex> fold_uniform(Graph& graph, Vertex v) {
  std::vector<Vertex> literals;
  for (const Vertex operand : graph.operands(v)) {
    const std::optional<Vertex> literal = uniform_literal(graph, operand);
    if (!literal) return std::nullopt;
    literals.push_back(*literal);
  }
  const VertexData data = graph[v];
  const std::vector<Tensor> scalars = graph.export_expressions(literals);
  const Tensor one = make_node(*data.op, scalars, data.attributes, data.line);
  return add_value(graph, value_of(one), data.type.shape, data.line);
}

bool is_constant(const Graph& graph, Vertex v) {
  return graph[v].op == &constant_op || uniform_literal(graph, v).has_value();
}

std::optional<Vertex> fold(Graph& graph, Vertex v) {
  const VertexData data = graph[v];
  const std::vector<Vertex> operands = graph.operands(v);
  const bool all_constant = std::all_of(operands.begin(), operands.end(), [&](Vertex operand) {
    return is_constant(graph, operand);
  });
  if (!all_constant) return std::nullopt;
  for (const Dim& dim : data.attributes.dims) {
    if (!dim.is_constant()) return std::nullopt;  // known at the call only
  }
  if (data.op->kind == OpKind::elementwise) {
    if (const auto uniform = fold_uniform(graph, v)) return uniform;
  }
  for (const Vertex part : operands) {
    const Dims& shape = graph[part].type.shape;
    const auto known = [](const Dim& d) { return d.is_constant(); };  // 0 * n does not tell n
    if (!std::all_of(shape.begin(), shape.end(), known)) return std::nullopt;
    if (element_count(shape).constant() > largest_result) return std::nullopt;
  }
  const Dim size = element_count(data.type.shape);
  if (!size.is_constant() || size.is_constant(0) || size.constant() > largest_result) {
    return std::nullopt;
  }
  const Tensor expression = graph.export_expressions(std::span(&v, 1)).front();
  return add_value(graph, value_of(expression), data.type.shape, data.line);
}

}  // namespace

bool fold_constants(Graph& graph) {
  bool changed = false;
  for (const Vertex v : graph.topological_order()) {
    const VertexData& data = graph[v];
    // Leaves are folded already, a repeated literal is how a constant looks, and an iota is cheaper
    // than an array of its values.
    const bool folded = data.op->kind == OpKind::leaf || uniform_literal(graph, v).has_value();
    // What fails or prints does so at the call, and only if it is needed there.
    if (folded || data.op == &iota_op || data.op->observable) continue;
    const std::optional<Vertex> value = fold(graph, v);
    if (!value || !(graph[*value].type == graph[v].type)) continue;
    graph.replace(v, *value);
    changed = true;
  }
  return changed;
}

}  // namespace kroton
