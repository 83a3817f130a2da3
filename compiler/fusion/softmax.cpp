#include "compiler/fusion/softmax.h"

#include <set>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/passes/match.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// Operations between the softmax and what it is asked for.
constexpr int most_between = 8;

// The sum that `v` divides by, if that is all it does: 1 / sum, or the sum where `divides`.
std::optional<Vertex> sum_behind(const Graph& graph, Vertex v, bool divides) {
  v = source_behind(graph, v);
  if (!divides) {
    if (!graph.is_op(v, div_op) || !is_number(graph, graph.operand(v, 0), 1)) return std::nullopt;
    v = source_behind(graph, graph.operand(v, 1));
  }
  return graph.is_op(v, sum_op) ? std::optional(v) : std::nullopt;
}

// exponentials * what divides by their sum.
std::optional<SoftmaxOfRows> softmax_at(const Graph& graph, Vertex v, Vertex exponentials,
                                        Vertex divisor) {
  const std::optional<Vertex> sum = sum_behind(graph, divisor, graph.is_op(v, div_op));
  if (!sum || !graph.is_op(exponentials, exp_op) || graph.operand(*sum, 0) != exponentials) {
    return std::nullopt;
  }
  const Vertex difference = graph.operand(exponentials, 0);
  if (!graph.is_op(difference, sub_op)) return std::nullopt;
  const Vertex scores = graph.operand(difference, 0);
  const Vertex largest = source_behind(graph, graph.operand(difference, 1));
  if (!graph.is_op(largest, max_op) || graph.operand(largest, 0) != scores) return std::nullopt;
  return SoftmaxOfRows{
      scores, largest, difference, exponentials, *sum, source_behind(graph, divisor), v};
}

std::optional<SoftmaxOfRows> find_behind(const Graph& graph, Vertex v, int steps) {
  if (steps == 0) return std::nullopt;
  const auto operand = [&](int k) { return graph.operand(v, k); };
  if (graph.is_op(v, mul_op) || graph.is_op(v, div_op)) {
    const int last = graph.is_op(v, div_op) ? 0 : 1;
    for (int k = 0; k <= last; ++k) {
      if (const auto found = softmax_at(graph, v, operand(k), operand(1 - k))) return found;
    }
    for (int k = 0; k <= last; ++k) {
      const std::optional<SoftmaxOfRows> found = find_behind(graph, operand(k), steps - 1);
      if (found) return depends_on(graph, operand(1 - k), found->weights) ? std::nullopt : found;
    }
    return std::nullopt;
  }
  if (is_float_cast(graph, v)) return find_behind(graph, operand(0), steps - 1);
  if (graph.is_op(v, where_op)) {
    for (const int k : {1, 2}) {
      if (!is_number(graph, operand(3 - k), 0)) continue;
      const std::optional<SoftmaxOfRows> found = find_behind(graph, operand(k), steps - 1);
      return found && depends_on(graph, operand(0), found->weights) ? std::nullopt : found;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<SoftmaxOfRows> softmax_behind(const Graph& graph, Vertex v) {
  return find_behind(graph, v, most_between);
}

Vertex source_behind(const Graph& graph, Vertex v) {
  while (graph[v].op->is_view) v = graph.operand(v, 0);
  return v;
}

bool is_number(const Graph& graph, Vertex v, double value) {
  const std::optional<Vertex> literal = uniform_literal(graph, v);
  return literal && literal_value(graph[*literal].attributes) == value;
}

bool is_float_cast(const Graph& graph, Vertex v) {
  return graph.is_op(v, cast_op) && is_float(graph[v].type.dtype) &&
         is_float(graph[graph.operand(v, 0)].type.dtype);
}

bool depends_on(const Graph& graph, Vertex v, Vertex on) {
  std::vector<Vertex> pending{v};
  std::set<Vertex> seen{v};
  while (!pending.empty()) {
    const Vertex next = pending.back();
    pending.pop_back();
    if (next == on) return true;
    for (Vertex operand : graph.operands(next)) {
      if (seen.insert(operand).second) pending.push_back(operand);
    }
  }
  return false;
}

}  // namespace kroton
