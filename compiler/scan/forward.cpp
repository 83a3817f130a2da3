// The tangents of a loop: the loop again, with the tangents of its states as further states, of its
// rows as further rows. It keeps no value of a step for later, however long the loop is.
#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>
#include <unordered_map>

#include "compiler/autodiff/forward_sweep.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

class ScanTangents {
 public:
  ScanTangents(const Tensor& loop, std::span<const Tensor> tangents)
      : node_(loop.node()), view_(node_.attributes), tangents_(tangents) {
    std::vector<bool> wanted;
    for (const Tensor& tangent : tangents) wanted.push_back(bool(tangent));
    active_ = active_states(loop, wanted);
  }

  // Those of these results, an empty Tensor where there is none.
  std::vector<Tensor> of(std::span<const Tensor> results) {
    seed();
    std::vector<Tensor> expressions = node_.attributes.body->results;
    for (const Tensor& result : results) {
      const bool last = &result.node().op == &scan_last_op;
      expressions.push_back(last ? parameter(state_of(result))
                                 : result.node().attributes.body->results[0]);
    }
    const std::vector<Tensor> moved = from_outside(forward_sweep(seeds_, expressions));
    const std::vector<Tensor> values = from_outside(node_.attributes.body->results);
    add_states(moved, values);

    std::vector<ScanResult> wanted;
    std::vector<std::size_t> positions;
    for (std::size_t k = 0; k < results.size(); ++k) {
      const Tensor& tangent = moved[node_.attributes.body->results.size() + k];
      if (!tangent) continue;
      const Node& result = results[k].node();
      if (&result.op == &scan_last_op) {
        wanted.push_back({tangent_parameters_[state_of(results[k])], Collect::last});
      } else {
        wanted.push_back({in_its_step(tangent), is_backwards(result.attributes)
                                                    ? Collect::stack_backwards
                                                    : Collect::stack});
      }
      positions.push_back(k);
    }
    std::vector<Tensor> all(results.size());
    if (wanted.empty()) return all;
    const std::vector<Tensor> made = make_scan(loop_, wanted);
    for (std::size_t k = 0; k < positions.size(); ++k) all[positions[k]] = made[k];
    return all;
  }

 private:
  const Tensor& parameter(std::size_t k) const { return node_.attributes.body->parameters[k]; }
  std::size_t states() const { return static_cast<std::size_t>(view_.states); }
  static std::size_t state_of(const Tensor& last) {
    return static_cast<std::size_t>(result_number(last.node().attributes));
  }

  // What stands for the tangents in a step.
  void seed() {
    loop_.count = view_.count;
    loop_.line = node_.line;
    loop_.recomputes = view_.recomputes();
    if (!node_.attributes.name.empty()) loop_.name = node_.attributes.name;
    tangent_parameters_.resize(states());
    for (std::size_t k = 0; k < node_.inputs.size(); ++k) {
      const Tensor& in_step = parameter(k);
      const Tensor named = make_input("t_" + in_step.name(), in_step.type(), in_step.line());
      if (k < states()) {
        if (!active_[k]) continue;
        tangent_parameters_[k] = named;
        seeds_.emplace_back(in_step, named);
      } else if (const int row = static_cast<int>(k) - view_.states; row < view_.rows) {
        loop_.rows.push_back({in_step, node_.inputs[k], view_.offset(row), view_.stride(row)});
        if (!tangents_[k]) continue;
        loop_.rows.push_back({named, tangents_[k], view_.offset(row), view_.stride(row)});
        seeds_.emplace_back(in_step, named);
      } else {
        outside_.emplace(&in_step.node(), node_.inputs[k]);
        if (tangents_[k]) seeds_.emplace_back(in_step, tangents_[k]);
      }
    }
  }

  // What is the same in every step, in place of the body's parameters.
  std::vector<Tensor> from_outside(std::vector<Tensor> expressions) const {
    std::vector<Tensor> given;
    for (const Tensor& expression : expressions) {
      if (expression) given.push_back(expression);
    }
    given = substitute(given, [&](const Tensor& t) -> std::optional<Tensor> {
      const auto found = outside_.find(&t.node());
      return found == outside_.end() ? std::nullopt : std::optional(found->second);
    });
    std::size_t next = 0;
    for (Tensor& expression : expressions) {
      if (expression) expression = given[next++];
    }
    return expressions;
  }

  void add_states(const std::vector<Tensor>& moved, const std::vector<Tensor>& values) {
    for (std::size_t k = 0; k < states(); ++k) {
      loop_.states.push_back({parameter(k), node_.inputs[k], values[k]});
    }
    for (std::size_t k = 0; k < states(); ++k) {
      if (!active_[k]) continue;
      const LineScope scope(values[k].line(), "");
      const Tensor start = tangents_[k] ? tangents_[k] : zeros_like(node_.inputs[k]);
      const Tensor next = moved[k] ? in_its_step(moved[k]) : zeros_like(values[k]);
      loop_.states.push_back({tangent_parameters_[k], start, next});
    }
  }

  // A tangent, or zeros in the steps that the gradient is cut off from: all but the last ones.
  Tensor in_its_step(const Tensor& tangent) {
    if (view_.truncate() < 0) return tangent;
    const LineScope scope(tangent.line(), "");
    if (!number_) {
      number_ = make_input("step", {DType::i64, {}}, node_.line);
      loop_.rows.push_back({number_, arange(view_.count)});
    }
    const Dim first = maximum(view_.count - Dim(view_.truncate()), 0);
    const Tensor before = lt(number_, size_of_dim(first));
    return where(broadcast_to(before, tangent.shape()), zeros_like(tangent), tangent);
  }

  const Node& node_;
  const ScanView view_;
  std::span<const Tensor> tangents_;  // of the operands
  std::vector<bool> active_;          // by state
  std::vector<Tensor> tangent_parameters_;
  Tangents seeds_;
  std::unordered_map<const Node*, Tensor> outside_;  // operands by parameters that stay the same
  Tensor number_;                                    // of the step
  ScanDefinition loop_;
};

}  // namespace

std::vector<Tensor> tangents_of_scan(const Tensor& loop, std::span<const Tensor> results,
                                     std::span<const Tensor> tangents) {
  return ScanTangents(loop, tangents).of(results);
}

}  // namespace kroton
