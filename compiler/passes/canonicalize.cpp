#include <kroton/ops.h>

#include <cmath>
#include <limits>

#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

bool all_floats(const Match& m) { return m.is_float(0); }
// Where the sign of a zero would be another.
bool no_floats(const Match& m) { return !m.is_float(0); }

// Whether slot 2 is a zero, of floats one of that sign: x - 0 and x + -0 are x, also for x = -0.
bool is_zero(const Match& m, int sign) {
  return m.value(2) == 0 && (!m.is_float(0) || std::signbit(m.value(2)) == (sign < 0));
}

Tensor lowest(const Tensor& x) { return eq(x, -inf); }

// Whether a merged factor is far from overflow and underflow, which one of its parts may avoid.
bool ordinary(const Match& m, double factor) {
  const bool is_small = bits_of(m.type(0).dtype) <= 16;  // f16 holds 6e-8 to 65504
  const double largest = is_small ? 1e3 : 1e30;
  return std::abs(factor) > 1 / largest && std::abs(factor) < largest;
}

std::optional<Vertex> same_cast(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  return graph[x].type == graph[v].type ? std::optional(x) : std::nullopt;
}

// cast(cast(x)) -> cast(x) when the inner one loses nothing.
std::optional<Vertex> nested_cast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &cast_op) return std::nullopt;
  const Vertex x = graph.operand(inner, 0);
  const DType from = graph[x].type.dtype, between = graph[inner].type.dtype;
  const DType to = graph[v].type.dtype;
  if (!keeps_every_value(from, between)) return std::nullopt;
  // Floating numbers saturate, integers wrap; and integers go to 16 bits by way of f32.
  const bool by_another_way = (is_float(between) && is_integer(to)) || is_only_stored(to);
  const DType direct = is_only_stored(to) ? info_of(to).computed_in : to;
  if (is_integer(from) && by_another_way && !keeps_every_value(from, direct)) return std::nullopt;
  return graph.add(*graph[v].op, {x}, graph[v].attributes, graph[v].line);
}

// f(-(x - y)) -> f(y - x) for functions that give the same for both zeros; by itself the difference
// would be a zero of another sign where x is y.
std::optional<Vertex> of_negated_difference(Graph& graph, Vertex v) {
  const Vertex negated = graph.operand(v, 0);
  if (graph[negated].op != &neg_op) return std::nullopt;
  const Vertex difference = graph.operand(negated, 0);
  if (graph[difference].op != &sub_op) return std::nullopt;
  const VertexData data = graph[v];
  const Vertex turned =
      graph.add(sub_op, {graph.operand(difference, 1), graph.operand(difference, 0)}, {},
                graph[difference].line);
  return graph.add(*data.op, {turned}, data.attributes, data.line);
}

std::vector<Rule> canonicalize_rules() {
  const Pattern x = term(0);
  const Pattern y = term(1);
  const Pattern c = literal(2);
  const Pattern d = literal(3);

  const auto first = [](const Match& m) -> Tensor { return m[0]; };
  const auto second = [](const Match& m) -> Tensor { return m[1]; };

  std::vector<Rule> rules = {
      // Identities.
      algebra(x * number(1), first),
      algebra(x / number(1), first),
      algebra(x + c, first, [](const Match& m) { return is_zero(m, m.is_float(0) ? -1 : 1); }),
      algebra(x - c, first, [](const Match& m) { return is_zero(m, 1); }),
      algebra(call("pow", {x, number(1)}), first),
      algebra(call("maximum", {x, x}), first),
      algebra(call("minimum", {x, x}), first),
      algebra(call("where", {y, x, x}), first),
      algebra(call("where", {number(1), x, y}), first),
      algebra(call("where", {number(0), x, y}), second),
      algebra(call("logical_and", {x, x}), first),
      algebra(call("logical_or", {x, x}), first),
      algebra(call("logical_and", {x, number(1)}), first),
      algebra(call("logical_or", {x, number(0)}), first),
      algebra(
          call("logical_and", {x, c}), [](const Match& m) { return m[2]; },
          [](const Match& m) { return m.value(2) == 0; }),
      algebra(
          call("logical_or", {x, c}), [](const Match& m) { return m[2]; },
          [](const Match& m) { return m.value(2) != 0; }),
      algebra(call("logical_not", {call("logical_not", {x})}), first),
      algebra(call("where", {call("logical_not", {term(2)}), x, y}),
              [](const Match& m) { return where(m[2], m[1], m[0]); }),
      // Branches of ifelse.
      algebra(call("ifelse", {y, x, x}), first),
      algebra(call("ifelse", {number(1), x, y}), first),
      algebra(call("ifelse", {number(0), x, y}), second),
      algebra(call("ifelse", {call("logical_not", {term(2)}), x, y}),
              [](const Match& m) { return ifelse(m[2], m[1], m[0]); }),
      algebra(call("ifelse", {term(2), call("ifelse", {term(2), x, term(3)}), y}),
              [](const Match& m) { return ifelse(m[2], m[0], m[1]); }),
      algebra(call("ifelse", {term(2), x, call("ifelse", {term(2), term(3), y})}),
              [](const Match& m) { return ifelse(m[2], m[0], m[1]); }),

      algebra(call("abs", {-x}), [](const Match& m) { return abs(m[0]); }),
      algebra(call("abs", {call("abs", {x})}), [](const Match& m) { return abs(m[0]); }),
      algebra(call("relu", {call("relu", {x})}), [](const Match& m) { return relu(m[0]); }),
      algebra(call("stop_gradient", {call("stop_gradient", {x})}),
              [](const Match& m) { return stop_gradient(m[0]); }),

      // Signs move outwards, where they meet and cancel.
      algebra(-(-x), first),
      algebra(
          number(0) - x, [](const Match& m) { return -m[0]; }, no_floats),
      algebra(x * number(-1), [](const Match& m) { return -m[0]; }),
      algebra(x / number(-1), [](const Match& m) { return -m[0]; }),
      algebra(x - -y, [](const Match& m) { return m[0] + m[1]; }),
      algebra(x + -y, [](const Match& m) { return m[0] - m[1]; }),
      algebra(
          -x - y, [](const Match& m) { return -(m[0] + m[1]); }, no_floats),
      algebra(
          -(x - y), [](const Match& m) { return m[1] - m[0]; }, no_floats),
      algebra(
          -once(x * c), [](const Match& m) { return m[0] * -m.value(2); }, all_floats),
      algebra(
          -once(x / c), [](const Match& m) { return m[0] / -m.value(2); }, all_floats),
      algebra(-x * y, [](const Match& m) { return -(m[0] * m[1]); }),
      algebra(-x / y, [](const Match& m) { return -(m[0] / m[1]); }),
      algebra(x / -y, [](const Match& m) { return -(m[0] / m[1]); }),
      algebra(
          x - once(y * c), [](const Match& m) { return m[0] + m[1] * -m.value(2); },
          [](const Match& m) { return m.is_float(0) && m.value(2) < 0; }),
      algebra(
          x + once(y * c), [](const Match& m) { return m[0] - m[1] * -m.value(2); },
          [](const Match& m) { return m.is_float(0) && m.value(2) < 0; }),

      // Scalar factors merge. An integer product may wrap, so that its factors stay.
      algebra((x * c) * d, [](const Match& m) { return m[0] * (m.value(2) * m.value(3)); },
              [](const Match& m) { return m.is_float(0) && ordinary(m, m.value(2) * m.value(3)); }),
      algebra((x * c) / d, [](const Match& m) { return m[0] * (m.value(2) / m.value(3)); },
              [](const Match& m) { return m.is_float(0) && ordinary(m, m.value(2) / m.value(3)); }),
      algebra((x / c) * d, [](const Match& m) { return m[0] * (m.value(3) / m.value(2)); },
              [](const Match& m) { return m.is_float(0) && ordinary(m, m.value(3) / m.value(2)); }),
      algebra((x / c) / d, [](const Match& m) { return m[0] / (m.value(2) * m.value(3)); },
              [](const Match& m) { return m.is_float(0) && ordinary(m, m.value(2) * m.value(3)); }),

      // Small powers. The root of -inf is inf as a power, that of -0 is 0; the square of 1 / x
      // neither over- nor underflows before its result does.
      algebra(call("pow", {x, number(2)}), [](const Match& m) { return m[0] * m[0]; }),
      algebra(call("pow", {x, number(3)}), [](const Match& m) { return m[0] * m[0] * m[0]; }),
      algebra(call("pow", {x, number(0.5)}),
              [](const Match& m) { return where(lowest(m[0]), inf, sqrt(m[0] + 0)); }),
      algebra(call("pow", {x, number(-1)}), [](const Match& m) { return 1 / m[0]; }),
      algebra(call("pow", {x, number(-0.5)}),
              [](const Match& m) { return where(lowest(m[0]), 0, 1 / sqrt(m[0] + 0)); }),
      algebra(call("pow", {x, number(-2)}), [](const Match& m) { return square(1 / m[0]); }),

      {"cast", same_cast},
      {"cast", nested_cast},
  };
  for (const char* op : {"abs", "exp", "sigmoid", "softplus", "cos"}) {
    rules.push_back({op, of_negated_difference});
  }
  for (Rule& rule : view_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : product_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : reduction_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : mean_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : window_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : join_rules()) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace

std::span<const Rule> canonical_rules() {
  static const auto& rules = *new std::vector<Rule>(canonicalize_rules());  // never destroyed
  return rules;
}

bool canonicalize(Graph& graph) { return rewrite(graph, "canonicalize", canonical_rules()); }

}  // namespace kroton
