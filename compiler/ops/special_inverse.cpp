// Inverses of the incomplete gamma and beta functions: a first guess, and some steps towards the
// argument whose share is the given one. The steps are Halley's on the logarithm of the share that
// lies on the nearer side, as a function of log(x), or of log(x / (1 - x)): as both distributions
// are log-concave in these, it has no turning point, and is nearly a line far out.
#include <kroton/elementwise.h>
#include <kroton/special.h>

#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/few_samples.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/special_incomplete.h"
#include "compiler/ops/special_reference.h"

namespace kroton {

using ops::constant_like;
using ops::larger;
using ops::smaller;
using ops::Term;
using Tensors = std::vector<Tensor>;

namespace {

using ops::inf;
using ops::nan;
constexpr double euler = 0.5772156649015329;

// What is known of a share at the argument in hand: its logarithm, and how that changes with the
// variable, by size. Where the share is hardly a number any more they follow from its density,
// times x, which is e^log_density and about `asymptotic` times the share.
struct LogShare {
  Term value, slope;
  LogShare(Term share, Term density, Term log_density, Term asymptotic)
      : value(share), slope(share) {
    const Term is_known = share > 1e-290;
    const Term known = select(is_known, share, 1.0);
    const Term ratio = at_least(asymptotic, 0.5);
    value = select(is_known, ops::log(known), log_density - ops::log(ratio));
    slope = select(is_known, at_least(density, 1e-300) / known, ratio);
  }
};

// The step in the logarithm's variable: of the function, whose value should be 0, its slope, and
// its second derivative over that.
Term halley(Term value, Term slope, Term bend, double most) {
  const Term newton = value / slope;
  const Term step = newton / at_least(1.0 - newton * bend * 0.5, 0.5);
  return at_least(at_most(-step, most), -most);
}

// ---- Gamma

// log(gamma(a + 1)), also of an a that is tiny beside the 1.
Term log_gamma_of_next(Term a) {
  const Term small = at_most(a, 0.5);
  const Term near = small * horner(small * 2.0, ops::coefficients::lgamma) - ops::log1p(small);
  return select(a < 0.5, near, ops::gammaln_of_positive(a + 1.0));
}

// What is looked for: x with that share below and beyond it; `tail` is the smaller of both.
struct GammaTarget {
  Term a, below, beyond, tail, by_upper, plain, log_gamma;
  GammaTarget(Term its_a, Term share, bool upper)
      : a(its_a),
        below(share),
        beyond(share),
        tail(share),
        by_upper(share),
        plain(share),
        log_gamma(share) {
    plain = (its_a > 0.0) && (its_a < inf) && (share > 0.0) && (share < 1.0);
    a = select(plain, its_a, 1.0);
    const Term given = select(plain, share, 0.5);
    const Term other = 1.0 - given;
    below = upper ? other : given;
    beyond = upper ? given : other;
    by_upper = beyond < below;
    tail = smaller(below, beyond);
    log_gamma = log_gamma_of_next(a);  // of a + 1
  }
};

// For a >= 1 by Wilson and Hilferty's normal approximation, or in the lower tail by x^a / gamma(a +
// 1), which is above the share. For a < 1 by that, or in the upper tail by e^-x x^(a - 1) /
// gamma(a) (DiDonato and Morris 1986).
Term guess_of(const GammaTarget& t) {
  const Term root = sqrt(ops::log(t.tail) * -2.0);
  const Term normal =
      root - fma(root, 0.27061, 2.30753) / fma(root, fma(root, 0.04481, 0.99229), 1.0);
  const Term deviate = select(t.by_upper, normal, -normal);
  const Term third = 1.0 / (sqrt(t.a) * 3.0);
  const Term cube_root = at_least(1.0 - third * third + deviate * third, 0.0);
  const Term central = t.a * cube_root * cube_root * cube_root;
  const Term log_below = select(t.by_upper, ops::log1p(-t.beyond), ops::log(t.below));
  const Term lower = ops::exp((log_below + t.log_gamma) / t.a);
  const Term large = larger(central, lower);
  // lower / (1 - lower / (a + 1)), another term of the series.
  const Term bent = lower / at_least(1.0 - lower / (t.a + 1.0), 0.2);
  const Term log_density = ops::log(t.beyond) + t.log_gamma - ops::log(t.a);
  const Term y = at_least(-log_density, 0.7);
  // The bounds are for the places that do not use it, where logarithms would have none.
  const Term u = at_least(fma(t.a - 1.0, ops::log(y), y), 0.1);
  const Term far =
      fma(t.a - 1.0, ops::log(u), y) - ops::log1p(at_least((1.0 - t.a) / (u + 1.0), -0.9));
  const Term beyond = select(log_density < -0.8, at_least(far, 0.05), bent);
  const Term in_tail = t.by_upper && (y > t.a + t.a);
  return select(t.a < 1.0, beyond, select(in_tail, far, large));
}

// From there on below, x^a / gamma(a + 1) is exact.
constexpr double least_answer = 1e-30;

Term next_of(const GammaTarget& t, Term x) {
  const Term at = at_least(at_most(x, 1e300), least_answer);
  const ops::IncompleteGamma here = ops::incomplete_gamma(t.a, at);
  const Term log_density = t.a * ops::log(at) - at - t.log_gamma + ops::log(t.a);
  const LogShare share(select(t.by_upper, here.upper, here.lower), here.slope, log_density,
                       select(t.by_upper, at - t.a + 1.0, t.a - at));
  const Term slope = select(t.by_upper, -share.slope, share.slope);
  const Term step = halley(share.value - ops::log(t.tail), slope, t.a - at - slope, 3);
  return select(x < least_answer, x, at * ops::exp(step));
}

// ---- Beta

// The variable is x, or 1 - x with the parameters exchanged: the one that is below 1/2.
struct BetaTarget {
  Term a, b, below, tail, by_upper, mirrored, plain, log_beta;
  BetaTarget(Term its_a, Term its_b, Term p)
      : a(its_a), b(its_b), below(p), tail(p), by_upper(p), mirrored(p), plain(p), log_beta(p) {
    plain = (its_a > 0.0) && (its_b > 0.0) && (p > 0.0) && (p < 1.0) &&
            (smaller(its_a, its_b) < 1000.5) && (larger(its_a, its_b) < 1e300);
    const Term safe_a = select(plain, its_a, 1.0), safe_b = select(plain, its_b, 1.0);
    const Term share = select(plain, p, 0.25);
    mirrored = share > ops::incomplete_beta(safe_a, safe_b, constant_like(p, 0.5)).value;
    a = select(mirrored, safe_b, safe_a);
    b = select(mirrored, safe_a, safe_b);
    below = select(mirrored, 1.0 - share, share);
    by_upper = below > 0.5;
    tail = select(by_upper, select(mirrored, share, 1.0 - share), below);
    log_beta = ops::betaln_of(a, b);
  }
};

// By the normal approximation of AS 109 where both parameters are above 1 and x is not small, else
// by x^a / (a beta(a, b)) or the mean.
Term guess_of(const BetaTarget& t) {
  const Term log_below = select(t.by_upper, ops::log1p(-t.tail), ops::log(t.tail));
  const Term log_power = (log_below + ops::log(t.a) + t.log_beta) / t.a;
  const Term mean = t.a / (t.a + t.b);
  const Term power = smaller(ops::exp(at_most(log_power, 0)), mean);
  const Term root = sqrt(ops::log(t.tail) * -2.0);
  const Term size =
      root - fma(root, 0.27061, 2.30753) / fma(root, fma(root, 0.04481, 0.99229), 1.0);
  const Term normal = select(t.by_upper, -size, size);
  const Term s = 1.0 / at_least(t.a + t.a - 1.0, 1), r = 1.0 / at_least(t.b + t.b - 1.0, 1);
  const Term curvature = (normal * normal - 3.0) * (1.0 / 6);
  const Term h = 2.0 / (s + r);
  const Term w = normal * sqrt(at_least(h + curvature, 0)) / h -
                 (r - s) * (curvature + 5.0 / 6 - 2.0 / (h * 3.0));
  const Term central = t.a / (t.a + t.b * ops::exp(at_least(at_most(w + w, 600), -600)));
  const Term both_large = (smaller(t.a, t.b) > 1.0) && (power * t.b > 0.3);
  return at_most(select(both_large, central, power), 0.5);
}

Term next_of(const BetaTarget& t, Term x) {
  // Below, x^a / (a beta(a, b)) is exact, which the first guess is then.
  const Term at = at_least(at_most(x, 0.75), least_answer);
  const ops::IncompleteBeta here = ops::incomplete_beta(t.a, t.b, at);
  const Term log_density = fma(t.a, ops::log(at), t.b * ops::log1p(-at)) - t.log_beta;
  const Term fall = t.a - (t.a + t.b) * at;
  const LogShare share(select(t.by_upper, here.complement, here.value), here.slope, log_density,
                       select(t.by_upper, 1.0 - fall, fall));
  const Term slope = select(t.by_upper, -share.slope, share.slope);
  const Term step = halley(share.value - ops::log(t.tail), slope, fall - slope, 20);
  const Term factor = ops::exp(step);
  const Term next = at * factor / fma(at, factor - 1.0, 1.0);
  return select(x < least_answer, x, next);
}

// ---- Records

// Every element begins as the guess and is stepped that many times; `finished` makes the result.
template <class Target>
void iterate(WriteContext& context, int steps,
             const std::function<Target(const std::vector<Term>& operands)>& target_of,
             const std::function<Term(const Target& target, Term found,
                                      const std::vector<Term>& operands)>& finished) {
  const DType dtype = context.type().dtype;
  const auto wide = [](const loop::Expr& e) { return ops::term(loop::cast(e, DType::f64)); };
  context.independent_nest(context.type().shape, [&](const Index& index) {
    std::vector<Term> operands;
    for (int k = 0; k < context.input_count(); ++k) {
      operands.push_back(wide(context.input(k, index)));
    }
    const Target target = target_of(operands);
    const auto found = [&] { return wide(context.stored(index)); };
    const auto store = [&](const Term& x) { context.store(index, loop::cast(x.v, dtype)); };
    store(guess_of(target));
    context.loop(loop::integer(steps), steps,
                 [&](const loop::Expr&) { store(next_of(target, found())); });
    store(finished(target, found(), operands));
  });
}

void gamma_write(WriteContext& context, bool upper) {
  iterate<GammaTarget>(
      context, 6, [&](const std::vector<Term>& in) { return GammaTarget(in[0], in[1], upper); },
      [&](const GammaTarget& target, Term found, const std::vector<Term>& in) {
        const Term inside = in[0] > 0.0;
        const Term at_zero = inside && equal(in[1], upper ? 1.0 : 0.0);
        const Term at_infinity = inside && equal(in[1], upper ? 0.0 : 1.0);
        const Term edge = select(at_zero, 0.0, select(at_infinity, inf, constant_like(found, nan)));
        return select(target.plain, found, edge);
      });
}

void beta_write(WriteContext& context) {
  iterate<BetaTarget>(
      context, 10, [](const std::vector<Term>& in) { return BetaTarget(in[0], in[1], in[2]); },
      [](const BetaTarget& target, Term found, const std::vector<Term>& in) {
        const Term inside = (in[0] > 0.0) && (in[1] > 0.0) && (smaller(in[0], in[1]) < 1000.5);
        const Term at_end = inside && (equal(in[2], 0.0) || equal(in[2], 1.0));
        const Term value = select(target.mirrored, 1.0 - found, found);
        return select(target.plain, value, select(at_end, in[2], nan));
      });
}

// The derivative by x of a distribution function at what an inverse has found, 1 over which is the
// inverse's; in f64, as its logarithm's terms nearly cancel.
Tensor gamma_density(const Tensor& a, const Tensor& x) {
  const Tensor wide_a = cast(a, f64), wide_x = cast(x, f64);
  return cast(exp(xlogy(wide_a - 1, wide_x) - wide_x - gammaln(wide_a)), a.dtype());
}

Tensor beta_density(const Tensor& a, const Tensor& b, const Tensor& x) {
  const Tensor p = cast(a, f64), q = cast(b, f64), y = cast(x, f64);
  return cast(exp(xlogy(p - 1, y) + xlog1py(q - 1, -y) - betaln(p, q)), a.dtype());
}

Tensors gamma_vjp(const Tensor& y, const Tensor& g, bool upper) {
  const Tensor& a = y.node().inputs[0];
  const Tensor by_share = g / where(lt(y, inf), gamma_density(a, y), 0);
  const Tensor inside = logical_and(gt(y, 0), lt(y, inf));
  const Tensor at = where(inside, y, 1);
  const Tensor by_a = where(inside, g * (at * ops::deviate_slope(a, log(at))), 0);
  return {by_a, upper ? -by_share : by_share};
}

Tensors beta_vjp(const Tensor& y, const Tensor& g) {
  const Tensors& in = y.node().inputs;
  const Tensors at = {ops::without_second_gradient(in[0], "betaincinv", "a"),
                      ops::without_second_gradient(in[1], "betaincinv", "b"), y};
  const Tensor inside = logical_and(gt(y, 0), lt(y, 1));
  const Tensor by_p = g / beta_density(in[0], in[1], y);
  return {where(inside, -(by_p * ops::apply(betainc_by_a_op, at)), 0),
          where(inside, -(by_p * ops::apply(betainc_by_b_op, at)), 0), by_p};
}

void gamma_reference(ReferenceContext& c, bool upper) {
  for (std::size_t i = 0; i < c.output.data.size(); ++i) {
    c.output.data[i] =
        ops::reference::gammaincinv(c.inputs[0]->data[i], c.inputs[1]->data[i], upper);
  }
}

// No derivative of second order by a.
std::vector<Sample> gamma_samples(ops::BinaryFunction function,
                                  Tensor (*of_a_half)(const Operand&)) {
  std::vector<Sample> samples = ops::few_binary_samples({.function = function,
                                                         .low_x = 0.3,
                                                         .high_x = 30,
                                                         .low_y = 0.02,
                                                         .high_y = 0.98,
                                                         .differentiable = false});
  samples.push_back(ops::differentiable_sample(of_a_half, 0.1, 0.9));
  return samples;
}

std::vector<Sample> beta_samples() {
  return ops::samples_of_three(betaincinv,
                               [](const Operand& p) { return betaincinv(2.5, 1.5, p); });
}

void draw_betaincinv(ops::Draw& d) {
  const ops::Slot p = d.operand(ops::floating);
  const ops::Slot a = d.partner(p, ops::floating);
  if (d.one_in(2)) {
    d.call("betaincinv", betaincinv, a, d.literal(p), p);
  } else {
    d.call("betaincinv", betaincinv, 2.5, 1.5, p);
  }
}

}  // namespace

// x = what a share p of gamma(a) lies below.   dp = dx / density, da = x deviate_slope(a, log x) dx
constinit const OpRecord gammaincinv_op = {
    .name = "gammaincinv",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 5000,
    .infer = ops::same_type<ops::Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) { return gamma_vjp(y, g, false); },
    .write = [](WriteContext& context) { gamma_write(context, false); },
    .reference = [](ReferenceContext& c) { gamma_reference(c, false); },
    .batch = ops::batch_elementwise<gammaincinv_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "gammaincinv", gammaincinv, ops::floating); },
    .samples =
        [] {
          return gamma_samples(gammaincinv, [](const Operand& p) { return gammaincinv(2.5, p); });
        }};

// x = what a share q of gamma(a) lies beyond.
constinit const OpRecord gammainccinv_op = {
    .name = "gammainccinv",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 5000,
    .infer = ops::same_type<ops::Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) { return gamma_vjp(y, g, true); },
    .write = [](WriteContext& context) { gamma_write(context, true); },
    .reference = [](ReferenceContext& c) { gamma_reference(c, true); },
    .batch = ops::batch_elementwise<gammainccinv_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "gammainccinv", gammainccinv, ops::floating); },
    .samples =
        [] {
          return gamma_samples(gammainccinv, [](const Operand& q) { return gammainccinv(2.5, q); });
        }};

// x = what a share p of beta(a, b) lies below.   dp = dx / density, da = -betainc_by_a dp, and so
// on
constinit const OpRecord betaincinv_op = {
    .name = "betaincinv",
    .kind = OpKind::write,
    .arity = 3,
    .cost = 12000,
    .infer = ops::same_type<ops::Accepts::floating>,
    .vjp = beta_vjp,
    .write = beta_write,
    .reference =
        [](ReferenceContext& c) {
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            c.output.data[i] = ops::reference::betaincinv(
                c.inputs[0]->data[i], c.inputs[1]->data[i], c.inputs[2]->data[i]);
          }
        },
    .batch = ops::batch_elementwise<betaincinv_op>,
    .draw = draw_betaincinv,
    .samples = beta_samples};

Tensor gammaincinv(const Operand& a, const Operand& p) {
  return ops::apply_binary(gammaincinv_op, a, p);
}

Tensor gammainccinv(const Operand& a, const Operand& q) {
  return ops::apply_binary(gammainccinv_op, a, q);
}

Tensor betaincinv(const Operand& a, const Operand& b, const Operand& p) {
  const LineScope scope(a.line());
  return ops::apply_of_three(betaincinv_op, a, b, p);
}

}  // namespace kroton
