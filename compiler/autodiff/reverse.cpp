// The reverse sweep: cotangents flow from the outputs to the inputs, through the vjp rules of the
// op records. Iterative; the order of additions follows the topological order. What is computed for
// one branch of an ifelse only is used under its condition only, as the branch itself.
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>

#include <unordered_map>
#include <unordered_set>

#include "compiler/autodiff/branch_paths.h"
#include "compiler/ops/leaf.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

using NodeSet = std::unordered_set<const Node*>;
using Cotangents = std::vector<std::pair<Tensor, Tensor>>;  // expression, cotangent

std::string described(const Tensor& tensor) {
  return tensor.name() + " is " + to_string(tensor.type());
}

bool is_variable(const Tensor& tensor) {
  return &tensor.node().op == &input_op || &tensor.node().op == &shared_op;
}

NodeSet node_set(std::span<const Tensor> tensors) {
  NodeSet nodes;
  for (const Tensor& tensor : tensors) nodes.insert(&tensor.node());
  return nodes;
}

// The nodes of `order` whose value changes with one of `wrt`, other than through `constant`.
NodeSet dependents(const std::vector<Tensor>& order, const NodeSet& wrt, const NodeSet& constant) {
  NodeSet result;
  for (const Tensor& tensor : order) {
    const Node& node = tensor.node();
    bool depends = wrt.contains(&node);
    for (std::size_t k = 0; k < node.inputs.size() && !depends; ++k) {
      depends = !constant.contains(&node) && result.contains(&node.inputs[k].node());
    }
    if (depends) result.insert(&node);
  }
  return result;
}

// A rule must give a cotangent of its input's type; sizes may have different forms.
void check_rule(const Node& node, std::size_t k, const Tensor& cotangent) {
  const TensorType& expected = node.inputs[k].type();
  bool fits = cotangent.dtype() == expected.dtype && cotangent.rank() == expected.rank();
  for (int axis = 0; fits && axis < cotangent.rank(); ++axis) {
    const Dim& a = cotangent.shape(axis);
    const Dim& b = expected.shape[static_cast<std::size_t>(axis)];
    fits = !a.is_constant() || !b.is_constant() || a == b;
  }
  if (!fits) {
    throw InternalError(std::string(node.op.name) + ": the vjp rule gives input " +
                        std::to_string(k) + " a cotangent " + to_string(cotangent.type()) +
                        ", expected " + to_string(expected) + "  [" + to_string(node.line) + "]");
  }
}

// The cotangents of `wrt`, an empty Tensor where none arrives. Those of `fixed` are given and stay
// as they are; `seeds` add up with what arrives.
std::vector<Tensor> sweep(const Cotangents& seeds, const Cotangents& fixed,
                          std::span<const Tensor> wrt, std::span<const Tensor> constants) {
  std::vector<Tensor> roots;
  for (const auto& [tensor, cotangent] : seeds) roots.push_back(tensor);
  for (const auto& [tensor, cotangent] : fixed) roots.push_back(tensor);
  const std::vector<Tensor> order = topological_order(roots);
  const NodeSet wanted = node_set(wrt);
  const NodeSet constant = node_set(constants);
  const NodeSet depends = dependents(order, wanted, constant);

  const BranchPaths paths(order, roots);

  std::unordered_map<const Node*, std::vector<BranchCotangent>> arrived;
  NodeSet settled;
  for (const auto& [tensor, cotangent] : fixed) {
    arrived[&tensor.node()] = {{{}, cotangent}};
    settled.insert(&tensor.node());
  }
  const auto accumulate = [&](const Tensor& tensor, const BranchPaths::Path& path,
                              const Tensor& cotangent) {
    if (settled.contains(&tensor.node())) return;
    std::vector<BranchCotangent>& list = arrived[&tensor.node()];
    const auto known = std::find_if(list.begin(), list.end(),
                                    [&](const BranchCotangent& c) { return c.path == path; });
    if (known == list.end()) {
      list.push_back({path, cotangent});
    } else {
      known->value = add(known->value, cotangent);
    }
  };
  for (const auto& [tensor, cotangent] : seeds) {
    const LineScope scope(tensor.line());
    accumulate(tensor, {}, cotangent);
  }
  // The cotangents of a loop's results wait until all have been seen.
  std::unordered_map<const Node*, Cotangents> of_results;
  const auto distribute = [&](const Node& node, const std::vector<Tensor>& cotangents) {
    if (cotangents.size() != node.inputs.size()) {
      throw InternalError(std::string(node.op.name) + ": the vjp rule gives " +
                          std::to_string(cotangents.size()) + " cotangents for " +
                          std::to_string(node.inputs.size()) + " inputs  [" + to_string(node.line) +
                          "]");
    }
    for (std::size_t k = 0; k < cotangents.size(); ++k) {
      const Tensor& input = node.inputs[k];
      if (!cotangents[k] || !is_float(input.dtype()) || !depends.contains(&input.node())) continue;
      check_rule(node, k, cotangents[k]);
      accumulate(input, paths.of(node), cotangents[k]);
    }
  };
  for (auto tensor = order.rbegin(); tensor != order.rend(); ++tensor) {
    const Node& node = tensor->node();
    if (node.op.kind == OpKind::loop) {
      const auto results = of_results.find(&node);
      if (results == of_results.end()) continue;
      const LineScope scope(node.line);
      std::vector<bool> asked;
      for (const Tensor& input : node.inputs) asked.push_back(depends.contains(&input.node()));
      distribute(node, node.op.vjp_results(*tensor, results->second, asked));
      continue;
    }
    const auto found = arrived.find(&node);
    if (found != arrived.end() && node.op.kind == OpKind::result && !constant.contains(&node) &&
        depends.contains(&node)) {
      const LineScope scope(node.line);
      of_results[&node.inputs[0].node()].emplace_back(
          *tensor,
          paths.sum(node.inputs[0].node(), {{paths.of(node), paths.sum(node, found->second)}}));
      continue;
    }
    const bool branches = node.op.kind == OpKind::branch;
    if (found == arrived.end() || (node.op.vjp == nullptr && !branches) ||
        constant.contains(&node) || !depends.contains(&node)) {
      continue;
    }
    const LineScope scope(node.line);
    const Tensor cotangent = paths.sum(node, found->second);
    // Nothing reads it again, and a long chain of them need not all stay alive.
    if (!wanted.contains(&node)) arrived.erase(found);
    if (branches) {
      for (const std::size_t k : {std::size_t{1}, std::size_t{2}}) {
        const Tensor& value = node.inputs[k];
        if (!depends.contains(&value.node()) || !is_float(value.dtype())) continue;
        accumulate(value, paths.of_value(node, k == 1), cotangent);
      }
      continue;
    }
    distribute(node, node.op.vjp(*tensor, cotangent));
  }
  std::vector<Tensor> result;
  for (const Tensor& tensor : wrt) {
    const auto found = arrived.find(&tensor.node());
    const LineScope scope(tensor.line());
    result.push_back(found == arrived.end() ? Tensor() : paths.sum(found->second));
  }
  return result;
}

Tensor zeros_of(const Tensor& wrt) {
  const LineScope scope(wrt.line());
  return zeros_like(wrt);
}

// Errors name the line of the user's call, not that of an expression.
std::string place(const SourceLine& line) {
  return "  [" + to_string(LineScope::current().value_or(line)) + "]";
}

void check_given(const char* op, const char* what, const Tensor& tensor, const SourceLine& line) {
  if (tensor) return;
  throw ValueError(std::string(op) + ": " + what +
                   " is an empty Tensor: no expression has been assigned to it" + place(line));
}

void check_wrt(const char* op, const std::vector<Tensor>& wrt, const SourceLine& line) {
  for (const Tensor& tensor : wrt) {
    check_given(op, "wrt", tensor, line);
    if (!is_float(tensor.dtype())) {
      throw TypeError(std::string(op) + ": expected a floating wrt: " + described(tensor) +
                      place(line));
    }
  }
}

// A given cotangent has the type of its expression, as far as sizes are known.
void check_cotangent(const char* op, const Tensor& tensor, const Tensor& cotangent,
                     const SourceLine& line) {
  check_given(op, "an expression", tensor, line);
  check_given(op, "a cotangent", cotangent, line);
  const std::string mismatch = std::string(op) + ": expected a cotangent of the type of " +
                               described(tensor) + ", got " + to_string(cotangent.type()) +
                               place(line);
  if (!is_float(tensor.dtype()) || tensor.dtype() != cotangent.dtype()) throw TypeError(mismatch);
  bool fits = tensor.rank() == cotangent.rank();
  for (int axis = 0; fits && axis < tensor.rank(); ++axis) {
    const Dim difference = tensor.shape(axis) - cotangent.shape(axis);
    fits = !difference.is_constant() || difference.is_constant(0);
  }
  if (!fits) throw ShapeError(mismatch);
}

void check_cost(const Tensor& cost, const SourceLine& line) {
  if (!is_float(cost.dtype())) {
    throw TypeError("grad: expected a floating cost: " + described(cost) + place(line));
  }
  if (cost.rank() != 0) {
    throw ShapeError("grad: expected a scalar cost: " + described(cost) + place(line));
  }
}

// Stable forms are differentiated: the derivative of log(softmax(x)) as it is written would divide
// by the softmax. The leaves stay the user's own.
Tensor simplified(const Tensor& cost) {
  Graph graph({}, std::span(&cost, 1), {}, false);
  run_passes_before_gradient(graph);
  return graph.export_expressions(graph.outputs).front();
}

}  // namespace

std::vector<Tensor> grad(const Operand& given_cost, const std::vector<Tensor>& wrt,
                         const GradOptions& options) {
  const SourceLine line = given_cost.line();
  const Tensor cost = given_cost.is_empty() ? Tensor() : given_cost.tensor();
  check_wrt("grad", wrt, line);
  for (const Tensor& tensor : options.consider_constant) {
    check_given("grad", "a constant", tensor, line);
  }
  if (cost) {
    check_cost(cost, line);
  } else if (options.known_grads.empty()) {
    throw ValueError("grad: the cost is an empty Tensor, and there are no known gradients" +
                     place(line));
  }
  std::vector<Tensor> roots;
  if (cost) roots.push_back(cost);
  for (const auto& [tensor, cotangent] : options.known_grads) {
    check_cotangent("grad", tensor, cotangent, line);
    roots.push_back(tensor);
  }
  if (!options.allow_unused) {
    const NodeSet reached = node_set(topological_order(roots));
    for (const Tensor& tensor : wrt) {
      if (reached.contains(&tensor.node())) continue;
      throw ValueError("grad: the cost does not depend on " + tensor.name() + ", " +
                       to_string(tensor.type()) + place(line));
    }
  }

  Cotangents seeds;
  if (cost) {
    // Options and a `wrt` that is no variable speak of expressions that simplifying may remove.
    bool keeps_all = options.known_grads.empty() && options.consider_constant.empty();
    for (const Tensor& tensor : wrt) keeps_all = keeps_all && is_variable(tensor);
    const Tensor start = keeps_all ? simplified(cost) : cost;
    seeds.emplace_back(start, make_literal(1.0, cost.dtype(), cost.line()));
  }
  std::vector<Tensor> result = sweep(seeds, options.known_grads, wrt, options.consider_constant);
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    if (!result[k]) result[k] = zeros_of(wrt[k]);
  }
  return result;
}

Tensor grad(const Operand& cost, const Tensor& wrt, const GradOptions& options) {
  return grad(cost, std::vector<Tensor>{wrt}, options).front();
}

std::vector<Tensor> vjp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& cotangents, const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  check_wrt("vjp", wrt, line);
  if (outputs.size() != cotangents.size()) {
    throw ValueError("vjp: expected one cotangent for each of " + std::to_string(outputs.size()) +
                     " outputs, got " + std::to_string(cotangents.size()) + place(line));
  }
  Cotangents seeds;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    check_cotangent("vjp", outputs[k], cotangents[k], line);
    seeds.emplace_back(outputs[k], cotangents[k]);
  }
  std::vector<Tensor> result = sweep(seeds, {}, wrt, {});
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    if (!result[k]) result[k] = zeros_of(wrt[k]);
  }
  return result;
}

}  // namespace kroton
