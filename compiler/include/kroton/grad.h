// Gradients by reverse mode. They are ordinary expressions: gradients of gradients work.
#pragma once
#include <kroton/tensor.h>

#include <array>
#include <concepts>
#include <utility>
#include <vector>

namespace kroton {

struct GradOptions {
  // Expressions through which no gradient passes, as if they were given values.
  std::vector<Tensor> consider_constant = {};
  // Expressions whose gradient is given, in place of the one that would be computed. With them the
  // cost may be an empty Tensor.
  std::vector<std::pair<Tensor, Tensor>> known_grads = {};
  // Gives zeros for a `wrt` that the cost does not depend on, instead of an error.
  bool allow_unused = false;
};

// The gradients of `cost`, a floating scalar, with respect to each of `wrt`: floating tensors,
// variables or intermediate results. Each has the type of its `wrt`. Errors name the line of the
// call.
//
// ShapeError if the cost is no scalar, or a known gradient has not the shape of its expression;
// TypeError if the cost or a `wrt` is not floating, or a known gradient has another dtype;
// ValueError, naming it, for a `wrt` that the cost does not depend on.
std::vector<Tensor> grad(const Operand& cost, const std::vector<Tensor>& wrt,
                         const GradOptions& options = {});
// The same for a vector of shared variables, for example.
template <TensorRange Wrt>
std::vector<Tensor> grad(const Operand& cost, const Wrt& wrt, const GradOptions& options = {}) {
  return grad(cost, std::vector<Tensor>(wrt.begin(), wrt.end()), options);
}

// The same for one.
Tensor grad(const Operand& cost, const Tensor& wrt, const GradOptions& options = {});

void grad(const Operand& cost) = delete;  // with respect to what: grad(cost, w)

// The same for several: auto [gw, gb] = kt::grad(loss, w, b).
template <class... Wrt>
  requires(sizeof...(Wrt) >= 2 && (std::derived_from<Wrt, Tensor> && ...))
std::array<Tensor, sizeof...(Wrt)> grad(const Operand& cost, const Wrt&... wrt) {
  const std::vector<Tensor> gradients = grad(cost, std::vector<Tensor>{wrt...});
  std::array<Tensor, sizeof...(Wrt)> result;
  for (std::size_t k = 0; k < result.size(); ++k) result[k] = gradients[k];
  return result;
}

// The product of cotangents with the Jacobian: sum over k of cotangents[k] * d outputs[k] / d wrt,
// for each `wrt`. cotangents[k] has the type of outputs[k] (ShapeError, TypeError); a `wrt` that no
// output depends on gets zeros. Outputs and `wrt` are floating (TypeError).
std::vector<Tensor> vjp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& cotangents,
                        const std::source_location& at = std::source_location::current());

// Compares the gradients of `cost` at a point with central differences, in double precision by the
// reference interpreter. `at` gives every input of the cost a value, and may give shared variables
// one; the gradients with respect to the floating ones among them are checked (ValueError if there
// is none). ValueError naming variable, element, analytic and numeric value where they differ by
// more than tolerance * max(1, |numeric|).
void verify_grad(const Operand& cost, const std::vector<std::pair<Tensor, Array>>& at,
                 double tolerance = 1e-5);

}  // namespace kroton
