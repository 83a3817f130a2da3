#include "compiler/scan/batch.h"

#include <kroton/ops.h>

#include <algorithm>
#include <memory>
#include <unordered_set>

#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/call.h"
#include "compiler/ops/collective.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

using Mapped = std::unordered_map<const Node*, Tensor>;

// Iterative: the body of a loop may be deep.
class Batcher {
 public:
  // `all`: loops and branches too.
  Batcher(const Mapped& mapped, const Dim& count, bool all = false) : count_(count), all_(all) {
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
      const bool may_expand = node.op.expand != nullptr && !(all_ && node.op.carries_update);
      if (!result && may_expand && has_all_operands(node)) {
        const LineScope scope(node.line, "");
        const Tensor expansion = node.op.expand(node.inputs, node.attributes);
        expansions_.push_back(expansion);
        top.expansion = expansion;
        visit(expansion);
        continue;
      }
      if (!result && !refused_) refused_ = top.tensor;
      finish(std::move(result));
    }
    return done_.at(&expression.node());
  }

  // The first node that has no rule.
  const Tensor& refused() const { return refused_; }

 private:
  // A loop that runs for all rows at once.
  struct Loop {
    Tensor made;
    std::unique_ptr<Batcher> inside;  // of its body
    std::vector<bool> mapped;         // by operand
  };

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
  std::optional<Batched> apply(const Tensor& tensor) {
    const Node& node = tensor.node();
    if (!has_all_operands(node)) return std::nullopt;
    std::vector<Tensor> operands;
    std::vector<bool> mapped;
    for (const Tensor& input : node.inputs) {
      const Batched& batched = *done_.at(&input.node());
      operands.push_back(batched.value);
      mapped.push_back(batched.mapped);
    }
    const LineScope scope(node.line, "");
    if (std::find(mapped.begin(), mapped.end(), true) == mapped.end()) {
      // An operand may have a new node all the same: a state that is the same for all rows, of a
      // loop that has others.
      const bool is_same =
          std::equal(operands.begin(), operands.end(), node.inputs.begin(),
                     [](const Tensor& now, const Tensor& before) { return same(now, before); });
      if (is_same) return Batched{tensor, false};
      return Batched{make_node(node.op, std::move(operands), node.attributes, node.line), false};
    }
    if (node.op.batch != nullptr) {
      const Tensor value = node.op.batch(operands, mapped, node.attributes, count_);
      if (value) return Batched{value, true};
    }
    return all_ ? without_rule(tensor, std::move(operands), mapped) : std::nullopt;
  }

  std::optional<Batched> without_rule(const Tensor& tensor, std::vector<Tensor> operands,
                                      const std::vector<bool>& mapped) {
    const Node& node = tensor.node();
    switch (node.op.kind) {
      case OpKind::branch: {
        operands = ops::with_rows(operands, mapped, count_);
        const Tensor condition = ops::broadcast_axes(operands[0], operands[1].shape(), {0});
        return Batched{where(condition, operands[1], operands[2]), true};
      }
      case OpKind::scan:
        return loop(tensor, std::move(operands), mapped);
      case OpKind::call:
        // Its result is made of the rows themselves.
        if (ops::is_exchange(node)) return Batched{operands[1], true};
        if (!takes_matrices(tensor)) return std::nullopt;
        return Batched{call_of_rows(tensor, ops::with_rows(operands, mapped, count_), count_),
                       true};
      case OpKind::result:
        return result(tensor, operands[0]);
      default:  // what is shown is shown for all rows at once
        if (!node.op.shows) return std::nullopt;
        return Batched{ops::apply(node.op, std::move(operands), node.attributes), true};
    }
  }

  // The operands of a loop that carry rows: states too that change with one.
  static std::vector<bool> mapped_in(const Body& body, int states, std::vector<bool> mapped) {
    for (bool more = true; more;) {
      more = false;
      std::unordered_set<const Node*> moved;
      for (std::size_t k = 0; k < mapped.size(); ++k) {
        if (mapped[k]) moved.insert(&body.parameters[k].node());
      }
      for (const Tensor& tensor : topological_order(body.results)) {
        for (const Tensor& input : tensor.node().inputs) {
          if (moved.contains(&input.node())) moved.insert(&tensor.node());
        }
      }
      for (std::size_t k = 0; k < static_cast<std::size_t>(states); ++k) {
        if (!mapped[k] && moved.contains(&body.results[k].node())) mapped[k] = more = true;
      }
    }
    return mapped;
  }

  std::optional<Batched> loop(const Tensor& tensor, std::vector<Tensor> operands,
                              const std::vector<bool>& given) {
    const Node& node = tensor.node();
    const ScanView view(node.attributes);
    const Body& old = *node.attributes.body;
    Loop loop;
    loop.mapped = mapped_in(old, view.states, given);
    Body body;
    Mapped inside;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      Tensor parameter = old.parameters[k];
      if (loop.mapped[k]) {
        parameter = make_input(parameter.name(),
                               {parameter.dtype(), ops::with_rows(count_, parameter.shape())},
                               parameter.line());
        inside.emplace(&old.parameters[k].node(), parameter);
        if (!given[k]) operands[k] = ops::with_rows({&operands[k], 1}, {false}, count_)[0];
        const int row = static_cast<int>(k) - view.states;
        if (row >= 0 && row < view.rows) operands[k] = ops::move_axis(operands[k], 1, 0);
      }
      body.parameters.push_back(parameter);
    }
    loop.inside = std::make_unique<Batcher>(inside, count_, true);
    for (std::size_t k = 0; k < old.results.size(); ++k) {
      const std::optional<Batched> next = loop.inside->run(old.results[k]);
      if (!next) {
        refused_ = loop.inside->refused();
        return std::nullopt;
      }
      const bool widen = loop.mapped[k] && !next->mapped;
      body.results.push_back(widen ? ops::with_rows({&next->value, 1}, {false}, count_)[0]
                                   : next->value);
    }
    Attributes attributes = node.attributes;
    attributes.body = std::make_shared<const Body>(std::move(body));
    const ops::ScanScope speaking(attributes.name.empty() ? "scan" : attributes.name, view.count);
    loop.made = make_node(scan_op, std::move(operands), std::move(attributes), node.line);
    const Tensor made = loop.made;
    loops_.insert_or_assign(&node, std::move(loop));
    return Batched{made, true};
  }

  std::optional<Batched> result(const Tensor& tensor, const Tensor& of) {
    const Node& node = tensor.node();
    if (ops::is_exchange(node.inputs[0].node())) {
      if (!ops::is_result_of_exchange(node)) return std::nullopt;
      return Batched{ops::exchange_of_rows(tensor, of), true};
    }
    const auto found = loops_.find(&node.inputs[0].node());
    if (found == loops_.end()) {
      return Batched{result_of_call(of, static_cast<std::size_t>(result_number(node.attributes))),
                     true};
    }
    const Loop& loop = found->second;
    if (&node.op == &scan_last_op) {
      const int state = result_number(node.attributes);
      return Batched{scan_last(loop.made, state), loop.mapped[static_cast<std::size_t>(state)]};
    }
    const std::optional<Batched> inside = loop.inside->run(node.attributes.body->results[0]);
    if (!inside) {
      refused_ = loop.inside->refused();
      return std::nullopt;
    }
    const Tensor all = scan_stack(loop.made, inside->value, is_backwards(node.attributes));
    return Batched{inside->mapped ? ops::move_axis(all, 1, 0) : all, inside->mapped};
  }

  const Dim& count_;
  const bool all_;
  Tensor refused_;
  std::unordered_map<const Node*, Loop> loops_;
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

BatchedAll batch_all(std::span<const Tensor> expressions, const Mapped& mapped, const Dim& count) {
  Batcher batcher(mapped, count, true);
  BatchedAll all;
  for (const Tensor& expression : expressions) {
    std::optional<Batched> value = batcher.run(expression);
    if (!value) return {{}, batcher.refused()};
    all.values.push_back(std::move(*value));
  }
  return all;
}

}  // namespace kroton
