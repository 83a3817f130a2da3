#pragma once

#include "compiler/loop/math_term.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

/// x = 2 h ln2 + r with an integer h and |r| <= ln2 (and a rounding error more). s = 2^h.
template <class B>
struct WideExpReduction {
  Term<B> r;
  Term<B> s_bits;
};

/// For results over the whole range, for |x| < 800 (f64) or |x| < 150 (f32); callers clamp. The
/// wide r costs a degree or two of the polynomial, but e^x = e^r s s, and one shift makes s. With
/// `low`, of the size of x's rounding error, it reduces x + low.
template <class B>
WideExpReduction<B> reduce_exp_wide(const Format& fmt, Term<B> x, const Term<B>* low = nullptr) {
  // The bias rides on the rounding constant, so the low bits of t are the exponent field of s.
  const double round = fmt.to_integer + static_cast<double>(fmt.bias);
  Term<B> t = fma(x, 0x1.71547652b82fep-1, round);  // 1 / (2 ln2)
  Term<B> h = t - round;
  // 2 ln2 in two parts; with the first, product and difference are exact.
  const double ln2_low = fmt.pick(-0x1.7f7d1cp-19, -0x1.9ef35793c7673p-40);
  Term<B> r = fma(h, fmt.pick(-0x1.62e4p0, -0x1.62e42fefa2p0), x);
  r = low ? r + fma(h, ln2_low, *low) : fma(h, ln2_low, r);
  return {r, shl(bits(t), fmt.mantissa)};
}

/// q with e^r = 1 + r + r^2 q(r) on |r| <= 1.0005 ln2. The error relative to e^r is at most 2.7e-8
/// for f32 (degree 5) and 1.0e-17 for f64 (degree 11).
template <class B>
Term<B> exp_tail_wide(const Format& fmt, Term<B> r) {
  if (fmt.f64) {
    return horner(r, {0.49999999999999928, 0.16666666666666938, 0.041666666666702185,
                      0.0083333333332697365, 0.0013888888883564281, 0.00019841269892895022,
                      2.4801590836524093e-05, 2.7557300619782085e-06, 2.7556156569199222e-07,
                      2.5055036635375348e-08, 2.1062450850725737e-09, 1.5935522785858581e-10});
  }
  return horner(
      r, {0.500000358, 0.166666135, 0.04166127, 0.00833610352, 0.00141044694, 0.000196116001});
}

/// e^(2 h ln2 + r).
template <class B>
Term<B> exp_of(const Format& fmt, const WideExpReduction<B>& red) {
  Term<B> p = exp_tail_wide(fmt, red.r);
  p = fma(p, red.r, 1.0);
  // e^r s in one step: the product with the power of two is exact and does not wait for p. Only a
  // subnormal result rounds in the last product.
  Term<B> s = from_bits(red.s_bits);
  Term<B> rs = red.r * s;
  return fma(p, rs, s) * s;
}

/// e^x = e^r 2^n with |r| <= ln2 / 2 (and a rounding error more).
template <class B>
struct ExpReduction {
  Term<B> r;
  Term<B> power;  // 2^(n + shift), with the shift that the caller asked for
};

/// For functions whose range of n fits the exponent field after a constant shift: fewer operations
/// and smaller errors than the wide reduction. The same bounds on x.
template <class B>
ExpReduction<B> reduce_exp(const Format& fmt, Term<B> x, int shift) {
  const double round = fmt.to_integer + static_cast<double>(fmt.bias + shift);
  Term<B> t = fma(x, 0x1.71547652b82fep0, round);  // 1 / ln2
  Term<B> n = t - round;
  Term<B> r = fma(n, fmt.pick(-0x1.62e4p-1, -0x1.62e42fefa2p-1), x);
  r = fma(n, fmt.pick(-0x1.7f7d1cp-20, -0x1.9ef35793c7673p-41), r);
  return {r, from_bits(shl(bits(t), fmt.mantissa))};
}

/// q with e^r = 1 + r + r^2 q(r) on |r| <= 1.0005 ln2 / 2. The error relative to e^r - 1 is at most
/// 1.7e-8 for f32 (degree 4) and 3.3e-17 for f64 (degree 9).
template <class B>
Term<B> exp_tail(const Format& fmt, Term<B> r) {
  if (fmt.f64) {
    return horner(
        r, {0.50000000000000056, 0.16666666666666588, 0.041666666666576466, 0.0083333333333897378,
            0.0013888888931667129, 0.00019841269718699897, 2.480150514272101e-05,
            2.7557407698177749e-06, 2.7626092811310472e-07, 2.5053771237915247e-08});
  }
  return horner(r, {0.49999997, 0.166665435, 0.0416672006, 0.00836654752, 0.00138825178});
}

/// e^r for a reduced r.
template <class B>
Term<B> exp_reduced(const Format& fmt, Term<B> r) {
  Term<B> p = exp_tail(fmt, r);
  p = fma(p, r, 1.0);
  return fma(p, r, 1.0);
}

/// e^r - 1 for a reduced r.
template <class B>
Term<B> expm1_reduced(const Format& fmt, Term<B> r) {
  Term<B> q = exp_tail(fmt, r);
  Term<B> r2 = r * r;
  return fma(q, r2, r);
}

template <class B>
typename B::Value exp(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = at_least(at_most(term(b, xv), fmt.pick(89, 710)), fmt.pick(-105, -746));
  return exp_of(fmt, reduce_exp_wide(fmt, x)).v;
}

template <class B>
typename B::Value expm1(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  Term<B> y = at_least(at_most(x, fmt.pick(89, 710)), fmt.pick(-20, -40));
  WideExpReduction<B> red = reduce_exp_wide(fmt, y);
  Term<B> q = exp_tail_wide(fmt, red.r);
  Term<B> r2 = red.r * red.r;
  Term<B> p = fma(q, r2, red.r);
  // With p = e^r - 1, e^x - 1 = (p s + (s - 1 / s)) s: no overflow before the result's own.
  Term<B> s = from_bits(red.s_bits);
  Term<B> inverse = from_bits(isub(2 * fmt.bias << fmt.mantissa, red.s_bits));
  Term<B> e = fma(p, s, s - inverse) * s;
  return with_sign_of(fmt, e, x).v;  // only a zero lacks its sign
}

template <class B>
typename B::Value sigmoid(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> y = -at_least(at_most(term(b, xv), fmt.pick(40, 80)), fmt.pick(-105, -746));
  // 1 / (1 + e^y) with both sides scaled by 2^shift: no overflow, and a single rounding to a
  // subnormal result.
  const int shift = fmt.f64 ? -512 : -64;
  const double one = fmt.pick(0x1p-64, 0x1p-512);
  ExpReduction<B> red = reduce_exp(fmt, y, shift);
  Term<B> p = expm1_reduced(fmt, red.r);
  Term<B> den = fma(p, red.power, one) + red.power;
  return (one / den).v;
}

template <class B>
typename B::Value tanh(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  Term<B> y = at_most(abs(x), fmt.pick(9.5, 20));
  // 2 y = n ln2 + 2 r with -ln2 / 16 <= r <= 7/16 ln2: t has two bits below the integer, which are
  // cut off. A larger range for n = 0, where nothing is lost below, makes that worth the longer
  // polynomial. One part of ln2 is enough, since its error counts for less the larger n is.
  const double round = fmt.to_integer / 4 + static_cast<double>(fmt.bias - 1);
  Term<B> t = iand(bits(fma(y, 0x1.71547652b82fep1, round)), ~int64_t{3});  // 2 / ln2
  Term<B> n = from_bits(t) - round;
  Term<B> r = fma(n, -0x1.62e42fefa39efp-2, y);
  // u = tanh(r), relative error 1.4e-8 (f32) and 7.9e-19 (f64).
  Term<B> z = r * r;
  Term<B> w = fmt.f64
                  ? horner(z, {-0.33333333333333248, 0.13333333333302366, -0.053968253930891795,
                               0.02186948635335487, -0.0088631648421178301, 0.003590789627985739,
                               -0.0014410373844197079, 0.00050062847774242595})
                  : horner(z, {-0.333330423, 0.133140013, -0.0502875485});
  Term<B> r3 = z * r;
  Term<B> u = fma(w, r3, r);
  // By addition of tanh(n ln2 / 2) = (s - 1/2) / (s + 1/2) with s = 2^(n - 1). The denominator is
  // made of the numerator, whose error then counts for little where both are nearly equal.
  Term<B> s = from_bits(shl(t, fmt.mantissa - 2));
  Term<B> less = s - 0.5;
  Term<B> more = s + 0.5;
  Term<B> num = fma(u, more, less);
  Term<B> rest = 1.0 - u;
  return with_sign_of(fmt, num / (num + rest), x).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
