// Derivatives beyond the gradient of a scalar (grad.h): directional derivatives by forward mode,
// Jacobians, Hessians, and identities that change the gradient alone. All are ordinary expressions,
// to be differentiated and compiled like any others. docs/derivatives.md says what each costs.
#pragma once
#include <kroton/grad.h>
#include <kroton/tensor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace kroton {

// ---- Forward mode

// The product of the Jacobian with tangents: sum over k of d outputs[i] / d wrt[k] * tangents[k],
// for each output, of its type. It is computed beside the outputs, in about twice the time of the
// outputs alone, whatever the sizes are, and nothing is stored for it: of a loop too it is a loop
// of the same steps. `wrt` are floating tensors, variables or intermediate results; tangents[k] has
// the type of wrt[k]; an output that depends on no `wrt` gets zeros. What has no gradient has no
// tangent either.
//
// ShapeError or TypeError for a tangent of another type than its `wrt`, TypeError for a `wrt` or an
// output that is not floating, ValueError for another number of tangents than of `wrt`.
std::vector<Tensor> jvp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& tangents,
                        const std::source_location& at = std::source_location::current());

namespace detail {
Tensor jvp_of_one(const Operand& output, const Tensor& wrt, const Operand& tangent);
}

// The same of one output, one `wrt`: jvp(y, x, v). A number is a tangent full of it. With braces,
// jvp({y}, {x}, {v}), it is the one above, which gives a list.
template <std::convertible_to<Operand> Output, std::convertible_to<Operand> Tangent>
Tensor jvp(const Output& output, const Tensor& wrt, const Tangent& tangent,
           const std::source_location& at = std::source_location::current()) {
  return detail::jvp_of_one(Operand(output, at), wrt, Operand(tangent, at));
}

// ---- Jacobians and Hessians

enum class DerivativeMode : std::uint8_t {
  automatic,  // forward if `wrt` has fewer elements than y and both are known, else reverse
  forward,    // one tangent for each element of `wrt`
  reverse     // one cotangent for each element of y
};

struct JacobianOptions {
  DerivativeMode mode = DerivativeMode::automatic;
  // Gives zeros for a `wrt` that y does not depend on, instead of an error.
  bool allow_unused = false;
};

// d y / d wrt: (shape of y..., shape of wrt...), of the dtype of wrt. All tangents or cotangents
// are computed together, along an axis of their own; the values that they share are computed once.
// Where an operation on the way takes no such axis, a function of the user's own for example, they
// are computed in a loop instead.
//
// TypeError if y or `wrt` is not floating; ValueError, naming it, for a `wrt` that y does not
// depend on.
Tensor jacobian(const Operand& y, const Tensor& wrt, const JacobianOptions& options = {});
// With respect to each.
std::vector<Tensor> jacobian(const Operand& y, const std::vector<Tensor>& wrt,
                             const JacobianOptions& options = {});

// The second derivatives of a floating scalar (ShapeError, TypeError): (shape of wrt..., shape of
// wrt...). The Jacobian of the gradient, forward over reverse: about as many times the work of a
// gradient as `wrt` has elements. ValueError for a `wrt` that the cost does not depend on.
Tensor hessian(const Operand& cost, const Tensor& wrt);
// Block [i][j] has the derivatives by wrt[i] and by wrt[j].
std::vector<std::vector<Tensor>> hessian(const Operand& cost, const std::vector<Tensor>& wrt);

// The product of the Hessian with a vector of the type of `wrt`, without the Hessian: the tangent
// of the gradient, in about twice the time of the gradient.
Tensor hvp(const Operand& cost, const Tensor& wrt, const Operand& vector);
std::vector<Tensor> hvp(const Operand& cost, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& vectors,
                        const std::source_location& at = std::source_location::current());

// ---- Gradients that are changed

// x, whose cotangent is clipped to [low, high] element by element: a gradient that cannot explode
// there. low and high: scalars, or what broadcasts to x's shape, of x's dtype or literals. Forward
// mode does not see it, since clipping is not linear: the tangent of x passes as it is. x: floating
// (TypeError).
Tensor grad_clip(const Operand& x, const Operand& low, const Operand& high);

// x, whose derivative is `factor` instead of 1: -1 reverses the gradient, 0 stops it. factor: a
// number, or what broadcasts to x's shape; no gradient goes to it. x: floating (TypeError).
Tensor grad_scale(const Operand& x, const Operand& factor);

// ---- A part of a graph

struct SubgraphGradients {
  std::vector<Tensor> wrt;  // of each `wrt`, its own parameters
  std::vector<Tensor> end;  // of each `end`: what goes on to the parts before
};

// The gradients of one part of a graph, from the cost or known gradients down to `end`, for parts
// that are differentiated one after the other: those with respect to `wrt`, through which nothing
// passes below `end`, and those with respect to `end`, which the next part takes as start_grads.
// start_grads: expressions with their gradients, of the same type (ShapeError, TypeError). The
// cost, a floating scalar, may be an empty Tensor if there are start_grads; with both, what the
// cost gives is added. Zeros where nothing arrives. After Theano's function of this name.
SubgraphGradients subgraph_grad(const std::vector<Tensor>& wrt, const std::vector<Tensor>& end,
                                const std::vector<std::pair<Tensor, Tensor>>& start_grads = {},
                                const Tensor& cost = {},
                                const std::source_location& at = std::source_location::current());

// ---- Derivatives of one's own: kt::custom_vjp and kt::custom_jvp in <kroton/custom_gradient.h>

namespace detail {

using Rule = std::function<std::vector<Operand>(std::span<const Tensor>)>;

// What a function of tensors and its rules are called with; `name` is for messages.
struct CustomRules {
  const char* name = "custom_vjp";
  Rule function;       // inputs -> results
  Rule backward = {};  // inputs, results, cotangents -> the inputs' cotangents
  Rule forward = {};   // inputs, results, tangents -> the results' tangents
};

// The results of function(inputs), with the derivatives that the rules say.
std::vector<Tensor> apply_custom(const CustomRules& rules, const std::vector<Operand>& inputs,
                                 SourceLine line);

}  // namespace detail

}  // namespace kroton
