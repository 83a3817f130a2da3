#include "compiler/scan/checkpoint.h"

#include <kroton/ops.h>

#include <cmath>

#include "compiler/ir/leaf.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

// Some of the steps, with the values of the states after the last of them.
struct Part {
  std::vector<Tensor> stacks;  // by wanted result, empty for a last value
  std::vector<Tensor> states;
};

class Stretches {
 public:
  Stretches(const ScanDefinition& loop, std::span<const ScanResult> wanted)
      : loop_(loop), wanted_(wanted.begin(), wanted.end()) {
    const LineScope line(loop_.line);
    const ops::ScanScope speaking(loop_.name, loop_.count);
    for (ScanRows& row : loop_.rows) {
      row.all = rows_of(row.all, row.offset, row.stride, loop_.count);
      row.offset = 0;
      row.stride = 1;
    }
  }

  std::vector<Tensor> run(const Dim& every) {
    std::vector<Part> parts;
    Dim first = 0;
    std::vector<Tensor> states;
    for (const ScanState& state : loop_.states) states.push_back(state.initial);
    if (loop_.truncate >= 0) {
      // No gradient flows through the first steps, so that none keeps anything of them.
      first = maximum(loop_.count - Dim(loop_.truncate), 0);
      if (!first.is_constant(0)) {
        Part cut = in_one(0, first, states);
        for (std::size_t k = 0; k < states.size(); ++k)
          states[k] = cut_off(states[k], cut.states[k], first);
        for (Tensor& stack : cut.stacks) {
          if (stack) stack = stop_gradient(stack);
        }
        parts.push_back(std::move(cut));
      }
      loop_.truncate = -1;
    }
    const Dim stretches = floor_div(loop_.count - first, every);
    const Dim rest = loop_.count - first - stretches * every;
    if (!rest.is_constant(0)) {
      parts.push_back(in_one(first, rest, states));
      states = parts.back().states;
      first = first + rest;
    }
    if (!stretches.is_constant(0)) {
      parts.push_back(in_stretches(first, stretches, every, states));
      states = parts.back().states;
    }
    return joined(parts, states);
  }

 private:
  std::vector<ScanResult> all_results(const std::vector<ScanState>& states) const {
    std::vector<ScanResult> results;
    for (const ScanResult& wanted : wanted_) {
      if (wanted.collect == Collect::stack) results.push_back(wanted);
    }
    for (const ScanState& state : states) results.push_back({state.parameter, Collect::last});
    return results;
  }

  Part part_of(std::vector<Tensor> results) const {
    Part part;
    auto next = results.begin();
    for (const ScanResult& wanted : wanted_) {
      part.stacks.push_back(wanted.collect == Collect::stack ? *next++ : Tensor());
    }
    part.states.assign(next, results.end());
    return part;
  }

  Part in_one(const Dim& first, const Dim& count, const std::vector<Tensor>& initial) const {
    ScanDefinition loop = loop_;
    loop.count = count;
    for (ScanRows& row : loop.rows) row.offset = first;
    for (std::size_t k = 0; k < initial.size(); ++k) loop.states[k].initial = initial[k];
    return part_of(make_scan(loop, all_results(loop.states)));
  }

  Part in_stretches(const Dim& first, const Dim& stretches, const Dim& every,
                    const std::vector<Tensor>& initial) const {
    const LineScope line(loop_.line, "");
    ScanDefinition outer = loop_, inner = loop_;
    outer.count = stretches;
    outer.recomputes = true;
    inner.count = every;
    for (std::size_t k = 0; k < loop_.rows.size(); ++k) {
      const ScanRows& row = loop_.rows[k];
      Dims shape = row.all.shape();
      shape[0] = every;
      const Tensor stretch = make_input(row.parameter.name(), {row.all.dtype(), shape},
                                        row.parameter.line(), InputRole::row);
      const Tensor all = rows_of(row.all, first, 1, stretches * every);
      outer.rows[k] = {stretch, reshape(all, ops::with_rows(stretches, shape)), 0, 1};
      inner.rows[k] = {row.parameter, stretch, 0, 1};
    }
    for (std::size_t k = 0; k < loop_.states.size(); ++k) {
      const Tensor& parameter = loop_.states[k].parameter;
      outer.states[k].parameter =
          make_input(parameter.name(), parameter.type(), parameter.line(), InputRole::state);
      outer.states[k].initial = initial[k];
      inner.states[k].initial = outer.states[k].parameter;
    }
    const Part stretch = part_of(make_scan(inner, all_results(inner.states)));
    std::vector<ScanResult> results;
    for (const Tensor& stack : stretch.stacks) {
      if (stack) results.push_back({stack, Collect::stack});
    }
    for (std::size_t k = 0; k < outer.states.size(); ++k) {
      outer.states[k].next = stretch.states[k];
      results.push_back({outer.states[k].parameter, Collect::last});
    }
    Part part = part_of(make_scan(outer, results));
    for (Tensor& stack : part.stacks) {
      if (!stack) continue;
      Dims shape(stack.shape().begin() + 1, stack.shape().end());
      shape[0] = stretches * every;
      stack = reshape(stack, shape);
    }
    return part;
  }

  // A state after steps that the gradient does not flow through; where there are none, it does.
  Tensor cut_off(const Tensor& before, const Tensor& after, const Dim& steps) const {
    const LineScope line(loop_.line, "");
    if (!is_float(after.dtype())) return after;
    if (steps.is_constant()) return stop_gradient(after);
    const Tensor none = eq(size_of_dim(steps), 0);
    return where(broadcast_to(none, after.shape()), before, stop_gradient(after));
  }

  std::vector<Tensor> joined(const std::vector<Part>& parts,
                             const std::vector<Tensor>& states) const {
    const LineScope line(loop_.line, "");
    std::vector<Tensor> results;
    for (std::size_t k = 0; k < wanted_.size(); ++k) {
      if (wanted_[k].collect == Collect::last) {
        results.push_back(states[state_of(wanted_[k].expression)]);
        continue;
      }
      std::vector<Tensor> stacks;
      for (const Part& part : parts) stacks.push_back(part.stacks[k]);
      results.push_back(stacks.size() == 1 ? stacks.front() : concatenate(stacks));
    }
    return results;
  }

  std::size_t state_of(const Tensor& parameter) const {
    for (std::size_t k = 0; k < loop_.states.size(); ++k) {
      if (same(loop_.states[k].parameter, parameter)) return k;
    }
    throw InternalError("make_scan_in_stretches: the last value of something that is no state");
  }

  ScanDefinition loop_;
  std::vector<ScanResult> wanted_;
};

}  // namespace

std::vector<Tensor> make_scan_in_stretches(const ScanDefinition& loop,
                                           std::span<const ScanResult> wanted, const Dim& every) {
  if (loop.count.is_constant() && every.is_constant() &&
      loop.count.constant() <= every.constant()) {
    return make_scan(loop, wanted);
  }
  return Stretches(loop, wanted).run(every);
}

Dim about_sqrt(const Dim& count) {
  if (count.is_constant()) {
    const double root = std::sqrt(static_cast<double>(count.constant()));
    return Dim(std::max<std::int64_t>(1, static_cast<std::int64_t>(root)));
  }
  Dim root = 1;
  for (std::int64_t power = 2; power <= std::int64_t{1} << 20; power *= 2) {
    root = maximum(root, minimum(Dim(power), floor_div(count, Dim(power))));
  }
  return root;
}

}  // namespace kroton
