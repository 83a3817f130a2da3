// Every op's samples, compiled for this machine, against the reference interpreter.
#include <doctest/doctest.h>
#include <kroton/grad.h>

#include <algorithm>
#include <functional>

#include "tests/backend/backend_tools.h"
#include "tests/compiler/op_tools.h"

using namespace op_test;       // NOLINT: tests
using namespace backend_test;  // NOLINT: tests

namespace {

// One sample, and what is computed of it.
struct Trial {
  int number = 0;
  Case sample;
  std::vector<Tensor> outputs;
};

// Elementary functions are within 2 ulp themselves; what is composed of several, or adds many
// values up, rounds more often.
Tolerance tolerance_of(const OpRecord& op) {
  const bool one_rounding = op.kind == OpKind::pointwise && op.cost <= 1;
  return one_rounding ? Tolerance{2e-7, 4e-16} : Tolerance{1e-6, 1e-14};
}

std::string run(std::span<const Trial> trials, const Tolerance& tolerance) {
  Problem problem;
  Bindings bindings;
  for (const Trial& trial : trials) {
    for (const Tensor& input : trial.sample.inputs) {
      problem.inputs.push_back(input);
      problem.values.push_back(to_array(trial.sample.bindings.at(&input.node())));
    }
    problem.outputs.insert(problem.outputs.end(), trial.outputs.begin(), trial.outputs.end());
  }
  const std::vector<ReferenceValue> want = expected(problem);
  const std::vector<Array> have = compiled(problem);
  std::string failures;
  std::size_t next = 0;
  for (const Trial& trial : trials) {
    for (const Tensor& output : trial.outputs) {
      const std::string different = difference(want[next], have[next], tolerance);
      ++next;
      if (different.empty()) continue;
      failures += "sample " + std::to_string(trial.number) + ": " + different + "\n" +
                  describe(std::span(&output, 1));
    }
  }
  return failures;
}

// Compiles all trials as one function, which is quicker than one for each; where that throws, one
// for each, to tell which.
void check(const std::vector<Trial>& trials, const Tolerance& tolerance) {
  try {
    CHECK(run(trials, tolerance) == "");
    return;
  } catch (const Error& error) {
    FAIL_CHECK(error.what());
  }
  for (const Trial& trial : trials) {
    CAPTURE(trial.number);
    try {
      CHECK(run(std::span(&trial, 1), tolerance) == "");
    } catch (const Error& error) {
      FAIL_CHECK(error.what() << "\n" << describe(trial.outputs));
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

void check_values(const OpRecord& op, bool free_sizes) {
  std::vector<Trial> trials;
  for (const Sample& sample : op.samples()) {
    Trial trial{static_cast<int>(trials.size()), make_case(sample, free_sizes), {}};
    trial.outputs = {trial.sample.output};
    trials.push_back(std::move(trial));
  }
  REQUIRE(!trials.empty());
  check(trials, tolerance_of(op));
}

void check_gradients(const OpRecord& op, bool free_sizes) {
  std::vector<Trial> trials;
  int number = -1;
  for (const Sample& sample : op.samples()) {
    ++number;
    Trial trial{number, make_case(sample, free_sizes), {}};
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
  if (!trials.empty()) check(trials, {4e-6, 1e-13});
}

void for_each_op(const std::function<void(const OpRecord&)>& body) {
  for (const OpRecord* op : all_ops()) {
    SUBCASE(std::string(op->name).c_str()) { body(*op); }
  }
}

}  // namespace

TEST_CASE("compiled samples of every op, sizes known") {
  for_each_op([](const OpRecord& op) { check_values(op, false); });
}

TEST_CASE("compiled samples of every op, sizes free") {
  for_each_op([](const OpRecord& op) { check_values(op, true); });
}

TEST_CASE("compiled gradients of every op, sizes known") {
  for_each_op([](const OpRecord& op) { check_gradients(op, false); });
}

TEST_CASE("compiled gradients of every op, sizes free") {
  for_each_op([](const OpRecord& op) { check_gradients(op, true); });
}
