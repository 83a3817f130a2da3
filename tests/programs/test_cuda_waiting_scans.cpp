// Scans on a GPU whose steps are too much for one block: blocks that wait for each other. The
// emulator finds barriers that are missing, of a block and of the grid.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <string>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/fake_driver/process.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/like_cpu.h"

namespace test_cuda_waiting_scans {
namespace {

namespace kt = kroton;
using compiled_test::check_like_cpu;
using gpu_emulator::TestCuda;

kt::Array normal(const kt::Shape& shape, int seed, double scale = 1) {
  return kt::Array::normal(shape, static_cast<std::uint64_t>(seed), 0, scale);
}

struct Network {
  kt::Tensor x, u;
  kt::Tensor h, last;
};
// What an LSTM does with what it remembers.
Network lstm(std::int64_t units) {
  const auto x = kt::tensor("x", {kt::dim("t"), kt::dim("b"), 4 * units});
  const auto u = kt::tensor("u", {units, 4 * units});
  const auto zero = kt::zeros({kt::dim("b"), units});
  const auto [h, c] = kt::scan(
      [&](kt::Tensor now, kt::Tensor h0, kt::Tensor c0) {
        const kt::Tensor gates = now + kt::dot(h0, u);
        const auto gate = [&](std::int64_t k) {
          return gates(kt::all, kt::slice(k * units, (k + 1) * units));
        };
        const kt::Tensor cell =
            kt::sigmoid(gate(0)) * c0 + kt::sigmoid(gate(1)) * kt::tanh(gate(2));
        return std::pair{kt::sigmoid(gate(3)) * kt::tanh(cell), cell};
      },
      {.sequences = {x}, .outputs_info = {zero, zero}});
  return {x, u, h, c[-1]};
}

// The kernels of blocks that wait for each other, in the loop IR.
std::vector<std::string> waiting_kernels(const std::vector<kt::Tensor>& inputs,
                                         const std::vector<kt::Tensor>& outputs) {
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::gpu_machine());
  std::vector<std::string> kernels;
  for (const kt::Step& step : program.steps) {
    const auto* kernel = kt::as<kt::loop::Kernel>(step);
    if (kernel != nullptr && kernel->form == "blocks that wait for each other run all steps") {
      kernels.push_back(to_string(*kernel));
    }
  }
  return kernels;
}

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// Of kernels whose blocks keep an operand, the barriers of a grid in a step.
std::vector<int> barriers_where_kept(const std::vector<kt::Tensor>& inputs,
                                     const std::vector<kt::Tensor>& outputs) {
  std::vector<int> barriers;
  for (const std::string& kernel : waiting_kernels(inputs, outputs)) {
    if (count_of(kernel, "shared b_kept") == 0) continue;
    barriers.push_back(count_of(kernel, "barrier of the grid"));
  }
  return barriers;
}

}  // namespace

TEST_CASE("cuda: blocks wait for each other in the steps of an LSTM") {
  const TestCuda cuda;
  const Network net = lstm(40);
  const auto [gx, gu] = kt::grad(kt::sum(kt::square(net.h)), net.x, net.u);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t b : {70, 1, 20, 17, 0}) {  // 20, 17: a block for each tile
    calls.push_back({normal({3, b, 160}, 1), normal({40, 160}, 2, 0.2)});
  }
  check_like_cpu({net.x, net.u}, {net.h, net.last, gx, gu}, calls, 1e-4);
}

TEST_CASE("cuda: blocks that wait for each other start once, and not for what is their own") {
  const TestCuda cuda;
  const Network net = lstm(40);
  // Between steps: a block makes the cells of its gates, and the contributions of its cells.
  const auto gu = kt::grad(kt::sum(kt::square(net.h)), net.u);
  CHECK(barriers_where_kept({net.x, net.u}, {net.h, gu}) == std::vector<int>{1, 1});
  const auto f = kt::function({net.x, net.u}, net.last, {.target = kt::cuda()});
  const kt::Array u = normal({40, 160}, 2, 0.2);
  f(normal({2, 70, 160}, 1), u);
  const int before = gpu_emulator::counts().launches;
  const kt::Array once = f(normal({5, 70, 160}, 1), u);
  if (cuda.is_emulated()) CHECK(gpu_emulator::counts().launches - before <= 5);
  // In a graph, and with the same bits.
  for (int k = 0; k < 2; ++k) CHECK(kt::array_equal(f(normal({5, 70, 160}, 1), u), once));
}

TEST_CASE("cuda: blocks keep their part of the weights in the steps of a GRU") {
  const TestCuda cuda;
  constexpr std::int64_t units = 45;
  const auto x = kt::tensor("x", {kt::dim("t"), kt::dim("b"), 3 * units});
  const auto u = kt::tensor("u", {units, 3 * units});
  const auto h = kt::scan(
      [&](kt::Tensor now, kt::Tensor before) {
        const kt::Tensor product = kt::dot(before, u);
        const auto part = [&](const kt::Tensor& y, std::int64_t k) {
          return y(kt::all, kt::slice(k * units, (k + 1) * units));
        };
        const kt::Tensor r = kt::sigmoid(part(now, 0) + part(product, 0));
        const kt::Tensor z = kt::sigmoid(part(now, 1) + part(product, 1));
        const kt::Tensor n = kt::tanh(part(now, 2) + r * part(product, 2));
        return (1 - z) * n + z * before;
      },
      {.sequences = {x}, .outputs_info = {kt::zeros({kt::dim("b"), units})}});
  // The gradient reads the products: they are stored too.
  const auto [gx, gu] = kt::grad(kt::sum(kt::square(h)), x, u);
  CHECK(barriers_where_kept({x, u}, {h, gu}) == std::vector<int>{1, 1});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t b : {27, 17, 65}) {  // 65: more tiles than blocks
    calls.push_back({normal({3, b, 3 * units}, 1), normal({units, 3 * units}, 2, 0.2)});
  }
  check_like_cpu({x, u}, {h, gx, gu}, calls, 1e-4);
}

TEST_CASE("cuda: blocks that wait keep no operand that a step changes") {
  const TestCuda cuda;
  const auto m = kt::tensor("m", {65, 80}), w = kt::tensor("w", {80, 80});
  const kt::Array start = normal({65, 80}, 1), weights = normal({80, 80}, 2, 0.1);
  SUBCASE("weights that are a state") {
    const auto [y, v] =
        kt::scan([&](kt::Tensor x,
                     kt::Tensor own) { return std::pair{kt::tanh(kt::dot(x, own)), own * 0.9}; },
                 {.outputs_info = {m, w}, .n_steps = 3});
    CHECK(barriers_where_kept({m, w}, {y}).empty());
    check_like_cpu({m, w}, {y, v[-1]}, {{start, weights}}, 1e-4);
  }
  SUBCASE("weights of each step") {
    const auto many = kt::tensor("many", {3, 80, 80});
    const auto y = kt::scan([&](kt::Tensor own, kt::Tensor x) { return kt::tanh(kt::dot(x, own)); },
                            {.sequences = {many}, .outputs_info = {m}});
    CHECK(barriers_where_kept({many, m}, {y}).empty());
    check_like_cpu({many, m}, {y}, {{normal({3, 80, 80}, 3, 0.1), start}}, 1e-4);
  }
  SUBCASE("weights that lie across, in a loop in a loop") {
    const auto y = kt::scan(
        [&](kt::Tensor x) {
          const kt::Tensor inner = kt::scan(
              [&](kt::Tensor s) { return kt::tanh(kt::dot(s, kt::transpose(w)) + x * 0.1); },
              {.outputs_info = {kt::zeros({65, 80})}, .n_steps = 2});
          return kt::dot(inner[-1], w) + x * 0.5;
        },
        {.outputs_info = {m}, .n_steps = 2});
    CHECK(barriers_where_kept({m, w}, {y}).size() == 1);
    check_like_cpu({m, w}, {y[-1]}, {{start, weights}}, 1e-4);
  }
}

TEST_CASE("cuda: blocks keep their part of the weights of a plain recurrence") {
  const TestCuda cuda;
  constexpr std::int64_t units = 33;
  const auto x = kt::tensor("x", {kt::dim("t"), kt::dim("b"), units});
  const auto u = kt::tensor("u", {units, units});
  const auto h = kt::scan(
      [&](kt::Tensor now, kt::Tensor before) { return kt::tanh(now + kt::dot(before, u)); },
      {.sequences = {x}, .outputs_info = {kt::zeros({kt::dim("b"), units})}});
  const auto [gx, gu] = kt::grad(kt::sum(kt::square(h)), x, u);
  CHECK(barriers_where_kept({x, u}, {h, gu}) == std::vector<int>{1, 1});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t t : {3, 1, 0}) {
    calls.push_back({normal({t, 32, units}, 1), normal({units, units}, 2, 0.2)});
  }
  check_like_cpu({x, u}, {h, gx, gu}, calls, 1e-4);
}

TEST_CASE("cuda: products in parts and in other dtypes by blocks that wait for each other") {
  const TestCuda cuda;
  for (const kt::DType dtype : {kt::f32, kt::f64, kt::bf16}) {
    CAPTURE(kt::name_of(dtype));
    const auto x = kt::tensor("x", {kt::dim("t"), 5, 300}, dtype);
    const auto w = kt::tensor("w", {300, 300}, dtype);
    const auto h = kt::scan(
        [&](kt::Tensor now, kt::Tensor before) { return kt::tanh(now + kt::dot(before, w)); },
        {.sequences = {x}, .outputs_info = {kt::zeros({5, 300}, dtype)}});
    const kt::Array xs = normal({3, 5, 300}, 1).cast(dtype);
    const kt::Array ws = normal({300, 300}, 2, 0.05).cast(dtype);
    check_like_cpu({x, w}, {h}, {{xs, ws}}, dtype == kt::bf16 ? 2e-2 : 1e-4);
  }
}

TEST_CASE("cuda: rows, branches, loops in loops and until by blocks that wait for each other") {
  const TestCuda cuda;
  const auto m = kt::tensor("m", {90, 90}), w = kt::tensor("w", {90, 90});
  const kt::Array start = normal({90, 90}, 1), weights = normal({90, 90}, 2, 0.1);
  SUBCASE("rows") {
    const auto y = kt::scan([&](kt::Tensor x) { return kt::softmax(kt::dot(x, w)); },
                            {.outputs_info = {m}, .n_steps = 3});
    check_like_cpu({m, w}, {y}, {{start, weights}}, 1e-4);
  }
  SUBCASE("a branch") {
    const auto turns = kt::vector("turns", kt::boolean);
    const auto y = kt::scan(
        [&](kt::Tensor turn, kt::Tensor x) {
          return kt::ifelse(turn, kt::tanh(kt::dot(x, w)), kt::dot(kt::transpose(x), w) * 0.5);
        },
        {.sequences = {turns}, .outputs_info = {m}});
    kt::Array flags = kt::Array::zeros({4}, kt::boolean);
    flags.data<bool>()[1] = flags.data<bool>()[2] = true;
    check_like_cpu({turns, m, w}, {y}, {{flags, start, weights}}, 1e-4);
  }
  SUBCASE("a loop in a loop") {
    const auto y = kt::scan(
        [&](kt::Tensor x) {
          const kt::Tensor inner =
              kt::scan([&](kt::Tensor s) { return kt::tanh(kt::dot(s, w) + x * 0.1); },
                       {.outputs_info = {kt::zeros({90, 90})}, .n_steps = 2});
          return inner[-1] + x * 0.5;
        },
        {.outputs_info = {m}, .n_steps = 2});
    check_like_cpu({m, w}, {y[-1]}, {{start, weights}}, 1e-4);
  }
  SUBCASE("until") {
    const auto [halves, count] = kt::scan(
        [&](kt::Tensor x, kt::Tensor n) {
          const kt::Tensor next = kt::tanh(kt::dot(x, w)) * 0.5;
          return kt::until(std::pair{next, n + 1}, kt::sum(kt::abs(next)) < 100.0);
        },
        {.outputs_info = {m, std::int64_t{0}}, .n_steps = 6});
    check_like_cpu({m, w}, {halves, count[-1]}, {{start, weights}}, 1e-4);
  }
}

// On the driver of the tests: one call, a graph, and it once more.
void check_on_driver(const fake_driver::Process& process, bool together) {
  const Network net = lstm(40);
  const kt::Array u = normal({40, 160}, 2, 0.2);
  std::vector<std::vector<kt::Array>> calls;
  for (const int seed : {1, 3, 4}) calls.push_back({normal({2, 20, 160}, seed), u});
  check_like_cpu({net.x, net.u}, {net.h, net.last}, calls, 1e-4);
  CHECK((process->calls("cuLaunchCooperativeKernel") > 0) == together);
}

TEST_CASE("fake driver: scans by blocks that wait for each other") {
  const fake_driver::Process process;
  if (process) check_on_driver(process, true);
}

TEST_CASE("fake driver: scans start kernels where blocks cannot wait for each other") {
  const fake_driver::Process process("together=0");
  if (process) check_on_driver(process, false);
}

}  // namespace test_cuda_waiting_scans
