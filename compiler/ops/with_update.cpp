// Values that bring an update of a shared variable along.
#include "compiler/ops/with_update.h"

#include <atomic>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/weak.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

std::atomic<std::uint64_t> last_number{0};

std::vector<Sample> with_update_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{}, {0}, {1}, {3}, {17}}, [](std::span<const Tensor> in) {
    const Shared count(Array(0.0F), "count", SourceLine{});
    return ops::apply(with_update_op, {in[0], count, count + 1});  // inside a scan, too
  });
  return samples;
}

}  // namespace

// y = x. A function that computes y updates the shared variable, operand 1, by operand 2.
// attributes.identity: of the call, which the copies that a gradient is made of have in common,
// while the new value may be written otherwise in them. vjp: dx = dy
constinit const OpRecord with_update_op = {
    .name = "with_update",
    .kind = OpKind::composite,
    .arity = 3,
    .cost = 0,
    .carries_update = true,
    .keeps_stored = true,
    .infer = [](TypeContext& context) { return context.input(0); },
    .vjp = [](const Tensor&, const Tensor& g) -> Tensors { return {g, Tensor(), Tensor()}; },
    .expand = [](std::span<const Tensor> inputs, const Attributes&) { return inputs[0]; },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .samples = with_update_samples};

Tensor with_update(const Operand& x, const Shared& variable, const Operand& new_value) {
  const LineScope scope(x.line());
  const Tensor value = ops::met_by(new_value.tensor(variable.dtype()), variable.dtype());
  const OpRecord& op = with_update_op;
  if (value.dtype() != variable.dtype()) {
    ops::fail_type(op, {variable, value}, "the new value has another dtype");
  }
  if (value.rank() != variable.rank()) {
    ops::fail_shape(op, {variable, value}, "the new value has another rank");
  }
  return carrying(x.tensor(), variable, value, new_update());
}

std::uint64_t last_update() { return last_number; }
std::uint64_t new_update() { return ++last_number; }

Tensor carrying(const Tensor& x, const Tensor& variable, const Tensor& new_value,
                std::uint64_t number) {
  Attributes attributes;
  attributes.identity = number;
  return ops::apply(with_update_op, {x, variable, new_value}, std::move(attributes));
}

std::map<std::uint64_t, Tensor> updates_since(std::span<const Tensor> roots, std::uint64_t last) {
  std::map<std::uint64_t, Tensor> result;
  std::vector<Tensor> pending(roots.begin(), roots.end());
  for (std::size_t done = 0; done < pending.size(); ++done) {
    const Tensor root = pending[done];
    for (const Tensor& tensor : topological_order(std::span(&root, 1))) {
      const Node& node = tensor.node();
      if (!node.op.carries_update || node.attributes.identity <= last) continue;
      if (!result.emplace(node.attributes.identity, tensor).second) continue;
      pending.push_back(node.inputs[2]);
    }
  }
  return result;
}

}  // namespace kroton
