// The steps after an until has held: left out where nothing shows them, with the results that they
// would give.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <optional>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

// Halves x, at most n times, until all of it is below 1: rows, the last one, how many, and
// gradients of both kinds. n is the size of an input.
class Halving {
 public:
  // Where the size is known, the loop is one kernel.
  explicit Halving(bool known, const Target& target = cpu())
      : x_(known ? tensor("x", {3}, f64) : vector("x", f64)) {
    const auto [values, counts, doubles] = scan(
        [](Tensor value, Tensor count) {
          const Tensor next = value * 0.5 + 0.01 * tanh(value);
          return until(std::tuple{next, count + 1, 2 * next}, max(next) < 1);
        },
        {.outputs_info = {x_, std::int64_t{0}, none}, .n_steps = n_.shape(0)});
    const Tensor last = sum(square(values[-1]));
    const Tensor g = grad(last, x_);
    const Tensor all = sum(tanh(values)) + sum(doubles);
    outputs_ = {
        values, values[-1], counts[-1], doubles[-1], g, grad(all, x_), grad(sum(square(g)), x_)};
    f_.emplace(function({x_, n_}, outputs_, {.target = target}));
  }

  void check(std::int64_t steps, const std::vector<double>& x) const {
    CAPTURE(steps);
    const std::vector<Array> values = {Array::from(x), Array::zeros({steps})};
    const std::vector<Argument> arguments(values.begin(), values.end());
    const std::vector<Array> have = f_->call(arguments);
    const auto want = compiled_test::expected({{x_, n_}, outputs_, values});
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(compiled_test::difference(want[k], have[k], {.f32 = 1e-5, .f64 = 1e-12}) == "");
    }
  }

 private:
  Tensor x_, n_ = vector("n");
  std::vector<Tensor> outputs_;
  std::optional<Function<dynamic_outputs>> f_;
};

std::vector<const Scan*> loops_of(const std::vector<Step>& steps) {
  std::vector<const Scan*> loops;
  for (const Step& step : steps) {
    if (const Scan* loop = as<Scan>(step)) loops.push_back(loop);
    for_each_inner(step, [&](const auto& inner) {
      for (const Scan* loop : loops_of(inner)) loops.push_back(loop);
    });
  }
  return loops;
}

}  // namespace

TEST_CASE("until: results of steps that are left out of a loop of one kernel") {
  const Halving halving(true);
  // Around the number of steps that are left out together.
  for (const std::int64_t steps : {511, 512, 513, 1025}) halving.check(steps, {5, 900, 3});
  halving.check(1030, {0.1, 0.2, 0.3});  // all but the first
  halving.check(1030, {1e200, 2, 3});    // over the first 512
  halving.check(600, {NAN, 2, 3});       // none
}

TEST_CASE("until: results of steps that are left out of a loop of several kernels") {
  const Halving halving(false);
  for (const std::int64_t steps : {1, 2, 3, 20, 21}) {
    for (const double largest : {0.5, 7.0, 13.0, 1e9}) halving.check(steps, {5, largest, 0.3});
  }
}

TEST_CASE("cuda: results of steps that until leaves out") {
  const gpu_emulator::TestCuda device;
  const Halving halving(true, cuda());
  for (const std::int64_t steps : {1, 7, 8}) {
    halving.check(steps, {5, 7, 3});
    halving.check(steps, {5, 900, 3});
  }
}

TEST_CASE("until: which loops leave steps out") {
  const auto program_of = [](const std::vector<Tensor>& inputs,
                             const std::vector<Tensor>& outputs) {
    Graph graph(inputs, outputs, {});
    run_passes(graph);
    Machine machine = gpu_machine();
    machine.persistent_scans = false;
    return lower(graph, "until", machine);
  };
  const Tensor x = scalar("x", f64), rows = vector("rows", f64);
  const Tensor y = scan([](Tensor v) { return until(sin(v) + v / 2, v < 1); },
                        {.outputs_info = {x}, .n_steps = 100});
  const Program last = program_of({x}, {y[-1]});
  const auto forward = loops_of(last.steps);
  REQUIRE(forward.size() == 1);
  REQUIRE(forward[0]->idle);
  CHECK(forward[0]->idle_to_the_end);
  CHECK(forward[0]->idle_steps.empty());

  const Program gradient = program_of({x}, {grad(y[-1], x)});
  const auto both = loops_of(gradient.steps);
  REQUIRE(both.size() == 2);
  REQUIRE(both[0]->idle);
  CHECK(both[0]->idle_to_the_end);
  CHECK(!both[0]->idle_steps.empty());  // the gradient reads what it shows
  REQUIRE(both[1]->idle);
  CHECK(!both[1]->idle_to_the_end);

  // A loop whose boolean state says nothing about the others, and one whose row it is.
  const auto [flag, other] =
      scan([](Tensor f, Tensor v) { return std::pair{logical_or(f, v > 3), v + 1}; },
           {.outputs_info = {false, x}, .n_steps = 9});
  const Program changes = program_of({x}, {flag[-1], other[-1]});
  for (const Scan* loop : loops_of(changes.steps)) CHECK(!loop->idle);
  const Tensor kept = scan([](Tensor row, Tensor v) { return ifelse(row > 0, v, v * row); },
                           {.sequences = {rows}, .outputs_info = {x}});
  const Program by_rows = program_of({x, rows}, {kept[-1]});
  for (const Scan* loop : loops_of(by_rows.steps)) CHECK(!loop->idle);
}

TEST_CASE("until: a million steps of which ten are taken take no time") {
  const Tensor x = scalar("x", f64);
  const Tensor y = scan(
      [](Tensor v) {
        const Tensor next = v / 2;
        return until(next, next < 1);
      },
      {.outputs_info = {x}, .n_steps = 1000000000});
  const auto f = function({x}, y[-1]);
  const auto start = std::chrono::steady_clock::now();
  CHECK(f(700.0).item<double>() == 700.0 / 1024);
  // A nanosecond for each of the billion would be a second.
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 0.5);
}
