// Kernels that differ in nothing but their buffers and numbers are one function of the object.
#include <doctest/doctest.h>

#include <set>

#include "compiler/compile.h"
#include "compiler/lower/cache_key.h"
#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

// `layers` products with tanh, each times a number of its own.
Problem layers_of(std::int64_t width, int layers, DType dtype, bool threads) {
  const std::int64_t rows = threads ? 257 : 3;
  const Tensor x = tensor("x", {dim("rows"), width}, dtype);
  Problem problem{{x}, {}, {random_array({rows, width}, dtype, 1)}};
  Tensor y = x;
  for (int k = 0; k < layers; ++k) {
    const Tensor w = shared(Array::normal({width, width}, static_cast<std::uint64_t>(k), 0,
                                          1.0 / static_cast<double>(width), dtype),
                            "w");
    y = tanh(dot(y, w) * (0.3 + 0.25 * k) + (k + 1.5));  // no factor is 1
    problem.outputs.push_back(y);
  }
  return problem;
}

}  // namespace

TEST_CASE("kernels that differ in numbers: each has its own") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t width : {1, 3, 17}) {
      check_agrees(layers_of(width, 5, dtype, false), {.magnitude = 2});
    }
  }
}

TEST_CASE("kernels that differ in numbers: each has its own on several threads") {
  const ThreadCount threads(3);
  check_agrees(layers_of(64, 4, DType::f32, true), {.f32 = 1e-5, .magnitude = 2});
  // Without a product, and with a number that is twice the same in one of them.
  const Tensor x = vector("x");
  Problem problem{{x}, {}, {random_array({100003}, DType::f32, 2)}};
  for (const double scale : {0.5, 1.0, -2.0, 0.25}) {
    problem.outputs.push_back(sum(sin(x * scale) + exp(x * 0.25)));
    problem.outputs.push_back(sin(x * scale) + exp(x * 0.25));
  }
  check_agrees(problem, {.f32 = 1e-5, .magnitude = 4});
}

TEST_CASE("kernels that differ in numbers have one form") {
  const Problem problem = layers_of(17, 4, DType::f32, false);
  Graph graph(problem.inputs, problem.outputs, {}, true);
  std::set<Digest> forms;
  int kernels = 0;
  const Program program = make_program(graph, "layers", codegen::host_target());
  for (const Step& step : program.steps) {
    if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
      ++kernels;
      forms.insert(form_of(program, *kernel).digest);
    }
  }
  CHECK(kernels >= 4);
  CHECK(forms.size() <= 2);
}
