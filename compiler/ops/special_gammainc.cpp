// The regularised incomplete gamma functions.
#include <kroton/elementwise.h>
#include <kroton/special.h>

#include <cmath>
#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/dual_terms.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/no_gradient.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/special_incomplete.h"
#include "compiler/ops/special_reference.h"

namespace kroton {

using ops::AroundTwo;
using ops::constant_like;
using ops::Dual;
using ops::elementwise;
using ops::far_from;
using ops::Format;
using ops::horner;
using ops::in_f64_of_two;
using ops::Operands;
using ops::Tensors;
using ops::Term;
namespace coefficients = ops::coefficients;
namespace reference = ops::reference;

namespace {

using ops::inf;
using ops::nan;
using ops::two_pi;

// For a >= far_from with mu = x / a - 1: x^a e^-x / (a^a e^-a) is e^-(a phi), phi = mu - log(1 +
// mu).
struct Deviation {
  Term mu, phi, is_near, curvature;  // phi / mu^2 where mu is near 0
  Deviation(Term a, Term x) : mu(x), phi(x), is_near(x), curvature(x) {
    mu = (x - a) / a;
    is_near = abs(mu) < 0.4;
    const Term small = at_least(at_most(mu, 0.4), -0.4);
    curvature = horner(small * 2.5, coefficients::log1p_rest);
    const Term near = small * small * curvature;
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

// Terms of the series, of the fraction, and for small a.
struct Terms {
  int series, fraction, small;
};
Terms terms_for(Format of_result) { return of_result.f64 ? Terms{56, 56, 20} : Terms{28, 20, 13}; }
// From here on nothing is left of what they are multiplied with, and below the products of so many
// terms do not overflow.
constexpr double largest = 2e4;

// Both are evaluated from their last term on, as a numerator over a denominator: one division in
// all. The rounding errors of a denominator are in the numerator as well, so that they cancel.

// 1 + x / (a + 1) (1 + x / (a + 2) (1 + ...)) for x <= a + 2 or 1.5. What follows the last term is
// taken as a geometric series, which it is nearly where it counts.
template <class T>
T power_series(T parameter, Term place, int terms) {
  const T a = at_most(parameter, largest);
  const Term x = at_most(place, largest);
  T numerator = constant_like(a, 1);
  T denominator = 1.0 - at_most(x / (a + (terms + 1)), 0.9);
  for (int k = terms; k > 0; --k) {
    denominator = denominator * (a + k);
    numerator = numerator * x + denominator;
  }
  return numerator / denominator;
}

// Of Legendre: 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - ...))) for x >=
// a + 1 and 1.5.
template <class T>
T continued_fraction(T parameter, Term place, int terms) {
  const T a = at_most(parameter, largest);
  const T first = at_most(place, largest) - a + 1.0;
  T numerator = first + 2.0 * terms;
  T denominator = constant_like(a, 1);
  for (int k = terms; k > 0; --k) {
    const T less = (k - a) * k * denominator;
    denominator = numerator;
    numerator = (first + 2.0 * (k - 1)) * denominator - less;
  }
  return denominator / numerator;
}

// How many of the coefficients that Temme's expansion has for a power of 1 / a count, for |eta| up
// to 0.4709 and a >= 20.
std::size_t counting(std::size_t power, Format of_result) {
  const double least = of_result.pick(1e-10, 0);
  double size = std::pow(20.0, -static_cast<double>(power));
  std::size_t k = 0, count = 0;
  for (const double c : coefficients::temme[power]) {
    ++k;
    if (std::abs(c) * size >= least) count = k;
    size *= 0.4709;
  }
  return count;
}

// What Temme's expansion adds to half the error function's complement: of 1 / a and eta.
template <class T>
T temme_sum(T inverse, T eta, Format of_result) {
  T sum = constant_like(eta, 0);
  for (std::size_t power = std::size(coefficients::temme); power-- > 0;) {
    const double* powers = coefficients::temme[power].begin();
    std::size_t k = counting(power, of_result);
    if (k == 0) continue;
    T of_power = constant_like(eta, powers[--k]);
    while (k-- > 0) of_power = fma(of_power, eta, powers[k]);
    sum = sum * inverse + of_power;
  }
  return sum;
}

// What is left of eta where it is used.
Term limited(Term eta) { return at_least(at_most(eta, 0.5), -0.5); }

// 1 minus the lower function for small a and x, where nearly nothing is left of the 1: the
// difference 1 - x^a / gamma(1 + a) and the sum over n of -(-x)^n a / (n! (a + n)) times that.
Term upper_of_small(Term a, Term x, int terms) {
  const Term log_gamma = a * horner(a * 2.0, coefficients::lgamma) - ops::log1p(a);
  const Term exponent = a * ops::log(x) - log_gamma;
  const Term less_one = ops::expm1(exponent);
  Term sum = constant_like(a, 0);
  double factorial = 1;
  for (int n = 1; n <= terms; ++n) factorial *= n;
  for (int n = terms; n > 0; --n) {
    sum = (sum + ((n % 2 == 0 ? 1.0 : -1.0) / factorial) / (a + n)) * x;
    factorial /= n;
  }
  return -less_one - (less_one + 1.0) * a * sum;
}

}  // namespace

ops::IncompleteGamma ops::incomplete_gamma(const Term& a, const Term& x, Format of_result) {
  const Term large_a = at_least(a, far_from);
  const Deviation deviation(large_a, x);
  const Term exponent = large_a * deviation.phi;
  const Prefactor prefactor(a, x, exponent);
  const Term is_below = x < a;

  const Term uniform = deviation.is_near && (a > 20.0);
  const Term size = sqrt(deviation.phi + deviation.phi);
  const Term eta = select(is_below, -size, size);
  const Term ratio = ops::tail_ratio(sqrt(exponent)) * 0.5;
  const Term added = temme_sum(1.0 / at_least(a, 20), limited(eta), of_result) / prefactor.root;
  const Term tail = prefactor.power * (ratio + select(is_below, -added, added));

  const Term limit = ops::larger(a + 1.0, constant_like(a, 1.5));
  const Term by_series = x < limit;
  const Terms terms = terms_for(of_result);
  const Term lower = prefactor.value * power_series(a, ops::smaller(x, limit), terms.series);
  const Term fraction = continued_fraction(a, ops::larger(x, limit), terms.fraction);
  const Term value = select(by_series, lower, prefactor.value * a * fraction);

  const Term is_lower = select(uniform, is_below, by_series);
  const Term direct = select(uniform, tail, value);
  const Term other = 1.0 - direct;
  // At a = 0 all of it lies at x = 0, at an infinite a beyond every x.
  const Term at_edge = equal(a, 0.0) || equal(a, inf);
  const Term both = (equal(a, 0.0) && equal(x, 0.0)) || (equal(a, inf) && equal(x, inf));
  const Term outside = (a < 0.0) || (x < 0.0);
  const Term sum = a + x;
  const auto with_edges = [&](Term result, double at_zero, double at_infinity) {
    const Term edge =
        select(both, nan, select(equal(a, 0.0), at_zero, constant_like(a, at_infinity)));
    const Term known = select(outside, nan, select(at_edge, edge, result));
    return select(equal(sum, sum), known, sum);
  };
  const Term small = (a < 0.6) && (x < 1.5);
  const Term of_small = upper_of_small(at_most(a, 0.6), at_most(x, 1.5), terms.small);
  const Term upper = select(small, of_small, select(is_lower, other, direct));
  return {with_edges(select(is_lower, direct, other), 1, 0),
          with_edges(select(equal(x, 0.0), 1.0, upper), 0, 1), prefactor.value * a};
}

// The three forms of the function, each differentiated. Their parts add up without loss.
Term ops::incomplete_gamma_by_a(const Term& a, const Term& x) {
  const Term large_a = at_least(a, far_from);
  const Deviation deviation(large_a, x);
  const Prefactor prefactor(a, x, large_a * deviation.phi);
  // d(a phi) / da = phi - mu, and that of eta is -1 / (a sqrt(2 phi / mu^2)).
  const Term root_of_curvature = sqrt(at_least(deviation.curvature * 2.0, 0.1));
  const Term eta = deviation.mu * root_of_curvature;
  const Term eta_by_a = -1.0 / (large_a * root_of_curvature);
  const Term inverse = 1.0 / at_least(a, 20);
  const Dual temme =
      temme_sum(Dual{inverse, -(inverse * inverse)}, Dual{limited(eta), eta_by_a}, Format(true));
  const Term half = 0.5 / large_a;
  const Term rest = temme.value * (deviation.mu - deviation.phi - half) + temme.derivative;
  const Term middle =
      prefactor.power / prefactor.root * (large_a * fma(eta, half, eta_by_a) - rest);
  const Term uniform = deviation.is_near && (a > 20.0);

  const Term limit = larger(a + 1.0, constant_like(a, 1.5));
  const Term by_series = x < limit;
  // Of the logarithm of x^a e^-x / gamma(a + 1).
  const Term log_x = ops::log(select(equal(x, 0.0), 1.0, at_most(x, 1e300)));
  const Term of_logarithm = log_x - digamma_of_positive(a + 1.0);
  const Terms terms = terms_for(Format(true));
  const Dual series = power_series(ops::parameter(a), smaller(x, limit), terms.series);
  const Term below = fma(series.value, of_logarithm, series.derivative);
  const Dual fraction = continued_fraction(ops::parameter(a), larger(x, limit), terms.fraction);
  const Term beyond = fma(fraction.value, fma(a, of_logarithm, 1.0), a * fraction.derivative);
  const Term value = prefactor.value * select(by_series, below, -beyond);

  const Term result = select(uniform, middle, value);
  const Term at_end = equal(x, 0.0) || equal(x, inf) || equal(a, inf);
  const Term outside = (a < 0.0) || (x < 0.0) || (equal(a, 0.0) && equal(x, 0.0));
  const Term sum = a + x;
  return select(equal(sum, sum), select(outside, nan, select(at_end, 0.0, result)), sum);
}

namespace {

// In f64: the exponents are large, and f32 loses what they nearly cancel to.
template <Term ops::IncompleteGamma::* share>
inline constexpr auto share_of = [](const loop::Expr& a, const loop::Expr& x) {
  const auto wide = [](const loop::Expr& e) { return ops::term(loop::cast(e, DType::f64)); };
  const ops::Format of_result = ops::format_of(ops::term(a));
  return loop::cast((ops::incomplete_gamma(wide(a), wide(x), of_result).*share).v, a->dtype);
};
Term gammainc_by_a_of(Term a, Term x) { return ops::incomplete_gamma_by_a(a, x); }

// x^(a - 1) e^-x / gamma(a), in f64: the logarithm's terms are large and nearly cancel.
Tensor gammainc_density(Operands operands) {
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
  // No derivative of second order by a.
  samples.push_back(ops::differentiable_sample(of_a_half, 0.3, 6));
  return samples;
}

// Its gradient is not that of its value.
std::vector<Sample> deviate_samples() {
  return ops::few_binary_samples(
      {.function = [](const Operand& a,
                      const Operand& y) { return ops::apply_binary(gamma_deviate_op, a, y); },
       .low_x = 0.3,
       .high_x = 30,
       .low_y = -3,
       .high_y = 3,
       .differentiable = false});
}

Tensor by_a(Operands x) {
  return ops::apply(gammainc_by_a_op, {ops::without_second_gradient(x[0], "gammainc", "a"), x[1]});
}

}  // namespace

// z = the share of gamma(a) that its integral has up to x.   da = gammainc_by_a dz
constinit const OpRecord gammainc_op = elementwise<gammainc_op>(
    {.name = "gammainc",
     .cost = 700,
     .value = share_of<&ops::IncompleteGamma::lower>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * by_a(x), g * gammainc_density(x)};
     },
     .reference = [](double a, double x) { return reference::gammainc(a, x, false); },
     .samples =
         [] {
           return incomplete_samples(gammainc, [](const Operand& x) { return gammainc(2.5, x); });
         }});

// z = the share beyond x
constinit const OpRecord gammaincc_op = elementwise<gammaincc_op>(
    {.name = "gammaincc",
     .cost = 700,
     .value = share_of<&ops::IncompleteGamma::upper>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {-(g * by_a(x)), -(g * gammainc_density(x))};
     },
     .reference = [](double a, double x) { return reference::gammainc(a, x, true); },
     .samples =
         [] {
           return incomplete_samples(gammaincc, [](const Operand& x) { return gammaincc(2.5, x); });
         }});

// z = the derivative of gammainc by a.   dx = density (log(x) - digamma(a)) dz
constinit const OpRecord gammainc_by_a_op = ops::only_in_gradients(elementwise<gammainc_by_a_op>(
    {.name = "gammainc_by_a",
     .cost = 1500,
     .value = in_f64_of_two<gammainc_by_a_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g, g * (gammainc_density(x) * (log(x[1]) - digamma(x[0])))};
     },
     .reference = [](double a, double x) { return reference::gammainc_by_a(a, x); },
     .samples =
         [] {
           return incomplete_samples(
               [](const Operand& a, const Operand& x) {
                 return ops::apply_binary(gammainc_by_a_op, a, x);
               },
               [](const Operand& x) { return ops::apply_binary(gammainc_by_a_op, 2.5, x); });
         }}));

// z = operand 1, y, the logarithm of a gamma deviate, as a function of operand 0, its parameter.
// dalpha = deviate_slope(alpha, y) dz
constinit const OpRecord gamma_deviate_op = ops::only_in_gradients(elementwise<gamma_deviate_op>(
    {.name = "gamma_deviate",
     .cost = 0,
     .value = [](const loop::Expr&, const loop::Expr& y) { return y; },
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g * ops::deviate_slope(x[0], x[1]), g};
     },
     .reference = [](double, double y) { return y; },
     .samples = deviate_samples}));

Tensor ops::deviate_slope(const Tensor& a, const Tensor& log_x) {
  const Tensor x = exp(log_x);
  const Tensor is_small = log_x < -20;
  // For small x the share below it is x^a / gamma(a + 1).
  const Tensor of_small = (digamma(a + 1) - log_x) / a;
  const Tensor at = where(is_small, 1, x);
  const std::vector<Tensor> operands = {a, at};
  return where(is_small, of_small, -by_a(operands) / (at * gammainc_density(operands)));
}

Tensor ops::without_second_gradient(const Tensor& a, const char* function, const char* operand) {
  return without_gradient(a, function, (std::string(operand) + " of second order").c_str());
}

Tensor gammainc(const Operand& a, const Operand& x) { return ops::apply_binary(gammainc_op, a, x); }
Tensor gammaincc(const Operand& a, const Operand& x) {
  return ops::apply_binary(gammaincc_op, a, x);
}

}  // namespace kroton
