// The gradient of a loop: a loop from the last step to the first, whose states are the cotangents
// of the loop's states. Of the values of the steps it reads those that are costly to compute again,
// as further results of the loop or computed from those for all steps at once, and computes the
// cheap ones anew.
#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/autodiff/branch_paths.h"
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

// Work of one element up to which a value is computed again instead of being kept.
constexpr int cheap = 4;

class ScanGradient {
 public:
  ScanGradient(const Tensor& loop, std::span<const std::pair<Tensor, Tensor>> results,
               const std::vector<bool>& wanted)
      : loop_(loop), node_(loop.node()), view_(node_.attributes), wanted_(wanted) {
    const Dim& count = view_.count;
    // All steps but those that the gradient is cut off from.
    count_ = view_.truncate() < 0 ? count : minimum(count, view_.truncate());
    for (const Tensor& tensor : topological_order(node_.attributes.body->results)) {
      feedback_.insert(&tensor.node());
    }
    active_ = active_states(loop, wanted);
    seed(results);
  }

  std::vector<Tensor> run() {
    std::vector<Tensor> gradients(node_.inputs.size());
    if (outputs_.empty()) return gradients;
    std::vector<Tensor> wrt;
    std::vector<std::size_t> positions;
    for (std::size_t k = 0; k < node_.inputs.size(); ++k) {
      const bool state = k < static_cast<std::size_t>(view_.states);
      if (state ? !active_[k] : !wanted_[k] || !is_float(node_.inputs[k].dtype())) continue;
      wrt.push_back(parameter(k));
      positions.push_back(k);
    }
    if (wrt.empty()) return gradients;
    std::vector<Tensor> flows = sweep(outputs_, wrt);
    for (std::size_t n = 0; n < wrt.size(); ++n) {
      const LineScope scope(wrt[n].line(), "");
      if (!flows[n]) flows[n] = zeros_like(wrt[n]);
    }
    flows = in_reverse(flows);

    ScanDefinition reverse;
    reverse.count = count_;
    reverse.line = node_.line;
    reverse.recomputes = view_.recomputes();
    reverse.rows = rows_;
    std::vector<ScanResult> results;
    for (std::size_t n = 0; n < wrt.size(); ++n) {
      const std::size_t k = positions[n];
      if (k < static_cast<std::size_t>(view_.states)) {
        reverse.states.push_back({arriving_[k], initial_[k], flows[n]});
        results.push_back({arriving_[k], Collect::last});
      } else if (k <
                 static_cast<std::size_t>(view_.states) + static_cast<std::size_t>(view_.rows)) {
        results.push_back({flows[n], Collect::stack_backwards});
      } else {
        results.push_back({flows[n], Collect::sum});
      }
    }
    const std::vector<Tensor> collected = make_scan(reverse, results);
    for (std::size_t n = 0; n < wrt.size(); ++n) {
      const std::size_t k = positions[n];
      if (k < static_cast<std::size_t>(view_.states)) {
        if (wanted_[k]) gradients[k] = of_initial(collected[n]);
      } else if (k <
                 static_cast<std::size_t>(view_.states) + static_cast<std::size_t>(view_.rows)) {
        gradients[k] = of_rows(k, collected[n]);
      } else {
        gradients[k] = collected[n];
      }
    }
    return gradients;
  }

 private:
  const Tensor& parameter(std::size_t k) const { return node_.attributes.body->parameters[k]; }
  const Tensor& next(std::size_t k) const { return node_.attributes.body->results[k]; }

  // The outputs of a step and their cotangents: the states' next values, whose cotangents are the
  // states of the reverse loop, and the stacked expressions, whose cotangents are its rows.
  void seed(std::span<const std::pair<Tensor, Tensor>> results) {
    const auto states = static_cast<std::size_t>(view_.states);
    arriving_.resize(states);
    initial_.resize(states);
    for (std::size_t k = 0; k < states; ++k) {
      if (!active_[k]) continue;
      const LineScope scope(next(k).line(), "");
      arriving_[k] = make_input("d_" + parameter(k).name(), parameter(k).type(), next(k).line());
      initial_[k] = zeros_like(node_.inputs[k]);
      outputs_.emplace_back(next(k), arriving_[k]);
    }
    for (const auto& [result, cotangent] : results) {
      const Attributes& attributes = result.node().attributes;
      if (&result.node().op == &scan_last_op) {
        const auto k = static_cast<std::size_t>(result_number(attributes));
        if (active_[k]) initial_[k] = cotangent;
        continue;
      }
      const Tensor& expression = attributes.body->results[0];
      if (!is_float(expression.dtype())) continue;
      outputs_.emplace_back(expression,
                            row(cotangent, expression.type(),
                                is_backwards(attributes) ? Dim(0) : view_.count - Dim(1),
                                is_backwards(attributes) ? 1 : -1));
    }
  }

  Tensor row(const Tensor& all, const TensorType& type, const Dim& offset, std::int64_t stride) {
    const Tensor parameter = make_input(all.name(), type, all.line());
    rows_.push_back({parameter, all, offset, stride});
    reverse_.insert(&parameter.node());
    return parameter;
  }

  // The expressions of a step on the parameters of the reverse loop: values that change with the
  // loop's states are kept from its run if they are costly.
  std::vector<Tensor> in_reverse(const std::vector<Tensor>& flows) {
    std::unordered_map<const Node*, Tensor> replacement;
    std::unordered_set<const Node*> of_states, backwards = reverse_;
    for (const Tensor& arriving : arriving_) {
      if (arriving) backwards.insert(&arriving.node());
    }
    for (int k = 0; k < static_cast<int>(node_.inputs.size()); ++k) {
      const auto at = static_cast<std::size_t>(k);
      if (k < view_.states) {
        of_states.insert(&parameter(at).node());
      } else if (k >= view_.states + view_.rows) {
        replacement[&parameter(at).node()] = node_.inputs[at];
      }
    }
    for (const Tensor& tensor : topological_order(flows)) {
      const Node* node = &tensor.node();
      for (const Tensor& input : node->inputs) {
        if (backwards.contains(&input.node())) backwards.insert(node);
        if (of_states.contains(&input.node())) of_states.insert(node);
      }
    }
    // What only a branch of the reverse step reads is only kept where the branch is taken.
    const BranchPaths paths(topological_order(flows), flows);
    return substitute(flows, [&](const Tensor& t) -> std::optional<Tensor> {
      const Node& node = t.node();
      if (backwards.contains(&node)) return std::nullopt;
      if (const auto known = replacement.find(&node); known != replacement.end()) {
        return known->second;
      }
      if (of_states.contains(&node)) {
        const bool is_leaf = node.op.kind == OpKind::leaf;
        const bool again = (view_.recomputes() && !is_leaf) || node.op.is_view ||
                           (node.op.has_points() && node.op.cost <= cheap);
        if (again) return std::nullopt;
        return replacement[&node] = row(in_all_steps(t, paths), t.type(), view_.count - Dim(1), -1);
      }
      for (int k = 0; k < view_.rows; ++k) {
        const auto at = static_cast<std::size_t>(view_.states) + static_cast<std::size_t>(k);
        if (&parameter(at).node() != &node) continue;
        const Dim last = view_.offset(k) + Dim(view_.stride(k)) * (view_.count - Dim(1));
        return replacement[&node] = row(node_.inputs[at], t.type(), last, -view_.stride(k));
      }
      return std::nullopt;
    });
  }

  // The values of all steps. Where no next state needs the value, and it is computed from one value
  // that a step keeps, the loop gives only that one.
  Tensor in_all_steps(const Tensor& tensor, const BranchPaths& paths) const {
    const LineScope scope(tensor.line(), "");
    if (!feedback_.contains(&tensor.node()) && paths.of(tensor.node()).empty()) {
      std::vector<Tensor> values;
      std::unordered_map<const Node*, Tensor> rows;
      const auto mapped = [&](const Tensor& value, const Tensor& all) {
        values.push_back(make_input(value.name(), value.type(), value.line()));
        rows.emplace(&values.back().node(), all);
        return values.back();
      };
      const Tensor one[] = {tensor};
      const std::vector<Tensor> expression =
          substitute(one, [&](const Tensor& t) -> std::optional<Tensor> {
            const auto& parameters = node_.attributes.body->parameters;
            const auto found = std::find_if(parameters.begin(), parameters.end(),
                                            [&](const Tensor& p) { return same(p, t); });
            const auto k = static_cast<int>(found - parameters.begin());
            if (found == parameters.end() || k < view_.states) {
              if (found == parameters.end() && !feedback_.contains(&t.node())) return std::nullopt;
              return mapped(t, scan_stack(loop_, t, false));
            }
            const Tensor& operand = node_.inputs[static_cast<std::size_t>(k)];
            const int row = k - view_.states;
            if (row >= view_.rows) return operand;
            return mapped(t, rows_of(operand, view_.offset(row), view_.stride(row), view_.count));
          });
      if (rows.size() == 1) {
        const std::optional<Batched> all = batch(expression.front(), rows, view_.count);
        if (all) return all->value;
      }
    }
    return scan_stack(loop_, paths.confined(tensor), false);
  }

  // Nothing arrives at the initial state when the gradient is cut off before the first step.
  Tensor of_initial(const Tensor& gradient) const {
    if (count_ == view_.count) return gradient;
    Attributes attributes;
    attributes.dtype = DType::i64;
    attributes.dims = {view_.count - count_};
    const Tensor cut = make_node(size_op, {}, std::move(attributes), node_.line);
    return where(eq(cut, 0), gradient, zeros_like(gradient));
  }

  // The rows of the steps at their places in the whole sequence, zeros elsewhere.
  Tensor of_rows(std::size_t k, Tensor gradient) const {
    const Tensor& all = node_.inputs[k];
    const int number = static_cast<int>(k) - view_.states;
    const Dim skipped = view_.count - count_;
    const Tensor used = rows_of(all, view_.offset(number) + Dim(view_.stride(number)) * skipped,
                                view_.stride(number), count_);
    return same(used, all) ? gradient : slice_op.vjp(used, gradient).front();
  }

  const Tensor& loop_;
  const Node& node_;
  const ScanView view_;
  const std::vector<bool>& wanted_;
  Dim count_;  // of steps that the gradient flows through
  std::vector<bool> active_;
  std::vector<Tensor> arriving_, initial_;  // by state: the reverse loop's state
  Cotangents outputs_;                      // of a step
  std::vector<ScanRows> rows_;
  std::unordered_set<const Node*> reverse_;   // the parameters of rows_
  std::unordered_set<const Node*> feedback_;  // what next values of states are computed by
};

}  // namespace

std::vector<bool> active_states(const Tensor& loop, const std::vector<bool>& wanted) {
  const Node& node = loop.node();
  const Body& body = *node.attributes.body;
  std::vector<bool> active(static_cast<std::size_t>(ScanView(node.attributes).states), false);
  std::unordered_set<const Node*> sources;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    if (wanted[k] && is_float(node.inputs[k].dtype())) sources.insert(&body.parameters[k].node());
  }
  for (bool more = true; more;) {
    more = false;
    std::unordered_set<const Node*> moved = sources;
    for (const Tensor& tensor : topological_order(body.results)) {
      for (const Tensor& input : tensor.node().inputs) {
        if (moved.contains(&input.node())) moved.insert(&tensor.node());
      }
    }
    for (std::size_t k = 0; k < active.size(); ++k) {
      const Node* parameter = &body.parameters[k].node();
      if (active[k] || !is_float(body.parameters[k].dtype())) continue;
      if (!moved.contains(&body.results[k].node()) && !sources.contains(parameter)) continue;
      active[k] = more = true;
      sources.insert(parameter);
    }
  }
  return active;
}

std::vector<Tensor> differentiate_scan(const Tensor& loop,
                                       std::span<const std::pair<Tensor, Tensor>> results,
                                       const std::vector<bool>& wanted) {
  return ScanGradient(loop, results, wanted).run();
}

}  // namespace kroton
