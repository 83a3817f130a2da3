#pragma once

// Elementary functions as branch-free polynomials, written once over a scalar builder B.
//
// With the loop IR's builder the same text yields expressions that are emitted as vector LLVM IR or
// CUDA; with a host builder (tests/loop/test_math.cpp) it yields numbers. There are no tables, no
// gathers and no branches, so every function vectorises to the width of the target.
//
// Contract of B. `B::Value` is one cheap copyable handle for floats, integers and booleans.
//   bool  is_f64()                    the working dtype: f64 (integers are i64) or f32 (i32)
//   Value real(double c)              float constant, rounded to the working dtype
//   Value integer(int64_t c)          integer constant of the working width
//   Value add sub mul div(a, b)  neg abs sqrt round_even(a)  fma(a, b, c)
//   Value min max(a, b)               a is a constant; a NaN b is the result, which both
//                                     `a < b ? a : b` and a min that propagates NaN give
//   Value lt gt eq ne(a, b)           float comparisons; with a NaN all but ne are false
//   Value select(cond, a, b)  logical_and logical_or(a, b)
//   Value shortcut(cond, quick, full)   full, which is equal to quick where cond holds: a hint that
//                                       it often does
//   Value bits(x)  from_bits(i)       bit casts between a float and an integer of its width
//   Value iadd isub iand ior ixor(i, j)  shl lshr(i, int n)
// Every float operation rounds once, to nearest-even, with subnormals kept; fma rounds once. B must
// not contract, reassociate or flush. Integer operations wrap. The functions call B in a fixed
// order that does not depend on the C++ compiler, so dumps of what they build are stable.
//
// All functions: NaN gives NaN, subnormal arguments and results are exact to the same bounds, no
// call raises a trap. "ulp" is the spacing of the working dtype at the exact result. The bounds
// below are what tests/loop/test_math.cpp asserts.

namespace kroton::loop::math {

/// e^x. Overflows to inf, underflows gradually to 0. 2 ulp.
template <class B>
typename B::Value exp(B& b, typename B::Value x);

/// e^x - 1, accurate near 0; keeps the sign of a zero. 2 ulp.
template <class B>
typename B::Value expm1(B& b, typename B::Value x);

/// 1 / (1 + e^-x), accurate (gradual underflow included) for very negative x. 2 ulp.
template <class B>
typename B::Value sigmoid(B& b, typename B::Value x);

/// Hyperbolic tangent, in [-1, 1]; keeps the sign of a zero. One division. 2 ulp.
template <class B>
typename B::Value tanh(B& b, typename B::Value x);

/// log(1 + e^x), without overflow for large x and without cancellation for negative x. 2 ulp.
template <class B>
typename B::Value softplus(B& b, typename B::Value x);

/// Natural logarithm. log(+-0) = -inf, log(negative) = NaN, log(inf) = inf. 2 ulp.
template <class B>
typename B::Value log(B& b, typename B::Value x);

/// log(1 + x), accurate near 0; keeps the sign of a zero. log1p(-1) = -inf, below -1 NaN. 2 ulp.
template <class B>
typename B::Value log1p(B& b, typename B::Value x);

/// Sine of x radians; keeps the sign of a zero; NaN for infinities. 2 ulp for |x| <= 2^17 (131072)
/// in f32 and |x| <= 2^46 (7.0e13) in f64. Beyond that the result still lies in [-1, 1], but its
/// phase is gradually lost: the absolute error may reach 2.
template <class B>
typename B::Value sin(B& b, typename B::Value x);

/// Cosine of x radians; accuracy and range as for sin.
template <class B>
typename B::Value cos(B& b, typename B::Value x);

/// x to the power y as C's pow and IEEE 754 define it, special cases included: pow(x, 0) = 1 and
/// pow(1, y) = 1 even for NaN; a negative x needs an integer y (odd y keeps the sign), else NaN.
/// 2 ulp.
template <class B>
typename B::Value pow(B& b, typename B::Value x, typename B::Value y);

/// Arctangent, arcsine and arccosine: in [-pi/2, pi/2], acos in [0, pi]; atan and asin keep the
/// sign of a zero. asin and acos give NaN beyond [-1, 1]. 2 ulp.
template <class B>
typename B::Value atan(B& b, typename B::Value x);
template <class B>
typename B::Value asin(B& b, typename B::Value x);
template <class B>
typename B::Value acos(B& b, typename B::Value x);

/// The angle of the point (x, y) in [-pi, pi], signed as y, as C's atan2 defines it, zeros and
/// infinities included: atan2(+-0, -0) = +-pi, atan2(inf, inf) = pi/4. 2 ulp.
template <class B>
typename B::Value atan2(B& b, typename B::Value y, typename B::Value x);

/// Gauss error function, in [-1, 1]; keeps the sign of a zero. 2 ulp.
template <class B>
typename B::Value erf(B& b, typename B::Value x);

}  // namespace kroton::loop::math

#include "compiler/loop/math_atan.h"
#include "compiler/loop/math_erf.h"
#include "compiler/loop/math_exp.h"
#include "compiler/loop/math_log.h"
#include "compiler/loop/math_pow.h"
#include "compiler/loop/math_trig.h"
