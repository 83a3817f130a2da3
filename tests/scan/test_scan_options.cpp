// What decides which rows a step of a scan sees and how many steps there are: taps, several
// sequences, n_steps, go_backwards.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

Tensor add_up(const Tensor& row, const Tensor& total) { return total + row; }

}  // namespace

TEST_CASE("scan: Fibonacci numbers by two taps of a state") {
  const Tensor first = vector("first", i64);
  const Tensor n = scalar("n", i64);
  const Tensor y = scan([](Tensor before_last, Tensor last) { return before_last + last; },
                        {.outputs_info = {{first, {-2, -1}}}, .n_steps = n});
  // The order of the arguments is that of the taps.
  const Tensor swapped =
      scan([](Tensor last, Tensor before_last) { return 2 * before_last + last; },
           {.outputs_info = {{first, {-1, -2}}}, .n_steps = n});
  const auto f = function({first, n}, {y, swapped});
  const auto last_only = function({first, n}, y[-1]);
  const Array start = array_of({0, 1}, i64);
  for (const int steps : {0, 1, 2, 3, 17}) {
    std::vector<double> want, want_swapped;
    double a = 0, b = 1, c = 0, d = 1;
    for (int t = 0; t < steps; ++t) {
      want.push_back(a + b);
      a = std::exchange(b, a + b);
      want_swapped.push_back(2 * c + d);
      c = std::exchange(d, 2 * c + d);
    }
    const auto [all_of_them, others] = f(start, steps);
    check_values(all_of_them, want, 0);
    check_values(others, want_swapped, 0);
    if (steps > 0) check_values(last_only(start, steps), {want.back()}, 0);
  }
}

TEST_CASE("scan: a state read three steps later, rows of it vectors") {
  const Tensor start = tensor("start", {3, 2});
  const Tensor n = scalar("n", i64);
  const Tensor y =
      scan([](Tensor s) { return s + 1; }, {.outputs_info = {{start, {-3}}}, .n_steps = n});
  const auto f = function({start, n}, y);
  const auto last_only = function({start, n}, y[-1]);
  const Array value = Array::from({{0.0F, 1.0F}, {10.0F, 20.0F}, {100.0F, 200.0F}});
  check_values(f(value, 1), {1, 2}, 0);
  check_values(f(value, 7), {1, 2, 11, 21, 101, 201, 2, 3, 12, 22, 102, 202, 3, 4}, 0);
  for (const int steps : {1, 2, 3, 4, 5, 17}) {
    const std::vector<double> every = numbers(f(value, steps));
    check_values(last_only(value, steps), {every.end() - 2, every.end()}, 0);
  }
}

TEST_CASE("scan: taps of a state that leave some out, beside another state") {
  const Tensor x = vector("x", f64);
  const Tensor start = vector("start", f64);
  const auto [a, b] = scan([](Tensor row, Tensor a4, Tensor a1,
                              Tensor b1) { return std::pair{0.5 * a4 - a1 + row, b1 + a4}; },
                           {.sequences = {x}, .outputs_info = {{start, {-4, -1}}, zeros({}, f64)}});
  const auto f = function({x, start}, {a, b});
  const std::vector<double> first = {1, 2, 3, 4};
  for (const std::int64_t n : {0, 1, 3, 17}) {
    const std::vector<double> rows = some_numbers(n);
    std::vector<double> as = first;
    std::vector<double> bs = {0};
    for (const double row : rows) {
      const double four = as[as.size() - 4];
      as.push_back(0.5 * four - as.back() + row);
      bs.push_back(bs.back() + four);
    }
    const auto [have_a, have_b] = f(Array::from(rows), Array::from(first));
    check_values(have_a, {as.begin() + 4, as.end()}, 1e-13);
    check_values(have_b, {bs.begin() + 1, bs.end()}, 1e-13);
  }
}

TEST_CASE("scan: taps of a sequence before and after the step") {
  const Tensor x = vector("x");
  const auto step = [](Tensor before, Tensor now, Tensor after) {
    return before * 100 + now * 10 + after;
  };
  const Tensor y = scan(step, {.sequences = {{x, {-1, 0, 2}}}});
  const auto f = function({x}, y);
  check_values(f(array_of({1, 2, 3, 4, 5, 6})), {124, 235, 346}, 0);
  check_values(f(array_of({1, 2, 3, 4})), {124}, 0);
  CHECK(f(array_of({1, 2, 3})).shape() == Shape{0});
  // In another order, and the same row twice.
  const Tensor z = scan(step, {.sequences = {{x, {1, 0, 1}}}});
  check_values(function({x}, z)(array_of({1, 2, 3})), {212, 323}, 0);
  // Only earlier rows.
  const Tensor lag = scan([](Tensor a, Tensor b) { return a - b; }, {.sequences = {{x, {-2, -1}}}});
  check_values(function({x}, lag)(array_of({5, 3, 9, 1})), {2, -6}, 0);
  // Only later ones: the rows do not start anew.
  const Tensor ahead = scan([](Tensor e) { return 2 * e; }, {.sequences = {{x, {1}}}});
  check_values(function({x}, ahead)(array_of({5, 3, 9})), {6, 18}, 0);
}

TEST_CASE("scan: taps of a sequence that is read backwards") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor before, Tensor now) { return before * 10 + now; },
                        {.sequences = {{x, {-1, 0}}}, .go_backwards = true});
  check_values(function({x}, y)(array_of({1, 2, 3, 4})), {43, 32, 21}, 0);
  const Tensor z = scan([](Tensor now, Tensor next) { return next * 10 + now; },
                        {.sequences = {{x, {0, 1}}}, .go_backwards = true});
  check_values(function({x}, z)(array_of({1, 2, 3, 4})), {34, 23, 12}, 0);
}

TEST_CASE("scan: taps of rows that are vectors, with a state") {
  const Tensor x = matrix("x");
  const Tensor y = scan([](Tensor now, Tensor next, Tensor total) { return total + now * next; },
                        {.sequences = {{x, {0, 1}}}, .outputs_info = {zeros({2})}});
  check_values(function({x}, y)(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}, {5.0F, 6.0F}})),
               {3, 8, 18, 32}, 0);
}

TEST_CASE("scan: the shortest of several sequences sets the length") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const Tensor z = scan([](Tensor a, Tensor b, Tensor total) { return total + a * b; },
                        {.sequences = {x, y}, .outputs_info = {zeros({})}});
  const auto f = function({x, y}, z);
  for (const auto& [n, m] : {std::pair{17, 3}, {3, 17}, {0, 3}, {1, 0}, {1, 1}, {17, 17}}) {
    CAPTURE(n);
    CAPTURE(m);
    const std::vector<double> xs = numbers(array_of(some_numbers(n, 1)));
    const std::vector<double> ys = numbers(array_of(some_numbers(m, 2)));
    std::vector<double> want;
    double total = 0;
    for (int t = 0; t < std::min(n, m); ++t) {
      const auto at = static_cast<std::size_t>(t);
      want.push_back(total += xs[at] * ys[at]);
    }
    check_values(f(array_of(xs), array_of(ys)), want, 1e-5);
  }
}

TEST_CASE("scan: the shortest sequence counts its taps") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const Tensor z = scan([](Tensor a, Tensor b, Tensor c) { return a + b + c; },
                        {.sequences = {{x, {-2, 0}}, y}});
  const auto f = function({x, y}, z);
  // x alone would give 3 steps, y 4 or 2.
  check_values(f(array_of({1, 2, 3, 4, 5}), array_of({10, 20, 30, 40})), {14, 26, 38}, 0);
  check_values(f(array_of({1, 2, 3, 4, 5}), array_of({10, 20})), {14, 26}, 0);
}

TEST_CASE("scan: n_steps as a number, a size, an input and an expression") {
  const Tensor s0 = vector("s0");
  const Tensor n = scalar("n", i64);
  const Tensor m = scalar("m", i32);
  const auto step = [](Tensor s) { return 2 * s; };
  const auto count = [&](const std::vector<Tensor>& inputs, const Steps& steps,
                         const std::vector<Argument>& arguments) {
    const Tensor y = scan(step, {.outputs_info = {s0}, .n_steps = steps});
    const Array result = function(inputs, std::vector<Tensor>{y}).call(arguments)[0];
    double power = 1;
    for (std::int64_t t = 0; t < result.shape()[0]; ++t) {
      power *= 2;
      CHECK(result.data<float>()[static_cast<std::size_t>(2 * t)] == power);
      CHECK(result.data<float>()[static_cast<std::size_t>(2 * t + 1)] == -power);
    }
    return result.shape()[0];
  };
  const Array value = Array::from({1.0F, -1.0F});
  for (const int steps : {0, 1, 3, 17}) CHECK(count({s0}, steps, {value}) == steps);
  CHECK(count({s0}, std::int64_t{5}, {value}) == 5);
  CHECK(count({s0}, s0.shape(0), {value}) == 2);
  CHECK(count({s0}, s0.shape(0) * 3 - 1, {value}) == 5);
  for (const int steps : {0, 1, 3, 17}) CHECK(count({s0, n}, n, {value, steps}) == steps);
  for (const int steps : {0, 1, 3}) CHECK(count({s0, m}, m, {value, steps}) == steps);
  CHECK(count({s0, n, m}, 2 * n + m * m - 3, {value, 4, 2}) == 9);
  CHECK(count({s0, n}, n - 4, {value, 4}) == 0);
}

TEST_CASE("scan: n_steps that shows in nothing outside") {
  const Tensor x = vector("x");
  const Tensor n = scalar("n", i64);
  // A loop that dissolves, and one inside another.
  const Tensor total = sum(scan([](Tensor e) { return e * e; }, {.sequences = {x}, .n_steps = n}));
  check_values(function({x, n}, total)(array_of({1, 2, 3}), 2), {5}, 0);
  const Tensor doubled = scan(
      [&](Tensor e, Tensor s) {
        return s +
               scan([](Tensor p) { return p + p; }, {.outputs_info = {e}, .n_steps = n + 1})[-1];
      },
      {.sequences = {x}, .outputs_info = {zeros({})}});
  const auto f = function({x, n}, doubled[-1]);
  check_values(f(array_of({1, 2, 3}), 2), {48}, 0);
  check_values(f(array_of({1, 2, 3}), 0), {12}, 0);
}

TEST_CASE("scan: n_steps with longer sequences") {
  const Tensor x = vector("x");
  const Tensor n = scalar("n", i64);
  const Tensor y = scan(add_up, {.sequences = {x}, .outputs_info = {zeros({})}, .n_steps = n});
  const auto f = function({x, n}, y);
  check_values(f(array_of({1, 2, 3, 4}), 2), {1, 3}, 0);
  check_values(f(array_of({1, 2, 3, 4}), 4), {1, 3, 6, 10}, 0);
  CHECK(f(array_of({1, 2, 3, 4}), 0).shape() == Shape{0});
  const Tensor three = scan(add_up, {.sequences = {x}, .outputs_info = {zeros({})}, .n_steps = 3});
  CHECK(three.shape(0) == Dim(3));
  check_values(function({x}, three)(array_of({1, 2, 3, 4})), {1, 3, 6}, 0);
}

TEST_CASE("scan: sequences of known size give a known number of steps") {
  const Tensor x = tensor("x", {5});
  const Tensor y = scan(add_up, {.sequences = {{x, {-1, 0}}}});
  CHECK(y.shape(0) == Dim(4));
  check_values(function({x}, y)(array_of({1, 2, 3, 4, 5})), {3, 5, 7, 9}, 0);
  const Tensor one = tensor("one", {1});
  check_values(
      function({one}, scan([](Tensor e) { return e * 2; }, {.sequences = {one}}))(array_of({4})),
      {8}, 0);
  const Tensor empty = tensor("empty", {0, 3});
  const Tensor nothing = scan([](Tensor row, Tensor s) { return s + row; },
                              {.sequences = {empty}, .outputs_info = {zeros({3})}});
  CHECK(function({empty}, nothing)(Array::zeros({0, 3})).shape() == Shape{0, 3});
  CHECK(function({empty}, sum(nothing))(Array::zeros({0, 3})).item<float>() == 0);
}

TEST_CASE("scan: sequences that share a named size") {
  const Tensor x = tensor("x", {dim("steps"), 2});
  const Tensor y = tensor("y", {dim("steps")});
  const Tensor z = scan([](Tensor row, Tensor e) { return row * e; }, {.sequences = {x, y}});
  CHECK(z.shape(0) == dim("steps"));
  const auto f = function({x, y}, z);
  check_values(f(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}}), array_of({10, 100})),
               {10, 20, 300, 400}, 0);
  CHECK_THROWS_AS(f(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}}), array_of({10})), ShapeError);
}

TEST_CASE("scan: go_backwards reads sequences from their last row") {
  const Tensor x = vector("x");
  const Tensor y =
      scan(add_up, {.sequences = {x}, .outputs_info = {zeros({})}, .go_backwards = true});
  const auto f = function({x}, {y, y[-1]});
  const auto [all_of_them, last] = f(array_of({1, 2, 3, 4}));
  check_values(all_of_them, {4, 7, 9, 10}, 0);
  check_values(last, {10}, 0);
  const auto [nothing, zero_rows] = function({x}, {y, y(slice(0, end))})(Array::zeros({0}));
  CHECK(nothing.shape() == Shape{0});
  CHECK(zero_rows.shape() == Shape{0});
  // n_steps of them, the last first.
  const Tensor n = scalar("n", i64);
  const Tensor some = scan(
      add_up, {.sequences = {x}, .outputs_info = {zeros({})}, .n_steps = n, .go_backwards = true});
  check_values(function({x, n}, some)(array_of({1, 2, 3, 4}), 2), {4, 7}, 0);
}

TEST_CASE("scan: integer and boolean sequences, rows of several axes") {
  const Tensor ids = tensor3("ids", i32);
  const Tensor keep = vector("keep", boolean);
  const Tensor y = scan([](Tensor block, Tensor k) { return where(k, sum(block), -1); },
                        {.sequences = {ids, keep}});
  const auto f = function({ids, keep}, y);
  const Array result = f(Array::arange(12, i32).reshape({3, 2, 2}),
                         Array::from(std::vector<bool>{true, false, true}));
  CHECK(result.dtype() == i64);
  check_values(result, {6, -1, 38}, 0);
}

TEST_CASE("scan: the same compiled function serves every length and width") {
  const Tensor x = matrix("x");
  const Tensor s0 = vector("s0");
  const Tensor y = scan([](Tensor row, Tensor s) { return maximum(row, s); },
                        {.sequences = {x}, .outputs_info = {s0}});
  const auto f = function({x, s0}, {y, y[-1]});
  const std::int64_t compiled = compilation_count();
  for (const std::int64_t n : {1, 3, 17, 5}) {
    for (const std::int64_t width : {0, 1, 3, 17, 100}) {
      CAPTURE(n);
      CAPTURE(width);
      const std::vector<double> rows = numbers(array_of(some_numbers(n * width)));
      std::vector<double> want, state(static_cast<std::size_t>(width), 0.0);
      for (std::int64_t t = 0; t < n; ++t) {
        for (std::int64_t i = 0; i < width; ++i) {
          double& s = state[static_cast<std::size_t>(i)];
          s = std::max(s, rows[static_cast<std::size_t>(t * width + i)]);
        }
        want.insert(want.end(), state.begin(), state.end());
      }
      const auto [all_of_them, last] = f(array_of(rows).reshape({n, width}), Array::zeros({width}));
      check_values(all_of_them, want, 0);
      check_values(last, state, 0);
    }
  }
  CHECK(compilation_count() == compiled);
}

TEST_CASE("scan: taps over a sequence that is too short make no steps") {
  const Tensor x = vector("x", f64);
  const Tensor y =
      scan([](Tensor before, Tensor now, Tensor after) { return before + now * after; },
           {.sequences = {{x, {-1, 0, 2}}}});
  const Tensor state = scan([](Tensor a, Tensor b, Tensor s) { return s + a * b; },
                            {.sequences = {{x, {-2, 1}}}, .outputs_info = {ones({}, f64)}});
  const auto f = function({x}, {y, state, grad(sum(y), x), grad(sum(state), x)});
  for (const std::int64_t size : {0, 1, 2, 3}) {
    const auto results = f(Array::zeros({size}, f64));
    CHECK(results[0].size() == 0);
    CHECK(results[1].size() == 0);
    CHECK(results[2].shape() == Shape{size});
    CHECK(results[3].shape() == Shape{size});
  }
  check_values(f(array_of({1, 2, 3, 4, 5}, f64))[0], {1 + 2 * 4, 2 + 3 * 5}, 0);
}

TEST_CASE("scan: a literal that a state starts from takes the dtype of what the step makes") {
  const auto add = [](Tensor row, Tensor total) { return total + row; };
  for (const DType dtype : {f32, f64}) {
    const auto x = vector("x", dtype);
    const Tensor from_integer = scan(add, {.sequences = {x}, .outputs_info = {0}});
    const Tensor from_real = scan(add, {.sequences = {x}, .outputs_info = {0.1}});
    for (const Tensor& y : {from_integer, from_real}) CHECK(y.dtype() == dtype);
    const auto f = function({x}, from_real[-1]);
    const double total = f(Array::ones({2}, dtype)).cast(f64).item<double>();
    CHECK(total == (dtype == f64 ? 0.1 + 1 + 1 : static_cast<double>(0.1F + 1 + 1)));
  }
  // A dtype that is written stays.
  const auto x = vector("x", f64);
  CHECK_THROWS_AS(scan(add, {.sequences = {x}, .outputs_info = {zeros({}, f32)}}), TypeError);
}
