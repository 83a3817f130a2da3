#pragma once

#include "compiler/loop/math_exp.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

template <class B>
typename B::Value erf(B& b, typename B::Value xv) {
  const Format fmt(b.is_f64());
  Term<B> x = term(b, xv);
  Term<B> a = at_most(abs(x), fmt.pick(4, 6));
  // erf(a) = 1 - e^-(a + a Q(a)), so Q(a) = -log(erfc(a)) / a - 1, which is smooth; one polynomial
  // on [0, 4] (f32, degree 8) or [0, 6] (f64, degree 23). What its error does to erf, relative to
  // erf, is at most 8.3e-9 and 3.4e-17. Splitting off the first a keeps rounding below an ulp.
  Term<B> big_q =
      fmt.f64
          ? horner(a, {0.12837916709551256,     0.63661977236759093,     0.10277260330131899,
                       -0.019128446993174824,   -0.00020919485290602988, 0.0016962076619301985,
                       -0.00059013238922800036, 2.590435260355372e-05,   6.4420855925225319e-05,
                       -2.9576415585457614e-05, 3.1707836384085243e-06,  3.1316810676396416e-06,
                       -2.0360310906229025e-06, 5.6980646300012226e-07,  -1.1240707403332086e-08,
                       -6.5943427676987375e-08, 3.4659313218605893e-08,  -1.079405664476771e-08,
                       2.364964809537624e-09,   -3.7679395927669757e-10, 4.3103486334374083e-11,
                       -3.3713179535972278e-12, 1.6183478660636099e-13,  -3.6002027368800314e-15})
          : horner(a, {0.128379166, 0.636619389, 0.102777831, -0.0191530641, -0.000160394964,
                       0.00166702608, -0.000632836018, 0.000117640993, -9.25623135e-06});
  ExpReduction<B> red = reduce_exp(fmt, -fma(big_q, a, a), 0);
  Term<B> minus_p = -expm1_reduced(fmt, red.r);
  return with_sign_of(fmt, fma(minus_p, red.power, 1.0 - red.power), x).v;
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
