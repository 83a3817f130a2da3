#include <kroton/ops.h>

#include <unordered_map>
#include <unordered_set>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/scan_op.h"
#include "compiler/passes/match.h"
#include "compiler/passes/merge_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

using NodeSet = std::unordered_set<const Node*>;

NodeSet reached_from(const std::vector<Tensor>& roots) {
  NodeSet reached;
  for (const Tensor& tensor : topological_order(roots)) reached.insert(&tensor.node());
  return reached;
}

// Products in a loop that read a matrix transposed which is the same in all steps: the kernel of a
// product reads its right operand row by row, so that is transposed once, before the loop.
class TransposesOnce {
 public:
  // Those from `first` on are the same in all steps.
  TransposesOnce(std::span<const Tensor> parameters, std::size_t first) {
    for (std::size_t k = first; k < parameters.size(); ++k) {
      positions_[&parameters[k].node()] = k;
    }
  }

  // A new parameter, and the position of the one that it is the transpose of.
  struct Added {
    Tensor parameter;
    std::size_t original = 0;
  };

  // Rewrites `roots` to read the new parameters.
  std::vector<Added> run(std::vector<Tensor>& roots) {
    // What is replaced is not looked into: products of products take further rounds.
    do {
      replaced_ = false;
      roots = substitute(roots, [&](const Tensor& tensor) { return replace(tensor); });
    } while (replaced_);
    return std::move(added_);
  }

 private:
  std::optional<Tensor> replace(const Tensor& tensor) {
    const Node& node = tensor.node();
    if (&node.op != &dot_op || !DotView(node.attributes).transposes_b) return std::nullopt;
    const auto found = positions_.find(&node.inputs[1].node());
    if (found == positions_.end()) return std::nullopt;
    replaced_ = true;
    const auto [known, is_new] = of_.try_emplace(found->second, added_.size());
    if (is_new) {
      const Tensor& matrix = node.inputs[1];
      added_.push_back({stand_in(swapaxes(matrix, -1, -2).type(), matrix.line()), found->second});
    }
    return make_node(dot_op, {node.inputs[0], added_[known->second].parameter},
                     DotView(DotView(node.attributes).transposes_a, false).attributes(), node.line);
  }

  std::unordered_map<const Node*, std::size_t> positions_;
  std::unordered_map<std::size_t, std::size_t> of_;  // in added_, by position
  std::vector<Added> added_;
  bool replaced_ = false;
};

// A loop with all that is wanted of it.
class ScanOptimizer {
 public:
  ScanOptimizer(Graph& graph, Vertex loop)
      : graph_(graph), loop_(loop), data_(graph[loop]), view_(data_.attributes) {}

  bool run() {
    find_needed();
    const Body& old = *data_.attributes.body;
    std::vector<Tensor> roots;
    for (std::size_t k = 0; k < needed_.size(); ++k) {
      if (needed_[k]) roots.push_back(old.results[k]);
    }
    const std::size_t states = roots.size();
    for (const Vertex v : stacks_) roots.push_back(graph_[v].attributes.body->results[0]);
    Graph inside(old.parameters, roots, {}, false);
    run_passes_in_loop(inside);
    std::vector<Tensor> now = inside.export_expressions(inside.outputs);
    std::vector<Vertex> operands = graph_.operands(loop_);
    std::vector<Tensor> parameters = old.parameters;
    const auto first_fixed =
        static_cast<std::size_t>(view_.states) + static_cast<std::size_t>(view_.rows);
    for (const auto& added : TransposesOnce(parameters, first_fixed).run(now)) {
      operands.push_back(graph_.build({operands[added.original]}, data_.line,
                                      [](auto value) { return swapaxes(value[0], -1, -2); }));
      parameters.push_back(added.parameter);
    }

    // The parameters that are left, with their operands.
    const NodeSet used = reached_from(now);
    Attributes attributes = data_.attributes;
    ScanView::set(attributes, view_.count, states, view_.truncate());
    Body body;
    std::vector<Vertex> kept;
    std::vector<int> position(needed_.size(), -1);
    for (int k = 0; k < static_cast<int>(operands.size()); ++k) {
      const auto at = static_cast<std::size_t>(k);
      const bool is_state = k < view_.states;
      if (is_state ? !needed_[at] : !used.contains(&parameters[at].node())) continue;
      if (is_state) {
        position[at] = static_cast<int>(kept.size());
      } else if (const int row = k - view_.states; row < view_.rows) {
        ScanView::add_row(attributes, view_.offset(row), view_.stride(row));
      }
      kept.push_back(operands[at]);
      body.parameters.push_back(parameters[at]);
    }
    body.results.assign(now.begin(), now.begin() + static_cast<std::ptrdiff_t>(states));
    attributes.body = std::make_shared<const Body>(body);
    bool changed = !(attributes == data_.attributes);
    for (std::size_t k = 0; k < stacks_.size(); ++k) {
      changed = changed || !same(now[states + k], roots[states + k]);
    }
    if (!changed) return false;

    const Vertex made = graph_.add(scan_op, kept, attributes, data_.line);
    for (const Vertex v : lasts_) {
      Attributes last = graph_[v].attributes;
      set_last(last, position[static_cast<std::size_t>(result_number(last))],
               static_cast<int>(states));
      graph_.replace(v, graph_.add(scan_last_op, {made}, std::move(last), graph_[v].line));
    }
    for (std::size_t k = 0; k < stacks_.size(); ++k) {
      const Vertex v = stacks_[k];
      Attributes stack = graph_[v].attributes;
      stack.body = std::make_shared<const Body>(Body{body.parameters, {now[states + k]}});
      graph_.replace(v, graph_.add(scan_stack_op, {made}, std::move(stack), graph_[v].line));
    }
    return true;
  }

 private:
  // The states that some result depends on.
  void find_needed() {
    const Body& body = *data_.attributes.body;
    needed_.assign(static_cast<std::size_t>(view_.states), false);
    std::vector<Tensor> pending;
    for (const Vertex v : graph_.users(loop_)) {
      if (graph_[v].op == &scan_last_op) {
        lasts_.push_back(v);
        pending.push_back(
            body.parameters[static_cast<std::size_t>(result_number(graph_[v].attributes))]);
      } else {
        stacks_.push_back(v);
        pending.push_back(graph_[v].attributes.body->results[0]);
      }
    }
    for (bool more = true; more;) {
      more = false;
      const NodeSet reached = reached_from(pending);
      for (std::size_t k = 0; k < needed_.size(); ++k) {
        if (needed_[k] || !reached.contains(&body.parameters[k].node())) continue;
        needed_[k] = more = true;
        pending.push_back(body.results[k]);
      }
    }
  }

  Graph& graph_;
  Vertex loop_;
  const VertexData data_;
  const ScanView view_;
  std::vector<Vertex> lasts_, stacks_;
  std::vector<bool> needed_;  // by state
};

}  // namespace

bool optimize_scans(Graph& graph) {
  bool changed = merge_loops(graph);
  for (const Vertex v : graph.topological_order()) {
    if (graph[v].op == &scan_op && !graph.is_dead(v)) changed |= ScanOptimizer(graph, v).run();
  }
  return changed;
}

}  // namespace kroton
