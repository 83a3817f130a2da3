#include "compiler/ops/weak.h"

#include <kroton/ops.h>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton::ops {
namespace {

// A literal in another dtype, weak or not: an f32 or i64 if weak. From an unrounded value if it was
// weak.
Tensor literal_as(const Tensor& literal, DType dtype, bool weak) {
  const Attributes& attributes = literal.node().attributes;
  const SourceLine line = literal.line();
  if (is_float(attributes.dtype)) {
    if (weak) return make_weak_literal(attributes.real, line);
    if (is_float(dtype)) return make_literal(attributes.real, dtype, line);
  } else {
    const std::int64_t value = attributes.integers.at(0);
    if (weak && is_float(dtype)) return make_weak_literal(static_cast<double>(value), line);
    if (weak) return make_weak_literal(value, line);
    if (promote(dtype, DType::i64) == dtype) return make_literal(value, dtype, line);
  }
  // Values that do not fit are converted as those of any tensor.
  Attributes conversion;
  conversion.dtype = dtype;
  return make_node(cast_op, {literal}, std::move(conversion), line);
}

bool is_weak(const Tensor& x) { return x.node().weak; }

Tensor cast_node(const Tensor& x, DType dtype, bool weak) {
  if (&x.node().op == &literal_op) return literal_as(x, dtype, weak);
  Attributes attributes;
  attributes.dtype = dtype;
  attributes.weak = weak;
  return apply(cast_op, {x}, std::move(attributes));
}

// A weak floating tensor in f64: its literals and conversions are made anew, what is computed from
// them is computed from these.
Tensor in_double(const Tensor& x) {
  const auto replace = [](const Tensor& t) -> std::optional<Tensor> {
    const Node& node = t.node();
    if (!node.weak || !is_float(node.type.dtype)) return t;
    const LineScope scope(node.line, "");
    if (&node.op == &literal_op) return literal_as(t, DType::f64, false);
    if (&node.op == &cast_op) return cast(node.inputs[0], DType::f64);
    return std::nullopt;
  };
  return substitute(std::span(&x, 1), replace).front();
}

}  // namespace

CommonType common_type(std::span<const Tensor> tensors) {
  DType dtype = DType::boolean;
  bool all_weak = true, weak_float = false, weak_integer = false;
  for (const Tensor& tensor : tensors) {
    if (is_weak(tensor)) {
      (is_float(tensor.dtype()) ? weak_float : weak_integer) = true;
    } else {
      all_weak = false;
      dtype = promote(dtype, tensor.dtype());
    }
  }
  if (weak_float && !is_float(dtype)) return {DType::f32, true};
  if (weak_integer && dtype == DType::boolean) return {DType::i64, all_weak};
  return {dtype, false};
}

Tensor converted(const Tensor& x, const CommonType& type) {
  if (x.dtype() == type.dtype) return x;
  const bool widens = is_weak(x) && is_float(x.dtype()) && type.dtype == DType::f64;
  return widens ? in_double(x) : cast_node(x, type.dtype, type.weak);
}

Tensor met_by(const Tensor& x, DType dtype) {
  const bool same_kind = is_float(x.dtype()) ? is_float(dtype) : dtype != DType::boolean;
  return is_weak(x) && same_kind ? converted(x, {dtype, false}) : x;
}

Tensor weakly_floating(const Tensor& x) { return converted(x, {DType::f32, true}); }

Tensor strong(const Tensor& x) { return is_weak(x) ? cast_node(x, x.dtype(), false) : x; }

}  // namespace kroton::ops
