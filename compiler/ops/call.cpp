// Functions of the user's own: kt::ExternalOp.
#include "compiler/ops/call.h"

#include <kroton/error.h>

#include "compiler/base/c_names.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

std::size_t at(std::int64_t k) { return static_cast<std::size_t>(k); }

TensorType call_type(TypeContext&) { return {DType::boolean, {0}}; }

TensorType result_type(TypeContext& context) {
  return {context.attributes().dtype, context.attributes().dims};
}

Tensor result_of(const Tensor& call, std::size_t k) {
  const TensorType type = CallView(call.node().attributes).results().at(k);
  Attributes attributes;
  attributes.name = call.node().attributes.callee->options.name;
  attributes.integers = {static_cast<std::int64_t>(k)};
  attributes.dtype = type.dtype;
  attributes.dims = type.shape;
  return make_node(call_result_op, {call}, std::move(attributes), call.line());
}

std::string listed(std::span<const TensorType> types) {
  std::string text;
  for (const TensorType& type : types) text += (text.empty() ? "" : ", ") + to_string(type);
  return text;
}

// A rule of the user's own gives expressions of its inputs' types, or none.
void check_cotangents(const Callee& callee, const Tensors& inputs, const Tensors& cotangents) {
  if (cotangents.size() != inputs.size()) {
    ops::fail_value(callee.options.name, "gradient: expected " + std::to_string(inputs.size()) +
                                             " cotangents, one for each input, got " +
                                             std::to_string(cotangents.size()));
  }
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!cotangents[k]) continue;
    const TensorType& expected = inputs[k].type();
    const TensorType& given = cotangents[k].type();
    if (given.dtype == expected.dtype && given.rank() == expected.rank()) continue;
    ops::fail_value(callee.options.name, "gradient: the cotangent of input " + std::to_string(k) +
                                             " is " + to_string(given) + ", expected " +
                                             to_string(expected));
  }
}

Tensors differentiate_call(const Tensor& call, std::span<const std::pair<Tensor, Tensor>> results,
                           const std::vector<bool>& /*wanted*/) {
  const Node& node = call.node();
  const Callee& callee = *node.attributes.callee;
  if (!callee.options.gradient) {
    ops::fail_value(
        callee.options.name,
        "the gradient goes through it, and it has none: give ExternalOptions::gradient, "
        "or stop_gradient() before it");
  }
  Tensors values, cotangents;
  const std::size_t count = CallView(node.attributes).results().size();
  for (std::size_t k = 0; k < count; ++k) values.push_back(result_of(call, k));
  cotangents.resize(count);
  for (const auto& [result, cotangent] : results) {
    cotangents[at(result.node().attributes.integers[0])] = cotangent;
  }
  for (std::size_t k = 0; k < count; ++k) {
    if (!cotangents[k]) cotangents[k] = zeros_like(values[k]);
  }
  Tensors given = callee.options.gradient(node.inputs, values, cotangents);
  check_cotangents(callee, node.inputs, given);
  return given;
}

void call_reference(ReferenceContext& context) {
  const Callee& callee = *context.attributes.callee;
  std::vector<Array> arrays;
  for (const ReferenceValue* input : context.inputs) arrays.push_back(to_array(*input));
  const std::size_t given = arrays.size();
  for (const TensorType& type : CallView(context.attributes).results()) {
    std::vector<std::int64_t> shape;
    for (const Dim& dim : type.shape) shape.push_back(context.size(dim));
    arrays.push_back(Array::zeros(Shape(std::span<const std::int64_t>(shape)), type.dtype));
  }
  std::vector<void*> pointers;
  std::vector<std::int64_t> sizes;
  for (const Array& array : arrays) {
    pointers.push_back(const_cast<void*>(array.raw()));
    sizes.insert(sizes.end(), array.shape().begin(), array.shape().end());
  }
  if (const std::int32_t code = invoke(callee, pointers, sizes); code != 0) {
    throw ExternalError(callee.options.name + ": the function returned " + std::to_string(code));
  }
  for (std::size_t k = given; k < arrays.size(); ++k) {
    context.output.trace.push_back(from_array(arrays[k]));
  }
}

void result_reference(ReferenceContext& context) {
  context.output.data = context.inputs[0]->trace[at(context.attributes.integers[0])].data;
}

// ---- Samples: y = x1^2 and the sum of x2, of f64.

std::int32_t square_and_sum(void* const* arrays, const std::int64_t* sizes) {
  const auto* x = static_cast<const double*>(arrays[0]);
  auto* squares = static_cast<double*>(arrays[2]);
  for (std::int64_t i = 0; i < sizes[0]; ++i) squares[i] = x[i] * x[i];
  const auto* terms = static_cast<const double*>(arrays[1]);
  auto* sum = static_cast<double*>(arrays[3]);
  *sum = 0;
  for (std::int64_t i = 0; i < sizes[1] * sizes[2]; ++i) *sum += terms[i];
  return 0;
}

const ExternalOp& sample_op() {
  static const auto& op =
      *new ExternalOp({.name = "square_and_sum",
                       .function = square_and_sum,
                       .results =
                           [](std::span<const TensorType> inputs) {
                             return std::vector<TensorType>{inputs[0], {DType::f64, {}}};
                           },
                       .gradient =
                           [](std::span<const Tensor> inputs, std::span<const Tensor>,
                              std::span<const Tensor> cotangents) {
                             return Tensors{2 * inputs[0] * cotangents[0],
                                            broadcast_to(cotangents[1], inputs[1].shape())};
                           }});
  return op;
}

std::vector<Sample> call_samples() {
  std::vector<Sample> samples;
  for (const std::int64_t size : {0, 1, 3, 17}) {
    for (const std::size_t result : {0U, 1U}) {
      samples.push_back(
          {{ops::spread(DType::f64, {size}, -2, 2, 1),
            ops::spread(DType::f64, {2, size}, -2, 2, 2)},
           [result](std::span<const Tensor> in) { return sample_op()({in[0], in[1]})[result]; }});
    }
  }
  return samples;
}

}  // namespace

// attributes.callee on the operands' elements. dims, integers: CallView.   vjp: the callee's own
constinit const OpRecord call_op = {.name = "call",
                                    .kind = OpKind::call,
                                    .arity = -1,
                                    .cost = 100,
                                    .observable = true,
                                    .infer = call_type,
                                    .vjp_results = differentiate_call,
                                    .reference = call_reference,
                                    .samples = call_samples};

// The result integers[0] of a call. dims, dtype: the type; name: the callee's.
constinit const OpRecord call_result_op = {.name = "call_result",
                                           .kind = OpKind::result,
                                           .infer = result_type,
                                           .reference = result_reference,
                                           .samples = call_samples};

std::vector<TensorType> CallView::results() const {
  std::vector<TensorType> result;
  std::size_t next = 0;
  for (std::size_t k = 0; k + 1 < attributes_.integers.size(); k += 2) {
    TensorType type{static_cast<DType>(attributes_.integers[k]), {}};
    for (std::int64_t axis = 0; axis < attributes_.integers[k + 1]; ++axis) {
      type.shape.push_back(attributes_.dims[next++]);
    }
    result.push_back(std::move(type));
  }
  return result;
}

std::int32_t invoke(const Callee& callee, const std::vector<void*>& arrays,
                    const std::vector<std::int64_t>& sizes) {
  return callee.options.function(arrays.data(), sizes.data());
}

ExternalOp::ExternalOp(ExternalOptions options, const Location& location) {
  const LineScope scope(
      LineScope::current().value_or(SourceLine{location.file_name(), location.line()}));
  const std::string& name = options.name;
  if (const std::string why = why_no_function(name); !why.empty()) {
    ops::fail_value("ExternalOp",
                    "the name \"" + name + "\" cannot be that of a C function: " + why);
  }
  if (name.starts_with("kroton_")) {
    ops::fail_value("ExternalOp", "names that begin with kroton_ are taken: " + name);
  }
  if (options.function == nullptr) ops::fail_value(name, "ExternalOptions::function is null");
  if (!options.results) ops::fail_value(name, "ExternalOptions::results is missing");
  callee_ = std::make_shared<const Callee>(std::move(options));
}

const std::string& ExternalOp::name() const { return callee_->options.name; }

Tensors ExternalOp::operator()(const std::vector<Operand>& inputs, const Location& location) const {
  const LineScope scope(
      LineScope::current().value_or(SourceLine{location.file_name(), location.line()}), name());
  Tensors operands;
  std::vector<TensorType> types;
  for (const Operand& input : inputs) {
    operands.push_back(input.tensor());
    types.push_back(operands.back().type());
  }
  const std::vector<TensorType> results = callee_->options.results(types);
  if (results.empty()) {
    ops::fail_value(name(), "ExternalOptions::results gives no type for " + listed(types));
  }
  Attributes attributes;
  attributes.callee = callee_;
  for (const TensorType& type : results) {
    attributes.integers.push_back(static_cast<std::int64_t>(type.dtype));
    attributes.integers.push_back(type.rank());
    attributes.dims.insert(attributes.dims.end(), type.shape.begin(), type.shape.end());
  }
  const Tensor call =
      make_node(call_op, std::move(operands), std::move(attributes), *LineScope::current());
  Tensors given;
  for (std::size_t k = 0; k < results.size(); ++k) given.push_back(result_of(call, k));
  return given;
}

}  // namespace kroton
