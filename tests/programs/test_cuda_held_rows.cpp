// Rows for CUDA that stay in registers from one loop to the next: of every length, known and free,
// of several widths, in place, not aligned, with checks, as many as a block has and more.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/normalization.h>

#include <algorithm>
#include <limits>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/like_cpu.h"
#include "tests/tools/program_call.h"

namespace test_cuda_held_rows {

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests
using gpu_emulator::TestCuda;

namespace {

kt::Tensor standardized(const kt::Tensor& x) {
  const kt::Tensor rest = x - kt::mean(x, 1, true);
  return rest / kt::sqrt(kt::mean(kt::square(rest), 1, true) + 1e-5);
}

// What normalizes rows, and gradients of it.
std::vector<kt::Tensor> normalized(const kt::Tensor& x) {
  const kt::Tensor soft = kt::softmax(x), norm = standardized(x);
  return {soft,
          kt::log_softmax(x),
          norm,
          kt::grad(kt::sum(kt::square(soft)), x),
          kt::grad(kt::sum(norm * kt::sin(x)), x),
          x / kt::sum(kt::abs(x), 1, true),
          kt::argmax(x - kt::mean(x, 1, true), 1)};
}

// By the interpreter of the loop IR.
void check_interpreted(const Problem& problem, const Tolerance& tolerance) {
  kt::Graph graph(problem.inputs, problem.outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "rows", kt::gpu_machine());
  ProgramCall call(program, problem.values);
  REQUIRE(!call.interpret());
  const std::vector<kt::Array> have = call.outputs();
  const std::vector<kt::ReferenceValue> want = expected(problem);
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    CHECK(difference(want[k], have[k], tolerance) == "");
  }
}

bool holds_rows(const std::vector<kt::Tensor>& inputs, const std::vector<kt::Tensor>& outputs) {
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "rows", kt::gpu_machine());
  return kt::to_string(program).find("registers ") != std::string::npos;
}

constexpr std::int64_t lengths[] = {17,   31,   32,   33,   64,   100,   255,  256,  500,
                                    512,  513,  768,  1000, 1001, 1030,  2048, 2049, 4096,
                                    4100, 5000, 8192, 8193, 9000, 16383, 16384};

}  // namespace

TEST_CASE("held rows: the interpreter and the reference agree on every length") {
  for (const std::int64_t n : lengths) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {3, n});
    check_interpreted({{x},
                       {kt::softmax(x), standardized(x), kt::argmax(x - kt::mean(x), 1)},
                       {random_array({3, n}, kt::f32, 1)}},
                      {1e-5, 1e-12, 1});
    if (n >= 32) CHECK(holds_rows({x}, {kt::softmax(x)}));
  }
}

TEST_CASE("cuda: held rows: kernels of known lengths") {
  const TestCuda cuda;
  for (const std::int64_t n : {33, 64, 512, 1000, 1001, 1030, 4100, 16384}) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {3, n});
    check_like_cpu({x}, n > 2000 ? std::vector<kt::Tensor>{kt::softmax(x)} : normalized(x),
                   {{random_array({3, n}, kt::f32, 1)}});
  }
}

TEST_CASE("cuda: held rows: kernels of free lengths") {
  const TestCuda cuda;
  const kt::Tensor x = kt::matrix("x");
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {1, 3, 17, 511, 512, 513, 700}) {
    calls.push_back({random_array({5, n}, kt::f32, 1)});
  }
  check_like_cpu({x}, normalized(x), calls);
  calls.clear();
  for (const std::int64_t n : {0, 4095, 4096, 4097}) {
    calls.push_back({random_array({n == 0 ? 0 : 2, std::max<std::int64_t>(n, 1)}, kt::f32, 1)});
  }
  check_like_cpu({x}, {kt::softmax(x), standardized(x)}, calls);
}

TEST_CASE("cuda: held rows: of 16 bits, of 64, and of several widths") {
  const TestCuda cuda;
  for (const std::int64_t n : {64, 768, 1001}) {
    CAPTURE(n);
    const kt::Tensor h = kt::tensor("h", {3, n}, kt::f16), b = kt::tensor("b", {3, n}, kt::bf16),
                     d = kt::tensor("d", {3, n}, kt::f64), m = kt::tensor("m", {3, n}, kt::boolean);
    check_like_cpu(
        {h, b, d, m},
        {kt::softmax(h), kt::softmax(kt::cast(b, kt::f32)), kt::softmax(d),
         kt::softmax(kt::where(m, kt::cast(h, kt::f32), -1e9)),
         kt::cast(standardized(kt::cast(b, kt::f32)), kt::bf16)},
        {{kt::Array::normal({3, n}, 1, 0, 1, kt::f16), kt::Array::normal({3, n}, 2, 0, 1, kt::bf16),
          kt::Array::normal({3, n}, 3, 0, 1, kt::f64), random_array({3, n}, kt::boolean, 4)}});
  }
}

// Neighbours at a time where the length is a multiple of their number: 4, 8 of the narrow ones.
TEST_CASE("cuda: held rows: free lengths of 16 bits, of 64, and of several widths and axes") {
  const TestCuda cuda;
  const kt::Dim n = kt::dim("n"), m = kt::dim("m");
  const kt::Tensor x = kt::tensor("x", {n, m}), h = kt::tensor("h", {n, m}, kt::bf16),
                   d = kt::tensor("d", {n, m}, kt::f64),
                   mask = kt::tensor("mask", {n, m}, kt::boolean), scale = kt::tensor("scale", {m}),
                   shift = kt::tensor("shift", {m}), p = kt::tensor("p", {n, kt::dim("a"), 6}),
                   weights = kt::tensor("weights", {kt::dim("a"), 6});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t k : {0, 1, 3, 4, 8, 17, 24, 44, 72, 200, 516, 1000}) {
    calls.push_back({random_array({3, k}, kt::f32, 1), random_array({3, k}, kt::bf16, 2),
                     random_array({3, k}, kt::f64, 3), random_array({3, k}, kt::boolean, 4),
                     random_array({k}, kt::f32, 5), random_array({k}, kt::f32, 6),
                     random_array({3, k, 6}, kt::f32, 7), random_array({k, 6}, kt::f32, 8)});
  }
  check_like_cpu(
      {x, h, d, mask, scale, shift, p, weights},
      {kt::layer_norm(x, scale, shift), kt::softmax(h), kt::softmax(d),
       kt::softmax(kt::where(mask, kt::cast(h, kt::f32), x)), kt::layer_norm(p, weights, weights)},
      calls);
}

TEST_CASE("cuda: held rows: many rows of a warp each, several in a block") {
  const TestCuda cuda;
  const kt::Tensor x = kt::matrix("x"), y = kt::tensor("y", {kt::dim("rows"), 40});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t rows : {0, 1, 4, 5, 30}) {
    calls.push_back({random_array({rows, 100}, kt::f32, 1), random_array({rows, 40}, kt::f32, 2)});
  }
  check_like_cpu({x, y}, {kt::softmax(x), kt::softmax(y), kt::argmax(y, 1)}, calls);
}

TEST_CASE("cuda: held rows: many rows of parts of a warp") {
  const TestCuda cuda;
  for (const std::int64_t n : {17, 24, 32, 40, 48, 100}) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {kt::dim("rows"), n});
    std::vector<std::vector<kt::Array>> calls;
    for (const std::int64_t rows : {0, 1, 3, 65}) {
      calls.push_back({random_array({rows, n}, kt::f32, 1)});
    }
    std::vector<kt::Tensor> outputs = normalized(x);
    outputs.push_back(kt::sum(x, 1));
    check_like_cpu({x}, outputs, calls);
  }
  const kt::Tensor h = kt::tensor("h", {kt::dim("rows"), 48}, kt::f16),
                   d = kt::tensor("d", {kt::dim("rows"), 30}, kt::f64);
  check_like_cpu({h, d}, {kt::softmax(h), kt::softmax(d), kt::argmax(h, 1)},
                 {{kt::Array::normal({65, 48}, 1, 0, 1, kt::f16),
                   kt::Array::normal({65, 30}, 2, 0, 1, kt::f64)}});
}

TEST_CASE("cuda: held rows: many free rows of parts of a warp, with NaN and infinities") {
  const TestCuda cuda;
  const kt::Tensor x = kt::matrix("x");
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {1, 8, 9, 40, 64, 65}) {
    calls.push_back({random_array({35, n}, kt::f32, 1)});
    calls.back()[0].data<float>()[7] = std::numeric_limits<float>::quiet_NaN();
    calls.back()[0].data<float>()[20] = std::numeric_limits<float>::infinity();
  }
  const auto without_nan = [](const kt::Tensor& y) { return kt::where(kt::isnan(y), -5, y); };
  check_like_cpu({x}, {without_nan(kt::softmax(x)), kt::argmax(x, 1), without_nan(kt::max(x, 1))},
                 calls);
}

TEST_CASE("cuda: held rows: updated in place, and each from the row before it was") {
  const TestCuda cuda;
  const auto run = [](const kt::Target& target) {
    const auto w = kt::shared(kt::Array::normal({3, 100}, 1), "w");
    const auto v = kt::shared(kt::Array::normal({3, 100}, 2), "v");
    const kt::Tensor soft = kt::softmax(w);
    const auto step = kt::function({}, {kt::sum(soft * v, 1)},
                                   {.updates = {{w, w - soft * kt::mean(v, 1, true)},
                                                {v, v / kt::sum(kt::square(v), 1, true)}},
                                    .target = target});
    for (int k = 0; k < 3; ++k) step();
    return std::pair{w.get_value(), v.get_value()};
  };
  const auto want = run(kt::cpu()), have = run(kt::cuda());
  CHECK(kt::all_close(have.first, want.first, 1e-5, 1e-5));
  CHECK(kt::all_close(have.second, want.second, 1e-5, 1e-5));
}

TEST_CASE("cuda: held rows: labels out of range are reported, those in range are right") {
  const TestCuda cuda;
  for (const std::int64_t n : {40, 1000}) {
    const kt::Tensor x = kt::tensor("x", {kt::dim("n"), n});
    const kt::Tensor labels = kt::tensor("labels", {kt::dim("n")}, kt::i64);
    const kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(x, labels));
    const auto make = [&](const kt::Target& target) {
      return kt::function({x, labels}, {loss, kt::grad(loss, x)}, {.target = target});
    };
    const auto on_cpu = make(kt::cpu()), on_gpu = make(kt::cuda());
    kt::Array values = kt::Array::normal({6, n}, 1), right = kt::Array::zeros({6}, kt::i64);
    for (std::int64_t k = 0; k < 6; ++k) right.data<std::int64_t>()[k] = k * 7;
    const auto want = on_cpu(values, right), have = on_gpu(values, right);
    for (std::size_t k = 0; k < 2; ++k) CHECK(kt::all_close(have[k], want[k], 1e-5, 1e-6));
    right.data<std::int64_t>()[3] = n;
    CHECK_THROWS_AS(on_gpu(values, right), kt::ValueError);
  }
}

TEST_CASE("cuda: held rows: memory that is not aligned gives the same bits") {
  const TestCuda cuda;
  for (const kt::Dim& length : {kt::Dim(500), kt::dim("m")}) {
    const kt::Tensor x = kt::tensor("x", {3, length});
    const auto soft = kt::function({x}, kt::softmax(x), {.target = kt::cuda()});
    const kt::Array values = kt::Array::normal({3, 500}, 1);
    const kt::Array want = soft(values);
    for (const std::int64_t offset : {1, 2}) {
      kt::Array room = kt::Array::zeros({1600});
      std::copy_n(values.data<float>().begin(), 1500, room.data<float>().begin() + offset);
      const kt::Array there = room.to(kt::cuda());
      kt::synchronize(kt::cuda());
      const kt::Array view = kt::Array::view(
          kt::cuda(), static_cast<const float*>(there.device_pointer()) + offset, {3, 500});
      CHECK(kt::array_equal(soft(view).to(kt::cpu()), want));
    }
  }
}

namespace {

// Exponentials of rows that are all -inf, have one inf or a NaN, or are huge.
void check_relative_sums(std::int64_t n, bool free) {
  const kt::Tensor x = kt::tensor("x", {free ? kt::dim("n") : kt::Dim(8), free ? kt::dim("m") : n});
  const float inf = std::numeric_limits<float>::infinity();
  kt::Array values = random_array({8, n}, kt::f32, 1);
  const auto row = [&](std::int64_t k) { return values.data<float>().subspan(k * n, n); };
  std::fill_n(row(1).begin(), n - 1, -inf);  // all runs but the last
  std::fill(row(2).begin(), row(2).end(), -inf);
  row(3)[n / 2] = inf;
  row(4)[5] = std::numeric_limits<float>::quiet_NaN();
  for (float& v : row(5)) v *= 1e30F;
  row(6)[n - 1] = 200;
  std::fill_n(row(7).begin(), n / 2, -inf);
  const std::vector<kt::Tensor> outputs{kt::softmax(x), kt::log_softmax(x),
                                        kt::sum(kt::exp(x - kt::max(x, 1, true)), 1)};
  const auto on_cpu = kt::function({x}, outputs),
             on_gpu = kt::function({x}, outputs, {.target = kt::cuda()});
  const auto want = on_cpu(values), have = on_gpu(values);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    CAPTURE(k);
    CHECK(kt::all_close(have[k], want[k], 1e-5, 1e-5, true));
  }
}

}  // namespace

TEST_CASE("cuda: held rows: runs of a long row with a maximum of their own") {
  const TestCuda cuda;
  check_relative_sums(16385, false);
  check_relative_sums(20481, true);
  for (const std::int64_t n : {16384, 16385, 24576}) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {n});
    check_interpreted({{x}, {kt::softmax(x)}, {random_array({n}, kt::f32, 1)}}, {1e-5, 1e-12, 1});
  }
}

}  // namespace test_cuda_held_rows
