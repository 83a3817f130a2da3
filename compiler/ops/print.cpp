// kt::print: a value that is shown when it is computed.
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

void print_write(WriteContext& context) {
  context.nest(context.type().shape,
               [&](const Index& index) { context.store(index, context.input(0, index)); });
}

std::vector<Sample> print_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{}, {0}, {3}, {3, 1, 17}},
                   [](std::span<const Tensor> in) { return print(in[0], "x"); });
  for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
    samples.push_back({{ops::spread(dtype, {17}, -2, 2)},
                       [](std::span<const Tensor> in) { return print(in[0]); },
                       false});
  }
  return samples;
}

void draw_print(ops::Draw& d) {
  d.call("print", print, d.operand(ops::any_dtype), std::string("shown"));
}

}  // namespace

// y = x, in memory of its own; lowering shows it, after the message, when it is there.
// vjp: dx = dy. Attributes: name (the message).
constinit const OpRecord print_op = {
    .name = "print",
    .kind = OpKind::write,
    .shows = true,
    .observable = true,
    .keeps_stored = true,
    .infer = ops::same_type<ops::Accepts::anything>,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {g}; },
    .write = print_write,
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .draw = draw_print,
    .samples = print_samples};

Tensor print(const Operand& x, const std::string& message) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  Attributes attributes;
  attributes.name = message.empty() ? tensor.name() : message;
  return ops::apply(print_op, {tensor}, std::move(attributes));
}

}  // namespace kroton
