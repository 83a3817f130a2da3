// Sorting on a GPU by ranks and by digits, run by the interpreter of the loop IR.
#include <doctest/doctest.h>
#include <kroton/sort.h>

#include <limits>

#include "compiler/lower/lower.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/gpu_loops.h"

using namespace compiled_test;  // NOLINT: tests
using namespace kroton;         // NOLINT: tests

namespace {

void check_sorted(const Problem& problem) { check_for_gpu(problem, {}); }

}  // namespace

TEST_CASE("GPU sort: every dtype by digits, both ways") {
  for (const DType dtype : {f32, f64, i8, u64, boolean}) {
    CAPTURE(std::string(name_of(dtype)));
    const Tensor x = tensor("x", {530}, dtype);
    const bool descending = dtype == f64 || dtype == i8;
    check_sorted({{x}, {argsort(x, 0, descending)}, {random_array({530}, dtype, 1)}});
  }
}

TEST_CASE("GPU sort: rows of all lengths, sizes free") {
  const Tensor x = tensor("x", {dim("n"), dim("m")});
  const std::vector<Tensor> results = {argsort(x), sort(x, 0)};
  for (const std::int64_t columns : {0, 1, 40, 513, 1100}) {
    CAPTURE(columns);
    check_sorted({{x}, results, {random_array({2, columns}, f32, 1)}});
  }
}

TEST_CASE("GPU sort: rows of a known length") {
  const Tensor x = tensor("x", {3, 1100});
  check_sorted({{x}, {argsort(x)}, {random_array({3, 1100}, f32, 1)}});
}

TEST_CASE("GPU sort: equal elements stay in their order, NaNs come last") {
  const Tensor x = tensor("x", {1100}, f32);
  Array values = Array::zeros({1100}, f32);
  for (int k = 0; k < 1100; ++k) {
    values.data<float>()[k] = k % 7 == 0   ? std::numeric_limits<float>::quiet_NaN()
                              : k % 3 == 0 ? -0.5 * (k % 4)
                                           : 0.0;
  }
  check_sorted({{x}, {argsort(x), argsort(x, 0, true)}, {values}});
}
