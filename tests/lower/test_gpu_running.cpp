// Running sums, products, extremes and recurrences on a GPU by blocks of threads, run by the
// interpreter of the loop IR.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>

#include <limits>

#include "compiler/lower/lower.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/gpu_loops.h"

using namespace compiled_test;  // NOLINT: tests
using namespace kroton;         // NOLINT: tests

namespace {

// Factors near 1.
Tensor factors(const Tensor& x) { return 1 + 0.01 * x; }

}  // namespace

TEST_CASE("GPU running: every operation along lines of some runs") {
  for (const bool reverse : {false, true}) {
    CAPTURE(reverse);
    for (const std::int64_t size : {129, 160, 161}) {
      CAPTURE(size);
      const Tensor x = tensor("x", {2, size, 3}, f64), y = tensor("y", {2, size, 3}, f64);
      check_for_gpu({{x, y},
                     {cumsum(x, 1, reverse), cumprod(factors(x), 1, reverse), cummax(x, 1, reverse),
                      cummin(x, 1, reverse), linear_recurrence(y, x, 1, reverse),
                      logcumsumexp(x, 1, reverse)},
                     {random_array({2, size, 3}, f64, 1), random_array({2, size, 3}, f64, 2)}});
    }
  }
}

TEST_CASE("GPU running: along all axes and of whole numbers") {
  for (const int axis : {0, 1}) {
    const Shape shape = axis == 0 ? Shape{140, 3} : Shape{3, 140};
    const Tensor x = tensor("x", {shape[0], shape[1]}, i32),
                 f = tensor("f", {shape[0], shape[1]}, f64);
    check_for_gpu(
        {{x, f},
         {cumsum(x, axis), cummax(x, axis), linear_recurrence(x, x, axis), cumsum(sin(f), axis)},
         {random_array(shape, i32, 1), random_array(shape, f64, 2)}});
  }
}

TEST_CASE("GPU running: lines of several chunks of free sizes") {
  const Tensor x = tensor("x", {dim("n")}, f64), y = tensor("y", {dim("n")}, f64);
  const std::vector<Tensor> results = {cumsum(x, 0), linear_recurrence(factors(y), x, 0),
                                       cummin(x, 0, true), grad(sum(cumsum(x, 0) * y), x)};
  for (const std::int64_t size : {0, 1, 128, 129, 2047, 2048, 2049, 6500, 8193}) {
    CAPTURE(size);
    check_for_gpu({{x, y}, results, {random_array({size}, f64, 1), random_array({size}, f64, 2)}});
  }
}

TEST_CASE("GPU running: factors whose product is far outside of what results are") {
  const Tensor a = tensor("a", {500}), b = tensor("b", {500});
  Array grows = Array::zeros({500}), starts = Array::zeros({500});
  for (int k = 0; k < 500; ++k) grows.data<float>()[k] = k < 300 ? 1.5F : 0.8F;
  starts.data<float>()[0] = 1e-30F;
  check_for_gpu({{a, b}, {linear_recurrence(a, b, 0)}, {grows, starts}});
  // Nothing comes to a line of zeros, however large the factors are.
  check_for_gpu(
      {{a, b}, {linear_recurrence(a * 1e30F, b * 0, 0)}, {random_array({500}, f32, 1), starts}});
}

TEST_CASE("GPU running: a NaN stays to the end and begins where it is") {
  const Tensor x = tensor("x", {300}, f64);
  Array values = random_array({300}, f64, 1);
  values.data<double>()[170] = std::numeric_limits<double>::quiet_NaN();
  for (const Array& have :
       interpreted_for_gpu({{x}, {cumsum(x, 0), cummax(x, 0), cummin(x, 0)}, {values}})) {
    for (int k = 0; k < 300; ++k) {
      CAPTURE(k);
      CHECK((have.data<double>()[k] != have.data<double>()[k]) == (k >= 170));
    }
  }
}

TEST_CASE("GPU running: short lines stay one thread's and so do many side by side") {
  const auto kernels = [](const Dims& shape, int axis) {
    const Tensor x = tensor("x", shape);
    int count = 0;
    for_each_kernel(lowered_for_gpu({{x}, {cumsum(x, axis)}, {}}).steps,
                    [&](const loop::Kernel&) { ++count; });
    return count;
  };
  // The first position and the others.
  CHECK(kernels({4, 128}, 1) == 2);
  CHECK(kernels({300, 70000}, 0) == 2);
  CHECK(kernels({4, 129}, 1) == 1);
  CHECK(kernels({70000, 300}, 1) == 1);
  CHECK(kernels({4, 100000}, 1) == 1);
  CHECK(kernels({513, 32}, 0) == 1);
}

TEST_CASE("GPU running: lines side by side in every number of columns") {
  for (const std::int64_t columns : {1, 2, 3, 16, 33}) {
    for (const std::int64_t size : {130, 2049}) {
      if (size > 130 && columns != 3) continue;
      CAPTURE(columns);
      CAPTURE(size);
      const Tensor x = tensor("x", {size, columns}, i32), y = tensor("y", {size, dim("m")});
      check_for_gpu(
          {{x, y},
           {linear_recurrence(x, x, 0), linear_recurrence(0.9 * y, y, 0, true)},
           {random_array({size, columns}, i32, 1), random_array({size, columns}, f32, 2)}});
    }
  }
}

TEST_CASE("GPU running: groups of chunks of every size") {
  const Tensor x = tensor("x", {dim("n"), dim("m")}, i32),
               y = tensor("y", {dim("n"), dim("m")}, f64);
  const std::vector<Tensor> results = {cumsum(x, 0), linear_recurrence(factors(y), y, 0)};
  // Chunks have 128 positions: one more than a group of 16, and than one of 256.
  for (const std::int64_t size : {15 * 128, 17 * 128 + 1, 258 * 128}) {
    CAPTURE(size);
    check_for_gpu(
        {{x, y}, results, {random_array({size, 1}, i32, 1), random_array({size, 1}, f64, 2)}});
  }
}
