// Comparison, logic and selection, elementwise.
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
const std::vector<DType> booleans = {DType::boolean};

template <loop::Op operation>
loop::Expr binary_at(PointContext& context, const Index& index) {
  return loop::binary(operation, context.input(0, index), context.input(1, index));
}

// Few different values, so that equal ones meet.
std::vector<Sample> comparison_samples(Tensor (*function)(const Operand&, const Operand&)) {
  std::vector<Sample> samples = ops::binary_samples({.function = function,
                                                     .low_x = -3,
                                                     .high_x = 3,
                                                     .low_y = -3,
                                                     .high_y = 3,
                                                     .dtypes = numbers,
                                                     .differentiable = false});
  for (Sample& sample : samples) {
    for (ReferenceValue& input : sample.inputs) {
      for (double& value : input.data) {
        value = static_cast<double>(static_cast<int>(value));
      }
    }
  }
  return samples;
}

std::vector<Sample> logical_samples(Tensor (*function)(const Operand&, const Operand&)) {
  return ops::binary_samples({.function = function, .dtypes = booleans, .differentiable = false});
}

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
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean}) {
    for (const auto& s : shapes) {
      samples.push_back({{ops::spread(DType::boolean, s[0], 0, 1),
                          ops::spread(dtype, s[1], -3, 3, 2), ops::spread(dtype, s[2], -3, 3, 3)},
                         apply,
                         is_float(dtype)});
    }
  }
  return samples;
}

void draw_lt(ops::Draw& d) {
  if (d.one_in(2)) {
    ops::draw_binary(d, "gt", gt, ops::number);
  } else {
    ops::draw_binary(d, "lt", lt, ops::number);
  }
}

void draw_le(ops::Draw& d) {
  if (d.one_in(2)) {
    ops::draw_binary(d, "ge", ge, ops::number);
  } else {
    ops::draw_binary(d, "le", le, ops::number);
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

// z = x == y, any dtype.   Not differentiable.
constinit const OpRecord eq_op = {
    .name = "eq",
    .arity = 2,
    .commutative = true,
    .infer = ops::comparison<Accepts::anything>,
    .at = binary_at<loop::Op::eq>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::equal_to<double>()); },
    .batch = ops::batch_elementwise<eq_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "eq", eq, ops::any_dtype); },
    .samples = [] { return comparison_samples(eq); }};

// z = x != y, any dtype.   Not differentiable.
constinit const OpRecord ne_op = {
    .name = "ne",
    .arity = 2,
    .commutative = true,
    .infer = ops::comparison<Accepts::anything>,
    .at = binary_at<loop::Op::ne>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::not_equal_to<double>()); },
    .batch = ops::batch_elementwise<ne_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "ne", ne, ops::any_dtype); },
    .samples = [] { return comparison_samples(ne); }};

// z = x < y, numbers.   Not differentiable.
constinit const OpRecord lt_op = {
    .name = "lt",
    .arity = 2,
    .infer = ops::comparison<Accepts::numbers>,
    .at = binary_at<loop::Op::lt>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::less<double>()); },
    .batch = ops::batch_elementwise<lt_op>,
    .draw = draw_lt,
    .samples = [] { return comparison_samples(lt); }};

// z = x <= y, numbers.   Not differentiable.
constinit const OpRecord le_op = {
    .name = "le",
    .arity = 2,
    .infer = ops::comparison<Accepts::numbers>,
    .at = binary_at<loop::Op::le>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::less_equal<double>()); },
    .batch = ops::batch_elementwise<le_op>,
    .draw = draw_le,
    .samples = [] { return comparison_samples(le); }};

// z = x and y, booleans.   Not differentiable.
constinit const OpRecord logical_and_op = {
    .name = "logical_and",
    .arity = 2,
    .commutative = true,
    .infer = ops::elementwise<Accepts::booleans>,
    .at = binary_at<loop::Op::logical_and>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::logical_and<double>()); },
    .batch = ops::batch_elementwise<logical_and_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "logical_and", logical_and, ops::truth); },
    .samples = [] { return logical_samples(logical_and); }};

// z = x or y, booleans.   Not differentiable.
constinit const OpRecord logical_or_op = {
    .name = "logical_or",
    .arity = 2,
    .commutative = true,
    .infer = ops::elementwise<Accepts::booleans>,
    .at = binary_at<loop::Op::logical_or>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::logical_or<double>()); },
    .batch = ops::batch_elementwise<logical_or_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "logical_or", logical_or, ops::truth); },
    .samples = [] { return logical_samples(logical_or); }};

// z = x or y, but not both; booleans.   Not differentiable.
constinit const OpRecord logical_xor_op = {
    .name = "logical_xor",
    .arity = 2,
    .commutative = true,
    .infer = ops::elementwise<Accepts::booleans>,
    .at = binary_at<loop::Op::ne>,
    .reference = [](ReferenceContext& c) { ops::map_binary(c, std::not_equal_to<double>()); },
    .batch = ops::batch_elementwise<logical_xor_op>,
    .draw = [](ops::Draw& d) { ops::draw_binary(d, "logical_xor", logical_xor, ops::truth); },
    .samples = [] { return logical_samples(logical_xor); }};

// y = not x, booleans.   Not differentiable.
constinit const OpRecord logical_not_op = {
    .name = "logical_not",
    .infer = ops::elementwise<Accepts::booleans>,
    .at =
        [](PointContext& context, const Index& index) {
          return loop::unary(loop::Op::logical_not, context.input(0, index));
        },
    .reference = [](ReferenceContext& c) { ops::map_unary(c, std::logical_not<double>()); },
    .batch = ops::batch_elementwise<logical_not_op>,
    .draw = [](ops::Draw& d) { ops::draw_unary(d, "logical_not", logical_not, ops::truth); },
    .samples =
        [] {
          return ops::unary_samples(
              {.function = logical_not, .dtypes = booleans, .differentiable = false});
        }};

// z = x where c, else y; any dtype.   vjp: dx = dz where c, else 0; dy = 0 where c, else dz
constinit const OpRecord where_op = {
    .name = "where",
    .arity = 3,
    .infer = where_type,
    .vjp = [](const Tensor& z, const Tensor& g) -> Tensors {
      const Tensor& condition = z.node().inputs[0];
      return {Tensor(), where(condition, g, 0), where(condition, 0, g)};
    },
    .at =
        [](PointContext& context, const Index& index) {
          return loop::select(context.input(0, index), context.input(1, index),
                              context.input(2, index));
        },
    .reference =
        [](ReferenceContext& c) {
          for (std::size_t i = 0; i < c.output.data.size(); ++i) {
            c.output.data[i] = c.inputs[c.inputs[0]->data[i] != 0 ? 1 : 2]->data[i];
          }
        },
    .batch = ops::batch_elementwise<where_op>,
    .draw = draw_where,
    .samples = where_samples};

Family compare_family() {
  static constexpr const OpRecord* family[] = {&eq_op,          &ne_op,          &lt_op,
                                               &le_op,          &logical_and_op, &logical_or_op,
                                               &logical_xor_op, &logical_not_op, &where_op};
  return family;
}

Tensor eq(const Operand& x, const Operand& y) { return ops::apply_binary(eq_op, x, y); }
Tensor ne(const Operand& x, const Operand& y) { return ops::apply_binary(ne_op, x, y); }
Tensor lt(const Operand& x, const Operand& y) { return ops::apply_binary(lt_op, x, y); }
Tensor le(const Operand& x, const Operand& y) { return ops::apply_binary(le_op, x, y); }

Tensor gt(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return ops::apply_binary(lt_op, y, x);
}

Tensor ge(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return ops::apply_binary(le_op, y, x);
}

Tensor logical_and(const Operand& x, const Operand& y) {
  return ops::apply_binary(logical_and_op, x, y);
}
Tensor logical_or(const Operand& x, const Operand& y) {
  return ops::apply_binary(logical_or_op, x, y);
}
Tensor logical_xor(const Operand& x, const Operand& y) {
  return ops::apply_binary(logical_xor_op, x, y);
}

Tensor logical_not(const Operand& x) {
  const LineScope scope(x.line());
  return ops::apply(logical_not_op, {x.tensor()});
}

Tensor where(const Operand& condition, const Operand& x, const Operand& y) {
  const LineScope scope(condition.line());
  std::vector<Tensor> branches = ops::promoted(x, y);
  return ops::apply(where_op,
                    ops::broadcast(where_op, {condition.tensor(), branches[0], branches[1]}));
}

}  // namespace kroton
