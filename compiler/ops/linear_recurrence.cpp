// y[i] = a[i] y[i-1] + b[i]: what running products, and running sums of exponentials, are
// differentiated by and made of.
#include <kroton/cumulative.h>

#include "compiler/ops/records.h"
#include "compiler/ops/running.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

// Operand 0 is b, of which each element is asked for once; a is stored.
void recurrence_write(WriteContext& context) {
  const auto factor = [](WriteContext& c, const Index& here) { return c.input(1, here); };
  ops::running_write(context,
                     [&](WriteContext& c, const Index& here, const loop::Expr& before) {
                       const loop::Expr b = c.input(0, here);
                       return before ? factor(c, here) * before + b : b;
                     },
                     {loop::Op::add, factor});
}

void recurrence_reference(ReferenceContext& c) {
  Number y;
  ops::run_along(c, [&](std::size_t offset, bool is_first) {
    const Number& b = c.inputs[0]->data[offset];
    y = is_first ? b : c.inputs[1]->data[offset] * y + b;
    c.output.data[offset] = y;
  });
}

Tensors recurrence_vjp(const Tensor& y, const Tensor& g) {
  const Attributes& attributes = y.node().attributes;
  const Tensor of_b = ops::running_cotangent(y.node().inputs[1], g, attributes);
  const Tensor of_a =
      where(ops::is_first_on_way(y, attributes), 0, of_b * ops::element_before(y, attributes));
  return {of_b, of_a};
}

std::vector<Sample> recurrence_samples() {
  std::vector<Sample> samples;
  for (const DType dtype : ops::dtypes_of(ops::number)) {
    for (const ops::HostShape& shape :
         {ops::HostShape{0}, {1}, {17}, {3, 17}, {17, 1}, {2, 3, 5}, {0, 3}}) {
      for (const int axis : {0, -1}) {
        for (const bool reverse : {false, true}) {
          samples.push_back(
              {{ops::spread(dtype, shape, -1.2, 1.2, 1), ops::spread(dtype, shape, -2, 2, 2)},
               [=](std::span<const Tensor> in) {
                 return linear_recurrence(in[0], in[1], axis, reverse);
               },
               is_float(dtype)});
        }
      }
    }
  }
  return samples;
}

void draw_recurrence(ops::Draw& d) {
  const ops::Slot a = d.operand(ops::number, 1, 3);
  const ops::Slot b = d.of_type(d[a].type());
  d.call("linear_recurrence", linear_recurrence, a, b, d.axis(a), d.one_in(3));
}

}  // namespace

// y = b of operand 0 and a of operand 1 along attributes.axes[0], from the other end if
// attributes.integers[0] is 1; numbers.
// vjp: db = the recurrence of dy from the other end, with a of the next; da[i] = db[i] y[i-1]
constinit const OpRecord linear_recurrence_op = {
    .name = "linear_recurrence",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 2,
    .adds = true,
    .infer = ops::same_type<Accepts::numbers>,
    .vjp = recurrence_vjp,
    .write = recurrence_write,
    .reference = recurrence_reference,
    .batch = ops::batch_along_axes<linear_recurrence_op>,
    .draw = draw_recurrence,
    .samples = recurrence_samples};

Tensor linear_recurrence(const Operand& a, const Operand& b, int axis, bool reverse) {
  const LineScope scope(a.line());
  const Tensors operands = ops::broadcast(linear_recurrence_op, ops::promoted(a, b));
  return ops::apply(
      linear_recurrence_op, {operands[1], operands[0]},
      ops::running_attributes("linear_recurrence", axis, operands[0].rank(), reverse));
}

}  // namespace kroton
