// Arithmetic of two operands, elementwise.
#include <cmath>
#include <limits>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/weak.h"

namespace kroton {

using ops::Accepts;
using ops::binary;
using ops::elementwise;
using ops::Tensors;

namespace {

loop::Expr floor_div_of(const loop::Expr& x, const loop::Expr& y) {
  if (!is_float(x->dtype)) return loop::binary(loop::Op::floor_div, x, y);
  // What remains is taken away first, so that x is this times y, plus x mod y. Only -1 times an
  // infinity leaves an infinite rest. The sum with 0 makes a -0 of x < |y| a 0.
  const auto constant = [&](double value) { return loop::real(value, x->dtype); };
  const auto equals = [&](const loop::Expr& a, double b) {
    return loop::binary(loop::Op::eq, a, constant(b));
  };
  const loop::Expr rest = loop::binary(loop::Op::mod, x, y);
  const loop::Expr whole =
      loop::unary(loop::Op::round_even, loop::binary(loop::Op::div, x - rest, y)) + constant(0);
  const loop::Expr infinite =
      equals(loop::unary(loop::Op::abs, rest), std::numeric_limits<double>::infinity());
  const loop::Expr plain = loop::binary(loop::Op::logical_or, equals(x, 0), equals(y, 0));
  return loop::select(plain, loop::binary(loop::Op::div, x, y),
                      loop::select(infinite, constant(-1), whole));
}

Number whole_floor_div(Number::Whole x, Number::Whole y) {
  if (y == 0) return 0;
  return x / y - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
}

// With the sign of y, as Python's %.
double real_mod(double x, double y) {
  const double rest = std::fmod(x, y);
  if (rest == 0) return std::copysign(0.0, y);
  return (rest < 0) != (y < 0) ? rest + y : rest;
}

double real_floor_div(double x, double y) {
  if (x == 0 || y == 0) return x / y;
  const double rest = real_mod(x, y);
  return std::isinf(rest) ? -1 : std::nearbyint((x - rest) / y) + 0.0;
}

Number floored(const Number& x, const Number& y) {
  if (x.is_whole()) return whole_floor_div(x.whole(), y.whole());
  return real_floor_div(x, y);
}

Number rest_of(const Number& x, const Number& y) {
  if (!x.is_whole()) return real_mod(x, y);
  return y == 0 ? y : x - floored(x, y) * y;
}

// Integer samples hold zeros among their divisors.
std::vector<Sample> division_samples(Tensor (*function)(const Operand&, const Operand&),
                                     bool differentiable, std::vector<Sample> others = {}) {
  std::vector<Sample> samples = ops::binary_samples({.function = function,
                                                     .low_x = 0.3,
                                                     .high_x = 9.2,
                                                     .low_y = -1.9,
                                                     .high_y = -0.6,
                                                     .differentiable = differentiable});
  for (Sample& sample : ops::binary_samples({.function = function,
                                             .low_x = -9,
                                             .high_x = 9,
                                             .low_y = -4,
                                             .high_y = 4,
                                             .dtypes = ops::dtypes_of(ops::integer)})) {
    samples.push_back(std::move(sample));
  }
  for (Sample& sample : others) samples.push_back(std::move(sample));
  return samples;
}

// Equal, the first larger, and the second larger; `slopes` of the first operand there.
Sample extreme_sample(Tensor (*function)(const Operand&, const Operand&),
                      const std::vector<double>& slopes) {
  return ops::kink_sample(
      {{2, 1, 2}, {2, 0, 5}},
      [function](std::span<const Tensor> in) { return function(in[0], in[1]); },
      [slopes](std::span<const Tensor> in) {
        const Tensor first = Operand(Array::from(slopes)).tensor();
        return in[0] * first + in[1] * (1 - first);
      });
}

// Where the remainder is 0.
Sample multiples_sample() {
  return ops::kink_sample(
      {{0, 6, -6, 0.5}, {3, 3, 2, -2}},
      [](std::span<const Tensor> in) { return mod(in[0], in[1]); },
      [](std::span<const Tensor> in) {
        return in[0] - in[1] * Array::from({0.0, 2.0, -3.0, -1.0});
      });
}

Sample wrapping_products() {
  return {{ops::values(DType::i32, {3}, {65536, 2147483647, -7}),
           ops::values(DType::i32, {3}, {65537, 3, 5})},
          [](std::span<const Tensor> in) { return in[0] * in[1]; },
          false};
}

// g for the first operand where `first` holds, for the second one elsewhere.
Tensors to_first(const Tensor& g, const Tensor& first) {
  return {where(first, g, 0), where(first, 0, g)};
}

void draw_mul(ops::Draw& d) {
  if (d.one_in(6)) {
    ops::draw_unary(d, "square", square, ops::number);
  } else {
    ops::draw_binary(d, "mul", mul, ops::number);
  }
}

void draw_div(ops::Draw& d) {
  if (d.one_in(6)) {
    ops::draw_unary(d, "reciprocal", reciprocal, ops::floating);
  } else {
    ops::draw_binary(d, "div", div, ops::number);
  }
}

void draw_minimum(ops::Draw& d) {
  if (!d.one_in(3)) {
    ops::draw_binary(d, "minimum", minimum, ops::number);
    return;
  }
  const ops::Slot x = d.operand(ops::number);
  const ops::Argument low = d.one_in(2) ? d.literal(x) : ops::Argument(d.partner(x, ops::number));
  d.call("clip", clip, x, low, d.literal(x));
}

}  // namespace

// z = x + y
constinit const OpRecord add_op =
    elementwise<add_op>({.name = "add",
                         .commutative = true,
                         .linear = Linear::jointly,
                         .accepts = Accepts::numbers,
                         .value = binary<loop::Op::add>,
                         .derivatives = [](auto&, auto, auto& g) -> Tensors { return {g, g}; },
                         .reference = std::plus<>()});

// z = x - y
constinit const OpRecord sub_op =
    elementwise<sub_op>({.name = "sub",
                         .linear = Linear::jointly,
                         .accepts = Accepts::numbers,
                         .value = binary<loop::Op::sub>,
                         .derivatives = [](auto&, auto, auto& g) -> Tensors { return {g, -g}; },
                         .reference = std::minus<>()});

// z = x * y
constinit const OpRecord mul_op = elementwise<mul_op>(
    {.name = "mul",
     .commutative = true,
     .linear = Linear::each,
     .accepts = Accepts::numbers,
     .value = binary<loop::Op::mul>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * x[1], g * x[0]}; },
     .reference = std::multiplies<>(),
     .draw = draw_mul,
     .samples = [] { return ops::samples_and<mul_op>({wrapping_products()}); }});

// z = x / y
constinit const OpRecord div_op = elementwise<div_op>(
    {.name = "div",
     .cost = 4,
     .value = binary<loop::Op::div>,
     .derivatives = [](auto& z, auto x, auto& g) -> Tensors { return {g / x[1], -(g * z / x[1])}; },
     .reference = std::divides<>(),
     .draw = draw_div,
     .samples = [] { return division_samples(div, true); }});

// z = (x - x mod y) / y; integers: 0 for y = 0
constinit const OpRecord floor_div_op = elementwise<floor_div_op>(
    {.name = "floor_div",
     .cost = 8,
     .accepts = Accepts::numbers,
     .value = [](const loop::Expr& x, const loop::Expr& y) { return floor_div_of(x, y); },
     .reference = [](Number x, Number y) { return floored(x, y); },
     .samples = [] { return division_samples(floor_div, false); }});

// z = what floor division leaves, exact and with the sign of y; integers: 0 for y = 0
constinit const OpRecord mod_op = elementwise<mod_op>(
    {.name = "mod",
     .cost = 10,
     .accepts = Accepts::numbers,
     .value = binary<loop::Op::mod>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return {g, -(g * floor_div(x[0], x[1]))};
     },
     .reference = [](Number x, Number y) { return rest_of(x, y); },
     .samples = [] { return division_samples(mod, true, {multiples_sample()}); }});

// z = the larger; NaN if either is
constinit const OpRecord maximum_op = elementwise<maximum_op>(
    {.name = "maximum",
     .accepts = Accepts::numbers,
     .value = binary<loop::Op::max>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return to_first(g, (x[0] >= x[1]) | ne(x[0], x[0]));
     },
     .reference = [](Number x, Number y) { return std::isnan(x) || x > y ? x : y; },
     .samples = [] { return ops::samples_and<maximum_op>({extreme_sample(maximum, {1, 1, 0})}); }});

// z = the smaller; NaN if either is
constinit const OpRecord minimum_op = elementwise<minimum_op>(
    {.name = "minimum",
     .accepts = Accepts::numbers,
     .value = binary<loop::Op::min>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors {
       return to_first(g, (x[0] <= x[1]) | ne(x[0], x[0]));
     },
     .reference = [](Number x, Number y) { return std::isnan(x) || x < y ? x : y; },
     .draw = draw_minimum,
     .samples = [] { return ops::samples_and<minimum_op>({extreme_sample(minimum, {1, 0, 1})}); }});

Tensor add(const Operand& x, const Operand& y) { return ops::apply_binary(add_op, x, y); }
Tensor sub(const Operand& x, const Operand& y) { return ops::apply_binary(sub_op, x, y); }
Tensor mul(const Operand& x, const Operand& y) { return ops::apply_binary(mul_op, x, y); }

Tensor div(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  // An integer or boolean tensor becomes floating before a literal is given its dtype: f32, unless
  // it meets a tensor with another.
  const auto floating = [](const Operand& operand, const Operand& other) -> Operand {
    if (operand.is_literal() && !other.is_literal()) {
      return operand;
    }
    const Tensor tensor = operand.tensor();
    return is_float(tensor.dtype()) ? tensor : ops::weakly_floating(tensor);
  };
  return ops::apply_binary(div_op, floating(x, y), floating(y, x));
}

Tensor floor_div(const Operand& x, const Operand& y) {
  return ops::apply_binary(floor_div_op, x, y);
}
Tensor mod(const Operand& x, const Operand& y) { return ops::apply_binary(mod_op, x, y); }
Tensor maximum(const Operand& x, const Operand& y) { return ops::apply_binary(maximum_op, x, y); }
Tensor minimum(const Operand& x, const Operand& y) { return ops::apply_binary(minimum_op, x, y); }

Tensor clip(const Operand& x, const Operand& low, const Operand& high) {
  const LineScope scope(x.line());
  return minimum(maximum(x, low), high);
}

}  // namespace kroton
