// Lazy selection: the value of one of two expressions, of which only that one is evaluated.
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

TensorType ifelse_type(TypeContext& context) {
  const TensorType& condition = context.input(0);
  if (condition.dtype != DType::boolean) {
    context.fail_type("the condition must be boolean");
  }
  if (condition.rank() != 0) {
    context.fail_shape("the condition must be a scalar; where() selects element by element");
  }
  const TensorType& a = context.input(1);
  const TensorType& b = context.input(2);
  if (a.dtype != b.dtype) {
    context.fail_type("dtypes differ");
  }
  if (a.rank() != b.rank()) {
    context.fail_shape("ranks differ");
  }
  Dims shape;
  for (std::size_t axis = 0; axis < a.shape.size(); ++axis) {
    shape.push_back(context.equal(a.shape[axis], b.shape[axis],
                                  ops::sizes_differ(static_cast<int>(axis), a.rank())));
  }
  return {a.dtype, shape};
}

// A condition of each row's own would have both sides computed for all rows: no rule.
Tensor ifelse_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                    const Attributes&, const Dim& count) {
  if (mapped[0]) {
    return Tensor();
  }
  const Tensors sides = ops::with_rows(operands.subspan(1), {mapped[1], mapped[2]}, count);
  return ops::apply(ifelse_op, {operands[0], sides[0], sides[1]});
}

std::vector<Sample> ifelse_samples() {
  const ops::Apply apply = [](std::span<const Tensor> in) { return ifelse(in[0], in[1], in[2]); };
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const ops::HostShape& shape : std::vector<ops::HostShape>{{}, {0}, {1}, {17}, {3, 5}}) {
      for (const double condition : {1.0, 0.0}) {
        samples.push_back(
            {{ops::values(DType::boolean, {}, {condition}), ops::spread(dtype, shape, -3, 3, 2),
              ops::spread(dtype, shape, -3, 3, 3)},
             apply,
             is_float(dtype)});
      }
    }
  }
  return samples;
}

void draw_ifelse(ops::Draw& d) {
  const ops::Slot condition = d.operand(ops::truth, 0, 0);
  const ops::Slot x = d.operand(ops::any_dtype);
  const bool literal = d[x].dtype() != DType::boolean && d.one_in(4);
  const ops::Argument y = literal ? d.literal(x) : ops::Argument(d.of_type(d[x].type()));
  if (d.one_in(2)) {
    d.call("ifelse", ifelse, condition, x, y);
  } else {
    d.call("ifelse", ifelse, condition, y, x);
  }
}

}  // namespace

// y = a if c, else b; c a boolean scalar, a and b of one type. Only the one taken is evaluated,
// which is what guards.h, fusion and lowering see to. No rule of a gradient: the sweep follows
// both sides, each under its condition. integers[0], if there: it is evaluated under this many of
// the conditions that its users have in common (passes/guards.h), not under more.
constinit const OpRecord ifelse_op = {.name = "ifelse",
                                      .kind = OpKind::branch,
                                      .arity = 3,
                                      .infer = ifelse_type,
                                      .reference =
                                          [](ReferenceContext& c) {
                                            c.output.data =
                                                c.inputs[c.inputs[0]->data[0] != 0 ? 1 : 2]->data;
                                          },
                                      .batch = ifelse_batch,
                                      .draw = draw_ifelse,
                                      .samples = ifelse_samples};

Tensor ifelse(const Operand& condition, const Operand& then_value, const Operand& else_value) {
  const LineScope scope(condition.line());
  Tensors values = ops::promoted(then_value, else_value);
  // A literal stands for the other value's shape; tensors of different shapes are an error.
  if (then_value.is_literal()) values[0] = ops::broadcast_towards(values[0], values[1].shape());
  if (else_value.is_literal()) values[1] = ops::broadcast_towards(values[1], values[0].shape());
  return ops::apply(ifelse_op, {condition.tensor(), values[0], values[1]});
}

}  // namespace kroton
