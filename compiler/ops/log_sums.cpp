// Logarithms of sums and products, and sin(pi x) / (pi x).
#include <kroton/elementwise.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/even_series.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::elementwise;
using ops::of_terms;
using ops::of_two_terms;
using ops::Operands;
using ops::Tensors;
using ops::Term;

namespace {

using ops::inf;
using ops::ln2;
using ops::pi;

// The larger one, and what the smaller one adds: log(1 + e^-|x - y|), in units of 1 / scale.
Term logaddexp_in(Term x, Term y, double scale) {
  const Term big = ops::call(loop::Op::max, x, y);
  const Term same = equal(x, y);  // infinities, whose difference is NaN
  const Term distance = select(same, 0.0, abs(x - y));
  return big + ops::call(loop::Op::softplus, distance * -scale) * (1 / scale);
}
Term logaddexp_of(Term x, Term y) { return logaddexp_in(x, y, 1); }
Term logaddexp2_of(Term x, Term y) { return logaddexp_in(x, y, ln2); }

// The share of the first operand, 1 / (1 + e^(y - x)), half for two infinities.
Tensors shares(Operands x, const Tensor& g, double scale) {
  const Tensor infinite = eq(x[0], x[1]) & eq(abs(x[0]), inf);
  const Tensor difference = scale * where(infinite, 0, x[0] - x[1]);
  return {g * sigmoid(difference), g * sigmoid(-difference)};
}

double logaddexp_reference(double x, double y, double scale) {
  if (x == y) return x + ln2 / scale;
  return std::fmax(x, y) + std::log1p(std::exp(-std::abs(x - y) * scale)) / scale;
}

Term log1mexp_of(Term x) {
  const Term small = x < ln2;
  const Term minus = -x;
  return select(small, ops::log(-ops::expm1(minus)), ops::log1p(-ops::exp(minus)));
}

template <loop::Op logarithm>
Term product_with_log(Term x, Term y) {
  const Term nothing = equal(x, 0.0) && equal(y, y);
  return select(nothing, 0.0, x * ops::call(logarithm, y));
}
Term xlogy_of(Term x, Term y) { return product_with_log<loop::Op::log>(x, y); }
Term xlog1py_of(Term x, Term y) { return product_with_log<loop::Op::log1p>(x, y); }

// x / y, and 0 where both are 0.
Tensor quotient(const Tensor& x, const Tensor& y) { return x / where(eq(x, 0) & eq(y, 0), 1, y); }

// pi x = pi (n + r): the sine of pi r, with the sign of the parity of n.
Term sinc_of(Term x) {
  const Term plain = abs(x) < ops::format_of(x).pick(0x1p30, 0x1p60);  // beyond all are integers
  const Term y = select(plain, x, 1.0);
  const Term n = round_even(y);
  const Term sine = ops::call(loop::Op::sin, (y - n) * pi);
  const Term half = n * 0.5;
  const Term signed_sine = select(equal(round_even(half), half), sine, -sine);
  const Term at_zero = equal(y, 0.0);
  const Term safe = select(at_zero, 1.0, y);
  // Not a choice between the quotient and 1: LLVM would divide by y and choose afterwards, and 0 /
  // 0 raises a flag.
  const Term result = signed_sine / (safe * pi) + select(at_zero, 1.0, 0.0);
  return select(plain, result, select(equal(x, x), 0.0, x));
}

// (cos(pi x) - sinc(x)) / x, and near 0 the series of it: x times one of even powers.
Tensor sinc_slope(const Tensor& x) {
  std::vector<double> series;
  double power = -pi * pi / 3;  // (-1)^k pi^2k 2k / (2k + 1)! for k = 1, 2, ...
  for (int k = 1; k <= 15; ++k) {
    series.push_back(power);
    const double next = k + 1;
    power *= -pi * pi * next / (k * (2 * next) * (2 * next + 1));
  }
  return x * ops::even_series(x, 1, series,
                              [](const Tensor& y) { return (cos(pi * y) - sinc(y)) / (y * y); });
}

double sinc_reference(double x) {
  if (x == 0) return 1;
  const double n = std::nearbyint(x);
  const double sine = std::sin(pi * (x - n));
  return (std::fmod(n, 2) == 0 ? sine : -sine) / (pi * x);
}

}  // namespace

// z = log(exp(x) + exp(y))
constinit const OpRecord logaddexp_op = elementwise<logaddexp_op>(
    {.name = "logaddexp",
     .cost = 30,
     .commutative = true,
     .value = of_two_terms<logaddexp_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return shares(x, g, 1); },
     .reference = [](double x, double y) { return logaddexp_reference(x, y, 1); },
     .range = {-3, 3},
     .second_range = {-3, 3}});

// z = log2(2^x + 2^y)
constinit const OpRecord logaddexp2_op = elementwise<logaddexp2_op>(
    {.name = "logaddexp2",
     .cost = 32,
     .commutative = true,
     .value = of_two_terms<logaddexp2_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return shares(x, g, ln2); },
     .reference = [](double x, double y) { return logaddexp_reference(x, y, ln2); },
     .range = {-3, 3},
     .second_range = {-3, 3}});

// y = log(1 - exp(-x))
constinit const OpRecord log1mexp_op = elementwise<log1mexp_op>(
    {.name = "log1mexp",
     .cost = 50,
     .value = of_terms<log1mexp_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g / expm1(x[0])}; },
     .reference =
         [](double x) { return x < ln2 ? std::log(-std::expm1(-x)) : std::log1p(-std::exp(-x)); },
     .range = {0.1, 4},
     .special = {0.69, 0.7}});

// z = x log(y), 0 where x is 0
constinit const OpRecord xlogy_op = elementwise<xlogy_op>(
    {.name = "xlogy",
     .cost = 14,
     .value = of_two_terms<xlogy_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * log(x[1]), g * quotient(x[0], x[1])};
     },
     .reference = [](double x, double y) { return x == 0 && !std::isnan(y) ? 0 : x * std::log(y); },
     .range = {-2, 2},
     .second_range = {0.2, 4}});

// z = x log(1 + y), 0 where x is 0
constinit const OpRecord xlog1py_op = elementwise<xlog1py_op>(
    {.name = "xlog1py",
     .cost = 16,
     .value = of_two_terms<xlog1py_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * log1p(x[1]), g * quotient(x[0], 1 + x[1])};
     },
     .reference = [](double x,
                     double y) { return x == 0 && !std::isnan(y) ? 0 : x * std::log1p(y); },
     .range = {-2, 2},
     .second_range = {-0.7, 4}});

// y = sin(pi x) / (pi x)
constinit const OpRecord sinc_op = elementwise<sinc_op>(
    {.name = "sinc",
     .cost = 22,
     .value = of_terms<sinc_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * sinc_slope(x[0])}; },
     .reference = [](double x) { return sinc_reference(x); },
     .range = {-3, 3},
     .special = {0, 0.01, 1, -2}});

Tensor logaddexp(const Operand& x, const Operand& y) {
  return ops::apply_binary(logaddexp_op, x, y);
}
Tensor logaddexp2(const Operand& x, const Operand& y) {
  return ops::apply_binary(logaddexp2_op, x, y);
}
Tensor log1mexp(const Operand& x) { return ops::apply_unary(log1mexp_op, x); }
Tensor xlogy(const Operand& x, const Operand& y) { return ops::apply_binary(xlogy_op, x, y); }
Tensor xlog1py(const Operand& x, const Operand& y) { return ops::apply_binary(xlog1py_op, x, y); }
Tensor sinc(const Operand& x) { return ops::apply_unary(sinc_op, x); }

Tensor log1pexp(const Operand& x) {
  const LineScope scope(x.line());
  return softplus(x);
}

}  // namespace kroton
