// The reverse sweep: cotangents flow from the outputs to the inputs, through the vjp rules of the
// op records. Iterative; the order of additions follows the topological order. What is computed for
// one branch of an ifelse only is used under its condition only, as the branch itself.
#include "compiler/autodiff/sweep.h"

#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>
#include <unordered_set>

#include "compiler/autodiff/branch_paths.h"
#include "compiler/ir/leaf.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

using NodeSet = std::unordered_set<const Node*>;

// Whether cotangents of the node become some of its inputs.
bool passes_on(const Node& node) {
  const OpRecord& op = node.op;
  return op.vjp != nullptr || op.vjp_results != nullptr || op.kind == OpKind::result ||
         op.kind == OpKind::branch;
}

// The nodes of `order` whose value changes with one of `wrt`, as far as derivatives tell.
NodeSet dependents(const std::vector<Tensor>& order, const NodeSet& wrt) {
  NodeSet result;
  for (const Tensor& tensor : order) {
    const Node& node = tensor.node();
    bool depends = wrt.contains(&node);
    for (std::size_t k = 0; passes_on(node) && k < node.inputs.size() && !depends; ++k) {
      depends = result.contains(&node.inputs[k].node());
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

}  // namespace

std::vector<Tensor> sweep(const Cotangents& seeds, std::span<const Tensor> wrt) {
  std::vector<Tensor> roots;
  for (const auto& [tensor, cotangent] : seeds) roots.push_back(tensor);
  const std::vector<Tensor> order = topological_order(roots);
  NodeSet wanted;
  for (const Tensor& tensor : wrt) wanted.insert(&tensor.node());
  const NodeSet depends = dependents(order, wanted);
  const BranchPaths paths(order, roots);

  std::unordered_map<const Node*, std::vector<BranchCotangent>> arrived;
  const auto accumulate = [&](const Tensor& tensor, const BranchPaths::Path& path,
                              const Tensor& cotangent) {
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
    const LineScope scope(tensor.line(), "");
    accumulate(tensor, {}, cotangent);
  }
  // The cotangents of the results of a loop or a call wait until all have been seen.
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
    if (node.op.vjp_results != nullptr) {
      const auto results = of_results.find(&node);
      if (results == of_results.end()) continue;
      const LineScope scope(node.line, "");
      std::vector<bool> asked;
      for (const Tensor& input : node.inputs) asked.push_back(depends.contains(&input.node()));
      distribute(node, node.op.vjp_results(*tensor, results->second, asked));
      continue;
    }
    const auto found = arrived.find(&node);
    if (found != arrived.end() && node.op.kind == OpKind::result && depends.contains(&node)) {
      const LineScope scope(node.line, "");
      of_results[&node.inputs[0].node()].emplace_back(
          *tensor,
          paths.sum(node.inputs[0].node(), {{paths.of(node), paths.sum(node, found->second)}}));
      continue;
    }
    const bool branches = node.op.kind == OpKind::branch;
    if (found == arrived.end() || !passes_on(node) || !depends.contains(&node)) continue;
    const LineScope scope(node.line, "");
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
    const LineScope scope(tensor.line(), "");
    result.push_back(found == arrived.end() ? Tensor() : paths.sum(found->second));
  }
  return result;
}

std::vector<Tensor> simplified(std::span<const Tensor> roots) {
  Graph graph({}, roots, {}, false);
  run_passes_before_gradient(graph);
  return graph.export_expressions(graph.outputs);
}

Tensor Cut::add(const Tensor& at) {
  const auto [known, is_new] = stand_ins_.try_emplace(&at.node());
  if (is_new) {
    known->second = make_input(at.name(), at.type(), at.line());
    originals_.emplace(&known->second.node(), at);
  }
  return known->second;
}

std::vector<Tensor> Cut::apply(std::span<const Tensor> roots) const {
  if (stand_ins_.empty()) return {roots.begin(), roots.end()};
  return substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
    const auto found = stand_ins_.find(&t.node());
    return found == stand_ins_.end() ? std::nullopt : std::optional(found->second);
  });
}

Tensor Cut::apply_below(const Tensor& root) const {
  const Node& node = root.node();
  if (!contains(root)) return apply(std::span(&root, 1)).front();
  if (node.inputs.empty()) return root;
  const LineScope scope(node.line, "");
  return make_node(node.op, apply(node.inputs), node.attributes, node.line);
}

std::vector<Tensor> Cut::undo(std::vector<Tensor> results) const {
  if (originals_.empty()) return results;
  std::vector<Tensor> roots;
  for (const Tensor& tensor : results) {
    if (tensor) roots.push_back(tensor);
  }
  roots = substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
    const auto found = originals_.find(&t.node());
    return found == originals_.end() ? std::nullopt : std::optional(found->second);
  });
  std::size_t next = 0;
  for (Tensor& tensor : results) {
    if (tensor) tensor = roots[next++];
  }
  return results;
}

}  // namespace kroton
