// Sorting on a GPU by ranks, in blocks and by digits, run by the interpreter of the loop IR.
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
    const Tensor x = tensor("x", {2100}, dtype);
    const bool descending = dtype == f64 || dtype == i8;
    check_sorted({{x},
                  {argsort(x, 0, descending), sort(x, 0, !descending)},
                  {random_array({2100}, dtype, 1)}});
  }
}

TEST_CASE("GPU sort: every dtype in a block and by rank, both ways") {
  for (const DType dtype : {f16, bf16, f64, i8, u32, i64, boolean}) {
    CAPTURE(std::string(name_of(dtype)));
    for (const std::int64_t size : {5, 131}) {
      const Tensor x = tensor("x", {3, size}, dtype);
      const bool descending = dtype == f64 || dtype == i8;
      check_sorted({{x},
                    {argsort(x, 1, descending), sort(x, 1, !descending)},
                    {random_array({3, size}, dtype, 1)}});
    }
  }
}

TEST_CASE("GPU sort: rows of all lengths, sizes free") {
  const Tensor x = tensor("x", {dim("n"), dim("m")});
  const std::vector<Tensor> results = {argsort(x), sort(x, 0)};
  for (const std::int64_t columns : {0, 1, 40, 64, 65, 2048, 2049, 4100}) {
    CAPTURE(columns);
    check_sorted({{x}, results, {random_array({2, columns}, f32, 1)}});
  }
}

TEST_CASE("GPU sort: rows of a known length") {
  for (const std::int64_t size : {17, 257, 1100, 2500}) {
    const Tensor x = tensor("x", {3, size});
    check_sorted({{x}, {argsort(x)}, {random_array({3, size}, f32, 1)}});
  }
}

TEST_CASE("GPU sort: equal elements stay in their order, NaNs come last") {
  const Tensor x = tensor("x", {2100}, f32);
  Array values = Array::zeros({2100}, f32);
  for (int k = 0; k < 2100; ++k) {
    values.data<float>()[k] = k % 7 == 0   ? std::numeric_limits<float>::quiet_NaN()
                              : k % 3 == 0 ? -0.5 * (k % 4)
                                           : 0.0;
  }
  check_sorted({{x}, {argsort(x), argsort(x, 0, true)}, {values}});
}

TEST_CASE("GPU sort: the first ones of rows of all lengths") {
  const Tensor x = tensor("x", {dim("n"), dim("m")});
  const std::vector<Tensor> results = {argtopk(x, 5), argtopk(x, 48, 1, false)};
  for (const std::int64_t columns : {48, 64, 65, 2048, 2049, 4100}) {
    CAPTURE(columns);
    check_sorted({{x}, results, {random_array({2, columns}, f32, 1)}});
  }
}

TEST_CASE("GPU sort: the first ones of rows that take several rounds") {
  const Tensor x = tensor("x", {100000});
  check_sorted({{x}, {argtopk(x, 48)}, {random_array({100000}, f32, 1)}});
}

TEST_CASE("GPU sort: groups of chunks, of rows of their own") {
  const Tensor x = tensor("x", {dim("n"), dim("m")}, i32), z = tensor("z", {70000}, i64);
  for (const std::int64_t columns : {2048 * 16, 2048 * 17 + 1}) {
    CAPTURE(columns);
    check_sorted({{x}, {argsort(x)}, {random_array({2, columns}, i32, 1)}});
  }
  check_sorted({{z}, {sort(z), argsort(z)}, {random_array({70000}, i64, 1)}});
}
