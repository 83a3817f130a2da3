#pragma once

#include "compiler/loop/math_exp.h"
#include "compiler/loop/math_log.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

/// An unevaluated sum: low is at most a few ulps of high.
template <class B>
struct Double {
  Term<B> high, low;
};

/// a + c exactly, when a is 0 or |a| >= |c|.
template <class B>
Double<B> fast_two_sum(Term<B> a, Term<B> c) {
  Term<B> sum = a + c;
  Term<B> rest = a - sum;
  return {sum, rest + c};
}

/// The natural logarithm of a positive, normal or subnormal, finite x to about 2^-10 of an ulp: the
/// exponent of pow multiplies the error by up to 745.
template <class B>
Double<B> log_extended(const Format& fmt, Term<B> x) {
  MantissaExponent<B> parts = split(fmt, x);
  Term<B> m = parts.m;
  Term<B> k = parts.k;

  // s = f / (2 + f) as a sum of two: quotient, then its residual times the reciprocal.
  Term<B> f = m - 1.0;
  Term<B> den = m + 1.0;
  Term<B> den_low = m - (den - 1.0);
  Term<B> inverse = 1.0 / den;
  Term<B> s = f * inverse;
  Term<B> minus_s = -s;
  Term<B> s_low = fma(minus_s, den_low, fma(minus_s, den, f)) * inverse;
  Term<B> twice_s = s + s;
  Term<B> z = s * s;
  Term<B> z_low = fma(twice_s, s_low, fma(s, s, -z));

  // log = 2 atanh(s) = s (2 + z (2/3 + z T(z))). v = z (2/3 + z T) keeps its rounding error; T's
  // own, relative to log, is 9.2e-12 (f32, degree 2) and 1.6e-20 (f64, degree 6).
  Term<B> big_t = fmt.f64
                      ? horner(z, {0.40000000000002262, 0.28571428570097473, 0.22222222520308729,
                                   0.18181784332420872, 0.15386758971710274, 0.13256778605468031,
                                   0.13196700392004224})
                      : horner(z, {0.400001526, 0.285471171, 0.234189689});
  const double third2 = fmt.pick(0x1.555556p-1, 0x1.5555555555555p-1);
  const double third2_low = fmt.pick(-0x1.555556p-26, 0x1.5555555555555p-55);
  Term<B> u_low = fma(big_t, z, third2_low);
  Term<B> v = z * third2;
  Term<B> v_low = fma(z, third2, -v);
  v_low = fma(z_low, third2, v_low);
  v_low = fma(z, u_low, v_low);
  Term<B> g = s * v;
  Term<B> g_low = fma(s, v, -g);
  g_low = fma(s, v_low, g_low);
  g_low = fma(s_low, v + 2.0, g_low);
  Double<B> log_m = fast_two_sum(twice_s, g);

  // k times the first part of ln2 is exact.
  Term<B> k_ln2 = k * fmt.pick(0x1.62e4p-1, 0x1.62e42fefa38p-1);
  Double<B> sum = fast_two_sum(k_ln2, log_m.high);
  Term<B> low = fma(k, fmt.pick(0x1.7f7d1cp-20, 0x1.ef35793c7673p-45), log_m.low + g_low);
  return fast_two_sum(sum.high, sum.low + low);
}

template <class B>
typename B::Value pow(B& b, typename B::Value xv, typename B::Value yv) {
  const Format fmt(b.is_f64());
  const double inf = std::numeric_limits<double>::infinity();
  Term<B> x = term(b, xv);
  Term<B> y = term(b, yv);

  // |x|^y = e^(y log|x|). Infinity and NaN in place of the logarithm come out right, except where
  // 0 * inf arises, which a select below replaces. That of 0 must stay finite: no flag may be
  // raised for finite x and y, so the powers of 0 are selected, too. As for that of y, a larger one
  // has the same powers, and the product would overflow.
  Term<B> a = abs(x);
  Double<B> log_a = log_extended(fmt, a);
  Term<B> is_zero = equal(a, 0.0);
  Term<B> log_high = select(a < inf, log_a.high, a);
  log_high = select(is_zero, 0.0, log_high);
  const double largest = fmt.pick(0x1p100, 0x1p1000);
  Term<B> exponent = at_least(at_most(y, largest), -largest);
  Term<B> t = exponent * log_high;
  Term<B> t_low = fma(exponent, log_a.low, fma(exponent, log_high, -t));
  t_low = select(abs(t) < fmt.pick(128, 1024), t_low, 0.0);  // inf - inf where t is infinite

  Term<B> clamped = at_least(at_most(t, fmt.pick(89, 710)), fmt.pick(-105, -746));
  Term<B> power = exp_of(fmt, reduce_exp_wide(fmt, clamped, &t_low));

  power = select(is_zero, select(y < 0.0, inf, select(y > 0.0, 0.0, y)), power);
  Term<B> is_one = equal(a, 1.0);
  power = select(is_one || equal(y, 0.0), 1.0, power);

  // A negative x, its zero and infinity included, gives a sign when y is odd; a negative finite x
  // gives NaN when y is no integer.
  Term<B> half_y = y * 0.5;
  Term<B> fractional = unequal(round_even(y), y);
  Term<B> half_fractional = unequal(round_even(half_y), half_y);
  Term<B> odd = select(fractional, 0.0, select(half_fractional, x, 0.0));
  power = with_sign_of(fmt, power, odd);
  Term<B> finite_negative = x < 0.0;
  finite_negative = finite_negative && x > -inf;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return select(finite_negative && fractional, nan, power).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
