// Kernels that do not need each other as one launch.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/gpu_loops.h"

namespace side_by_side_tests {
namespace {

namespace kt = kroton;
using compiled_test::random_array;

std::size_t kernels_of(const std::vector<kt::Tensor>& inputs,
                       const std::vector<kt::Tensor>& outputs) {
  std::size_t count = 0;
  kt::for_each_kernel(compiled_test::lowered_for_gpu({inputs, outputs, {}}).steps,
                      [&](const kt::loop::Kernel&) { ++count; });
  return count;
}

TEST_CASE("side by side: results of different sizes are one launch") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n")}), y = kt::tensor("y", {kt::dim("m"), 3}),
                   z = kt::tensor("z", {kt::dim("k")}, kt::f64);
  const std::vector<kt::Tensor> inputs{x, y, z}, outputs{kt::exp(x), y * 2 + 1, z - 1};
  CHECK(kernels_of(inputs, outputs) < 3);
  for (const std::int64_t n : {0, 1, 3, 17, 1000}) {
    for (const std::int64_t m : {0, 1, 700}) {
      CAPTURE(n);
      CAPTURE(m);
      compiled_test::check_for_gpu(
          {inputs,
           outputs,
           {random_array({n}, kt::f32, 1), random_array({m, 3}, kt::f32, 2),
            random_array({n + m}, kt::f64, 3)}},
          {1e-6, 1e-12});
    }
  }
}

TEST_CASE("side by side: what reads a result comes behind it") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n")}), y = kt::tensor("y", {kt::dim("m")});
  const kt::Tensor total = kt::sum(x) * 2;
  const std::vector<kt::Tensor> inputs{x, y}, outputs{total, y * total, kt::sum(y * total)};
  for (const std::int64_t n : {0, 1, 17, 40000}) {
    CAPTURE(n);
    compiled_test::check_for_gpu(
        {inputs, outputs, {random_array({n}, kt::f32, 1), random_array({n + 3}, kt::f32, 2)}},
        {1e-4, 1e-12});
  }
}

TEST_CASE("cuda: side by side, an optimizer's small updates are few launches") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 8});
  std::vector<kt::Shared> parameters;
  kt::Tensor value = x;
  for (int k = 0; k < 6; ++k) {
    parameters.push_back(kt::shared(random_array({8}, kt::f32, 10 + k), "p" + std::to_string(k)));
    value = kt::tanh(value + parameters.back());
  }
  const kt::Tensor loss = kt::mean(kt::square(value));
  const auto make = [&](const kt::Target& target) {
    kt::optim::Adam adam({.rate = 0.1});
    return kt::function({x}, loss, {.updates = adam.minimize(loss, parameters), .target = target});
  };
  const auto run = [&](const kt::Target& target) {
    for (int k = 0; k < 6; ++k) {
      parameters[k].set_value(random_array({8}, kt::f32, 10 + k));
    }
    auto step = make(target);
    for (const std::int64_t n : {1, 3, 17, 3000}) step(random_array({n, 8}, kt::f32, n));
    std::vector<kt::Array> values;
    for (const kt::Shared& p : parameters) values.push_back(p.get_value());
    return values;
  };
  const std::vector<kt::Array> expected = run(kt::cpu());
  const gpu_emulator::TestCuda cuda;
  const std::vector<kt::Array> found = run(kt::cuda());
  for (std::size_t k = 0; k < found.size(); ++k) {
    for (std::int64_t i = 0; i < 8; ++i) {
      CHECK(found[k].data<float>()[i] ==
            doctest::Approx(expected[k].data<float>()[i]).epsilon(1e-3));
    }
  }
  // Bits are those of the call before.
  const std::vector<kt::Array> again = run(kt::cuda());
  for (std::size_t k = 0; k < found.size(); ++k) CHECK(kt::array_equal(found[k], again[k]));
}

TEST_CASE("cuda: side by side, a failed check leaves what is updated") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n")}), at = kt::tensor("at", {1}, kt::i64);
  const kt::Shared a = kt::shared(kt::Array::zeros({4}), "a"),
                   b = kt::shared(kt::Array::zeros({9}), "b");
  const gpu_emulator::TestCuda cuda;
  auto step = kt::function({x, at}, kt::take(x, at),
                           {.updates = {{a, a + 1}, {b, b + 1}}, .target = kt::cuda()});
  step(random_array({5}, kt::f32, 1), kt::Array::zeros({1}, kt::i64));
  CHECK(a.get_value().data<float>()[0] == 1);
  CHECK(b.get_value().data<float>()[8] == 1);
  kt::Array outside = kt::Array::zeros({1}, kt::i64);
  outside.data<std::int64_t>()[0] = 5;
  CHECK_THROWS_AS(step(random_array({5}, kt::f32, 1), outside), kt::ValueError);
  CHECK(a.get_value().data<float>()[0] == 1);
  CHECK(b.get_value().data<float>()[8] == 1);
}

}  // namespace
}  // namespace side_by_side_tests
