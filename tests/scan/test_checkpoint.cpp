// Gradients that keep the states of some steps only: the same numbers, in less memory.
#include <doctest/doctest.h>

#include <cmath>

#include "compiler/scan/checkpoint.h"
#include "tests/scan/scan_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace scan_test;   // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

using Network = Function<dynamic_outputs>;

// s' = tanh(W s + x_t), of 16 numbers: the last one's squares, and the gradients by s, x and W.
Network network(std::int64_t steps, ScanOptions options, bool free) {
  const Tensor s = tensor("s", {16}, f64), w = tensor("w", {16, 16}, f64);
  const Tensor x = free ? tensor("x", {dim("n")}, f64) : tensor("x", {steps}, f64);
  options.sequences = {x};
  options.outputs_info = {s};
  const Tensor y =
      scan([&](Tensor row, Tensor state) { return tanh(dot(w, state) + row); }, options);
  const Tensor cost = sum(square(y[-1]));
  std::vector<Tensor> results = {cost};
  for (const Tensor& g : grad(cost, std::vector<Tensor>{s, x, w})) results.push_back(g);
  return function({s, x, w}, results);
}

std::array<Array, 3> arguments_of(std::int64_t steps) {
  return {Array::normal({16}, 1, 0, 1, f64), Array::normal({steps}, 2, 0, 0.1, f64),
          Array::normal({16, 16}, 3, 0, 0.3, f64)};
}

std::vector<Array> results_of(const Network& f, std::int64_t steps) {
  const auto [s, x, w] = arguments_of(steps);
  return f(s, x, w);
}

}  // namespace

TEST_CASE("checkpoint: values and gradients are the same bits") {
  for (const std::int64_t steps : {1, 2, 7, 12, 100}) {
    CAPTURE(steps);
    const auto want = results_of(network(steps, {}, false), steps);
    for (const ScanOptions& options :
         {ScanOptions{.checkpoint_every = 3}, ScanOptions{.checkpoint = Checkpoints::sqrt}}) {
      CAPTURE(options.checkpoint_every);
      const auto have = results_of(network(steps, options, false), steps);
      for (const std::size_t k : {0, 1, 2}) {  // the cost, the gradients by s and by x
        CAPTURE(k);
        CHECK(array_equal(have[k], want[k]));
      }
      // The gradient by W is a sum over the steps, whose order is that of the stretches.
      check_values(have[3], numbers(want[3]), 1e-14);
    }
  }
}

TEST_CASE("checkpoint: numbers of steps that are known at the call") {
  const Network every = network(0, {.checkpoint_every = 5}, true);
  const Network root = network(0, {.checkpoint = Checkpoints::sqrt}, true);
  for (const std::int64_t steps : {1, 2, 4, 5, 6, 30, 100}) {
    CAPTURE(steps);
    const auto want = results_of(network(steps, {}, false), steps);
    for (const Network* made : {&every, &root}) {
      const auto have = results_of(*made, steps);
      for (std::size_t k = 0; k < want.size(); ++k) {
        CAPTURE(k);
        check_values(have[k], numbers(want[k]), 1e-13);
      }
    }
  }
}

TEST_CASE("checkpoint: memory of ten thousand steps") {
  const auto arena = [](const ScanOptions& options, bool free) {
    const auto [s, x, w] = arguments_of(10000);
    return network(10000, options, free).memory(s, x, w).arena;
  };
  const std::int64_t all = arena({}, false);
  CHECK(all > 10000 * 16 * 8);
  CHECK(10 * arena({.checkpoint = Checkpoints::sqrt}, false) < all);
  CHECK(10 * arena({.checkpoint_every = 100}, false) < all);
  CHECK(10 * arena({.checkpoint = Checkpoints::sqrt}, true) < all);
}

TEST_CASE("checkpoint: about the square root") {
  const Dim n = dim("n");
  const Dim root = about_sqrt(n);
  for (const std::int64_t count : {0, 1, 2, 3, 4, 10, 99, 1000, 12345, 1000000}) {
    CAPTURE(count);
    const double have = static_cast<double>(root.evaluate([&](const DimAtom&) { return count; }));
    CHECK(have >= 1);
    CHECK(have <= std::max(1.0, std::sqrt(static_cast<double>(count))));
    CHECK(2 * have >= std::sqrt(static_cast<double>(count)));
  }
}

TEST_CASE("checkpoint: errors") {
  const Tensor x = scalar("x");
  const auto step = [](Tensor a) { return a + 1; };
  CHECK(value_error([&] {
          scan(step, {.outputs_info = {x}, .n_steps = 3, .checkpoint_every = -1});
        }).starts_with("scan: checkpoint_every is -1: expected a number of steps, or 0"));
  CHECK(value_error([&] {
          scan(step, {.outputs_info = {x},
                      .n_steps = 3,
                      .checkpoint_every = 2,
                      .checkpoint = Checkpoints::sqrt});
        }).starts_with("scan: there are both checkpoint_every and checkpoint"));
}
