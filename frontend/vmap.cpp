#include <kroton/vmap.h>

#include <kroton/error.h>
#include <kroton/ops.h>

#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/with_update.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/steps.h"

namespace kroton::detail {
namespace {

constexpr const char* name = "vmap";

class Vmap {
 public:
  Vmap(const std::vector<Operand>& inputs, const VmapOptions& options, SourceLine line)
      : options_(options), line_(line) {
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (inputs[k].is_empty()) fail("input " + std::to_string(k) + " is an empty Tensor");
      inputs_.push_back(inputs[k].tensor());
    }
  }

  std::vector<Tensor> run(const StepFunction& f, int arity) {
    find_count();
    check_arity(arity, inputs_.size(), "vmap: the function", line_);
    add_rows();
    std::vector<Tensor> results;
    {
      const StepScope rows(name, line_, {}, count_);
      const std::uint64_t last = last_update();
      results = tensors(f(arguments_));
      if (const auto updates = updates_since(results, last); !updates.empty()) {
        const Node& first = updates.begin()->second.node();
        throw ValueError("with_update: a function of vmap updates no shared variable, as " +
                         first.inputs[1].name() + "  [" + to_string(first.line) + "]");
      }
      if (rows.has_number()) {
        const LineScope scope(line_, "");
        mapped_.emplace(&rows.number().node(), arange(count_));
      }
    }
    return on_deep_stack([&] { return for_all_rows(results); });
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ValueError(std::string(name) + ": " + what + "  [" + to_string(line_) + "]");
  }

  MappedAxis axis_of(std::size_t input) const {
    return options_.in_axes.empty() ? MappedAxis(0) : options_.in_axes[input];
  }

  std::string described(std::size_t input) const {
    const Tensor& tensor = inputs_[input];
    return "input " + std::to_string(input) + ", " + tensor.name() + ", is " +
           to_string(tensor.type());
  }

  // The size of the mapped axes; the inputs with theirs in front.
  void find_count() {
    if (!options_.in_axes.empty() && options_.in_axes.size() != inputs_.size()) {
      fail("there are " + std::to_string(options_.in_axes.size()) + " in_axes for " +
           std::to_string(inputs_.size()) + " inputs");
    }
    std::optional<std::size_t> first;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const MappedAxis given = axis_of(k);
      if (!given.is_mapped) continue;
      const int rank = inputs_[k].rank();
      if (given.axis < -rank || given.axis >= rank) {
        fail(described(k) + ": it has no axis " + std::to_string(given.axis) + " to map");
      }
      const int axis = given.axis < 0 ? given.axis + rank : given.axis;
      const Dim& size = inputs_[k].shape(axis);
      if (!first) {
        first = k;
        count_ = size;
      } else if (const Dim difference = size - count_;
                 difference.is_constant() && !difference.is_constant(0)) {
        throw ShapeError(std::string(name) + ": the mapped axes differ: " + described(*first) +
                         ", " + described(k) + "  [" + to_string(line_) + "]");
      } else if (size.is_constant()) {
        count_ = size;
      }
      const LineScope scope(line_, "");
      inputs_[k] = ops::move_axis(inputs_[k], axis, 0);
    }
    if (!first) fail("no input is mapped");
  }

  // What f is called with. Where sizes are free, the call checks that they are one.
  void add_rows() {
    const LineScope scope(line_, name);
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const Tensor& input = inputs_[k];
      if (!axis_of(k).is_mapped) {
        arguments_.push_back(input);
        continue;
      }
      const Dims row(input.shape().begin() + 1, input.shape().end());
      arguments_.push_back(make_input(input.name(), {input.dtype(), row}, line_, InputRole::row));
      const bool same_size = input.shape(0) == count_;
      mapped_.emplace(&arguments_.back().node(),
                      same_size ? input
                                : ops::broadcast_axes(input, ops::with_rows(count_, row),
                                                      ops::axes_from(0, input.rank())));
    }
  }

  std::vector<Tensor> tensors(const std::vector<Operand>& results) const {
    if (results.empty()) fail("the function returns no results");
    std::vector<Tensor> list;
    for (std::size_t k = 0; k < results.size(); ++k) {
      if (results[k].is_empty()) {
        fail("result " + std::to_string(k) + " of the function is an empty Tensor");
      }
      list.push_back(results[k].tensor());
    }
    if (!options_.out_axes.empty() && options_.out_axes.size() != list.size()) {
      fail("there are " + std::to_string(options_.out_axes.size()) + " out_axes for " +
           std::to_string(list.size()) + " results");
    }
    for (std::size_t k = 0; k < options_.out_axes.size(); ++k) {
      const int rank = list[k].rank() + 1;
      if (options_.out_axes[k] >= -rank && options_.out_axes[k] < rank) continue;
      fail("result " + std::to_string(k) + " has " + std::to_string(rank) +
           " axes with the mapped one, which cannot be axis " +
           std::to_string(options_.out_axes[k]));
    }
    return list;
  }

  std::vector<Tensor> for_all_rows(const std::vector<Tensor>& results) const {
    const auto counts = sizes_given_by_values(results);
    for (const Tensor& argument : arguments_) {
      if (counts.contains(argument.node().attributes.identity) &&
          mapped_.contains(&argument.node())) {
        fail("a row of " + argument.name() +
             " is the number of steps of a scan, which is one for all rows");
      }
    }
    const BatchedAll all = batch_all(results, mapped_, count_);
    if (all.refused) {
      const Node& node = all.refused.node();
      fail(std::string(node.op.name) + "  [" + to_string(node.line) +
           "] does not take rows: kt::map runs such a function in a loop");
    }
    const LineScope scope(line_, name);
    std::vector<Tensor> values;
    for (std::size_t k = 0; k < results.size(); ++k) {
      const Batched& one = all.values[k];
      Tensor value =
          one.mapped ? one.value : ops::with_rows({&one.value, 1}, {false}, count_).front();
      if (!options_.out_axes.empty()) {
        const int axis = options_.out_axes[k];
        value = ops::move_axis(value, 0, axis < 0 ? axis + value.rank() : axis);
      }
      values.push_back(std::move(value));
    }
    return values;
  }

  const VmapOptions& options_;
  const SourceLine line_;
  std::vector<Tensor> inputs_, arguments_;
  std::unordered_map<const Node*, Tensor> mapped_;
  Dim count_;
};

}  // namespace

void check_arity(int takes, std::size_t gets, const std::string& what, SourceLine line) {
  if (takes < 0 || takes == static_cast<int>(gets)) return;
  throw ValueError(what + " takes " + std::to_string(takes) + " arguments, it gets " +
                   std::to_string(gets) + "  [" + to_string(line) + "]");
}

std::vector<Tensor> vmap(const StepFunction& f, int arity, const std::vector<Operand>& inputs,
                         const VmapOptions& options, SourceLine line) {
  return Vmap(inputs, options, line).run(f, arity);
}

}  // namespace kroton::detail
