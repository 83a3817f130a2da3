// The regularised incomplete beta function.
#include <kroton/elementwise.h>
#include <kroton/special.h>

#include <cmath>
#include <limits>

#include "compiler/ops/dual_terms.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/special_incomplete.h"
#include "compiler/ops/special_reference.h"

namespace kroton {

std::vector<Sample> ops::samples_of_three(OfThree function, Tensor (*of_halves)(const Operand&)) {
  std::vector<Sample> samples;
  const std::vector<std::vector<ops::HostShape>> shapes = {
      {{0}, {0}, {}}, {{1}, {1}, {1}}, {{17}, {17}, {17}}, {{3, 1}, {3, 5}, {5}}};
  for (const auto& s : shapes) {
    const DType dtype = s[0].size() > 1 ? DType::f32 : DType::f64;
    samples.push_back({{ops::spread(dtype, s[0], 0.3, 20, 1), ops::spread(dtype, s[1], 0.3, 20, 2),
                        ops::spread(dtype, s[2], 0.05, 0.95, 3)},
                       [=](std::span<const Tensor> in) { return function(in[0], in[1], in[2]); },
                       false});
  }
  samples.push_back(ops::differentiable_sample(of_halves, 0.1, 0.9));
  return samples;
}

Tensor ops::apply_of_three(const OpRecord& op, const Operand& a, const Operand& b,
                           const Operand& x) {
  const Operand& tensor = !x.is_literal() ? x : !a.is_literal() ? a : b;
  const std::vector<Tensor> all =
      promoted({promoted(a, tensor)[0], promoted(b, tensor)[0], promoted(x, tensor)[0]});
  return apply(op, broadcast(op, all));
}

using ops::constant_like;
using ops::Dual;
using ops::elementwise;
using ops::in_f64_of_three;
using ops::Operands;
using ops::Tensors;
using ops::Term;

namespace {

using ops::nan;
// The terms of the continued fraction are enough where the smaller of a and b is no more than that.
constexpr double known_up_to = 1000;
constexpr int fraction_terms = 80;

// 1 / (1 + d1 / (1 + d2 / (1 + ...))), d_2k = k (b - k) x / ((a + 2k - 1) (a + 2k)) and
// d_(2k+1) = -(a + k) (a + b + k) x / ((a + 2k) (a + 2k + 1)), for x up to (a + 1) / (a + b + 2):
// b x is no more than a + 1, however large b is.
template <class T>
T continued_fraction(T a, T b, Term x) {
  const T both = a + b;
  T fraction = constant_like(a, 1);
  for (int m = 2 * fraction_terms; m > 0; --m) {
    const int k = m / 2;
    const T numerator = m % 2 == 0 ? (b - k) * x * k : -(a + k) * ((both + k) * x);
    const T place = a + m;
    const T before = a + (m - 1);
    fraction = numerator / (place * before * fraction) + 1.0;
  }
  return 1.0 / fraction;
}

// The fraction converges on one side of the mean, and the other side is 1 minus that.
struct Side {
  Term beyond, a, b, x, log_x, log_other;
  Side(Term p, Term q, Term y) : beyond(y), a(p), b(q), x(y), log_x(y), log_other(y) {
    beyond = y * (p + q + 2.0) > p + 1.0;
    a = select(beyond, q, p);
    b = select(beyond, p, q);
    x = select(beyond, 1.0 - y, y);
    const Term log_y = ops::log(y), log_rest = ops::log1p(-y);
    log_x = select(beyond, log_rest, log_y);
    log_other = select(beyond, log_y, log_rest);
  }
  // x^a (1 - x)^b / beta(a, b)
  Term slope() const { return ops::exp(fma(a, log_x, b * log_other) - ops::betaln_of(a, b)); }
  // Squares of a stay finite.
  Term fraction() const { return continued_fraction(at_most(a, 1e100), b, x); }
  Term known() const { return ops::smaller(a, b) < known_up_to + 0.5; }
};

Term betainc_of(Term a, Term b, Term x) {
  const Term plain = (a > 0.0) && (b > 0.0) && (x > 0.0) && (x < 1.0);
  const ops::IncompleteBeta inside =
      ops::incomplete_beta(select(plain, a, 1.0), select(plain, b, 1.0), select(plain, x, 0.5));
  const Term at_end = (a > 0.0) && (b > 0.0) && (equal(x, 0.0) || equal(x, 1.0));
  return select(plain, inside.value, select(at_end, x, nan));
}

// The derivative by a, or by b, term by term.
Term derivative_of(Term a, Term b, Term x, bool by_a) {
  const Term plain = (a > 0.0) && (b > 0.0) && (x > 0.0) && (x < 1.0);
  const Side side(select(plain, a, 1.0), select(plain, b, 1.0), select(plain, x, 0.5));
  // What it is where that is the first parameter of the side, and where it is the second one.
  const auto pick = [&](const Term& of_first, const Term& of_second) {
    return by_a ? select(side.beyond, of_second, of_first)
                : select(side.beyond, of_first, of_second);
  };
  const Term one = constant_like(a, 1), zero = constant_like(a, 0);
  const Dual first{at_most(side.a, 1e100), pick(one, zero)};
  const Dual second{side.b, pick(zero, one)};
  const Dual fraction = continued_fraction(first, second, side.x);
  const Term of_sum = ops::digamma_of_positive(side.a + side.b);
  const Term of_logarithm = pick(side.log_x, side.log_other) + of_sum -
                            ops::digamma_of_positive(pick(side.a + 1.0, side.b));
  const Term value = side.slope() / side.a * fma(fraction.value, of_logarithm, fraction.derivative);
  const Term at_end = (a > 0.0) && (b > 0.0) && (equal(x, 0.0) || equal(x, 1.0));
  const Term signed_value = select(side.beyond, -value, value);
  return select(plain && side.known(), signed_value, select(at_end, 0.0, nan));
}

Term by_a_of(Term a, Term b, Term x) { return derivative_of(a, b, x, true); }
Term by_b_of(Term a, Term b, Term x) { return derivative_of(a, b, x, false); }

// x^(a - 1) (1 - x)^(b - 1) / beta(a, b), in f64: the logarithm's terms are large and nearly
// cancel.
Tensor betainc_density(Operands operands) {
  const Tensor a = cast(operands[0], f64), b = cast(operands[1], f64), x = cast(operands[2], f64);
  return cast(exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b)), operands[0].dtype());
}

template <const OpRecord& op>
Tensor of_three(const Operand& a, const Operand& b, const Operand& x) {
  return ops::apply_of_three(op, a, b, x);
}

template <const OpRecord& op>
std::vector<Sample> samples_of() {
  return ops::samples_of_three(of_three<op>,
                               [](const Operand& x) { return of_three<op>(2.5, 1.5, x); });
}

void draw_betainc(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::floating);
  const ops::Slot a = d.partner(x, ops::floating);
  switch (d.below(3)) {
    case 0:
      d.call("betainc", betainc, 2.5, 1.5, x);
      break;
    case 1:
      d.call("betainc", betainc, a, d.literal(x), x);
      break;
    default:
      d.call("betainc", betainc, a, a, x);
  }
}

}  // namespace

// z = the share of beta(a, b) that its integral has up to x.   da = betainc_by_a dz, and so on
constinit const OpRecord betainc_op = elementwise<betainc_op>(
    {.name = "betainc",
     .cost = 1200,
     .value = in_f64_of_three<betainc_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       const Tensors fixed = {ops::without_second_gradient(x[0], "betainc", "a"),
                              ops::without_second_gradient(x[1], "betainc", "b"), x[2]};
       return {g * ops::apply(betainc_by_a_op, fixed), g * ops::apply(betainc_by_b_op, fixed),
               g * betainc_density(x)};
     },
     .reference = [](double a, double b, double x) { return ops::reference::betainc(a, b, x); },
     .draw = draw_betainc,
     .samples = samples_of<betainc_op>});

// z = the derivative of betainc by a.   dx = density (log(x) - digamma(a) + digamma(a + b)) dz
constinit const OpRecord betainc_by_a_op = ops::only_in_gradients(elementwise<betainc_by_a_op>(
    {.name = "betainc_by_a",
     .cost = 3000,
     .value = in_f64_of_three<by_a_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g, g, g * (betainc_density(x) * (log(x[2]) - digamma(x[0]) + digamma(x[0] + x[1])))};
     },
     .reference = [](double a, double b,
                     double x) { return ops::reference::betainc_by(a, b, x, true); },
     .samples = samples_of<betainc_by_a_op>}));

// z = the derivative of betainc by b.   dx = density (log(1 - x) - digamma(b) + digamma(a + b)) dz
constinit const OpRecord betainc_by_b_op = ops::only_in_gradients(elementwise<betainc_by_b_op>(
    {.name = "betainc_by_b",
     .cost = 3000,
     .value = in_f64_of_three<by_b_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g, g,
               g * (betainc_density(x) * (log1p(-x[2]) - digamma(x[1]) + digamma(x[0] + x[1])))};
     },
     .reference = [](double a, double b,
                     double x) { return ops::reference::betainc_by(a, b, x, false); },
     .samples = samples_of<betainc_by_b_op>}));

ops::IncompleteBeta ops::incomplete_beta(const Term& a, const Term& b, const Term& x) {
  const Side side(a, b, x);
  const Term slope = side.slope();
  const Term value = slope / side.a * side.fraction();
  const Term other = select(value > 1.0, 0.0, 1.0 - value);
  return {select(side.known(), select(side.beyond, other, value), nan),
          select(side.known(), select(side.beyond, value, other), nan), slope};
}

Tensor betainc(const Operand& a, const Operand& b, const Operand& x) {
  const LineScope scope(a.line());
  return ops::apply_of_three(betainc_op, a, b, x);
}

}  // namespace kroton
