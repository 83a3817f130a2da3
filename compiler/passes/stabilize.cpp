#include <kroton/ops.h>

#include <algorithm>
#include <limits>

#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

using Result = std::optional<Vertex>;

bool is_last_axis(const Graph& graph, Vertex softmax) {
  const std::vector<int>& axes = graph[softmax].attributes.axes;
  return axes.size() == 1 && axes[0] == graph[softmax].type.rank() - 1;
}

// view(sigmoid(x)) -> sigmoid(view(x)), so that the logarithms below find the sigmoid of a part of
// a prediction. The prediction itself may have other uses: its elements are cheap.
Result view_of_sigmoid(Graph& graph, Vertex v) {
  const Vertex sigmoid = graph.operand(v, 0);
  if (graph[sigmoid].op != &sigmoid_op) return std::nullopt;
  const VertexData data = graph[v];
  const Vertex view = graph.add(*data.op, {graph.operand(sigmoid, 0)}, data.attributes, data.line);
  return graph.add(sigmoid_op, {view}, {}, graph[sigmoid].line);
}

// log(softmax(x)) -> log_softmax(x), also where the logarithm is of a part of the softmax:
// log(pick(softmax(x), labels)) -> pick(log_softmax(x), labels).
Result log_of_softmax(Graph& graph, Vertex v) {
  const auto selects = [](const OpRecord* op) {
    return op == &pick_op || op == &take_op || op == &slice_op || op == &reshape_op;
  };
  std::vector<Vertex> views;  // from the logarithm to the softmax
  Vertex source = graph.operand(v, 0);
  for (; selects(graph[source].op); source = graph.operand(source, 0)) views.push_back(source);
  if (graph[source].op != &softmax_op) return std::nullopt;

  Vertex result = graph.add(log_softmax_op, {graph.operand(source, 0)}, graph[source].attributes,
                            graph[v].line);
  for (auto view = views.rbegin(); view != views.rend(); ++view) {
    std::vector<Vertex> operands = graph.operands(*view);
    operands[0] = result;
    result = graph.add(*graph[*view].op, operands, graph[*view].attributes, graph[*view].line);
  }
  return result;
}

// exp(x) / sum(exp(x), axis, keepdims) -> softmax(x, axis)
Result quotient_of_exponentials(Graph& graph, Vertex v) {
  const Vertex exp = graph.operand(v, 0);
  const Vertex repeated = graph.operand(v, 1);
  if (graph[exp].op != &exp_op || graph[repeated].op != &broadcast_op) return std::nullopt;
  const Vertex sum = graph.operand(repeated, 0);
  if (graph[sum].op != &sum_op || graph.operand(sum, 0) != exp) return std::nullopt;
  const std::vector<int> axes = graph[sum].attributes.axes;
  const Dims& shape = graph[exp].type.shape;
  if (axes.size() != 1 || shape[static_cast<std::size_t>(axes[0])].is_constant(0)) {
    return std::nullopt;
  }
  std::vector<int> others;
  for (int axis = 0; axis < graph[exp].type.rank(); ++axis) {
    if (axis != axes[0]) others.push_back(axis);
  }
  if (graph[repeated].attributes.axes != others) return std::nullopt;
  Attributes attributes;
  attributes.axes = axes;
  return graph.add(softmax_op, {graph.operand(exp, 0)}, std::move(attributes), graph[v].line);
}

// softmax(x - m) -> softmax(x) where m is the same along the axis, as in a softmax that a user
// wrote with its maximum subtracted; and the same for log_softmax.
Result shifted_softmax(Graph& graph, Vertex v) {
  const Vertex shifted = graph.operand(v, 0);
  if (graph[shifted].op != &sub_op) return std::nullopt;
  const Vertex shift = graph.operand(shifted, 1);
  if (graph[shift].op != &broadcast_op) return std::nullopt;
  const std::vector<int>& axes = graph[shift].attributes.axes;
  if (std::find(axes.begin(), axes.end(), graph[v].attributes.axes[0]) != axes.end()) {
    return std::nullopt;
  }
  return graph.add(*graph[v].op, {graph.operand(shifted, 0)}, graph[v].attributes, graph[v].line);
}

// log(exp(x) / y) -> x - log(y), also where a part of the exponentials is divided.
Result log_of_quotient(Graph& graph, Vertex v) {
  const Vertex quotient = graph.operand(v, 0);
  if (graph[quotient].op != &div_op) return std::nullopt;
  std::vector<Vertex> views;
  Vertex source = graph.operand(quotient, 0);
  for (; graph[source].op->is_view; source = graph.operand(source, 0)) views.push_back(source);
  if (graph[source].op != &exp_op) return std::nullopt;
  Vertex x = graph.operand(source, 0);
  for (auto view = views.rbegin(); view != views.rend(); ++view) {
    x = graph.add(*graph[*view].op, {x}, graph[*view].attributes, graph[*view].line);
  }
  const Vertex log = graph.add(log_op, {graph.operand(quotient, 1)}, {}, graph[v].line);
  return graph.add(sub_op, {x, log}, {}, graph[v].line);
}

// pick(log_softmax(x), labels) -> -softmax_cross_entropy(x, labels)
Result pick_of_log_softmax(Graph& graph, Vertex v) {
  const Vertex log_softmax = graph.operand(v, 0);
  if (graph[log_softmax].op != &log_softmax_op || !is_last_axis(graph, log_softmax)) {
    return std::nullopt;
  }
  const std::vector<Vertex> operands{graph.operand(log_softmax, 0), graph.operand(v, 1)};
  const Vertex loss = graph.add(softmax_cross_entropy_op, operands, {}, graph[v].line);
  return graph.add(neg_op, {loss}, {}, graph[v].line);
}

// Whether the vertex is, perhaps behind views, x less its maximum already: a sum with a maximum
// among its terms, perhaps under a stop_gradient. logsumexp and the softmaxes write it so.
bool is_shifted(const Graph& graph, Vertex v) {
  const auto is_sum = [](const OpRecord* op) {
    return op == &add_op || op == &sub_op || op == &neg_op;
  };
  while (graph[v].op->is_view) v = graph.operand(v, 0);
  if (!is_sum(graph[v].op)) return false;
  constexpr std::size_t limit = 1000;
  std::vector<Vertex> seen{v};
  for (std::size_t next = 0; next < seen.size(); ++next) {
    const OpRecord* op = graph[seen[next]].op;
    if (op == &max_op || op == &stop_gradient_op || seen.size() > limit) return true;
    if (!is_sum(op) && op != &where_op && !op->is_view) continue;
    for (const Vertex operand : graph.operands(seen[next])) {
      if (std::find(seen.begin(), seen.end(), operand) == seen.end()) seen.push_back(operand);
    }
  }
  return false;
}

// log(sum(exp(x))) -> logsumexp(x)
Result log_of_sum_of_exp(Graph& graph, Vertex v) {
  Vertex sum = graph.operand(v, 0);
  if (graph[sum].op == &reshape_op) sum = graph.operand(sum, 0);  // keepdims
  if (graph[sum].op != &sum_op) return std::nullopt;
  const Vertex exp = graph.operand(sum, 0);
  if (graph[exp].op != &exp_op) return std::nullopt;
  const Vertex x = graph.operand(exp, 0);
  const std::vector<int> axes = graph[sum].attributes.axes;
  const bool empty = std::any_of(axes.begin(), axes.end(), [&](int axis) {
    return graph[x].type.shape[static_cast<std::size_t>(axis)].is_constant(0);
  });
  if (empty || is_shifted(graph, x)) return std::nullopt;
  const Dims shape = graph[v].type.shape;
  return graph.build({x}, graph[v].line, [&](std::span<const Tensor> operands) {
    return reshape(logsumexp(operands[0], Axes(axes)), shape);
  });
}

// log(exp(x) + exp(y)): the larger, plus what the other one adds. An infinite one adds nothing.
Tensor log_of_two(const Tensor& x, const Tensor& y) {
  const Tensor first = x > y;
  const Tensor larger = where(first, x, y);
  const Tensor below = where(first, y - x, x - y);
  const Tensor finite = abs(larger) < std::numeric_limits<double>::infinity();
  return larger + softplus(where(finite, below, 0));
}

std::vector<Rule> stabilize_rules() {
  const Pattern x = term(0);
  const Pattern one = number(1);
  const auto sigmoid_of = [](Pattern operand) { return call("sigmoid", {std::move(operand)}); };

  std::vector<Rule> rules = {
      // Sigmoid.
      algebra(one / (one + exp(x)), [](const Match& m) { return sigmoid(-m[0]); }),
      algebra(exp(x) / (one + exp(x)), [](const Match& m) { return sigmoid(m[0]); }),
      algebra(one - sigmoid_of(x), [](const Match& m) { return sigmoid(-m[0]); }),

      // Softplus.
      algebra(log(sigmoid_of(x)), [](const Match& m) { return -softplus(-m[0]); }),
      algebra(log(one + exp(x)), [](const Match& m) { return softplus(m[0]); }),
      algebra(log(exp(x) + exp(term(1))), [](const Match& m) { return log_of_two(m[0], m[1]); }),
      algebra(call("log1p", {exp(x)}), [](const Match& m) { return softplus(m[0]); }),
      algebra(call("log1p", {-sigmoid_of(x)}), [](const Match& m) { return -softplus(m[0]); }),

      // Around 1 and 0.
      algebra(log(one + x), [](const Match& m) { return log1p(m[0]); }),
      algebra(log(one - x), [](const Match& m) { return log1p(-m[0]); }),
      algebra(exp(x) - one, [](const Match& m) { return expm1(m[0]); }),
      algebra(exp(x) + number(-1), [](const Match& m) { return expm1(m[0]); }),
      algebra(log(exp(x)), [](const Match& m) -> Tensor { return m[0]; }),
      algebra(call("sqrt", {x * x}), [](const Match& m) { return abs(m[0]); }),

      // Softmax.
      {"div", quotient_of_exponentials},
      {"softmax", shifted_softmax},
      {"log_softmax", shifted_softmax},
      {"log", log_of_softmax},
      {"log", log_of_quotient},
      {"pick", pick_of_log_softmax},
      {"log", log_of_sum_of_exp},

      {"slice", view_of_sigmoid},
      {"reshape", view_of_sigmoid},
      {"transpose", view_of_sigmoid},
  };
  // Operands are in normal form before their users are looked at, and what one set of rules writes
  // the other may rewrite.
  for (const Rule& rule : canonical_rules()) rules.push_back(rule);
  return rules;
}

}  // namespace

bool stabilize(Graph& graph) {
  static const auto& rules = *new std::vector<Rule>(stabilize_rules());  // never destroyed
  return rewrite(graph, "stabilize", rules);
}

}  // namespace kroton
