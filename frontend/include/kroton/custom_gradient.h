// Derivatives of one's own: for functions whose derivatives are known in a better form than that of
// their operations, or are meant to be others.
#pragma once
#include <kroton/derivatives.h>
#include <kroton/function_of_tensors.h>

#include <memory>

namespace kroton {

// The function f with the reverse rule `backward`:
//
//   auto log1pexp = kt::custom_vjp(
//       [](kt::Tensor x) { return kt::log(1 + kt::exp(x)); },
//       [](kt::Tensor x, kt::Tensor y, kt::Tensor g) { return g * kt::sigmoid(x); });
//   auto y = log1pexp(x);
//
// f takes tensors and returns a Tensor, a pair, tuple or array of them, or a vector, of one
// floating dtype. `backward` gets f's inputs, its results and their cotangents, in this order, each
// as an argument of its own or all in one std::span<const kt::Tensor>, and returns the cotangents
// of the inputs: of their types, a number for a tensor full of it, an empty Tensor where there is
// none. What it returns for an input that is not floating is not looked at. Both are called when
// the result is called with tensors; `backward` is written on tensors, so that it is differentiated
// in turn, and the results in it have the derivatives of f as given here.
//
// No gradient goes to what f or `backward` captures. Forward mode (jvp, jacobian, hessian) uses the
// rule transposed if it is linear in the cotangents, as that of a true derivative is; otherwise it
// is a ValueError to take a tangent through it. The rule holds inside loops and vmap too.
//
// ValueError for a rule that takes another number of arguments, gives another number of cotangents
// or one of another type; TypeError for a result that is not floating.
template <class F, class Backward>
auto custom_vjp(F f, Backward backward,
                const std::source_location& at = std::source_location::current()) {
  auto rules = std::make_shared<detail::CustomRules>();
  rules->name = "custom_vjp";
  rules->function = detail::rule_of_list(std::move(f), "custom_vjp: the function", at);
  rules->backward = detail::rule_of_list(std::move(backward), "custom_vjp: backward", at);
  return detail::FunctionOfTensors<F>([rules](const std::vector<Operand>& inputs, SourceLine line) {
    return detail::apply_custom(*rules, inputs, line);
  });
}

// The function f with the forward rule `forward`, which gets f's inputs, its results and the
// inputs' tangents, zeros where an input has none, and returns the tangents of the results. It is
// linear in the tangents (ValueError): the reverse rule is it transposed. The rest is as for
// custom_vjp.
template <class F, class Forward>
auto custom_jvp(F f, Forward forward,
                const std::source_location& at = std::source_location::current()) {
  auto rules = std::make_shared<detail::CustomRules>();
  rules->name = "custom_jvp";
  rules->function = detail::rule_of_list(std::move(f), "custom_jvp: the function", at);
  rules->forward = detail::rule_of_list(std::move(forward), "custom_jvp: forward", at);
  return detail::FunctionOfTensors<F>([rules](const std::vector<Operand>& inputs, SourceLine line) {
    return detail::apply_custom(*rules, inputs, line);
  });
}

}  // namespace kroton
