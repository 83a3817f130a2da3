// Steps that update shared variables, and reduce.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/scan/scan_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace scan_test;   // NOLINT: tests
using namespace error_text;  // NOLINT: tests

TEST_CASE("scan updates: a step reads what the one before has given") {
  const Tensor x = vector("x", f64);
  const Shared mean = shared(Array(1.0), "mean");
  const Tensor y =
      map([&](Tensor row) { return with_update(row - mean, mean, 0.5 * mean + 0.5 * row); }, {x});
  const auto f = function({x}, y);
  check_values(f(std::vector<double>{2, 3, 4}), {2 - 1.0, 3 - 1.5, 4 - 2.25}, 1e-15);
  CHECK(mean.get_value().item<double>() == 3.125);
  check_values(f(std::vector<double>{0}), {-3.125}, 1e-15);
  CHECK(mean.get_value().item<double>() == 1.5625);
  f(std::vector<double>{});  // no steps: it stays
  CHECK(mean.get_value().item<double>() == 1.5625);
}

TEST_CASE("scan updates: a function that needs no output of the loop updates nothing") {
  const Tensor x = vector("x", f64);
  const Shared count = shared(Array(0.0), "count");
  const auto [a, b] =
      scan([&](Tensor row,
               Tensor s) { return std::pair{s + row, with_update(2 * row, count, count + 1)}; },
           {.sequences = {x}, .outputs_info = {0.0, none}});
  function({x}, sum(x))(std::vector<double>{1, 2});
  CHECK(count.get_value().item<double>() == 0);
  // Any output will do, and several are one update.
  function({x}, a)(std::vector<double>{1, 2});
  CHECK(count.get_value().item<double>() == 2);
  function({x}, {a, b[-1], grad(sum(a * b), x)})(std::vector<double>{1, 2, 3});
  CHECK(count.get_value().item<double>() == 5);
}

TEST_CASE("scan updates: several of one variable, of several, in loops in loops, with an end") {
  const Tensor x = matrix("x", f64);
  const Shared a = shared(Array(0.0), "a"), b = shared(Array(1.0), "b");
  const Tensor y = map(
      [&](Tensor row) {
        const Tensor inner = map(
            [&](Tensor v) {
              const Tensor once = with_update(v, a, a + v);
              return with_update(once, a, 2 * a);  // of what the first one gives
            },
            {row});
        return with_update(sum(inner) + a, b, b + a);
      },
      {x});
  const auto f = function({x}, y);
  const auto values = f(array_of({1, 2, 3, 4}, f64).reshape({2, 2}));
  // a: 0 -> (0 + 1) * 2 = 2 -> (2 + 2) * 2 = 8 -> 22 -> 52; b reads a before each outer step.
  CHECK(a.get_value().item<double>() == 52);
  CHECK(b.get_value().item<double>() == 1 + 0 + 8);
  check_values(values, {3 + 0.0, 7 + 8.0}, 1e-15);

  const Shared steps = shared(Array(std::int64_t{0}), "steps");
  const Tensor start = scalar("start", f64);
  const Tensor s = scan(
      [&](Tensor v) {
        const Tensor next = with_update(v / 2, steps, steps + 1);
        return until(next, next < 1);
      },
      {.outputs_info = {start}, .n_steps = 100});
  const auto halve = function({start}, s[-1]);
  CHECK(halve(5.0).item<double>() == 0.625);
  CHECK(steps.get_value().item<std::int64_t>() == 3);
  halve(1.5);
  CHECK(steps.get_value().item<std::int64_t>() == 4);
}

TEST_CASE("scan updates: gradients flow through what steps have given each other") {
  const Tensor x = vector("x", f64), w = scalar("w", f64);
  const Shared mean = shared(Array(1.0), "mean");
  const Tensor y =
      map([&](Tensor row) { return with_update(sin(row * mean), mean, w * mean + row); }, {x});
  const Tensor s0 = scalar("s0", f64);
  // The same loop with a state.
  const auto [z, states] =
      scan([&](Tensor row, Tensor s) { return std::pair{sin(row * s), w * s + row}; },
           {.sequences = {x}, .outputs_info = {none, s0}});
  const auto [gx, gw] = grad(sum(y), x, w);
  const auto [hx, hw] = grad(sum(z), x, w);
  const auto have = function({x, w}, {gx, gw})(std::vector<double>{0.1, 0.2, 0.3}, 0.9);
  const auto want = function({x, w, s0}, {hx, hw})(std::vector<double>{0.1, 0.2, 0.3}, 0.9, 1.0);
  for (const std::size_t k : {0, 1}) check_values(have[k], numbers(want[k]), 1e-14);
}

TEST_CASE("scan updates: running statistics of a layer") {
  const Array batches = Array::normal({3, 8, 2}, 1, 0.5, 2, f64);
  const auto batch_of = [&](std::int64_t k) {
    const std::vector<double> all = numbers(batches);
    return array_of({all.begin() + 16 * k, all.begin() + 16 * (k + 1)}, f64).reshape({8, 2});
  };
  const auto statistics = [&](bool in_a_loop) {
    const nn::BatchNormalization norm({.momentum = 0.9});
    const nn::Training training;
    const Tensor x = tensor("x", {in_a_loop ? dim("steps") : Dim(8), in_a_loop ? 8 : 2, 2}, f64);
    const Tensor batch = tensor("batch", {8, 2}, f64);
    if (in_a_loop) {
      const Tensor y = map([&](Tensor rows) { return norm(rows); }, {x});
      const auto train = function({x}, {y, grad(sum(sin(y)), x)});
      train(batches);
    } else {
      const auto train = function({batch}, norm(batch));
      for (int k = 0; k < 3; ++k) train(batch_of(k));
    }
    const auto inference = [&] {
      const nn::Training off(false);
      return norm(batch);
    }();
    return numbers(function({batch}, inference)(batch_of(0)));
  };
  check_values(Array::from(statistics(true)), statistics(false), 1e-12);
}

TEST_CASE("scan updates: checkpoints change nothing") {
  const Tensor x = vector("x", f64);
  for (const std::int64_t every : {0, 2}) {
    const Shared mean = shared(Array(1.0), "mean");
    const Tensor y =
        scan([&](Tensor row) { return with_update(row * mean, mean, 0.5 * mean + 0.5 * row); },
             {.sequences = {x}, .checkpoint_every = every});
    const auto f = function({x}, {y, grad(sum(square(y)), x)});
    const auto results = f(std::vector<double>{2, 3, 4, 5, 6});
    check_values(results[0], {2, 4.5, 9, 15.625, 24.375}, 1e-12);
    CHECK(mean.get_value().item<double>() == 5.03125);
  }
}

TEST_CASE("scan updates: a function of vmap updates nothing") {
  const Tensor x = vector("x", f64);
  const Shared count = shared(Array(0.0), "count");
  CHECK(value_error([&] {
          vmap([&](Tensor v) { return with_update(v, count, count + 1); })(x);
        }).starts_with("with_update: a function of vmap updates no shared variable, as count"));
}

TEST_CASE("reduce: the last values of several states") {
  const Tensor x = vector("x", f64);
  const auto [total, product] =
      reduce([](Tensor row, Tensor a, Tensor b) { return std::pair{a + row, b * row}; },
             {.sequences = {x}, .outputs_info = {0.0, 1.0}});
  const auto f = function({x}, {total, product, grad(total * product, x)});
  const auto results = f(std::vector<double>{1, 2, 4});
  CHECK(results[0].item<double>() == 7);
  CHECK(results[1].item<double>() == 8);
  check_values(results[2], {8 + 7 * 8.0, 8 + 7 * 4.0, 8 + 7 * 2.0}, 1e-15);
  const auto of_none = f(std::vector<double>{});
  CHECK(of_none[0].item<double>() == 0);
  CHECK(of_none[1].item<double>() == 1);

  const Tensor root = reduce(
      [](Tensor v) {
        const Tensor next = v / 2;
        return until(next, next < 1);
      },
      {.outputs_info = {x(0)}, .n_steps = 100});
  CHECK(function({x}, root)(std::vector<double>{5.0}).item<double>() == 0.625);
  CHECK(value_error([&] {
          reduce([](Tensor row, Tensor a) { return std::pair{row, a + row}; },
                 {.sequences = {x}, .outputs_info = {none, 0.0}});
        }).find("a fold starts from an initial value: output 0 has none") != std::string::npos);
}
