#include "compiler/autodiff/checks.h"

#include <kroton/error.h>

#include <unordered_set>

#include "compiler/ir/leaf.h"
#include "compiler/ops/weak.h"

namespace kroton {

bool is_variable(const Tensor& tensor) {
  return &tensor.node().op == &input_op || &tensor.node().op == &shared_op;
}

std::string described(const Tensor& tensor) {
  return tensor.name() + " is " + to_string(tensor.type());
}

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

void check_cost(const char* op, const Tensor& cost, const SourceLine& line) {
  const std::string name = std::string(op) + ": ";
  if (!is_float(cost.dtype())) {
    throw TypeError(name + "expected a floating cost: " + described(cost) + place(line));
  }
  if (cost.rank() != 0) {
    throw ShapeError(name + "expected a scalar cost: " + described(cost) + place(line));
  }
}

void check_used(const char* op, const char* what, std::span<const Tensor> roots,
                const std::vector<Tensor>& wrt, const SourceLine& line) {
  std::unordered_set<const Node*> reached;
  for (const Tensor& tensor : topological_order(roots)) reached.insert(&tensor.node());
  for (const Tensor& tensor : wrt) {
    if (reached.contains(&tensor.node())) continue;
    throw ValueError(std::string(op) + ": " + what + " does not depend on " + tensor.name() + ", " +
                     to_string(tensor.type()) + place(line));
  }
}

Tensor met_by_type(const char* op, const char* what, const Tensor& tensor, const Tensor& given,
                   const SourceLine& line) {
  const std::string article = std::string("a ") + what;
  check_given(op, "an expression", tensor, line);
  check_given(op, article.c_str(), given, line);
  const Tensor met = ops::met_by(given, tensor.dtype());
  const std::string mismatch = std::string(op) + ": expected " + article + " of the type of " +
                               described(tensor) + ", got " + to_string(met.type()) + place(line);
  if (!is_float(tensor.dtype()) || tensor.dtype() != met.dtype()) throw TypeError(mismatch);
  bool fits = tensor.rank() == met.rank();
  for (int axis = 0; fits && axis < tensor.rank(); ++axis) {
    const Dim difference = tensor.shape(axis) - met.shape(axis);
    fits = !difference.is_constant() || difference.is_constant(0);
  }
  if (!fits) throw ShapeError(mismatch);
  return met;
}

}  // namespace kroton
