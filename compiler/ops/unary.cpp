// Ops of one operand, elementwise, that the loop IR computes directly.
#include <cmath>
#include <limits>

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
loop::Expr unary_at(PointContext& context, const Index& index) {
  return loop::unary(operation, context.input(0, index));
}

loop::Expr identity_at(PointContext& context, const Index& index) {
  return context.input(0, index);
}

loop::Expr zero_of(const loop::Expr& x) {
  return is_float(x->dtype) ? loop::real(0, x->dtype) : loop::integer(0, x->dtype);
}

loop::Expr sign_at(PointContext& context, const Index& index) {
  const loop::Expr x = context.input(0, index);
  const loop::Expr zero = zero_of(x);
  const auto constant = [&](int value) {
    return is_float(x->dtype) ? loop::real(value, x->dtype) : loop::integer(value, x->dtype);
  };
  // A NaN falls through every comparison and is its own sign.
  const loop::Expr rest = loop::select(loop::binary(loop::Op::eq, x, zero), zero, x);
  return loop::select(loop::binary(loop::Op::lt, zero, x), constant(1),
                      loop::select(loop::binary(loop::Op::lt, x, zero), constant(-1), rest));
}

double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x; }

double converted(double x, DType from, DType to) {
  if (to == DType::boolean) {
    return x != 0 ? 1 : 0;
  }
  if (is_float(to)) {
    return x;  // references keep double precision
  }
  if (!is_float(from)) {
    return ops::stored_as(to, x);
  }
  if (std::isnan(x)) {
    return 0;
  }
  const double low = to == DType::i32 ? -0x1p31 : -0x1p63;
  const double high = to == DType::i32 ? 0x1p31 - 1 : 0x1p63;
  return std::fmin(std::fmax(std::trunc(x), low), high);
}

// Conversions from each dtype to each, values out of range and NaN among them.
std::vector<Sample> cast_samples() {
  const DType dtypes[] = {DType::boolean, DType::i32, DType::i64, DType::f32, DType::f64};
  std::vector<Sample> samples;
  for (DType from : dtypes) {
    for (DType to : dtypes) {
      for (const ops::HostShape& shape : {ops::HostShape{}, {0}, {1}, {17}, {3, 5}}) {
        samples.push_back({{ops::spread(from, shape, -3, 3)},
                           [to](std::span<const Tensor> x) { return cast(x[0], to); },
                           is_float(from) && is_float(to)});
      }
    }
  }
  for (DType to : {DType::boolean, DType::i32, DType::i64}) {
    samples.push_back({{ops::values(DType::f64, {7},
                                    {1e30, -1e30, std::numeric_limits<double>::quiet_NaN(), -0.5,
                                     0.99, std::numeric_limits<double>::infinity(), 0})},
                       [to](std::span<const Tensor> x) { return cast(x[0], to); },
                       false});
  }
  samples.push_back({{ops::values(DType::i64, {3}, {4294967297.0, -4294967298.0, 2147483648.0})},
                     [](std::span<const Tensor> x) { return cast(x[0], DType::i32); },
                     false});
  return samples;
}

// Samples on both sides of a kink at 0.
std::vector<Sample> samples_without_zero(Tensor (*function)(const Operand&)) {
  std::vector<Sample> samples =
      ops::unary_samples({.function = function, .low = 0.25, .high = 3, .dtypes = numbers});
  for (Sample& sample : samples) {
    for (std::size_t i = 0; i < sample.inputs[0].data.size(); i += 2) {
      sample.inputs[0].data[i] = -sample.inputs[0].data[i];
    }
  }
  return samples;
}

void draw_cast(ops::Draw& d) {
  constexpr DType dtypes[] = {DType::boolean, DType::i32, DType::i64, DType::f32, DType::f64};
  d.call("cast", cast, d.operand(ops::any_dtype), dtypes[d.below(std::size(dtypes))]);
}

}  // namespace

// y = -x, numbers.   vjp: dx = -dy
constinit const OpRecord neg_op = {
    .name = "neg",
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {neg(g)}; },
    .at = unary_at<loop::Op::neg>,
    .reference = [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return -x; }); },
    .batch = ops::batch_elementwise<neg_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "neg", neg, ops::number); },
    .samples = [] { return ops::unary_samples({.function = neg, .dtypes = numbers}); }};

// y = |x|, numbers.   vjp: dx = dy * sign(x)
constinit const OpRecord abs_op = {
    .name = "abs",
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {g * sign(y.node().inputs[0])};
    },
    .at = unary_at<loop::Op::abs>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::fabs(x); }); },
    .batch = ops::batch_elementwise<abs_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "abs", abs, ops::number); },
    .samples = [] { return samples_without_zero(abs); }};

// y = -1, 0 or 1, numbers; NaN stays NaN.   Not differentiable.
constinit const OpRecord sign_op = {
    .name = "sign",
    .cost = 3,
    .infer = ops::elementwise<Accepts::numbers>,
    .at = sign_at,
    .reference = [](ReferenceContext& c) { ops::map_unary(c, sign_of); },
    .batch = ops::batch_elementwise<sign_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "sign", sign, ops::number); },
    .samples = [] { return samples_without_zero(sign); }};

// y = max(x, 0), numbers.   vjp: dx = dy where y > 0, else 0
constinit const OpRecord relu_op = {
    .name = "relu",
    .infer = ops::elementwise<Accepts::numbers>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {where(y > 0, g, 0)}; },
    .at =
        [](PointContext& context, const Index& index) {
          const loop::Expr x = context.input(0, index);
          return loop::binary(loop::Op::max, x, zero_of(x));
        },
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return x < 0 ? 0 : x; }); },
    .batch = ops::batch_elementwise<relu_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "relu", relu, ops::number); },
    .samples = [] { return samples_without_zero(relu); }};

// y = the largest integer <= x, floating point only.   Not differentiable.
constinit const OpRecord floor_op = {
    .name = "floor",
    .infer = ops::elementwise<Accepts::floating>,
    .at = unary_at<loop::Op::floor>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::floor(x); }); },
    .batch = ops::batch_elementwise<floor_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "floor", floor, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = floor, .low = -5, .high = 5, .differentiable = false});
        }};

// y = the smallest integer >= x, floating point only.   Not differentiable.
constinit const OpRecord ceil_op = {
    .name = "ceil",
    .infer = ops::elementwise<Accepts::floating>,
    .at = unary_at<loop::Op::ceil>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::ceil(x); }); },
    .batch = ops::batch_elementwise<ceil_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "ceil", ceil, ops::floating); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = ceil, .low = -5, .high = 5, .differentiable = false});
        }};

// y = sqrt(x), floating point only.   vjp: dx = dy / (2 y)
constinit const OpRecord sqrt_op = {
    .name = "sqrt",
    .cost = 4,
    .infer = ops::elementwise<Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors { return {0.5 * g / y}; },
    .at = unary_at<loop::Op::sqrt>,
    .reference =
        [](ReferenceContext& c) { ops::map_unary(c, [](double x) { return std::sqrt(x); }); },
    .batch = ops::batch_elementwise<sqrt_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "sqrt", sqrt, ops::floating); },
    .samples = [] { return ops::unary_samples({.function = sqrt, .low = 0.1, .high = 4}); }};

// y = x as attributes.dtype.   vjp: dx = dy as x's dtype, between floating dtypes; else none
constinit const OpRecord cast_op = {
    .name = "cast",
    .infer = [](TypeContext& context) -> TensorType {
      return {context.attributes().dtype, context.input(0).shape};
    },
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const DType from = y.node().inputs[0].dtype();
      return {is_float(from) && is_float(y.dtype()) ? cast(g, from) : Tensor()};
    },
    .at =
        [](PointContext& context, const Index& index) {
          return loop::cast(context.input(0, index), context.attributes().dtype);
        },
    .reference =
        [](ReferenceContext& c) {
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            c.output.data[i] = converted(c.inputs[0]->data[i], c.inputs[0]->dtype, c.output.dtype);
          }
        },
    .batch = ops::batch_elementwise<cast_op>,
    .draw = draw_cast,
    .samples = cast_samples};

// y = x.   Not differentiable: the cotangent stops here.
constinit const OpRecord stop_gradient_op = {
    .name = "stop_gradient",
    .cost = 0,
    .is_view = true,
    .infer = ops::elementwise<Accepts::anything>,
    .at = identity_at,
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = ops::batch_elementwise<stop_gradient_op>,
    .draw =
        [](ops::Draw& d) { ops::draw_unary(d, "stop_gradient", stop_gradient, ops::any_dtype); },
    .samples =
        [] {
          return ops::unary_samples({.function = stop_gradient,
                                     .dtypes = {DType::f32, DType::f64, DType::i64, DType::boolean},
                                     .differentiable = false});
        }};

Family unary_family() {
  static constexpr const OpRecord* family[] = {&neg_op,  &abs_op,   &sign_op,
                                               &relu_op, &floor_op, &ceil_op,
                                               &sqrt_op, &cast_op,  &stop_gradient_op};
  return family;
}

namespace {

Tensor unary(const OpRecord& op, const Operand& x) {
  const LineScope scope(x.line());
  return ops::apply(op, {x.tensor()});
}

}  // namespace

Tensor neg(const Operand& x) { return unary(neg_op, x); }
Tensor abs(const Operand& x) { return unary(abs_op, x); }
Tensor sign(const Operand& x) { return unary(sign_op, x); }
Tensor relu(const Operand& x) { return unary(relu_op, x); }
Tensor sqrt(const Operand& x) { return unary(sqrt_op, x); }

Tensor floor(const Operand& x) {
  const Tensor tensor = x.tensor();
  return is_integer(tensor.dtype()) ? tensor : unary(floor_op, x);
}

Tensor ceil(const Operand& x) {
  const Tensor tensor = x.tensor();
  return is_integer(tensor.dtype()) ? tensor : unary(ceil_op, x);
}

Tensor cast(const Operand& x, DType dtype) {
  const LineScope scope(x.line());
  Tensor tensor = x.tensor();
  if (tensor.dtype() == dtype) {
    return tensor;
  }
  Attributes attributes;
  attributes.dtype = dtype;
  return ops::apply(cast_op, {tensor}, std::move(attributes));
}

Tensor stop_gradient(const Operand& x) { return unary(stop_gradient_op, x); }

Tensor square(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return mul(tensor, tensor);
}

Tensor reciprocal(const Operand& x) {
  const LineScope scope(x.line());
  if (!is_float(x.tensor().dtype())) {
    ops::fail_type(OpRecord{.name = "reciprocal"}, {x.tensor()}, "takes floating point only");
  }
  return 1 / x.tensor();
}

}  // namespace kroton
