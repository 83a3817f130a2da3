// Calls of C functions: those of the user's own, kt::ExternalOp, and what all calls share.
#include "compiler/ops/call.h"

#include <kroton/error.h>

#include "compiler/base/c_names.h"
#include "compiler/ir/at.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/check.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

TensorType call_type(TypeContext&) { return {DType::boolean, {0}}; }

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

Tensor result_of_call(const Tensor& call, std::size_t k) {
  const TensorType type = CallView(call.node().attributes).results().at(k);
  Attributes attributes;
  const Callee& callee = *call.node().attributes.callee;
  attributes.name = callee.is_users() ? callee.options.name : callee.operation;
  attributes.integers = {static_cast<std::int64_t>(k)};
  attributes.dtype = type.dtype;
  attributes.dims = type.shape;
  return make_node(call_result_op, {call}, std::move(attributes), call.line());
}

bool takes_matrices(const Tensor& call) { return call.node().attributes.callee->takes_matrices; }

Tensor call_of_rows(const Tensor& call, Tensors operands, const Dim& count) {
  const Node& node = call.node();
  std::vector<TensorType> results = CallView(node.attributes).results();
  for (std::size_t k = 0; k + 1 < results.size(); ++k) {
    results[k].shape.insert(results[k].shape.begin(), count);
  }
  return make_call(node.op, node.attributes.callee, std::move(operands), results)[0]
      .node()
      .inputs[0];
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
  for (std::size_t k = 0; k < count; ++k) values.push_back(result_of_call(call, k));
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
  std::vector<std::int64_t> sizes;
  const auto add = [&](Array array) {
    Dims shape;
    for (const std::int64_t size : array.shape()) shape.emplace_back(size);
    for (const Dim& size : sizes_given(callee, shape)) sizes.push_back(size.constant());
    arrays.push_back(std::move(array));
  };
  const bool in_f64 = callee.in_f64 != nullptr;
  const auto dtype_of = [&](DType dtype) { return in_f64 && is_float(dtype) ? DType::f64 : dtype; };
  for (const ReferenceValue* input : context.inputs) {
    add(to_array({dtype_of(input->dtype), input->shape, input->data}));
  }
  const std::size_t given = arrays.size();
  for (const TensorType& type : CallView(context.attributes).results()) {
    std::vector<std::int64_t> shape;
    for (const Dim& dim : type.shape) shape.push_back(context.size(dim));
    add(Array::zeros(Shape(std::span<const std::int64_t>(shape)), dtype_of(type.dtype)));
  }
  std::vector<void*> pointers;
  for (const Array& array : arrays) pointers.push_back(const_cast<void*>(array.raw()));
  const ExternalFunction function = in_f64 ? callee.in_f64 : callee.options.function;
  if (const kroton_error error = invoke(callee, function, pointers, sizes);
      error.code != KROTON_OK) {
    const int rank = given == 0 ? 0 : arrays[0].rank();
    const std::string text =
        ops::with_numbers(error_texts(callee, rank)[at(error.site)], error.index, error.size);
    if (callee.is_users()) throw ExternalError(text);
    throw ValueError(text);
  }
  for (std::size_t k = given; k < arrays.size(); ++k) {
    context.output.trace.push_back(from_array(arrays[k]));
  }
}

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
                                           .infer = ops::stated_type,
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

Tensors make_call(const OpRecord& op, std::shared_ptr<const Callee> callee, Tensors operands,
                  const std::vector<TensorType>& results) {
  Attributes attributes;
  attributes.callee = std::move(callee);
  for (const TensorType& type : results) {
    attributes.integers.push_back(static_cast<std::int64_t>(type.dtype));
    attributes.integers.push_back(type.rank());
    attributes.dims.insert(attributes.dims.end(), type.shape.begin(), type.shape.end());
  }
  const Tensor call =
      make_node(op, std::move(operands), std::move(attributes), *LineScope::current());
  Tensors given;
  for (std::size_t k = 0; k < results.size(); ++k) given.push_back(result_of_call(call, k));
  return given;
}

Dims sizes_given(const Callee& callee, const Dims& shape) {
  if (!callee.takes_matrices || shape.size() < 2) return shape;
  const Dims batch(shape.begin(), shape.end() - 2);
  return {element_count(batch), shape[shape.size() - 2], shape[shape.size() - 1]};
}

std::vector<std::string> error_texts(const Callee& callee, int rank) {
  if (callee.is_users()) return {callee.options.name + ": the function returned %index"};
  std::vector<std::string> texts = callee.errors;
  if (rank > 2) return texts;
  static constexpr std::string_view numbered = "matrix %index";
  for (std::string& text : texts) {
    const std::size_t at = text.find(numbered);
    if (at != std::string::npos) text.replace(at, numbered.size(), "the matrix");
  }
  return texts;
}

kroton_error invoke(const Callee& callee, ExternalFunction function,
                    const std::vector<void*>& arrays, const std::vector<std::int64_t>& sizes) {
  const std::int32_t status = function(arrays.data(), sizes.data());
  if (status == 0) return {};
  if (callee.is_users()) {
    return {.code = KROTON_INDEX_OUT_OF_RANGE, .site = 0, .index = status, .size = 0};
  }
  const auto* numbers = static_cast<const std::int64_t*>(arrays.back());
  return {.code = KROTON_INDEX_OUT_OF_RANGE,
          .site = status - 1,
          .index = numbers[0],
          .size = numbers[1]};
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
  return make_call(call_op, callee_, std::move(operands), results);
}

}  // namespace kroton
