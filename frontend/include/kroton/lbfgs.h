// A quasi-Newton method for costs that are the same in every call: whole data sets, not batches.
#pragma once
#include <kroton/function.h>

#include <cstdint>
#include <memory>
#include <source_location>
#include <span>
#include <vector>

namespace kroton::optim {

struct LbfgsOptions {
  std::int64_t history = 10;         ///< pairs of steps and gradients that stand for the Hessian
  std::int64_t iterations = 20;      ///< directions per call of step()
  std::int64_t evaluations = 25;     ///< of the cost per line search
  double gradient_tolerance = 1e-7;  ///< ends where no element of the gradient is larger
  double change_tolerance = 1e-9;    ///< ends where neither step nor cost change more
  double rate = 1;                   ///< the first trial length of a line search
  double c1 = 1e-4, c2 = 0.9;        ///< strong Wolfe conditions, 0 < c1 < c2 < 1
};

struct LbfgsResult {
  double cost = 0;               ///< at the end
  double largest_gradient = 0;   ///< the absolutely largest element of the gradient there
  std::int64_t iterations = 0;   ///< directions that were followed
  std::int64_t evaluations = 0;  ///< of cost and gradient
  bool converged = false;        ///< whether one of the tolerances ended it
};

/// L-BFGS: the two-loop recursion over the parameters as one vector of doubles, with a line search
/// for the strong Wolfe conditions. It is driven from the host; the cost and its gradients are one
/// compiled function, called with the same arguments throughout a step.
///
///     optim::Lbfgs lbfgs(loss, {w, b}, {x, y});
///     auto result = lbfgs.step(inputs, targets);   // result.cost, result.converged
///
/// Nocedal and Wright, "Numerical Optimization", 2006, algorithms 7.4, 3.5 and 3.6.
class Lbfgs {
 public:
  /// Compiles the function. Throws ValueError, naming lbfgs, for no parameters, one that is listed
  /// twice and options outside their range, TypeError for a parameter that is not floating, and as
  /// kt::grad and kt::function do.
  Lbfgs(const Tensor& cost, const std::vector<Shared>& parameters,
        const std::vector<Tensor>& inputs, const LbfgsOptions& options = {},
        const std::source_location& at = std::source_location::current());
  ~Lbfgs();
  Lbfgs(const Lbfgs&) = delete;
  Lbfgs& operator=(const Lbfgs&) = delete;

  /// Goes on from the values that the parameters have, which it changes, with what it knows from
  /// earlier calls. Throws ValueError if the cost or the gradient is not finite at the start; the
  /// parameters are as before then, and after an error of the function.
  template <class... Arguments>
  LbfgsResult step(const Arguments&... arguments) {
    return detail::with_list([&](std::span<const Argument> list) { return minimize(list); },
                             arguments...);
  }
  /// The same with a list of arguments.
  LbfgsResult minimize(std::span<const Argument> arguments);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kroton::optim
