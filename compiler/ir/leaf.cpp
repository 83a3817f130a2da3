#include "compiler/ir/leaf.h"

#include <atomic>
#include <cmath>

#include "compiler/ir/reference.h"
#include "compiler/loop/scalar.h"
#include "runtime/storage.h"

namespace kroton {
namespace {

constexpr int role_bits = 2;  // the lowest of an input's identity

// Every leaf carries its type in its attributes.
TensorType attributes_type(TypeContext& context) {
  return {context.attributes().dtype, context.attributes().dims};
}

Number value_of(const Attributes& literal) {
  if (!is_float(literal.dtype)) return stored_as(literal.dtype, literal.integers.at(0));
  return loop::scalar_from_real(literal.real, literal.dtype).real;
}

[[noreturn]] void fail_fit(const std::string& value, DType dtype, SourceLine line) {
  throw TypeError("literal: " + value + " does not fit " + std::string(name_of(dtype)) + "  [" +
                  to_string(line) + "]");
}

Tensor literal_node(DType dtype, double real, std::int64_t integer, SourceLine line,
                    bool weak = false) {
  Attributes attributes;
  attributes.dtype = dtype;
  attributes.weak = weak;
  if (is_float(dtype)) {
    attributes.real = real;
  } else {
    attributes.integers = {integer};
  }
  return make_node(literal_op, {}, std::move(attributes), line);
}

loop::Expr literal_at(PointContext& context, const Index&) {
  const Attributes& literal = context.attributes();
  return is_float(literal.dtype) ? loop::real(literal.real, literal.dtype)
                                 : loop::integer(literal.integers.at(0), literal.dtype);
}

void literal_reference(ReferenceContext& context) {
  context.output.data.at(0) = value_of(context.attributes);
}

void constant_reference(ReferenceContext& context) {
  context.output.data = from_array(*context.attributes.array).data;
}

// The interpreter gives inputs and shared variables their values itself.
void bound_reference(ReferenceContext& context) {
  throw ValueError("input " + context.attributes.name + ": expected a value, got none");
}

Sample identity_sample(DType dtype, std::vector<std::int64_t> shape, std::vector<Number> data) {
  return {{{dtype, std::move(shape), std::move(data)}},
          [](std::span<const Tensor> inputs) { return inputs[0]; },
          is_float(dtype)};
}

Sample leaf_sample(std::function<Tensor()> make) {
  return {{}, [make = std::move(make)](std::span<const Tensor>) { return make(); }, false};
}

std::vector<Sample> input_samples() {
  return {identity_sample(DType::f32, {3}, {1, -2, 0.5}), identity_sample(DType::f64, {}, {3}),
          identity_sample(DType::i32, {2, 1}, {1, -1}), identity_sample(DType::f32, {0, 3}, {}),
          identity_sample(DType::boolean, {1}, {1})};
}

std::vector<Sample> shared_samples() {
  return {leaf_sample([] { return shared(Array::from({1.5F, -2.5F, 0.0F}), "state"); }),
          leaf_sample([] { return shared(Array(2.0), "state"); }),
          leaf_sample([] { return shared(Array::zeros({0, 3}), "state"); })};
}

std::vector<Sample> literal_samples() {
  return {leaf_sample([] { return make_literal(0.1, DType::f32, {}); }),
          leaf_sample([] { return make_literal(-0.1, DType::f64, {}); }),
          leaf_sample([] { return make_literal(-7, DType::i32, {}); }),
          leaf_sample([] { return make_literal(std::int64_t{1} << 40, DType::i64, {}); }),
          leaf_sample([] { return make_literal(1, DType::boolean, {}); })};
}

std::vector<Sample> constant_samples() {
  return {leaf_sample([] { return make_constant(Array::from({1.0F, 2.0F, 3.0F}), {}); }),
          leaf_sample([] { return make_constant(Array::arange(0, 17, 1, DType::i64), {}); }),
          leaf_sample([] { return make_constant(Array::from({{1.0, 2.0}, {3.0, 4.0}}), {}); }),
          leaf_sample([] { return make_constant(Array::from({true, false}), {}); }),
          leaf_sample([] { return make_constant(Array::zeros({0}), {}); })};
}

}  // namespace

// A value given at the call. Attributes: dims, dtype, name, identity.
constinit const OpRecord input_op = {.name = "input",
                                     .kind = OpKind::leaf,
                                     .arity = 0,
                                     .cost = 0,
                                     .infer = attributes_type,
                                     .reference = bound_reference,
                                     .samples = input_samples};

// The current value of a shared variable. Attributes: dims, dtype, name, state.
constinit const OpRecord shared_op = {.name = "shared",
                                      .kind = OpKind::leaf,
                                      .arity = 0,
                                      .cost = 0,
                                      .infer = attributes_type,
                                      .reference = bound_reference,
                                      .samples = shared_samples};

// A scalar known when the graph is built. Attributes: dtype; real for floating dtypes, else
// integers[0].
constinit const OpRecord literal_op = {.name = "literal",
                                       .kind = OpKind::leaf,
                                       .arity = 0,
                                       .cost = 0,
                                       .infer = attributes_type,
                                       .at = literal_at,
                                       .reference = literal_reference,
                                       .samples = literal_samples};

// An array known when the graph is built. Attributes: dims, dtype, array (row-major, not changed
// by anybody).
constinit const OpRecord constant_op = {.name = "constant",
                                        .kind = OpKind::leaf,
                                        .arity = 0,
                                        .cost = 0,
                                        .infer = attributes_type,
                                        .reference = constant_reference,
                                        .samples = constant_samples};

Tensor make_input(std::string name, TensorType type, SourceLine line, InputRole role) {
  static std::atomic<std::uint64_t> last{0};
  Attributes attributes;
  attributes.dims = std::move(type.shape);
  attributes.dtype = type.dtype;
  attributes.name = std::move(name);
  attributes.identity = ++last << role_bits | static_cast<std::uint64_t>(role);
  return make_node(input_op, {}, std::move(attributes), line);
}

InputRole role_of(const Tensor& input) {
  return static_cast<InputRole>(input.node().attributes.identity & ((1U << role_bits) - 1));
}

Tensor make_literal(double value, DType dtype, SourceLine line) {
  if (is_float(dtype)) {
    return literal_node(dtype, loop::scalar_from_real(value, dtype).real, 0, line);
  }
  constexpr double limit = 9223372036854775808.0;  // 2^63
  if (dtype == DType::u64 && value >= limit && value < 2 * limit) {
    return literal_node(dtype, 0, static_cast<std::int64_t>(static_cast<std::uint64_t>(value)),
                        line);
  }
  if (!(value >= -limit && value < limit) || value != std::trunc(value)) {
    fail_fit(std::to_string(value), dtype, line);
  }
  return make_literal(static_cast<std::int64_t>(value), dtype, line);
}

Tensor make_literal(std::int64_t value, DType dtype, SourceLine line) {
  if (is_float(dtype)) {
    return make_literal(static_cast<double>(value), dtype, line);
  }
  if (!holds(dtype, value)) {
    fail_fit(std::to_string(value), dtype, line);
  }
  return literal_node(dtype, 0, value, line);
}

Tensor make_literal(const Number& value, DType dtype, SourceLine line) {
  if (!value.is_whole()) return make_literal(static_cast<double>(value), dtype, line);
  if (is_float(dtype)) return make_literal(static_cast<double>(value), dtype, line);
  return literal_node(dtype, 0, static_cast<std::int64_t>(stored_as(dtype, value).whole()), line);
}

Tensor make_weak_literal(double value, SourceLine line) {
  return literal_node(DType::f32, value, 0, line, true);
}

Tensor make_weak_literal(std::int64_t value, SourceLine line) {
  return literal_node(DType::i64, 0, value, line, true);
}

Tensor make_constant(const Array& array, SourceLine line) {
  detail::require_host(array, "constant");
  if (array.rank() == 0) {
    const loop::Scalar value = loop::read_element(array.raw(), array.dtype());
    return is_float(array.dtype()) ? make_literal(value.real, array.dtype(), line)
                                   : make_literal(Number(value.integer), array.dtype(), line);
  }
  Attributes attributes;
  attributes.dims.assign(array.shape().begin(), array.shape().end());
  attributes.dtype = array.dtype();
  attributes.array = std::make_shared<const Array>(array.copy());
  return make_node(constant_op, {}, std::move(attributes), line);
}

double literal_value(const Attributes& literal) {
  if (is_float(literal.dtype)) return literal.real;
  return static_cast<double>(stored_as(literal.dtype, literal.integers.at(0)));
}

bool literal_value(const Tensor& tensor, double& value) {
  const Node& node = tensor.node();
  if (&node.op != &literal_op) return false;
  value = value_of(node.attributes);
  return true;
}

}  // namespace kroton
