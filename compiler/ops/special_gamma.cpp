// The gamma function, its logarithm and what is made of it.
#include <kroton/special.h>

#include <limits>
#include <numbers>

#include "compiler/ops/dual_terms.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/special_coefficients.h"
#include "compiler/ops/special_incomplete.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/special_terms.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::AroundTwo;
using ops::constant_like;
using ops::Dual;
using ops::elementwise;
using ops::far_from;
using ops::horner;
using ops::in_f64;
using ops::in_f64_of_two;
using ops::of_terms;
using ops::stirling_rest;
using ops::Tensors;
using ops::Term;
namespace coefficients = ops::coefficients;
namespace reference = ops::reference;

namespace {

using ops::inf;
using ops::nan;
using ops::pi;
constexpr double half_log_two_pi = 0.9189385332046727;

// sin(pi x), exactly 0 at integers, and the cotangent.
struct PiMultiple {
  Term n, angle;
  explicit PiMultiple(Term x) : n(round_even(x)), angle((x - n) * pi) {}
  Term sine() const {
    const Term size = ops::call(loop::Op::sin, angle);
    const Term half = n * 0.5;
    return select(equal(round_even(half), half), size, -size);
  }
  Term cotangent() const {
    const Term cosine = ops::call(loop::Op::cos, angle);
    return cosine / ops::call(loop::Op::sin, angle);
  }
};

// log(gamma(x)) and the logarithm that it takes, for x > -1/2, in f32 or f64.
struct LogGamma {
  Term value, log_x;
  explicit LogGamma(Term x) : value(x), log_x(x) {
    const Term far = x > far_from;
    const AroundTwo around(x);
    log_x = ops::log(select(far, x, abs(around.p)));
    const auto& powers = ops::format_of(x).f64 ? coefficients::lgamma : coefficients::lgamma_f32;
    const Term near = around.rest * horner(around.rest * 2.0, powers);
    const Term shifted = near + select(around.below, -log_x, log_x);
    const Term stirling = fma(x - 0.5, log_x - 1.0, half_log_two_pi - 0.5);
    const Term y = at_least(x, far_from);
    value = select(far, stirling + stirling_rest(y), shifted);
  }
};

// By reflection: |gamma(x) gamma(-x)| = pi / |x sin(pi x)|.
Term gammaln_of(Term x) {
  const Term reflected = x < -0.5;
  const Term a = select(reflected, -x, x);
  const LogGamma positive(a);
  const Term sine = abs(PiMultiple(a).sine());
  const Term product = select(reflected, a * sine, constant_like(x, 1));
  const Term is_pole = equal(product, 0.0);
  const Term result = select(is_pole, inf, ops::log(pi / product) - positive.value);
  const Term finite = abs(x) < inf;
  const Term at_infinity = abs(x);  // NaN stays
  return select(finite, select(reflected, result, positive.value), at_infinity);
}

// Large ones by Stirling's formula, with the power in two factors: one alone would overflow before
// the result does, and the inverse of a negative x's would vanish.
Term gamma_of(Term x) {
  const Term reflected = x < -0.5;
  const Term a = select(reflected, -x, x);
  const Term far = a > far_from;
  const Term near = AroundTwo(a).gamma();
  const Term y = at_least(at_most(a, 190), far_from);
  const Term half = ops::call(loop::Op::pow, y, fma(y, 0.5, -0.25));
  const Term factor = ops::stirling_factor(y) * 2.5066282746310002;
  const Term rest = half * ops::exp(-y) * factor;
  const Term first = select(far, half, 1.0);
  const Term second = select(far, rest, near);
  // 1 where nothing is reflected, by a sum: of a choice LLVM would make one between quotients, and
  // the sine of whole numbers is 0.
  const Term sine = select(reflected, PiMultiple(a).sine(), 0.0);
  const Term below = fma(sine, a, select(reflected, 0.0, constant_like(a, 1)));
  const Term inverse = -pi / below / first / second;
  const Term result = select(reflected, inverse, first * second);
  const Term is_pole = reflected && equal(round_even(a), a);
  return select(is_pole, nan, select(equal(x, 0.0), 1.0 / x, result));
}

// The root of digamma, in two parts.
constexpr double digamma_root = 1.4616321449683622;
constexpr double digamma_root_low = 9.549995429965697e-17;

// digamma(x) for x > 0: from the values on [1, 2] by digamma(x + 1) = digamma(x) + 1 / x.
Term digamma_above(Term x) {
  const Term far = x > far_from;
  const Term low = x < 1.0;
  Term t = select(low, x + 1.0, at_most(x, far_from));
  Term numerator = select(low, -1.0, constant_like(x, 0));
  Term denominator = select(low, x, 1.0);
  for (int k = 0; k < 6; ++k) {
    const Term above = t > 2.0;
    const Term less = t - 1.0;
    t = select(above, less, t);
    numerator = select(above, fma(numerator, less, denominator), numerator);
    denominator = select(above, denominator * less, denominator);
  }
  const Term distance = t - digamma_root - digamma_root_low;
  const Term near = distance * horner(fma(t, 2.0, -3.0), coefficients::digamma);
  const Term shifted = near + numerator / denominator;
  const Term y = at_least(x, far_from);
  const Term inverse = 1.0 / y;
  const Term z = inverse * inverse;
  const Term tail = horner(fma(z, 128.0, -1.0), coefficients::digamma_tail) * z;
  return select(far, ops::log(y) - fma(inverse, 0.5, tail), shifted);
}

Term digamma_of(Term x) {
  const Term reflected = x < 0.0;
  const Term above = digamma_above(select(reflected, 1.0 - x, x));
  const PiMultiple multiple(select(reflected, x, 0.25));
  const Term below = above - multiple.cotangent() * pi;
  const Term is_pole = reflected && equal(multiple.angle, 0.0);
  const Term result = select(is_pole, nan, select(reflected, below, above));
  return select(equal(x, 0.0), -1.0 / x, result);
}

// B_2k / (2k)! for k = 1, 2, ...
constexpr double bernoulli[] = {
    0.08333333333333333,   -0.001388888888888889,  3.306878306878307e-05,  -8.267195767195768e-07,
    2.08767569878681e-08,  -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13,
    8.586062056277845e-15, -2.174868698558062e-16, 5.509002828360229e-18,  -1.395446468581252e-19};

// x^n, by squares.
Term whole_power(Term x, int n) {
  Term power = x, result = constant_like(x, 1);
  for (bool first = true; n > 0; n /= 2) {
    if (n % 2 == 1) result = first ? power : result * power;
    if (n % 2 == 1) first = false;
    if (n > 1) power = power * power;
  }
  return result;
}

// The sum of (x + k)^-s over k for x >= 0, by Euler and Maclaurin's formula from that term on. The
// powers are of 1 / (x + k), which never overflow.
Term sum_of_powers(Term x, int s) {
  const int terms = 10 + s / 2;
  Term sum = whole_power(1.0 / x, s);
  for (int k = 1; k < terms; ++k) sum = sum + whole_power(1.0 / (x + k), s);
  const Term inverse = 1.0 / (x + terms);
  const Term square = inverse * inverse;
  const Term shorter = whole_power(inverse, s - 1);
  const Term last = shorter * inverse;
  double factor = s;
  std::vector<double> series;
  for (int k = 0; k < 10; ++k) {
    series.push_back(bernoulli[k] * factor);
    factor *= (s + 2.0 * k + 1) * (s + 2.0 * k + 2);
  }
  Term rest = constant_like(x, series.back());
  for (std::size_t k = series.size() - 1; k-- > 0;) rest = fma(rest, square, series[k]);
  return sum + fma(shorter, 1.0 / (s - 1), fma(last, 0.5, last * inverse * rest));
}

// The n-th derivative of pi cot(pi x) is a polynomial of the cotangent.
std::vector<double> cotangent_derivative(int n) {
  std::vector<double> coefficients = {0, pi};
  for (int order = 0; order < n; ++order) {
    std::vector<double> next(coefficients.size() + 1);
    for (std::size_t k = 1; k < coefficients.size(); ++k) {
      const double slope = -pi * static_cast<double>(k) * coefficients[k];
      next[k - 1] += slope;
      next[k + 1] += slope;
    }
    coefficients = std::move(next);
  }
  return coefficients;
}

Term polygamma_of(int n, Term x) {
  const bool is_odd = n % 2 == 1;
  double factorial = is_odd ? 1 : -1;
  for (int k = 2; k <= n; ++k) factorial *= k;
  const Term reflected = x < 0.0;
  const Term above = sum_of_powers(select(reflected, 1.0 - x, x), n + 1) * factorial;
  const PiMultiple multiple(select(reflected, x, 0.25));
  const Term cotangent = multiple.cotangent();
  const std::vector<double> powers = cotangent_derivative(n);
  Term derivative = constant_like(x, powers.back());
  for (std::size_t k = powers.size() - 1; k-- > 0;) {
    derivative = fma(derivative, cotangent, powers[k]);
  }
  const Term below = (is_odd ? -above : above) - derivative;
  const Term is_pole = reflected && equal(multiple.angle, 0.0);
  const Term result = select(reflected, below, above);
  return select(is_pole, is_odd ? inf : -inf, result);
}

// polygamma: which derivative it is.
int derivative_of(const Attributes& attributes) {
  return static_cast<int>(attributes.integers.at(0));
}

Tensor apply_polygamma(int n, const Tensor& x) {
  // The factorials of greater ones are beyond the numbers of f64.
  if (n > 150) ops::fail_value("polygamma", "derivatives above the 150th are not available");
  Attributes attributes;
  attributes.integers = {n};
  return ops::apply(polygamma_op, {x}, std::move(attributes));
}

std::vector<Sample> polygamma_samples() {
  std::vector<Sample> samples = ops::unary_samples(
      {.function = trigamma, .low = 0.4, .high = 9, .special = {20, -0.3, -2.6}});
  for (const int n : {2, 5}) {
    samples.push_back({{ops::spread(DType::f64, {17}, 0.5, 6)},
                       [n](std::span<const Tensor> in) { return polygamma(n, in[0]); },
                       true});
  }
  return samples;
}

void draw_polygamma(ops::Draw& d) {
  if (d.one_in(2)) {
    ops::draw_unary(d, "trigamma", trigamma, ops::floating);
  } else {
    d.call("polygamma", polygamma, 1 + d.below(3), d.operand(ops::floating));
  }
}

// There is no gradient of second order by s.
std::vector<Sample> zeta_samples() {
  std::vector<Sample> samples = ops::few_binary_samples({.function = zeta,
                                                         .low_x = 1.5,
                                                         .high_x = 6,
                                                         .low_y = 0.3,
                                                         .high_y = 5,
                                                         .differentiable = false});
  const auto of_one_half = [](const Operand& q) { return zeta(2.5, q); };
  for (Sample& sample : ops::few_unary_samples({.function = of_one_half, .low = 0.3, .high = 5})) {
    samples.push_back(std::move(sample));
  }
  return samples;
}

// As sum_of_powers, with any exponent.
Term zeta_of(Term s, Term q) {
  constexpr int terms = 9;
  const Term minus = -s;
  Term sum = ops::call(loop::Op::pow, q, minus);
  for (int k = 1; k < terms; ++k) sum = sum + ops::call(loop::Op::pow, q + k, minus);
  const Term beyond = q + terms;
  const Term inverse = 1.0 / beyond;
  const Term square = inverse * inverse;
  const Term last = ops::call(loop::Op::pow, beyond, minus);
  const Term order = at_most(s, 1e4);  // the last term is 0 by then
  Term rest = constant_like(s, 0);
  for (int k = 11; k >= 0; --k) {
    // What the k-th of Bernoulli's terms and those behind it have in common with the one before.
    const Term next = (order + (2 * k + 1)) * (order + (2 * k + 2)) * square;
    rest = fma(rest, next, bernoulli[k]);
  }
  const Term beside =
      fma(order * inverse, rest, 0.5) + beyond / select(order > 1.0, order - 1.0, 1.0);
  const Term result = fma(last, beside, sum);
  const Term inside = (s > 1.0) && (q > 0.0);
  const Term at_one = equal(s, 1.0) && (q > 0.0);
  const Term at_edge = at_one || (equal(q, 0.0) && (s > 1.0));
  return select(inside, result, select(at_edge, inf, nan));
}

// Its derivative by s, term by term.
Term zeta_by_s_of(Term s, Term q) {
  constexpr int terms = 9;
  const auto power = [&](const Term& x) { return ops::call(loop::Op::pow, x, -s); };
  const Term inside = (s > 1.0) && (q > 0.0) && (q < inf);
  const Term from = select(inside, q, 1.0);
  Term sum = ops::log(from) * power(from);
  for (int k = 1; k < terms; ++k) sum = fma(ops::log(from + k), power(from + k), sum);
  const Term beyond = from + terms;
  const Term inverse = 1.0 / beyond;
  const Term square = inverse * inverse;
  const Dual order = at_most(ops::parameter(s), 1e4);
  Dual rest = ops::fixed(constant_like(s, 0));
  for (int k = 11; k >= 0; --k) {
    rest = fma(rest, (order + (2 * k + 1)) * (order + (2 * k + 2)) * square, bernoulli[k]);
  }
  const Dual less = order - 1.0;
  const Dual safe{select(inside, less.value, 1.0), less.derivative};
  const Dual beside = fma(order * inverse, rest, 0.5) + beyond / safe;
  const Term tail = power(beyond) * fma(ops::log(beyond), -beside.value, beside.derivative);
  const Term at_one = equal(s, 1.0) && (q > 0.0);
  const Term at_edge = select(at_one, -inf, select(equal(q, 0.0) && (s > 1.0), inf, nan));
  const Term at_infinity = equal(q, inf) && (s > 1.0);
  return select(inside, tail - sum, select(at_infinity, 0.0, at_edge));
}

std::vector<Sample> zeta_by_s_samples() {
  std::vector<Sample> samples = ops::few_binary_samples(
      {.function = [](const Operand& s,
                      const Operand& q) { return ops::apply_binary(zeta_by_s_op, s, q); },
       .low_x = 1.5,
       .high_x = 6,
       .low_y = 0.3,
       .high_y = 5,
       .differentiable = false});
  const auto of_q = [](const Operand& q) { return ops::apply_binary(zeta_by_s_op, 2.5, q); };
  for (Sample& sample : ops::few_unary_samples({.function = of_q, .low = 0.3, .high = 5})) {
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

Term ops::gammaln_of_positive(const Term& x) { return LogGamma(x).value; }
Term ops::digamma_of_positive(const Term& x) { return digamma_above(x); }

// log(gamma(a) gamma(b) / gamma(a + b)). With the larger one from far_from on, Stirling's formulas
// of it and the sum are subtracted as formulas, else the quotient of the values is taken.
Term ops::betaln_of(const Term& a, const Term& b) {
  const Term p = ops::smaller(a, b);
  const Term q = ops::larger(a, b);
  const Term far = q > far_from;
  const Term y = at_least(q, far_from);
  const Term total = p + y;
  const LogGamma log_gamma(p);
  const Term both_far = p > far_from;
  const Term logarithm = ops::log(select(both_far, p / total, total));
  // Of log gamma(p): all, or what p log(p) - p, which are in the logarithm, leave of it.
  const Term left =
      fma(log_gamma.log_x, -0.5, stirling_rest(at_least(p, far_from))) + half_log_two_pi;
  const Term of_p =
      select(both_far, fma(p, logarithm, left), log_gamma.value - fma(p, logarithm, -p));
  const Term of_q = (y - 0.5) * ops::log1p(p / y);
  const Term rests = stirling_rest(y) - stirling_rest(total);
  const Term large = of_p - of_q + rests;

  const Term small_p = at_most(p, far_from);
  const Term small_q = at_most(q, far_from);
  const Term quotient = AroundTwo(small_p).gamma() / AroundTwo(small_p + small_q, 14).gamma();
  const Term small = ops::log(quotient * AroundTwo(small_q).gamma());
  const Term result = select(far, large, small);
  const Term finite = q < inf;
  const Term inside = (p > 0.0) && (q > 0.0);
  const Term at_zero = equal(p, 0.0) && finite;
  return select(inside, select(finite, result, -inf), select(at_zero, inf, nan));
}

// y = log|gamma(x)|
constinit const OpRecord gammaln_op = elementwise<gammaln_op>(
    {.name = "gammaln",
     .cost = 100,
     .value = of_terms<gammaln_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * digamma(x[0])}; },
     .reference = [](double x) { return reference::gammaln(x); },
     .range = {0.2, 9},
     .special = {1, 2, 20, -0.3, -2.6}});

// y = gamma(x)
constinit const OpRecord gamma_op = elementwise<gamma_op>(
    {.name = "gamma",
     .cost = 120,
     .value = in_f64<gamma_of>,
     .derivatives = [](auto& y, auto x, auto& g) -> Tensors { return {g * (y * digamma(x[0]))}; },
     .reference = [](double x) { return reference::gamma(x); },
     .range = {0.3, 5},
     .special = {10, -0.3, -2.6}});

// y = the derivative of gammaln
constinit const OpRecord digamma_op =
    elementwise<digamma_op>({.name = "digamma",
                             .cost = 90,
                             .value = in_f64<digamma_of>,
                             .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                               return {g * apply_polygamma(1, x[0])};
                             },
                             .reference = [](double x) { return reference::polygamma(0, x); },
                             .range = {0.4, 10},
                             .special = {1.4616321449683622, 20, -0.3, -2.6}});

// y = the derivative of digamma of order integers[0], at least 1
constinit const OpRecord polygamma_op = {
    .name = "polygamma",
    .kind = OpKind::elementwise,
    .cost = 100,
    .infer = ops::same_type<ops::Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Node& node = y.node();
      return {g * apply_polygamma(derivative_of(node.attributes) + 1, node.inputs[0])};
    },
    .at =
        [](PointContext& context, const Index& index) {
          const loop::Expr x = loop::cast(context.input(0, index), DType::f64);
          const Term value = polygamma_of(derivative_of(context.attributes()), ops::term(x));
          return loop::cast(value.v, context.type().dtype);
        },
    .reference =
        [](ReferenceContext& c) {
          const int n = derivative_of(c.attributes);
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            c.output.data[i] = reference::polygamma(n, c.inputs[0]->data[i]);
          }
        },
    .batch = ops::batch_elementwise<polygamma_op>,
    .draw = draw_polygamma,
    .samples = polygamma_samples};

// z = the sum of (q + k)^-s.   ds = zeta_by_s(s, q) dz, dq = -s zeta(s + 1, q) dz
constinit const OpRecord zeta_op =
    elementwise<zeta_op>({.name = "zeta",
                          .cost = 400,
                          .value = in_f64_of_two<zeta_of>,
                          .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                            const Tensor fixed = ops::without_second_gradient(x[0], "zeta", "s");
                            return {g * ops::apply(zeta_by_s_op, {fixed, x[1]}),
                                    -(g * (x[0] * ops::apply(zeta_op, {x[0] + 1, x[1]})))};
                          },
                          .reference = [](double s, double q) { return reference::zeta(s, q); },
                          .samples = zeta_samples});

// z = the derivative of zeta by s.   dq = -(zeta(s + 1, q) + s zeta_by_s(s + 1, q)) dz
constinit const OpRecord zeta_by_s_op = ops::only_in_gradients(elementwise<zeta_by_s_op>(
    {.name = "zeta_by_s",
     .cost = 700,
     .value = in_f64_of_two<zeta_by_s_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       const Tensors next = {x[0] + 1, x[1]};
       return {g, -(g * (ops::apply(zeta_op, next) + x[0] * ops::apply(zeta_by_s_op, next)))};
     },
     .reference = [](double s, double q) { return reference::zeta_by_s(s, q); },
     .samples = zeta_by_s_samples}));

// z = log(gamma(a) gamma(b) / gamma(a + b))
constinit const OpRecord betaln_op = elementwise<betaln_op>(
    {.name = "betaln",
     .cost = 250,
     .commutative = true,
     .value = in_f64_of_two<ops::betaln_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       const Tensor both = digamma(x[0] + x[1]);
       return {g * (digamma(x[0]) - both), g * (digamma(x[1]) - both)};
     },
     .reference = [](double a, double b) { return reference::betaln(a, b); },
     .samples =
         [] {
           return ops::few_binary_samples(
               {.function = betaln, .low_x = 0.3, .high_x = 12, .low_y = 0.3, .high_y = 12});
         }});

Tensor gammaln(const Operand& x) { return ops::apply_unary(gammaln_op, x); }
Tensor gamma(const Operand& x) { return ops::apply_unary(gamma_op, x); }
Tensor digamma(const Operand& x) { return ops::apply_unary(digamma_op, x); }
Tensor betaln(const Operand& a, const Operand& b) { return ops::apply_binary(betaln_op, a, b); }

Tensor lgamma(const Operand& x) {
  const LineScope scope(x.line());
  return gammaln(x);
}

Tensor psi(const Operand& x) {
  const LineScope scope(x.line());
  return digamma(x);
}

Tensor polygamma(int n, const Operand& x) {
  const LineScope scope(x.line());
  if (n < 0 || n > 100) {
    ops::fail_value("polygamma", "n must be from 0 to 100, got " + std::to_string(n));
  }
  return n == 0 ? digamma(x) : apply_polygamma(n, x.tensor());
}

Tensor trigamma(const Operand& x) {
  const LineScope scope(x.line());
  return apply_polygamma(1, x.tensor());
}

Tensor beta(const Operand& a, const Operand& b) {
  const LineScope scope(a.line());
  const std::vector<Tensor> both = ops::promoted(a, b);
  if (!is_float(both[0].dtype())) {
    ops::fail_type(OpRecord{.name = "beta"}, both, "takes floating point only");
  }
  return cast(exp(betaln(cast(both[0], f64), cast(both[1], f64))), both[0].dtype());
}

Tensor zeta(const Operand& s, const Operand& q) {
  const LineScope scope(s.line(), "zeta");
  return ops::apply_binary(zeta_op, s, q);
}

Tensor zeta(const Operand& s) {
  const LineScope scope(s.line(), "zeta");
  return zeta(s, 1);
}

}  // namespace kroton
