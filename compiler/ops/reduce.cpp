// Reductions over attributes.axes (increasing), which leave the shape.
#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/weak.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;
using ops::nan;

namespace {

template <Accepts accepts>
TensorType reduced_type(TypeContext& context) {
  ops::require(context, accepts);
  TensorType type{context.input(0).dtype, {}};
  for (int axis : ops::other_axes(context.input(0).rank(), context.attributes().axes)) {
    type.shape.push_back(context.input(0).shape[at(axis)]);
  }
  return type;
}

void require_elements(const TypeContext& context) {
  for (int axis : context.attributes().axes) {
    context.refuse_empty(context.input(0).shape[at(axis)],
                         "axis " + std::to_string(axis) + " is empty");
  }
}

TensorType extreme_type(TypeContext& context) {
  const TensorType type = reduced_type<Accepts::numbers>(context);
  require_elements(context);
  return type;
}

TensorType position_type(TypeContext& context) { return {DType::i64, extreme_type(context).shape}; }

// ---- Derivatives

Tensors sum_vjp(const Tensor& y, const Tensor& g) {
  return {ops::unreduce(g, y.node().inputs[0].shape(), y.node().attributes.axes)};
}

Tensors prod_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& x = y.node().inputs[0];
  const std::vector<int>& axes = y.node().attributes.axes;
  return {ops::unreduce(g, x.shape(), axes) * ops::prod_others(x, axes)};
}

// The extremes share the gradient; where the extreme is NaN, the elements that are.
Tensors extreme_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& x = y.node().inputs[0];
  const std::vector<int>& axes = y.node().attributes.axes;
  const Tensor extreme = ops::unreduce(y, x.shape(), axes);
  const Tensor hit = logical_or(eq(x, extreme), ne(x, x));
  const Tensor share = g / sum(cast(hit, x.dtype()), Axes(axes));
  return {where(hit, ops::unreduce(share, x.shape(), axes), 0)};
}

// ---- Reference

// For every position of the output, step(accumulator, element, position along the axes) over the
// elements reduced into it, in row-major order.
template <class Step>
void fold(ReferenceContext& c, Step step) {
  const ReferenceValue& x = *c.inputs[0];
  const std::vector<int>& axes = c.attributes.axes;
  const std::vector<int> kept = ops::other_axes(static_cast<int>(x.shape.size()), axes);
  std::size_t next = 0;
  ops::for_each_position(x.shape, [&](const ops::Position& position) {
    ops::Position target;
    for (int axis : kept) {
      target.push_back(position[at(axis)]);
    }
    const auto offset = static_cast<std::size_t>(ops::offset_of(c.output.shape, target));
    step(offset, x.data[next++], axes.empty() ? 0 : position[at(axes[0])]);
  });
}

template <class F>
void reduce_reference(ReferenceContext& c, loop::Op op, F f) {
  const loop::Expr initial = loop::initial(op, c.output.dtype);
  std::fill(c.output.data.begin(), c.output.data.end(),
            is_float(c.output.dtype) ? Number(initial->real)
                                     : stored_as(c.output.dtype, initial->integer));
  fold(c, [&](std::size_t offset, const Number& element, std::int64_t) {
    Number& result = c.output.data[offset];
    result = f(result, element);
  });
}

void sum_reference(ReferenceContext& c) {
  std::vector<ops::CompensatedSum> sums(c.output.data.size());
  fold(c, [&](std::size_t offset, const Number& x, std::int64_t) { sums[offset].add(x); });
  for (std::size_t i = 0; i < sums.size(); ++i) c.output.data[i] = sums[i].value();
}

template <class Beats>
void position_reference(ReferenceContext& c, Beats beats) {
  std::vector<Number> best(c.output.data.size());
  std::vector<bool> seen(c.output.data.size(), false);
  fold(c, [&](std::size_t offset, const Number& element, std::int64_t position) {
    const bool first_nan = std::isnan(element) && !std::isnan(best[offset]);
    if (!seen[offset] || first_nan || beats(element, best[offset])) {
      seen[offset] = true;
      best[offset] = element;
      c.output.data[offset] = position;
    }
  });
}

// ---- Samples

const std::vector<DType> number_dtypes = ops::dtypes_of(ops::number);
const std::vector<DType> truth_dtypes = ops::dtypes_of(ops::truth);

using Reduce = Tensor (*)(const Operand&, const Axes&, KeepDims);

std::vector<Sample> reduce_samples(Reduce function, const std::vector<DType>& dtypes,
                                   bool may_be_empty, bool differentiable = true) {
  std::vector<Sample> samples;
  const auto over = [&](const ops::HostShape& shape, const Axes& axes, bool keepdims = false) {
    for (DType dtype : dtypes) {
      samples.push_back({{ops::spread(dtype, shape, -1.5, 2)},
                         [=](std::span<const Tensor> x) { return function(x[0], axes, keepdims); },
                         differentiable && is_float(dtype)});
    }
  };
  over({}, {});
  over({1}, {});
  over({17}, {});
  over({3, 17}, {});
  over({3, 17}, 0);
  over({17, 3}, -1);
  over({2, 3, 5}, {0, 2});
  over({2, 3, 5}, 1, true);
  over({3, 1, 5}, {-2, 2}, true);
  over({0, 3}, 1);
  if (may_be_empty) {
    over({0}, {});
    over({3, 0}, 1);
    over({0, 3}, 0);
  }
  return samples;
}

// The largest twice, all equal, and `shares` of the gradient in a row 1, 2, 2.
std::vector<Sample> extreme_samples(Reduce function, const std::vector<double>& shares) {
  std::vector<Sample> samples = reduce_samples(function, number_dtypes, false);
  const auto ties = [&](const std::vector<double>& row, const std::vector<double>& slopes) {
    samples.push_back(ops::kink_sample(
        {row}, [=](std::span<const Tensor> x) { return function(x[0], 0, false); },
        [=](std::span<const Tensor> x) { return sum(x[0] * Array::from(slopes)); }));
  };
  ties({1, 2, 2}, shares);
  ties({3, 3, 3, 3}, {0.25, 0.25, 0.25, 0.25});
  return samples;
}

std::vector<Sample> position_samples(Tensor (*function)(const Operand&, std::optional<int>,
                                                        KeepDims)) {
  std::vector<Sample> samples;
  const auto along = [&](const ReferenceValue& x, std::optional<int> axis, bool keepdims = false) {
    samples.push_back(
        {{x}, [=](std::span<const Tensor> in) { return function(in[0], axis, keepdims); }, false});
  };
  for (DType dtype : ops::dtypes_of(ops::number)) {
    along(ops::spread(dtype, {1}, -9, 9), 0);
    along(ops::spread(dtype, {17}, -9, 9), 0);
    along(ops::spread(dtype, {3, 17}, -9, 9), 1);
    along(ops::spread(dtype, {17, 3}, -9, 9), 0, true);
    along(ops::spread(dtype, {0, 3}, -9, 9), -1);
    along(ops::spread(dtype, {2, 3, 5}, -9, 9), std::nullopt);
  }
  along(ops::values(DType::f32, {2, 4}, {1, 3, 3, 1, 2, nan, 7, nan}), 1);
  return samples;
}

// Sums, and what is made of them.
void draw_sum(ops::Draw& d) {
  switch (d.below(9)) {
    case 0:
      return ops::draw_reduction(d, "mean", mean, ops::number);
    case 1:
      return ops::draw_reduction(d, "var", var, ops::floating);
    case 2:
      return ops::draw_reduction(d, "stddev", stddev, ops::floating);
    case 3:
      return ops::draw_reduction(d, "logsumexp", logsumexp, ops::floating);
    default:
      return ops::draw_reduction(d, "sum", sum, ops::any_dtype);
  }
}

}  // namespace

// y = the sum over axes, numbers; 0 over nothing.   vjp: dx = dy repeated along axes
constinit const OpRecord sum_op = {
    .name = "sum",
    .kind = OpKind::reduce,
    .linear = Linear::jointly,
    .reduction = Reduction::sum,
    .infer = reduced_type<Accepts::numbers>,
    .vjp = sum_vjp,
    .reference = sum_reference,
    .batch = ops::batch_along_axes<sum_op>,
    .draw = draw_sum,
    .samples = [] { return reduce_samples(sum, number_dtypes, true); }};

// y = the product over axes, numbers; 1 over nothing.   vjp: dx = dy * product of the other factors
constinit const OpRecord prod_op = {
    .name = "prod",
    .kind = OpKind::reduce,
    .reduction = Reduction::prod,
    .infer = reduced_type<Accepts::numbers>,
    .vjp = prod_vjp,
    .reference =
        [](ReferenceContext& c) { reduce_reference(c, loop::Op::mul, std::multiplies<>()); },
    .batch = ops::batch_along_axes<prod_op>,
    .draw = [](ops::Draw& d) { ops::draw_reduction(d, "prod", prod, ops::number); },
    .samples =
        [] {
          std::vector<Sample> samples = reduce_samples(prod, ops::dtypes_of(ops::floating), true);
          const auto apply = [](std::span<const Tensor> x) { return prod(x[0], 1); };
          samples.push_back(
              {{ops::values(DType::f64, {3, 3}, {2, 0, 3, 0, 0, 5, 1, 2, 4})}, apply});
          samples.push_back({{ops::values(DType::i64, {2, 3}, {2, -3, 4, 1, 0, 5})}, apply, false});
          return samples;
        }};

// y = the largest over axes, numbers; NaN if one is.   vjp: dx = dy shared evenly by the largest
constinit const OpRecord max_op = {
    .name = "max",
    .kind = OpKind::reduce,
    .reduction = Reduction::max,
    .infer = extreme_type,
    .vjp = extreme_vjp,
    .reference =
        [](ReferenceContext& c) {
          reduce_reference(c, loop::Op::max, [](const Number& best, const Number& x) {
            return std::isnan(best) || best > x ? best : x;
          });
        },
    .batch = ops::batch_along_axes<max_op>,
    .draw = [](ops::Draw& d) { ops::draw_reduction(d, "max", max, ops::number); },
    .samples = [] { return extreme_samples(max, {0, 0.5, 0.5}); }};

// y = the smallest over axes, numbers; NaN if one is.   vjp: dx = dy shared evenly by the smallest
constinit const OpRecord min_op = {
    .name = "min",
    .kind = OpKind::reduce,
    .reduction = Reduction::min,
    .infer = extreme_type,
    .vjp = extreme_vjp,
    .reference =
        [](ReferenceContext& c) {
          reduce_reference(c, loop::Op::min, [](const Number& best, const Number& x) {
            return std::isnan(best) || best < x ? best : x;
          });
        },
    .batch = ops::batch_along_axes<min_op>,
    .draw = [](ops::Draw& d) { ops::draw_reduction(d, "min", min, ops::number); },
    .samples = [] { return extreme_samples(min, {1, 0, 0}); }};

// y = the position (i64) of the first largest along axes[0], numbers.   Not differentiable.
constinit const OpRecord argmax_op = {
    .name = "argmax",
    .kind = OpKind::reduce,
    .cost = 2,
    .reduction = Reduction::argmax,
    .infer = position_type,
    .reference = [](ReferenceContext& c) { position_reference(c, std::greater<>()); },
    .batch = ops::batch_along_axes<argmax_op>,
    .draw = [](ops::Draw& d) { ops::draw_position(d, "argmax", argmax); },
    .samples = [] { return position_samples(argmax); }};

// y = the position (i64) of the first smallest along axes[0], numbers.   Not differentiable.
constinit const OpRecord argmin_op = {
    .name = "argmin",
    .kind = OpKind::reduce,
    .cost = 2,
    .reduction = Reduction::argmin,
    .infer = position_type,
    .reference = [](ReferenceContext& c) { position_reference(c, std::less<>()); },
    .batch = ops::batch_along_axes<argmin_op>,
    .draw = [](ops::Draw& d) { ops::draw_position(d, "argmin", argmin); },
    .samples = [] { return position_samples(argmin); }};

// y = whether all over axes are true, booleans.   Not differentiable.
constinit const OpRecord all_op = {
    .name = "all",
    .kind = OpKind::reduce,
    .reduction = Reduction::all,
    .infer = reduced_type<Accepts::booleans>,
    .reference =
        [](ReferenceContext& c) {
          reduce_reference(c, loop::Op::logical_and, std::logical_and<>());
        },
    .batch = ops::batch_along_axes<all_op>,
    .draw = [](ops::Draw& d) { ops::draw_reduction(d, "all", all, ops::truth); },
    .samples = [] { return reduce_samples(all, truth_dtypes, true, false); }};

// y = whether any over axes is true, booleans.   Not differentiable.
constinit const OpRecord any_op = {
    .name = "any",
    .kind = OpKind::reduce,
    .reduction = Reduction::any,
    .infer = reduced_type<Accepts::booleans>,
    .reference =
        [](ReferenceContext& c) { reduce_reference(c, loop::Op::logical_or, std::logical_or<>()); },
    .batch = ops::batch_along_axes<any_op>,
    .draw = [](ops::Draw& d) { ops::draw_reduction(d, "any", any, ops::truth); },
    .samples = [] { return reduce_samples(any, truth_dtypes, true, false); }};

namespace {

Tensor reduce(const OpRecord& op, const Tensor& x, const std::vector<int>& axes, bool keepdims) {
  Attributes attributes;
  attributes.axes = axes;
  const Tensor result = ops::apply(op, {x}, std::move(attributes));
  return keepdims ? ops::keep_axes(result, x.shape(), axes) : result;
}

Tensor reduce(const OpRecord& op, const Operand& x, const Axes& axes, bool keepdims) {
  const LineScope scope(x.line(), op.name);
  const Tensor tensor = x.tensor();
  return reduce(op, tensor, axes.resolve(tensor.rank(), std::string(op.name).c_str()), keepdims);
}

// Sums and products of what is narrower than i64 are i64, as in NumPy.
Tensor position(const OpRecord& op, const Operand& x, std::optional<int> axis, bool keepdims) {
  const LineScope scope(x.line(), op.name);
  const Tensor tensor = x.tensor();
  if (axis) {
    return reduce(op, tensor, {ops::resolve_axis(*axis, tensor.rank(), op.name)}, keepdims);
  }
  const Tensor result = reduce(op, flatten(tensor), {0}, false);
  return keepdims ? reshape(result, Dims(at(tensor.rank()), Dim(1))) : result;
}

}  // namespace

Tensor ops::widened(const Operand& x) {
  const Tensor tensor = x.tensor();
  if (is_float(tensor.dtype())) return tensor;
  const bool is_unsigned = is_integer(tensor.dtype()) && !is_signed(tensor.dtype());
  return cast(tensor, is_unsigned ? DType::u64 : DType::i64);
}

Tensor sum(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return reduce(sum_op, ops::widened(x), axes, keepdims);
}

Tensor prod(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return reduce(prod_op, ops::widened(x), axes, keepdims);
}

Tensor mean(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (is_only_stored(tensor.dtype())) {
    return ops::computed(tensor, [&](const Tensor& t) { return mean(t, axes, keepdims); });
  }
  Dim count = 1;
  for (int axis : axes.resolve(tensor.rank(), "mean")) {
    count = count * tensor.shape(axis);
  }
  const auto divided = [&](const Tensor& total) {
    if (count.is_constant()) return total / static_cast<double>(count.constant());
    return total.node().weak ? total / size_of_dim(count)
                             : total / size_of_dim(count, total.dtype());
  };
  if (is_float(tensor.dtype())) return divided(sum(tensor, axes, keepdims));
  // Narrow integers are added exactly; sums of i64 might wrap. Nothing is rounded to f32 before it
  // must be.
  const Tensor total =
      sum(keeps_every_value(tensor.dtype(), DType::f64) ? tensor : cast(tensor, DType::f64), axes,
          keepdims);
  return ops::weakly_floating(divided(cast(total, DType::f64)));
}

Tensor var(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return ops::computed(x.tensor(), [&](const Tensor& t) {
    return mean(square(t - mean(t, axes, true)), axes, keepdims);
  });
}

Tensor stddev(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return ops::computed(x.tensor(), [&](const Tensor& t) { return sqrt(var(t, axes, keepdims)); });
}

Tensor max(const Operand& x, const Axes& axes, KeepDims keepdims) {
  return reduce(max_op, x, axes, keepdims);
}
Tensor min(const Operand& x, const Axes& axes, KeepDims keepdims) {
  return reduce(min_op, x, axes, keepdims);
}
Tensor argmax(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  return position(argmax_op, x, axis, keepdims);
}
Tensor argmin(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  return position(argmin_op, x, axis, keepdims);
}
Tensor all(const Operand& x, const Axes& axes, KeepDims keepdims) {
  return reduce(all_op, x, axes, keepdims);
}
Tensor any(const Operand& x, const Axes& axes, KeepDims keepdims) {
  return reduce(any_op, x, axes, keepdims);
}

Tensor logsumexp(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (is_only_stored(tensor.dtype())) {
    return ops::computed(tensor, [&](const Tensor& t) { return logsumexp(t, axes, keepdims); });
  }
  const std::vector<int> reduced = axes.resolve(tensor.rank(), "logsumexp");
  const Tensor largest = stop_gradient(max(tensor, axes, true));
  // An infinite maximum is not subtracted: infinity minus itself would be NaN.
  const Tensor shift = where(abs(largest) < std::numeric_limits<double>::infinity(), largest, 0);
  Tensor result = log(sum(exp(tensor - shift), axes, true)) + shift;
  if (keepdims) {
    return result;
  }
  Dims shape;
  for (int axis : ops::other_axes(tensor.rank(), reduced)) {
    shape.push_back(tensor.shape(axis));
  }
  return reshape(result, shape);
}

}  // namespace kroton
