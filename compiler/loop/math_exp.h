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
  p = fma(p, red.r, 1.0);
  Term<B> s = from_bits(red.s_bits);
  // The first product is exact; only a subnormal result rounds in the second.
  return p * s * s;
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
  // Where tanh is above 1/2, 1 - 2 / (e^(2a) + 1) halves the error of the fraction at least.
  Term<B> a = abs(x);
  Term<B> y = at_most(a, fmt.pick(9.5, 20));
  ExpReduction<B> red = reduce_exp(fmt, y + y, 0);
  Term<B> den = fma(exp_reduced(fmt, red.r), red.power, 1.0);
  Term<B> large = 1.0 - 2.0 / den;
  // Below, a + a^3 w(a^2), relative error 3.9e-8 (f32, w of degree 3), 2.0e-17 (f64, degree 9).
  Term<B> z = a * a;
  Term<B> w = fmt.f64
                  ? horner(z, {-0.3333333333333231, 0.13333333333168201, -0.05396825387582975,
                               0.021869485968819873, -0.0088631944232501706, 0.0035917190400879579,
                               -0.0014532134742730048, 0.00057912717148664718,
                               -0.0002102861333390816, 5.1010101332368787e-05})
                  : horner(z, {-0.333329469, 0.133207127, -0.052670978, 0.0164359417});
  Term<B> a3 = z * a;
  Term<B> small = fma(w, a3, a);
  return with_sign_of(fmt, select(a < 0.55, small, large), x).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
