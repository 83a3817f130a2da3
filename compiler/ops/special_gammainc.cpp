// The regularised incomplete gamma functions.
#include <kroton/elementwise.h>
#include <kroton/special.h>

#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/no_gradient.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/special_terms.h"

namespace kroton {

using ops::AroundTwo;
using ops::constant_like;
using ops::elementwise;
using ops::far_from;
using ops::horner;
using ops::in_f64_of_two;
using ops::Operands;
using ops::Tensors;
using ops::Term;
namespace coefficients = ops::coefficients;
namespace reference = ops::reference;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double two_pi = 6.283185307179586;

// For a >= far_from with mu = x / a - 1: x^a e^-x / (a^a e^-a) is e^-(a phi), phi = mu - log(1 +
// mu).
struct Deviation {
  Term mu, phi, is_near;
  Deviation(Term a, Term x) : mu(x), phi(x), is_near(x) {
    mu = (x - a) / a;
    is_near = abs(mu) < 0.4;
    const Term small = at_least(at_most(mu, 0.4), -0.4);
    const Term near = small * small * horner(small * 2.5, coefficients::log1p_rest);
    const Term ratio = at_most(x / a, 1e6);  // far beyond what e^-(a phi) is 0 for
    const Term far = ratio - 1.0 - ops::log(ratio);
    phi = select(is_near, near, far);
  }
};

// x^a e^-x / gamma(a + 1), and for a >= far_from the power in it and its divisor.
struct Prefactor {
  Term power, root, value;
  Prefactor(Term a, Term x, Term exponent) : power(x), root(x), value(x) {
    const Term is_large = a > far_from;
    const Term y = at_most(x, 1e4);
    power = ops::exp(-select(is_large, exponent, y));
    const Term large_a = at_least(a, far_from);
    root = sqrt(large_a * two_pi);
    const Term large = power / (root * ops::stirling_factor(large_a));
    const Term small_a = at_most(a, far_from);
    const Term x_to_a = ops::call(loop::Op::pow, y, small_a);
    const Term small = x_to_a * power / AroundTwo(small_a + 1.0, 7).gamma();
    value = select(is_large, large, small);
  }
};

// 1 + x / (a + 1) (1 + x / (a + 2) (1 + ...)) for x <= a + 2 or 1.5. What follows the last term is
// taken as a geometric series, which it is nearly where it counts.
Term power_series(Term a, Term x) {
  constexpr int terms = 56;
  const Term ratio = at_most(x / (a + (terms + 1)), 0.9);
  Term sum = 1.0 / (1.0 - ratio);
  for (int k = terms; k > 0; --k) sum = fma(sum, x / (a + k), 1.0);
  return sum;
}

// Of Legendre: 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - ...))) for x >=
// a + 1 and 1.5.
Term continued_fraction(Term a, Term x) {
  constexpr int terms = 56;
  const Term first = x - a + 1.0;
  Term fraction = first + 2.0 * terms;
  for (int k = terms; k > 0; --k) {
    const Term numerator = (k - a) * k;
    fraction = first + 2.0 * (k - 1) - numerator / fraction;
  }
  return 1.0 / fraction;
}

// What Temme's expansion adds to half the error function's complement.
Term temme_sum(Term a, Term eta) {
  const Term inverse = 1.0 / at_least(a, 20);
  const Term small = at_least(at_most(eta, 0.5), -0.5);
  Term sum = constant_like(a, 0);
  for (std::size_t k = std::size(coefficients::temme); k-- > 0;) {
    sum = fma(sum, inverse, horner(small, coefficients::temme[k]));
  }
  return sum;
}

// 1 minus the lower function for small a and x, where nearly nothing is left of the 1: the
// difference 1 - x^a / gamma(1 + a) and the sum over n of -(-x)^n a / (n! (a + n)) times that.
Term upper_of_small(Term a, Term x) {
  const Term log_gamma = a * horner(a * 2.0, coefficients::lgamma) - ops::log1p(a);
  const Term exponent = a * ops::log(x) - log_gamma;
  const Term less_one = ops::expm1(exponent);
  Term sum = constant_like(a, 0);
  double factorial = 1;
  for (int n = 1; n <= 20; ++n) factorial *= n;
  for (int n = 20; n > 0; --n) {
    sum = (sum + ((n % 2 == 0 ? 1.0 : -1.0) / factorial) / (a + n)) * x;
    factorial /= n;
  }
  return -less_one - (less_one + 1.0) * a * sum;
}

Term incomplete(Term a, Term x, bool upper) {
  const Term large_a = at_least(a, far_from);
  const Deviation deviation(large_a, x);
  const Term exponent = large_a * deviation.phi;
  const Prefactor prefactor(a, x, exponent);
  const Term is_below = x < a;

  const Term uniform = deviation.is_near && (a > 20.0);
  const Term size = sqrt(deviation.phi + deviation.phi);
  const Term eta = select(is_below, -size, size);
  const Term ratio = ops::tail_ratio(sqrt(exponent)) * 0.5;
  const Term added = temme_sum(a, eta) / prefactor.root;
  const Term tail = prefactor.power * (ratio + select(is_below, -added, added));

  const Term limit = ops::larger(a + 1.0, constant_like(a, 1.5));
  const Term by_series = x < limit;
  const Term lower = prefactor.value * power_series(a, ops::smaller(x, limit));
  const Term fraction = continued_fraction(a, ops::larger(x, limit));
  const Term value = select(by_series, lower, prefactor.value * a * fraction);

  const Term is_lower = select(uniform, is_below, by_series);
  const Term direct = select(uniform, tail, value);
  const Term other = 1.0 - direct;
  Term result = upper ? select(is_lower, other, direct) : select(is_lower, direct, other);
  if (upper) {
    const Term small = (a < 0.6) && (x < 1.5);
    const Term small_a = at_most(a, 0.6);
    result = select(small, upper_of_small(small_a, at_most(x, 1.5)), result);
    result = select(equal(x, 0.0), 1.0, result);
  }
  // At a = 0 all of it lies at x = 0, at an infinite a beyond every x.
  const Term at_edge = equal(a, 0.0) || equal(a, inf);
  const Term all_below = select(equal(a, 0.0), upper ? 0.0 : 1.0, constant_like(a, upper ? 1 : 0));
  const Term both = (equal(a, 0.0) && equal(x, 0.0)) || (equal(a, inf) && equal(x, inf));
  const Term edge = select(both, nan, all_below);
  const Term outside = (a < 0.0) || (x < 0.0);
  const Term sum = a + x;
  const Term known = select(outside, nan, select(at_edge, edge, result));
  return select(equal(sum, sum), known, sum);
}

Term gammainc_of(Term a, Term x) { return incomplete(a, x, false); }
Term gammaincc_of(Term a, Term x) { return incomplete(a, x, true); }

// x^(a - 1) e^-x / gamma(a), in f64: the logarithm's terms are large and nearly cancel.
Tensor density(Operands operands) {
  const Tensor a = cast(operands[0], f64), x = cast(operands[1], f64);
  return cast(exp(xlogy(a - 1, x) - x - gammaln(a)), operands[0].dtype());
}

std::vector<Sample> incomplete_samples(ops::BinaryFunction function,
                                       Tensor (*of_a_half)(const Operand&)) {
  std::vector<Sample> samples = ops::few_binary_samples({.function = function,
                                                         .low_x = 0.3,
                                                         .high_x = 30,
                                                         .low_y = 0.2,
                                                         .high_y = 40,
                                                         .differentiable = false});
  for (Sample& sample : ops::few_unary_samples({.function = of_a_half, .low = 0.3, .high = 6})) {
    samples.push_back(std::move(sample));
  }
  return samples;
}

Tensor apply_incomplete(const OpRecord& op, const Operand& a, const Operand& x) {
  std::vector<Tensor> both = ops::promoted(a, x);
  if (is_float(both[0].dtype())) both[0] = without_gradient(both[0], op.name.data(), "a");
  return ops::apply(op, ops::broadcast(op, both));
}

// By the public functions, which see to what has no gradient.
void draw_gammainc(ops::Draw& d) { ops::draw_binary(d, "gammainc", gammainc, ops::floating); }
void draw_gammaincc(ops::Draw& d) { ops::draw_binary(d, "gammaincc", gammaincc, ops::floating); }

}  // namespace

// z = the share of gamma(a) that its integral has up to x.   The public function sees to da
constinit const OpRecord gammainc_op = elementwise<gammainc_op>(
    {.name = "gammainc",
     .cost = 700,
     .value = in_f64_of_two<gammainc_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g, g * density(x)}; },
     .reference = [](double a, double x) { return reference::gammainc(a, x, false); },
     .draw = draw_gammainc,
     .samples =
         [] {
           return incomplete_samples(gammainc, [](const Operand& x) { return gammainc(2.5, x); });
         }});

// z = the share beyond x
constinit const OpRecord gammaincc_op = elementwise<gammaincc_op>(
    {.name = "gammaincc",
     .cost = 700,
     .value = in_f64_of_two<gammaincc_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g, -(g * density(x))}; },
     .reference = [](double a, double x) { return reference::gammainc(a, x, true); },
     .draw = draw_gammaincc,
     .samples =
         [] {
           return incomplete_samples(gammaincc, [](const Operand& x) { return gammaincc(2.5, x); });
         }});

Tensor gammainc(const Operand& a, const Operand& x) {
  const LineScope scope(a.line());
  return apply_incomplete(gammainc_op, a, x);
}

Tensor gammaincc(const Operand& a, const Operand& x) {
  const LineScope scope(a.line());
  return apply_incomplete(gammaincc_op, a, x);
}

}  // namespace kroton
