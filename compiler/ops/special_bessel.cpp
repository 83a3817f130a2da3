// Bessel functions of orders 0 and 1.
#include <kroton/special.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/even_series.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/special_coefficients.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::elementwise;
using ops::horner;
using ops::in_f64;
using ops::Tensors;
using ops::Term;
namespace coefficients = ops::coefficients;
namespace reference = ops::reference;

namespace {

using ops::inf;
using ops::nan;
constexpr double far_from = 8;
constexpr double two_over_pi = 2 / std::numbers::pi;

// Where x^2 in [0, 64] lies in the interval of a polynomial.
Term square_in_interval(Term x) {
  const Term near = at_most(x, far_from);
  return fma(near, near * (1.0 / 32), -1.0);
}

Term j0_near(Term x) { return horner(square_in_interval(x), coefficients::j0); }
Term j1_near(Term x) {
  return horner(square_in_interval(x), coefficients::j1) * at_most(x, far_from);
}

// From 8 on: sqrt(2 / (pi x)) times P and Q turned by the angle x - (order / 2 + 1 / 4) pi, whose
// sine and cosine are sums of those of x.
struct Waves {
  Term p, q, plus, minus;
  Waves(Term x, int order) : p(x), q(x), plus(x), minus(x) {
    const Term ratio = far_from / at_least(x, far_from);
    const Term t = fma(ratio, ratio * 2.0, -1.0);
    const Term amplitude = sqrt(ratio) * std::sqrt(1 / (std::numbers::pi * far_from));
    p = horner(t, order == 0 ? coefficients::phase_p0 : coefficients::phase_p1) * amplitude;
    q = horner(t, order == 0 ? coefficients::phase_q0 : coefficients::phase_q1) * ratio;
    q = q * amplitude;
    const Term sine = ops::call(loop::Op::sin, x);
    const Term cosine = ops::call(loop::Op::cos, x);
    plus = sine + cosine;
    minus = sine - cosine;
  }
};

Term j0_of(Term x) {
  const Term a = abs(x);
  const Waves waves(a, 0);
  const Term far = fma(waves.p, waves.plus, -waves.q * waves.minus);
  return select(a < far_from, j0_near(a), far);
}

Term j1_of(Term x) {
  const Term a = abs(x);
  const Waves waves(a, 1);
  const Term far = fma(waves.p, waves.minus, waves.q * waves.plus);
  const Term result = select(a < far_from, j1_near(a), far);
  return select(x < 0.0, -result, select(equal(x, 0.0), x, result));
}

Term y0_of(Term x) {
  const Waves waves(x, 0);
  const Term far = fma(waves.p, waves.minus, waves.q * waves.plus);
  const Term logarithm = ops::log(at_most(x, far_from)) * two_over_pi;
  const Term rest = horner(square_in_interval(x), coefficients::y0);
  const Term near = fma(logarithm, j0_near(x), rest);
  return select(x < 0.0, nan, select(x < far_from, near, far));
}

Term y1_of(Term x) {
  const Waves waves(x, 1);
  const Term far = fma(waves.q, waves.minus, -waves.p * waves.plus);
  const Term y = at_most(x, far_from);
  const Term logarithm = ops::log(y) * two_over_pi;
  const Term rest = horner(square_in_interval(x), coefficients::y1) * y;
  const Term near = fma(logarithm, j1_near(x), rest - two_over_pi / y);
  const Term inside = select(equal(x, 0.0), -inf, select(x < far_from, near, far));
  return select(x < 0.0, nan, inside);
}

// e^-a times the modified function of a >= 0.
Term scaled_i(Term a, int order) {
  const Term near = at_most(a, far_from);
  const Term t = fma(near, 0.25, -1.0);
  const Term y = at_least(a, far_from);
  const Term ratio = fma(1.0 / y, 16.0, -1.0);
  const Term tail = horner(ratio, order == 0 ? coefficients::i0_tail : coefficients::i1_tail);
  const Term small = order == 0 ? horner(t, coefficients::i0) : horner(t, coefficients::i1) * near;
  return select(a < far_from, small, tail / sqrt(y));
}

// Where e^a alone would be too large, a factor e^16 is taken out of it.
Term unscaled_i(Term a, int order) {
  const Term y = at_most(a, 750);
  const Term is_large = y > 700.0;
  const Term power = ops::exp(y - select(is_large, 16.0, ops::constant_like(a, 0)));
  return power * scaled_i(y, order) * select(is_large, 8886110.520507872, ops::constant_like(a, 1));
}

Term odd(Term x, Term result) { return select(x < 0.0, -result, result); }

Term i0_of(Term x) { return unscaled_i(abs(x), 0); }
Term i1_of(Term x) { return odd(x, unscaled_i(abs(x), 1)); }
Term i0e_of(Term x) { return scaled_i(abs(x), 0); }
Term i1e_of(Term x) { return odd(x, scaled_i(abs(x), 1)); }

// J1(x) / x for sign -1, I1(x) / x for sign 1: also at 0, with all derivatives.
Tensor first_over_x(const Tensor& x, double sign, const std::function<Tensor(const Tensor&)>& f) {
  std::vector<double> series;
  double coefficient = 0.5;
  for (int k = 1; k <= 14; ++k) {
    series.push_back(coefficient);
    coefficient *= sign / (4.0 * k * (k + 1));
  }
  return ops::even_series(x, 1, series, [&](const Tensor& y) { return f(y) / y; });
}

}  // namespace

// Where waves have no place at infinity, as in SciPy, there is no value.
double at_waves(double x) { return std::isinf(x) ? nan : x; }

// y = J0(x)
constinit const OpRecord j0_op = elementwise<j0_op>(
    {.name = "j0",
     .cost = 70,
     .value = in_f64<j0_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {-(g * j1(x[0]))}; },
     .reference = [](double x) { return static_cast<double>(::j0l(at_waves(x))); },
     .range = {-12, 12},
     .special = {0, 40}});

// y = J1(x)
constinit const OpRecord j1_op = elementwise<j1_op>(
    {.name = "j1",
     .cost = 70,
     .value = in_f64<j1_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * (j0(x[0]) - first_over_x(x[0], -1, [](auto& y) { return j1(y); }))};
     },
     .reference = [](double x) { return static_cast<double>(::j1l(at_waves(x))); },
     .range = {-12, 12},
     .special = {0, 40}});

// y = Y0(x)
constinit const OpRecord y0_op = elementwise<y0_op>(
    {.name = "y0",
     .cost = 90,
     .value = in_f64<y0_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {-(g * y1(x[0]))}; },
     .reference = [](double x) { return static_cast<double>(::y0l(at_waves(x))); },
     .range = {0.3, 12},
     .special = {40}});

// y = Y1(x)
constinit const OpRecord y1_op = elementwise<y1_op>(
    {.name = "y1",
     .cost = 90,
     .value = in_f64<y1_of>,
     .derivatives = [](auto& y, auto x, auto& g) -> Tensors { return {g * (y0(x[0]) - y / x[0])}; },
     .reference = [](double x) { return static_cast<double>(::y1l(at_waves(x))); },
     .range = {0.3, 12},
     .special = {40}});

// y = I0(x)
constinit const OpRecord i0_op = elementwise<i0_op>(
    {.name = "i0",
     .cost = 70,
     .value = in_f64<i0_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * i1(x[0])}; },
     .reference = [](double x) { return reference::bessel_i(0, x, false); },
     .range = {-4, 4},
     .special = {0, 10}});

// y = I1(x)
constinit const OpRecord i1_op = elementwise<i1_op>(
    {.name = "i1",
     .cost = 70,
     .value = in_f64<i1_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * (i0(x[0]) - first_over_x(x[0], 1, [](auto& y) { return i1(y); }))};
     },
     .reference = [](double x) { return reference::bessel_i(1, x, false); },
     .range = {-4, 4},
     .special = {0, 10}});

// y = e^-|x| I0(x)
constinit const OpRecord i0e_op =
    elementwise<i0e_op>({.name = "i0e",
                         .cost = 60,
                         .value = in_f64<i0e_of>,
                         .derivatives = [](auto& y, auto x, auto& g) -> Tensors {
                           return {g * (i1e(x[0]) - sign(x[0]) * y)};
                         },
                         .reference = [](double x) { return reference::bessel_i(0, x, true); },
                         .range = {0.3, 12},
                         .special = {40}});

// y = e^-|x| I1(x)
constinit const OpRecord i1e_op = elementwise<i1e_op>(
    {.name = "i1e",
     .cost = 60,
     .value = in_f64<i1e_of>,
     .derivatives = [](auto& y, auto x, auto& g) -> Tensors {
       const Tensor quotient =
           exp(-abs(x[0])) * first_over_x(x[0], 1, [](auto& z) { return exp(abs(z)) * i1e(z); });
       const Tensor far = abs(x[0]) > 1;
       const Tensor over_x = where(far, y / where(far, x[0], 1), quotient);
       return {g * (i0e(x[0]) - sign(x[0]) * y - over_x)};
     },
     .reference = [](double x) { return reference::bessel_i(1, x, true); },
     .range = {0.3, 12},
     .special = {40}});

Tensor j0(const Operand& x) { return ops::apply_unary(j0_op, x); }
Tensor j1(const Operand& x) { return ops::apply_unary(j1_op, x); }
Tensor y0(const Operand& x) { return ops::apply_unary(y0_op, x); }
Tensor y1(const Operand& x) { return ops::apply_unary(y1_op, x); }
Tensor i0(const Operand& x) { return ops::apply_unary(i0_op, x); }
Tensor i1(const Operand& x) { return ops::apply_unary(i1_op, x); }
Tensor i0e(const Operand& x) { return ops::apply_unary(i0e_op, x); }
Tensor i1e(const Operand& x) { return ops::apply_unary(i1e_op, x); }

}  // namespace kroton
