#pragma once

#include "compiler/loop/math_term.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

/// p with atan(q) = q + q z p(z), z = q^2, for |q| <= 1. The error relative to atan(q) is at most
/// 1.7e-8 for f32 (degree 7) and 3.9e-17 for f64 (degree 18).
template <class B>
Term<B> atan_tail(const Format& fmt, Term<B> z) {
  return fmt.f64 ? estrin(z, {-0.3333333333333186, 0.19999999999755189, -0.14285714271341954,
                              0.11111110678914231, -0.090909012377865431, 0.076922129539741202,
                              -0.066658605263562931, 0.058773086072295824, -0.052392362214562851,
                              0.046739590702994452, -0.040926596130207528, 0.034068184050756053,
                              -0.025827297636091762, 0.016978548206183757, -0.0091849510985191323,
                              0.0038561917724884882, -0.0011641537206564785, 0.00022304131877329896,
                              -2.0260564274734786e-05})
                 : horner(z, {-0.333331525, 0.199937671, -0.14211002, 0.106657691, -0.0755166039,
                              0.0432047322, -0.0163631923, 0.0029194227});
}

template <class B>
typename B::Value atan2(B& b, typename B::Value yv, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> y = term(b, yv);
  Term<B> x = term(b, xv);
  // The tangent q of the angle to the nearer axis. 0 / 0 counts as 0, and inf / inf as 1.
  Term<B> height = abs(y);
  Term<B> width = abs(x);
  Term<B> steep = height > width;
  Term<B> large = select(steep, height, width);
  Term<B> small = select(steep, width, height);
  Term<B> diagonal = equal(height, width);
  Term<B> numerator = select(diagonal, select(equal(large, 0.0), 0.0, 1.0), small);
  Term<B> q = numerator / select(diagonal, 1.0, large);
  // From that axis, at a multiple of pi/2, towards the other one. A zero has a side, too.
  Term<B> side = with_sign_of(fmt, Term<B>{&b, b.real(1)}, x);
  Term<B> left = side < 0.0;
  q = select(steep, -q, q);
  q = select(left, -q, q);
  const auto multiple = [&](double half_pi, double pi) {
    return select(steep, half_pi, select(left, pi, 0.0));
  };
  Term<B> axis = multiple(fmt.pick(0x1.921fb6p0, 0x1.921fb54442d18p0),
                          fmt.pick(0x1.921fb6p1, 0x1.921fb54442d18p1));
  Term<B> axis_low = multiple(fmt.pick(-0x1.777a5cp-25, 0x1.1a62633145c07p-54),
                              fmt.pick(-0x1.777a5cp-24, 0x1.1a62633145c07p-53));
  // What axis + q rounds off is added to the smaller terms.
  Term<B> sum = axis + q;
  Term<B> rest = axis - sum;
  rest = rest + q;
  Term<B> z = q * q;
  Term<B> q3 = q * z;
  Term<B> tail = fma(atan_tail(fmt, z), q3, axis_low);
  return with_sign_of(fmt, sum + (rest + tail), y).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
