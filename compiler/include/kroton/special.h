// Special functions. Names and meanings are SciPy's (scipy.special). Every function is elementwise,
// broadcasts, and takes floating point only (TypeError). f32 is computed in f64 and rounded once.
// Gradients are the formulas of the derivatives, of every order, unless it says otherwise.
// docs/special_functions.md has the measured errors.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// ---- The error function and the normal distribution.

Tensor erfc(const Operand& x);      // 1 - erf(x), accurate where that is tiny
Tensor erfcx(const Operand& x);     // exp(x^2) erfc(x); inf below -26.6
Tensor erfinv(const Operand& x);    // the y with erf(y) = x; +-inf at +-1, beyond NaN
Tensor erfcinv(const Operand& x);   // the y with erfc(y) = x; inf at 0, -inf at 2, beyond NaN
Tensor ndtr(const Operand& x);      // the probability of a normal number below x
Tensor log_ndtr(const Operand& x);  // its logarithm, accurate where that is below the least number
Tensor ndtri(const Operand& p);     // the x with ndtr(x) = p; -inf at 0, inf at 1, beyond NaN

// ---- The gamma function and what is made of it.

// inf at 0, -inf at -0, NaN at the other poles -1, -2, ...
Tensor gamma(const Operand& x);
// log |gamma(x)|; inf at the poles and at both infinities. lgamma is the same.
Tensor gammaln(const Operand& x);
Tensor lgamma(const Operand& x);
// The derivative of gammaln; -inf at 0, inf at -0, NaN at the other poles. psi is the same.
Tensor digamma(const Operand& x);
Tensor psi(const Operand& x);
// The n-th derivative of digamma, n from 0 to 100 (ValueError); at the poles inf for odd n,
// -inf for even n. trigamma is that of n = 1.
Tensor polygamma(int n, const Operand& x);
Tensor trigamma(const Operand& x);
// log(gamma(a) gamma(b) / gamma(a + b)), and that itself, for a, b > 0: inf where one is 0, NaN
// where one is negative. beta is as exact as exp is at betaln: an error of |betaln| ulp in f64.
Tensor betaln(const Operand& a, const Operand& b);
Tensor beta(const Operand& a, const Operand& b);
// Hurwitz's sum of (q + k)^-s over k = 0, 1, ..., for s > 1, q > 0; of one operand Riemann's, with
// q = 1. inf at s = 1 and q = 0, NaN below. By s there is a gradient of first order (ValueError
// where one of second order is asked for).
Tensor zeta(const Operand& s, const Operand& q);
Tensor zeta(const Operand& s);

// The share of gamma(a) that the integral of t^(a - 1) exp(-t) has from 0 to x, and from x on, for
// a, x >= 0 (NaN below). By a there is a gradient of first order, which has one by x (ValueError
// where another one by a is asked for).
Tensor gammainc(const Operand& a, const Operand& x);
Tensor gammaincc(const Operand& a, const Operand& x);
// The x with gammainc(a, x) = p, and that with gammaincc(a, x) = q, for a > 0 and shares from 0 to
// 1 (NaN elsewhere), at which they are 0 and inf. Gradients as above.
Tensor gammaincinv(const Operand& a, const Operand& p);
Tensor gammainccinv(const Operand& a, const Operand& q);

// The share of beta(a, b) that the integral of t^(a - 1) (1 - t)^(b - 1) has from 0 to x, for a, b
// > 0 and x in [0, 1], NaN elsewhere, and NaN where both a and b are above 1000. By a and b there
// are gradients of first order, which have one by x (ValueError where others are asked for).
Tensor betainc(const Operand& a, const Operand& b, const Operand& x);
// The x with betainc(a, b, x) = p. Domain and gradients as above.
Tensor betaincinv(const Operand& a, const Operand& b, const Operand& p);

// ---- Bessel functions of orders 0 and 1. Near their zeros the absolute error is small beside the
// ---- amplitude sqrt(2 / (pi x)), as is that of sin and cos.

Tensor j0(const Operand& x);  // of the first kind
Tensor j1(const Operand& x);
Tensor y0(const Operand& x);  // of the second kind; -inf at 0, NaN below
Tensor y1(const Operand& x);
Tensor i0(const Operand& x);  // modified, of the first kind
Tensor i1(const Operand& x);
Tensor i0e(const Operand& x);  // exp(-|x|) i0(x); the gradient at the kink 0 is 0
Tensor i1e(const Operand& x);  // exp(-|x|) i1(x)

Tensor k0(const Operand& x);  // modified, of the second kind; inf at 0, NaN below
Tensor k1(const Operand& x);
Tensor k0e(const Operand& x);  // exp(x) k0(x)
Tensor k1e(const Operand& x);  // exp(x) k1(x)

// ---- Integrals of exponentials.

Tensor exp1(const Operand& x);  // of exp(-t) / t from x to inf; inf at 0, NaN below
Tensor expi(const Operand& x);  // of exp(t) / t from -inf to x, through 0 as principal value

}  // namespace kroton
