#include "compiler/scan/batch.h"

#include <algorithm>
#include <unordered_set>

#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

using Mapped = std::unordered_map<const Node*, Tensor>;

// Iterative: the body of a loop may be deep.
class Batcher {
 public:
  Batcher(const Mapped& mapped, const Dim& count) : mapped_(mapped), count_(count) {
    for (const auto& [node, rows] : mapped) {
      if (rows.rank() != node->type.rank() + 1 || rows.dtype() != node->type.dtype) {
        throw InternalError("batch: the rows of " + to_string(node->type) + " are " +
                            to_string(rows.type()) + "  [" + to_string(node->line) + "]");
      }
      done_.emplace(node, Batched{rows, true});
    }
  }

  std::optional<Batched> run(const Tensor& expression) {
    visit(expression);
    while (!stack_.empty()) {
      Visit& top = stack_.back();
      const Node& node = top.tensor.node();
      if (top.next < node.inputs.size()) {
        visit(node.inputs[top.next++]);
        continue;
      }
      if (top.expansion) {
        finish(done_.at(&top.expansion.node()));
        continue;
      }
      std::optional<Batched> result = apply(top.tensor);
      if (!result && node.op.expand != nullptr && has_all_operands(node)) {
        const LineScope scope(node.line);
        const Tensor expansion = node.op.expand(node.inputs, node.attributes);
        expansions_.push_back(expansion);
        top.expansion = expansion;
        visit(expansion);
        continue;
      }
      finish(std::move(result));
    }
    return done_.at(&expression.node());
  }

  std::optional<Tensor> sum(const Tensor& root) {
    if (!run(root)) return std::nullopt;
    std::unordered_map<const Node*, Tensor> sums;
    struct Term {
      Tensor tensor;
      std::vector<std::size_t> operands;
      std::size_t next = 0;
    };
    std::vector<Term> stack;
    const auto visit_term = [&](const Tensor& tensor) {
      const Node& node = tensor.node();
      if (sums.contains(&node)) return;
      const Batched& batched = *done_.at(&node);
      const bool given = !batched.mapped || mapped_.contains(&node);
      std::vector<std::size_t> operands =
          given ? std::vector<std::size_t>() : summed_operands(node);
      if (operands.empty()) {
        sums.emplace(&node, sum_of(tensor, batched));
      } else {
        stack.push_back({tensor, std::move(operands)});
      }
    };
    visit_term(root);
    while (!stack.empty()) {
      Term& top = stack.back();
      const Node& node = top.tensor.node();
      if (top.next < top.operands.size()) {
        visit_term(node.inputs[top.operands[top.next++]]);
        continue;
      }
      std::vector<Tensor> inputs = node.inputs;
      for (const std::size_t k : top.operands) inputs[k] = sums.at(&inputs[k].node());
      const LineScope scope(node.line);
      sums.emplace(&node, ops::apply(node.op, std::move(inputs), node.attributes));
      stack.pop_back();
    }
    return sums.at(&root.node());
  }

 private:
  struct Visit {
    Tensor tensor;
    std::size_t next = 0;   // the input to look at next
    Tensor expansion = {};  // what gives the result of a composite that has no rule
  };

  // The operands whose sums over the rows give the node's, by the op itself, with less work than
  // adding its rows up; none if there are none.
  std::vector<std::size_t> summed_operands(const Node& node) const {
    std::vector<std::size_t> varying;
    bool gains = false;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const Node* input = &node.inputs[k].node();
      if (done_.at(input)->mapped) varying.push_back(k);
      gains = gains || gains_.contains(input);
    }
    const OpRecord* op = &node.op;
    if (gains && (op == &add_op || op == &sub_op)) return {0, 1};
    if (varying.size() != 1) return {};
    const bool linear = op == &neg_op || op == &sum_op || op == &reshape_op ||
                        op == &transpose_op || op == &slice_op ||
                        (op == &take_op && varying[0] == 0);
    return enlarges(*op, varying[0]) || (gains && linear) ? varying : std::vector<std::size_t>();
  }

  // Linear in operand k, which is smaller than the result or less work to add up.
  static bool enlarges(const OpRecord& op, std::size_t k) {
    return &op == &dot_op || &op == &broadcast_op || &op == &unslice_op ||
           (&op == &scatter_add_op && k == 0);
  }

  // Whether adding up the rows of what the node is made of is less work than adding up its own.
  bool has_cheaper_sum(const Node& node) const {
    return &node.op == &dot_op || &node.op == &scatter_add_op || !summed_operands(node).empty();
  }

  Tensor sum_of(const Tensor& expression, const Batched& batched) const {
    const Node& node = expression.node();
    const LineScope scope(node.line);
    if (!batched.mapped) return expression * size_of_dim(count_, expression.dtype());
    if (&node.op == &scatter_add_op && !mapped_.contains(&node)) return sum_of_scatter(node);
    return cast(kroton::sum(batched.value, 0), expression.dtype());
  }

  Tensor sum_of_scatter(const Node& node) const {
    std::vector<Tensor> operands;
    std::vector<bool> mapped;
    for (const Tensor& input : node.inputs) {
      operands.push_back(done_.at(&input.node())->value);
      mapped.push_back(done_.at(&input.node())->mapped);
    }
    operands = ops::with_rows(operands, mapped, count_);
    // (count, axes before, i..., axes behind) -> (axes before, count, i..., axes behind)
    operands[0] = ops::move_axis(operands[0], 0, node.attributes.axes[0]);
    return ops::apply(scatter_add_op, operands, node.attributes);
  }

  void visit(const Tensor& tensor) {
    if (!done_.contains(&tensor.node())) stack_.push_back({tensor});
  }

  void finish(std::optional<Batched> result) {
    const Node& node = stack_.back().tensor.node();
    if (result && result->mapped && has_cheaper_sum(node)) gains_.insert(&node);
    done_.insert_or_assign(&node, std::move(result));
    stack_.pop_back();
  }

  bool has_all_operands(const Node& node) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](const Tensor& input) { return done_.at(&input.node()).has_value(); });
  }

  // The op on its batched operands; nullopt if one has none, or there is no rule.
  std::optional<Batched> apply(const Tensor& tensor) const {
    const Node& node = tensor.node();
    if (!has_all_operands(node)) return std::nullopt;
    std::vector<Tensor> operands;
    std::vector<bool> mapped;
    for (const Tensor& input : node.inputs) {
      const Batched& batched = *done_.at(&input.node());
      operands.push_back(batched.value);
      mapped.push_back(batched.mapped);
    }
    if (std::find(mapped.begin(), mapped.end(), true) == mapped.end()) {
      return Batched{tensor, false};
    }
    if (node.op.batch == nullptr) return std::nullopt;
    const LineScope scope(node.line);
    const Tensor value = node.op.batch(operands, mapped, node.attributes, count_);
    return value ? std::optional(Batched{value, true}) : std::nullopt;
  }

  const Mapped& mapped_;
  const Dim& count_;
  std::unordered_map<const Node*, std::optional<Batched>> done_;
  std::unordered_set<const Node*> gains_;  // mapped, and has_cheaper_sum
  std::vector<Visit> stack_;
  std::vector<Tensor> expansions_;  // alive as long as done_ knows their nodes
};

}  // namespace

std::optional<Batched> batch(const Tensor& expression,
                             const std::unordered_map<const Node*, Tensor>& mapped,
                             const Dim& count) {
  return Batcher(mapped, count).run(expression);
}

std::vector<std::optional<Batched>> batch(std::span<const Tensor> expressions,
                                          const std::unordered_map<const Node*, Tensor>& mapped,
                                          const Dim& count) {
  Batcher batcher(mapped, count);
  std::vector<std::optional<Batched>> results;
  for (const Tensor& expression : expressions) results.push_back(batcher.run(expression));
  return results;
}

std::optional<Tensor> sum_rows(const Tensor& expression, const Mapped& mapped, const Dim& count) {
  return Batcher(mapped, count).sum(expression);
}

}  // namespace kroton
