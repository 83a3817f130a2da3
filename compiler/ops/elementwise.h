// The records of elementwise ops, made of what an op is on single elements.
#pragma once
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton::ops {

using Tensors = std::vector<Tensor>;
using Operands = std::span<const Tensor>;

// The value that an operation of the loop IR gives.
template <loop::Op operation>
inline constexpr auto unary = [](const loop::Expr& x) { return loop::unary(operation, x); };
template <loop::Op operation>
inline constexpr auto binary =
    [](const loop::Expr& x, const loop::Expr& y) { return loop::binary(operation, x, y); };

// ---- The members of the record of `op`

TensorType elementwise_type(const OpRecord& op, TypeContext& context);
loop::Expr elementwise_value(const OpRecord& op, PointContext& context, const Index& index);
void elementwise_reference(const OpRecord& op, ReferenceContext& context);
void draw_elementwise(const OpRecord& op, UnaryFunction of_one, BinaryFunction of_two, Draw& d);
std::vector<Sample> elementwise_samples(const OpRecord& op, UnaryFunction of_one,
                                        BinaryFunction of_two);

template <const OpRecord& op>
Tensor of_one(const Operand& x) {
  return apply_unary(op, x);
}

template <const OpRecord& op>
Tensor of_two(const Operand& x, const Operand& y) {
  return apply_binary(op, x, y);
}

// The samples that follow from the description, and others.
template <const OpRecord& op>
std::vector<Sample> samples_and(std::vector<Sample> others) {
  std::vector<Sample> samples = elementwise_samples(op, of_one<op>, of_two<op>);
  for (Sample& sample : others) samples.push_back(std::move(sample));
  return samples;
}

// The record of `op`, the one that is being defined.
template <const OpRecord& op>
constexpr OpRecord elementwise(const Elementwise& e) {
  OpRecord record{
      .name = e.name,
      .kind = OpKind::elementwise,
      .arity = e.value.arity,
      .cost = e.cost,
      .linear = e.linear,
      .commutative = e.commutative,
      .keeps_stored = e.keeps_stored,
      .infer = [](TypeContext& context) { return elementwise_type(op, context); },
      .at = [](PointContext& context,
               const Index& index) { return elementwise_value(op, context, index); },
      .reference = [](ReferenceContext& context) { elementwise_reference(op, context); },
      .batch = batch_elementwise<op>,
      .draw = [](Draw& d) { draw_elementwise(op, of_one<op>, of_two<op>, d); },
      .samples = [] { return samples_and<op>({}); },
      .elementwise = e};
  if (e.reference.arity != record.arity) throw InternalError("the reference takes other operands");
  if (e.derivatives != nullptr) {
    record.vjp = [](const Tensor& y, const Tensor& g) {
      return op.elementwise.derivatives(y, y.node().inputs, g);
    };
  }
  if (e.infer != nullptr) record.infer = e.infer;
  if (e.draw != nullptr) record.draw = e.draw;
  if (e.samples != nullptr) record.samples = e.samples;
  return record;
}

}  // namespace kroton::ops
