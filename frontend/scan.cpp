#include <kroton/error.h>
#include <kroton/scan.h>

#include <algorithm>

#include "compiler/ops/leaf.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/scan.h"
#include "compiler/scan/steps.h"

namespace kroton::detail {
namespace {

class ScanBuilder {
 public:
  ScanBuilder(const ScanOptions& options, SourceLine line)
      : options_(options),
        line_(line),
        name_(options.name.empty() ? "scan" : "scan " + options.name) {}

  std::vector<Tensor> run(const StepFunction& step, int arity) {
    check_options();
    loop_.truncate = options_.truncate_gradient;
    loop_.name = name_;
    loop_.line = line_;
    find_count();
    add_sequences();
    add_states();
    for (const Tensor& tensor : options_.non_sequences) arguments_.push_back(tensor);
    if (arity >= 0 && arity != static_cast<int>(arguments_.size())) {
      fail<ValueError>("the step takes " + std::to_string(arity) + " arguments, it gets " +
                       std::to_string(arguments_.size()) + ": " + describe_arguments());
    }
    std::vector<Tensor> outputs = step(arguments_);
    check_outputs(outputs);
    if (options_.strict) check_strict(outputs);
    return results(outputs);
  }

 private:
  template <class E>
  [[noreturn]] void fail(const std::string& what) const {
    throw E(name_ + ": " + what + "  [" + to_string(line_) + "]");
  }

  void check_options() const {
    for (std::size_t k = 0; k < options_.sequences.size(); ++k) {
      const Sequence& sequence = options_.sequences[k];
      const std::string which = "sequence " + std::to_string(k);
      if (!sequence.rows) fail<ValueError>(which + " is empty");
      if (sequence.rows.rank() == 0) {
        fail<ShapeError>(which + ", " + sequence.rows.name() + ", is " +
                         to_string(sequence.rows.type()) + ": it has no axis to take rows of");
      }
      if (sequence.taps.empty()) fail<ValueError>(which + " has no taps");
    }
    for (std::size_t k = 0; k < options_.outputs_info.size(); ++k) {
      const State& state = options_.outputs_info[k];
      if (!state.initial) continue;
      const std::string which = "state " + std::to_string(k) + ", " + state.initial.name();
      if (state.taps.empty()) fail<ValueError>(which + ", has no taps");
      for (const int tap : state.taps) {
        if (tap >= 0) {
          fail<ValueError>(which + ", has the tap " + std::to_string(tap) +
                           ": expected earlier values, -1 for the one before");
        }
      }
      if (has_rows(state)) check_initial_rows(state, which);
    }
    for (std::size_t k = 0; k < options_.non_sequences.size(); ++k) {
      if (!options_.non_sequences[k]) {
        fail<ValueError>("non-sequence " + std::to_string(k) + " is empty");
      }
    }
    if (options_.truncate_gradient < -1) {
      fail<ValueError>("truncate_gradient is " + std::to_string(options_.truncate_gradient) +
                       ": expected a number of steps, or -1 for all");
    }
    if (options_.sequences.empty() && !options_.n_steps) {
      fail<ValueError>("there are neither sequences nor n_steps: nothing sets the number of steps");
    }
  }

  static int lags(const State& state) {
    return -*std::min_element(state.taps.begin(), state.taps.end());
  }
  static bool has_rows(const State& state) { return state.taps != std::vector<int>{-1}; }

  void check_initial_rows(const State& state, const std::string& which) const {
    if (state.initial.rank() == 0) {
      fail<ShapeError>(which +
                       ", is a scalar: with taps the initial value has one row for each of "
                       "the " +
                       std::to_string(lags(state)) + " earlier values");
    }
    const Dim& rows = state.initial.shape(0);
    if (rows.is_constant() && rows.constant() != lags(state)) {
      fail<ShapeError>(which + ", is " + to_string(state.initial.type()) +
                       ": with these taps the initial value has " + std::to_string(lags(state)) +
                       " rows");
    }
  }

  // How many steps a sequence gives, and the row of tap 0 in the first of them.
  static Dim length(const Sequence& sequence, int& first) {
    const auto [low, high] = std::minmax_element(sequence.taps.begin(), sequence.taps.end());
    first = -std::min(*low, 0);
    const int lost = first + std::max(*high, 0);
    const Dim& rows = sequence.rows.shape(0);
    return lost == 0 ? rows : maximum(rows - Dim(lost), 0);
  }

  void find_count() {
    std::optional<Dim> shortest;
    for (const Sequence& sequence : options_.sequences) {
      int first = 0;
      const Dim steps = length(sequence, first);
      shortest = shortest ? minimum(*shortest, steps) : steps;
    }
    if (!options_.n_steps) {
      loop_.count = *shortest;
      return;
    }
    const Steps& asked = *options_.n_steps;
    loop_.count = asked.tensor() ? count_of_steps(asked.tensor(), line_) : asked.dim();
    if (loop_.count.is_constant() && loop_.count.constant() < 0) {
      fail<ValueError>("n_steps is " + loop_.count.to_string());
    }
    if (shortest && shortest->is_constant() && loop_.count.is_constant() &&
        shortest->constant() < loop_.count.constant()) {
      fail<ShapeError>("the sequences give " + shortest->to_string() + " steps, n_steps is " +
                       loop_.count.to_string());
    }
  }

  Tensor parameter(const std::string& name, TensorType type) {
    arguments_.push_back(make_input(name, std::move(type), line_));
    return arguments_.back();
  }

  void add_sequences() {
    for (const Sequence& sequence : options_.sequences) {
      int first = 0;
      const Dim steps = length(sequence, first);
      TensorType type = sequence.rows.type();
      type.shape.erase(type.shape.begin());
      for (const int tap : sequence.taps) {
        const Dim ahead = first + tap;
        const Dim row = options_.go_backwards ? sequence.rows.shape(0) - Dim(1) - ahead : ahead;
        const Tensor value = parameter(
            sequence.rows.name() + (tap == 0 ? "" : "[" + std::to_string(tap) + "]"), type);
        loop_.rows.push_back({value, sequence.rows, row, options_.go_backwards ? -1 : 1});
      }
    }
  }

  // A state of which values further back are read is a row of states, each the one before.
  void add_states() {
    const LineScope scope(line_);
    for (const State& state : options_.outputs_info) {
      first_.push_back(loop_.states.size());
      if (!state.initial) continue;
      TensorType type = state.initial.type();
      Tensor rows;
      if (has_rows(state)) {
        // Of a free size: the call checks that it is this one.
        type.shape[0] = lags(state);
        rows = broadcast_to(state.initial, type.shape);
        type.shape.erase(type.shape.begin());
      }
      for (int lag = 1; lag <= lags(state); ++lag) {
        const std::string name =
            state_name(state) + (lag == 1 ? "" : "[-" + std::to_string(lag) + "]");
        const Tensor initial = rows ? rows[lags(state) - lag] : state.initial;
        loop_.states.push_back({make_input(name, type, line_), initial, {}});
      }
      for (const int tap : state.taps) {
        arguments_.push_back(
            loop_.states[first_.back() + static_cast<std::size_t>(-tap - 1)].parameter);
      }
    }
  }

  // That of the variable it starts from, or "state" and the number of its output.
  std::string state_name(const State& state) const {
    const OpRecord& op = state.initial.node().op;
    return &op == &input_op || &op == &shared_op
               ? state.initial.name()
               : "state" + std::to_string(&state - options_.outputs_info.data());
  }

  std::string describe_arguments() const {
    std::string text;
    for (const Tensor& argument : arguments_) {
      text += (text.empty() ? "" : ", ") + argument.name() + " " + to_string(argument.type());
    }
    return text;
  }

  void check_outputs(std::vector<Tensor>& outputs) {
    const auto& states = options_.outputs_info;
    if (outputs.empty()) fail<ValueError>("the step returns no outputs");
    if (!states.empty() && outputs.size() != states.size()) {
      fail<ValueError>("the step returns " + std::to_string(outputs.size()) +
                       " outputs, outputs_info has " + std::to_string(states.size()));
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!outputs[k]) fail<ValueError>("output " + std::to_string(k) + " of the step is empty");
      if (k >= states.size() || !states[k].initial) continue;
      LoopState& state = loop_.states[first_[k]];
      const TensorType& outside = state.parameter.type();
      const TensorType& inside = outputs[k].type();
      const std::string message = "state " + std::to_string(k) + ", " + state.parameter.name() +
                                  ", is " + to_string(outside) + " outside the loop and " +
                                  to_string(inside) + " inside it  [" +
                                  to_string(outputs[k].line()) + "]";
      if (inside.dtype != outside.dtype) fail<TypeError>(message);
      if (inside.rank() != outside.rank()) fail<ShapeError>(message);
      for (int axis = 0; axis < inside.rank(); ++axis) {
        const Dim difference = inside.shape[static_cast<std::size_t>(axis)] -
                               outside.shape[static_cast<std::size_t>(axis)];
        if (difference.is_constant() && !difference.is_constant(0)) fail<ShapeError>(message);
      }
      state.next = outputs[k];
      for (int lag = 2; lag <= lags(states[k]); ++lag) {
        const std::size_t at = first_[k] + static_cast<std::size_t>(lag - 1);
        loop_.states[at].next = loop_.states[at - 1].parameter;
      }
    }
  }

  void check_strict(const std::vector<Tensor>& outputs) const {
    std::vector<const Node*> allowed;
    for (const Tensor& argument : arguments_) allowed.push_back(&argument.node());
    // Down to the arguments only: what those are computed from is outside.
    std::vector<Tensor> pending = outputs;
    std::vector<const Node*> seen;
    while (!pending.empty()) {
      const Tensor tensor = pending.back();
      pending.pop_back();
      const Node* node = &tensor.node();
      if (std::find(allowed.begin(), allowed.end(), node) != allowed.end()) continue;
      if (std::find(seen.begin(), seen.end(), node) != seen.end()) continue;
      seen.push_back(node);
      if (&node->op == &input_op || &node->op == &shared_op) {
        fail<ValueError>("the step uses " + tensor.name() +
                         ", which is not among its arguments, and the loop is strict  [" +
                         to_string(tensor.line()) + "]");
      }
      pending.insert(pending.end(), node->inputs.begin(), node->inputs.end());
    }
  }

  std::vector<Tensor> results(const std::vector<Tensor>& outputs) {
    const LineScope scope(line_);
    std::vector<LoopResult> wanted;
    for (const Tensor& output : outputs) wanted.push_back({output, Collect::stack});
    std::vector<Tensor> stacks = make_loop(loop_, wanted);
    if (loop_.truncate >= 0) {
      for (Tensor& stack : stacks) stack = cut_off(stack);
    }
    return stacks;
  }

  // The gradient stops at the steps before the last ones, whether their work is done in the loop or
  // outside it.
  Tensor cut_off(const Tensor& stack) const {
    if (!is_float(stack.dtype())) return stack;
    const Dim first = maximum(loop_.count - Dim(loop_.truncate), 0);
    const Tensor before = lt(arange(loop_.count), size_of_dim(first));
    return where(ops::broadcast_axes(before, stack.shape(), {0}), stop_gradient(stack), stack);
  }

  const ScanOptions& options_;
  SourceLine line_;
  std::string name_;
  LoopDefinition loop_;
  std::vector<Tensor> arguments_;
  std::vector<std::size_t> first_;  // by output: where its states begin in loop_.states
};

}  // namespace

std::vector<Tensor> scan(const StepFunction& step, int arity, const ScanOptions& options,
                         SourceLine line) {
  return ScanBuilder(options, line).run(step, arity);
}

}  // namespace kroton::detail
