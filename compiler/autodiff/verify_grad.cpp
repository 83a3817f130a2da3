#include <kroton/error.h>
#include <kroton/grad.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"

namespace kroton {
namespace {

std::string position_text(std::size_t offset, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> position(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const auto size = static_cast<std::size_t>(shape[axis]);
    position[axis] = static_cast<std::int64_t>(offset % size);
    offset /= size;
  }
  std::string text;
  for (const std::int64_t index : position) {
    text += (text.empty() ? "" : ", ") + std::to_string(index);
  }
  return "[" + text + "]";
}

// The type of the variable, as far as its sizes are known.
void check_value(const Tensor& variable, const Array& value, const std::string& place) {
  const std::string mismatch =
      "verify_grad: " + variable.name() + " is " + to_string(variable.type()) + ", got " +
      std::string(name_of(value.dtype())) + " " + to_string(value.shape()) + place;
  if (value.dtype() != variable.dtype()) throw TypeError(mismatch);
  bool fits = value.rank() == variable.rank();
  for (int axis = 0; fits && axis < value.rank(); ++axis) {
    const Dim& size = variable.shape(axis);
    fits = !size.is_constant() || size.is_constant(value.shape()[axis]);
  }
  if (!fits) throw ShapeError(mismatch);
}

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return buffer;
}

}  // namespace

static void verify(const Operand& given_cost, const std::vector<std::pair<Tensor, Array>>& at,
                   double tolerance) {
  const std::string place = "  [" + to_string(given_cost.line()) + "]";
  const auto check_given = [&](bool is_given, const char* what) {
    if (is_given) return;
    throw ValueError(std::string("verify_grad: ") + what +
                     " is an empty Tensor: no expression has been assigned to it" + place);
  };
  check_given(!given_cost.is_empty(), "the cost");
  const Tensor cost = given_cost.tensor();
  std::map<const Node*, ReferenceValue> point;
  std::vector<Tensor> wrt;
  for (const auto& [variable, value] : at) {
    check_given(static_cast<bool>(variable), "a variable");
    check_value(variable, value, place);
    point[&variable.node()] = from_array(value);
    if (is_float(variable.dtype())) wrt.push_back(variable);
  }
  if (wrt.empty()) {
    throw ValueError(
        "verify_grad: there is nothing to check: no floating variable is given a value" + place);
  }
  for (const Tensor& tensor : topological_order(std::span(&cost, 1))) {
    if (&tensor.node().op != &input_op || point.contains(&tensor.node())) continue;
    throw ValueError("verify_grad: the cost depends on " + tensor.name() + ", " +
                     to_string(tensor.type()) + ", which is given no value" + place);
  }
  const LineScope scope(given_cost.line(), "verify_grad");
  const std::vector<ReferenceValue> analytic =
      evaluate(grad(cost, wrt, {.allow_unused = true}), point);
  const auto cost_at = [&] { return evaluate(std::span(&cost, 1), point).front().data.front(); };

  for (std::size_t k = 0; k < wrt.size(); ++k) {
    ReferenceValue& value = point.at(&wrt[k].node());
    for (std::size_t i = 0; i < value.data.size(); ++i) {
      // About the cube root of the precision: the error of the difference quotient, which grows
      // with the square of the step, and that of the subtraction, which falls with it, balance.
      const double center = value.data[i];
      const double step = 6e-6 * std::max(1.0, std::abs(center));
      value.data[i] = center + step;
      const double above = cost_at();
      value.data[i] = center - step;
      const double below = cost_at();
      value.data[i] = center;
      const double numeric = (above - below) / ((center + step) - (center - step));
      const double difference = std::abs(analytic[k].data[i] - numeric);
      if (!(difference <= tolerance * std::max(1.0, std::abs(numeric)))) {
        throw ValueError("verify_grad: the gradient of " + cost.name() + " with respect to " +
                         wrt[k].name() + position_text(i, value.shape) + " is " +
                         number(analytic[k].data[i]) + ", by finite differences " +
                         number(numeric) + place);
      }
    }
  }
}

void verify_grad(const Operand& cost, const std::vector<std::pair<Tensor, Array>>& at,
                 double tolerance) {
  on_deep_stack([&] { verify(cost, at, tolerance); });
}

}  // namespace kroton
