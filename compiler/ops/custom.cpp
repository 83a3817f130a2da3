// Values whose derivatives are the user's own.
#include "compiler/ops/custom.h"

#include <kroton/derivatives.h>

#include <algorithm>
#include <unordered_map>

#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// The rules' results `first`, ... for this node, its cotangent and its inputs' tangents.
Tensors applied(const Tensor& y, const Tensor& cotangent, std::span<const Tensor> tangents,
                std::size_t first, std::size_t count) {
  const Node& node = y.node();
  const CustomView view(node.attributes);
  const Body& body = *node.attributes.body;
  std::unordered_map<const Node*, Tensor> values;
  for (std::size_t k = 0; k < body.parameters.size(); ++k) {
    Tensor& value = values[&body.parameters[k].node()];
    if (k < view.value()) {
      value = node.inputs[k + 1];
    } else if (k == view.value()) {
      value = y;
    } else if (k == view.cotangent()) {
      value = cotangent;
    } else if (k < view.rest()) {
      if (!tangents.empty()) value = tangents[k - view.tangents()];
    } else {
      value = node.inputs[k - view.rest() + view.inputs + 1];
    }
  }
  return substitute(std::span(body.results).subspan(first, count),
                    [&](const Tensor& t) -> std::optional<Tensor> {
                      const auto found = values.find(&t.node());
                      return found == values.end() ? std::nullopt : std::optional(found->second);
                    });
}

Tensors custom_vjp(const Tensor& y, const Tensor& g) {
  const Node& node = y.node();
  const std::size_t inputs = CustomView(node.attributes).inputs;
  const Tensors cotangents = applied(y, g, {}, 0, inputs);
  Tensors result(node.inputs.size());
  for (std::size_t k = 0; k < inputs; ++k) {
    if (is_float(node.inputs[k + 1].dtype())) result[k + 1] = cotangents[k];
  }
  return result;
}

Tensor custom_jvp(const Tensor& y, std::span<const Tensor> given) {
  const Node& node = y.node();
  const CustomView view(node.attributes);
  Tensors tangents(given.begin() + 1, given.begin() + 1 + static_cast<std::ptrdiff_t>(view.inputs));
  if (std::none_of(tangents.begin(), tangents.end(), [](const Tensor& t) { return bool(t); })) {
    return Tensor();
  }
  if (!view.has_forward) {
    ops::fail_value(node.attributes.name,
                    "a tangent goes through it, and its backward is not linear in the cotangents, "
                    "so that no forward rule follows from it");
  }
  for (std::size_t k = 0; k < tangents.size(); ++k) {
    if (!tangents[k]) tangents[k] = zeros_like(node.inputs[k + 1]);
  }
  return applied(y, Tensor(), tangents, view.inputs, 1).front();
}

// A gradient that is scaled by 1 stays the true one.
void draw_custom(ops::Draw& d) { d.call("grad_scale", grad_scale, d.operand(ops::floating), 1.0); }

}  // namespace

// y = operand 0. Attributes: name, of the user's function that made it; integers and body, by
// CustomView.   vjp, jvp: the body's results
constinit const OpRecord custom_op = {
    .name = "custom",
    .kind = OpKind::composite,
    .arity = -1,
    .cost = 0,
    .keeps_stored = true,
    .infer = [](TypeContext& context) { return context.input(0); },
    .vjp = custom_vjp,
    .jvp = custom_jvp,
    .expand = [](std::span<const Tensor> inputs, const Attributes&) { return inputs[0]; },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = batch_custom,
    .draw = draw_custom,
    .samples = custom_samples};

CustomView::CustomView(const Attributes& of)
    : inputs(static_cast<std::size_t>(of.integers.at(0))), has_forward(of.integers.at(1) != 0) {}

Attributes CustomView::attributes(const std::string& name, std::size_t inputs, bool has_forward,
                                  Body body) {
  Attributes result;
  result.name = name;
  result.integers = {static_cast<std::int64_t>(inputs), has_forward ? 1 : 0};
  result.body = std::make_shared<const Body>(std::move(body));
  return result;
}

}  // namespace kroton
