#include "compiler/scan/steps.h"

#include <kroton/error.h>

#include <map>
#include <mutex>

#include "compiler/ops/leaf.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

struct ValueSizes {
  std::mutex mutex;
  std::map<std::uint64_t, Dim> by_input;  // by the identity of the input's node
};
ValueSizes& value_sizes() {
  static ValueSizes* sizes = new ValueSizes;
  return *sizes;
}

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
      ValueSizes& sizes = value_sizes();
      const std::lock_guard lock(sizes.mutex);
      value = sizes.by_input.try_emplace(node.attributes.identity, Dim::fresh(tensor.name()))
                  .first->second;
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
  return maximum(values.at(&count.node()), 0);
}

std::optional<Dim> size_given_by(const Tensor& input) {
  ValueSizes& sizes = value_sizes();
  const std::lock_guard lock(sizes.mutex);
  const auto found = sizes.by_input.find(input.node().attributes.identity);
  return found == sizes.by_input.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace kroton
