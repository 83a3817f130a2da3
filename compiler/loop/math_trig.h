#pragma once

#include "compiler/loop/math_term.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

/// x - n pi for an integer or half-integer n, with pi in three parts. The first product and
/// difference are exact for |x| <= 2^17 (f32) or 2^46 (f64), so the error stays relative to the
/// result. For larger x the clamp, which lets NaN pass, keeps the sine within [-1, 1].
template <class B>
Term<B> subtract_pi(const Format& fmt, Term<B> n, Term<B> x) {
  Term<B> r = fma(n, fmt.pick(-0x1.921fb6p1, -0x1.921fb54442d18p1), x);
  r = fma(n, fmt.pick(0x1.777a5cp-24, -0x1.1a62633145c07p-53), r);
  r = fma(n, fmt.pick(0x1.ee59dap-49, 0x1.f1976b7ed8fbcp-109), r);
  return at_most(at_least(r, -1.585), 1.585);
}

/// sin(r) for |r| <= 1.585, a little past pi/2. Working modulo pi rather than pi/2 needs one
/// polynomial instead of two and a select. Relative error 2.2e-8 (f32, degree 9) and 3.0e-17 (f64,
/// degree 17, its first coefficient's own rounding). The f32 coefficients are not minimax: they are
/// searched for the least error of the computed sine, roundings included, where it lies near 1. The
/// sum of the first two terms does not wait for the rest.
template <class B>
Term<B> sin_reduced(const Format& fmt, Term<B> r) {
  Term<B> z = r * r;
  Term<B> r3 = z * r;
  Term<B> first = fma(r3, fmt.pick(-0.166666657, -0.16666666666666666), r);
  Term<B> p =
      fmt.f64 ? estrin(z, {0.0083333333333331181, -0.00019841269841181566, 2.7557319206424858e-06,
                           -2.5052106444423853e-08, 1.6058918356336241e-10, -7.6424412730962554e-13,
                           2.7154433577178128e-15})
              : horner(z, {0.00833310653, -0.000198088645, 2.60008824e-06});
  Term<B> r5 = r3 * z;
  return fma(p, r5, first);
}

/// y times -1 to the power of the lowest bit of `parity`.
template <class B>
Term<B> flip_if_odd(const Format& fmt, Term<B> y, Term<B> parity) {
  Term<B> sign = shl(parity, fmt.f64 ? 63 : 31);
  Term<B> y_bits = bits(y);
  return from_bits(ixor(y_bits, sign));
}

template <class B>
typename B::Value sin(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  Term<B> t = fma(x, 0x1.45f306dc9c883p-2, fmt.to_integer);
  Term<B> n = t - fmt.to_integer;
  Term<B> r = flip_if_odd(fmt, subtract_pi(fmt, n, x), bits(t));
  Term<B> size = abs(x);
  Term<B> y = sin_reduced(fmt, shortcut(size < 1.57, x, r));
  return select(equal(x, 0.0), x, y).v;
}

template <class B>
typename B::Value cos(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  // cos((n + 1/2) pi + r) = (-1)^(n + 1) sin(r); the 1 rides on the rounding constant.
  const double round = fmt.to_integer + 1.0;
  Term<B> t = fma(x, 0x1.45f306dc9c883p-2, -0.5) + round;
  Term<B> n = t - round;
  Term<B> y = sin_reduced(fmt, subtract_pi(fmt, n + 0.5, x));
  return flip_if_odd(fmt, y, bits(t)).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
