#pragma once

#include "compiler/loop/math_exp.h"
#include "compiler/loop/math_term.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

/// x = m 2^k with sqrt(1/2) <= m < sqrt(2).
template <class B>
struct LogReduction {
  Term<B> m;
  Term<B> k_bits;  // k + bias + 1 as an integer, not negative
};

/// For normal, positive x; any other x gives some finite m and k.
template <class B>
LogReduction<B> reduce_log(const Format& fmt, Term<B> x) {
  // Moving sqrt(1/2) to 1 makes the exponent field of the sum that of k.
  const int64_t origin = fmt.bits_of(fmt.pick(0x1.6a09e6p-1, 0x1.6a09e667f3bcdp-1));
  const int64_t mantissa_mask = (int64_t{1} << fmt.mantissa) - 1;
  Term<B> i = iadd(bits(x), ((fmt.bias + 1) << fmt.mantissa) - origin);
  Term<B> m = iadd(iand(i, mantissa_mask), origin);
  m = from_bits(m);
  return {m, lshr(i, fmt.mantissa)};
}

/// k as a float, plus `unit` + bias + 1: as the low bits of a float whose unit is 1, which is
/// cheaper than a conversion where the target has none from i64.
template <class B>
Term<B> shifted_exponent(const Format& fmt, const LogReduction<B>& red) {
  return from_bits(iadd(red.k_bits, fmt.bits_of(fmt.unit)));
}

/// m and the float k of a positive x, subnormal ones included.
template <class B>
struct MantissaExponent {
  Term<B> m, k;
};

template <class B>
MantissaExponent<B> split(const Format& fmt, Term<B> x) {
  const double offset = fmt.unit + static_cast<double>(fmt.bias + 1);
  Term<B> subnormal = x < fmt.pick(0x1p-126, 0x1p-1022);
  // Not a choice of two products: that of a large x overflows.
  Term<B> one{x.b, x.b->real(1)};
  Term<B> scaled = x * select(subnormal, fmt.unit, one);
  LogReduction<B> red = reduce_log(fmt, scaled);
  Term<B> k_offset = select(subnormal, offset + fmt.mantissa, offset);
  return {red.m, shifted_exponent(fmt, red) - k_offset};
}

/// log(1 + f) - f as f^2/2 - s (f^2/2 + z R(z)), where s = f / (2 + f), z = s^2 and
/// log(1 + f) = 2 atanh(s) = 2 s + s z R(z).
template <class B>
Term<B> log1p_tail_by_division(Term<B> f, std::initializer_list<double> big_r) {
  Term<B> s = f / (f + 2.0);
  Term<B> z = s * s;
  Term<B> zr = z * horner(z, big_r);
  Term<B> half_square = f * 0.5 * f;
  return s * (half_square + zr) - half_square;
}

/// log(1 + f) - f for sqrt(1/2) - 1 <= f < sqrt(2) - 1.
/// Error relative to log(1 + f): 5.1e-9 (f32, degree 8), 2.0e-18 (f64, R of degree 6).
template <class B>
Term<B> log1p_tail(const Format& fmt, Term<B> f) {
  if (fmt.f64) {
    return log1p_tail_by_division(
        f, {0.6666666666666734, 0.39999999999413532, 0.28571428742667082, 0.22222198542195476,
            0.18183566049575905, 0.15314003711805257, 0.14796444683908438});
  }
  Term<B> q = horner(f, {-0.499999881, 0.333333254, -0.250015825, 0.200019732, -0.166090831,
                         0.1418183, -0.132429928, 0.129044116, -0.0762174278});
  Term<B> f2 = f * f;
  return q * f2;
}

/// k ln2 + log(1 + f).
template <class B>
Term<B> log_combine(const Format& fmt, Term<B> k, Term<B> f) {
  if (fmt.f64) {
    Term<B> tail = fma(k, 0x1.abc9e3b39803fp-56, log1p_tail(fmt, f));
    return fma(k, 0x1.62e42fefa39efp-1, f + tail);
  }
  // fma makes ln2 rounded to f32 good enough: its error is a twentieth of an ulp.
  return fma(k, 0x1.62e43p-1, f + log1p_tail(fmt, f));
}

/// Puts log's special cases in place of y: x is the argument, or 1 + the argument for log1p.
template <class B>
Term<B> log_specials(Term<B> x, Term<B> y) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Term<B> not_positive = select(equal(x, 0.0), -inf, nan);
  y = select(x > 0.0, y, not_positive);
  return select(x < inf, y, x);
}

template <class B>
typename B::Value log(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  MantissaExponent<B> parts = split(fmt, x);
  return log_specials(x, log_combine(fmt, parts.k, parts.m - 1.0)).v;
}

template <class B>
typename B::Value log1p(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  Term<B> u = x + 1.0;
  LogReduction<B> red = reduce_log(fmt, u);
  Term<B> k = shifted_exponent(fmt, red) - (fmt.unit + static_cast<double>(fmt.bias + 1));
  // f = x 2^-k + (2^-k - 1) rounds once, from x rather than from the rounded 1 + x. The scale is
  // kept four times as large because 2^-k itself can be subnormal.
  Term<B> quarter_x = x * 0.25;
  Term<B> scale_bits = isub((2 * fmt.bias + 3) << fmt.mantissa, shl(red.k_bits, fmt.mantissa));
  Term<B> scale = from_bits(scale_bits);
  Term<B> f = fma(quarter_x, scale, fma(scale, 0.25, -1.0));
  Term<B> y = log_specials(u, log_combine(fmt, k, f));
  // Near 0 a quarter of the argument may have lost its last bits; there log1p(x) is x.
  return select(abs(x) < fmt.pick(0x1p-60, 0x1p-500), x, y).v;
}

template <class B>
typename B::Value softplus(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  // max(x, 0) + log(1 + e) with e = e^-|x|, which lies in [0, 1].
  const int shift = fmt.f64 ? 512 : 64;
  ExpReduction<B> red = reduce_exp(fmt, -at_most(abs(x), fmt.pick(105, 746)), shift);
  Term<B> e = exp_reduced(fmt, red.r) * red.power * fmt.pick(0x1p-64, 0x1p-512);
  Term<B> y = at_least(x, 0.0);
  if (fmt.f64) {
    // On 0 <= e <= 1: relative error 3.3e-18, R of degree 9.
    Term<B> tail = log1p_tail_by_division(
        e, {0.66666666666666308, 0.40000000000157238, 0.28571428547854555, 0.22222223969687346,
            0.18181743926510352, 0.15386559888753001, 0.13300974041569927, 0.12106082625533211,
            0.083401174255702815, 0.17018545775901739});
    return (y + (e + tail)).v;
  }
  // log(1 + e) = e + e^2 q(e) on [0, 1]: relative error 1.6e-8, degree 8.
  Term<B> q = horner(e, {-0.499999315, 0.33330512, -0.249585882, 0.196953997, -0.153553948,
                         0.106805511, -0.0576643907, 0.0202045534, -0.00331846508});
  Term<B> e2 = e * e;
  return (y + fma(q, e2, e)).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
