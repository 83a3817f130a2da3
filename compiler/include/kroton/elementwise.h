// Further elementwise functions; those of every day are in ops.h. Names and meanings are NumPy's
// (where it has none: PyTorch's or JAX's, as said there). Promotion, broadcasting and errors are as
// in ops.h: each function broadcasts, and a TypeError tells of a dtype that it does not take.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// ---- Elementary functions. Floating point only. Within 5 ulp, f32 and f64; the measured errors
// ---- are in docs/special_functions.md.

Tensor tan(const Operand& x);  // radians; as exact as sin and cos are
Tensor sinh(const Operand& x);
Tensor cosh(const Operand& x);
Tensor asinh(const Operand& x);
Tensor acosh(const Operand& x);  // NaN below 1
Tensor atanh(const Operand& x);  // +-inf at +-1, beyond NaN
// sqrt(x^2 + y^2), without overflow; infinite if either is, even beside a NaN. The gradient at
// (0, 0) is NaN.
Tensor hypot(const Operand& x, const Operand& y);
Tensor exp2(const Operand& x);   // 2^x, exact for integers
Tensor log2(const Operand& x);   // exact for powers of 2
Tensor log10(const Operand& x);  // exact for powers of 10
Tensor cbrt(const Operand& x);   // the real cube root, with the sign of x; gradient inf at 0
Tensor rsqrt(const Operand& x);  // 1 / sqrt(x), inf at 0, NaN below 0 (PyTorch)
Tensor deg2rad(const Operand& x);
Tensor rad2deg(const Operand& x);
// x to the power y in f64, whichever numbers they are.
Tensor float_power(const Operand& x, const Operand& y);

// ---- Rounding and parts of numbers.

// Towards zero; to the nearest integer, ties to the even one. Integers stay as they are. No
// gradient.
Tensor trunc(const Operand& x);
Tensor round(const Operand& x);
// x - trunc(x), with the sign of x; floating point only; gradient 1 (PyTorch).
Tensor frac(const Operand& x);
// The remainder of division truncated towards zero, C's fmod: with the sign of x, exact; x fmod 0
// is NaN, of integers 0. remainder is mod, with the sign of y. The gradient by y is -trunc(x / y).
Tensor fmod(const Operand& x, const Operand& y);
Tensor remainder(const Operand& x, const Operand& y);
// |x| with the sign of y, that of -0 and NaN included. Floating point only. The gradient passes to
// x, negated where the sign changed, 0 at 0; none to y.
Tensor copysign(const Operand& x, const Operand& y);
// The next number of the dtype from x towards y; y where they are equal. Floating point only. The
// gradient passes to x, none to y.
Tensor nextafter(const Operand& x, const Operand& y);
// Of any number or boolean; integers are finite. Boolean.
Mask isnan(const Operand& x);
Mask isinf(const Operand& x);
Mask isfinite(const Operand& x);
// Whether the sign is minus, that of -0 and NaN included. Numbers; boolean.
Mask signbit(const Operand& x);
// x, with `nan` in place of NaN and these in place of the infinities, by default the largest and
// lowest finite number of the dtype. The gradient is 0 where something was put in place. Integers
// stay as they are.
Tensor nan_to_num(const Operand& x, double nan = 0, std::optional<double> posinf = std::nullopt,
                  std::optional<double> neginf = std::nullopt);

// ---- The larger and the smaller, steps.

// As maximum and minimum, but a NaN loses against a number. The gradient goes to what was taken, to
// the first operand of equal ones.
Tensor fmax(const Operand& x, const Operand& y);
Tensor fmin(const Operand& x, const Operand& y);
// 0 below 0, `at_zero` at 0, 1 above; NaN stays NaN. The gradient goes to at_zero, where x is 0.
Tensor heaviside(const Operand& x, const Operand& at_zero);
// 0 below low, 1 above high, between them t^2 (3 - 2 t) with t = (x - low) / (high - low) (GLSL).
// Floating point only. The gradient is 0 at the ends, as it is beyond.
Tensor smoothstep(const Operand& low, const Operand& high, const Operand& x);

// ---- Integers; & | ^ ~ are in ops.h. TypeError for other numbers. No gradients.

// x * 2^n, wrapping, and floor(x / 2^n). A count of the width or more, or below 0, shifts every bit
// out: 0, of a negative x to the right -1.
Tensor left_shift(const Operand& x, const Operand& n);
Tensor right_shift(const Operand& x, const Operand& n);
// The number of 1 bits of |x|, in x's dtype.
Tensor bitwise_count(const Operand& x);
// Of |x| and |y|; gcd(0, 0) = lcm(x, 0) = 0.
Tensor gcd(const Operand& x, const Operand& y);
Tensor lcm(const Operand& x, const Operand& y);
// x to the power n of integers, wrapping; pow of two integers is this. A negative n is a ValueError
// where it is a literal; in a tensor it gives what 1 / x^-n truncates to: 0, or a 1 with a sign for
// x = 1 and -1, and 0 for 0.
Tensor integer_power(const Operand& x, const Operand& n);

// ---- Logarithms of sums and products, without overflow. Floating point only.

Tensor logaddexp(const Operand& x, const Operand& y);   // log(exp(x) + exp(y))
Tensor logaddexp2(const Operand& x, const Operand& y);  // log2(2^x + 2^y)
Tensor log1pexp(const Operand& x);                      // softplus
Tensor log1mexp(const Operand& x);  // log(1 - exp(-x)), -inf at 0, NaN below (JAX)
// x log(y) and x log1p(y); 0 where x is 0 and y no NaN (SciPy). At (0, 0), for
// xlog1py (0, -1), the gradient by y is 0.
Tensor xlogy(const Operand& x, const Operand& y);
Tensor xlog1py(const Operand& x, const Operand& y);
// sin(pi x) / (pi x), 1 at 0, exactly 0 at the other integers. Derivatives of all orders are right
// at 0.
Tensor sinc(const Operand& x);

// ---- Activations that <kroton/nn.h> does not have (PyTorch, JAX). Floating point only. The
// ---- gradient at the ends of hardtanh and hard_swish is that of clip, at the other kinks 0.

Tensor celu(const Operand& x, double alpha = 1);  // alpha (exp(x / alpha) - 1) below 0
Tensor hard_swish(const Operand& x);              // x clip(x / 6 + 1/2, 0, 1)
Tensor hardtanh(const Operand& x, double low = -1, double high = 1);  // clip
Tensor hardshrink(const Operand& x, double lambda = 0.5);             // 0 within [-lambda, lambda]
Tensor softshrink(const Operand& x, double lambda = 0.5);             // shrunk towards 0 by lambda
Tensor tanhshrink(const Operand& x);                                  // x - tanh(x)
Tensor logsigmoid(const Operand& x);                             // log(sigmoid(x)) = -softplus(-x)
Tensor squareplus(const Operand& x, double b = 4);               // (x + sqrt(x^2 + b)) / 2
Tensor threshold(const Operand& x, double limit, double value);  // x above the limit, else value

}  // namespace kroton
