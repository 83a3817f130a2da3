#include "tests/tools/sample_tools.h"

#include <doctest/doctest.h>
#include <kroton/grad.h>

#include <cmath>
#include <map>

#include "compiler/ops/samples.h"

using namespace op_test;  // NOLINT: tests

namespace compiled_test {
namespace {

// Elementary functions are within 2 ulp themselves; what is composed of several, or adds many
// values up, rounds more often; a series or a continued fraction of hundreds of operations, for
// which the reference has another one, does a hundred times.
Tolerance tolerance_of(const OpRecord& op) {
  if (op.cost >= 500) return {1e-6, 1e-13};
  const bool one_rounding = op.has_points() && op.cost <= 1;
  return one_rounding ? Tolerance{2e-7, 4e-16} : Tolerance{1e-6, 1e-14};
}

// Trials of one expression, but for their values and, where those are free, their sizes.
using Alike = std::vector<const Trial*>;

std::vector<Alike> alike(const std::vector<const Trial*>& trials) {
  std::vector<Alike> groups;
  std::map<std::string, std::size_t> group_of;
  for (const Trial* trial : trials) {
    // What has more to it than its text is like no other.
    const std::vector<Tensor> nodes = topological_order(trial->outputs);
    const bool is_its_text = std::none_of(nodes.begin(), nodes.end(), [](const Tensor& t) {
      const Attributes& attributes = t.node().attributes;
      return attributes.state || attributes.array || attributes.body || attributes.callee;
    });
    const std::string text =
        is_its_text ? describe(trial->outputs) : "#" + std::to_string(groups.size());
    const std::size_t at = group_of.try_emplace(text, groups.size()).first->second;
    if (at == groups.size()) groups.emplace_back();
    groups[at].push_back(trial);
  }
  return groups;
}

// The groups as one function, called until each trial has been an argument. What is wrong.
std::string run(std::span<const Alike> groups, const Target& target) {
  std::vector<Tensor> inputs, outputs;
  std::size_t calls = 0;
  for (const Alike& group : groups) {
    const Trial& first = *group.front();
    inputs.insert(inputs.end(), first.sample.inputs.begin(), first.sample.inputs.end());
    outputs.insert(outputs.end(), first.outputs.begin(), first.outputs.end());
    calls = std::max(calls, group.size());
  }
  const auto f =
      function(inputs, outputs, {.target = target, .on_unused_input = UnusedInput::ignore});
  std::string failures;
  for (std::size_t call = 0; call < calls; ++call) {
    std::vector<const Trial*> trials;
    std::vector<Argument> arguments;
    for (const Alike& group : groups) {
      const Trial& trial = *trials.emplace_back(group[std::min(call, group.size() - 1)]);
      for (const Tensor& input : trial.sample.inputs) {
        arguments.emplace_back(to_array(trial.sample.bindings.at(&input.node())));
      }
    }
    std::vector<Array> results;
    const std::string flags = flags_of([&] { results = f.call(arguments); });
    if (!flags.empty() && target.kind == Target::Kind::cpu &&
        std::all_of(trials.begin(), trials.end(), [](const Trial* t) { return is_finite(*t); })) {
      failures += "raised:" + flags + (trials.size() == 1 ? ": " + trials[0]->name : "") + "\n";
    }
    auto have = results.begin();
    for (std::size_t k = 0; k < groups.size(); ++k) {
      const Trial& trial = *trials[k];
      const std::vector<ReferenceValue> want = evaluate(trial.outputs, trial.sample.bindings);
      for (std::size_t output = 0; output < want.size(); ++output, ++have) {
        const std::string different = difference(want[output], *have, trial.tolerance);
        if (different.empty()) continue;
        failures +=
            trial.name + ": " + different + "\n" + describe(std::span(&trial.outputs[output], 1));
      }
    }
  }
  return failures;
}

// As one function; if that fails, one by one.
void check_together(std::span<const Alike> groups, const Target& target) {
  std::string failures;
  try {
    failures = run(groups, target);
  } catch (const Error& error) {
    failures = error.what();
  }
  CHECK(failures == "");
  if (failures.empty()) return;
  for (const Alike& group : groups) {
    for (const Trial* trial : group) {
      const Alike alone{trial};
      try {
        CHECK(run(std::span(&alone, 1), target) == "");
      } catch (const Error& error) {
        FAIL_CHECK(trial->name << ": " << error.what() << "\n" << describe(trial->outputs));
      }
    }
  }
}

std::vector<Tensor> floating(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) {
    if (is_float(tensor.dtype())) result.push_back(tensor);
  }
  return result;
}

std::string name_of_sample(const OpRecord& op, int number) {
  return std::string(op.name) + ", sample " + std::to_string(number);
}

}  // namespace

std::vector<Trial> value_trials(const OpRecord& op, bool free_sizes) {
  std::vector<Trial> trials;
  for (const Sample& sample : op.samples()) {
    Trial trial{name_of_sample(op, static_cast<int>(trials.size())),
                make_case(sample, free_sizes),
                {},
                tolerance_of(op)};
    trial.outputs = {trial.sample.output};
    trials.push_back(std::move(trial));
  }
  return trials;
}

std::vector<Trial> gradient_trials(const OpRecord& op, bool free_sizes) {
  std::vector<Trial> trials;
  int number = -1;
  for (const Sample& sample : op.samples()) {
    ++number;
    Trial trial{name_of_sample(op, number), make_case(sample, free_sizes), {}, {4e-6, 1e-13}};
    const std::vector<Tensor> wrt = floating(trial.sample.inputs);
    if (!sample.differentiable || !is_float(trial.sample.output.dtype()) || wrt.empty()) continue;
    // A cost that depends on every element with a weight of its own. The weights are an input, so
    // that they fix no free size.
    Case& c = trial.sample;
    const ReferenceValue value = value_of(c.output, c.bindings);
    const Tensor weights = tensor("weights", c.output.shape(), c.output.dtype());
    c.inputs.push_back(weights);
    c.bindings[&weights.node()] = ops::spread(value.dtype, value.shape, 0.5, 1.5, 3);
    trial.outputs = grad(sum(c.output * weights), wrt, {.allow_unused = true});
    trials.push_back(std::move(trial));
  }
  return trials;
}

bool is_finite(const Trial& trial) {
  const auto finite = [](const ReferenceValue& value) {
    return std::all_of(value.data.begin(), value.data.end(),
                       [](double x) { return std::isfinite(x) && std::abs(x) < 1e30; });
  };
  for (const auto& [input, value] : trial.sample.bindings) {
    if (!finite(value)) return false;
  }
  const std::vector<ReferenceValue> values = evaluate(trial.outputs, trial.sample.bindings);
  return std::all_of(values.begin(), values.end(), finite);
}

std::vector<Trial> every_third(const std::vector<Trial>& trials) {
  std::vector<Trial> some;
  for (std::size_t k = 0; k < trials.size(); k += 3) some.push_back(trials[k]);
  return some;
}

std::vector<Trial> at_most(const std::vector<Trial>& trials, std::size_t most) {
  // An odd stride: samples come in groups of even numbers of dtypes and shapes.
  const std::size_t stride = trials.size() <= most ? 1 : (trials.size() + most - 1) / most | 1;
  std::vector<Trial> some;
  for (std::size_t k = 0; k < trials.size(); k += stride) some.push_back(trials[k]);
  return some;
}

void check_trials(const std::vector<Trial>& trials, const Target& target) {
  std::vector<const Trial*> fine, others;
  for (const Trial& trial : trials) (is_finite(trial) ? fine : others).push_back(&trial);
  for (const std::vector<const Trial*>* some : {&fine, &others}) {
    const std::vector<Alike> groups = alike(*some);
    // LLVM's time grows faster than the number of outputs; a compiler for kernels takes long to
    // begin.
    const std::size_t most = target.kind == Target::Kind::cpu ? 8 : groups.size();
    for (std::size_t k = 0; k < groups.size(); k += most) {
      check_together(std::span(groups).subspan(k, std::min(most, groups.size() - k)), target);
    }
  }
}

}  // namespace compiled_test
