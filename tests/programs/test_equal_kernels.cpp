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

namespace {

// Programs written step by step, of which each step reads or writes another place.
Problem unrolled_cell(int steps, DType dtype) {
  const Tensor w = tensor("w", {5, 5}, dtype), xs = tensor("xs", {dim("t"), dim("n"), 5}, dtype);
  Problem problem{
      {w, xs}, {}, {random_array({5, 5}, dtype, 1), random_array({steps, 3, 5}, dtype, 2)}};
  Tensor h = xs[0];
  for (int k = 1; k < steps; ++k) h = tanh(0.2 * dot(h, w) + 0.5 * xs[k]);
  problem.outputs = {h, grad(sum(h * h), w), grad(sum(h * h), xs)};
  return problem;
}

Problem elements_replaced(int steps, DType dtype, std::int64_t size) {
  const Tensor x = vector("x", dtype);
  Problem problem{{x}, {}, {random_array({size}, dtype, 3)}};
  Tensor y = x;
  for (int k = 0; k < steps; ++k) {
    const std::int64_t at_place = 3 * k % size;
    y = at(y, at_place).set(y[(k + 1) % size] * 2 - y[at_place]);
  }
  problem.outputs = {y};
  return problem;
}

Problem clamped_slices(int parts, DType dtype, std::int64_t size) {
  const Tensor x = vector("x", dtype);
  Problem problem{{x}, {}, {random_array({size}, dtype, 4)}};
  std::vector<Tensor> sums, pieces;
  for (int k = 0; k < parts; ++k) {
    const Tensor piece = x(slice(k, 2 * k + 3));
    sums.push_back(sum(piece * piece));
    pieces.push_back(piece * (k + 2));
  }
  problem.outputs = {stack(sums), concatenate(pieces)};
  return problem;
}

Problem single_elements(int count, DType dtype) {
  const Tensor x = vector("x", dtype);
  Problem problem{{x}, {}, {random_array({count}, dtype, 5)}};
  std::vector<Tensor> elements;
  for (int k = 0; k < count; ++k) elements.push_back(x[k] * x[(7 * k + 1) % count]);
  problem.outputs = {stack(elements)};
  if (is_float(dtype)) problem.outputs.push_back(grad(sum(square(stack(elements))), x));
  return problem;
}

// How many kernels a function has, and as how many functions of its machine code.
std::pair<int, int> kernels_and_functions(const Problem& problem) {
  Graph graph(problem.inputs, problem.outputs, {}, true);
  const codegen::CpuTarget target = codegen::host_target();
  const Program program = make_program(graph, "unrolled", target);
  int kernels = 0, functions = 0;
  for_each_kernel(program.steps, [&](const loop::Kernel&) { ++kernels; });
  std::string text;
  codegen::generate_objects(program, target, nullptr, &text);
  for (std::size_t at = text.find("i64 %worker"); at != std::string::npos;
       at = text.find("i64 %worker", at + 1)) {
    ++functions;
  }
  return {kernels, functions};
}

}  // namespace

TEST_CASE("kernels that differ in places and sizes: each has its own") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const int steps : {2, 11}) {
      check_agrees(unrolled_cell(steps, dtype), {.f32 = 1e-5, .magnitude = 4});
    }
  }
  for (const DType dtype : {DType::f16, DType::i32}) {
    for (const std::int64_t size : {3, 100}) {
      check_agrees(elements_replaced(12, dtype, size), {.magnitude = 4});
      check_agrees(clamped_slices(12, dtype, size), {.magnitude = 4});
    }
    for (const int count : {17, 60}) check_agrees(single_elements(count, dtype), {.magnitude = 4});
  }
  for (const std::int64_t size : {0, 1}) check_agrees(clamped_slices(12, DType::f64, size));
}

TEST_CASE("kernels that differ in places and sizes: on several threads") {
  const ThreadCount threads(3);
  const Tensor x = matrix("x");
  Problem problem{{x}, {}, {random_array({20000, 3}, DType::f32, 6)}};
  for (int k = 0; k < 12; ++k) {
    problem.outputs.push_back(tanh(x(slice(100 * k, 100 * k + 10000 + k))) * 2);
  }
  check_agrees(problem, {.magnitude = 2});
}

TEST_CASE("what is unrolled is as much code for many steps as for a few") {
  const auto functions = [](const Problem& problem, int least_kernels) {
    const auto [kernels, emitted] = kernels_and_functions(problem);
    CHECK(kernels >= least_kernels);
    return emitted;
  };
  CHECK(functions(unrolled_cell(24, DType::f32), 60) <=
        functions(unrolled_cell(12, DType::f32), 30));
  CHECK(functions(elements_replaced(40, DType::f64, 1000), 40) <= 8);
  CHECK(functions(clamped_slices(40, DType::f32, 1000), 40) <= 20);
  CHECK(functions(single_elements(100, DType::f64), 70) <= 30);
}
