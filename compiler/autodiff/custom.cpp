// Functions of tensors with derivatives of the user's own: the rules are called once, on stand-ins,
// and become a node's body. The one that is not given is the other one transposed.
#include "compiler/ops/custom.h"

#include <kroton/derivatives.h>
#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/autodiff/forward_sweep.h"
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {
namespace {

using Tensors = std::vector<Tensor>;

class CustomMaker {
 public:
  CustomMaker(const detail::CustomRules& rules, Tensors inputs)
      : rules_(rules), inputs_(std::move(inputs)) {}

  Tensors run() {
    find_value();
    add_stand_ins();
    Tensors results = backward();
    const Tensor tangent = forward(results);
    if (tangent) results.push_back(tangent);
    Body body = closed(std::move(results));
    Tensors operands{value_};
    operands.insert(operands.end(), inputs_.begin(), inputs_.end());
    operands.insert(operands.end(), captured_.begin(), captured_.end());
    return pieces(ops::apply(
        custom_op, std::move(operands),
        CustomView::attributes(rules_.name, inputs_.size(), bool(tangent), std::move(body))));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { ops::fail_value(rules_.name, what); }

  // The expressions a rule has given, by the types of what they belong to.
  Tensors given(const char* rule, const char* what, const char* of,
                const std::vector<Operand>& list, const Tensors& like) const {
    const std::string name = std::string(rule) + ": ";
    if (list.size() != like.size()) {
      fail(name + "expected " + std::to_string(like.size()) + " " + what + "s, one for each " + of +
           ", got " + std::to_string(list.size()));
    }
    Tensors result;
    for (std::size_t k = 0; k < like.size(); ++k) {
      if (!is_float(like[k].dtype())) {
        result.push_back(like[k]);  // it has no derivative
        continue;
      }
      if (list[k].is_empty()) {
        result.push_back(zeros_like(like[k]));
        continue;
      }
      Tensor one = list[k].tensor(like[k].dtype());
      if (list[k].is_literal()) one = broadcast_to(one, like[k].shape());
      bool fits = one.dtype() == like[k].dtype() && one.rank() == like[k].rank();
      for (int axis = 0; fits && axis < one.rank(); ++axis) {
        const Dim difference = one.shape(axis) - like[k].shape(axis);
        fits = !difference.is_constant() || difference.is_constant(0);
      }
      if (!fits) {
        fail(name + "the " + what + " of " + of + " " + std::to_string(k) + " is " +
             to_string(one.type()) + ", expected " + to_string(like[k].type()));
      }
      result.push_back(std::move(one));
    }
    return result;
  }

  // The function's results, and the one value that holds them all.
  void find_value() {
    const std::vector<Operand> list = rules_.function(inputs_);
    if (list.empty()) fail("the function returns no results");
    for (std::size_t k = 0; k < list.size(); ++k) {
      if (list[k].is_empty()) {
        fail("result " + std::to_string(k) + " of the function is an empty Tensor");
      }
      results_.push_back(list[k].tensor());
      const DType dtype = results_[k].dtype();
      if (!is_float(dtype)) {
        ops::fail_type(OpRecord{.name = rules_.name}, {results_[k]},
                       "result " + std::to_string(k) + " of the function is not floating");
      }
      if (dtype != results_[0].dtype()) {
        ops::fail_type(OpRecord{.name = rules_.name}, results_,
                       "the function's results have several dtypes");
      }
    }
    value_ = joined(results_);
  }

  static Tensor joined(const Tensors& parts) {
    if (parts.size() == 1) return parts[0];
    Tensors flat;
    for (const Tensor& part : parts) flat.push_back(flatten(part));
    return concatenate(flat);
  }

  // The results in a value that holds them all.
  Tensors pieces(const Tensor& all) const {
    if (results_.size() == 1) return {all};
    Tensors parts;
    Dim start = 0;
    for (const Tensor& result : results_) {
      const Dim count = element_count(result.shape());
      parts.push_back(reshape(ops::strided_slice(all, {start}, {count}, {1}), result.shape()));
      start = start + count;
    }
    return parts;
  }

  Tensor stand_in_for(const char* name, const Tensor& tensor) {
    const Tensor parameter = make_input(name, tensor.type(), tensor.line());
    parameters_.push_back(parameter);
    stand_ins_.insert(&parameter.node());
    return parameter;
  }

  void add_stand_ins() {
    for (const Tensor& input : inputs_) xs_.push_back(stand_in_for("x", input));
    y_ = stand_in_for("y", value_);
    g_ = stand_in_for("g", value_);
    for (const Tensor& input : inputs_) ts_.push_back(stand_in_for("t", input));
  }

  Tensors arguments(const Tensors& last) const {
    Tensors all = xs_;
    for (const Tensor& y : pieces(y_)) all.push_back(y);
    all.insert(all.end(), last.begin(), last.end());
    return all;
  }

  Tensors backward() {
    if (rules_.backward) {
      return given("backward", "cotangent", "input", rules_.backward(arguments(pieces(g_))), xs_);
    }
    const Tensor tangent = by_forward();
    Tensors floating;
    for (const Tensor& t : ts_) {
      if (is_float(t.dtype())) floating.push_back(t);
    }
    const Tensors found = sweep({{tangent, g_}}, floating);
    if (depends_on(found, ts_)) {
      fail("forward: the tangents of the results are not linear in those of the inputs");
    }
    Tensors result;
    std::size_t next = 0;
    for (const Tensor& x : xs_) {
      const bool has = is_float(x.dtype());
      const Tensor cotangent = has ? found[next++] : x;
      result.push_back(cotangent ? cotangent : zeros_like(x));
    }
    return result;
  }

  Tensor by_forward() const {
    return joined(
        given("forward", "tangent", "result", rules_.forward(arguments(ts_)), pieces(y_)));
  }

  // Empty where the backward rule is not linear.
  Tensor forward(const Tensors& cotangents) const {
    if (rules_.forward) return by_forward();
    Cotangents images;
    for (std::size_t k = 0; k < xs_.size(); ++k) {
      if (is_float(xs_[k].dtype())) images.emplace_back(cotangents[k], ts_[k]);
    }
    const Tensor found = sweep(images, {&g_, 1}).front();
    if (!found) return zeros_like(y_);
    return depends_on({&found, 1}, {&g_, 1}) ? Tensor() : found;
  }

  // The rules with what they have captured as operands.
  Body closed(Tensors results) {
    std::unordered_set<const Node*> inside = stand_ins_;
    for (const Tensor& tensor : topological_order(results)) {
      for (const Tensor& input : tensor.node().inputs) {
        if (inside.contains(&input.node())) inside.insert(&tensor.node());
      }
    }
    std::unordered_map<const Node*, Tensor> known;
    results = substitute(results, [&](const Tensor& t) -> std::optional<Tensor> {
      const bool costs_nothing = t.node().inputs.empty() && t.node().op.kind != OpKind::leaf;
      if (inside.contains(&t.node()) || costs_nothing || &t.node().op == &literal_op) {
        return std::nullopt;
      }
      const auto [at, is_new] = known.try_emplace(&t.node());
      if (is_new) {
        at->second = make_input(t.name(), t.type(), t.line());
        parameters_.push_back(at->second);
        captured_.push_back(t);
      }
      return at->second;
    });
    return {parameters_, std::move(results)};
  }

  const detail::CustomRules& rules_;
  const Tensors inputs_;
  Tensors results_;  // of the function
  Tensor value_;
  Tensors parameters_;  // of the body
  std::unordered_set<const Node*> stand_ins_;
  Tensors xs_, ts_;
  Tensor y_, g_;
  Tensors captured_;
};

}  // namespace

std::vector<Tensor> detail::apply_custom(const CustomRules& rules,
                                         const std::vector<Operand>& inputs, SourceLine line) {
  const LineScope scope(LineScope::current().value_or(line), rules.name);
  Tensors tensors;
  for (const Operand& input : inputs) tensors.push_back(input.tensor());
  if (tensors.empty()) ops::fail_value(rules.name, "it is called without a tensor");
  return CustomMaker(rules, std::move(tensors)).run();
}

Tensor grad_clip(const Operand& x, const Operand& low, const Operand& high) {
  const LineScope scope(x.line());
  const Tensor value = x.tensor();
  const Tensor least = low.tensor(value.dtype()), most = high.tensor(value.dtype());
  return detail::apply_custom(
             {.name = "grad_clip",
              .function = [](std::span<const Tensor> a) { return std::vector<Operand>{a[0]}; },
              .backward =
                  [&](std::span<const Tensor> a) {
                    return std::vector<Operand>{clip(a[2], least, most)};
                  },
              .forward = [](std::span<const Tensor> a) { return std::vector<Operand>{a[2]}; }},
             {value}, x.line())
      .front();
}

Tensor grad_scale(const Operand& x, const Operand& factor) {
  const LineScope scope(x.line());
  const Tensor value = x.tensor();
  const Tensor by = factor.tensor(value.dtype());
  const detail::Rule scaled = [&](std::span<const Tensor> a) {
    return std::vector<Operand>{a[2] * by};
  };
  return detail::apply_custom(
             {.name = "grad_scale",
              .function = [](std::span<const Tensor> a) { return std::vector<Operand>{a[0]}; },
              .backward = scaled,
              .forward = scaled},
             {value}, x.line())
      .front();
}

// x^3, with the derivative of its own that it has anyway.
std::vector<Sample> custom_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{}, {0}, {1}, {3}, {17}, {3, 5}}, [](std::span<const Tensor> in) {
    return detail::apply_custom({.name = "custom_vjp",
                                 .function =
                                     [](std::span<const Tensor> a) {
                                       return std::vector<Operand>{a[0] * a[0] * a[0]};
                                     },
                                 .backward =
                                     [](std::span<const Tensor> a) {
                                       return std::vector<Operand>{3 * a[0] * a[0] * a[2]};
                                     }},
                                {in[0]}, in[0].line())
        .front();
  });
  return samples;
}

}  // namespace kroton
