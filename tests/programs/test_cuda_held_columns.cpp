// Columns for CUDA that stay in registers from one loop to the next, runs of longer ones that have
// a maximum or a mean of their own, and reductions of one array that are one kernel.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/normalization.h>

#include <cmath>
#include <limits>

#include "compiler/fusion/fusion.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/gpu_loops.h"
#include "tests/tools/like_cpu.h"

namespace test_cuda_held_columns {

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests
using gpu_emulator::TestCuda;

namespace {

kt::Tensor standardized(const kt::Tensor& x, const kt::Axes& axes = 0) {
  const kt::Tensor rest = x - kt::mean(x, axes, true);
  return rest / kt::sqrt(kt::mean(kt::square(rest), axes, true) + 1e-5);
}

// What normalizes columns, and gradients of it.
std::vector<kt::Tensor> normalized(const kt::Tensor& x) {
  const kt::Tensor soft = kt::softmax(x, 0), norm = standardized(x);
  return {soft,
          kt::log_softmax(x, 0),
          norm,
          kt::grad(kt::sum(kt::square(soft)), x),
          kt::grad(kt::sum(norm * kt::sin(x)), x),
          x / kt::sum(kt::abs(x), 0, true),
          kt::argmax(x - kt::mean(x, 0, true), 0)};
}

int kernels_of(const std::vector<kt::Tensor>& inputs, const std::vector<kt::Tensor>& outputs) {
  int count = 0;
  kt::for_each_kernel(lowered_for_gpu({inputs, outputs, {}}).steps,
                      [&](const kt::loop::Kernel&) { ++count; });
  return count;
}

// Columns of each dtype with infinities and NaN in them.
kt::Array with_specials(const kt::Shape& shape) {
  kt::Array x = random_array(shape, kt::f32, 1);
  const std::int64_t m = shape[1];
  constexpr float inf = std::numeric_limits<float>::infinity();
  const auto data = x.data<float>();
  data[0] = inf;
  data[1 + m] = -inf;
  data[2 + 2 * m] = std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t k = 0; k < shape[0]; ++k) data[3 + k * m] = -inf;
  return x;
}

}  // namespace

TEST_CASE("held columns: the interpreter and the reference agree on every length") {
  for (const std::int64_t n :
       {2, 15, 16, 17, 33, 64, 100, 512, 513, 1030, 2049, 4096, 4097, 9000}) {
    CAPTURE(n);
    const std::int64_t m = n > 1000 ? 9 : 35;
    const kt::Tensor x = kt::tensor("x", {n, m});
    const std::vector<kt::Tensor> outputs{kt::softmax(x, 0), standardized(x), kt::var(x, 0),
                                          kt::argmax(x - kt::mean(x, 0, true), 0)};
    check_for_gpu({{x}, outputs, {random_array({n, m}, kt::f32, 1)}}, {1e-5, 1e-12, 1});
    CHECK(kernels_of({x}, {outputs[0]}) == (n <= 4096 ? 1 : 3));
  }
}

TEST_CASE("cuda: held columns: kernels of known lengths") {
  const TestCuda cuda;
  for (const std::int64_t n : {3, 17, 100, 513, 1500}) {
    CAPTURE(n);
    const std::int64_t m = n > 1000 ? 9 : 33;
    const kt::Tensor x = kt::tensor("x", {n, m});
    check_like_cpu({x}, n > 1000 ? std::vector<kt::Tensor>{kt::softmax(x, 0)} : normalized(x),
                   {{random_array({n, m}, kt::f32, 1)}});
  }
}

TEST_CASE("cuda: held columns: kernels of free lengths") {
  const TestCuda cuda;
  const kt::Tensor x = kt::matrix("x");
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {0, 1, 3, 17, 511, 513}) {
    calls.push_back({random_array({n, 5}, kt::f32, 1)});
  }
  check_like_cpu({x}, normalized(x), calls);
  calls.clear();
  for (const std::int64_t n : {1, 700, 4096, 4097, 6000}) {
    calls.push_back({random_array({n, 3}, kt::f32, 1)});
  }
  calls.push_back({random_array({40, 0}, kt::f32, 1)});
  check_like_cpu({x}, {kt::softmax(x, 0), standardized(x), kt::var(x, 0)}, calls);
}

TEST_CASE("cuda: held columns: in the middle of axes and over several") {
  const TestCuda cuda;
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 10, 3, 7}),
                   y = kt::tensor("y", {2, 20, 30, 5});
  check_like_cpu(
      {x, y},
      {kt::log_softmax(x, 1), kt::logsumexp(x, 1), standardized(x, kt::Axes({0, 1})),
       standardized(y, kt::Axes({0, 1, 2})), standardized(y, 1), kt::argmax(y, 1)},
      {{random_array({3, 10, 3, 7}, kt::f32, 1), random_array({2, 20, 30, 5}, kt::f32, 2)},
       {random_array({1, 10, 3, 7}, kt::f32, 1), random_array({2, 20, 30, 5}, kt::f32, 2)}});
}

TEST_CASE("cuda: held columns: of 16 bits and of 64") {
  const TestCuda cuda;
  for (const std::int64_t n : {17, 300}) {
    CAPTURE(n);
    const kt::Tensor h = kt::tensor("h", {n, 40}, kt::f16), b = kt::tensor("b", {n, 40}, kt::bf16),
                     d = kt::tensor("d", {n, 40}, kt::f64);
    check_like_cpu({h, b, d},
                   {kt::softmax(h, 0), kt::softmax(kt::cast(b, kt::f32), 0), kt::softmax(d, 0),
                    standardized(d), kt::cast(standardized(kt::cast(b, kt::f32)), kt::bf16)},
                   {{kt::Array::normal({n, 40}, 1, 0, 1, kt::f16),
                     kt::Array::normal({n, 40}, 2, 0, 1, kt::bf16),
                     kt::Array::normal({n, 40}, 3, 0, 1, kt::f64)}});
  }
}

TEST_CASE("cuda: held columns: infinities and NaN stay in their columns, in runs too") {
  const TestCuda cuda;
  for (const std::int64_t n : {40, 5000}) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {n, 6});
    const std::vector<kt::Tensor> outputs{kt::softmax(x, 0), kt::logsumexp(x, 0), kt::var(x, 0),
                                          standardized(x)};
    const kt::Array values = with_specials({n, 6});
    const auto want = kt::function({x}, outputs).call(std::vector<kt::Argument>{values});
    const auto have =
        kt::function({x}, outputs, {.target = kt::cuda()}).call(std::vector<kt::Argument>{values});
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      CAPTURE(k);
      CHECK(kt::all_close(have[k], want[k], 1e-5, 1e-5, true));
    }
  }
}

TEST_CASE("held columns: a variance by runs is that of numbers far from 0") {
  const kt::Tensor x = kt::tensor("x", {6000, 3});
  kt::Array values = random_array({6000, 3}, kt::f32, 1);
  for (std::int64_t k = 0; k < values.size(); ++k) values.data<float>()[k] += 1000;
  check_for_gpu({{x}, {kt::var(x, 0), kt::mean(x, 0)}, {values}}, {1e-5, 1e-12});
  const kt::Tensor rows = kt::tensor("rows", {2, 20000});
  kt::Array long_rows = random_array({2, 20000}, kt::f32, 1);
  for (std::int64_t k = 0; k < long_rows.size(); ++k) long_rows.data<float>()[k] += 1000;
  check_for_gpu({{rows}, {kt::var(rows, 1), kt::mean(rows, 1)}, {long_rows}}, {1e-5, 1e-12});
}

TEST_CASE("sibling reductions: those of the same rows of one array are one kernel") {
  const kt::Tensor x = kt::tensor("x", {300, 40}), y = kt::tensor("y", {300, 40});
  const auto clusters = [&](const std::vector<kt::Tensor>& outputs) {
    const std::vector<kt::Tensor> inputs{x, y};
    kt::Graph graph(inputs, outputs, {});
    kt::run_passes(graph);
    return kt::fuse(graph).clusters.size();
  };
  CHECK(clusters({kt::sum(x, 0), kt::max(x, 0), kt::argmax(x, 0)}) == 1);
  CHECK(clusters({kt::mean(x, 1), kt::var(x, 1), kt::sum(x * y, 1), kt::sum(y, 1)}) == 1);
  CHECK(clusters({kt::sum(x), kt::max(x), kt::sum(kt::square(x - y))}) == 1);
  // Other axes, other arrays.
  CHECK(clusters({kt::sum(x, 0), kt::sum(x, 1)}) == 2);
  CHECK(clusters({kt::sum(x, 0), kt::sum(y, 0)}) == 2);
  const std::vector<kt::Tensor> outputs{kt::sum(x, 0),     kt::max(x, 0),  kt::argmax(y, 0),
                                        kt::sum(x * y, 0), kt::mean(y, 1), kt::sum(x)};
  const std::vector<kt::Array> values{random_array({300, 40}, kt::f32, 1),
                                      random_array({300, 40}, kt::f32, 2)};
  check_for_gpu({{x, y}, outputs, values}, {1e-5, 1e-12});
  check_agrees({{x, y}, outputs, values}, {1e-5, 1e-12});
}

// More than a block of 1,024 threads has shared memory for.
TEST_CASE("sibling reductions: many sums down the columns of one array") {
  const kt::Tensor x = kt::tensor("x", {300, 10}, kt::f64);
  std::vector<kt::Tensor> outputs;
  for (int k = 1; k <= 12; ++k) outputs.push_back(kt::sum(kt::square(x - k), 0));
  CHECK(kernels_of({x}, outputs) == 1);
  std::int64_t bytes = 0;
  kt::for_each_kernel(lowered_for_gpu({{x}, outputs, {}}).steps, [&](const kt::loop::Kernel& one) {
    kt::loop::visit_statements(one.body, [&](const kt::loop::Stmt& s) {
      const auto* array = std::get_if<kt::loop::Allocate>(&s);
      if (array == nullptr || array->buffer->space != kt::loop::Space::shared) return;
      bytes += array->buffer->size.constant() * kt::size_of(array->buffer->dtype);
    });
  });
  CHECK(bytes <= 48 << 10);
  check_for_gpu({{x}, outputs, {random_array({300, 10}, kt::f64, 1)}}, {1e-5, 1e-12});
}

TEST_CASE(
    "cuda: sibling reductions: gradients of a norm by its scale and shift are one sum of columns") {
  const TestCuda cuda;
  for (const bool free : {false, true}) {
    CAPTURE(free);
    const kt::Dim n = free ? kt::dim("n") : kt::Dim(300);
    const kt::Tensor x = kt::tensor("x", {n, 33}), c = kt::tensor("c", {n, 33}),
                     scale = kt::tensor("scale", {33}), shift = kt::tensor("shift", {33});
    const std::vector<kt::Tensor> inputs{x, scale, shift, c};
    const kt::Tensor by_rows = kt::sum(kt::layer_norm(x, scale, shift) * c),
                     by_columns = kt::sum(kt::batch_norm(x, scale, shift).y * c);
    const auto [gx, gs, gh] = kt::grad(by_rows, x, scale, shift);
    const auto [bx, bs, bh] = kt::grad(by_columns, x, scale, shift);
    kt::Graph graph(inputs, std::vector<kt::Tensor>{gx, gs, gh}, {});
    kt::run_passes(graph);
    CHECK(kt::fuse(graph, {.gpu = true}).clusters.size() == 2);
    std::vector<std::vector<kt::Array>> calls;
    for (const std::int64_t rows : {300, 2, 5000}) {
      if (!free && rows != 300) continue;
      calls.push_back({random_array({rows, 33}, kt::f32, 1), random_array({33}, kt::f32, 2),
                       random_array({33}, kt::f32, 3), random_array({rows, 33}, kt::f32, 4)});
    }
    check_like_cpu(inputs, {gx, gs, gh, bx, bs, bh}, calls, 1e-4);
  }
}

// Nothing that is summed up waits for the standard deviation: one look for all sums, in runs that
// have a mean of their own, and one for the results.
TEST_CASE("cuda: held columns: gradients of norms look at memory twice") {
  const TestCuda cuda;
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 5}), c = kt::tensor("c", {kt::dim("n"), 5}),
                   scale = kt::tensor("scale", {5}), shift = kt::tensor("shift", {5});
  const std::vector<kt::Tensor> inputs{x, scale, shift, c};
  const auto [gx, gs, gh] =
      kt::grad(kt::sum(kt::batch_norm(x, scale, shift).y * c), x, scale, shift);
  const std::vector<kt::Tensor> outputs{gx, gs, gh};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  CHECK(kt::fuse(graph, {.gpu = true}).clusters.size() == 1);
  // In runs a sum of each, one of all and the results; short columns in one kernel each.
  CHECK(kernels_of(inputs, outputs) == 5);
  const auto values = [&](std::int64_t rows, float far) {
    std::vector<kt::Array> all{random_array({rows, 5}, kt::f32, 1), random_array({5}, kt::f32, 2),
                               random_array({5}, kt::f32, 3), random_array({rows, 5}, kt::f32, 4)};
    for (float& number : all[0].data<float>()) number += far;
    return all;
  };
  check_like_cpu(inputs, outputs,
                 {values(0, 0), values(1, 0), values(3, 0), values(17, 0), values(600, 0),
                  values(5000, 0), values(5000, 100)},
                 1e-3);
}

TEST_CASE("cuda: held columns, what is not finite stays in its columns of a norm's gradient") {
  const TestCuda cuda;
  for (const std::int64_t n : {40, 5000}) {
    CAPTURE(n);
    const kt::Tensor x = kt::tensor("x", {n, 6}), c = kt::tensor("c", {n, 6}), one = kt::ones({6});
    const std::vector<kt::Tensor> outputs{kt::grad(kt::sum(kt::batch_norm(x, one, one).y * c), x),
                                          kt::grad(kt::sum(kt::var(x, 0)), x),
                                          kt::grad(kt::sum(kt::layer_norm(x, one, one) * c), x)};
    const std::vector<kt::Argument> values{with_specials({n, 6}), random_array({n, 6}, kt::f32, 2)};
    const auto want = kt::function({x, c}, outputs).call(values);
    const auto have = kt::function({x, c}, outputs, {.target = kt::cuda()}).call(values);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      CAPTURE(k);
      CHECK(kt::all_close(have[k], want[k], 1e-4, 1e-4, true));
    }
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t column = 0; column < 4; ++column) {
        for (const std::size_t of_columns : {0, 1}) {
          CHECK(std::isnan(want[of_columns].data<float>()[k * 6 + column]));
        }
      }
    }
  }
}

TEST_CASE("cuda: row results: a loss of each row is computed with the row") {
  const TestCuda cuda;
  const kt::Tensor scores = kt::tensor("scores", {kt::dim("n"), 40}),
                   labels = kt::tensor("labels", {kt::dim("n")}, kt::i64);
  const kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(scores, labels));
  const std::vector<kt::Tensor> inputs{scores, labels}, outputs{loss};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Fusion fusion = kt::fuse(graph, {.gpu = true});
  REQUIRE(fusion.clusters.size() == 2);
  CHECK(fusion.clusters[0].roots.size() == 1);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {1, 17, 600}) {
    kt::Array right = kt::Array::zeros({n}, kt::i64);
    for (std::int64_t k = 0; k < n; ++k) right.data<std::int64_t>()[k] = k % 40;
    calls.push_back({random_array({n, 40}, kt::f32, 1), right});
  }
  check_like_cpu(inputs, {loss}, calls);
  check_like_cpu(inputs, {loss, kt::grad(loss, scores)}, calls);
}

}  // namespace test_cuda_held_columns
