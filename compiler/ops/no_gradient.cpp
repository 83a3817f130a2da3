#include "compiler/ops/no_gradient.h"

#include "compiler/ops/elementwise.h"
#include "compiler/ops/samples.h"

namespace kroton {

// y = x.   A gradient that is asked for is an error; attributes.name says of what
constinit const OpRecord no_gradient_op = {
    .name = "no_gradient",
    .kind = OpKind::elementwise,
    .cost = 0,
    .is_view = true,
    .infer = ops::same_type<ops::Accepts::anything>,
    .vjp = [](const Tensor& y, const Tensor&) -> ops::Tensors {
      const std::string& name = y.node().attributes.name;
      const std::size_t colon = name.find(':');
      ops::fail_value(name.substr(0, colon), name.substr(colon + 2));
    },
    .at = [](PointContext& context, const Index& index) { return context.input(0, index); },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = ops::batch_elementwise<no_gradient_op>,
    .samples =
        [] {
          return ops::unary_samples(
              {.function = [](const Operand& x) { return without_gradient(x.tensor(), "f", "x"); },
               .differentiable = false});
        }};

Tensor without_gradient(const Tensor& x, const char* function, const char* operand) {
  Attributes attributes;
  attributes.name = std::string(function) + ": there is no gradient with respect to " + operand;
  return ops::apply(no_gradient_op, {x}, std::move(attributes));
}

}  // namespace kroton
