// Modified Bessel functions of the second kind.
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

// K itself for x <= 2, e^x K above.
struct BesselKParts {
  Term is_near, near, far, y;
  BesselKParts(Term x, int order) : is_near(x < 2.0), near(x), far(x), y(at_least(x, 2)) {
    const Term a = at_most(x, 2);
    const Term t = fma(a, a * 0.5, -1.0);
    const Term logarithm = ops::log(a * 0.5);
    if (order == 0) {
      near = horner(t, coefficients::k0) - logarithm * horner(t, coefficients::i0_near);
    } else {
      const Term sum = horner(t, coefficients::k1) + logarithm * horner(t, coefficients::i1_near);
      near = select(equal(a, 0.0), inf, fma(a, sum, 1.0 / a));
    }
    const Term place = fma(-12.0 / (y + 6.0), 4.0 / 3, 1.0);
    far = horner(place, order == 0 ? coefficients::k0_tail : coefficients::k1_tail) / sqrt(y);
  }
};

// Where e^-x would be subnormal, a factor is taken out of it.
Term unscaled(Term x, int order) {
  const BesselKParts parts(x, order);
  const Term y = at_most(parts.y, 800);
  const Term is_small = y > 680.0;
  const Term power = ops::exp(select(is_small, 64.0, constant_like(x, 0)) - y) * parts.far;
  const Term far = select(is_small, power * 1.603810890548638e-28, power);  // e^-64
  return select(x < 0.0, nan, select(parts.is_near, parts.near, far));
}

Term scaled(Term x, int order) {
  const BesselKParts parts(x, order);
  const Term near = parts.near * ops::exp(at_most(x, 2));
  return select(x < 0.0, nan, select(parts.is_near, near, parts.far));
}

Term k0_of(Term x) { return unscaled(x, 0); }
Term k1_of(Term x) { return unscaled(x, 1); }
Term k0e_of(Term x) { return scaled(x, 0); }
Term k1e_of(Term x) { return scaled(x, 1); }

}  // namespace

// y = K0(x)
constinit const OpRecord k0_op = elementwise<k0_op>(
    {.name = "k0",
     .cost = 90,
     .value = in_f64<k0_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {-(g * k1(x[0]))}; },
     .reference = [](double x) { return reference::bessel_k(0, x, false); },
     .range = {0.3, 5},
     .special = {20}});

// y = K1(x)
constinit const OpRecord k1_op =
    elementwise<k1_op>({.name = "k1",
                        .cost = 90,
                        .value = in_f64<k1_of>,
                        .derivatives = [](auto& y, auto x, auto& g) -> Tensors {
                          return {-(g * (k0(x[0]) + y / x[0]))};
                        },
                        .reference = [](double x) { return reference::bessel_k(1, x, false); },
                        .range = {0.3, 5},
                        .special = {20}});

// y = e^x K0(x)
constinit const OpRecord k0e_op = elementwise<k0e_op>(
    {.name = "k0e",
     .cost = 90,
     .value = in_f64<k0e_of>,
     .derivatives = [](auto& y, auto x, auto& g) -> Tensors { return {g * (y - k1e(x[0]))}; },
     .reference = [](double x) { return reference::bessel_k(0, x, true); },
     .range = {0.3, 5},
     .special = {20}});

// y = e^x K1(x)
constinit const OpRecord k1e_op =
    elementwise<k1e_op>({.name = "k1e",
                         .cost = 90,
                         .value = in_f64<k1e_of>,
                         .derivatives = [](auto& y, auto x, auto& g) -> Tensors {
                           return {g * (y - k0e(x[0]) - y / x[0])};
                         },
                         .reference = [](double x) { return reference::bessel_k(1, x, true); },
                         .range = {0.3, 5},
                         .special = {20}});

Tensor k0(const Operand& x) { return ops::apply_unary(k0_op, x); }
Tensor k1(const Operand& x) { return ops::apply_unary(k1_op, x); }
Tensor k0e(const Operand& x) { return ops::apply_unary(k0e_op, x); }
Tensor k1e(const Operand& x) { return ops::apply_unary(k1e_op, x); }

}  // namespace kroton
