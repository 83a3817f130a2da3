// kt::check: a value with a condition that the call holds it to.
#include <kroton/check.h>

#include "compiler/ir/leaf.h"
#include "compiler/ops/check.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

enum Input : std::uint8_t { value, condition, first_number, second_number };

TensorType check_type(TypeContext& context) {
  if (context.input(condition).dtype != DType::boolean) {
    context.fail_type("the condition must be boolean");
  }
  for (const int number : {first_number, second_number}) {
    if (context.input(number).dtype != DType::i64) context.fail_type("the numbers must be i64");
  }
  return {context.input(value).dtype, ops::equal_shapes(context)};
}

void check_reference(ReferenceContext& c) {
  for (std::size_t i = 0; i < c.output.data.size(); ++i) {
    if (static_cast<double>(c.inputs[condition]->data[i]) == 0) {
      throw ValueError(ops::with_numbers(
          c.attributes.name, static_cast<std::int64_t>(c.inputs[first_number]->data[i]),
          static_cast<std::int64_t>(c.inputs[second_number]->data[i])));
    }
  }
  c.output.data = c.inputs[value]->data;
}

std::vector<Sample> check_samples() {
  std::vector<Sample> samples;
  const std::vector<ops::HostShape> shapes = {{}, {0}, {1}, {17}, {3, 17}, {2, 3, 1}};
  ops::add_samples(samples, shapes,
                   [](std::span<const Tensor> in) { return check(in[0] < 9, in[0], "too large"); });
  ops::add_samples(samples, {{}, {3}, {2, 3}}, [](std::span<const Tensor> in) {
    return check(sum(in[0]) < 99, in[0], "too large");
  });
  ops::add_samples(samples, {{3}, {2, 3}}, [](std::span<const Tensor> in) {
    return check(sum(in[0], 0) < 99, in[0], "too large");
  });
  return samples;
}

void draw_check(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 0, 3);
  const Dims shape = d.one_in(2) ? d[x].shape() : Dims{};
  d.call("check", check, d.of_type({DType::boolean, shape}), x, std::string("drawn"));
}

// The user's text as it is, where the text of an error has places for numbers.
std::string without_places(std::string text) {
  for (const char* place : {"%index", "%size"}) {
    for (std::size_t at = 0; (at = text.find(place, at)) != std::string::npos; at += 2) {
      text.insert(at + 1, " ");
    }
  }
  return text;
}

// What stands for the first index, and the others, at which a condition of that shape does not
// hold.
std::string place_in_words(const Dims& shape) {
  switch (shape.size()) {
    case 0:
      return "it does not hold";
    case 1:
      return "it does not hold at index %index";
    case 2:
      return "it does not hold at index (%index, %size)";
    default:
      return "it does not hold at index %index of the first axis and element %size of the others";
  }
}

}  // namespace

// y = x, any dtype, where the boolean condition (operand 1) holds at each element; else ValueError
// attributes.name, in which %index and %size are the operands 2 and 3, i64.   vjp: dx = dy
constinit const OpRecord check_op = {
    .name = "check",
    .arity = 4,
    .observable = true,
    .keeps_stored = true,
    .infer = check_type,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors {
      return {g, Tensor(), Tensor(), Tensor()};
    },
    .at =
        [](PointContext& context, const Index& index) {
          return context.check(context.input(value, index), context.input(condition, index),
                               context.input(first_number, index),
                               context.input(second_number, index), context.attributes().name);
        },
    .reference = check_reference,
    .batch = ops::batch_elementwise<check_op>,
    .draw = draw_check,
    .samples = check_samples};

namespace ops {

Tensor checked(const Tensor& x, const Tensor& condition, const Tensor& index, const Tensor& size,
               const std::string& text) {
  Attributes attributes;
  attributes.name = text;
  Tensors operands{x};
  for (const Tensor& each : {condition, index, size}) {
    operands.push_back(broadcast_towards(each, x.shape()));
  }
  return apply(check_op, std::move(operands), std::move(attributes));
}

std::string with_numbers(std::string text, std::int64_t index, std::int64_t size) {
  for (const auto& [name, number] : {std::pair("%index", index), std::pair("%size", size)}) {
    const std::size_t place = text.find(name);
    if (place != std::string::npos) {
      text.replace(place, std::string_view(name).size(), std::to_string(number));
    }
  }
  return text;
}

}  // namespace ops

Tensor check(const Operand& condition, const Operand& x, const std::string& message) {
  const LineScope scope(x.line());
  const Tensor holds = condition.tensor(), tensor = x.tensor();
  if (holds.dtype() != DType::boolean) {
    ops::fail_type(check_op, {holds, tensor}, "the condition must be boolean");
  }
  const Dims& shape = holds.shape();
  const std::string text = "check: " + without_places(message) + ": " + place_in_words(shape);
  const Tensor zero = make_literal(0, DType::i64, *LineScope::current());
  if (shape.empty()) return ops::checked(tensor, holds, zero, zero, text);
  // The axes behind the first are one to the message.
  const Dim rest = element_count(Dims(shape.begin() + 1, shape.end()));
  if (shape == tensor.shape()) {
    const Tensor first = iota(shape, 0);
    Tensor second = shape.size() > 1 ? iota(shape, 1) : broadcast_to(zero, shape);
    for (int axis = 2; axis < static_cast<int>(shape.size()); ++axis) {
      second = second * size_of_dim(shape[static_cast<std::size_t>(axis)]) + iota(shape, axis);
    }
    return ops::checked(tensor, holds, first, second, text);
  }
  const Dim count = element_count(shape);
  if (count.is_constant(0)) return tensor;
  const Tensor number = size_of_dim(count);
  const Tensor place = min(where(flatten(holds), number, arange(count)));
  const Tensor row = size_of_dim(rest);
  return ops::checked(tensor, place >= number, floor_div(place, row), place % row, text);
}

Tensor constant(const Array& values, const Operand::Location& location) {
  return Operand(values, location).tensor();
}

}  // namespace kroton
