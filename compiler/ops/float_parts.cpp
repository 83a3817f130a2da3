// Rounding, and the parts that floating numbers are made of; what is composed of them.
#include <kroton/elementwise.h>

#include <cmath>
#include <limits>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/terms.h"
#include "runtime/visit.h"

namespace kroton {

using ops::Accepts;
using ops::elementwise;
using ops::of_two_terms;
using ops::Tensors;
using ops::Term;
using ops::unary;

namespace {

using ops::inf;
using ops::nan;

Term copysign_of(Term x, Term y) { return with_sign_of(ops::format_of(x), abs(x), y); }

// As integers, numbers of one sign are in the order of their sizes.
loop::Expr next_of(const loop::Expr& x, const loop::Expr& y) {
  using loop::Op;
  const DType integer = integer_of_size(x->dtype);
  const auto whole = [&](std::int64_t value) { return loop::integer(value, integer); };
  const auto both = [](Op op, const loop::Expr& a, const loop::Expr& b) {
    return loop::binary(op, a, b);
  };
  const loop::Expr zero = loop::real(0, x->dtype), bits = loop::bitcast(x, integer);
  const loop::Expr is_positive = both(Op::lt, zero, x), is_below = both(Op::lt, x, y);
  const loop::Expr grows = both(Op::eq, is_positive, is_below);
  const loop::Expr next = loop::bitcast(
      loop::select(grows, both(Op::add, bits, whole(1)), both(Op::sub, bits, whole(1))), x->dtype);
  const loop::Expr sign = both(Op::bit_and, loop::bitcast(y, integer), whole(lowest_of(integer)));
  const loop::Expr smallest = loop::bitcast(both(Op::bit_or, sign, whole(1)), x->dtype);
  const loop::Expr from_zero = loop::select(both(Op::eq, x, zero), smallest, next);
  const loop::Expr sum = both(Op::add, x, y);  // NaN for a NaN
  const loop::Expr is_nan = both(Op::logical_or, both(Op::ne, x, x), both(Op::ne, y, y));
  return loop::select(is_nan, sum, loop::select(both(Op::eq, x, y), y, from_zero));
}

loop::Expr fmod_of(const loop::Expr& x, const loop::Expr& y) {
  if (is_float(x->dtype)) {
    const Term a = ops::term(x);
    const Term rest = ops::call(loop::Op::mod, abs(a), abs(ops::term(y)));
    return with_sign_of(ops::format_of(a), rest, a).v;
  }
  const loop::Expr none = loop::whole_number(0, x->dtype);
  const loop::Expr rest = x - loop::binary(loop::Op::div, x, y) * y;
  return loop::select(loop::binary(loop::Op::eq, y, none), none, rest);
}

Number fmod_reference(const Number& x, const Number& y) {
  if (!x.is_whole()) return std::fmod(x, y);
  return y == 0 ? Number(0) : Number(x.whole() % y.whole());
}

// The sign bit of a floating number; an integer below 0.
loop::Expr signbit_of(const loop::Expr& x) {
  const loop::Expr whole = is_float(x->dtype) ? loop::bitcast(x, integer_of_size(x->dtype)) : x;
  return loop::binary(loop::Op::lt, whole, loop::integer(0, whole->dtype));
}

std::vector<Sample> fmod_samples() {
  std::vector<Sample> samples = ops::binary_samples(
      {.function = fmod, .low_x = 0.3, .high_x = 9.2, .low_y = -1.9, .high_y = -0.6});
  for (Sample& sample : ops::binary_samples({.function = fmod,
                                             .low_x = -9,
                                             .high_x = 9,
                                             .low_y = -4,
                                             .high_y = 4,
                                             .dtypes = ops::dtypes_of(ops::integer)})) {
    samples.push_back(std::move(sample));
  }
  samples.push_back(ops::kink_sample(
      {{6, -6, 0.5, -7}, {3, 3, 2, -2}},
      [](std::span<const Tensor> in) { return fmod(in[0], in[1]); },
      [](std::span<const Tensor> in) {
        return in[0] - in[1] * Array::from({2.0, -2.0, 0.0, 3.0});
      }));
  return samples;
}

Sample copysign_at_zero() {
  return ops::kink_sample(
      {{0, -0.0, 2, 2, -3}, {1, 1, 1, -1, -1}},
      [](std::span<const Tensor> in) { return copysign(in[0], in[1]); },
      [](std::span<const Tensor> in) {
        return in[0] * Array::from({0.0, 0.0, 1.0, -1.0, 1.0}) + 0 * in[1];
      });
}

double largest_of(DType dtype) {
  return visit_dtype(dtype, []<class T>(std::type_identity<T>) {
    return static_cast<double>(std::numeric_limits<T>::max());
  });
}

// Whether all values are numbers, in the shape of x.
Mask same_for_all(const Tensor& x, bool value) { return value ? eq(x, x) : ne(x, x); }

}  // namespace

// y = the nearest integer, of two the even one
constinit const OpRecord round_op =
    elementwise<round_op>({.name = "round",
                           .value = unary<loop::Op::round_even>,
                           .reference = [](double x) { return std::nearbyint(x); },
                           .range = {-5, 5},
                           .special = {0.5, 1.5, -0.5, -2.5}});

// z = what division truncated towards zero leaves, with the sign of x; integers: 0 for y = 0
constinit const OpRecord fmod_op = elementwise<fmod_op>(
    {.name = "fmod",
     .cost = 12,
     .accepts = Accepts::numbers,
     .value = [](const loop::Expr& x, const loop::Expr& y) { return fmod_of(x, y); },
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g, -(g * trunc(x[0] / x[1]))};
     },
     .reference = [](Number x, Number y) { return fmod_reference(x, y); },
     .samples = fmod_samples});

// z = |x| with the sign of y
constinit const OpRecord copysign_op = elementwise<copysign_op>(
    {.name = "copysign",
     .value = of_two_terms<copysign_of>,
     .derivatives = [](auto& z, auto x, auto& g) -> Tensors {
       return {where(eq(x[0], 0), 0, where(eq(z, x[0]), g, -g)), Tensor()};
     },
     .reference = [](double x, double y) { return std::copysign(x, y); },
     .range = {0.2, 3},
     .second_range = {-3, -0.2},
     .samples = [] { return ops::samples_and<copysign_op>({copysign_at_zero()}); }});

// z = the number after x on the way to y
constinit const OpRecord nextafter_op = elementwise<nextafter_op>(
    {.name = "nextafter",
     .cost = 4,
     .keeps_stored = true,
     .value = [](const loop::Expr& x, const loop::Expr& y) { return next_of(x, y); },
     .derivatives = [](auto&, auto, auto& g) -> Tensors { return {g, Tensor()}; },
     .reference = [](double x, double y) { return std::nextafter(x, y); }});

// y = whether the sign is minus
constinit const OpRecord signbit_op = elementwise<signbit_op>(
    {.name = "signbit",
     .accepts = Accepts::numbers,
     .is_predicate = true,
     .keeps_stored = true,
     .value = [](const loop::Expr& x) { return signbit_of(x); },
     .reference =
         [](Number x) {
           return x.is_whole() ? Number(x < 0) : Number(std::signbit(static_cast<double>(x)));
         }});

Tensor round(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return is_integer(tensor.dtype()) ? tensor : ops::apply_unary(round_op, x);
}

Tensor trunc(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (is_integer(tensor.dtype())) return tensor;
  ops::floating_only(tensor, "trunc");
  return where(tensor < 0, ceil(tensor), floor(tensor));
}

Tensor frac(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = ops::floating_only(x, "frac");
  return tensor - trunc(tensor);
}

Tensor fmod(const Operand& x, const Operand& y) { return ops::apply_binary(fmod_op, x, y); }

Tensor remainder(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return mod(x, y);
}

Tensor copysign(const Operand& x, const Operand& y) { return ops::apply_binary(copysign_op, x, y); }
Tensor nextafter(const Operand& x, const Operand& y) {
  return ops::apply_binary(nextafter_op, x, y);
}
Mask signbit(const Operand& x) { return Mask(ops::apply_unary(signbit_op, x)); }

Mask isnan(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return ne(tensor, tensor);
}

Mask isinf(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) return same_for_all(tensor, false);
  return eq(abs(tensor), inf);
}

Mask isfinite(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) return same_for_all(tensor, true);
  return lt(abs(tensor), inf);
}

Tensor nan_to_num(const Operand& x, double nan, std::optional<double> posinf,
                  std::optional<double> neginf) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) return tensor;
  const double largest = largest_of(tensor.dtype());
  const Tensor finite = where(eq(tensor, inf), posinf.value_or(largest),
                              where(eq(tensor, -inf), neginf.value_or(-largest), tensor));
  return where(ne(tensor, tensor), nan, finite);
}

Tensor fmax(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const std::vector<Tensor> both = ops::promoted(x, y);
  return where(ne(both[0], both[0]) | (both[0] < both[1]), both[1], both[0]);
}

Tensor fmin(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const std::vector<Tensor> both = ops::promoted(x, y);
  return where(ne(both[0], both[0]) | (both[1] < both[0]), both[1], both[0]);
}

Tensor heaviside(const Operand& x, const Operand& at_zero) {
  const LineScope scope(x.line());
  const std::vector<Tensor> both = ops::promoted(x, at_zero);
  const Tensor value = ops::floating_only(both[0], "heaviside");
  const Tensor step = where(value < 0, 0, where(value > 0, 1, both[1]));
  return where(ne(value, value), stop_gradient(value), step);
}

Tensor smoothstep(const Operand& low, const Operand& high, const Operand& x) {
  const LineScope scope(x.line());
  const Tensor value = ops::floating_only(x, "smoothstep");
  const Tensor t = clip((value - low) / (high - low), 0, 1);
  return t * t * (3 - 2 * t);
}

}  // namespace kroton
