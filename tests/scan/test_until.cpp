// Loops that end when a condition holds.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

// Halves x until it is below 1, at most n times; the values, and how many steps there were.
std::array<Tensor, 2> halved(const Tensor& x, std::int64_t n) {
  return scan(
      [](Tensor value, Tensor count) {
        const Tensor next = value / 2;
        return until(std::pair{next, count + 1}, next < 1);
      },
      {.outputs_info = {x, std::int64_t{0}}, .n_steps = n});
}

}  // namespace

TEST_CASE("until: the last step is the one at which the condition holds") {
  const Tensor x = scalar("x", f64);
  const auto [values, counts] = halved(x, 6);
  const auto f = function({x}, {values, counts[-1], values[-1]});
  const auto results = f(5.0);
  CHECK(array_equal(results[0], Array::from({2.5, 1.25, 0.625, 0.625, 0.625, 0.625})));
  CHECK(results[1].item<std::int64_t>() == 3);
  CHECK(results[2].item<double>() == 0.625);
  CHECK(f(0.5)[1].item<std::int64_t>() == 1);  // the first step is taken
  CHECK(f(1e9)[1].item<std::int64_t>() == 6);  // never
  CHECK(f(NAN)[1].item<std::int64_t>() == 6);
  const auto none_at_all = halved(x, 0);
  CHECK(function({x}, none_at_all[0])(5.0).shape() == Shape{0});
}

TEST_CASE("until: what is not computed is no error and is not counted") {
  // The fourth element is out of range.
  const Tensor ids = vector("ids", i64), table = vector("table");
  const Tensor values = map(
      [&](Tensor id) {
        const Tensor value = table[id];
        return until(value, value > 2);
      },
      {ids});
  const auto f = function({ids, table}, values);
  const std::vector<float> table_values = {1, 2, 3};
  CHECK(array_equal(f(std::vector<std::int64_t>{0, 1, 2, 9, 9}, table_values),
                    Array::from({1.0F, 2.0F, 3.0F, 3.0F, 3.0F})));
  CHECK_THROWS_AS(f(std::vector<std::int64_t>{0, 9, 2}, table_values), ValueError);
}

TEST_CASE("until: gradients are those of the steps that were taken") {
  const Tensor x = scalar("x", f64), a = scalar("a", f64);
  const auto run = [&](std::int64_t n, bool ends) {
    const Tensor y = scan(
        [&](Tensor value) {
          const Tensor next = a * sin(value) + value / 3;
          return until(next, ends ? logical_and(next < 0.55, next > 0) : next < -100);
        },
        {.outputs_info = {x}, .n_steps = n});
    return y;
  };
  // How many steps it takes.
  const auto values = function({x, a}, run(20, true))(2.0, 0.5);
  std::int64_t taken = 1;
  while (values(taken - 1).item<double>() >= 0.55) ++taken;
  CHECK(taken > 2);
  CHECK(taken < 15);
  const Tensor ended = run(20, true)[-1], known = run(taken, false)[-1];
  const auto derivatives = [&](const Tensor& y) {
    const auto [gx, ga] = grad(y, x, a);
    return function({x, a}, {y, gx, ga, grad(gx, a), grad(grad(gx, a), x)});
  };
  const auto have = derivatives(ended)(2.0, 0.5), want = derivatives(known)(2.0, 0.5);
  for (std::size_t k = 0; k < have.size(); ++k) {
    CAPTURE(k);
    CHECK(have[k].item<double>() == doctest::Approx(want[k].item<double>()).epsilon(1e-12));
  }
  // Of all rows: those that repeat the last one count.
  verify_grad(sum(square(run(12, true))), {{x, Array(2.0)}, {a, Array(0.5)}});
}

TEST_CASE("until: with sequences and taps and states of their own") {
  const Tensor xs = vector("xs", f64), start = vector("start", f64);
  const auto [fib, sums] = scan(
      [](Tensor x, Tensor before, Tensor before2) {
        const Tensor next = before + before2 + x;
        return until(std::pair{next, 2 * next}, next > 10);
      },
      {.sequences = {xs}, .outputs_info = {State(start, {-1, -2}), none}});
  const auto f = function({xs, start}, {fib, sums, sum(fib)});
  const auto results = f(std::vector<double>(8, 0), std::vector<double>{1, 1});
  CHECK(array_equal(results[0], Array::from({2.0, 3.0, 5.0, 8.0, 13.0, 13.0, 13.0, 13.0})));
  CHECK(array_equal(results[1], Array::from({4.0, 6.0, 10.0, 16.0, 26.0, 26.0, 26.0, 26.0})));
  verify_grad(sum(square(fib)) + sum(sums), {{xs, Array::from({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7})},
                                             {start, Array::from({1.0, 1.5})}});
}

TEST_CASE("until: errors") {
  const Tensor x = scalar("x"), v = vector("v");
  CHECK(type_error([&] {
          scan([](Tensor a) { return until(a + 1, a); }, {.outputs_info = {x}, .n_steps = 3});
        }).starts_with("scan: the condition of until is f32 (), expected a boolean scalar"));
  CHECK(shape_error([&] {
          scan([](Tensor a) { return until(a + 1, a > 1); }, {.outputs_info = {v}, .n_steps = 3});
        }).starts_with("scan: the condition of until is boolean (v.shape[0],), expected"));
}
