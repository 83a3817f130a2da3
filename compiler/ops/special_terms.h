// Parts of special functions that several of them are made of, for f64 and where that is said f32.
#pragma once
#include "compiler/ops/special_coefficients.h"
#include "compiler/ops/terms.h"

namespace kroton::ops {

// From here on Stirling's formula is taken.
inline constexpr double far_from = 8;

// e^(a^2) erfc(a) for a >= 0. For f32 too.
inline Term tail_ratio(Term a) {
  const Term t = 1.0 - 6.0 / (a + 3.0);
  const auto& powers = format_of(a).f64 ? coefficients::erfcx : coefficients::erfcx_f32;
  return horner(t, powers) * 0.5 / (a + 0.5);
}

// gamma(x) = gamma(2 + rest) p for a `rest` in [-1/2, 1/2], or over p where x lies below; for x in
// (-1/2, far_from), or further after more steps. For f32 too, but for gamma().
struct AroundTwo {
  Term rest, p, below;
  explicit AroundTwo(Term x, int steps = 6)
      : rest(at_most(x, steps + 2)), p(constant_like(x, 1)), below(x < 1.5) {
    for (int k = 0; k < steps; ++k) {
      const Term above = rest > 2.5;
      const Term less = rest - 1.0;
      rest = select(above, less, rest);
      p = select(above, p * less, p);
    }
    rest = select(below, x - 1.0, rest - 2.0);
    const Term lowest = x < 0.5;
    rest = select(lowest, x, rest);
    p = select(below, select(lowest, fma(x, x, x), x), p);
  }
  Term gamma() const {
    const Term value = horner(rest * 2.0, coefficients::gamma);
    return select(below, value / p, value * p);
  }
};

// What Stirling's formula leaves of log(gamma(x)) for x >= far_from. For f32 too.
inline Term stirling_rest(Term x) {
  const Term inverse = 1.0 / x;
  const Term z = inverse * inverse;
  const auto& powers = format_of(x).f64 ? coefficients::stirling : coefficients::stirling_f32;
  return horner(fma(z, 128.0, -1.0), powers) * inverse;
}

// gamma(x) over Stirling's formula, sqrt(2 pi) x^(x - 1/2) e^-x, for x >= far_from.
inline Term stirling_factor(Term x) {
  return horner(16.0 / x - 1.0, coefficients::stirling_factor);
}

// In special_gamma.cpp: log(gamma(a) gamma(b) / gamma(a + b)); log(gamma(x)) and digamma(x) for x >
// 0.
Term betaln_of(const Term& a, const Term& b);
Term gammaln_of_positive(const Term& x);
Term digamma_of_positive(const Term& x);

}  // namespace kroton::ops
