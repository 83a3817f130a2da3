#include <kroton/error.h>
#include <kroton/scan.h>

#include <algorithm>
#include <map>

#include "compiler/ir/leaf.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/weak.h"
#include "compiler/ops/with_update.h"
#include "compiler/scan/checkpoint.h"
#include "compiler/scan/scan.h"
#include "compiler/scan/steps.h"

namespace kroton::detail {
namespace {

class ScanBuilder {
 public:
  ScanBuilder(const ScanOptions& options, SourceLine line, bool ends = false)
      : options_(options),
        line_(line),
        ends_(ends),
        name_(options.name.empty() ? "scan" : "scan " + options.name) {}

  std::vector<Tensor> stacks(const StepFunction& step, int arity) {
    return stacks(step_outputs(step, arity));
  }

  std::vector<Tensor> last(const StepFunction& step, int arity) {
    const std::vector<Tensor> outputs = step_outputs(step, arity);
    const LineScope scope(line_, "");
    std::vector<ScanResult> wanted;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (k >= options_.outputs_info.size() || !options_.outputs_info[k].is_read_back) {
        fail<ValueError>("a fold starts from an initial value: output " + std::to_string(k) +
                         " has none");
      }
      wanted.push_back({loop_.states[first_[k]].parameter, Collect::last});
    }
    return made(wanted);
  }

 private:
  std::vector<Tensor> step_outputs(const StepFunction& step, int arity) {
    check_options();
    loop_.truncate = options_.truncate_gradient;
    loop_.name = name_;
    loop_.line = line_;
    find_count();
    std::vector<Tensor> outputs = call(step, arity);
    if (adapt_initial_values(outputs)) outputs = call(step, arity);
    check_outputs(outputs);
    thread_updates(outputs);
    if (ends_) keep_after_end(outputs);
    if (options_.strict) check_strict(outputs);
    return outputs;
  }

  // What the step makes of new arguments.
  std::vector<Tensor> call(const StepFunction& step, int arity) {
    scope_.reset();
    arguments_.clear();
    first_.clear();
    loop_.rows.clear();
    loop_.states.clear();
    add_sequences();
    add_states();
    for (const Tensor& tensor : options_.non_sequences) arguments_.push_back(tensor);
    if (arity >= 0 && arity != static_cast<int>(arguments_.size())) {
      fail<ValueError>("the step takes " + std::to_string(arity) + " arguments, it gets " +
                       std::to_string(arguments_.size()) + ": " + describe_arguments());
    }
    scope_.emplace(name_, line_, state_types(), loop_.count);
    last_update_ = last_update();
    std::vector<Operand> returned = step(arguments_);
    if (ends_) {
      end_ = condition(returned.back());
      returned.pop_back();
    }
    std::vector<Tensor> outputs = tensors(returned);
    if (scope_->has_number()) {
      const LineScope scope(line_, "");
      loop_.rows.push_back({scope_->number(), arange(loop_.count)});
    }
    return outputs;
  }

  // A literal that a state starts from takes the dtype of what the step gives, as one takes that of
  // the tensor it meets. Whether there is such a state: the step is to be built with it.
  bool adapt_initial_values(const std::vector<Tensor>& outputs) {
    bool adapts = false;
    for (std::size_t k = 0; k < options_.outputs_info.size(); ++k) {
      const State& state = options_.outputs_info[k];
      const DType dtype = outputs[k].dtype();
      if (!state.is_read_back || !state.initial.node().weak || dtype == state.initial.dtype() ||
          !is_float(dtype)) {
        continue;
      }
      initial_values_[k] = ops::converted(state.initial, {dtype, false});
      adapts = true;
    }
    return adapts;
  }

  const Tensor& initial_of(const State& state) const {
    const auto adapted =
        initial_values_.find(static_cast<std::size_t>(&state - options_.outputs_info.data()));
    return adapted == initial_values_.end() ? state.initial : adapted->second;
  }

  template <class E>
  [[noreturn]] void fail(const std::string& what) const {
    throw E(name_ + ": " + what + "  [" + to_string(line_) + "]");
  }

  void check_options() const {
    for (std::size_t k = 0; k < options_.sequences.size(); ++k) {
      const Sequence& sequence = options_.sequences[k];
      const std::string which = "sequence " + std::to_string(k);
      if (!sequence.rows) fail<ValueError>(which + " is an empty Tensor");
      if (sequence.rows.rank() == 0) {
        fail<ShapeError>(which + ", " + sequence.rows.name() + ", is " +
                         to_string(sequence.rows.type()) + ": it has no axis to take rows of");
      }
      if (sequence.taps.empty()) fail<ValueError>(which + " has no taps");
    }
    for (std::size_t k = 0; k < options_.outputs_info.size(); ++k) {
      const State& state = options_.outputs_info[k];
      if (!state.is_read_back) continue;
      if (!state.initial) {
        fail<ValueError>("the initial value of state " + std::to_string(k) + " is an empty Tensor");
      }
      const std::string which = "state " + std::to_string(k) + ", " + state.initial.name();
      if (state.taps.empty()) fail<ValueError>(which + ", has no taps");
      for (const int tap : state.taps) {
        if (tap >= 0) {
          fail<ValueError>(which + ", has the tap " + std::to_string(tap) +
                           ": expected earlier values, -1 for the one before");
        }
        if (tap < -most_lags) {
          fail<ValueError>(which + ", has the tap " + std::to_string(tap) + ": a step reads the " +
                           std::to_string(most_lags) + " values before it at most");
        }
      }
      if (has_rows(state)) check_initial_rows(state, which);
    }
    for (std::size_t k = 0; k < options_.non_sequences.size(); ++k) {
      if (!options_.non_sequences[k]) {
        fail<ValueError>("non-sequence " + std::to_string(k) + " is an empty Tensor");
      }
    }
    if (options_.truncate_gradient < -1) {
      fail<ValueError>("truncate_gradient is " + std::to_string(options_.truncate_gradient) +
                       ": expected a number of steps, or -1 for all");
    }
    if (options_.checkpoint_every < 0) {
      fail<ValueError>("checkpoint_every is " + std::to_string(options_.checkpoint_every) +
                       ": expected a number of steps, or 0");
    }
    if (options_.checkpoint_every != 0 && options_.checkpoint != Checkpoints::all) {
      fail<ValueError>(
          "there are both checkpoint_every and checkpoint: one of them says which "
          "states the gradient keeps");
    }
    if (options_.sequences.empty() && !options_.n_steps) {
      fail<ValueError>("there are neither sequences nor n_steps: nothing sets the number of steps");
    }
  }

  // Each value that is kept is a state of the loop.
  static constexpr int most_lags = 10000;
  static std::int64_t lags(const State& state) {
    return -std::int64_t{*std::min_element(state.taps.begin(), state.taps.end())};
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
  static Dim length(const Sequence& sequence, std::int64_t& first) {
    const auto [low, high] = std::minmax_element(sequence.taps.begin(), sequence.taps.end());
    first = -std::int64_t{std::min(*low, 0)};
    const std::int64_t lost = first + std::max(*high, 0);
    const Dim& rows = sequence.rows.shape(0);
    return lost == 0 ? rows : maximum(rows - Dim(lost), 0);
  }

  void find_count() {
    std::optional<Dim> shortest;
    for (const Sequence& sequence : options_.sequences) {
      std::int64_t first = 0;
      const Dim steps = length(sequence, first);
      shortest = shortest ? minimum(*shortest, steps) : steps;
    }
    if (!options_.n_steps) {
      loop_.count = *shortest;
      return;
    }
    const Steps& asked = *options_.n_steps;
    if (asked.is_tensor() && !asked.tensor()) fail<ValueError>("n_steps is an empty Tensor");
    loop_.count = asked.is_tensor() ? count_of_steps(asked.tensor(), line_) : asked.dim();
    if (loop_.count.is_constant() && loop_.count.constant() < 0) {
      fail<ValueError>("n_steps is " + loop_.count.to_string());
    }
    if (shortest && shortest->is_constant() && loop_.count.is_constant() &&
        shortest->constant() < loop_.count.constant()) {
      fail<ShapeError>("the sequences give " + shortest->to_string() + " steps, n_steps is " +
                       loop_.count.to_string());
    }
  }

  Tensor row(const std::string& name, TensorType type) {
    arguments_.push_back(make_input(name, std::move(type), line_, InputRole::row));
    return arguments_.back();
  }

  void add_sequences() {
    for (const Sequence& sequence : options_.sequences) {
      std::int64_t first = 0;
      const Dim steps = length(sequence, first);
      TensorType type = sequence.rows.type();
      type.shape.erase(type.shape.begin());
      for (const int tap : sequence.taps) {
        const Dim ahead = first + tap;
        const Dim first_row =
            options_.go_backwards ? sequence.rows.shape(0) - Dim(1) - ahead : ahead;
        const Tensor value =
            row(sequence.rows.name() + (tap == 0 ? "" : "[" + std::to_string(tap) + "]"), type);
        loop_.rows.push_back({value, sequence.rows, first_row, options_.go_backwards ? -1 : 1});
      }
    }
  }

  // A state of which values further back are read is a row of states, each the one before.
  void add_states() {
    const LineScope scope(line_, "");
    for (const State& state : options_.outputs_info) {
      first_.push_back(loop_.states.size());
      if (!state.is_read_back) continue;
      const Tensor& start = initial_of(state);
      TensorType type = start.type();
      Tensor rows;
      if (has_rows(state)) {
        // Of a free size: the call checks that it is this one.
        type.shape[0] = lags(state);
        rows = broadcast_to(start, type.shape);
        type.shape.erase(type.shape.begin());
      }
      for (std::int64_t lag = 1; lag <= lags(state); ++lag) {
        const std::string name =
            state_name(state) + (lag == 1 ? "" : "[-" + std::to_string(lag) + "]");
        const Tensor initial = rows ? rows[lags(state) - lag] : start;
        loop_.states.push_back({make_input(name, type, line_, InputRole::state), initial, {}});
      }
      for (const int tap : state.taps) {
        arguments_.push_back(
            loop_.states[first_.back() + static_cast<std::size_t>(-(tap + 1))].parameter);
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

  std::vector<StepScope::State> state_types() const {
    std::vector<StepScope::State> result;
    for (std::size_t k = 0; k < options_.outputs_info.size(); ++k) {
      if (!options_.outputs_info[k].is_read_back) continue;
      const Tensor& parameter = loop_.states[first_[k]].parameter;
      result.push_back(
          {"state " + std::to_string(k) + ", " + parameter.name() + ",", parameter.type()});
    }
    return result;
  }

  // What the step has returned; a number takes the dtype of its state.
  std::vector<Tensor> tensors(const std::vector<Operand>& outputs) const {
    const auto& states = options_.outputs_info;
    if (outputs.empty()) fail<ValueError>("the step returns no outputs");
    if (!states.empty() && outputs.size() != states.size()) {
      fail<ValueError>("the step returns " + std::to_string(outputs.size()) +
                       " outputs, outputs_info has " + std::to_string(states.size()));
    }
    std::vector<Tensor> result;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (outputs[k].is_empty()) {
        fail<ValueError>("output " + std::to_string(k) + " of the step is an empty Tensor");
      }
      const bool is_state = k < states.size() && states[k].is_read_back;
      result.push_back(is_state ? outputs[k].tensor(initial_of(states[k]).dtype())
                                : outputs[k].tensor());
    }
    return result;
  }

  void check_outputs(const std::vector<Tensor>& outputs) {
    const auto& states = options_.outputs_info;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (k >= states.size() || !states[k].is_read_back) continue;
      ScanState& state = loop_.states[first_[k]];
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

  // The condition of until().
  Tensor condition(const Operand& given) const {
    if (given.is_empty()) fail<ValueError>("the condition of until is an empty Tensor");
    const Tensor result = given.tensor();
    const std::string what = "the condition of until is " + to_string(result.type()) +
                             ", expected a boolean scalar  [" + to_string(result.line()) + "]";
    if (result.dtype() != DType::boolean) fail<TypeError>(what);
    if (result.rank() != 0) fail<ShapeError>(what);
    return result;
  }

  // Once the condition has held, every state and every output stays what it is; what it would be is
  // on the side of a branch that is not taken.
  void keep_after_end(std::vector<Tensor>& outputs) {
    const LineScope scope(line_, "");
    const Tensor ended = make_input("ended", {DType::boolean, {}}, line_, InputRole::state);
    const auto kept = [&](const Tensor& old, const Tensor& next) {
      return ifelse(ended, old, next);
    };
    for (ScanState& state : loop_.states) state.next = kept(state.parameter, state.next);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const bool is_state =
          k < options_.outputs_info.size() && options_.outputs_info[k].is_read_back;
      if (is_state) {
        outputs[k] = loop_.states[first_[k]].next;
        continue;
      }
      const Tensor old =
          make_input("kept" + std::to_string(k), outputs[k].type(), line_, InputRole::state);
      outputs[k] = kept(old, outputs[k]);
      loop_.states.push_back({old, zeros(old.shape(), old.dtype()), outputs[k]});
    }
    loop_.states.push_back({ended, full({}, Operand(false)), ifelse(ended, ended, end_)});
  }

  void check_strict(const std::vector<Tensor>& outputs) const {
    std::vector<const Node*> allowed;
    for (const Tensor& argument : arguments_) allowed.push_back(&argument.node());
    for (const ScanRows& row : loop_.rows) allowed.push_back(&row.parameter.node());
    for (const ScanState& state : loop_.states) allowed.push_back(&state.parameter.node());
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
      const bool is_stream = node->attributes.state && node->attributes.state->counts_calls;
      if (&node->op == &input_op || (&node->op == &shared_op && !is_stream)) {
        fail<ValueError>("the step uses " + tensor.name() +
                         ", which is not among its arguments, and the loop is strict  [" +
                         to_string(tensor.line()) + "]");
      }
      pending.insert(pending.end(), node->inputs.begin(), node->inputs.end());
    }
  }

  std::vector<Tensor> stacks(const std::vector<Tensor>& outputs) {
    const LineScope scope(line_, "");
    std::vector<ScanResult> wanted;
    const std::vector<bool> unread = unread_states(outputs);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      wanted.push_back({unread[k] ? of_its_state(k, outputs[k]) : outputs[k], Collect::stack});
    }
    return made(wanted);
  }

  std::vector<Tensor> made(std::vector<ScanResult> wanted) {
    const std::size_t outputs = wanted.size();
    for (const Updated& updated : updated_) wanted.push_back({updated.running, Collect::last});
    std::vector<Tensor> result;
    if (options_.checkpoint_every != 0) {
      result = make_scan_in_stretches(loop_, wanted, Dim(options_.checkpoint_every));
    } else if (options_.checkpoint == Checkpoints::sqrt) {
      result = make_scan_in_stretches(loop_, wanted, about_sqrt(loop_.count));
    } else {
      result = make_scan(loop_, wanted);
      for (std::size_t k = 0; k < outputs && loop_.truncate >= 0; ++k) {
        if (wanted[k].collect == Collect::stack) result[k] = cut_off(result[k]);
      }
    }
    for (std::size_t n = 0; n < updated_.size(); ++n) {
      const std::uint64_t number = new_update();
      for (std::size_t k = 0; k < outputs; ++k) {
        result[k] = carrying(result[k], updated_[n].variable, result[outputs + n], number);
      }
    }
    result.resize(outputs);
    return result;
  }

  // A shared variable that the step updates is a state: it begins with the variable's value, steps
  // read what the one before has given, and the last one gives the update that the outputs carry.
  void thread_updates(std::vector<Tensor>& outputs) {
    if (ends_) outputs.push_back(end_);
    const std::map<std::uint64_t, Tensor> updates = updates_since(outputs, last_update_);
    const auto of = [&](const Tensor& read) {
      return std::find_if(updated_.begin(), updated_.end(), [&](const Updated& updated) {
        const auto& state = read.node().attributes.state;
        return state && state == updated.variable.node().attributes.state;
      });
    };
    const auto plain = [&](std::vector<Tensor> roots) {
      for (bool more = true; more;) {  // what is replaced is not looked into
        more = false;
        roots = substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
          const Node& node = t.node();
          if (!node.op.carries_update || !updates.contains(node.attributes.identity)) {
            return std::nullopt;
          }
          more = true;
          return node.inputs[0];
        });
      }
      return roots;
    };
    updated_.clear();
    for (const auto& [number, value] : updates) {
      const Tensor& variable = value.node().inputs[1];
      if (of(variable) != updated_.end()) continue;
      const Tensor parameter =
          make_input(variable.name(), variable.type(), line_, InputRole::state);
      updated_.push_back({variable, parameter, parameter});
    }
    // One after the other: each changes what the one before gives.
    for (const auto& [number, value] : updates) {
      const Node& node = value.node();
      const auto own = of(node.inputs[1]);
      own->next =
          substitute(plain({node.inputs[2]}), [&](const Tensor& t) -> std::optional<Tensor> {
            const auto read = of(t);
            if (read == updated_.end()) return std::nullopt;
            return read == own ? read->next : read->running;
          })[0];
    }
    const auto of_step = [&](const std::vector<Tensor>& roots) {
      return substitute(plain(roots), [&](const Tensor& t) -> std::optional<Tensor> {
        const auto read = of(t);
        return read == updated_.end() ? std::nullopt : std::optional(read->running);
      });
    };
    if (!updated_.empty()) {
      outputs = of_step(outputs);
      for (std::size_t k = 0; k < options_.outputs_info.size(); ++k) {
        if (options_.outputs_info[k].is_read_back) loop_.states[first_[k]].next = outputs[k];
      }
      for (const Updated& updated : updated_) {
        loop_.states.push_back({updated.running, updated.variable, updated.next});
      }
    }
    if (ends_) {
      end_ = outputs.back();
      outputs.pop_back();
    }
  }

  // By output: whether it is a state that no step reads. Such a one takes no part in the loop,
  // which would check its type.
  std::vector<bool> unread_states(const std::vector<Tensor>& outputs) const {
    const std::vector<Tensor> order = topological_order(outputs);
    std::vector<bool> result(outputs.size(), false);
    for (std::size_t k = 0; k < first_.size(); ++k) {
      const State& state = options_.outputs_info[k];
      if (!state.is_read_back) continue;
      result[k] = std::none_of(order.begin(), order.end(), [&](const Tensor& tensor) {
        for (int lag = 0; lag < lags(state); ++lag) {
          if (same(tensor, loop_.states[first_[k] + static_cast<std::size_t>(lag)].parameter)) {
            return true;
          }
        }
        return false;
      });
    }
    return result;
  }

  // The output at the type of its state: where sizes are free, the call checks them.
  Tensor of_its_state(std::size_t k, const Tensor& output) const {
    const Dims& shape = loop_.states[first_[k]].parameter.shape();
    for (const Dim& size : output.shape()) {
      if (size.is_constant(1)) return reshape(output, shape);  // which a broadcast would repeat
    }
    return ops::broadcast_axes(output, shape, ops::axes_from(0, output.rank()));
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
  bool ends_;   // the step says when it was the last
  Tensor end_;  // what it says
  std::string name_;
  ScanDefinition loop_;
  std::vector<Tensor> arguments_;
  std::map<std::size_t, Tensor> initial_values_;  // by output, where a literal takes its dtype
  std::vector<std::size_t> first_;  // by output: where its states begin in loop_.states
  std::optional<StepScope> scope_;  // from the step on
  std::uint64_t last_update_ = 0;   // before the step was called
  struct Updated {
    Tensor variable;
    Tensor running;  // its value before a step
    Tensor next;
  };
  std::vector<Updated> updated_;
};

}  // namespace

std::vector<Tensor> scan(const StepFunction& step, int arity, const ScanOptions& options,
                         SourceLine line, bool ends) {
  return ScanBuilder(options, line, ends).stacks(step, arity);
}

std::vector<Tensor> fold(const StepFunction& step, int arity, const ScanOptions& options,
                         SourceLine line, bool ends) {
  return ScanBuilder(options, line, ends).last(step, arity);
}

}  // namespace kroton::detail
