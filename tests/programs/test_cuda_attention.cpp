// Attention on a GPU: a product, the softmax of its rows and a product of that in one kernel.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/nn_attention.h>

#include <cmath>
#include <limits>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/program_call.h"

using namespace kroton;  // NOLINT: tests

namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// What queries (batch, heads, rows, inner) see of keys and values.
struct Attended {
  std::vector<Tensor> q;  // one for each result: products that are alike are computed once
  Tensor k, v, mask, bias;
  std::vector<Tensor> inputs, outputs;
};

Tensor scores_of(const Attended& a, std::size_t number) {
  const auto each = static_cast<double>(a.k.shape(3).constant());
  return matmul(a.q[number], swapaxes(a.k, 2, 3)) * (1 / std::sqrt(each));
}

// Plain; causal; with a mask of minus infinities; with a bias and weights of which some are
// dropped.
Attended attended(DType dtype, const Dims& q, const Dims& k, const Dims& v) {
  Attended a;
  for (const char* name : {"q0", "q1", "q2", "q3"}) a.q.push_back(tensor(name, q, dtype));
  a.k = tensor("k", k, dtype);
  a.v = tensor("v", v, dtype);
  const Dims pairs{q[2], k[2]};
  a.mask = tensor("mask", pairs, boolean);
  a.bias = tensor("bias", {q[1], q[2], k[2]}, dtype);
  const Tensor causal = where(le(iota(pairs, 1), iota(pairs, 0)), scores_of(a, 1), -1e30);
  const Tensor hidden = where(a.mask, scores_of(a, 2), minus_infinity);
  const Tensor dropped = where(a.mask, softmax(scores_of(a, 3) + a.bias, -1) * 1.25, 0);
  a.inputs = a.q;
  for (const Tensor& x : {a.k, a.v, a.mask, a.bias}) a.inputs.push_back(x);
  a.outputs = {matmul(softmax(scores_of(a, 0), -1), a.v), matmul(softmax(causal, -1), a.v),
               relu(matmul(softmax(hidden, -1), a.v) * 2), matmul(dropped, a.v)};
  return a;
}

Array mixed(const Shape& shape, DType dtype, std::uint64_t seed, double scale = 1) {
  return Array::normal(shape, seed, 0, scale).cast(dtype);
}

// The last rows see nothing at all.
Array mask_of(std::int64_t rows, std::int64_t keys) {
  Array mask = Array::zeros({rows, keys}, boolean);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < keys; ++j) {
      mask.data<bool>()[i * keys + j] = i % 5 != 4 && (i * 7 + j * 3) % 4 != 0;
    }
  }
  return mask;
}

int kernels_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
               const Machine& machine = gpu_machine(80)) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "f", machine);
  int count = 0;
  for_each_kernel(program.steps, [&](const loop::Kernel&) { ++count; });
  return count;
}

// Those that are attention.
int attentions_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                  const Machine& machine = gpu_machine(80)) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "f", machine);
  int count = 0;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    count += kernel.form.starts_with("attention") ? 1 : 0;
  });
  return count;
}

bool is_alike(const Array& got, const Array& wanted, DType dtype) {
  const bool is_short = is_only_stored(dtype);
  const double tolerance = dtype == bf16 ? 0.03 : is_short ? 0.004 : 2e-5;
  return all_close(got.cast(f32), wanted.cast(f32), tolerance, tolerance, true);
}

// Batch, heads, queries, keys.
const std::vector<std::array<std::int64_t, 4>> attention_sizes{
    {0, 1, 3, 3}, {1, 1, 1, 1},   {2, 1, 3, 17}, {1, 2, 0, 3},
    {1, 1, 3, 0}, {1, 2, 17, 65}, {1, 1, 65, 70}};

void check_sizes(DType dtype, std::int64_t inner, std::int64_t columns,
                 const std::vector<std::array<std::int64_t, 4>>& sizes,
                 const Target& target = cuda(), DType close = f64) {
  const Dim b = dim("b"), h = dim("h"), m = dim("m"), n = dim("n");
  Attended a = attended(dtype, {b, h, m, inner}, {b, h, n, inner}, {b, h, n, columns});
  // The first heads of a dtype with all there is in between; each kernel takes the emulator a
  // while.
  if (inner != 16) a.outputs = {a.outputs[2]};
  const Machine machine = gpu_machine(80, target.tf32);
  CHECK(kernels_of(a.inputs, a.outputs, machine) == static_cast<int>(a.outputs.size()));
  const auto on_cpu = function(a.inputs, a.outputs, {.on_unused_input = UnusedInput::ignore});
  const auto on_cuda =
      function(a.inputs, a.outputs, {.target = target, .on_unused_input = UnusedInput::ignore});
  for (const auto& [batch, heads, rows, keys] : sizes) {
    CAPTURE(batch);
    CAPTURE(rows);
    CAPTURE(keys);
    const Array q = mixed({batch, heads, rows, inner}, dtype, 1);
    const std::vector<Argument> arguments{q,
                                          q,
                                          q,
                                          q,
                                          mixed({batch, heads, keys, inner}, dtype, 2),
                                          mixed({batch, heads, keys, columns}, dtype, 3),
                                          mask_of(rows, keys),
                                          mixed({heads, rows, keys}, dtype, 4)};
    const std::vector<Array> wanted = on_cpu.call(arguments);
    const std::vector<Array> got = on_cuda.call(arguments);
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      CAPTURE(k);
      CHECK(is_alike(got[k], wanted[k], close == f64 ? dtype : close));
    }
    if (sizes.size() == 1 || rows != sizes.back()[2]) continue;
    const std::vector<Array> again = on_cuda.call(arguments);
    for (std::size_t k = 0; k < wanted.size(); ++k) CHECK(array_equal(again[k], got[k], true));
  }
}

}  // namespace

TEST_CASE("attention: products and softmax are one kernel of what the dtype allows") {
  const auto count = [](DType dtype, std::int64_t inner, std::int64_t rows,
                        const Machine& machine) {
    const Attended a = attended(dtype, {2, 3, rows, inner}, {2, 3, 70, inner}, {2, 3, 70, inner});
    return kernels_of(a.inputs, {a.outputs[0]}, machine);
  };
  CHECK(count(f32, 64, 40, gpu_machine(75)) == 1);
  CHECK(count(f16, 64, 40, gpu_machine(80)) == 1);
  CHECK(count(bf16, 128, 40, gpu_machine(90)) == 1);
  CHECK(count(f32, 128, 40, gpu_machine(90, true)) == 1);
  CHECK(count(f32, 300, 40, gpu_machine(80)) > 1);  // no room for the rows
  CHECK(count(f64, 64, 40, gpu_machine(80)) > 1);
  CHECK(count(f32, 64, 3, gpu_machine(80)) > 1);  // few rows
}

TEST_CASE("attention: what else needs the scores or the weights keeps them") {
  const Attended a = attended(f32, {2, 3, 40, 16}, {2, 3, 70, 16}, {2, 3, 70, 16});
  const Tensor scores = scores_of(a, 0), weights = softmax(scores, -1);
  const Tensor y = matmul(weights, a.v);
  CHECK(kernels_of(a.inputs, {y}) == 1);
  CHECK(kernels_of(a.inputs, {y, weights}) > 1);
  CHECK(kernels_of(a.inputs, {y, scores}) > 1);
  CHECK(kernels_of(a.inputs, {y, sum(weights, 2)}) > 1);
  // Not linear in the weights, not a softmax, of other rows.
  CHECK(kernels_of(a.inputs, {matmul(where(gt(weights, 0.1), weights, 0), a.v)}) > 1);
  CHECK(kernels_of(a.inputs, {matmul(weights * weights, a.v)}) > 1);
  CHECK(kernels_of(a.inputs, {matmul(weights + a.bias, a.v)}) > 1);
  CHECK(kernels_of(a.inputs, {matmul(softmax(scores, 2), a.v)}) > 1);
  CHECK(kernels_of(a.inputs, {matmul(exp(scores - max(scores, 3, true)), a.v)}) > 1);
}

TEST_CASE("attention: the interpreter of the loop IR computes it") {
  for (const DType dtype : {f16, f32}) {
    for (const bool tf32 : {false, true}) {
      if (tf32 && dtype == f16) continue;
      CAPTURE(dtype);
      CAPTURE(tf32);
      const Dim m = dim("m"), n = dim("n");
      Attended a = attended(dtype, {1, 1, m, 20}, {1, 1, n, 20}, {1, 1, n, 12});
      if (dtype == f32) a.outputs = {a.outputs[tf32 ? 2 : 3]};  // what differs is the products
      const Array q = mixed({1, 1, 19, 20}, dtype, 1);
      const std::vector<Array> values{q,
                                      q,
                                      q,
                                      q,
                                      mixed({1, 1, 37, 20}, dtype, 2),
                                      mixed({1, 1, 37, 12}, dtype, 3),
                                      mask_of(19, 37),
                                      mixed({1, 19, 37}, dtype, 4)};
      Graph graph(a.inputs, a.outputs, {});
      run_passes(graph);
      const Program program = lower(graph, "f", gpu_machine(80, tf32));
      compiled_test::ProgramCall call(program, values);
      REQUIRE(!call.interpret());
      const std::vector<Argument> arguments(values.begin(), values.end());
      const std::vector<Array> wanted =
          function(a.inputs, a.outputs, {.on_unused_input = UnusedInput::ignore}).call(arguments);
      for (std::size_t k = 0; k < wanted.size(); ++k) {
        CAPTURE(k);
        CHECK(is_alike(call.outputs()[k], wanted[k], tf32 ? f16 : dtype));
      }
    }
  }
}

TEST_CASE("cuda: attention of 16 bits of all sizes") {
  const gpu_emulator::TestCuda device;
  check_sizes(f16, 16, 16, attention_sizes);
  check_sizes(bf16, 20, 12, {{1, 1, 17, 3}, {2, 1, 65, 33}});
}

TEST_CASE("cuda: attention of f32 of all sizes") {
  const gpu_emulator::TestCuda device;
  check_sizes(f32, 16, 16, attention_sizes);
  check_sizes(f32, 5, 3, {{1, 1, 17, 3}, {2, 1, 65, 33}});
  Target fast = cuda();
  fast.tf32 = true;
  check_sizes(f32, 20, 12, {{2, 1, 19, 37}}, fast, f16);
}

TEST_CASE("cuda: attention of heads of other sizes") {
  const gpu_emulator::TestCuda device;
  check_sizes(f16, 80, 128, {{1, 1, 33, 70}});
  check_sizes(f32, 96, 72, {{1, 1, 33, 40}});
  check_sizes(f32, 128, 128, {{1, 1, 33, 40}});
}

TEST_CASE("cuda: attention of numbers of any size and none") {
  const gpu_emulator::TestCuda device;
  const Dims rows{2, 17, 16}, keys{2, 40, 16};
  for (const DType dtype : {f16, f32}) {
    const Tensor q = tensor("q", rows, dtype), k = tensor("k", keys, dtype),
                 v = tensor("v", keys, dtype), bias = tensor("bias", {17, 40}, dtype);
    const std::vector<Tensor> inputs{q, k, v, bias};
    const Tensor y = matmul(softmax(matmul(q, swapaxes(k, 1, 2)) + bias, -1), v);
    CHECK(attentions_of(inputs, {y}) == 1);
    Array special = Array::zeros({17, 40}, f32);
    const auto at = [&](int row, int key) -> float& {
      return special.data<float>()[row * 40 + key];
    };
    constexpr float infinite = std::numeric_limits<float>::infinity();
    for (int key = 0; key < 40; ++key) {
      at(1, key) = -infinite;                // nothing is left
      if (key < 36) at(2, key) = -infinite;  // the first blocks are hidden
      if (key != 3) at(4, key) = -infinite;  // one is left
    }
    at(5, 20) = infinite;
    at(6, 39) = std::nanf("");
    at(7, 0) = 30000;
    at(8, 39) = 30000;
    const std::vector<Argument> arguments{mixed({2, 17, 16}, dtype, 1, 20),
                                          mixed({2, 40, 16}, dtype, 2, 20),
                                          mixed({2, 40, 16}, dtype, 3, 100), special.cast(dtype)};
    const Array wanted = function(inputs, y).call(arguments);
    const Array got = function(inputs, y, {.target = cuda()}).call(arguments);
    CHECK(all_close(got.cast(f32), wanted.cast(f32), 0.004, dtype == f16 ? 0.3 : 0.01, true));
    const Array row = wanted.row(0).cast(f32);
    for (const int nan : {1, 5, 6}) CHECK(std::isnan(row.row(nan).data<float>()[0]));
    for (const int number : {2, 4, 7, 8}) CHECK(!std::isnan(row.row(number).data<float>()[0]));
  }
}

TEST_CASE("cuda: attention whose weights are read again stores them and trains as on the CPU") {
  const gpu_emulator::TestCuda device;
  const Dim m = dim("m"), n = dim("n");
  const Tensor q = tensor("q", {2, m, 20}, f16), k = tensor("k", {2, n, 20}, f16),
               v = tensor("v", {2, n, 12}, f16), g = tensor("g", {2, m, 12}, f16);
  const std::vector<Tensor> inputs{q, k, v, g};
  const Tensor weights = softmax(matmul(q, swapaxes(k, 1, 2)) * 0.25, -1);
  const Tensor y = matmul(weights, v);
  const auto [gq, gk, gv] = grad(sum(cast(y * y * g, f32)), q, k, v);
  const std::vector<Tensor> outputs{y, weights, gq, gk, gv};
  CHECK(attentions_of(inputs, outputs) == 1);
  CHECK(attentions_of(inputs, {y, gq, gk, gv}) == 1);
  CHECK(attentions_of(inputs, outputs, gpu_machine(75)) == 0);
  // What comes before the second product and needs the weights is not behind it.
  CHECK(attentions_of(inputs, {matmul(weights, v * sum(weights))}) == 0);
  const auto on_cpu = function(inputs, outputs);
  const auto on_cuda = function(inputs, outputs, {.target = cuda()});
  for (const auto& [rows, keys] : std::vector<std::pair<int, int>>{{1, 1}, {3, 0}, {17, 70}}) {
    CAPTURE(rows);
    CAPTURE(keys);
    const std::vector<Argument> arguments{
        mixed({2, rows, 20}, f16, 1), mixed({2, keys, 20}, f16, 2), mixed({2, keys, 12}, f16, 3),
        mixed({2, rows, 12}, f16, 4)};
    const std::vector<Array> wanted = on_cpu.call(arguments), got = on_cuda.call(arguments);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      CAPTURE(i);
      CHECK(all_close(got[i].cast(f32), wanted[i].cast(f32), 0.01, 0.01, true));
    }
  }
}

TEST_CASE("cuda: attention of a layer and in a branch and of transposed operands") {
  const gpu_emulator::TestCuda device;
  const Tensor x = tensor("x", {2, 20, 32}), flag = scalar("flag", boolean);
  nn::seed(2);
  const Tensor y = nn::MultiHeadAttention(2, {.causal = true})(x);
  const Tensor heads = reshape(x, {2, 20, 2, 16});
  const Tensor q = transpose(heads, {0, 2, 1, 3}), k = transpose(heads, {0, 2, 3, 1});
  const Tensor other = matmul(softmax(matmul(q, k), -1), q);
  const Tensor chosen = ifelse(flag, other, q);
  const std::vector<Tensor> inputs{x, flag}, outputs{y, chosen};
  CHECK(attentions_of(inputs, outputs) == 2);
  for (const bool taken : {false, true}) {
    const std::vector<Argument> arguments{mixed({2, 20, 32}, f32, 1), taken};
    const std::vector<Array> wanted = function(inputs, outputs).call(arguments);
    const std::vector<Array> got = function(inputs, outputs, {.target = cuda()}).call(arguments);
    for (std::size_t i = 0; i < outputs.size(); ++i) CHECK(is_alike(got[i], wanted[i], f32));
  }
}
