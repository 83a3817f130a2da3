// Attention's gradients on a GPU: kernels that compute the weights again, so that nothing that has
// a number for each pair of a row and a key is stored.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/nn_attention.h>
#include <kroton/rearrange.h>

#include <cmath>
#include <limits>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/program_call.h"

using namespace kroton;  // NOLINT: tests

namespace {

// Queries (batch, heads, rows, each), keys and values; what they are trained with.
struct TrainedAttention {
  const char* name;
  std::vector<Tensor> inputs, outputs;
};

constexpr std::int64_t trained_heads = 2;

enum class Between : std::uint8_t { nothing, causal, hidden, bias, dropped };

TrainedAttention trained_attention(Between between, DType dtype, std::int64_t each,
                                   std::int64_t columns) {
  const Dim b = dim("b"), m = dim("m"), n = dim("n");
  const Tensor q = tensor("q", {b, trained_heads, m, each}, dtype),
               k = tensor("k", {b, trained_heads, n, each}, dtype),
               v = tensor("v", {b, trained_heads, n, columns}, dtype),
               g = tensor("g", {b, trained_heads, m, columns}, dtype),
               mask = tensor("mask", {m, n}, boolean), bias = tensor("bias", {m, n}, dtype);
  TrainedAttention result{"", {q, k, v, g, mask, bias}, {}};
  Tensor scores = matmul(q, swapaxes(k, 2, 3)) * 0.25;
  const Dims pairs{m, n};
  if (between == Between::causal) {
    result.name = "causal";
    scores = where(le(iota(pairs, 1), iota(pairs, 0)), scores, -1e30);
  } else if (between == Between::hidden) {
    result.name = "rows of minus infinity";
    scores = where(mask, scores, -std::numeric_limits<double>::infinity());
  } else if (between == Between::bias) {
    result.name = "with a bias";
    scores = scores + bias;
  }
  Tensor weights = softmax(scores, -1);
  if (between == Between::dropped) {
    result.name = "some dropped";
    weights = where(mask, weights * 1.25, 0);
  }
  const Tensor y = matmul(weights, v);
  const auto [gq, gk, gv] = grad(sum(cast(y * y * g, f32)), q, k, v);
  result.outputs = {y, gq, gk, gv};
  return result;
}

constexpr Between all_between[] = {Between::nothing, Between::causal, Between::hidden,
                                   Between::bias, Between::dropped};

struct GradientKernels {
  int attention = 0, pairs = 0, others = 0;
  bool stores_pairs = false;
};
// `pairs`: the elements that an array of all pairs has.
GradientKernels gradient_kernels(const std::vector<Tensor>& inputs,
                                 const std::vector<Tensor>& outputs,
                                 const Machine& machine = gpu_machine(80)) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "f", machine);
  GradientKernels counts;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    if (kernel.form.starts_with("attention")) {
      ++counts.attention;
    } else if (kernel.form.starts_with("pairs")) {
      ++counts.pairs;
    } else {
      ++counts.others;
    }
    const Dim pairs = dim("b") * Dim(trained_heads) * dim("m") * dim("n");
    for (const loop::BufferRef& buffer : kernel.outputs) {
      counts.stores_pairs = counts.stores_pairs || buffer->size == pairs;
    }
  });
  return counts;
}

// The last of each five rows see nothing at all, where `hides` says so.
Array gradient_mask(std::int64_t rows, std::int64_t keys, bool hides) {
  Array mask = Array::zeros({rows, keys}, boolean);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < keys; ++j) {
      mask.data<bool>()[i * keys + j] = (!hides || i % 5 != 4) && (i * 7 + j * 3) % 4 != 0;
    }
  }
  return mask;
}

std::vector<Argument> gradient_arguments(DType dtype, std::int64_t batch, std::int64_t rows,
                                         std::int64_t keys, std::int64_t each, std::int64_t columns,
                                         bool hides) {
  const auto normal = [&](const Shape& shape, int seed) {
    return Argument(Array::normal(shape, static_cast<std::uint64_t>(seed), 0, 1).cast(dtype));
  };
  return {normal({batch, trained_heads, rows, each}, 1),
          normal({batch, trained_heads, keys, each}, 2),
          normal({batch, trained_heads, keys, columns}, 3),
          normal({batch, trained_heads, rows, columns}, 4),
          gradient_mask(rows, keys, hides),
          normal({rows, keys}, 5)};
}

void check_gradients(Between between, DType dtype, std::int64_t each, std::int64_t columns,
                     const std::vector<std::array<std::int64_t, 3>>& sizes,
                     const Target& target = cuda(), double tolerance = 0) {
  const TrainedAttention trained = trained_attention(between, dtype, each, columns);
  const std::string name = trained.name;
  CAPTURE(name);
  CAPTURE(dtype);
  CAPTURE(each);
  CHECK(gradient_kernels(trained.inputs, trained.outputs, gpu_machine(80, target.tf32)).pairs == 2);
  const auto on_cpu =
      function(trained.inputs, trained.outputs, {.on_unused_input = UnusedInput::ignore});
  const auto on_cuda = function(trained.inputs, trained.outputs,
                                {.target = target, .on_unused_input = UnusedInput::ignore});
  if (tolerance == 0) tolerance = dtype == bf16 ? 0.1 : dtype == f16 ? 0.02 : 5e-5;
  for (const auto& [batch, rows, keys] : sizes) {
    CAPTURE(batch);
    CAPTURE(rows);
    CAPTURE(keys);
    const std::vector<Argument> arguments =
        gradient_arguments(dtype, batch, rows, keys, each, columns, between == Between::hidden);
    const std::vector<Array> wanted = on_cpu.call(arguments), got = on_cuda.call(arguments);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i);
      CHECK(all_close(got[i].cast(f32), wanted[i].cast(f32), tolerance, tolerance, true));
    }
    if (sizes.size() == 1 || keys != sizes.back()[2]) continue;
    const std::vector<Array> again = on_cuda.call(arguments);
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(array_equal(again[i], got[i], true));
  }
}

}  // namespace

TEST_CASE("attention gradients: nothing of all pairs is stored") {
  for (const Between between : all_between) {
    for (const auto& [dtype, tf32] :
         {std::pair{f16, false}, {bf16, false}, {f32, false}, {f32, true}}) {
      const TrainedAttention trained = trained_attention(between, dtype, 64, 64);
      CAPTURE(trained.name);
      CAPTURE(dtype);
      const GradientKernels kernels =
          gradient_kernels(trained.inputs, trained.outputs, gpu_machine(80, tf32));
      CHECK(kernels.attention == 1);
      CHECK(kernels.pairs == 2);  // queries; keys and values
      CHECK(!kernels.stores_pairs);
      CHECK(kernels.others == (between == Between::causal ? 2 : 1));  // sums of rows; the mask
    }
  }
}

TEST_CASE("attention gradients: what else needs the weights has them") {
  const TrainedAttention trained = trained_attention(Between::bias, f16, 16, 16);
  const std::vector<Tensor>& inputs = trained.inputs;
  const Tensor q = inputs[0], k = inputs[1], v = inputs[2], g = inputs[3], bias = inputs[5];
  const Tensor weights = softmax(matmul(q, swapaxes(k, 2, 3)) * 0.25 + bias, -1);
  const Tensor y = matmul(weights, v), cost = sum(cast(y * y * g, f32));
  const auto [gq, gk, gv] = grad(cost, q, k, v);
  const auto pairs_of = [&](const std::vector<Tensor>& outputs) {
    return gradient_kernels(inputs, outputs).pairs;
  };
  CHECK(pairs_of({y, gq, gk, gv}) == 2);
  CHECK(pairs_of({y, gq}) == 1);
  CHECK(pairs_of({y, gk, gv}) == 1);
  CHECK(pairs_of({y, gv}) == 1);
  CHECK(pairs_of({y, gq, gk, gv, weights}) == 0);
  CHECK(pairs_of({y, gq, gk, gv, sum(weights, 2)}) == 0);
  CHECK(pairs_of({y, gq, grad(cost, bias)}) == 0);  // a sum over batches and heads
  CHECK(pairs_of({y}) == 0);
}

TEST_CASE("attention gradients: the interpreter of the loop IR computes them") {
  for (const auto& [dtype, tf32] : {std::pair{f16, false}, {f32, false}, {f32, true}}) {
    CAPTURE(dtype);
    CAPTURE(tf32);
    const TrainedAttention trained = trained_attention(Between::dropped, dtype, 20, 12);
    Graph graph(trained.inputs, trained.outputs, {});
    run_passes(graph);
    const Program program = lower(graph, "f", gpu_machine(80, tf32));
    const std::vector<Argument> arguments = gradient_arguments(dtype, 1, 19, 37, 20, 12, false);
    std::vector<Array> values;
    const Shape shapes[] = {{1, trained_heads, 19, 20},
                            {1, trained_heads, 37, 20},
                            {1, trained_heads, 37, 12},
                            {1, trained_heads, 19, 12}};
    for (std::uint64_t i = 0; i < 4; ++i) {
      values.push_back(Array::normal(shapes[i], i + 1, 0, 1).cast(dtype));
    }
    values.push_back(gradient_mask(19, 37, false));
    values.push_back(Array::normal({19, 37}, 5, 0, 1).cast(dtype));
    compiled_test::ProgramCall call(program, values);
    REQUIRE(!call.interpret());
    const std::vector<Array> wanted =
        function(trained.inputs, trained.outputs, {.on_unused_input = UnusedInput::ignore})
            .call(arguments);
    const double tolerance = dtype == f16 || tf32 ? 0.02 : 5e-5;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i);
      CHECK(
          all_close(call.outputs()[i].cast(f32), wanted[i].cast(f32), tolerance, tolerance, true));
    }
  }
}

// What is between the products has nothing to do with the dtype: each kind in one of them.
TEST_CASE("cuda: attention gradients of 16 bits of all sizes") {
  const gpu_emulator::TestCuda device;
  check_gradients(
      Between::causal, f16, 20, 12,
      {{0, 3, 3}, {1, 1, 1}, {2, 3, 17}, {1, 0, 3}, {1, 3, 0}, {1, 17, 35}, {1, 70, 33}});
  check_gradients(Between::hidden, bf16, 16, 32, {{1, 17, 65}});
}

TEST_CASE("cuda: attention gradients of f32 of all sizes") {
  const gpu_emulator::TestCuda device;
  check_gradients(
      Between::nothing, f32, 16, 16,
      {{0, 3, 3}, {1, 1, 1}, {2, 3, 17}, {1, 0, 3}, {1, 3, 0}, {1, 17, 33}, {1, 65, 34}});
  check_gradients(Between::bias, f32, 5, 3, {{1, 3, 1}, {1, 70, 33}});
  Target fast = cuda();
  fast.tf32 = true;
  check_gradients(Between::dropped, f32, 20, 12, {{1, 19, 37}}, fast, 0.02);
}

TEST_CASE("cuda: attention gradients of heads of other sizes") {
  const gpu_emulator::TestCuda device;
  check_gradients(Between::nothing, f16, 64, 64, {{1, 33, 70}});
  check_gradients(Between::nothing, f16, 128, 80, {{1, 33, 40}});
  check_gradients(Between::nothing, f32, 64, 64, {{1, 33, 40}});
}

TEST_CASE("cuda: attention gradients of layers and of heads that share keys") {
  const gpu_emulator::TestCuda device;
  const Tensor x = tensor("x", {2, 20, 32});
  nn::seed(2);
  const nn::MultiHeadAttention layer(2, {.causal = true});
  const Tensor y = layer(layer(x));
  const Tensor q = tensor("q", {2, 6, 20, 16}, f16), k = tensor("k", {2, 2, 33, 16}, f16);
  const Tensor shared = repeat(k, Dim(3), 1);
  const Tensor z = matmul(softmax(matmul(q, swapaxes(shared, 2, 3)) * 0.25, -1), shared);
  const auto [gq, gk] = grad(sum(cast(z * z, f32)), q, k);
  const std::vector<Tensor> inputs{x, q, k}, outputs{y, grad(sum(y * y), x), z, gq, gk};
  CHECK(gradient_kernels(inputs, outputs).attention == 3);
  // Where keys are values, too, their gradient is a sum of two that wait for each other.
  CHECK(gradient_kernels(inputs, outputs).pairs == 2 + 2 + 3);
  const std::vector<Argument> arguments{Array::normal({2, 20, 32}, 1, 0, 1),
                                        Array::normal({2, 6, 20, 16}, 2, 0, 1).cast(f16),
                                        Array::normal({2, 2, 33, 16}, 3, 0, 1).cast(f16)};
  const std::vector<Array> wanted = function(inputs, outputs).call(arguments);
  const std::vector<Array> got = function(inputs, outputs, {.target = cuda()}).call(arguments);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CAPTURE(i);
    const double tolerance = i < 2 ? 1e-4 : 0.02;
    CHECK(all_close(got[i].cast(f32), wanted[i].cast(f32), tolerance, tolerance));
  }
}
