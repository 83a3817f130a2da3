// The regularised incomplete beta function.
#include <kroton/elementwise.h>
#include <kroton/special.h>

#include <cmath>
#include <limits>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/no_gradient.h"
#include "compiler/ops/special_reference.h"
#include "compiler/ops/special_terms.h"

namespace kroton {

using ops::constant_like;
using ops::elementwise;
using ops::in_f64_of_three;
using ops::Operands;
using ops::Tensors;
using ops::Term;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
// The terms of the continued fraction are enough where the smaller of a and b is no more than that.
constexpr double most = 1000;
constexpr int terms = 80;

// 1 / (1 + d1 / (1 + d2 / (1 + ...))), d_2k = k (b - k) x / ((a + 2k - 1) (a + 2k)) and
// d_(2k+1) = -(a + k) (a + b + k) x / ((a + 2k) (a + 2k + 1)), for x up to (a + 1) / (a + b + 2).
Term continued_fraction(Term a, Term b, Term x) {
  const Term both = a + b;
  Term fraction = constant_like(a, 1);
  for (int m = 2 * terms; m > 0; --m) {
    const int k = m / 2;
    const Term numerator = m % 2 == 0 ? (b - k) * k : -(a + k) * (both + k);
    const Term place = a + m;
    const Term before = a + (m - 1);
    fraction = numerator * x / (place * before * fraction) + 1.0;
  }
  return 1.0 / fraction;
}

Term betainc_of(Term a, Term b, Term x) {
  const Term plain = (a > 0.0) && (b > 0.0) && (x > 0.0) && (x < 1.0);
  const Term safe_a = select(plain, a, 1.0);
  const Term safe_b = select(plain, b, 1.0);
  const Term y = select(plain, x, 0.5);
  // The fraction converges on one side of the mean, and the other side is 1 minus that.
  const Term beyond = y * (safe_a + safe_b + 2.0) > safe_a + 1.0;
  const Term first = select(beyond, safe_b, safe_a);
  const Term second = select(beyond, safe_a, safe_b);
  const Term at = select(beyond, 1.0 - y, y);
  const Term logarithm = fma(safe_a, ops::log(y), safe_b * ops::log1p(-y));
  const Term power = ops::exp(logarithm - ops::betaln_of(safe_a, safe_b)) / first;
  // Of parameters so large that their products overflow nothing is left but 0 and 1.
  const Term fraction = continued_fraction(at_most(first, 1e100), at_most(second, 1e100), at);
  const Term value = power * fraction;
  const Term result = select(beyond, 1.0 - value, value);
  const Term known = ops::smaller(safe_a, safe_b) < most + 0.5;
  const Term inside = (a > 0.0) && (b > 0.0);
  const Term at_end = inside && (equal(x, 0.0) || equal(x, 1.0));
  return select(plain && known, result, select(at_end, x, nan));
}

// x^(a - 1) (1 - x)^(b - 1) / beta(a, b), in f64: the logarithm's terms are large and nearly
// cancel.
Tensor density(Operands operands) {
  const Tensor a = cast(operands[0], f64), b = cast(operands[1], f64), x = cast(operands[2], f64);
  return cast(exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b)), operands[0].dtype());
}

std::vector<Sample> betainc_samples() {
  std::vector<Sample> samples;
  const std::vector<std::vector<ops::HostShape>> shapes = {
      {{0}, {0}, {}}, {{1}, {1}, {1}}, {{17}, {17}, {17}}, {{3, 1}, {3, 5}, {5}}};
  for (const auto& s : shapes) {
    const DType dtype = s[0].size() > 1 ? DType::f32 : DType::f64;
    samples.push_back({{ops::spread(dtype, s[0], 0.3, 20, 1), ops::spread(dtype, s[1], 0.3, 20, 2),
                        ops::spread(dtype, s[2], 0.05, 0.95, 3)},
                       [](std::span<const Tensor> in) { return betainc(in[0], in[1], in[2]); },
                       false});
  }
  const auto of_halves = [](const Operand& x) { return betainc(2.5, 1.5, x); };
  for (Sample& sample : ops::few_unary_samples({.function = of_halves, .low = 0.1, .high = 0.9})) {
    samples.push_back(std::move(sample));
  }
  return samples;
}

void draw_betainc(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::floating);
  const ops::Slot a = d.partner(x, ops::floating);
  if (d.one_in(2)) {
    d.call("betainc", betainc, a, d.literal(x), x);
  } else {
    d.call("betainc", betainc, 2.5, 1.5, x);
  }
}

}  // namespace

// z = the share of beta(a, b) that its integral has up to x.   The public function sees to da, db
constinit const OpRecord betainc_op = elementwise<betainc_op>(
    {.name = "betainc",
     .cost = 1200,
     .value = in_f64_of_three<betainc_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g, g, g * density(x)}; },
     .reference = [](double a, double b, double x) { return ops::reference::betainc(a, b, x); },
     .draw = draw_betainc,
     .samples = betainc_samples});

Tensor betainc(const Operand& a, const Operand& b, const Operand& x) {
  const LineScope scope(a.line());
  // A literal takes the dtype of a tensor among the others.
  const Operand& tensor = !x.is_literal() ? x : !a.is_literal() ? a : b;
  std::vector<Tensor> all = {ops::promoted(a, tensor)[0], ops::promoted(b, tensor)[0],
                             ops::promoted(x, tensor)[0]};
  all = ops::promoted(all);
  if (is_float(all[0].dtype())) {
    all[0] = without_gradient(all[0], "betainc", "a");
    all[1] = without_gradient(all[1], "betainc", "b");
  }
  return ops::apply(betainc_op, ops::broadcast(betainc_op, all));
}

}  // namespace kroton
