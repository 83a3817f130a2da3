// Elementary functions that are made of others.
#include <kroton/elementwise.h>

#include <cmath>
#include <limits>

#include "compiler/loop/math_log.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/terms.h"

namespace kroton {

using ops::elementwise;
using ops::of_terms;
using ops::of_two_terms;
using ops::Tensors;
using ops::Term;

namespace {

using ops::inf;
constexpr double half_e = 2.718281828459045 / 2;
using ops::ln2;

Term tan_of(Term x) {
  const Term sine = ops::call(loop::Op::sin, x);
  return sine / ops::call(loop::Op::cos, x);
}

// From here on e^-|x| is nothing beside e^|x|, of which a factor e is taken out: no overflow before
// that of the result. The difference is exact.
struct HalfExp {
  Term is_large, reduced;
  explicit HalfExp(Term a)
      : is_large(a > 44.0), reduced(a - select(is_large, 1.0, ops::constant_like(a, 0))) {}
};

Term sinh_of(Term x) {
  const HalfExp half(abs(x));
  const Term t = ops::expm1(half.reduced);
  const Term rest = t / (t + 1.0);
  const Term small = (t + select(half.is_large, 0.0, rest)) * 0.5;
  return with_sign_of(ops::format_of(x), select(half.is_large, t * half_e, small), x);
}

Term cosh_of(Term x) {
  const HalfExp half(abs(x));
  const Term t = ops::exp(half.reduced);
  const Term inverse = 0.5 / t;
  return select(half.is_large, t * half_e, fma(t, 0.5, inverse));
}

// From there on log(2 a) = log(1 + a) + log(2), and the square would overflow before long.
double is_far(Term x) { return ops::format_of(x).pick(0x1p40, 0x1p60); }

Term asinh_of(Term x) {
  const Term a = abs(x);
  const Term far = a > is_far(x);
  const Term y = at_most(a, is_far(x));
  const Term square = y * y;
  const Term near = y + square / (sqrt(square + 1.0) + 1.0);
  const Term result = ops::log1p(select(far, a, near));
  return with_sign_of(ops::format_of(x), result + select(far, ln2, ops::constant_like(x, 0)), x);
}

Term acosh_of(Term x) {
  const Term t = x - 1.0;
  const Term far = x > is_far(x);
  const Term y = at_least(at_most(t, is_far(x)), 0);
  const Term near = y + sqrt(fma(y, y, y + y));
  const Term result = ops::log1p(select(far, t, near)) + select(far, ln2, ops::constant_like(x, 0));
  return select(x < 1.0, std::numeric_limits<double>::quiet_NaN(), result);
}

Term atanh_of(Term x) {
  const Term a = abs(x);
  const Term result = ops::log1p((a + a) / (1.0 - a)) * 0.5;
  // Beyond 1 log1p sees less than -1, from infinity on not.
  const Term inside = select(a < inf, result, std::numeric_limits<double>::quiet_NaN());
  return with_sign_of(ops::format_of(x), inside, x);
}

Term hypot_of(Term x, Term y) {
  const Term a = abs(x);
  const Term c = abs(y);
  const Term big = ops::larger(a, c);
  const Term small = ops::smaller(a, c);
  const Term plain = big > 0.0;
  const Term ratio = small / select(plain, big, 1.0);
  const Term result = big * sqrt(fma(ratio, ratio, 1.0));
  const Term sum = a + c;  // 0 for zeros, NaN for a NaN
  const Term is_number = equal(sum, sum) && plain;
  const Term infinite = equal(a, inf) || equal(c, inf);
  return select(infinite, inf, select(is_number, result, sum));
}

// x = n + r, 2^x = e^(r ln2) 2^n, with the power of two in two parts: one alone may be too large.
Term exp2_of(Term x) {
  const ops::Format fmt = ops::format_of(x);
  const Term y = at_least(at_most(x, fmt.pick(150, 1100)), fmt.pick(-160, -1100));
  // NaN converts to 0, and stays in r.
  const Term n = round_even(y);
  const Term r = ops::exp((y - n) * ln2);
  const Term whole{x.b, x.b->to_int(n.v)};
  const Term half{x.b, x.b->ashr(whole.v, 1)};
  const Term first = from_bits(shl(iadd(half, fmt.bias), fmt.mantissa));
  const Term second = from_bits(shl(iadd(isub(whole, half), fmt.bias), fmt.mantissa));
  return r * first * second;
}

// k log(2) / log(base) + log(m) / log(base) for x = m 2^k; the first in two parts, of which the
// high one times k is exact.
Term log_of_base(Term x, double per_power, double per_power_low, double per_log,
                 double per_log_low) {
  const auto parts = loop::math::split(ops::format_of(x), x);
  const Term log_m = ops::log(parts.m);
  const Term low = fma(log_m, per_log_low, parts.k * per_power_low);
  const Term sum = fma(parts.k, per_power, fma(log_m, per_log, low));
  return loop::math::log_specials(x, sum);
}

Term log2_of(Term x) {
  const ops::Format fmt = ops::format_of(x);
  return log_of_base(x, 1, 0, fmt.pick(0x1.715476p0, 0x1.71547652b82fep0),
                     fmt.pick(0x1.4ae0cp-26, 0x1.777d0ffda0d24p-56));
}

Term log10_of(Term x) {
  const ops::Format fmt = ops::format_of(x);
  return log_of_base(x, fmt.pick(0x1.344p-2, 0x1.34413509f8p-2),
                     fmt.pick(0x1.3509f8p-18, -0x1.80433b83b532ap-44),
                     fmt.pick(0x1.bcb7b2p-2, 0x1.bcb7b1526e50ep-2),
                     fmt.pick(-0x1.5b235ep-27, 0x1.95355baaafad3p-57));
}

// e^(log(a) / 3), and a step of Newton's method, which squares the error.
Term cbrt_of(Term x) {
  const Term a = abs(x);
  const Term plain = (a > 0.0) && (a < inf);
  const Term safe = select(plain, a, 1.0);
  const Term y = ops::exp(ops::log(safe) * (1.0 / 3));
  const Term step = (safe / (y * y) - y) * (1.0 / 3);
  return select(plain, with_sign_of(ops::format_of(x), y + step, x), x);
}

void require_floating(const Tensor& x, const char* name) {
  if (!is_float(x.dtype()))
    ops::fail_type(OpRecord{.name = name}, {x}, "takes floating point only");
}

}  // namespace

// y = tan(x), radians
constinit const OpRecord tan_op = elementwise<tan_op>(
    {.name = "tan",
     .cost = 30,
     .value = of_terms<tan_of>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * (1 + y * y)}; },
     .reference = [](double x) { return std::tan(x); },
     .range = {-1.4, 1.4},
     .special = {0, 3, -2}});

// y = sinh(x)
constinit const OpRecord sinh_op = elementwise<sinh_op>(
    {.name = "sinh",
     .cost = 18,
     .value = of_terms<sinh_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * cosh(x[0])}; },
     .reference = [](double x) { return std::sinh(x); },
     .range = {-3, 3},
     .special = {0}});

// y = cosh(x)
constinit const OpRecord cosh_op = elementwise<cosh_op>(
    {.name = "cosh",
     .cost = 18,
     .value = of_terms<cosh_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * sinh(x[0])}; },
     .reference = [](double x) { return std::cosh(x); },
     .range = {-3, 3},
     .special = {0}});

// y = asinh(x)
constinit const OpRecord asinh_op =
    elementwise<asinh_op>({.name = "asinh",
                           .cost = 24,
                           .value = of_terms<asinh_of>,
                           .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                             return {g / hypot(x[0], ones_like(x[0]))};
                           },
                           .reference = [](double x) { return std::asinh(x); },
                           .range = {-4, 4},
                           .special = {0, 1000}});

// y = acosh(x)
constinit const OpRecord acosh_op =
    elementwise<acosh_op>({.name = "acosh",
                           .cost = 24,
                           .value = of_terms<acosh_of>,
                           .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                             return {g / (sqrt(x[0] - 1) * sqrt(x[0] + 1))};
                           },
                           .reference = [](double x) { return std::acosh(x); },
                           .range = {1.2, 5},
                           .special = {1000}});

// y = atanh(x)
constinit const OpRecord atanh_op =
    elementwise<atanh_op>({.name = "atanh",
                           .cost = 20,
                           .value = of_terms<atanh_of>,
                           .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                             return {g / ((1 - x[0]) * (1 + x[0]))};
                           },
                           .reference = [](double x) { return std::atanh(x); },
                           .range = {-0.9, 0.9},
                           .special = {0}});

// z = sqrt(x^2 + y^2)
constinit const OpRecord hypot_op =
    elementwise<hypot_op>({.name = "hypot",
                           .cost = 16,
                           .commutative = true,
                           .value = of_two_terms<hypot_of>,
                           .derivatives = [](auto& z, auto x, auto& g) -> Tensors {
                             return {g * (x[0] / z), g * (x[1] / z)};
                           },
                           .reference = [](double x, double y) { return std::hypot(x, y); },
                           .range = {0.2, 3},
                           .second_range = {-3, -0.2}});

// y = 2^x
constinit const OpRecord exp2_op = elementwise<exp2_op>(
    {.name = "exp2",
     .cost = 18,
     .value = of_terms<exp2_of>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g * (ln2 * y)}; },
     .reference = [](double x) { return std::exp2(x); },
     .range = {-4, 4},
     .special = {0, -40}});

// y = log(x) / log(2)
constinit const OpRecord log2_op = elementwise<log2_op>(
    {.name = "log2",
     .cost = 16,
     .value = of_terms<log2_of>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g / (ln2 * x[0])}; },
     .reference = [](double x) { return std::log2(x); },
     .range = {0.1, 6}});

// y = log(x) / log(10)
constinit const OpRecord log10_op =
    elementwise<log10_op>({.name = "log10",
                           .cost = 16,
                           .value = of_terms<log10_of>,
                           .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                             return {g / (2.302585092994046 * x[0])};
                           },
                           .reference = [](double x) { return std::log10(x); },
                           .range = {0.1, 6}});

// y^3 = x
constinit const OpRecord cbrt_op = elementwise<cbrt_op>(
    {.name = "cbrt",
     .cost = 30,
     .value = of_terms<cbrt_of>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {g / (3 * (y * y))}; },
     .reference = [](double x) { return std::cbrt(x); },
     .range = {0.2, 4},
     .special = {8, 27}});

// y = 1 / sqrt(x)
constinit const OpRecord rsqrt_op = elementwise<rsqrt_op>(
    {.name = "rsqrt",
     .cost = 5,
     .value =
         [](const loop::Expr& x) {
           return loop::binary(loop::Op::div, loop::real(1, x->dtype),
                               loop::unary(loop::Op::sqrt, x));
         },
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {-0.5 * g * (y * y * y)}; },
     .reference = [](double x) { return 1 / std::sqrt(x); },
     .range = {0.1, 4}});

Tensor tan(const Operand& x) { return ops::apply_unary(tan_op, x); }
Tensor sinh(const Operand& x) { return ops::apply_unary(sinh_op, x); }
Tensor cosh(const Operand& x) { return ops::apply_unary(cosh_op, x); }
Tensor asinh(const Operand& x) { return ops::apply_unary(asinh_op, x); }
Tensor acosh(const Operand& x) { return ops::apply_unary(acosh_op, x); }
Tensor atanh(const Operand& x) { return ops::apply_unary(atanh_op, x); }
Tensor hypot(const Operand& x, const Operand& y) { return ops::apply_binary(hypot_op, x, y); }
Tensor exp2(const Operand& x) { return ops::apply_unary(exp2_op, x); }
Tensor log2(const Operand& x) { return ops::apply_unary(log2_op, x); }
Tensor log10(const Operand& x) { return ops::apply_unary(log10_op, x); }
Tensor cbrt(const Operand& x) { return ops::apply_unary(cbrt_op, x); }
Tensor rsqrt(const Operand& x) { return ops::apply_unary(rsqrt_op, x); }

Tensor deg2rad(const Operand& x) {
  const LineScope scope(x.line());
  require_floating(x.tensor(), "deg2rad");
  return x.tensor() * 0.017453292519943295;
}

Tensor rad2deg(const Operand& x) {
  const LineScope scope(x.line());
  require_floating(x.tensor(), "rad2deg");
  return x.tensor() * 57.29577951308232;
}

Tensor float_power(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return pow(cast(x, f64), cast(y, f64));
}

}  // namespace kroton
