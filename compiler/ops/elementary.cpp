// Elementary functions, which are operations of the loop IR.
#include <cmath>

#include "compiler/ir/leaf.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

template <loop::Op op>
loop::Expr elementary_at(PointContext& context, const Index& index) {
  return loop::unary(op, context.input(0, index));
}

loop::Expr pow_at(PointContext& context, const Index& index) {
  return loop::binary(loop::Op::pow, context.input(0, index), context.input(1, index));
}

// Whether all elements are one literal.
bool is_literal(Tensor e) {
  while (&e.node().op == &broadcast_op) e = e.node().inputs[0];
  return &e.node().op == &literal_op;
}

// dx = dy * e * x^(e-1), and 0 for e = 0 even where x^-1 is infinite; where x > 0 it is the formula
// that gives 0 then, since it changes with e.
// de = dy * y * log(x), taken as 0 where x <= 0: there e is as good as a constant, and dx does not
// change with it either.
Tensors pow_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& x = y.node().inputs[0];
  const Tensor& e = y.node().inputs[1];
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

double softplus_of(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

}  // namespace

// y = exp(x), floating point only.   vjp: dx = dy * y
constinit const OpRecord exp_op = {
    .name = "exp",
    .cost = 12,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {g * y}; },
    .at = elementary_at<loop::Op::exp>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::exp(x); }); },
    .batch = ops::batch_elementwise<exp_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "exp", exp, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples({.function = exp, .low = -4, .high = 4, .special = {0, -40}});
        }};

// y = exp(x) - 1, floating point only.   vjp: dx = dy * (y + 1)
constinit const OpRecord expm1_op = {
    .name = "expm1",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {g * (y + 1)}; },
    .at = elementary_at<loop::Op::expm1>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::expm1(x); }); },
    .batch = ops::batch_elementwise<expm1_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "expm1", expm1, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples({.function = expm1, .low = -2, .high = 2, .special = {0, -40}});
        }};

// y = log(x), floating point only.   vjp: dx = dy / x
constinit const OpRecord log_op = {
    .name = "log",
    .cost = 12,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {g / y.node().inputs[0]}; },
    .at = elementary_at<loop::Op::log>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::log(x); }); },
    .batch = ops::batch_elementwise<log_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "log", log, ops::floating); },
    .samples = [] { return ops::unary_samples({.function = log, .low = 0.1, .high = 6}); }};

// y = log(1 + x), floating point only.   vjp: dx = dy / (1 + x)
constinit const OpRecord log1p_op = {
    .name = "log1p",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {g / (1 + y.node().inputs[0])};
    },
    .at = elementary_at<loop::Op::log1p>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::log1p(x); }); },
    .batch = ops::batch_elementwise<log1p_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "log1p", log1p, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples({.function = log1p, .low = -0.8, .high = 4, .special = {0}});
        }};

// y = tanh(x), floating point only.   vjp: dx = dy * (1 - y^2)
constinit const OpRecord tanh_op = {
    .name = "tanh",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {g * (1 - y * y)}; },
    .at = elementary_at<loop::Op::tanh>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::tanh(x); }); },
    .batch = ops::batch_elementwise<tanh_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "tanh", tanh, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = tanh, .low = -3, .high = 3, .special = {0, 20, -20}});
        }};

// y = 1 / (1 + exp(-x)), floating point only.   vjp: dx = dy * y * (1 - y)
constinit const OpRecord sigmoid_op = {
    .name = "sigmoid",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {g * (y * (1 - y))}; },
    .at = elementary_at<loop::Op::sigmoid>,
    .reference =
        [](ReferenceContext& c) {
          ops::map_unary(c, [](double x) { return 1 / (1 + std::exp(-x)); });
        },
    .batch = ops::batch_elementwise<sigmoid_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "sigmoid", sigmoid, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = sigmoid, .low = -6, .high = 6, .special = {0, 40, -40}});
        }};

// y = log(1 + exp(x)), floating point only.   vjp: dx = dy * sigmoid(x)
constinit const OpRecord softplus_op = {
    .name = "softplus",
    .cost = 26,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {g * sigmoid(y.node().inputs[0])};
    },
    .at = elementary_at<loop::Op::softplus>,
    .reference = [](ReferenceContext& c) { ops::map_unary(c, softplus_of); },
    .batch = ops::batch_elementwise<softplus_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "softplus", softplus, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = softplus, .low = -6, .high = 6, .special = {0, 40, -40, 1000, -1000}});
        }};

// y = erf(x), floating point only.   vjp: dx = dy * 2/sqrt(pi) * exp(-x^2)
constinit const OpRecord erf_op = {
    .name = "erf",
    .cost = 16,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      constexpr double two_over_sqrt_pi = 1.1283791670955126;
      return {g * (two_over_sqrt_pi * exp(-square(y.node().inputs[0])))};
    },
    .at = elementary_at<loop::Op::erf>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::erf(x); }); },
    .batch = ops::batch_elementwise<erf_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "erf", erf, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = erf, .low = -2, .high = 2, .special = {0, 6, -6, 30}});
        }};

// y = sin(x), radians, floating point only.   vjp: dx = dy * cos(x)
constinit const OpRecord sin_op = {
    .name = "sin",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {g * cos(y.node().inputs[0])};
    },
    .at = elementary_at<loop::Op::sin>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::sin(x); }); },
    .batch = ops::batch_elementwise<sin_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "sin", sin, ops::floating); },
    .samples =
        [] { return ops::unary_samples({.function = sin, .low = -7, .high = 7, .special = {0}}); }};

// y = cos(x), radians, floating point only.   vjp: dx = -dy * sin(x)
constinit const OpRecord cos_op = {
    .name = "cos",
    .cost = 14,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {-(g * sin(y.node().inputs[0]))};
    },
    .at = elementary_at<loop::Op::cos>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::cos(x); }); },
    .batch = ops::batch_elementwise<cos_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "cos", cos, ops::floating); },
    .samples =
        [] { return ops::unary_samples({.function = cos, .low = -7, .high = 7, .special = {0}}); }};

// y = x^e, floating point only.   vjp: dx = dy * e * x^(e-1), de = dy * y * log(x)
constinit const OpRecord pow_op = {
    .name = "pow",
    .arity = 2,
    .cost = 30,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = pow_vjp,
    .at = pow_at,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(c, [](double x, double e) { return std::pow(x, e); });
        },
    .batch = ops::batch_elementwise<pow_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "pow", pow, ops::floating); },
    .samples =
        [] {
          std::vector<Sample> samples = ops::binary_samples(
              {.function = pow, .low_x = 0.2, .high_x = 3, .low_y = -2.5, .high_y = 2.5});
          samples.push_back(pow_at_whole_exponents());
          return samples;
        }};

Family elementary_family() {
  static constexpr const OpRecord* family[] = {&exp_op,  &expm1_op,   &log_op,      &log1p_op,
                                               &tanh_op, &sigmoid_op, &softplus_op, &erf_op,
                                               &sin_op,  &cos_op,     &pow_op};
  return family;
}

namespace {

Tensor elementary(const OpRecord& op, const Operand& x) {
  const LineScope scope(x.line(), op.name);
  return ops::apply(op, {x.tensor()});
}

}  // namespace

Tensor exp(const Operand& x) { return elementary(exp_op, x); }
Tensor expm1(const Operand& x) { return elementary(expm1_op, x); }
Tensor log(const Operand& x) { return elementary(log_op, x); }
Tensor log1p(const Operand& x) { return elementary(log1p_op, x); }
Tensor tanh(const Operand& x) { return elementary(tanh_op, x); }
Tensor sigmoid(const Operand& x) { return elementary(sigmoid_op, x); }
Tensor softplus(const Operand& x) { return elementary(softplus_op, x); }
Tensor erf(const Operand& x) { return elementary(erf_op, x); }
Tensor sin(const Operand& x) { return elementary(sin_op, x); }
Tensor cos(const Operand& x) { return elementary(cos_op, x); }
Tensor pow(const Operand& x, const Operand& y) { return ops::apply_binary(pow_op, x, y); }

}  // namespace kroton
