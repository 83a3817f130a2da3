#include "compiler/scan/steps.h"

#include <kroton/error.h>

#include <map>
#include <unordered_set>

#include "compiler/dim/dim_atoms.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

[[noreturn]] void fail(const Tensor& count, const Tensor& at, SourceLine line) {
  throw ValueError(
      "n_steps: " + count.name() + " is computed by " + std::string(at.node().op.name) +
      ": expected integer scalar inputs, numbers, sizes, +, - and *  [" + to_string(line) + "]");
}

}  // namespace

Dim count_of_steps(const Tensor& count, SourceLine line) {
  const std::string what = "n_steps: expected an integer scalar: " + count.name() + " is " +
                           to_string(count.type()) + "  [" + to_string(line) + "]";
  if (!is_integer(count.dtype())) throw TypeError(what);
  if (count.rank() != 0) throw ShapeError(what);
  std::map<const Node*, Dim> values;
  for (const Tensor& tensor : topological_order(std::span(&count, 1))) {
    const Node& node = tensor.node();
    if (!is_integer(tensor.dtype()) || tensor.rank() != 0) fail(count, tensor, line);
    std::vector<Dim> in;
    for (const Tensor& input : node.inputs) in.push_back(values.at(&input.node()));
    Dim& value = values[&node];
    double literal = 0;
    if (literal_value(tensor, literal)) {
      value = Dim(static_cast<std::int64_t>(literal));
    } else if (&node.op == &input_op) {
      value = value_of_input(tensor.name(), node.attributes.identity);
    } else if (&node.op == &size_op) {
      value = node.attributes.dims[0];
    } else if (&node.op == &cast_op) {
      value = in[0];
    } else if (&node.op == &add_op) {
      value = in[0] + in[1];
    } else if (&node.op == &sub_op) {
      value = in[0] - in[1];
    } else if (&node.op == &mul_op) {
      value = in[0] * in[1];
    } else {
      fail(count, tensor, line);
    }
  }
  return count_of(values.at(&count.node()));
}

std::vector<SizeConstraint> constraints_on_counts(std::span<const Tensor> outputs) {
  std::vector<SizeConstraint> result;
  std::unordered_set<std::uint64_t> known;
  visit_dims(outputs, [&](const Dim& dim, SourceLine line) {
    dim.visit_variables([&](const DimAtomRef& atom) {
      if (atom->kind != DimAtom::Kind::count || !known.insert(atom->identity).second) return;
      const Dim& form = atom->operands[0];
      const Dim steps = maximum(form, 0);
      result.push_back({from_atom(atom), steps, "n_steps  [" + to_string(line) + "]"});
      result.push_back(
          {form,
           steps,
           "n_steps is negative: " + form.to_string() + " is %0  [" + to_string(line) + "]",
           {form},
           true});
    });
  });
  return result;
}

std::map<std::uint64_t, Dim> sizes_given_by_values(std::span<const Tensor> outputs) {
  std::map<std::uint64_t, Dim> result;
  visit_sizes(outputs, [&](const DimAtomRef& atom) {
    if (atom->kind != DimAtom::Kind::value) return;
    result.emplace(static_cast<std::uint64_t>(atom->operands[0].constant()), from_atom(atom));
  });
  return result;
}

}  // namespace kroton
