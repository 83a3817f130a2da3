// Integrals of exponentials.
#include <kroton/special.h>

#include <limits>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/special_coefficients.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::constant_like;
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

// E1 of a > 0, whose logarithm is at hand. Where e^-a would be subnormal, a factor is taken out.
Term exp1_of_positive(Term a, Term logarithm) {
  const Term near = horner(fma(at_most(a, 1), 2.0, -1.0), coefficients::exp1) - logarithm;
  const Term y = at_least(at_most(a, 780), 1);
  const Term t = 1.0 - 12.0 / (y + 5.0);
  const Term is_small = y > 680.0;
  const Term power = ops::exp(select(is_small, 64.0, constant_like(a, 0)) - y);
  const Term product = power * horner(t, coefficients::exp1_tail) / (y + 1.0);
  const Term far = select(is_small, product * 1.603810890548638e-28, product);  // e^-64
  return select(a > 1.0, far, near);
}

// The root of Ei, in two parts.
constexpr double expi_root = 0.37250741078136663;
constexpr double expi_root_low = 1.3140183414386028e-17;
constexpr double log_root = -0.9874983466453419;

Term expi_of_positive(Term x, Term logarithm) {
  const Term distance = x - expi_root - expi_root_low;
  const Term close = abs(distance) < 0.2;
  const Term ratio = select(close, distance * (1 / expi_root), constant_like(x, 0));
  const Term log_ratio = select(close, ops::log1p(ratio), logarithm - log_root);
  const Term small = fma(at_most(x, 6), 1.0 / 3, -1.0);
  const Term near = fma(distance, horner(small, coefficients::expi), log_ratio);

  const Term y = at_least(at_most(x, 740), 6);
  const Term middle = horner((at_most(y, 12) - 9.0) * (1.0 / 3), coefficients::expi_middle);
  const Term outer = at_least(at_most(y, 24), 12);
  const Term beyond = horner((outer - 18.0) * (1.0 / 6), coefficients::expi_far);
  const Term inverse = 48.0 / at_least(y, 24) - 1.0;
  const Term tail = horner(inverse, coefficients::expi_tail);
  const Term factor = select(y < 12.0, middle, select(y < 24.0, beyond, tail));
  const Term is_large = y > 700.0;
  const Term power = ops::exp(y - select(is_large, 16.0, constant_like(x, 0)));
  const Term product = power * factor / y;
  const Term far = product * select(is_large, 8886110.520507872, constant_like(x, 1));  // e^16
  return select(x > 6.0, far, near);
}

Term exp1_of(Term x) {
  const Term value = exp1_of_positive(abs(x), ops::log(abs(x)));
  return select(x < 0.0, nan, value);
}

Term expi_of(Term x) {
  const Term a = abs(x);
  const Term logarithm = ops::log(a);
  const Term below = -exp1_of_positive(a, logarithm);
  return select(x < 0.0, below, expi_of_positive(a, logarithm));
}

}  // namespace

// y = the integral of exp(-t) / t from x on
constinit const OpRecord exp1_op = elementwise<exp1_op>(
    {.name = "exp1",
     .cost = 90,
     .value = in_f64<exp1_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {-(g * exp(-x[0]) / x[0])}; },
     .reference = [](double x) { return reference::exp1(x); },
     .range = {0.2, 6},
     .special = {20}});

// y = the integral of exp(t) / t up to x
constinit const OpRecord expi_op = elementwise<expi_op>(
    {.name = "expi",
     .cost = 150,
     .value = in_f64<expi_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * exp(x[0]) / x[0]}; },
     .reference = [](double x) { return reference::expi(x); },
     .range = {0.2, 5},
     .special = {-2, -0.5, 8}});

Tensor exp1(const Operand& x) { return ops::apply_unary(exp1_op, x); }
Tensor expi(const Operand& x) { return ops::apply_unary(expi_op, x); }

}  // namespace kroton
