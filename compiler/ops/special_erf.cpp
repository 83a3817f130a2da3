// The error function's complement and inverse, and the normal distribution.
#include <kroton/special.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/special_coefficients.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/special_terms.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::elementwise;
using ops::horner;
using ops::in_f64;
using ops::of_terms;
using ops::tail_ratio;
using ops::Tensors;
using ops::Term;
namespace coefficients = ops::coefficients;
namespace reference = ops::reference;

namespace {

constexpr double half_root_pi = 0.886226925452758;
constexpr double root_half = 0.7071067811865476;
constexpr double root_two = 1.4142135623730951;
constexpr double root_two_pi = 2.5066282746310002;
constexpr double inverse_root_pi = std::numbers::inv_sqrtpi;

// e^-(square + rest) times `factor`. A result that is subnormal is rounded in the last product
// only: where the power itself would be, one of e^200, in f32 e^30, times as much is computed.
Term exp_minus(Term square, Term rest, Term factor) {
  const ops::Format format = ops::format_of(square);
  const Term is_small = square > format.pick(60, 400);
  const double more = format.pick(30, 200);
  const Term power = ops::exp(select(is_small, more, ops::constant_like(square, 0)) - square);
  const Term product = (power - power * rest) * factor;
  const Term scaled = product * std::exp(-more);
  return select(is_small, scaled, product);
}

// What is beyond a <= 40 of the curve of e^-a^2, and of e^(-x^2 / 2).
Term tail_of_erf(Term a) {
  const Term square = a * a;
  const Term rest = fma(a, a, -square);
  return exp_minus(square, rest, tail_ratio(a));
}
Term tail_of_normal(Term a) {
  const Term square = a * a * 0.5;
  const Term rest = fma(a, a * 0.5, -square);
  return exp_minus(square, rest, tail_ratio(a * root_half) * 0.5);
}

// erf(x) for |x| <= 1/2 to the digits of f32: its series.
Term near_erf(Term x) {
  double factor = 2 * inverse_root_pi;
  std::vector<double> series;
  for (int k = 0; k < 7; ++k) {
    series.push_back(factor / (2 * k + 1));
    factor /= -(k + 1);
  }
  const Term square = x * x;
  Term sum = ops::constant_like(x, series.back());
  for (std::size_t k = series.size() - 1; k-- > 0;) sum = fma(sum, square, series[k]);
  return sum * x;
}

// In f32 the ratio's argument is too coarse near 0.
Term erfc_of(Term x) {
  const Term tail = tail_of_erf(at_most(abs(x), 40));
  const Term result = select(x < 0.0, 2.0 - tail, tail);
  if (ops::format_of(x).f64) return result;
  return select(abs(x) < 0.5, 1.0 - near_erf(x), result);
}

Term ndtr_of(Term x) {
  const Term tail = tail_of_normal(at_most(abs(x), 55));
  const Term result = select(x > 0.0, 1.0 - tail, tail);
  if (ops::format_of(x).f64) return result;
  return select(abs(x) < 0.7, fma(near_erf(x * root_half), 0.5, 0.5), result);
}

// From -26.64 on, in f32 from -9.39 on, the result is beyond all numbers, though e^(x^2) itself is
// not yet.
Term erfcx_of(Term x) {
  const Term ratio = tail_ratio(abs(x));
  const Term below = x < 0.0;
  const Term a = at_least(select(below, x, 0.0), ops::format_of(x).pick(-9.39, -26.64));
  const Term square = a * a;
  const Term rest = fma(a, a, -square);
  const Term power = ops::exp(square);
  return select(below, fma(power, rest, power) * 2.0 - ratio, ratio);
}

// log(e^(x^2 / 2) ndtr(x)) - x^2 / 2 below 0, log(1 - ndtr(-x)) above: one logarithm.
Term log_ndtr_of(Term x) {
  const Term a = abs(x);
  const Term above = x > 0.0;
  const Term near = at_most(a, 55);
  const Term ratio = tail_ratio(a * root_half) * 0.5;
  const Term square = near * near * 0.5;
  const Term power = ops::exp(-square);
  const Term rest = fma(near, near * 0.5, -square);
  const Term tail = ratio * (power - power * rest);
  const Term logarithm = ops::log1p(select(above, -tail, ratio - 1.0));
  return select(above, logarithm, logarithm - a * 0.5 * a);
}

// The y with erf(y) = x, given 1 - x^2.
Term inverse_erf(Term x, Term rest) {
  const Term w = -ops::log(rest);
  const Term s = sqrt(at_least(w, 1));
  const Term center = horner(fma(w, 0.32, -1.0), coefficients::erfinv_center);
  const Term middle = horner(fma(s, 0.8, -3.0), coefficients::erfinv_middle);
  const Term inverse = 1.0 / s;
  const Term far = horner((inverse - 0.118) * (1 / 0.082), coefficients::erfinv_tail) * s;
  return x * select(w < 6.25, center, select(s < 5.0, middle, far));
}

Term erfinv_of(Term x) { return inverse_erf(x, (1.0 - x) * (x + 1.0)); }
Term erfcinv_of(Term x) { return inverse_erf(1.0 - x, x * (2.0 - x)); }
Term ndtri_of(Term p) { return inverse_erf(fma(p, 2.0, -1.0), p * 4.0 * (1.0 - p)) * root_two; }

// 2 x y - 2 / sqrt(pi) for y = erfcx(x), and where the two are nearly the same their difference's
// series in powers of 1 / (2 x^2).
Tensor erfcx_slope(const Tensor& x, const Tensor& y) {
  constexpr double limit = 12;
  const Tensor far = x > limit;
  const Tensor z = 0.5 / square(where(far, x, limit));
  double factor = 1;
  std::vector<double> series;
  for (int k = 1; k <= 12; ++k) {
    factor *= -(2 * k - 1);
    series.push_back(2 * inverse_root_pi * factor);
  }
  Tensor sum = full_like(x, 0);
  for (std::size_t k = series.size(); k-- > 0;) sum = (sum + series[k]) * z;
  return where(far, sum, 2 * where(far, 0, x) * where(far, 0, y) - 2 * inverse_root_pi);
}

}  // namespace

// y = 1 - erf(x)
constinit const OpRecord erfc_op =
    elementwise<erfc_op>({.name = "erfc",
                          .cost = 40,
                          .value = of_terms<erfc_of>,
                          .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                            return {g * (-2 * inverse_root_pi * exp(-square(x[0])))};
                          },
                          .reference = [](double x) { return std::erfc(x); },
                          .range = {-3, 4},
                          .special = {0, 6, -6, 20}});

// y = exp(x^2) erfc(x)
constinit const OpRecord erfcx_op = elementwise<erfcx_op>(
    {.name = "erfcx",
     .cost = 40,
     .value = of_terms<erfcx_of>,
     .derivatives = [](auto& y, auto x, auto& g) -> Tensors { return {g * erfcx_slope(x[0], y)}; },
     .reference = [](double x) { return reference::erfcx(x); },
     .range = {-2, 6},
     .special = {0, 30, 1000}});

// erf(y) = x
constinit const OpRecord erfinv_op =
    elementwise<erfinv_op>({.name = "erfinv",
                            .cost = 90,
                            .value = in_f64<erfinv_of>,
                            .derivatives = [](auto& y, auto, auto& g) -> Tensors {
                              return {g * (half_root_pi * exp(square(y)))};
                            },
                            .reference = [](double x) { return reference::erfinv(x); },
                            .range = {-0.95, 0.95},
                            .special = {0}});

// erfc(y) = x
constinit const OpRecord erfcinv_op =
    elementwise<erfcinv_op>({.name = "erfcinv",
                             .cost = 90,
                             .value = in_f64<erfcinv_of>,
                             .derivatives = [](auto& y, auto, auto& g) -> Tensors {
                               return {g * (-half_root_pi * exp(square(y)))};
                             },
                             .reference = [](double x) { return reference::erfcinv(x); },
                             .range = {0.05, 1.95},
                             .special = {1}});

// y = (1 + erf(x / sqrt(2))) / 2
constinit const OpRecord ndtr_op =
    elementwise<ndtr_op>({.name = "ndtr",
                          .cost = 40,
                          .value = of_terms<ndtr_of>,
                          .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                            return {g * (1 / root_two_pi * exp(-0.5 * square(x[0])))};
                          },
                          .reference = [](double x) { return reference::ndtr(x); },
                          .range = {-4, 4},
                          .special = {0, 10, -20}});

// y = log(ndtr(x))
constinit const OpRecord log_ndtr_op =
    elementwise<log_ndtr_op>({.name = "log_ndtr",
                              .cost = 60,
                              .value = in_f64<log_ndtr_of>,
                              .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                                return {g * (2 / root_two_pi / erfcx(-root_half * x[0]))};
                              },
                              .reference = [](double x) { return reference::log_ndtr(x); },
                              .range = {-4, 4},
                              .special = {0, 6, -20}});

// ndtr(y) = p
constinit const OpRecord ndtri_op =
    elementwise<ndtri_op>({.name = "ndtri",
                           .cost = 90,
                           .value = in_f64<ndtri_of>,
                           .derivatives = [](auto& y, auto, auto& g) -> Tensors {
                             return {g * (root_two_pi * exp(0.5 * square(y)))};
                           },
                           .reference = [](double p) { return reference::ndtri(p); },
                           .range = {0.03, 0.97},
                           .special = {0.5}});

Tensor erfc(const Operand& x) { return ops::apply_unary(erfc_op, x); }
Tensor erfcx(const Operand& x) { return ops::apply_unary(erfcx_op, x); }
Tensor erfinv(const Operand& x) { return ops::apply_unary(erfinv_op, x); }
Tensor erfcinv(const Operand& x) { return ops::apply_unary(erfcinv_op, x); }
Tensor ndtr(const Operand& x) { return ops::apply_unary(ndtr_op, x); }
Tensor log_ndtr(const Operand& x) { return ops::apply_unary(log_ndtr_op, x); }
Tensor ndtri(const Operand& p) { return ops::apply_unary(ndtri_op, p); }

}  // namespace kroton
