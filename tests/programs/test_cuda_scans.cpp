// Scans whose steps are parts of one kernel on a GPU, in both forms, and those that stay kernels
// for each step. The emulator finds barriers that are missing.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <string>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/like_cpu.h"

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests
using gpu_emulator::TestCuda;

namespace {

// How the function's scans run, in the order of the steps: the forms of kernels, "scan" and why.
std::string forms(const std::vector<kt::Tensor>& inputs, const std::vector<kt::Tensor>& outputs) {
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::gpu_machine());
  std::string text;
  for (const kt::Step& step : program.steps) {
    if (const auto* kernel = kt::as<kt::loop::Kernel>(step)) {
      if (kernel->name.find("_scan_") != std::string::npos) text += kernel->form + "; ";
    } else if (const auto* scan = kt::as<kt::Scan>(step)) {
      text += scan->form + "; ";
    }
  }
  return text;
}

const std::string by_elements = "every thread runs all steps for an element; ";
const std::string in_one_block = "one block runs all steps; ";
const std::string in_one_thread = "one thread runs all steps; ";

kt::Array normal(const kt::Shape& shape, int seed, double scale = 1) {
  return kt::Array::normal(shape, static_cast<std::uint64_t>(seed), 0, scale);
}

}  // namespace

TEST_CASE("cuda: scans of elements are one kernel whatever their size") {
  const TestCuda cuda;
  const auto x = kt::matrix("x");
  const auto a = kt::tensor("a", {x.shape(1)});
  const auto [sums, decayed] =
      kt::scan([&](kt::Tensor row, kt::Tensor sum,
                   kt::Tensor before) { return std::pair{sum + row, kt::tanh(before * a + row)}; },
               {.sequences = {x}, .outputs_info = {kt::zeros_like(a), a}});
  CHECK(forms({x, a}, {sums[-1], decayed}) == by_elements);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {0, 1, 3, 700}) {
    for (const std::int64_t t : {1, 2, 5}) calls.push_back({normal({t, n}, 1), normal({n}, 2)});
  }
  const auto gradients = kt::grad(kt::sum(kt::square(decayed)) + kt::sum(sums), x, a);
  check_like_cpu({x, a}, {sums[-1], decayed, decayed[-1], gradients[0], gradients[1]}, calls);

  const auto v = kt::vector("v", kt::f64);
  const auto running = kt::scan([](kt::Tensor now, kt::Tensor sum) { return 0.9 * sum + now; },
                                {.sequences = {v}, .outputs_info = {kt::zeros({}, kt::f64)}});
  CHECK(forms({v}, {running}) == by_elements);
  check_like_cpu(
      {v}, {running, running[-1], kt::grad(kt::sum(running * running), v)},
      {{kt::Array::normal({1}, 1, 0, 1, kt::f64)}, {kt::Array::normal({17}, 1, 0, 1, kt::f64)}});
}

TEST_CASE("cuda: a scan of elements starts one kernel") {
  const TestCuda cuda;
  const auto v = kt::vector("v");
  const auto last =
      kt::foldl([](kt::Tensor now, kt::Tensor sum) { return 0.5 * sum + now; }, {v}, kt::zeros({}));
  const auto f = kt::function({v}, last, {.target = kt::cuda()});
  f(normal({4}, 1));
  const int before = gpu_emulator::counts().launches;
  f(normal({1000}, 1));
  // The initial value, all steps, the last value.
  if (cuda.is_emulated()) CHECK(gpu_emulator::counts().launches - before <= 4);
}

TEST_CASE("cuda: integer states and taps in scans of elements") {
  const TestCuda cuda;
  const auto first = kt::vector("first", kt::i64);
  const auto fibonacci =
      kt::scan([](kt::Tensor before_last, kt::Tensor last) { return before_last + last; },
               {.outputs_info = {{first, {-2, -1}}}, .n_steps = 40});
  const auto x = kt::matrix("x");
  const auto smooth = kt::scan([](kt::Tensor before, kt::Tensor now, kt::Tensor older,
                                  kt::Tensor last) { return (before + now) * 0.5 + older - last; },
                               {.sequences = {{x, {-1, 0}}},
                                .outputs_info = {{kt::stack({x[0], x[1], x[1]}), {-3, -1}}},
                                .go_backwards = true});
  check_like_cpu({first, x}, {fibonacci, smooth, kt::grad(kt::sum(smooth * smooth), x)},
                 {{kt::Array::from({std::int64_t{0}, std::int64_t{1}}), normal({7, 9}, 2)}});
}

TEST_CASE("cuda: small networks run all steps in one block") {
  const TestCuda cuda;
  const auto x = kt::tensor("x", {kt::dim("t"), kt::dim("b"), 6});
  const auto w = kt::tensor("w", {6, 20});
  const auto u = kt::tensor("u", {5, 20});
  const auto zero = kt::zeros({kt::dim("b"), 5});
  const auto [h, c] = kt::scan(
      [&](kt::Tensor now, kt::Tensor h0, kt::Tensor c0) {
        const kt::Tensor gates = kt::dot(now, w) + kt::dot(h0, u);
        const auto gate = [&](std::int64_t k) {
          return gates(kt::all, kt::slice(k * 5, (k + 1) * 5));
        };
        const kt::Tensor cell =
            kt::sigmoid(gate(0)) * c0 + kt::sigmoid(gate(1)) * kt::tanh(gate(2));
        return std::pair{kt::sigmoid(gate(3)) * kt::tanh(cell), cell};
      },
      {.sequences = {x}, .outputs_info = {zero, zero}});
  const auto loss = kt::sum(kt::square(h));
  const auto [gx, gw, gu] = kt::grad(loss, x, w, u);
  // The batch is free: where it is large, a step is kernels of its own.
  const std::string text = forms({x, w, u}, {h});
  CHECK(text.find(in_one_block) == 0);
  CHECK(text.find("is more than a block's") != std::string::npos);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t b : {1, 3, 0}) {
    for (const std::int64_t t : {1, 4}) {
      calls.push_back({normal({t, b, 6}, 1), normal({6, 20}, 2, 0.5), normal({5, 20}, 3, 0.5)});
    }
  }
  check_like_cpu({x, w, u}, {h, c[-1], loss, gx, gw, gu}, calls);
}

TEST_CASE("cuda: the same results where steps are kernels and where they are not") {
  const TestCuda cuda;
  const auto x = kt::matrix("x"), w = kt::matrix("w");
  const auto states =
      kt::scan([&](kt::Tensor row, kt::Tensor state) { return kt::tanh(row + kt::dot(state, w)); },
               {.sequences = {x}, .outputs_info = {kt::zeros_like(x[0])}});
  // 420 * 420 operations are more than one block's, 9 * 9 are not.
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {9, 420, 9}) {
    calls.push_back({normal({2, n}, 1), normal({n, n}, 2, 0.05)});
  }
  check_like_cpu({x, w}, {states}, calls, 1e-4);
}

TEST_CASE("cuda: a Kalman filter in one thread") {
  const TestCuda cuda;
  const auto z = kt::vector("z");
  const auto f = kt::tensor("f", {4, 4}), q = kt::tensor("q", {4, 4});
  const auto h = kt::tensor("h", {4});
  const auto [xs, ps] = kt::scan(
      [&](kt::Tensor measured, kt::Tensor x, kt::Tensor p) {
        const kt::Tensor x1 = kt::dot(f, x);
        const kt::Tensor p1 = kt::dot(kt::dot(f, p), kt::transpose(f)) + q;
        const kt::Tensor ph = kt::dot(p1, h);
        const kt::Tensor gain = ph / (kt::dot(h, ph) + 0.1);
        return std::pair{x1 + gain * (measured - kt::dot(h, x1)), p1 - kt::outer(gain, ph)};
      },
      {.sequences = {z}, .outputs_info = {kt::zeros({4}), q}});
  CHECK(forms({z, f, q, h}, {xs}) == in_one_thread);
  const auto cost = kt::sum(kt::square(xs)) + kt::sum(ps[-1]);
  const auto gradients = kt::grad(cost, f, q, h, z);
  kt::Array covariance = kt::Array::zeros({4, 4});
  for (std::size_t k = 0; k < 4; ++k) covariance.data<float>()[5 * k] = 0.5F;
  check_like_cpu({z, f, q, h}, {xs, ps[-1], gradients[0], gradients[1], gradients[2], gradients[3]},
                 {{normal({6}, 1), normal({4, 4}, 2, 0.4), covariance, normal({4}, 3)},
                  {normal({1}, 1), normal({4, 4}, 2, 0.4), covariance, normal({4}, 3)}},
                 1e-4);
}

TEST_CASE("cuda: small steps in one thread, with rows, branches and stacks backwards") {
  const TestCuda cuda;
  const auto rows = kt::tensor("rows", {kt::dim("n"), 3}, kt::f64);
  const auto turns = kt::vector("turns", kt::boolean);
  const auto a = kt::tensor("a", {3, 3}, kt::f64);
  // A state in two rows by turns, one of which all rows are wanted, rows that come from the end,
  // and a row that is stored and used.
  const auto [y, sums, shown] = kt::scan(
      [&](kt::Tensor row, kt::Tensor turn, kt::Tensor before, kt::Tensor sum) {
        const kt::Tensor next =
            kt::ifelse(turn, kt::dot(a, before) + row, kt::tanh(kt::dot(before, a)) * row);
        return std::tuple{next, sum + kt::dot(next, a), next * kt::sum(before)};
      },
      {.sequences = {rows, turns},
       .outputs_info = {kt::zeros({3}, kt::f64), kt::ones({3}, kt::f64), kt::none},
       .go_backwards = true});
  CHECK(forms({rows, turns, a}, {y, sums[-1], shown}) == in_one_thread);
  const auto gradients = kt::grad(kt::sum(y * y) + kt::sum(sums[-1]) + kt::sum(shown), rows, a);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {1, 3, 17}) {
    kt::Array flags = kt::Array::zeros({n}, kt::boolean);
    for (std::int64_t k = 0; k < n; k += 2) flags.data<bool>()[k] = true;
    calls.push_back({kt::Array::normal({n, 3}, 1, 0, 0.5, kt::f64), flags,
                     kt::Array::normal({3, 3}, 2, 0, 0.5, kt::f64)});
  }
  check_like_cpu({rows, turns, a}, {y, sums[-1], shown, gradients[0], gradients[1]}, calls);
}

TEST_CASE("cuda: steps of numbers of 16 bits in registers") {
  const TestCuda cuda;
  for (const kt::DType dtype : {kt::f16, kt::bf16}) {
    const auto x = kt::tensor("x", {kt::dim("t"), 3}, dtype);
    const auto a = kt::tensor("a", {3, 3}, dtype);
    const kt::State start{kt::zeros({3}, dtype)};
    const auto by_element =
        kt::scan([&](kt::Tensor row, kt::Tensor before) { return before * row + row; },
                 {.sequences = {kt::sin(x)}, .outputs_info = {start}});
    const auto product = kt::scan(
        [&](kt::Tensor row, kt::Tensor before) { return kt::abs(kt::dot(a, before) + row); },
        {.sequences = {x}, .outputs_info = {start}});
    CHECK(forms({x, a}, {product}) == in_one_thread);
    std::vector<std::vector<kt::Array>> calls;
    for (const std::int64_t t : {1, 17}) {
      calls.push_back({kt::Array::normal({t, 3}, 1, 0, 0.5, kt::f32).cast(dtype),
                       kt::Array::normal({3, 3}, 2, 0, 0.5, kt::f32).cast(dtype)});
    }
    check_like_cpu({x, a}, {by_element, product}, calls, 2e-2);
  }
}

TEST_CASE("cuda: long sums of few results are shared by the threads of one block") {
  const TestCuda cuda;
  const auto x = kt::tensor("x", {kt::dim("t"), kt::dim("b"), 8});
  const auto w = kt::tensor("w", {96, 8});
  const auto u = kt::tensor("u", {8, 96});
  const auto states = kt::scan(
      [&](kt::Tensor now, kt::Tensor state) {
        return kt::tanh(now + kt::dot(kt::tanh(kt::dot(state, u)), w));
      },
      {.sequences = {x}, .outputs_info = {kt::zeros({kt::dim("b"), 8})}});
  CHECK(forms({x, w, u}, {states}).find(in_one_block) == 0);
  const auto gradients = kt::grad(kt::sum(kt::square(states)), x, w, u);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t b : {0, 1, 3, 17}) {
    calls.push_back({normal({3, b, 8}, 1), normal({96, 8}, 2, 0.2), normal({8, 96}, 3, 0.2)});
  }
  check_like_cpu({x, w, u}, {states, gradients[0], gradients[1], gradients[2]}, calls, 1e-4);
}

TEST_CASE("cuda: until, branches, loops in loops, draws and updates in one block") {
  const TestCuda cuda;
  const auto start = kt::vector("start");
  SUBCASE("until") {
    const auto [halves, count] = kt::scan(
        [](kt::Tensor x, kt::Tensor n) {
          const kt::Tensor next = x * 0.5;
          return kt::until(std::pair{next, n + 1}, kt::sum(kt::abs(next)) < 0.1);
        },
        {.outputs_info = {start, std::int64_t{0}}, .n_steps = 20});
    CHECK(forms({start}, {halves, count}).find("one block runs all steps") != std::string::npos);
    check_like_cpu({start}, {halves, count[-1], kt::grad(kt::sum(halves[-1]), start)},
                   {{normal({3}, 1)}, {normal({40}, 1)}, {kt::Array::zeros({2})}});
  }
  SUBCASE("a branch") {
    const auto turns = kt::vector("turns", kt::boolean);
    const auto y =
        kt::scan([](kt::Tensor turn,
                    kt::Tensor x) { return kt::ifelse(turn, kt::cumsum(x, 0), x * kt::sum(x)); },
                 {.sequences = {turns}, .outputs_info = {start}});
    kt::Array flags = kt::Array::zeros({5}, kt::boolean);
    flags.data<bool>()[1] = flags.data<bool>()[4] = true;
    check_like_cpu({turns, start}, {y, kt::grad(kt::sum(y), start)}, {{flags, normal({6}, 1, 0.3)}},
                   1e-4);
  }
  SUBCASE("a loop in a loop") {
    const auto y = kt::scan(
        [](kt::Tensor x) {
          const kt::Tensor inner =
              kt::scan([](kt::Tensor row, kt::Tensor s) { return kt::tanh(s + row * 0.1); },
                       {.sequences = {x}, .outputs_info = {kt::zeros({})}});
          return inner + kt::mean(x);
        },
        {.outputs_info = {start}, .n_steps = 4});
    check_like_cpu({start}, {y, kt::grad(kt::sum(y), start)}, {{normal({7}, 1)}}, 1e-4);
  }
  SUBCASE("checkpoints") {
    const auto y =
        kt::reduce([](kt::Tensor s) { return s + 0.1 * kt::sin(s) * kt::mean(s); },
                   {.outputs_info = {start}, .n_steps = 9, .checkpoint = kt::Checkpoints::sqrt});
    check_like_cpu({start}, {y, kt::grad(kt::sum(y), start)}, {{normal({5}, 1)}}, 1e-4);
  }
  SUBCASE("an update in each step") {
    const auto x = kt::matrix("x");
    const auto run = [&](const kt::Target& target) {
      const auto mean = kt::shared(kt::Array(0.5F), "mean");
      const auto centred = kt::map(
          [&](kt::Tensor row) {
            return kt::with_update(row - mean, mean, 0.9 * mean + 0.1 * kt::sum(row));
          },
          {x});
      const auto f = kt::function({x}, centred, {.target = target});
      const kt::Array y = f(normal({6, 40}, 1));
      f(normal({3, 40}, 2));
      return std::pair{y, mean.get_value()};
    };
    const auto want = run(kt::cpu()), have = run(kt::cuda());
    CHECK(kt::all_close(have.first, want.first, 1e-5, 1e-5));
    CHECK(kt::all_close(have.second, want.second, 1e-5, 1e-5));
  }
  SUBCASE("draws") {
    const auto run = [&](const kt::Target& target) {
      kt::RandomStream random(7);
      const auto walk =
          kt::scan([&](kt::Tensor x) { return x + kt::mean(x) * 0.1 + random.normal({8}); },
                   {.outputs_info = {kt::zeros({8})}, .n_steps = 5});
      const auto f = kt::function({}, walk, {.target = target});
      f();
      return f();
    };
    CHECK(kt::all_close(run(kt::cuda()), run(kt::cpu()), 1e-5, 1e-5));
  }
}

TEST_CASE("cuda: scans that check or call stay kernels for each step and say why") {
  const TestCuda cuda;
  const auto next = kt::vector("next", kt::i64);
  const auto path = kt::scan([&](kt::Tensor at) { return kt::take(next, at, 0); },
                             {.outputs_info = {std::int64_t{0}}, .n_steps = 5});
  CHECK(forms({next}, {path}) == "kernels for each step: a step checks what it is given; ");
  const kt::Array circle = kt::Array::from({std::int64_t{2}, std::int64_t{0}, std::int64_t{1}});
  check_like_cpu({next}, {path}, {{circle}});
  const auto f = kt::function({next}, path, {.target = kt::cuda()});
  CHECK_THROWS_AS(f(kt::Array::from({std::int64_t{1}, std::int64_t{2}})), kt::ValueError);
}
