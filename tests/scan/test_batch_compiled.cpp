// Batched expressions, compiled: the steps of a recurrent model's input side and its loss, for all
// steps at once, with free sizes.
#include <doctest/doctest.h>

#include "compiler/scan/batch.h"
#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

// The parameters of a step with their rows, and the values of everything.
struct Step {
  Dim steps = dim("steps");
  std::unordered_map<const Node*, Tensor> mapped;
  Problem problem;

  Tensor fixed(const Tensor& x, Array value) {
    problem.inputs.push_back(x);
    problem.values.push_back(std::move(value));
    return x;
  }
  Tensor varying(const Tensor& x, Array rows) {
    Dims shape = x.shape();
    shape.insert(shape.begin(), steps);
    mapped.emplace(&x.node(), fixed(tensor(x.name() + "_rows", shape, x.dtype()), std::move(rows)));
    return x;
  }
  void check(const std::vector<Tensor>& outputs) {
    for (const Tensor& output : outputs) {
      const std::optional<Batched> batched = batch(output, mapped, steps);
      REQUIRE(batched.has_value());
      problem.outputs.push_back(batched->value);
    }
    check_agrees(problem, {.magnitude = 50});
  }
};

Array indices(const Shape& shape, std::int64_t size) {
  Array result = Array::empty(shape, i64);
  std::int64_t value = 0;
  for (std::int64_t& index : result.data<std::int64_t>()) {
    index = value % size - (value % 3 == 0 ? size : 0);
    value += 5;
  }
  return result;
}

}  // namespace

TEST_CASE("a batched step of a recurrent model, compiled") {
  for (const std::int64_t steps : {0, 1, 3, 17}) {
    CAPTURE(steps);
    const Dim n = dim("n");
    Step step;
    const Tensor embedding =
        step.fixed(tensor("embedding", {29, 5}, f64), random_array({29, 5}, f64, 1));
    const Tensor w = step.fixed(tensor("w", {5, 29}, f64), random_array({5, 29}, f64, 2));
    const Tensor b = step.fixed(tensor("b", {29}, f64), random_array({29}, f64, 3));
    const Tensor ids = step.varying(tensor("ids", {n}, i64), indices({steps, 4}, 29));
    const Tensor labels = step.varying(tensor("labels", {n}, i64), indices({steps, 4}, 29));
    const Tensor logits = dot(tanh(take(embedding, ids)), w) + b;
    step.check({logits, softmax(logits), softmax_cross_entropy(logits, labels), argmax(logits, 1),
                scatter_add(logits, ids, {29, 29}), dot(transpose(logits), logits)});
  }
}

TEST_CASE("batched gathers and products of rows on both sides, compiled") {
  for (const std::int64_t steps : {0, 1, 3, 17}) {
    CAPTURE(steps);
    const Dim n = dim("n");
    const Dim m = dim("m");
    Step step;
    const Tensor x =
        step.varying(tensor("x", {n, 3, m}, f64), random_array({steps, 7, 3, 4}, f64, 1));
    const Tensor y = step.varying(tensor("y", {m}, f64), random_array({steps, 4}, f64, 2));
    const Tensor w = step.fixed(tensor("w", {3, m}, f64), random_array({3, 4}, f64, 3));
    const Tensor rows = step.varying(tensor("rows", {2, 2}, i64), indices({steps, 2, 2}, 4));
    const Tensor row = step.varying(tensor("row", {}, i64), indices({steps}, 7));
    const Tensor taken = take(x, rows, 2);
    step.check({taken, take(x, row), scatter_add(taken, rows, {n, 3, m}, 2), dot(w, y),
                matmul(x, y), dot(y, y), outer(y, y), concatenate({x[0], w}, 1)});
  }
}
