#include "compiler/ops/elementwise.h"

#include "compiler/ops/reference_loops.h"
#include "compiler/ops/samples.h"

namespace kroton::ops {
namespace {

constexpr int most_operands = 3;

Accept accept_of(Accepts accepts) {
  switch (accepts) {
    case Accepts::floating:
      return floating;
    case Accepts::numbers:
      return number;
    case Accepts::booleans:
      return truth;
    case Accepts::anything:
      break;
  }
  return any_dtype;
}

}  // namespace

TensorType elementwise_type(const OpRecord& op, TypeContext& context) {
  require(context, op.elementwise.accepts);
  TensorType type = equal_types(context);
  if (op.elementwise.is_predicate) type.dtype = DType::boolean;
  return type;
}

loop::Expr elementwise_value(const OpRecord& op, PointContext& context, const Index& index) {
  std::array<loop::Expr, most_operands> x;
  for (int k = 0; k < op.arity; ++k) x[static_cast<std::size_t>(k)] = context.input(k, index);
  return op.elementwise.value.of(x.data());
}

void elementwise_reference(const OpRecord& op, ReferenceContext& context) {
  const Elementwise& e = op.elementwise;
  for (std::size_t i = 0; i < context.output.data.size(); ++i) {
    std::array<Number, most_operands> x;
    for (std::size_t k = 0; k < context.inputs.size(); ++k) x[k] = context.inputs[k]->data[i];
    context.output.data[i] = e.reference.of(x.data());
  }
}

void draw_elementwise(const OpRecord& op, UnaryFunction of_one, BinaryFunction of_two, Draw& d) {
  const Accept accept = accept_of(op.elementwise.accepts);
  if (op.arity == 1) {
    draw_unary(d, std::string(op.name), of_one, accept);
  } else {
    draw_binary(d, std::string(op.name), of_two, accept);
  }
}

std::vector<Sample> elementwise_samples(const OpRecord& op, UnaryFunction of_one,
                                        BinaryFunction of_two) {
  const Elementwise& e = op.elementwise;
  const std::vector<DType> dtypes = dtypes_of(accept_of(e.accepts));
  const bool differentiable = e.derivatives != nullptr;
  if (op.arity == 1) {
    const auto special = e.special.values.begin();
    return unary_samples({.function = of_one,
                          .low = e.range.low,
                          .high = e.range.high,
                          .dtypes = dtypes,
                          .differentiable = differentiable,
                          .special = {special, special + e.special.count}});
  }
  const Elementwise::Range first = e.is_predicate ? Elementwise::Range{-3, 3} : e.range;
  const Elementwise::Range second = e.is_predicate ? first : e.second_range;
  std::vector<Sample> samples = binary_samples({.function = of_two,
                                                .low_x = first.low,
                                                .high_x = first.high,
                                                .low_y = second.low,
                                                .high_y = second.high,
                                                .dtypes = dtypes,
                                                .differentiable = differentiable});
  // Few different values for a comparison, so that equal ones meet.
  for (Sample& sample : samples) {
    if (!e.is_predicate) break;
    for (ReferenceValue& input : sample.inputs) {
      for (Number& value : input.data) value = std::trunc(value);
    }
  }
  return samples;
}

}  // namespace kroton::ops
