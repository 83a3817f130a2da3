// The values of scans against loops written by hand: states, sequences, outputs, updates.
// Their options: test_scan_options.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

TEST_CASE("scan: the cumulative sum of a vector of any length") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor row, Tensor total) { return total + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}});
  CHECK(y.type() == TensorType{f32, {x.shape(0)}});
  const auto f = function({x}, y);
  const std::int64_t compiled = compilation_count();
  for (const std::int64_t n : {0, 1, 3, 17, 1000}) {
    std::vector<double> want = numbers(array_of(some_numbers(n)));
    const Array result = f(array_of(want));
    std::partial_sum(want.begin(), want.end(), want.begin());
    check_values(result, want, 1e-5);
  }
  CHECK(compilation_count() == compiled);
}

TEST_CASE("scan: powers of a vector, its number of steps an input") {
  const Tensor a = vector("a", f64);
  const Tensor k = scalar("k", i64);
  const Tensor powers = scan([](Tensor before, Tensor base) { return before * base; },
                             {.outputs_info = {ones_like(a)}, .non_sequences = {a}, .n_steps = k});
  const auto last = function({a, k}, powers[-1]);
  const auto every = function({a, k}, powers);
  const std::vector<double> base = some_numbers(10);
  for (const std::int64_t n : {1, 2, 3, 17}) {
    std::vector<double> want;
    for (std::int64_t t = 1; t <= n; ++t) {
      for (const double x : base) want.push_back(std::pow(x, static_cast<double>(t)));
    }
    const Array all_of_them = every(Array::from(base), n);
    CHECK(all_of_them.shape() == Shape{n, 10});
    check_values(all_of_them, want, 1e-13);
    check_values(last(Array::from(base), n), {want.end() - 10, want.end()}, 1e-13);
  }
  CHECK(every(Array::from(base), 0).shape() == Shape{0, 10});
}

TEST_CASE("scan: a polynomial, the shorter sequence sets the number of steps") {
  const Tensor coefficients = vector("coefficients");
  const Tensor x = scalar("x");
  const Tensor terms =
      scan([](Tensor c, Tensor power, Tensor at) { return c * pow(at, power); },
           {.sequences = {coefficients, arange(10000, f32)}, .non_sequences = {x}});
  const auto f = function({coefficients, x}, {terms, sum(terms)});
  const auto [each, total] = f(Array::from({1.0F, 0.0F, 2.0F}), 3.0F);
  check_values(each, {1, 0, 18});
  CHECK(total.item<float>() == 19);
  const auto [nothing, zero] = f(Array::zeros({0}), 3.0F);
  CHECK(nothing.shape() == Shape{0});
  CHECK(zero.item<float>() == 0);
}

TEST_CASE("scan: Collatz sequences, an integer state and a condition") {
  const Tensor start = scalar("start", i64);
  const Tensor k = scalar("k", i64);
  const Tensor y = scan([](Tensor s) { return where(eq(s % 2, 0), floor_div(s, 2), 3 * s + 1); },
                        {.outputs_info = {start}, .n_steps = k});
  const auto f = function({start, k}, y);
  std::int64_t value = 27;
  std::vector<double> want;
  for (int t = 0; t < 111; ++t) {
    value = value % 2 == 0 ? value / 2 : 3 * value + 1;
    want.push_back(static_cast<double>(value));
  }
  REQUIRE(value == 1);
  check_values(f(27, 111), want, 0);
}

TEST_CASE("scan: states of every dtype keep it") {
  const Tensor k = scalar("k", i64);
  const auto run = [&](const Tensor& initial, const Tensor& step) {
    const Tensor y = scan([](Tensor s, Tensor d) { return s + d; },
                          {.outputs_info = {initial}, .non_sequences = {step}, .n_steps = k});
    CHECK(y.dtype() == initial.dtype());
    return function({k}, y)(3);
  };
  for (const DType dtype : {i32, i64, f32, f64}) {
    CAPTURE(name_of(dtype));
    const Array result = run(
        ones({2}, dtype), full({2}, 2).dtype() == dtype ? full({2}, 2) : cast(full({2}, 2), dtype));
    CHECK(result.dtype() == dtype);
    check_values(result, {3, 3, 5, 5, 7, 7}, 0);
  }
  const Tensor bits = vector("bits", boolean);
  const Tensor parity = scan([](Tensor bit, Tensor odd) { return bit ^ odd; },
                             {.sequences = {bits}, .outputs_info = {zeros({}, boolean)}});
  const Array result =
      function({bits}, parity)(Array::from(std::vector<bool>{true, false, true, true}));
  CHECK(result.dtype() == boolean);
  check_values(result, {1, 1, 0, 1}, 0);
}

TEST_CASE("scan: a recurrent cell over rows of a matrix") {
  const std::int64_t hidden = 7;
  const std::int64_t width = 5;
  const Tensor x = matrix("x", f64);
  const Tensor w = matrix("w", f64);
  const Tensor v = matrix("v", f64);
  const Tensor s0 = vector("s0", f64);
  const Tensor s =
      scan([&](Tensor row, Tensor before) { return tanh(dot(row, w) + dot(before, v)); },
           {.sequences = {x}, .outputs_info = {s0}});
  const auto f = function({x, w, v, s0}, s);
  const std::vector<double> ws = some_numbers(width * hidden, 1);
  const std::vector<double> vs = some_numbers(hidden * hidden, 2);
  const std::vector<double> s0s = some_numbers(hidden, 3);
  for (const std::int64_t n : {0, 1, 3, 17}) {
    const std::vector<double> xs = some_numbers(n * width, 4);
    std::vector<double> want;
    std::vector<double> state = s0s;
    for (std::int64_t t = 0; t < n; ++t) {
      std::vector<double> next(static_cast<std::size_t>(hidden));
      for (std::int64_t j = 0; j < hidden; ++j) {
        double total = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          total += xs[static_cast<std::size_t>(t * width + i)] *
                   ws[static_cast<std::size_t>(i * hidden + j)];
        }
        for (std::int64_t i = 0; i < hidden; ++i) {
          total +=
              state[static_cast<std::size_t>(i)] * vs[static_cast<std::size_t>(i * hidden + j)];
        }
        next[static_cast<std::size_t>(j)] = std::tanh(total);
      }
      state = next;
      want.insert(want.end(), state.begin(), state.end());
    }
    const Array result = f(Array::from(xs, {n, width}), Array::from(ws, {width, hidden}),
                           Array::from(vs, {hidden, hidden}), Array::from(s0s));
    CHECK(result.shape() == Shape{n, hidden});
    check_values(result, want, 1e-12);
  }
}

TEST_CASE("scan: a matrix as state") {
  // Powers of the Fibonacci matrix.
  const Tensor m = matrix("m", i64);
  const Tensor n = scalar("n", i64);
  const Tensor y =
      scan([&](Tensor power) { return dot(power, m); }, {.outputs_info = {m}, .n_steps = n});
  const auto f = function({m, n}, y);
  const Array base =
      Array::from({{std::int64_t{1}, std::int64_t{1}}, {std::int64_t{1}, std::int64_t{0}}});
  const Array result = f(base, 17);
  CHECK(result.shape() == Shape{17, 2, 2});
  std::int64_t a = 1, b = 1;
  for (std::size_t t = 0; t < 17; ++t) {
    const std::int64_t c = a + b;
    a = b;
    b = c;
    CHECK(result.data<std::int64_t>()[4 * t] == b);
    CHECK(result.data<std::int64_t>()[4 * t + 1] == a);
    CHECK(result.data<std::int64_t>()[4 * t + 3] == b - a);
  }
}

TEST_CASE("scan: outputs that no step reads back, in a pair, a tuple, an array and a vector") {
  const Tensor x = vector("x");
  const Array value = Array::from({1.0F, 2.0F, 3.0F});
  const auto check = [&](const Tensor& squares, const Tensor& sums) {
    const auto [a, b] = function({x}, {squares, sums})(value);
    check_values(a, {1, 4, 9}, 0);
    check_values(b, {1, 3, 6}, 0);
  };
  const ScanOptions options = {.sequences = {x}, .outputs_info = {none, zeros({})}};
  {
    const auto [squares, sums] =
        scan([](Tensor row, Tensor total) { return std::pair{row * row, total + row}; }, options);
    check(squares, sums);
  }
  {
    const auto [squares, sums] =
        scan([](Tensor row, Tensor total) { return std::tuple{row * row, total + row}; }, options);
    check(squares, sums);
  }
  {
    const std::array<Tensor, 2> both =
        scan([](Tensor row, Tensor total) { return std::array{row * row, total + row}; }, options);
    check(both[0], both[1]);
  }
  {
    const std::vector<Tensor> both = scan(
        [](std::span<const Tensor> a) { return std::vector<Tensor>{a[0] * a[0], a[1] + a[0]}; },
        options);
    REQUIRE(both.size() == 2);
    check(both[0], both[1]);
  }
  {
    const auto [squares, negatives] =
        scan([](Tensor row) { return std::pair{row * row, -row}; }, {.sequences = {x}});
    const auto [a, b] = function({x}, {squares, negatives})(value);
    check_values(a, {1, 4, 9}, 0);
    check_values(b, {-1, -2, -3}, 0);
  }
}

TEST_CASE("scan: captured tensors and shared variables are non-sequences") {
  const Tensor x = vector("x");
  const Tensor shift = scalar("shift");
  Shared scale = shared(Array(3.0F), "scale");
  const auto step = [&](Tensor row, Tensor before) { return before * scale + row - shift; };
  const Tensor captured = scan(step, {.sequences = {x}, .outputs_info = {zeros({})}});
  const Tensor given =
      scan([](Tensor row, Tensor before, Tensor a, Tensor b) { return before * a + row - b; },
           {.sequences = {x}, .outputs_info = {zeros({})}, .non_sequences = {scale, shift}});
  const auto f = function({x, shift}, {captured, given});
  for (const float factor : {3.0F, -2.0F}) {
    scale.set_value(Array(factor));
    const auto [a, b] = f(Array::from({1.0F, 2.0F, 4.0F}), 0.5F);
    const double first = 0.5, second = first * factor + 1.5, third = second * factor + 3.5;
    check_values(a, {first, second, third}, 1e-6);
    CHECK(array_equal(a, b));
  }
}

TEST_CASE("scan: states that change places") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const auto [a, b] = scan([](Tensor p, Tensor q) { return std::pair{q, p}; },
                           {.outputs_info = {x, y}, .n_steps = 3});
  const auto f = function({x, y}, {a, b, a[-1], b[-1]});
  const auto [as, bs, last_a, last_b] = f(Array::from({1.0F, 2.0F}), Array::from({3.0F, 4.0F}));
  check_values(as, {3, 4, 1, 2, 3, 4}, 0);
  check_values(bs, {1, 2, 3, 4, 1, 2}, 0);
  check_values(last_a, {3, 4}, 0);
  check_values(last_b, {1, 2}, 0);
  // Only last values: nothing is stacked.
  const auto g = function({x, y}, {a[-1], b[-1]});
  const auto [only_a, only_b] = g(Array::from({1.0F, 2.0F}), Array::from({3.0F, 4.0F}));
  check_values(only_a, {3, 4}, 0);
  check_values(only_b, {1, 2}, 0);
}

TEST_CASE("scan: a new state that reads neighbours of the old one") {
  // What is overwritten too early shows: each element needs both neighbours.
  const Tensor s0 = tensor("s0", {17}, i64);
  const Tensor n = scalar("n", i64);
  const Tensor y = scan(
      [](Tensor s) {
        return s(slice(end, end, -1)) + concatenate({s(slice(1, end)), s(slice(0, 1))});
      },
      {.outputs_info = {s0}, .n_steps = n});
  const auto f = function({s0, n}, {y, y[-1]});
  const auto last_only = function({s0, n}, y[-1]);
  std::vector<double> state(17);
  std::iota(state.begin(), state.end(), 1);
  const Array initial = array_of(state, i64);
  std::vector<double> want;
  for (int t = 0; t < 5; ++t) {
    std::vector<double> next(17);
    for (std::size_t i = 0; i < 17; ++i) next[i] = state[16 - i] + state[(i + 1) % 17];
    state = next;
    want.insert(want.end(), state.begin(), state.end());
  }
  const auto [all_of_them, last] = f(initial, 5);
  check_values(all_of_them, want, 0);
  check_values(last, state, 0);
  check_values(last_only(initial, 5), state, 0);
  CHECK(initial.data<std::int64_t>()[0] == 1);  // the argument is only read
}

TEST_CASE("scan: steps that pass on what they get") {
  const Tensor x = matrix("x");
  const Tensor s0 = vector("s0");
  const Tensor c = vector("c");
  const auto outputs = scan(
      [&](Tensor row, Tensor before) {
        return std::array{before, row, c, row + 0 * before, zeros_like(row)};
      },
      {.sequences = {x}, .outputs_info = {s0, none, none, none, none}});
  const auto f = function({x, s0, c}, std::vector<Tensor>(outputs.begin(), outputs.end()));
  const Array rows = Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}, {5.0F, 6.0F}});
  const Array start = Array::from({7.0F, 8.0F});
  const Array given = Array::from({9.0F, 10.0F});
  const std::vector<Array> results = f(rows, start, given);
  check_values(results[0], {7, 8, 7, 8, 7, 8}, 0);
  CHECK(array_equal(results[1], rows));
  check_values(results[2], {9, 10, 9, 10, 9, 10}, 0);
  CHECK(array_equal(results[3], rows));
  check_values(results[4], {0, 0, 0, 0, 0, 0}, 0);
}

TEST_CASE("scan: single rows and slices of the outputs") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor row, Tensor total) { return total + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}});
  const Array value = Array::from({1.0F, 2.0F, 3.0F, 4.0F, 5.0F});
  const auto [last, before_last, first] = function({x}, {y[-1], y[-2], y[0]})(value);
  CHECK(last.item<float>() == 15);
  CHECK(before_last.item<float>() == 10);
  CHECK(first.item<float>() == 1);
  check_values(function({x}, y(slice(-2, end)))(value), {10, 15}, 0);
  check_values(function({x}, y(slice(1, end, 2)))(value), {3, 10}, 0);
  CHECK(function({x}, sum(y))(value).item<float>() == 35);
  CHECK(function({x}, y[-1] * 2)(Array::from({4.0F})).item<float>() == 8);
}

TEST_CASE("scan: rows of a table by number, also out of range") {
  const Shared table = shared(Array::arange(34).reshape({17, 2}), "table");
  const Tensor ids = vector("ids", i64);
  const Tensor y = scan([&](Tensor id, Tensor total) { return total + table[id]; },
                        {.sequences = {ids}, .outputs_info = {zeros({2})}});
  const auto f = function({ids}, y, {.name = "lookup"});
  check_values(f(array_of({0, 16, -1, 3}, i64)), {0, 1, 32, 34, 64, 67, 70, 74}, 0);
  CHECK_THROWS_WITH_AS(f(array_of({0, 17}, i64)),
                       doctest::Contains("lookup: take: index 17 is out of range for axis 0 of "
                                         "table, whose size is 17"),
                       ValueError);
  // An index that depends on the state cannot leave the loop.
  const Tensor n = scalar("n", i64);
  const auto g = function({n},
                          scan([&](Tensor at) { return cast(take(table, at)[1], i64) % 19; },
                               {.outputs_info = {zeros({}, i64)}, .n_steps = n}),
                          {.name = "walk"});
  check_values(g(3), {1, 3, 7}, 0);
  std::int64_t at = 0;
  int steps = 0;
  for (; at < 17; ++steps) at = (2 * at + 1) % 19;
  REQUIRE(at == 17);
  g(steps);
  CHECK_THROWS_WITH_AS(g(steps + 1),
                       doctest::Contains("walk: take: index 17 is out of range for axis 0"),
                       ValueError);
}

TEST_CASE("scan: a scan inside a scan") {
  // Running totals along each row, carried on from row to row.
  const Tensor x = matrix("x", f64);
  const Tensor y = scan(
      [](Tensor row, Tensor carry) {
        const Tensor totals = scan([](Tensor e, Tensor total) { return total + e; },
                                   {.sequences = {row}, .outputs_info = {carry}});
        return std::pair{totals, totals[-1]};
      },
      {.sequences = {x}, .outputs_info = {none, zeros({}, f64)}})[0];
  const auto f = function({x}, y);
  for (const std::int64_t rows : {0, 1, 3, 17}) {
    for (const std::int64_t columns : {1, 3, 17}) {
      CAPTURE(rows);
      CAPTURE(columns);
      std::vector<double> values = some_numbers(rows * columns);
      const Array result = f(Array::from(values, {rows, columns}));
      CHECK(result.shape() == Shape{rows, columns});
      std::partial_sum(values.begin(), values.end(), values.begin());
      check_values(result, values, 1e-13);
    }
  }
}

TEST_CASE("scan: a scan inside a scan uses what both loops know") {
  // Powers by rows: y[i][j] = x[i] ** (j + 1) + shift.
  const Tensor x = vector("x", f64);
  const Tensor shift = scalar("shift", f64);
  const Tensor k = scalar("k", i64);
  const Tensor y = map(
      [&](Tensor base) {
        return scan([&](Tensor power) { return power * base; },
                    {.outputs_info = {ones({}, f64)}, .n_steps = k}) +
               shift;
      },
      {x});
  const auto f = function({x, shift, k}, y);
  const Array result = f(Array::from({2.0, 3.0}), 0.5, 3);
  CHECK(result.shape() == Shape{2, 3});
  check_values(result, {2.5, 4.5, 8.5, 3.5, 9.5, 27.5}, 1e-14);
  CHECK(f(Array::from({2.0, 3.0}), 0.5, 0).shape() == Shape{2, 0});
}

TEST_CASE("scan: one scan feeds another") {
  const Tensor x = vector("x", f64);
  const auto total = [](Tensor row, Tensor before) { return before + row; };
  const ScanOptions options = {.sequences = {x}, .outputs_info = {zeros({}, f64)}};
  const Tensor once = scan(total, options);
  const Tensor twice = scan(total, {.sequences = {once}, .outputs_info = {zeros({}, f64)}});
  const auto f = function({x}, {once, twice, once + twice});
  std::vector<double> values = some_numbers(17);
  const auto [a, b, c] = f(Array::from(values));
  std::partial_sum(values.begin(), values.end(), values.begin());
  check_values(a, values, 1e-13);
  std::vector<double> sums = values;
  std::partial_sum(sums.begin(), sums.end(), sums.begin());
  check_values(b, sums, 1e-13);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  check_values(c, sums, 1e-13);
}

TEST_CASE("scan: the result updates a shared variable that was its initial value") {
  const Shared state = shared(Array::from({1.0F, 2.0F}), "state");
  const Tensor x = matrix("x");
  const Tensor y = scan([](Tensor row, Tensor before) { return before * 0.5 + row; },
                        {.sequences = {x}, .outputs_info = {state}});
  const auto f = function({x}, y, {.updates = {{state, y[-1]}}});
  std::vector<double> want = {1, 2};
  for (int call = 0; call < 3; ++call) {
    const Array rows = Array::from({{1.0F, -1.0F}, {0.25F, 3.0F}, {-4.0F, 8.0F}});
    const Array result = f(rows);
    for (std::size_t t = 0; t < 3; ++t) {
      for (std::size_t i = 0; i < 2; ++i) {
        want[i] = want[i] * 0.5 + static_cast<double>(rows.data<float>()[2 * t + i]);
        CHECK(result.data<float>()[2 * t + i] == doctest::Approx(want[i]));
      }
    }
    check_values(state.get_value(), want, 1e-6);
  }
}

TEST_CASE("scan: shared variables that a scan reads are updated after it") {
  const Shared w = shared(Array(2.0F), "w");
  const Shared rows = shared(Array::from({1.0F, 2.0F, 3.0F}), "rows");
  const Tensor y = scan([&](Tensor row, Tensor before) { return before * w + row; },
                        {.sequences = {rows}, .outputs_info = {zeros({})}});
  const auto f = function({}, y, {.updates = {{w, w + 1}, {rows, y}}});
  check_values(f(), {1, 4, 11}, 0);
  CHECK(w.get_value().item<float>() == 3);
  check_values(f(), {1, 7, 32}, 0);
  check_values(rows.get_value(), {1, 7, 32}, 0);
}

TEST_CASE("scan: gradient descent inside a loop") {
  // Every step is a gradient of the step's own cost.
  const Tensor start = vector("start", f64);
  const Tensor target = vector("target", f64);
  const Tensor path = scan([&](Tensor p) { return p - 0.25 * grad(sum(square(p - target)), p); },
                           {.outputs_info = {start}, .n_steps = 17});
  const auto f = function({start, target}, path);
  const Array result = f(Array::from({1.0, -3.0}), Array::from({2.0, 5.0}));
  std::vector<double> want;
  double a = 1, b = -3;
  for (int t = 0; t < 17; ++t) {
    a -= 0.25 * 2 * (a - 2);
    b -= 0.25 * 2 * (b - 5);
    want.push_back(a);
    want.push_back(b);
  }
  check_values(result, want, 1e-13);
}

TEST_CASE("map calls the step on each row") {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Tensor scale = scalar("scale");
  const Tensor result =
      map([](Tensor row, Tensor e, Tensor s) { return sum(row) * s + e; }, {x, y}, {scale});
  const auto f = function({x, y, scale}, result);
  check_values(f(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}}), Array::from({10.0F, 20.0F}), 2.0F),
               {16, 34}, 0);
}

TEST_CASE("foldl and foldr begin at opposite ends") {
  const Tensor x = vector("x");
  const auto horner = [](Tensor digit, Tensor number) { return number * 10 + digit; };
  const auto f = function({x}, {foldl(horner, {x}, zeros({})), foldr(horner, {x}, zeros({}))});
  const auto [left, right] = f(Array::from({1.0F, 2.0F, 3.0F}));
  CHECK(left.item<float>() == 123);
  CHECK(right.item<float>() == 321);
  const Tensor scale = scalar("scale");
  const Tensor scaled = foldl([](Tensor row, Tensor total, Tensor s) { return total + s * row; },
                              {x}, zeros({}), {scale});
  CHECK(function({x, scale}, scaled)(Array::from({1.0F, 2.0F}), 3.0F).item<float>() == 9);
}

TEST_CASE("threads: a scan with large steps gives the same bits on one and on four") {
  const Tensor x = matrix("x");
  const Tensor w = matrix("w");
  const Tensor s0 = matrix("s0");
  const Tensor s = scan([&](Tensor row, Tensor before) { return tanh(dot(before, w) + row); },
                        {.sequences = {x}, .outputs_info = {s0}});
  const auto f = function({x, w, s0}, {s, s[-1]});
  const Array rows = Array::normal({3, 300}, 1);
  const Array weights = Array::normal({300, 300}, 2, 0, 0.05);
  const Array start = Array::normal({200, 300}, 3);
  std::vector<Array> results;
  for (const std::int64_t count : {1, 4}) {
    const compiled_test::ThreadCount threads(count);
    for (Array& result : f(rows, weights, start)) results.push_back(result);
  }
  CHECK(array_equal(results[0], results[2]));
  CHECK(array_equal(results[1], results[3]));
  CHECK(results[0].shape() == Shape{3, 200, 300});
}

TEST_CASE("scan: numbers as initial values and from the step") {
  const Tensor x = vector("x");
  const auto [totals, ones_of_rows, counts] =
      scan([](Tensor row, Tensor s, Tensor n) { return std::tuple{s + row, 1.0, n + 1}; },
           {.sequences = {x}, .outputs_info = {0.0, none, 0}});
  CHECK(totals.dtype() == f32);
  CHECK(counts.dtype() == i64);
  const auto f = function({x}, {totals, ones_of_rows, counts});
  const auto [a, b, c] = f(array_of({1, 2, 4}));
  check_values(a, {1, 3, 7});
  check_values(b, {1, 1, 1});
  check_values(c, {1, 2, 3});
  // A number takes the dtype of its state.
  const Tensor z = scan([](Tensor, Tensor) { return 0.1; },
                        {.sequences = {x}, .outputs_info = {zeros({}, f64)}});
  CHECK(z.dtype() == f64);
  check_values(function({x}, z)(array_of({1, 2})), {0.1, 0.1}, 0);
  const std::size_t steps = 3;
  const Tensor powers =
      scan([](Tensor s) { return s * 2; }, {.outputs_info = {1.0}, .n_steps = steps});
  check_values(function({}, powers)(), {2, 4, 8}, 0);
}

TEST_CASE("foldl and foldr: the initial value of no rows") {
  const Tensor x = vector("x", f64);
  const Tensor start = scalar("start", f64);
  for (const bool from_right : {false, true}) {
    const auto step = [](Tensor row, Tensor s) { return s * 0.5 + row; };
    const Tensor y = from_right ? foldr(step, {x}, start) : foldl(step, {x}, start);
    const auto [by_x, by_start] = grad(y, x, start);
    const auto f = function({x, start}, {y, by_x, by_start});
    const auto [none_y, none_x, none_start] = f(Array::zeros({0}, f64), 3.0);
    CHECK(none_y.item<double>() == 3);
    CHECK(none_x.size() == 0);
    CHECK(none_start.item<double>() == 1);
    const auto [one, one_x, one_start] = f(array_of({1, 2}, f64), 4.0);
    CHECK(one.item<double>() == (from_right ? 4 * 0.25 + 2 * 0.5 + 1 : 4 * 0.25 + 1 * 0.5 + 2));
    check_values(one_x, from_right ? std::vector<double>{1, 0.5} : std::vector<double>{0.5, 1});
    CHECK(one_start.item<double>() == 0.25);
  }
  // A step that does not read the state.
  const auto g = function({x}, foldl([](Tensor row, Tensor) { return row; }, {x}, zeros({}, f64)));
  CHECK(g(Array::zeros({0}, f64)).item<double>() == 0);
  CHECK(g(array_of({5, 6}, f64)).item<double>() == 6);
  const auto h =
      function({x}, foldl([](Tensor row, Tensor s) { return cast(row, f32) + s; }, {x}, 1.5));
  CHECK(h(Array::zeros({0}, f64)).item<float>() == 1.5F);
}
