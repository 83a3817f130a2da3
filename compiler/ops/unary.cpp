// Ops of one operand, elementwise, that the loop IR computes directly.
#include <cmath>
#include <limits>

#include "compiler/ops/elementwise.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/weak.h"

namespace kroton {

using ops::Accepts;
using ops::elementwise;
using ops::Tensors;
using ops::unary;

namespace {

loop::Expr zero_of(const loop::Expr& x) { return loop::whole_number(0, x->dtype); }

loop::Expr sign_of(const loop::Expr& x) {
  const loop::Expr zero = zero_of(x);
  // A NaN falls through every comparison and is its own sign.
  const loop::Expr rest = loop::select(loop::binary(loop::Op::eq, x, zero), zero, x);
  return loop::select(
      loop::binary(loop::Op::lt, zero, x), loop::whole_number(1, x->dtype),
      loop::select(loop::binary(loop::Op::lt, x, zero), loop::whole_number(-1, x->dtype), rest));
}

// A conversion to an integer saturates; NaN is 0.
Number converted(const Number& x, DType to) {
  if (x.is_whole() || !is_integer(to)) return x;
  if (std::isnan(x)) return 0;
  if (x <= lowest_of(to)) return lowest_of(to);
  if (x >= highest_of(to)) return highest_of(to);
  return std::trunc(x);
}

// Conversions from each dtype to each, values out of range and NaN among them.
std::vector<Sample> cast_samples() {
  const std::vector<DType> dtypes = ops::dtypes_of(ops::any_dtype);
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
  for (DType to : dtypes) {
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
  std::vector<Sample> samples = ops::unary_samples(
      {.function = function, .low = 0.25, .high = 3, .dtypes = ops::dtypes_of(ops::number)});
  for (Sample& sample : samples) {
    for (std::size_t i = 0; i < sample.inputs[0].data.size(); i += 2) {
      sample.inputs[0].data[i] = -sample.inputs[0].data[i];
    }
  }
  return samples;
}

// These, and a negative number, both zeros, and a positive one, with these slopes.
std::vector<Sample> samples_around_zero(Tensor (*function)(const Operand&),
                                        const std::vector<double>& slopes) {
  std::vector<Sample> samples = samples_without_zero(function);
  samples.push_back(ops::kink_sample(
      {{-1.5, 0, -0.0, 2}}, [function](std::span<const Tensor> x) { return function(x[0]); },
      [slopes](std::span<const Tensor> x) { return x[0] * Array::from(slopes); }));
  return samples;
}

void draw_cast(ops::Draw& d) {
  const std::vector<DType> dtypes = ops::all_dtypes_of(ops::any_dtype);
  d.call("cast", cast, d.operand(ops::any_dtype), dtypes[d.below(std::size(dtypes))]);
}

}  // namespace

// y = -x
constinit const OpRecord neg_op =
    elementwise<neg_op>({.name = "neg",
                         .linear = Linear::jointly,
                         .accepts = Accepts::numbers,
                         .value = unary<loop::Op::neg>,
                         .derivatives = [](auto&, auto, auto& g) -> Tensors { return {-g}; },
                         .reference = std::negate<>()});

// y = |x|
constinit const OpRecord abs_op = elementwise<abs_op>(
    {.name = "abs",
     .accepts = Accepts::numbers,
     .value = unary<loop::Op::abs>,
     .derivatives = [](auto&, auto x, auto& g) -> Tensors { return {g * sign(x[0])}; },
     .reference = [](Number x) { return x < 0 ? -x : x + 0; },
     .samples = [] { return samples_around_zero(abs, {-1, 0, 0, 1}); }});

// y = -1, 0 or 1; NaN stays NaN
constinit const OpRecord sign_op = elementwise<sign_op>(
    {.name = "sign",
     .cost = 3,
     .accepts = Accepts::numbers,
     .value = [](const loop::Expr& x) { return sign_of(x); },
     .reference = [](Number x) { return std::isnan(x) ? x : Number((x > 0) - (x < 0)); },
     .samples = [] { return samples_without_zero(sign); }});

// y = max(x, 0)
constinit const OpRecord relu_op = elementwise<relu_op>(
    {.name = "relu",
     .accepts = Accepts::numbers,
     .value = [](const loop::Expr& x) { return loop::binary(loop::Op::max, x, zero_of(x)); },
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {where(y > 0, g, 0)}; },
     .reference = [](Number x) { return x < 0 ? Number(0) : x; },
     .samples = [] { return samples_around_zero(relu, {0, 0, 0, 1}); }});

// y = the largest integer <= x
constinit const OpRecord floor_op =
    elementwise<floor_op>({.name = "floor",
                           .value = unary<loop::Op::floor>,
                           .reference = [](double x) { return std::floor(x); },
                           .range = {-5, 5}});

// y = the smallest integer >= x
constinit const OpRecord ceil_op =
    elementwise<ceil_op>({.name = "ceil",
                          .value = unary<loop::Op::ceil>,
                          .reference = [](double x) { return std::ceil(x); },
                          .range = {-5, 5}});

// y = sqrt(x)
constinit const OpRecord sqrt_op = elementwise<sqrt_op>(
    {.name = "sqrt",
     .cost = 4,
     .value = unary<loop::Op::sqrt>,
     .derivatives = [](auto& y, auto, auto& g) -> Tensors { return {0.5 * g / y}; },
     .reference = [](double x) { return std::sqrt(x); },
     .range = {0.1, 4}});

// y = x as attributes.dtype.   vjp: dx = dy as x's dtype, between floating dtypes; else none
constinit const OpRecord cast_op = {
    .name = "cast",
    .kind = OpKind::elementwise,
    .sets_weak = true,
    .keeps_stored = true,
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
            c.output.data[i] = converted(c.inputs[0]->data[i], c.output.dtype);
          }
        },
    .batch = ops::batch_elementwise<cast_op>,
    .draw = draw_cast,
    .samples = cast_samples};

// y = x.   Not differentiable: the cotangent stops here.
constinit const OpRecord stop_gradient_op = {
    .name = "stop_gradient",
    .kind = OpKind::elementwise,
    .cost = 0,
    .is_view = true,
    .keeps_stored = true,
    .infer = ops::same_type<Accepts::anything>,
    .at = [](PointContext& context, const Index& index) { return context.input(0, index); },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = ops::batch_elementwise<stop_gradient_op>,
    .draw =
        [](ops::Draw& d) { ops::draw_unary(d, "stop_gradient", stop_gradient, ops::any_dtype); },
    .samples =
        [] {
          return ops::unary_samples({.function = stop_gradient,
                                     .dtypes = ops::dtypes_of(ops::any_dtype),
                                     .differentiable = false});
        }};

Tensor neg(const Operand& x) { return ops::apply_unary(neg_op, x); }
Tensor abs(const Operand& x) { return ops::apply_unary(abs_op, x); }
Tensor sign(const Operand& x) { return ops::apply_unary(sign_op, x); }
Tensor relu(const Operand& x) { return ops::apply_unary(relu_op, x); }
Tensor sqrt(const Operand& x) { return ops::apply_unary(sqrt_op, x); }

Tensor floor(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return is_integer(tensor.dtype()) ? tensor : ops::apply_unary(floor_op, x);
}

Tensor ceil(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return is_integer(tensor.dtype()) ? tensor : ops::apply_unary(ceil_op, x);
}

Tensor cast(const Operand& x, DType dtype) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return tensor.dtype() == dtype ? ops::strong(tensor) : ops::converted(tensor, {dtype, false});
}

Tensor stop_gradient(const Operand& x) { return ops::apply_unary(stop_gradient_op, x); }

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
