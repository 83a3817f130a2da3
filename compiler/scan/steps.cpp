#include "compiler/scan/steps.h"

#include <kroton/error.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_map>

#include "compiler/ops/leaf.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

// A count of steps: max(value, 0).
struct Count {
  Dim clamped, value;
  SourceLine line;
};

struct ValueSizes {
  std::mutex mutex;
  std::map<std::uint64_t, Dim> by_input;               // by the identity of the input's node
  std::unordered_multimap<std::size_t, Count> counts;  // by the hash of `clamped`
};
ValueSizes& value_sizes() {
  static ValueSizes* sizes = new ValueSizes;
  return *sizes;
}

std::optional<Count> count_behind(const Dim& size) {
  if (size.is_constant() || size.as_variable()) return std::nullopt;
  ValueSizes& sizes = value_sizes();
  const std::lock_guard lock(sizes.mutex);
  const auto [first, last] = sizes.counts.equal_range(size.hash());
  for (auto it = first; it != last; ++it) {
    if (it->second.clamped == size) return it->second;
  }
  return std::nullopt;
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
  const Dim& value = values.at(&count.node());
  const Dim clamped = maximum(value, 0);
  if (!clamped.is_constant() && clamped != value && !count_behind(clamped)) {
    ValueSizes& sizes = value_sizes();
    const std::lock_guard lock(sizes.mutex);
    sizes.counts.emplace(clamped.hash(), Count{clamped, value, line});
  }
  return clamped;
}

std::vector<SizeConstraint> constraints_on_counts(std::span<const Tensor> outputs) {
  std::vector<SizeConstraint> result;
  visit_dims(outputs, [&](const Dim& dim) {
    const std::optional<Count> count = count_behind(dim);
    if (!count) return;
    const bool known = std::any_of(result.begin(), result.end(), [&](const SizeConstraint& c) {
      return c.right == count->clamped;
    });
    if (known) return;
    result.push_back(
        {count->value, count->clamped, "n_steps is negative  [" + to_string(count->line) + "]"});
  });
  return result;
}

bool is_clamped_count(const Dim& size) { return count_behind(size).has_value(); }

std::optional<Dim> size_given_by(const Tensor& input) {
  ValueSizes& sizes = value_sizes();
  const std::lock_guard lock(sizes.mutex);
  const auto found = sizes.by_input.find(input.node().attributes.identity);
  return found == sizes.by_input.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace kroton
