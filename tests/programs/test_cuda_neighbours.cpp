// Elementwise functions for CUDA whose operands come several elements at a time: aligned or not, of
// every number of elements, of several widths, in place.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/like_cpu.h"

namespace test_cuda_neighbours {

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests
using gpu_emulator::TestCuda;

namespace {

constexpr std::int64_t sizes[] = {0, 1, 2, 3, 4, 5, 1023, 1024, 1025, 3001};

}  // namespace

TEST_CASE("cuda: neighbours together: any number of elements, of any width") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  const auto d = kt::tensor("d", {x.shape(0)}, kt::f64);
  const auto h = kt::tensor("h", {x.shape(0)}, kt::f16);
  const auto b = kt::tensor("b", {x.shape(0)}, kt::boolean);
  const auto i = kt::tensor("i", {x.shape(0)}, kt::i8);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : sizes) {
    calls.push_back({kt::Array::normal({n}, 1), kt::Array::normal({n}, 2, 0, 1, kt::f64),
                     kt::Array::normal({n}, 3, 0, 1, kt::f16), kt::Array::ones({n}, kt::boolean),
                     kt::Array::full({n}, 5, kt::i8)});
  }
  check_like_cpu({x, d, h, b, i},
                 {x * 2, kt::cast(d, kt::f32) + x, kt::where(b, x, -x), h + h, i * i, d * d, x > 0,
                  kt::cast(i, kt::f64) * d},
                 calls);
}

TEST_CASE("cuda: neighbours together: what is not aligned, what is the same for all, two axes") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  const auto m = kt::matrix("m");
  const auto row = kt::tensor("row", {m.shape(1)});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {3, 8, 1030}) {
    calls.push_back(
        {kt::Array::normal({n}, 1), kt::Array::normal({5, n}, 2), kt::Array::normal({n}, 3)});
  }
  check_like_cpu({x, m, row},
                 {x(kt::slice(1, kt::end)) * 2, x(kt::slice(1, kt::end)) + x(kt::slice(0, -1)),
                  x * x[0], m * row, m(kt::slice(1, 3)) + row, kt::concatenate({x, x * 2}, 0),
                  x(kt::slice(kt::end, kt::end, 2)) + 1},
                 calls);
}

TEST_CASE("cuda: neighbours together: rows of a free length, of whole neighbours and not") {
  const TestCuda cuda;
  const kt::Dim a = kt::dim("a"), b = kt::dim("b"), c = kt::dim("c");
  const auto x = kt::tensor("x", {a, b, c}), row = kt::tensor("row", {c}),
             plane = kt::tensor("plane", {b, 1}), more = kt::tensor("more", {a, 1, c});
  const auto h = kt::tensor("h", {a, c}, kt::f16), half = kt::tensor("half", {c}, kt::f16);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {0, 1, 3, 4, 8, 12, 17, 40}) {
    calls.push_back({kt::Array::normal({3, 5, n}, 1), kt::Array::normal({n}, 2),
                     kt::Array::normal({5, 1}, 3), kt::Array::normal({3, 1, n}, 4),
                     kt::Array::normal({3, n}, 5, 0, 1, kt::f16),
                     kt::Array::normal({n}, 6, 0, 1, kt::f16)});
  }
  check_like_cpu({x, row, plane, more, h, half},
                 {x * row, x + plane, x * more + row, h + half, x(kt::slice(1, 3)) * row}, calls);
}

TEST_CASE("cuda: neighbours together: variables updated in place, and from each other") {
  const TestCuda cuda;
  const auto run = [](const kt::Target& target) {
    const auto w = kt::shared(kt::Array::normal({1, 2501}, 1), "w");
    const auto v = kt::shared(kt::Array::normal({1, 2501}, 2), "v");
    const auto g = kt::matrix("g");
    const auto step =
        kt::function({g}, {.updates = {{v, 0.9 * v - g}, {w, w + 0.9 * v - g}}, .target = target});
    for (int k = 0; k < 3; ++k) step(kt::Array::normal({1, 2501}, 3));
    return std::pair{w.get_value(), v.get_value()};
  };
  const auto want = run(kt::cpu()), have = run(kt::cuda());
  CHECK(kt::all_close(have.first, want.first, 1e-5, 1e-5));
  CHECK(kt::all_close(have.second, want.second, 1e-5, 1e-5));
}

}  // namespace test_cuda_neighbours
