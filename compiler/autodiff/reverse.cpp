// grad and vjp: what is asked for, as sweeps over simplified expressions.
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>

#include <unordered_set>

#include "compiler/autodiff/sweep.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/weak.h"

namespace kroton {
namespace {

using NodeSet = std::unordered_set<const Node*>;

std::string described(const Tensor& tensor) {
  return tensor.name() + " is " + to_string(tensor.type());
}

bool is_variable(const Tensor& tensor) {
  return &tensor.node().op == &input_op || &tensor.node().op == &shared_op;
}

NodeSet node_set(std::span<const Tensor> tensors) {
  NodeSet nodes;
  for (const Tensor& tensor : tensors) nodes.insert(&tensor.node());
  return nodes;
}

Tensor zeros_of(const Tensor& wrt) {
  const LineScope scope(wrt.line(), "");
  return zeros_like(wrt);
}

// Errors name the line of the user's call, not that of an expression.
std::string place(const SourceLine& line) {
  return "  [" + to_string(LineScope::current().value_or(line)) + "]";
}

void check_given(const char* op, const char* what, const Tensor& tensor, const SourceLine& line) {
  if (tensor) return;
  throw ValueError(std::string(op) + ": " + what +
                   " is an empty Tensor: no expression has been assigned to it" + place(line));
}

void check_wrt(const char* op, const std::vector<Tensor>& wrt, const SourceLine& line) {
  for (const Tensor& tensor : wrt) {
    check_given(op, "wrt", tensor, line);
    if (!is_float(tensor.dtype())) {
      throw TypeError(std::string(op) + ": expected a floating wrt: " + described(tensor) +
                      place(line));
    }
  }
}

// A given cotangent where it meets its expression, whose type it has, as far as sizes are known.
Tensor met_cotangent(const char* op, const Tensor& tensor, const Tensor& given,
                     const SourceLine& line) {
  check_given(op, "an expression", tensor, line);
  check_given(op, "a cotangent", given, line);
  const Tensor cotangent = ops::met_by(given, tensor.dtype());
  const std::string mismatch = std::string(op) + ": expected a cotangent of the type of " +
                               described(tensor) + ", got " + to_string(cotangent.type()) +
                               place(line);
  if (!is_float(tensor.dtype()) || tensor.dtype() != cotangent.dtype()) throw TypeError(mismatch);
  bool fits = tensor.rank() == cotangent.rank();
  for (int axis = 0; fits && axis < tensor.rank(); ++axis) {
    const Dim difference = tensor.shape(axis) - cotangent.shape(axis);
    fits = !difference.is_constant() || difference.is_constant(0);
  }
  if (!fits) throw ShapeError(mismatch);
  return cotangent;
}

void check_cost(const Tensor& cost, const SourceLine& line) {
  if (!is_float(cost.dtype())) {
    throw TypeError("grad: expected a floating cost: " + described(cost) + place(line));
  }
  if (cost.rank() != 0) {
    throw ShapeError("grad: expected a scalar cost: " + described(cost) + place(line));
  }
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
    check_cost(cost, line);
  } else if (options.known_grads.empty()) {
    throw ValueError("grad: the cost is an empty Tensor, and there are no known gradients" +
                     place(line));
  }
  std::vector<Tensor> roots;
  if (cost) roots.push_back(cost);
  Cotangents known;
  for (const auto& [tensor, cotangent] : options.known_grads) {
    known.emplace_back(tensor, met_cotangent("grad", tensor, cotangent, line));
    roots.push_back(tensor);
  }
  if (!options.allow_unused) {
    const NodeSet reached = node_set(topological_order(roots));
    for (const Tensor& tensor : wrt) {
      if (reached.contains(&tensor.node())) continue;
      throw ValueError("grad: the cost does not depend on " + tensor.name() + ", " +
                       to_string(tensor.type()) + place(line));
    }
  }

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
    seeds.emplace_back(outputs[k], met_cotangent("vjp", outputs[k], cotangents[k], line));
  }
  return or_zeros(Gradients(seeds, {}, {}).of(wrt), wrt);
}

std::vector<Tensor> vjp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& cotangents, const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  return on_deep_stack([&] { return products(outputs, wrt, cotangents, line); });
}

}  // namespace kroton
