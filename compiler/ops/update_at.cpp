// A tensor of which elements at indices along an axis are added to, multiplied, replaced.
#include <kroton/cumulative.h>
#include <kroton/indexing.h>
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

using UpdateFunction = Tensor (*)(const Operand& x, const Operand& values, const Operand& indices,
                                  int axis);

// What each of these ops is: for every element of the values, in row-major order, the element of
// the result at its index becomes a function of both.
struct Update {
  std::string_view name;
  Accepts accepts;
  loop::Expr (*combine)(const loop::Expr& element, const loop::Expr& value);
  Number (*reference)(const Number& element, const Number& value);  // null: compensated sums
  UpdateFunction function;
  Tensors (*vjp)(const Tensor& y, const Tensor& g);  // of the values, of the indices, of x
  double beats = 0;  // extremes: what beats the elements of the sample with ties
};

// The result begins as this operand.
constexpr int start = 2;

// The indices are in range: updated() sees to that.
void write(WriteContext& context, const Update& how) {
  context.nest(context.type().shape,
               [&](const Index& index) { context.store(index, context.input(start, index)); });
  context.nest(context.input_type(0).shape, [&](const Index& index) {
    const Index target = ops::gathered(context, index, [](const loop::Expr& e, int) { return e; });
    context.store(target, how.combine(context.stored(target), context.input(0, index)));
  });
}

void evaluate(ReferenceContext& c, const Update& how) {
  c.output.data = c.inputs[start]->data;
  std::vector<ops::CompensatedSum> sums;
  for (const Number& element : c.output.data) sums.emplace_back(element);
  std::size_t next = 0;
  ops::for_each_position(c.inputs[0]->shape, [&](const ops::Position& position) {
    const auto target = static_cast<std::size_t>(ops::offset_of(
        c.output.shape, ops::gathered_position(c, position, c.output.shape, how.name)));
    const Number& value = c.inputs[0]->data[next++];
    Number& element = c.output.data[target];
    if (how.reference == nullptr) {
      sums[target].add(value);
      element = sums[target].value();
    } else {
      element = how.reference(element, value);
    }
  });
}

TensorType infer(TypeContext& context, Accepts accepts) {
  if (context.input(start).dtype != context.input(0).dtype) {
    context.fail_type("x and the values must have one dtype");
  }
  return ops::scatter_type(context, context.input(start).shape, accepts);
}

// Rows of one index each are one longer axis with the indices of all rows.
Tensor batch(const OpRecord& op, std::span<const Tensor> operands, const std::vector<bool>& mapped,
             const Attributes& attributes, const Dim& count) {
  const int axis = attributes.axes[0];
  Attributes shifted = attributes;
  if (!mapped[1]) {
    const Tensors both = {operands[0], operands[start]};
    const Tensors rows = ops::with_rows(both, {mapped[0], mapped[start]}, count);
    shifted.axes = {axis + 1};
    return ops::apply(op, {rows[0], operands[1], rows[1]}, std::move(shifted));
  }
  const Tensors rows = ops::with_rows(operands, mapped, count);
  const Tensor x = ops::move_axis(rows[start], axis + 1, 1);
  Dims merged(x.shape().begin() + 1, x.shape().end());
  merged[0] = count * x.shape(1);
  const Tensor values = ops::indices_first(rows[0], axis, rows[1].rank() - 1);
  shifted.axes = {0};
  const Tensor indices = rows[1] + iota(rows[1].shape(), 0) * size_of_dim(x.shape(1));
  const Tensor y = ops::apply(op, {values, indices, reshape(x, merged)}, std::move(shifted));
  return ops::move_axis(reshape(y, x.shape()), 1, axis + 1);
}

// Of an extreme: x is taken before an equal value, and the first one of equal values.
Sample ties(const Update& how) {
  const double best = how.beats;
  return {{ops::values(DType::f64, {3}, {1.0, 2.0, 0.0}),
           ops::values(DType::f64, {5}, {1.0, best, best, 0.0, 0.0}),
           ops::values(DType::i64, {5}, {0, 1, 1, 2, 2})},
          [f = how.function](std::span<const Tensor> in) { return f(in[0], in[1], in[2], 0); },
          false,
          [](std::span<const Tensor> in) {
            const Tensor from_x = Operand(Array::from({1.0, 0.0, 1.0})).tensor();
            return in[0] * from_x + in[1](slice(0, 3)) * (1 - from_x);
          }};
}

std::vector<Sample> samples(const Update& how) {
  std::vector<Sample> result;
  const auto add = [&](const ops::HostShape& x, const ops::HostShape& values,
                       const ReferenceValue& indices, int axis) {
    for (const DType dtype :
         ops::dtypes_of(how.accepts == Accepts::anything ? ops::any_dtype : ops::number)) {
      result.push_back({{ops::spread(dtype, x, -1, 3), ops::spread(dtype, values, -2, 2), indices},
                        [axis, f = how.function](std::span<const Tensor> in) {
                          return f(in[0], in[1], in[2], axis);
                        },
                        is_float(dtype)});
    }
  };
  add({3}, {}, ops::values(DType::i64, {}, {1}), 0);
  add({17, 3}, {4, 3}, ops::values(DType::i64, {4}, {16, 0, 3, 0}), 0);
  add({17, 3}, {2, 2, 3}, ops::values(DType::i32, {2, 2}, {-1, 5, -17, 5}), 0);
  add({3, 17}, {3, 3}, ops::values(DType::i64, {3}, {1, -2, 1}), -1);
  add({1, 5}, {0, 5}, ops::values(DType::i64, {0}, {}), 0);
  if (how.beats != 0) result.push_back(ties(how));
  return result;
}

void draw(ops::Draw& d, const Update& how) {
  const ops::Slot x =
      d.operand(how.accepts == Accepts::anything ? ops::any_dtype : ops::number, 1, 3);
  const int axis = d.below(d[x].rank());
  TensorType values = d[x].type();
  const auto along = static_cast<std::size_t>(axis);
  const Dim size = values.shape[along];
  const Dim count = d.one_in(2) ? size : d.size();
  values.shape[along] = count;
  const ops::Slot added = d.of_type(values);
  d.call(std::string(how.name), how.function, x, added, d.indices({count}, size), axis);
}

// The record of `op`, which `how` describes: y = input 2 with the values of input 0 brought to the
// integers of input 1, which are in range, along attributes.axes[0], in row-major order.
template <const OpRecord& op, const Update& how>
constexpr OpRecord updating() {
  return {.name = how.name,
          .kind = OpKind::write,
          .arity = 3,
          .adds = how.reference == nullptr,
          .starts_from = start,
          .keeps_stored = how.accepts == Accepts::anything,  // nothing is added up
          .infer = [](TypeContext& context) { return infer(context, how.accepts); },
          .vjp = how.vjp,
          .write = [](WriteContext& context) { write(context, how); },
          .reference = [](ReferenceContext& context) { evaluate(context, how); },
          .batch = [](std::span<const Tensor> operands, const std::vector<bool>& mapped,
                      const Attributes& attributes,
                      const Dim& count) { return batch(op, operands, mapped, attributes, count); },
          .draw = [](ops::Draw& d) { draw(d, how); },
          .samples = [] { return samples(how); }};
}

// ---- Derivatives

// The parts of a node of such an op.
struct UpdateParts {
  explicit UpdateParts(const Tensor& node)
      : values(node.node().inputs[0]),
        indices(node.node().inputs[1]),
        x(node.node().inputs[start]),
        axis(node.node().attributes.axes[0]) {}
  const Tensor values, indices, x;
  const int axis;

  Tensor updated(const OpRecord& op, const Tensor& to, const Tensor& by) const {
    Attributes attributes;
    attributes.axes = {axis};
    return ops::apply(op, {by, indices, to}, std::move(attributes));
  }
  Tensor taken(const Tensor& from) const { return take(from, indices, axis); }
  // The number of each index among them, where the values have it.
  Tensor numbers() const {
    Dims shape(static_cast<std::size_t>(axis), Dim(1));
    shape.insert(shape.end(), indices.shape().begin(), indices.shape().end());
    shape.resize(static_cast<std::size_t>(values.rank()), Dim(1));
    return reshape(iota({element_count(indices.shape())}, 0), shape);
  }
};

// The last one of those with an index has its cotangent.
Tensors set_vjp(const Tensor& y, const Tensor& g) {
  const UpdateParts p(y);
  const Tensor numbers = reshape(iota({element_count(p.indices.shape())}, 0), p.indices.shape());
  Attributes of_vector;
  of_vector.axes = {0};
  const Tensor last = ops::apply(
      set_at_op, {numbers, p.indices, zeros({p.x.shape(p.axis)}, DType::i64)}, of_vector);
  const Tensor counts = reshape(eq(take(last, p.indices), numbers), p.numbers().shape());
  return {where(counts, p.taken(g), 0), Tensor(), p.updated(set_at_op, g, zeros_like(p.values))};
}

// The first of the equal extremes, x before the values, has the cotangent.
Tensors extreme_at_vjp(const Tensor& y, const Tensor& g) {
  const UpdateParts p(y);
  const Tensor of_x = eq(p.x, y) | ne(p.x, p.x);
  const Tensor numbers = p.numbers();
  const Tensor most = size_of_dim(element_count(p.indices.shape()));
  const Tensor hit = (eq(p.values, p.taken(y)) | ne(p.values, p.values)) & ~p.taken(of_x);
  const Tensor first =
      p.updated(min_at_op, broadcast_to(most, p.x.shape()), where(hit, numbers, most));
  return {where(hit & eq(p.taken(first), numbers), p.taken(g), 0), Tensor(), where(of_x, g, 0)};
}

// Of values with one index, in their order, each is multiplied with x and those before it, and with
// those behind it. In the order of the indices these are recurrences that begin anew at each other
// index. Nothing is divided by a value.
Tensors mul_vjp(const Tensor& y, const Tensor& g) {
  const UpdateParts p(y);
  const int index_axes = p.indices.rank();
  std::vector<int> axes = ops::axes_from(0, p.values.rank());
  std::rotate(axes.begin(), axes.begin() + p.axis, axes.begin() + p.axis + index_axes);
  const Tensor first = transpose(p.values, axes);
  const Dim count = element_count(p.indices.shape());
  Dims flat(first.shape().begin() + index_axes, first.shape().end());
  flat.insert(flat.begin(), count);
  const Tensor indices = reshape(p.indices, {count});
  const Tensor order = argsort(indices);
  const Tensor sorted = take(indices, order);
  const Tensor values = take(reshape(first, flat), order);
  const auto at_indices = [&](const Tensor& t) {
    return take(ops::move_axis(t, p.axis, 0), sorted);
  };
  // Whether the index differs from that before it (behind it).
  const auto differs = [&](int shift, const Tensor& end) {
    Dims shape(flat.size(), Dim(1));
    shape[0] = count;
    return reshape(ne(sorted, roll(sorted, shift, 0)) | eq(iota({count}, 0), end), shape);
  };
  const auto run = [&](const Tensor& from, int shift, const Tensor& end) {
    const Tensor begins = differs(shift, end);
    return linear_recurrence(where(begins, 0, roll(values, shift, 0)),
                             where(begins, at_indices(from), 0), 0, shift < 0);
  };
  const Tensor zero = zeros({}, DType::i64);
  const Tensor of_sorted = run(p.x, 1, zero) * run(g, -1, size_of_dim(count) - 1);
  std::vector<int> back(axes.size());
  for (std::size_t k = 0; k < axes.size(); ++k) {
    back[static_cast<std::size_t>(axes[k])] = static_cast<int>(k);
  }
  const Tensor of_values = transpose(reshape(take(of_sorted, argsort(order)), first.shape()), back);
  return {of_values, Tensor(), p.updated(mul_at_op, g, p.values)};
}

Number larger_number(const Number& a, const Number& b) { return std::isnan(a) || a > b ? a : b; }
Number smaller_number(const Number& a, const Number& b) { return std::isnan(a) || a < b ? a : b; }

template <loop::Op operation>
loop::Expr combined(const loop::Expr& element, const loop::Expr& value) {
  return loop::binary(operation, element, value);
}

}  // namespace

// vjp: dvalues = take(dy, indices), dx = dy
constexpr Update add_at_how = {.name = "add_at",
                               .accepts = Accepts::numbers,
                               .combine = combined<loop::Op::add>,
                               .reference = nullptr,
                               .function = add_at,
                               .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
                                 return {UpdateParts(y).taken(g), Tensor(), g};
                               }};
constinit const OpRecord add_at_op = updating<add_at_op, add_at_how>();

// y = input 2 with the values of input 0 in place of those at the integers of input 1 along
// attributes.axes[0]; of repeated ones the last; any dtype. vjp: dvalues = take(dy) of the last
// ones, dx = dy elsewhere
constexpr Update set_at_how = {
    .name = "set_at",
    .accepts = Accepts::anything,
    .combine = [](const loop::Expr&, const loop::Expr& value) { return value; },
    .reference = [](const Number&, const Number& value) { return value; },
    .function = set_at,
    .vjp = set_vjp};
constinit const OpRecord set_at_op = updating<set_at_op, set_at_how>();

// The same with the values multiplied, one after the other; numbers.
constexpr Update mul_at_how = {
    .name = "mul_at",
    .accepts = Accepts::numbers,
    .combine = combined<loop::Op::mul>,
    .reference = [](const Number& element, const Number& value) { return element * value; },
    .function = mul_at,
    .vjp = mul_vjp};
constinit const OpRecord mul_at_op = updating<mul_at_op, mul_at_how>();

// The same with the larger of both; NaN if either is; numbers. vjp: to the one taken
constexpr Update max_at_how = {.name = "max_at",
                               .accepts = Accepts::numbers,
                               .combine = combined<loop::Op::max>,
                               .reference = larger_number,
                               .function = max_at,
                               .vjp = extreme_at_vjp,
                               .beats = 5};
constinit const OpRecord max_at_op = updating<max_at_op, max_at_how>();

// The same with the smaller of both.
constexpr Update min_at_how = {.name = "min_at",
                               .accepts = Accepts::numbers,
                               .combine = combined<loop::Op::min>,
                               .reference = smaller_number,
                               .function = min_at,
                               .vjp = extreme_at_vjp,
                               .beats = -5};
constinit const OpRecord min_at_op = updating<min_at_op, min_at_how>();

namespace {

// Whether the operands fit is told in the name of this op, before the indices are looked at.
Tensor updated(const OpRecord& op, const Operand& x, const Operand& values, const Operand& indices,
               int axis) {
  const Tensor to = x.tensor();
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, to.rank(), op.name)};
  const Tensor unchecked =
      ops::apply(op, {values.tensor(to.dtype()), indices.tensor(), to}, std::move(attributes));
  const Node& node = unchecked.node();
  const int at_axis = node.attributes.axes[0];
  const Tensor in_range = ops::checked_indices(node.inputs[1], to.shape(at_axis), at_axis, op.name);
  return ops::apply(op, {node.inputs[0], in_range, to}, node.attributes);
}

}  // namespace

Tensor add_at(const Operand& x, const Operand& values, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  return updated(add_at_op, x, values, indices, axis);
}

Tensor set_at(const Operand& x, const Operand& values, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  return updated(set_at_op, x, values, indices, axis);
}

Tensor mul_at(const Operand& x, const Operand& values, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  return updated(mul_at_op, x, values, indices, axis);
}

Tensor max_at(const Operand& x, const Operand& values, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  return updated(max_at_op, x, values, indices, axis);
}

Tensor min_at(const Operand& x, const Operand& values, const Operand& indices, int axis) {
  const LineScope scope(x.line());
  return updated(min_at_op, x, values, indices, axis);
}

}  // namespace kroton
