#include "compiler/scan/batch.h"

#include <algorithm>

#include "compiler/ir/op.h"

namespace kroton {
namespace {

using Mapped = std::unordered_map<const Node*, Tensor>;

// Iterative: the body of a loop may be deep.
class Batcher {
 public:
  Batcher(const Mapped& mapped, const Dim& count) : count_(count) {
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
        const LineScope scope(node.line, "");
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

 private:
  struct Visit {
    Tensor tensor;
    std::size_t next = 0;   // the input to look at next
    Tensor expansion = {};  // what gives the result of a composite that has no rule
  };

  void visit(const Tensor& tensor) {
    if (!done_.contains(&tensor.node())) stack_.push_back({tensor});
  }

  void finish(std::optional<Batched> result) {
    done_.insert_or_assign(&stack_.back().tensor.node(), std::move(result));
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
    const LineScope scope(node.line, "");
    const Tensor value = node.op.batch(operands, mapped, node.attributes, count_);
    return value ? std::optional(Batched{value, true}) : std::nullopt;
  }

  const Dim& count_;
  std::unordered_map<const Node*, std::optional<Batched>> done_;
  std::vector<Visit> stack_;
  std::vector<Tensor> expansions_;  // alive as long as done_ knows their nodes
};

}  // namespace

std::optional<Batched> batch(const Tensor& expression, const Mapped& mapped, const Dim& count) {
  return Batcher(mapped, count).run(expression);
}

std::vector<std::optional<Batched>> batch(std::span<const Tensor> expressions, const Mapped& mapped,
                                          const Dim& count) {
  Batcher batcher(mapped, count);
  std::vector<std::optional<Batched>> results;
  for (const Tensor& expression : expressions) results.push_back(batcher.run(expression));
  return results;
}

}  // namespace kroton
