// Comparison, logic and selection, elementwise.
#include "compiler/ops/elementwise.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using ops::binary;
using ops::elementwise;
using ops::Tensors;
using ops::unary;

namespace {

TensorType where_type(TypeContext& context) {
  if (context.input(0).dtype != DType::boolean) {
    context.fail_type("the condition must be boolean");
  }
  if (context.input(1).dtype != context.input(2).dtype) {
    context.fail_type("dtypes differ");
  }
  return {context.input(1).dtype, ops::equal_shapes(context)};
}

std::vector<Sample> where_samples() {
  const ops::Apply apply = [](std::span<const Tensor> in) { return where(in[0], in[1], in[2]); };
  const std::vector<std::vector<ops::HostShape>> shapes = {
      {{}, {}, {}},       {{0}, {0}, {}},        {{1}, {1}, {1}},
      {{17}, {17}, {17}}, {{3, 1}, {3, 5}, {5}}, {{5}, {}, {3, 1}}};
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const auto& s : shapes) {
      samples.push_back({{ops::spread(DType::boolean, s[0], 0, 1),
                          ops::spread(dtype, s[1], -3, 3, 2), ops::spread(dtype, s[2], -3, 3, 3)},
                         apply,
                         is_float(dtype)});
    }
  }
  return samples;
}

template <Mask (*function)(const Operand&, const Operand&)>
Tensor tensor_of(const Operand& x, const Operand& y) {
  return function(x, y);
}

void draw_lt(ops::Draw& d) {
  if (d.one_in(2)) {
    ops::draw_binary(d, "gt", tensor_of<gt>, ops::number);
  } else {
    ops::draw_binary(d, "lt", tensor_of<lt>, ops::number);
  }
}

void draw_le(ops::Draw& d) {
  if (d.one_in(2)) {
    ops::draw_binary(d, "ge", tensor_of<ge>, ops::number);
  } else {
    ops::draw_binary(d, "le", tensor_of<le>, ops::number);
  }
}

void draw_where(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype);
  const ops::Slot condition = d.partner(x, ops::truth);
  const bool literal = d[x].dtype() != DType::boolean && d.one_in(3);
  const ops::Argument y = literal ? d.literal(x) : ops::Argument(d.partner(x, ops::any_dtype));
  if (d.one_in(3)) {
    d.call("where", where, condition, y, x);
  } else {
    d.call("where", where, condition, x, y);
  }
}

}  // namespace

// z = x == y
constinit const OpRecord eq_op = elementwise<eq_op>({.name = "eq",
                                                     .commutative = true,
                                                     .accepts = Accepts::anything,
                                                     .is_predicate = true,
                                                     .value = binary<loop::Op::eq>,
                                                     .reference = std::equal_to<>()});

// z = x != y
constinit const OpRecord ne_op = elementwise<ne_op>({.name = "ne",
                                                     .commutative = true,
                                                     .accepts = Accepts::anything,
                                                     .is_predicate = true,
                                                     .value = binary<loop::Op::ne>,
                                                     .reference = std::not_equal_to<>()});

// z = x < y
constinit const OpRecord lt_op = elementwise<lt_op>({.name = "lt",
                                                     .accepts = Accepts::numbers,
                                                     .is_predicate = true,
                                                     .value = binary<loop::Op::lt>,
                                                     .reference = std::less<>(),
                                                     .draw = draw_lt});

// z = x <= y
constinit const OpRecord le_op = elementwise<le_op>({.name = "le",
                                                     .accepts = Accepts::numbers,
                                                     .is_predicate = true,
                                                     .value = binary<loop::Op::le>,
                                                     .reference = std::less_equal<>(),
                                                     .draw = draw_le});

// z = x and y
constinit const OpRecord logical_and_op =
    elementwise<logical_and_op>({.name = "logical_and",
                                 .commutative = true,
                                 .accepts = Accepts::booleans,
                                 .value = binary<loop::Op::logical_and>,
                                 .reference = std::logical_and<>()});

// z = x or y
constinit const OpRecord logical_or_op =
    elementwise<logical_or_op>({.name = "logical_or",
                                .commutative = true,
                                .accepts = Accepts::booleans,
                                .value = binary<loop::Op::logical_or>,
                                .reference = std::logical_or<>()});

// z = x or y, but not both
constinit const OpRecord logical_xor_op =
    elementwise<logical_xor_op>({.name = "logical_xor",
                                 .commutative = true,
                                 .accepts = Accepts::booleans,
                                 .value = binary<loop::Op::ne>,
                                 .reference = std::not_equal_to<>()});

// y = not x
constinit const OpRecord logical_not_op =
    elementwise<logical_not_op>({.name = "logical_not",
                                 .accepts = Accepts::booleans,
                                 .value = unary<loop::Op::logical_not>,
                                 .reference = std::logical_not<>()});

// z = x where c, else y; any dtype
constinit const OpRecord where_op =
    elementwise<where_op>({.name = "where",
                           .accepts = Accepts::anything,
                           .keeps_stored = true,
                           .value = [](const loop::Expr& c, const loop::Expr& x,
                                       const loop::Expr& y) { return loop::select(c, x, y); },
                           .derivatives = [](auto&, auto x, auto& g) -> Tensors {
                             return {Tensor(), where(x[0], g, 0), where(x[0], 0, g)};
                           },
                           .reference = [](Number c, Number x, Number y) { return c != 0 ? x : y; },
                           .infer = where_type,
                           .draw = draw_where,
                           .samples = where_samples});

Mask eq(const Operand& x, const Operand& y) { return Mask(ops::apply_binary(eq_op, x, y)); }
Mask ne(const Operand& x, const Operand& y) { return Mask(ops::apply_binary(ne_op, x, y)); }
Mask lt(const Operand& x, const Operand& y) { return Mask(ops::apply_binary(lt_op, x, y)); }
Mask le(const Operand& x, const Operand& y) { return Mask(ops::apply_binary(le_op, x, y)); }

Mask gt(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return Mask(ops::apply_binary(lt_op, y, x));
}

Mask ge(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return Mask(ops::apply_binary(le_op, y, x));
}

Mask logical_and(const Operand& x, const Operand& y) {
  return Mask(ops::apply_binary(logical_and_op, x, y));
}
Mask logical_or(const Operand& x, const Operand& y) {
  return Mask(ops::apply_binary(logical_or_op, x, y));
}
Mask logical_xor(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const std::vector<Tensor> operands = ops::promoted(x, y);
  if (operands[0].dtype() != DType::boolean) {
    ops::fail_type(logical_xor_op, operands,
                   "takes booleans only (x to the power of y is pow(x, y))");
  }
  return Mask(ops::apply(logical_xor_op, ops::broadcast(logical_xor_op, operands)));
}

Mask logical_not(const Operand& x) {
  const LineScope scope(x.line());
  return Mask(ops::apply(logical_not_op, {x.tensor()}));
}

Tensor where(const Operand& condition, const Operand& x, const Operand& y) {
  const LineScope scope(condition.line());
  std::vector<Tensor> branches = ops::promoted(x, y);
  return ops::apply(where_op,
                    ops::broadcast(where_op, {condition.tensor(), branches[0], branches[1]}));
}

}  // namespace kroton
