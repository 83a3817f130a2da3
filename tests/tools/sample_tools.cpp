#include "tests/tools/sample_tools.h"

#include <doctest/doctest.h>
#include <kroton/grad.h>

#include <cmath>

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

std::string run(std::span<const Trial> trials, const Target& target) {
  Problem problem;
  for (const Trial& trial : trials) {
    for (const Tensor& input : trial.sample.inputs) {
      problem.inputs.push_back(input);
      problem.values.push_back(to_array(trial.sample.bindings.at(&input.node())));
    }
    problem.outputs.insert(problem.outputs.end(), trial.outputs.begin(), trial.outputs.end());
  }
  const std::vector<ReferenceValue> want = expected(problem);
  std::string flags, failures;
  const std::vector<Array> have = compiled(problem, target, &flags);
  if (!flags.empty() && target.kind == Target::Kind::cpu &&
      std::all_of(trials.begin(), trials.end(), is_finite)) {
    failures += "raised:" + flags + (trials.size() == 1 ? ": " + trials[0].name : "") + "\n";
  }
  std::size_t next = 0;
  for (const Trial& trial : trials) {
    for (const Tensor& output : trial.outputs) {
      const std::string different = difference(want[next], have[next], trial.tolerance);
      ++next;
      if (different.empty()) continue;
      failures += trial.name + ": " + different + "\n" + describe(std::span(&output, 1));
    }
  }
  return failures;
}

// As one function; if that fails, one by one.
void check_together(const std::vector<Trial>& trials, const Target& target) {
  std::string failures;
  try {
    failures = run(trials, target);
  } catch (const Error& error) {
    failures = error.what();
  }
  CHECK(failures == "");
  if (failures.empty()) return;
  for (const Trial& trial : trials) {
    try {
      CHECK(run(std::span(&trial, 1), target) == "");
    } catch (const Error& error) {
      FAIL_CHECK(trial.name << ": " << error.what() << "\n" << describe(trial.outputs));
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
  std::vector<Trial> fine, others;
  for (const Trial& trial : trials) (is_finite(trial) ? fine : others).push_back(trial);
  // LLVM's time grows faster than the number of outputs; a compiler for kernels takes long to
  // begin.
  const std::size_t most = target.kind == Target::Kind::cpu ? 8 : trials.size();
  for (const std::vector<Trial>* some : {&fine, &others}) {
    for (std::size_t k = 0; k < some->size(); k += most) {
      const auto first = some->begin() + static_cast<std::ptrdiff_t>(k);
      check_together({first, first + static_cast<std::ptrdiff_t>(std::min(most, some->size() - k))},
                     target);
    }
  }
}

}  // namespace compiled_test
