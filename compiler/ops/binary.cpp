// Arithmetic of two operands, elementwise.
#include <cmath>

#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

const std::vector<DType> numbers = {DType::f32, DType::f64, DType::i32, DType::i64};

template <loop::Op operation>
loop::Expr binary_at(PointContext& context, const Index& index) {
  return loop::binary(operation, context.input(0, index), context.input(1, index));
}

loop::Expr floor_div_at(PointContext& context, const Index& index) {
  const loop::Expr x = context.input(0, index);
  const loop::Expr y = context.input(1, index);
  if (is_float(context.type().dtype)) {
    return loop::unary(loop::Op::floor, loop::binary(loop::Op::div, x, y));
  }
  return loop::binary(loop::Op::floor_div, x, y);
}

// The lowest i64 divided by -1 wraps to itself, as the loop IR defines.
std::uint64_t whole_floor_div(std::uint64_t ux, std::uint64_t uy) {
  const auto x = static_cast<std::int64_t>(ux);
  const auto y = static_cast<std::int64_t>(uy);
  if (y == 0) {
    return 0;
  }
  if (y == -1) {
    return 0 - ux;
  }
  const std::int64_t quotient = x / y;
  return static_cast<std::uint64_t>(x % y != 0 && (x < 0) != (y < 0) ? quotient - 1 : quotient);
}

std::uint64_t whole_mod(std::uint64_t x, std::uint64_t y) {
  return y == 0 ? 0 : x - whole_floor_div(x, y) * y;
}

double larger(double x, double y) { return std::isnan(x) || x > y ? x : y; }
double smaller(double x, double y) { return std::isnan(x) || x < y ? x : y; }

// Integer samples hold zeros among their divisors.
std::vector<Sample> division_samples(Tensor (*function)(const Operand&, const Operand&),
                                     bool differentiable) {
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
                                             .dtypes = {DType::i32, DType::i64}})) {
    samples.push_back(std::move(sample));
  }
  return samples;
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

// z = x + y, numbers.   vjp: dx = dz, dy = dz
constinit const OpRecord add_op = {
    .name = "add",
    .arity = 2,
    .commutative = true,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {g, g}; },
    .at = binary_at<loop::Op::add>,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(c, std::plus<double>(), std::plus<std::uint64_t>());
        },
    .batch = ops::batch_elementwise<add_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "add", add, ops::number); },
    .samples = [] { return ops::binary_samples({.function = add, .dtypes = numbers}); }};

// z = x - y, numbers.   vjp: dx = dz, dy = -dz
constinit const OpRecord sub_op = {
    .name = "sub",
    .arity = 2,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {g, -g}; },
    .at = binary_at<loop::Op::sub>,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(c, std::minus<double>(), std::minus<std::uint64_t>());
        },
    .batch = ops::batch_elementwise<sub_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "sub", sub, ops::number); },
    .samples = [] { return ops::binary_samples({.function = sub, .dtypes = numbers}); }};

// z = x * y, numbers.   vjp: dx = dz * y, dy = dz * x
constinit const OpRecord mul_op = {
    .name = "mul",
    .arity = 2,
    .commutative = true,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      return {g * z.node().inputs[1], g * z.node().inputs[0]};
    },
    .at = binary_at<loop::Op::mul>,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(c, std::multiplies<double>(), std::multiplies<std::uint64_t>());
        },
    .batch = ops::batch_elementwise<mul_op>,
    .draw = draw_mul,
    .samples =
        [] {
          std::vector<Sample> samples = ops::binary_samples({.function = mul, .dtypes = numbers});
          // Products of i32 wrap.
          samples.push_back({{ops::values(DType::i32, {3}, {65536, 2147483647, -7}),
                              ops::values(DType::i32, {3}, {65537, 3, 5})},
                             [](std::span<const Tensor> in) { return in[0] * in[1]; },
                             false});
          return samples;
        }};

// z = x / y, floating point only.   vjp: dx = dz / y, dy = -dz * z / y
constinit const OpRecord div_op = {
    .name = "div",
    .arity = 2,
    .cost = 4,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      const Tensor& y = z.node().inputs[1];
      return {g / y, -(g * z / y)};
    },
    .at = binary_at<loop::Op::div>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::divides<double>()); },
    .batch = ops::batch_elementwise<div_op>,
    .draw = draw_div,
    .samples = [] { return division_samples(div, true); }};

// z = floor(x / y), numbers; integers: 0 for y = 0.   Not differentiable.
constinit const OpRecord floor_div_op = {
    .name = "floor_div",
    .arity = 2,
    .cost = 8,
    .infer = ops::elementwise<Accepts::numbers>,
    .at = floor_div_at,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(c, [](double x, double y) { return std::floor(x / y); }, whole_floor_div);
        },
    .batch = ops::batch_elementwise<floor_div_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "floor_div", floor_div, ops::number); },
    .samples = [] { return division_samples(floor_div, false); }};

// z = x - floor(x / y) * y, numbers; integers: 0 for y = 0.   vjp: dx = dz, dy = -dz * floor(x / y)
constinit const OpRecord mod_op = {
    .name = "mod",
    .arity = 2,
    .cost = 10,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      return {g, -(g * floor_div(z.node().inputs[0], z.node().inputs[1]))};
    },
    .at = binary_at<loop::Op::mod>,
    .reference =
        [](ReferenceContext& c) {
          ops::map_binary(
              c, [](double x, double y) { return x - std::floor(x / y) * y; }, whole_mod);
        },
    .batch = ops::batch_elementwise<mod_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "mod", mod, ops::number); },
    .samples = [] { return division_samples(mod, true); }};

// z = the larger, numbers; NaN if either is.   vjp: dx = dz where x >= y, else 0; dy = the rest
constinit const OpRecord maximum_op = {
    .name = "maximum",
    .arity = 2,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      const Tensor first = z.node().inputs[0] >= z.node().inputs[1];
      return {where(first, g, 0), where(first, 0, g)};
    },
    .at = binary_at<loop::Op::max>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, larger); },
    .batch = ops::batch_elementwise<maximum_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "maximum", maximum, ops::number); },
    .samples = [] { return ops::binary_samples({.function = maximum, .dtypes = numbers}); }};

// z = the smaller, numbers; NaN if either is.   vjp: dx = dz where x <= y, else 0; dy = the rest
constinit const OpRecord minimum_op = {
    .name = "minimum",
    .arity = 2,
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      const Tensor first = z.node().inputs[0] <= z.node().inputs[1];
      return {where(first, g, 0), where(first, 0, g)};
    },
    .at = binary_at<loop::Op::min>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, smaller); },
    .batch = ops::batch_elementwise<minimum_op>,
    .draw = draw_minimum,
    .samples = [] { return ops::binary_samples({.function = minimum, .dtypes = numbers}); }};

Family binary_family() {
  static constexpr const OpRecord* family[] = {&add_op,       &sub_op, &mul_op,     &div_op,
                                               &floor_div_op, &mod_op, &maximum_op, &minimum_op};
  return family;
}

Tensor add(const Operand& x, const Operand& y) { return ops::apply_binary(add_op, x, y); }
Tensor sub(const Operand& x, const Operand& y) { return ops::apply_binary(sub_op, x, y); }
Tensor mul(const Operand& x, const Operand& y) { return ops::apply_binary(mul_op, x, y); }

Tensor div(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  // An integer or boolean tensor becomes f32 before a literal is given its dtype.
  const auto floating = [](const Operand& operand, const Operand& other) -> Operand {
    if (operand.is_literal() && !other.is_literal()) {
      return operand;
    }
    const Tensor tensor = operand.tensor();
    return is_float(tensor.dtype()) ? tensor : cast(tensor, DType::f32);
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
