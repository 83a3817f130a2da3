// The part of canonicalize about products of views: transposes become flags of the product, and
// axes of batches that are merged for it, or divided after it, are those of what it is made of.
#include <algorithm>
#include <array>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

bool swaps_last_two(const std::vector<int>& axes) {
  const int last = static_cast<int>(axes.size()) - 1;
  if (last < 1) return false;
  for (int axis = 0; axis < last - 1; ++axis) {
    if (axes[static_cast<std::size_t>(axis)] != axis) return false;
  }
  return axes[static_cast<std::size_t>(last) - 1] == last &&
         axes[static_cast<std::size_t>(last)] == last - 1;
}

Vertex add_dot(Graph& graph, Vertex x, Vertex y, bool transpose_x, bool transpose_y,
               SourceLine line) {
  return graph.add(dot_op, {x, y}, DotView(transpose_x, transpose_y).attributes(), line);
}

bool reads_transposed(const Graph& graph, Vertex dot, std::size_t k) {
  const DotView view(graph[dot].attributes);
  return k == 0 ? view.transposes_a : view.transposes_b;
}

Result dot_of_transpose(Graph& graph, Vertex v) {
  std::vector<Vertex> operands = graph.operands(v);
  std::array<bool, 2> flags{reads_transposed(graph, v, 0), reads_transposed(graph, v, 1)};
  bool found = false;
  for (std::size_t k = 0; k < 2; ++k) {
    if (graph[operands[k]].op != &transpose_op ||
        !swaps_last_two(graph[operands[k]].attributes.axes)) {
      continue;
    }
    operands[k] = graph.operand(operands[k], 0);
    flags[k] = !flags[k];
    found = true;
  }
  if (!found) return std::nullopt;
  return add_dot(graph, operands[0], operands[1], flags[0], flags[1], graph[v].line);
}

Result transpose_of_dot(Graph& graph, Vertex v) {
  const Vertex dot = graph.operand(v, 0);
  if (graph[dot].op != &dot_op || graph.use_count(dot) > 1 ||
      !swaps_last_two(graph[v].attributes.axes)) {
    return std::nullopt;
  }
  return add_dot(graph, graph.operand(dot, 1), graph.operand(dot, 0),
                 !reads_transposed(graph, dot, 1), !reads_transposed(graph, dot, 0),
                 graph[dot].line);
}

// What divides the axes of batches of a product again divides those of its operands, which may have
// been merged for it. What is done to the product then is done to it as it is, and not to a view.
Result reshape_of_dot(Graph& graph, Vertex v) {
  const Vertex dot = graph.operand(v, 0);
  if (graph[dot].op != &dot_op || graph.use_count(dot) > 1 || rank(graph, dot) < 3 ||
      rank(graph, v) <= rank(graph, dot)) {
    return std::nullopt;
  }
  const Dims &from = shape(graph, dot), &to = shape(graph, v);
  const Dims batch(to.begin(), to.end() - 2);
  if (unit_mapping(from, to) || !std::equal(from.end() - 2, from.end(), to.end() - 2) ||
      element_count(batch) != element_count({from.begin(), from.end() - 2})) {
    return std::nullopt;
  }
  std::vector<Vertex> operands = graph.operands(dot);
  for (Vertex& operand : operands) {
    Dims divided = batch;
    const Dims& whole = shape(graph, operand);
    divided.insert(divided.end(), whole.end() - 2, whole.end());
    operand = add_reshape(graph, operand, divided, graph[v].line);
  }
  return add_dot(graph, operands[0], operands[1], reads_transposed(graph, dot, 0),
                 reads_transposed(graph, dot, 1), graph[dot].line);
}

// Of operands whose axes of batches have been merged alike: so have the product's. Elementwise work
// stays with the product.
Result dot_of_reshapes(Graph& graph, Vertex v) {
  const std::vector<Vertex> users = graph.users(v);
  const bool is_worked_on = std::any_of(users.begin(), users.end(), [&](Vertex user) {
    return graph[user].op->kind == OpKind::elementwise;
  });
  if (is_worked_on) return std::nullopt;
  std::vector<Vertex> operands = graph.operands(v);
  std::optional<Dims> batch;
  for (Vertex& operand : operands) {
    if (graph[operand].op != &reshape_op) return std::nullopt;
    const Vertex x = graph.operand(operand, 0);
    const Dims &from = shape(graph, x), &to = shape(graph, operand);
    if (from.size() <= to.size() || unit_mapping(from, to) ||
        !std::equal(from.end() - 2, from.end(), to.end() - 2)) {
      return std::nullopt;
    }
    const Dims axes(from.begin(), from.end() - 2);
    if (batch && *batch != axes) return std::nullopt;
    batch = axes;
    operand = x;
  }
  const Vertex dot = add_dot(graph, operands[0], operands[1], reads_transposed(graph, v, 0),
                             reads_transposed(graph, v, 1), graph[v].line);
  return add_reshape(graph, dot, shape(graph, v), graph[v].line);
}

}  // namespace

std::vector<Rule> product_rules() {
  return {
      {"transpose", transpose_of_dot},
      {"reshape", reshape_of_dot},
      {"dot", dot_of_transpose},
      {"dot", dot_of_reshapes},
  };
}

}  // namespace kroton
