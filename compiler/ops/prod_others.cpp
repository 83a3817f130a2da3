// The product of the other elements: what the derivative of a product multiplies with.
#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

// With one zero among the factors it is 0 for all but that one, with two it is 0 everywhere.
// Nothing is divided by zero. The value only: as an expression of x it has other derivatives.
Tensor expand(std::span<const Tensor> inputs, const Attributes& attributes) {
  const Tensor& x = inputs[0];
  const Axes axes(attributes.axes);
  const auto repeated = [&](const Tensor& t) {
    return ops::unreduce(t, x.shape(), attributes.axes);
  };
  const Tensor is_zero = eq(x, 0);
  const Tensor safe = where(is_zero, 1, x);
  const Tensor zeros = repeated(sum(cast(is_zero, x.dtype()), axes));
  const Tensor rest = repeated(prod(safe, axes));
  return where(is_zero, where(eq(zeros, 1), rest, 0), where(eq(zeros, 0), rest / safe, 0));
}

// The product of the elements before each one times that of those behind it, in a format in which
// neither leaves the range where the product of both does not.
void reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  const std::vector<int> kept =
      ops::other_axes(static_cast<int>(x.shape.size()), c.attributes.axes);
  std::vector<std::int64_t> line_shape;
  for (int axis : kept) line_shape.push_back(x.shape[at(axis)]);
  std::vector<std::size_t> line_of;  // by element: which reduction it is part of
  ops::for_each_position(x.shape, [&](const ops::Position& position) {
    ops::Position line;
    for (int axis : kept) line.push_back(position[at(axis)]);
    line_of.push_back(static_cast<std::size_t>(ops::offset_of(line_shape, line)));
  });
  const std::size_t count = x.data.size();
  std::vector<long double> others(count, 1), running(count, 1);
  for (std::size_t i = 0; i < count; ++i) {
    others[i] *= running[line_of[i]];
    running[line_of[i]] *= x.data[i];
  }
  std::fill(running.begin(), running.end(), 1.0L);
  for (std::size_t i = count; i-- > 0;) {
    c.output.data[i] = static_cast<double>(others[i] * running[line_of[i]]);
    running[line_of[i]] *= x.data[i];
  }
}

std::vector<Sample> samples() {
  std::vector<Sample> samples;
  const auto along = [&](ReferenceValue x, const std::vector<int>& axes) {
    samples.push_back({{std::move(x)},
                       [=](std::span<const Tensor> in) { return ops::prod_others(in[0], axes); }});
  };
  for (DType dtype : ops::dtypes_of(ops::floating)) {
    along(ops::spread(dtype, {1}, 0.5, 2), {0});
    along(ops::spread(dtype, {17}, 0.5, 2), {0});
    along(ops::spread(dtype, {3, 4}, 0.5, 2), {1});
    along(ops::spread(dtype, {2, 3, 2}, 0.5, 2), {0, 2});
    along(ops::spread(dtype, {0, 3}, 0.5, 2), {0});
    along(ops::values(dtype, {3, 3}, {2, 0, 3, 0, 0, 5, 0, 0, 0}), {1});
    along(ops::values(dtype, {2, 2}, {0, -3, 0, 0}), {0});
  }
  return samples;
}

}  // namespace

// y = the product of the other elements along attributes.axes, floating point only; 1 where there
// are none.   vjp: dx_j = the sum over i of dy_i times the product of all but x_i and x_j;
// jvp: the same, since the Jacobian is symmetric
constinit const OpRecord prod_others_op = {
    .name = "prod_others",
    .kind = OpKind::composite,
    .cost = 8,
    .infer = ops::same_type<Accepts::floating>,
    .vjp = differentiate_prod_others,
    .jvp = [](const Tensor& y,
              std::span<const Tensor> t) { return differentiate_prod_others(y, t[0])[0]; },
    .expand = expand,
    .reference = reference,
    .batch = ops::batch_along_axes<prod_others_op>,
    .samples = samples};

namespace ops {

Tensor prod_others(const Tensor& x, const std::vector<int>& axes) {
  Attributes attributes;
  attributes.axes = axes;
  return apply(prod_others_op, {x}, std::move(attributes));
}

}  // namespace ops

}  // namespace kroton
