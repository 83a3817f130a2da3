#include "compiler/autodiff/forward_sweep.h"

#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/autodiff/sweep.h"
#include "compiler/ir/leaf.h"

namespace kroton {
namespace {

using Tensors = std::vector<Tensor>;

bool any(std::span<const Tensor> tangents) {
  return std::any_of(tangents.begin(), tangents.end(), [](const Tensor& t) { return bool(t); });
}

Tensor total_of(const Tensor& a, const Tensor& b) {
  if (!a) return b;
  return b ? add(a, b) : a;
}

// A stand-in for a cotangent of the expression.
Tensor cotangent_of(const Tensor& tensor) { return make_input("g", tensor.type(), tensor.line()); }

Tensor node_on(const Node& node, Tensors operands) {
  return make_node(node.op, std::move(operands), node.attributes, node.line);
}

Tensor by_derivatives(const Tensor& y, std::span<const Tensor> tangents) {
  const Node& node = y.node();
  Tensor total;
  for (std::size_t k = 0; k < tangents.size(); ++k) {
    if (!tangents[k]) continue;
    total = total_of(total, node.op.elementwise.derivatives(y, node.inputs, tangents[k])[k]);
  }
  return total;
}

// Linear in all operands together: of the operands that do not change the tangents are zeros.
Tensor by_the_op(const Node& node, std::span<const Tensor> tangents) {
  Tensors operands = node.inputs;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    if (!is_float(operands[k].dtype())) continue;
    operands[k] = tangents[k] ? tangents[k] : zeros_like(operands[k]);
  }
  return node_on(node, std::move(operands));
}

Tensor one_at_a_time(const Node& node, std::span<const Tensor> tangents) {
  Tensor total;
  for (std::size_t k = 0; k < tangents.size(); ++k) {
    if (!tangents[k]) continue;
    Tensors operands = node.inputs;
    operands[k] = tangents[k];
    total = total_of(total, node_on(node, std::move(operands)));
  }
  return total;
}

// By cotangents of results, which are linear in the stand-ins that they are made of.
Tensors by_transposing(const Node& node, std::span<const Tensor> cotangents,
                       std::span<const Tensor> stand_ins, std::span<const Tensor> tangents) {
  Cotangents images;
  for (std::size_t k = 0; k < tangents.size(); ++k) {
    if (bool(tangents[k]) && bool(cotangents[k])) images.emplace_back(cotangents[k], tangents[k]);
  }
  Tensors result = sweep(images, stand_ins);
  if (depends_on(result, stand_ins)) {
    throw ValueError(std::string(node.op.name) +
                     ": a tangent goes through it, and its gradient is not linear in the "
                     "cotangents, so that no forward rule follows from it  [" +
                     to_string(node.line) + "]");
  }
  return result;
}

Tensor tangent_of(const Tensor& y, std::span<const Tensor> tangents) {
  const Node& node = y.node();
  const OpRecord& op = node.op;
  if (op.jvp != nullptr) return op.jvp(y, tangents);
  if (op.elementwise.derivatives != nullptr) return by_derivatives(y, tangents);
  switch (op.linear) {
    case Linear::jointly:
      return by_the_op(node, tangents);
    case Linear::each:
      return one_at_a_time(node, tangents);
    case Linear::no:
      break;
  }
  if (op.vjp == nullptr) return Tensor();  // no gradient, no tangent
  const Tensor g = cotangent_of(y);
  return by_transposing(node, op.vjp(y, g), {&g, 1}, tangents).front();
}

Tensor tangent_of_branch(const Node& node, std::span<const Tensor> tangents) {
  Tensors sides;
  for (const std::size_t k : {std::size_t{1}, std::size_t{2}}) {
    sides.push_back(tangents[k] ? tangents[k] : zeros_like(node.inputs[k]));
  }
  return node_on(node, {node.inputs[0], sides[0], sides[1]});
}

// Of a scan or a call: the tangents of some of its results, which are floating.
Tensors tangents_of_results(const Tensor& tensor, std::span<const Tensor> results,
                            std::span<const Tensor> tangents) {
  const Node& node = tensor.node();
  if (node.op.jvp_results != nullptr) return node.op.jvp_results(tensor, results, tangents);
  Cotangents cotangents;
  Tensors stand_ins;
  for (const Tensor& result : results) {
    stand_ins.push_back(cotangent_of(result));
    cotangents.emplace_back(result, stand_ins.back());
  }
  std::vector<bool> wanted;
  for (const Tensor& tangent : tangents) wanted.push_back(bool(tangent));
  return by_transposing(node, node.op.vjp_results(tensor, cotangents, wanted), stand_ins, tangents);
}

// A rule must give a tangent of its result's type; sizes may have different forms.
void check_rule(const Tensor& y, const Tensor& tangent) {
  bool fits = tangent.dtype() == y.dtype() && tangent.rank() == y.rank();
  for (int axis = 0; fits && axis < y.rank(); ++axis) {
    const Dim &a = tangent.shape(axis), &b = y.shape(axis);
    fits = !a.is_constant() || !b.is_constant() || a == b;
  }
  if (!fits) {
    throw InternalError(std::string(y.node().op.name) + ": its forward rule gives a tangent " +
                        to_string(tangent.type()) + ", expected " + to_string(y.type()) + "  [" +
                        to_string(y.line()) + "]");
  }
}

}  // namespace

std::vector<Tensor> forward_sweep(const Tangents& seeds, std::span<const Tensor> roots) {
  const Tensors order = topological_order(roots);
  std::unordered_map<const Node*, Tensor> tangents;
  const auto of = [&](const Tensor& tensor) {
    const auto found = tangents.find(&tensor.node());
    return found == tangents.end() ? Tensor() : found->second;
  };
  std::unordered_map<const Node*, Tensor> given;
  for (const auto& [tensor, tangent] : seeds) {
    Tensor& at = given[&tensor.node()];
    at = total_of(at, tangent);
  }
  std::unordered_map<const Node*, Tensors> results;  // of scans and calls
  for (const Tensor& tensor : order) {
    if (tensor.node().op.kind != OpKind::result || !is_float(tensor.dtype())) continue;
    results[&tensor.node().inputs[0].node()].push_back(tensor);
  }
  const auto arrive = [&](const Tensor& tensor, const Tensor& tangent) {
    if (!tangent) return;
    check_rule(tensor, tangent);
    tangents.insert_or_assign(&tensor.node(), tangent);
  };
  for (const Tensor& tensor : order) {
    const Node& node = tensor.node();
    const LineScope scope(node.line, "");
    Tensors arriving;
    for (const Tensor& input : node.inputs) arriving.push_back(of(input));
    if (any(arriving)) {
      if (node.op.vjp_results != nullptr) {
        const auto wanted = results.find(&node);
        if (wanted != results.end()) {
          const Tensors got = tangents_of_results(tensor, wanted->second, arriving);
          for (std::size_t k = 0; k < got.size(); ++k) arrive(wanted->second[k], got[k]);
        }
      } else if (is_float(tensor.dtype())) {
        arrive(tensor, node.op.kind == OpKind::branch ? tangent_of_branch(node, arriving)
                                                      : tangent_of(tensor, arriving));
      }
    }
    const auto seed = given.find(&node);
    if (seed != given.end()) arrive(tensor, total_of(of(tensor), seed->second));
  }
  Tensors result;
  for (const Tensor& root : roots) result.push_back(of(root));
  return result;
}

bool depends_on(std::span<const Tensor> expressions, std::span<const Tensor> leaves) {
  Tensors given;
  for (const Tensor& expression : expressions) {
    if (expression) given.push_back(expression);
  }
  const Tensors order = topological_order(given);
  return std::any_of(leaves.begin(), leaves.end(), [&](const Tensor& leaf) {
    return std::any_of(order.begin(), order.end(),
                       [&](const Tensor& tensor) { return same(tensor, leaf); });
  });
}

}  // namespace kroton
