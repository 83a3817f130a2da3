// Elementary functions, which are operations of the loop IR.
#include <kroton/elementwise.h>

#include <cmath>
#include <limits>

#include "compiler/ir/leaf.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::binary;
using ops::elementwise;
using ops::inf;
using ops::Operands;
using ops::Tensors;
using ops::unary;

namespace {

// Whether all elements are one literal.
bool is_literal(Tensor e) {
  while (&e.node().op == &broadcast_op) e = e.node().inputs[0];
  return &e.node().op == &literal_op;
}

// dx = dy * e * x^(e-1), and 0 for e = 0 even where x^-1 is infinite; where x > 0 it is the formula
// that gives 0 then, since it changes with e.
// de = dy * y * log(x), taken as 0 where x <= 0: there e is as good as a constant, and dx does not
// change with it either.
Tensors pow_derivatives(const Tensor& y, Operands operands, const Tensor& g) {
  const Tensor& x = operands[0];
  const Tensor& e = operands[1];
  const Tensor positive = x > 0;
  const Tensor is_zero = logical_and(eq(e, 0), logical_not(positive));
  const Tensor exponent = is_literal(e) ? e : where(positive, e, stop_gradient(e));
  const Tensor lowered = pow(x, where(is_zero, 1, exponent - 1));
  return {g * where(is_zero, 0, exponent * lowered),
          g * where(positive, y * log(where(positive, x, 1)), 0)};
}

// Where x is not positive, the exponent is as good as a constant.
Sample pow_at_whole_exponents() {
  return ops::kink_sample(
      {{0, 0, 0, 0, -2, -2, -2}, {0, 1, 2, 3, 0, 3, -1}},
      [](std::span<const Tensor> in) { return pow(in[0], in[1]); },
      [](std::span<const Tensor> in) {
        const Tensor& x = in[0];
        const auto only = [](int k) {
          Array mask = Array::zeros({7}, DType::f64);
          mask.data<double>()[k] = 1;
          return mask;
        };
        return x * only(1) + x * x * only(2) + x * x * x * only(3) + x * x * x * only(5) +
               1 / (x + only(0) + only(1) + only(2) + only(3)) * only(6);
      });
}

// Every quadrant, zeros of both signs, infinities. At the jump, where y is 0 and x negative, the
// derivatives are those of the opposite point.
std::vector<Sample> angles_all_around() {
  const ops::Apply apply = [](std::span<const Tensor> in) { return atan2(in[0], in[1]); };
  const auto sample = [&](std::vector<Number> y, std::vector<Number> x, bool differentiable) {
    const auto count = static_cast<std::int64_t>(x.size());
    return Sample{{ops::values(DType::f64, {count}, std::move(y)),
                   ops::values(DType::f64, {count}, std::move(x))},
                  apply,
                  differentiable};
  };
  return {sample({1, 0.2, -1, -0.2, 0}, {-0.5, -2, -0.5, -2, 1}, true),
          ops::kink_sample({{0, -0.0}, {-1, -2}}, apply,
                           [](std::span<const Tensor> in) { return atan2(-in[0], -in[1]); }),
          sample({0, -0.0, 0, -0.0, 0, -0.0}, {0, 0, -0.0, -0.0, -1, -1}, false),
          sample({inf, -inf, inf, 1, -1, -inf}, {inf, -inf, 1, -inf, inf, -inf}, false)};
}

}  // namespace

// y = exp(x)
constinit const OpRecord exp_op =
    elementwise<exp_op>({.name = "exp",
                         .cost = 12,
                         .value = unary<loop::Op::exp>,
                         .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * y}; },
                         .reference = [](double x) { return std::exp(x); },
                         .range = {-4, 4},
                         .special = {0, -40}});

// y = exp(x) - 1
constinit const OpRecord expm1_op = elementwise<expm1_op>(
    {.name = "expm1",
     .cost = 14,
     .value = unary<loop::Op::expm1>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * (y + 1)}; },
     .reference = [](double x) { return std::expm1(x); },
     .special = {0, -40}});

// y = log(x)
constinit const OpRecord log_op = elementwise<log_op>(
    {.name = "log",
     .cost = 12,
     .value = unary<loop::Op::log>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g / x[0]}; },
     .reference = [](double x) { return std::log(x); },
     .range = {0.1, 6}});

// y = log(1 + x)
constinit const OpRecord log1p_op = elementwise<log1p_op>(
    {.name = "log1p",
     .cost = 14,
     .value = unary<loop::Op::log1p>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g / (1 + x[0])}; },
     .reference = [](double x) { return std::log1p(x); },
     .range = {-0.8, 4},
     .special = {0}});

// y = tanh(x)
constinit const OpRecord tanh_op = elementwise<tanh_op>(
    {.name = "tanh",
     .cost = 14,
     .value = unary<loop::Op::tanh>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * (1 - y * y)}; },
     .reference = [](double x) { return std::tanh(x); },
     .range = {-3, 3},
     .special = {0, 20, -20}});

// y = 1 / (1 + exp(-x))
constinit const OpRecord sigmoid_op = elementwise<sigmoid_op>(
    {.name = "sigmoid",
     .cost = 14,
     .value = unary<loop::Op::sigmoid>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * (y * (1 - y))}; },
     .reference = [](double x) { return 1 / (1 + std::exp(-x)); },
     .range = {-6, 6},
     .special = {0, 40, -40}});

// y = log(1 + exp(x))
constinit const OpRecord softplus_op = elementwise<softplus_op>(
    {.name = "softplus",
     .cost = 26,
     .value = unary<loop::Op::softplus>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * sigmoid(x[0])}; },
     .reference =
         [](double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); },
     .range = {-6, 6},
     .special = {0, 40, -40, 1000, -1000}});

// y = erf(x)
constinit const OpRecord erf_op =
    elementwise<erf_op>({.name = "erf",
                         .cost = 16,
                         .value = unary<loop::Op::erf>,
                         .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                           constexpr double two_over_sqrt_pi = 1.1283791670955126;
                           return {g * (two_over_sqrt_pi * exp(-square(x[0])))};
                         },
                         .reference = [](double x) { return std::erf(x); },
                         .special = {0, 6, -6, 30}});

// y = sin(x), radians
constinit const OpRecord sin_op = elementwise<sin_op>(
    {.name = "sin",
     .cost = 14,
     .value = unary<loop::Op::sin>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * cos(x[0])}; },
     .reference = [](double x) { return std::sin(x); },
     .range = {-7, 7},
     .special = {0}});

// y = cos(x), radians
constinit const OpRecord cos_op = elementwise<cos_op>(
    {.name = "cos",
     .cost = 14,
     .value = unary<loop::Op::cos>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {-(g * sin(x[0]))}; },
     .reference = [](double x) { return std::cos(x); },
     .range = {-7, 7},
     .special = {0}});

// y = atan(x), radians
constinit const OpRecord atan_op = elementwise<atan_op>(
    {.name = "atan",
     .cost = 20,
     .value = unary<loop::Op::atan>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g / (1 + x[0] * x[0])}; },
     .reference = [](double x) { return std::atan(x); },
     .range = {-4, 4},
     .special = {0, 40, -40}});

// y = asin(x), radians
constinit const OpRecord asin_op =
    elementwise<asin_op>({.name = "asin",
                          .cost = 20,
                          .value = unary<loop::Op::asin>,
                          .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                            return {g / sqrt((1 - x[0]) * (1 + x[0]))};
                          },
                          .reference = [](double x) { return std::asin(x); },
                          .range = {-0.9, 0.9},
                          .special = {0}});

// y = acos(x), radians
constinit const OpRecord acos_op =
    elementwise<acos_op>({.name = "acos",
                          .cost = 20,
                          .value = unary<loop::Op::acos>,
                          .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                            return {-g / sqrt((1 - x[0]) * (1 + x[0]))};
                          },
                          .reference = [](double x) { return std::acos(x); },
                          .range = {-0.9, 0.9},
                          .special = {0}});

// y = x^e
constinit const OpRecord pow_op = elementwise<pow_op>(
    {.name = "pow",
     .cost = 30,
     .value = binary<loop::Op::pow>,
     .derivatives = pow_derivatives,
     .reference = [](double x, double e) { return std::pow(x, e); },
     .range = {0.2, 3},
     .second_range = {-2.5, 2.5},
     .samples = [] { return ops::samples_and<pow_op>({pow_at_whole_exponents()}); }});

// z = the angle of the point (x, y), radians
constinit const OpRecord atan2_op = elementwise<atan2_op>(
    {.name = "atan2",
     .cost = 30,
     .value = binary<loop::Op::atan2>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       const Tensor square = x[0] * x[0] + x[1] * x[1];
       return {g * x[1] / square, -(g * x[0] / square)};
     },
     .reference = [](double y, double x) { return std::atan2(y, x); },
     .second_range = {0.3, 3},
     .samples = [] { return ops::samples_and<atan2_op>(angles_all_around()); }});

Tensor exp(const Operand& x) { return ops::apply_unary(exp_op, x); }
Tensor expm1(const Operand& x) { return ops::apply_unary(expm1_op, x); }
Tensor log(const Operand& x) { return ops::apply_unary(log_op, x); }
Tensor log1p(const Operand& x) { return ops::apply_unary(log1p_op, x); }
Tensor tanh(const Operand& x) { return ops::apply_unary(tanh_op, x); }
Tensor sigmoid(const Operand& x) { return ops::apply_unary(sigmoid_op, x); }
Tensor softplus(const Operand& x) { return ops::apply_unary(softplus_op, x); }
Tensor erf(const Operand& x) { return ops::apply_unary(erf_op, x); }
Tensor sin(const Operand& x) { return ops::apply_unary(sin_op, x); }
Tensor cos(const Operand& x) { return ops::apply_unary(cos_op, x); }
Tensor atan(const Operand& x) { return ops::apply_unary(atan_op, x); }
Tensor asin(const Operand& x) { return ops::apply_unary(asin_op, x); }
Tensor acos(const Operand& x) { return ops::apply_unary(acos_op, x); }

Tensor pow(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const auto is_whole = [](const Operand& operand) {
    return !operand.is_empty() && is_integer(operand.tensor().dtype());
  };
  if (is_whole(x) && is_whole(y)) return integer_power(x, y);
  return ops::apply_binary(pow_op, x, y);
}

Tensor atan2(const Operand& y, const Operand& x) { return ops::apply_binary(atan2_op, y, x); }

}  // namespace kroton
