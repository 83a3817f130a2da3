// Bisection in a sorted vector.
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

namespace {

using loop::Expr;
using loop::Op;
using ops::inf;
using ops::nan;

bool goes_right(const Attributes& attributes) { return attributes.integers.at(0) != 0; }

// In the order of a sort: NaNs are equal, and behind all numbers.
Expr is_before(const Expr& a, const Expr& b) {
  const Expr less = loop::binary(Op::lt, a, b);
  if (!is_float(a->dtype)) return less;
  const Expr b_is_nan = loop::binary(Op::ne, b, b);
  return loop::binary(Op::logical_or, less,
                      loop::binary(Op::logical_and, loop::binary(Op::eq, a, a), b_is_nan));
}

// How often a number is halved until nothing is left of it, which is how many bits it has: what the
// exponent of a double says. Nothing that runs so often runs for 0.
Expr halvings(const Expr& count) {
  const Expr bits = loop::bitcast(loop::cast(count, DType::f64), DType::i64);
  return loop::binary(Op::lshr, bits, loop::integer(52)) - loop::integer(1022);
}
constexpr std::int64_t most_halvings = 63;

// The elements before the position found so far are known to stand before v. Of those that are left
// behind it each step halves the number, which is the same for all v, and is above 0.
void searchsorted_write(WriteContext& context) {
  const Dim& size = context.input_type(1).shape.back();
  const auto rows = static_cast<std::ptrdiff_t>(context.input_type(1).shape.size()) - 1;
  const bool right = goes_right(context.attributes());
  const Expr steps = halvings(loop::size(size));
  const WriteContext::Scratch halves = context.scratch(DType::i64, {most_halvings});
  const WriteContext::Scratch left = context.scratch(DType::i64, {most_halvings + 1});
  context.nest({1}, [&](const Index& once) {
    context.store(left, once, loop::size(size));
    context.loop(steps, most_halvings, [&](const Expr& step) {
      const Expr count = context.stored(left, {step});
      const Expr half = loop::binary(Op::ashr, count + loop::integer(1), loop::integer(1));
      context.store(halves, {step}, half);
      context.store(left, {step + loop::integer(1)}, count - half);
    });
  });
  context.nest(context.type().shape, [&](const Index& index) {
    context.store(index, loop::integer(0));
    context.loop(steps, most_halvings, [&](const Expr& step) {
      const Expr found = context.stored(index);
      const Expr half = context.stored(halves, {step});
      const Expr next = found + half;
      const Expr v = context.input(0, index);
      Index middle(index.begin(), index.begin() + rows);
      middle.push_back(next - loop::integer(1));
      const Expr there = context.input(1, middle);
      const Expr passes =
          right ? loop::unary(Op::logical_not, is_before(v, there)) : is_before(there, v);
      context.store(index, loop::select(passes, next, found));
    });
  });
}

// By the same steps, so that what is found in a vector that is not sorted is defined, too.
void searchsorted_reference(ReferenceContext& c) {
  const std::vector<Number>& sorted = c.inputs[1]->data;
  const auto is_less = [](const Number& a, const Number& b) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    return a < b;
  };
  const std::vector<std::int64_t>& shape = c.inputs[1]->shape;
  const auto size = static_cast<std::size_t>(shape.back());
  std::size_t rows = 1;
  for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) {
    rows *= static_cast<std::size_t>(shape[axis]);
  }
  for (std::size_t i = 0; i < c.output.data.size(); ++i) {
    const Number& v = c.inputs[0]->data[i];
    const std::size_t row = i / (c.output.data.size() / rows);
    std::size_t found = 0;
    for (std::size_t left = size; left > 0; left /= 2) {
      const std::size_t next = found + (left + 1) / 2;
      const Number& there = sorted[row * size + next - 1];
      const bool passes = goes_right(c.attributes) ? !is_less(v, there) : is_less(there, v);
      if (passes) found = next;
    }
    c.output.data[i] = static_cast<std::int64_t>(found);
  }
}

TensorType searchsorted_type(TypeContext& context) {
  const TensorType& v = context.input(0);
  const TensorType& sorted = context.input(1);
  if (v.dtype != sorted.dtype) context.fail_type("dtypes differ");
  if (v.dtype == DType::boolean) context.fail_type("takes numbers only");
  if (sorted.rank() == 0) context.fail_shape("what is searched in must have an axis");
  if (sorted.rank() - 1 > v.rank()) context.fail_shape("there are more rows than v has axes");
  TensorType result{DType::i64, v.shape};
  for (std::size_t axis = 0; axis + 1 < sorted.shape.size(); ++axis) {
    result.shape[axis] = context.equal(sorted.shape[axis], v.shape[axis],
                                       ops::sizes_differ(static_cast<int>(axis), v.rank()));
  }
  return result;
}

// A vector of ascending numbers, some of them equal.
ReferenceValue ascending(DType dtype, std::int64_t size, double low, double high) {
  ReferenceValue result = ops::spread(dtype, {size}, low, high);
  for (std::size_t i = 1; i < result.data.size(); i += 4) result.data[i] = result.data[i - 1];
  std::sort(result.data.begin(), result.data.end(),
            [](const Number& a, const Number& b) { return a < b; });
  return result;
}

std::vector<Sample> searchsorted_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ReferenceValue& sorted, const ReferenceValue& v) {
    for (const bool right : {false, true}) {
      samples.push_back(
          {{sorted, v},
           [=](std::span<const Tensor> in) { return searchsorted(in[0], in[1], right); },
           false});
    }
  };
  for (const DType dtype : ops::dtypes_of(ops::number)) {
    for (const std::int64_t size : {0, 1, 2, 3, 4, 17, 64}) {
      for (const ops::HostShape& shape : {ops::HostShape{}, {0}, {1}, {17}, {3, 5}}) {
        add(ascending(dtype, size, -5, 5), ops::spread(dtype, shape, -6, 6, 2));
      }
      add(ascending(dtype, size, -5, 5), ascending(dtype, size, -5, 5));
    }
  }
  for (const ops::HostShape& shape : {ops::HostShape{2}, {2, 3}, {2, 0}, {2, 3, 2}}) {
    ReferenceValue rows = ascending(DType::f64, 5, -5, 5);
    for (int k = 0; k < 5; ++k) rows.data.push_back(rows.data[static_cast<std::size_t>(k)] + 1);
    rows.shape = {2, 5};
    add(rows, ops::spread(DType::f64, shape, -6, 6, 2));
  }
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    add(ops::values(dtype, {5}, {-inf, 0.0, inf, nan, nan}),
        ops::values(dtype, {6}, {nan, inf, -inf, -0.0, 0.0, 1.0}));
  }
  return samples;
}

void draw_searchsorted(ops::Draw& d) {
  const ops::Slot sorted = d.operand(ops::number, 1, 1);
  d.call("searchsorted", searchsorted, sorted, d.partner(sorted, ops::number), d.one_in(2));
}

}  // namespace

// y = for each element of operand 0 its position in the ascending vector, operand 1, or in that of
// its row, where operand 1 (rows..., n) has the first axes of operand 0; i64: before equal ones, or
// behind them if attributes.integers[0] is 1; numbers.   Not differentiable.
constinit const OpRecord searchsorted_op = {
    .name = "searchsorted",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 10,
    .infer = searchsorted_type,
    .write = searchsorted_write,
    .reference = searchsorted_reference,
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>& mapped,
                const Attributes& attributes, const Dim& count) -> Tensor {
      if (!mapped[1] && operands[1].rank() == 1) {
        return ops::apply(searchsorted_op, {operands[0], operands[1]}, attributes);
      }
      return ops::apply(searchsorted_op, ops::with_rows(operands, mapped, count), attributes);
    },
    .draw = draw_searchsorted,
    .samples = searchsorted_samples};

Tensor searchsorted(const Operand& sorted, const Operand& v, bool right) {
  const LineScope scope(sorted.line());
  const std::vector<Tensor> operands = ops::promoted(sorted, v);
  Attributes attributes;
  attributes.integers = {right ? 1 : 0};
  return ops::apply(searchsorted_op, {operands[1], operands[0]}, std::move(attributes));
}

}  // namespace kroton
