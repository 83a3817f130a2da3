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

/// A multiple of pi/2, in two parts.
template <class B>
struct Axis {
  Term<B> high, low;
};

/// 0, pi/2 where `upright` holds, and else pi where `left` holds.
template <class B>
Axis<B> axis_at(const Format& fmt, Term<B> upright, Term<B> left) {
  const auto one_of = [&](double half_pi, double pi) {
    return select(upright, half_pi, select(left, pi, 0.0));
  };
  Term<B> high = one_of(fmt.pick(0x1.921fb6p0, 0x1.921fb54442d18p0),
                        fmt.pick(0x1.921fb6p1, 0x1.921fb54442d18p1));
  Term<B> low = one_of(fmt.pick(-0x1.777a5cp-25, 0x1.1a62633145c07p-54),
                       fmt.pick(-0x1.777a5cp-24, 0x1.1a62633145c07p-53));
  return {high, low};
}

/// axis + (q + q z p), for an axis that is 0 or larger than |q|. What axis + q rounds off is added
/// to the smaller terms.
template <class B>
Term<B> angle_from(Axis<B> axis, Term<B> q, Term<B> z, Term<B> p) {
  Term<B> sum = axis.high + q;
  Term<B> rest = axis.high - sum;
  rest = rest + q;
  Term<B> qz = q * z;
  Term<B> tail = fma(p, qz, axis.low);
  return sum + (rest + tail);
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
  // From that axis towards the other one. A zero has a side, too.
  Term<B> left = with_sign_of(fmt, Term<B>{&b, b.real(1)}, x) < 0.0;
  q = select(steep, -q, q);
  q = select(left, -q, q);
  Term<B> z = q * q;
  Axis<B> axis = axis_at(fmt, steep, left);
  return with_sign_of(fmt, angle_from(axis, q, z, atan_tail(fmt, z)), y).v;
}

template <class B>
typename B::Value atan(B& b, typename B::Value xv) {
  return atan2(b, xv, b.real(1));
}

/// p with asin(q) = q + q z p(z), z = q^2, for |q| <= 1/2. The error relative to asin(q) is at most
/// 5.0e-9 for f32 (degree 4) and 1.6e-17 for f64 (degree 11).
template <class B>
Term<B> asin_tail(const Format& fmt, Term<B> z) {
  return fmt.f64 ? estrin(z, {0.16666666666665395, 0.075000000003405676, 0.044642856825282719,
                              0.030381959266761939, 0.022371754846348495, 0.017359754356586848,
                              0.013884733921688416, 0.012172576653346864, 0.0065131271933461209,
                              0.019569668501349544, -0.016290380812187862, 0.031958361449244597})
                 : horner(z, {0.166667536, 0.0749524608, 0.0454775691, 0.0241408069, 0.0422370471});
}

/// What asin and acos are made of: t = |x|, or the sine sqrt((1 - |x|) / 2) of half the angle to 1
/// where |x| is large; z = t^2.
template <class B>
struct AsinReduction {
  Term<B> large, t, z;
};

template <class B>
AsinReduction<B> reduce_asin(Term<B> x) {
  Term<B> size = abs(x);
  Term<B> large = size > 0.5;
  Term<B> half = fma(size, -0.5, 0.5);
  Term<B> z = select(large, half, size * size);
  return {large, select(large, sqrt(half), size), z};
}

template <class B>
typename B::Value asin(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  AsinReduction<B> red = reduce_asin(x);
  Axis<B> axis = axis_at(fmt, red.large, red.large);
  Term<B> q = select(red.large, red.t * -2.0, red.t);
  return with_sign_of(fmt, angle_from(axis, q, red.z, asin_tail(fmt, red.z)), x).v;
}

template <class B>
typename B::Value acos(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  // At 1/2 both ways are the same: half the angle has the sine 1/2.
  AsinReduction<B> red = reduce_asin(x);
  Term<B> upright = abs(x) < 0.5;
  Term<B> left = x < 0.0;
  Axis<B> axis = axis_at(fmt, upright, left);
  Term<B> twice = red.t * 2.0;
  Term<B> q = select(left, -twice, twice);
  q = select(upright, -x, q);
  return angle_from(axis, q, red.z, asin_tail(fmt, red.z)).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
