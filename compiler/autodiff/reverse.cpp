// grad and vjp: what is asked for, as sweeps over simplified expressions.
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>

#include "compiler/autodiff/checks.h"
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"

namespace kroton {
namespace {

Tensor zeros_of(const Tensor& wrt) {
  const LineScope scope(wrt.line(), "");
  return zeros_like(wrt);
}

// Gradients by cuts. The gradient with respect to an intermediate result is that of the outputs as
// functions of it: it is cut there, and what remains is simplified and differentiated with respect
// to the leaf. So each gradient has the stable form that it has when it is asked for alone, and no
// other `wrt` or constant changes it.
class Gradients {
 public:
  // `fixed` cotangents are given and stay as they are; no gradient passes through `constants`.
  Gradients(Cotangents seeds, const Cotangents& fixed, std::span<const Tensor> constants)
      : seeds_(std::move(seeds)), fixed_(fixed) {
    for (const Tensor& constant : constants) cut_.add(constant);
    for (const auto& [tensor, cotangent] : fixed_) {
      if (!cut_.contains(tensor)) below_.emplace_back(tensor, cotangent);
    }
    for (const auto& [tensor, cotangent] : fixed_) cut_.add(tensor);
  }

  // Of each `wrt`; an empty Tensor where none arrives.
  std::vector<Tensor> of(const std::vector<Tensor>& wrt) const {
    std::vector<Tensor> result(wrt.size());
    std::vector<Tensor> variables;
    std::vector<std::size_t> positions;
    for (std::size_t k = 0; k < wrt.size(); ++k) {
      const auto known = std::find_if(fixed_.begin(), fixed_.end(),
                                      [&](const auto& pair) { return same(pair.first, wrt[k]); });
      if (known != fixed_.end()) {
        result[k] = known->second;
      } else if (is_variable(wrt[k]) && !cut_.contains(wrt[k])) {
        variables.push_back(wrt[k]);
        positions.push_back(k);
      } else {
        Cut cut = cut_;
        const Tensor leaf = cut.add(wrt[k]);
        result[k] = run(cut, {leaf}).front();
      }
    }
    if (variables.empty()) return result;
    const std::vector<Tensor> of_variables = run(cut_, variables);
    for (std::size_t n = 0; n < positions.size(); ++n) result[positions[n]] = of_variables[n];
    return result;
  }

 private:
  std::vector<Tensor> run(const Cut& cut, const std::vector<Tensor>& leaves) const {
    std::vector<Tensor> roots, cotangents;
    for (const auto& [tensor, cotangent] : seeds_) {
      roots.push_back(tensor);
      cotangents.push_back(cotangent);
    }
    roots = cut.apply(roots);
    for (const auto& [tensor, cotangent] : below_) {
      roots.push_back(cut.apply_below(tensor));
      cotangents.push_back(cotangent);
    }
    roots = simplified(roots);
    Cotangents seeds;
    for (std::size_t k = 0; k < roots.size(); ++k) seeds.emplace_back(roots[k], cotangents[k]);
    return cut.undo(sweep(seeds, leaves));
  }

  Cotangents seeds_, fixed_;
  Cotangents below_;  // the fixed ones that what they are computed from gets cotangents from
  Cut cut_;
};

// The gradients, zeros where none arrives.
std::vector<Tensor> or_zeros(std::vector<Tensor> gradients, const std::vector<Tensor>& wrt) {
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    if (!gradients[k]) gradients[k] = zeros_of(wrt[k]);
  }
  return gradients;
}

}  // namespace

static std::vector<Tensor> gradients(const Tensor& cost, const std::vector<Tensor>& wrt,
                                     const GradOptions& options, SourceLine line) {
  check_wrt("grad", wrt, line);
  for (const Tensor& tensor : options.consider_constant) {
    check_given("grad", "a constant", tensor, line);
  }
  if (cost) {
    check_cost("grad", cost, line);
  } else if (options.known_grads.empty()) {
    throw ValueError("grad: the cost is an empty Tensor, and there are no known gradients" +
                     place(line));
  }
  std::vector<Tensor> roots;
  if (cost) roots.push_back(cost);
  Cotangents known;
  for (const auto& [tensor, cotangent] : options.known_grads) {
    known.emplace_back(tensor, met_by_type("grad", "cotangent", tensor, cotangent, line));
    roots.push_back(tensor);
  }
  if (!options.allow_unused) check_used("grad", "the cost", roots, wrt, line);

  Cotangents seeds;
  if (cost) seeds.emplace_back(cost, make_literal(1.0, cost.dtype(), cost.line()));
  const Gradients gradients(seeds, known, options.consider_constant);
  return or_zeros(gradients.of(wrt), wrt);
}

std::vector<Tensor> grad(const Operand& given_cost, const std::vector<Tensor>& wrt,
                         const GradOptions& options) {
  const SourceLine line = given_cost.line();
  const Tensor cost = given_cost.is_empty() ? Tensor() : given_cost.tensor();
  return on_deep_stack([&] { return gradients(cost, wrt, options, line); });
}

Tensor grad(const Operand& cost, const Tensor& wrt, const GradOptions& options) {
  return grad(cost, std::vector<Tensor>{wrt}, options).front();
}

static std::vector<Tensor> products(const std::vector<Tensor>& outputs,
                                    const std::vector<Tensor>& wrt,
                                    const std::vector<Tensor>& cotangents, SourceLine line) {
  check_wrt("vjp", wrt, line);
  if (outputs.size() != cotangents.size()) {
    throw ValueError("vjp: expected one cotangent for each of " + std::to_string(outputs.size()) +
                     " outputs, got " + std::to_string(cotangents.size()) + place(line));
  }
  Cotangents seeds;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    seeds.emplace_back(outputs[k],
                       met_by_type("vjp", "cotangent", outputs[k], cotangents[k], line));
  }
  return or_zeros(Gradients(seeds, {}, {}).of(wrt), wrt);
}

std::vector<Tensor> vjp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& cotangents, const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  return on_deep_stack([&] { return products(outputs, wrt, cotangents, line); });
}

}  // namespace kroton
