// Activations that are compositions.
#include <kroton/elementwise.h>

#include "compiler/ops/pieces.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

// x, of which errors speak as that function's operand.
}  // namespace

Tensor celu(const Operand& x, double alpha) {
  const LineScope scope(x.line());
  if (!(alpha != 0)) ops::fail_value("celu", "alpha must be a number other than 0");
  const Tensor value = ops::floating_only(x, "celu");
  return where(value > 0, value, alpha * expm1(minimum(value, 0) / alpha));
}

Tensor hard_swish(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor value = ops::floating_only(x, "hard_swish");
  return value * clip(value / 6 + 0.5, 0, 1);
}

Tensor hardtanh(const Operand& x, double low, double high) {
  const LineScope scope(x.line());
  if (!(low < high)) {
    ops::fail_value("hardtanh", "low must be below high, got " + std::to_string(low) + " and " +
                                    std::to_string(high));
  }
  return clip(ops::floating_only(x, "hardtanh"), low, high);
}

Tensor hardshrink(const Operand& x, double lambda) {
  const LineScope scope(x.line());
  if (!(lambda >= 0)) ops::fail_value("hardshrink", "lambda must not be below 0");
  const Tensor value = ops::floating_only(x, "hardshrink");
  return where(abs(value) <= lambda, 0, value);
}

Tensor softshrink(const Operand& x, double lambda) {
  const LineScope scope(x.line());
  if (!(lambda >= 0)) ops::fail_value("softshrink", "lambda must not be below 0");
  const Tensor value = ops::floating_only(x, "softshrink");
  return where(value > lambda, value - lambda, where(value < -lambda, value + lambda, 0 * value));
}

Tensor tanhshrink(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor value = ops::floating_only(x, "tanhshrink");
  return value - tanh(value);
}

Tensor logsigmoid(const Operand& x) {
  const LineScope scope(x.line());
  return -softplus(-ops::floating_only(x, "logsigmoid"));
}

Tensor squareplus(const Operand& x, double b) {
  const LineScope scope(x.line());
  if (!(b > 0)) ops::fail_value("squareplus", "b must be above 0");
  const Tensor value = ops::floating_only(x, "squareplus");
  return 0.5 * (value + sqrt(value * value + b));
}

Tensor threshold(const Operand& x, double limit, double value) {
  const LineScope scope(x.line());
  const Tensor tensor = ops::floating_only(x, "threshold");
  return where(tensor <= limit, value, tensor);
}

}  // namespace kroton
