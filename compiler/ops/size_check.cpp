// Sizes that users' functions ask for and that are known only at the call.
#include <kroton/pooling.h>

#include <algorithm>

#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

TensorType size_check_type(TypeContext& context) {
  const Dim& size = context.attributes().dims.at(0);
  const Dim& least = context.attributes().dims.at(1);
  if (!provably_at_least(size, least)) {
    context.require_equal(minimum(size - least, 0), 0, context.attributes().name, {size, least});
  }
  return context.input(0);
}

Tensor checked_size(const Tensor& x, const Dim& size, const Dim& least, std::string message) {
  Attributes attributes;
  attributes.dims = {size, least};
  attributes.name = std::move(message);
  return ops::apply(size_check_op, {x}, std::move(attributes));
}

std::vector<Sample> size_check_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{0}, {1}, {3}, {17}, {3, 17}}, [](std::span<const Tensor> in) {
    const Dim& size = in[0].shape()[0];
    return checked_size(in[0], size * size, size, "%0 is less than %1");
  });
  return samples;
}

// Pools whose windows have an element of the picture each; where they are not known to, of free
// sizes, that is checked.
void draw_pool(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::floating, 3, 4);
  const int axes = d[x].rank() - 2;
  const PerAxis window = ops::random_numbers(d, axes, 3), stride = ops::random_numbers(d, axes, 3);
  std::size_t axis = 2;
  const bool fits = std::all_of(
      window.values().begin(), window.values().end(),
      [&](std::int64_t positions) { return d.value(d[x].shape()[axis++]) >= positions; });
  const Padding padding = fits ? Padding::valid : Padding::full;
  if (fits && d.one_in(2)) {
    d.call("max_pool", max_pool, x, window, MaxPoolOptions{stride, padding, 1, d.one_in(3)});
  } else {
    d.call("avg_pool", avg_pool, x, window,
           AveragePoolOptions{stride, padding, d.one_in(2), d.one_in(3)});
  }
}

}  // namespace

// y = x, where the size attributes.dims[0] is at least attributes.dims[1]; otherwise ShapeError
// with the message attributes.name, in which %0 and %1 are the two sizes.   vjp: dx = dy
constinit const OpRecord size_check_op = {
    .name = "size_check",
    .kind = OpKind::composite,
    .cost = 0,
    .linear = Linear::jointly,
    .keeps_stored = true,
    .infer = size_check_type,
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {g}; },
    .expand = [](std::span<const Tensor> inputs, const Attributes&) { return inputs[0]; },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>&,
                const Attributes& attributes,
                const Dim&) { return ops::apply(size_check_op, {operands[0]}, attributes); },
    .draw = draw_pool,
    .samples = size_check_samples};

namespace ops {

Tensor size_check(const Tensor& x, const char* op, const std::vector<Tensor>& operands,
                  const Dim& size, const Dim& least, const std::string& what) {
  if (provably_at_least(size, least)) return x;
  if ((size - least).is_constant()) {
    const SizeConstraint never{size, least, what, {size, least}};
    fail_shape(OpRecord{.name = op}, operands,
               never.text([](const Dim& dim) { return dim.to_string(); }));
  }
  return checked_size(x, size, least, std::string(op) + ": " + what);
}

}  // namespace ops

}  // namespace kroton
