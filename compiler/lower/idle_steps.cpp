#include "compiler/lower/idle_steps.h"

#include <algorithm>

#include "compiler/autodiff/sweep.h"
#include "compiler/fusion/fusion.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/scan_op.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

bool is_flag(const Tensor& tensor) {
  return tensor.dtype() == DType::boolean && tensor.rank() == 0;
}

bool is_true(const Tensor& tensor) {
  double value = 0;
  return literal_value(tensor, value) && value != 0;
}

// The expressions where the flag is true.
std::vector<Tensor> where_true(const std::vector<Tensor>& roots, const Tensor& flag) {
  const std::vector<Tensor> replaced =
      substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
        if (!same(t, flag)) return std::nullopt;
        return make_literal(1, DType::boolean, flag.line());
      });
  return simplified(replaced);
}

bool is_filled(Tensor tensor) {
  double value = 0;
  while (&tensor.node().op == &broadcast_op || &tensor.node().op == &reshape_op) {
    const Tensor operand = tensor.node().inputs[0];
    tensor = operand;
  }
  return literal_value(tensor, value);
}

// Whether the rows that a loop reads are flags of another one, which stay true once they are; and
// whether it reads them in that order.
std::optional<bool> rises(const Graph& graph, Vertex rows, std::int64_t stride) {
  rows = stored_source(graph, rows);
  if (!graph.is_op(rows, scan_stack_op)) return std::nullopt;
  const Attributes& loop = graph[graph.operand(rows, 0)].attributes;
  const int state = history_of(loop, graph[rows].attributes).state;
  if (state < 0) return std::nullopt;
  const Body& body = *loop.body;
  const auto at = static_cast<std::size_t>(state);
  const std::vector<Tensor> next =
      where_true(std::vector<Tensor>{body.results[at]}, body.parameters[at]);
  if (!is_true(next.front())) return std::nullopt;
  return is_backwards(graph[rows].attributes) == (stride < 0);
}

}  // namespace

History history_of(const Attributes& loop, const Attributes& stack) {
  const ScanView view(loop);
  for (int k = 0; k < view.states; ++k) {
    const auto at = static_cast<std::size_t>(k);
    if (same(stack.body->results[0], loop.body->results[at])) return {k, true};
    if (same(stack.body->results[0], loop.body->parameters[at])) return {k, false};
  }
  return {};
}

std::optional<IdleSteps> find_idle_steps(const Graph& graph, Vertex loop,
                                         const std::vector<Vertex>& stacks) {
  const Attributes& attributes = graph[loop].attributes;
  const ScanView view(attributes);
  const Body& body = *attributes.body;
  const auto states = static_cast<std::size_t>(view.states);
  for (std::size_t k = 0; k < states + static_cast<std::size_t>(view.rows); ++k) {
    const Tensor& flag = body.parameters[k];
    if (!is_flag(flag)) continue;
    IdleSteps found;
    found.flag = k;
    if (k >= states) {
      const std::optional<bool> to_the_end = rises(graph, graph.operand(loop, static_cast<int>(k)),
                                                   view.stride(static_cast<int>(k) - view.states));
      if (!to_the_end) continue;
      found.to_the_end = *to_the_end;
    }
    std::vector<Tensor> roots = body.results;
    for (const Vertex v : stacks) roots.push_back(graph[v].attributes.body->results[0]);
    const std::vector<Tensor> now = where_true(roots, flag);
    bool all = true;
    for (std::size_t state = 0; state < states; ++state) {
      all =
          all && (same(now[state], body.parameters[state]) || (state == k && is_true(now[state])));
    }
    for (std::size_t n = 0; n < stacks.size() && all; ++n) {
      const bool shows_state = history_of(attributes, graph[stacks[n]].attributes).state >= 0;
      all = shows_state || is_filled(now[states + n]);
      found.rows.push_back(shows_state ? Tensor() : now[states + n]);
    }
    if (all) return found;
  }
  return std::nullopt;
}

}  // namespace kroton
