// Random streams: which numbers are drawn and when, and how they are distributed.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <set>
#include <sstream>

#include "compiler/ir/reference.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

std::vector<double> numbers_of(const Array& array) {
  const Array doubles = array.cast(f64);
  return {doubles.data<double>().begin(), doubles.data<double>().end()};
}

std::vector<double> drawn(const Tensor& expression) {
  return numbers_of(function({}, expression)());
}

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value;
  return sum / static_cast<double>(x.size());
}

double variance_of(const std::vector<double>& x) {
  const double mean = mean_of(x);
  double sum = 0;
  for (const double value : x) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(x.size());
}

// Kolmogorov's and Smirnov's statistic times the root of the number: above 1.95 with a probability
// of 0.001.
double distance_to(std::vector<double> x, const std::function<double(double)>& distribution) {
  std::sort(x.begin(), x.end());
  const auto n = static_cast<double>(x.size());
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double p = distribution(x[i]);
    largest =
        std::max({largest, p - static_cast<double>(i) / n, (static_cast<double>(i) + 1) / n - p});
  }
  return largest * std::sqrt(n);
}

double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Pearson's statistic: above 30 with a probability of 0.001 or less, for 9 degrees of freedom.
double chi_squared(const std::vector<double>& counts, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    sum += (counts[k] - expected[k]) * (counts[k] - expected[k]) / expected[k];
  }
  return sum;
}

constexpr std::int64_t many = 20000;

}  // namespace

TEST_CASE("random: each draw and each call has other numbers, by the seed and the state") {
  RandomStream random(5);
  const Tensor a = random.normal({4}), b = random.normal({4});
  const auto f = function({}, {a, b});
  const auto [a1, b1] = f();
  const auto [a2, b2] = f();
  CHECK_FALSE(array_equal(a1, b1));
  CHECK_FALSE(array_equal(a1, a2));
  CHECK_FALSE(array_equal(b1, b2));
  CHECK(array_equal(random.state().get_value(), Array::from({std::int64_t{5}, std::int64_t{2}})));
  // The same program once more.
  RandomStream again(5);
  const auto g = function({}, {again.normal({4}), again.normal({4})});
  const auto [a3, b3] = g();
  CHECK(array_equal(a1, a3));
  CHECK(array_equal(b1, b3));
  // Back to where the second call was.
  random.state().set_value(Array::from({std::int64_t{5}, std::int64_t{1}}));
  CHECK(array_equal(f()[0], a2));
  // Other functions go on, and copies are the same stream.
  const RandomStream copy = random;
  const auto h = function({}, copy.normal({4}));
  const Array c = h();
  CHECK_FALSE(array_equal(c, a1));
  CHECK(random.state().get_value().data<std::int64_t>()[1] == 3);
  CHECK_FALSE(array_equal(function({}, RandomStream(6).normal({4}))(), a1));
}

TEST_CASE("random: the compiled numbers are the interpreter's, of every length and position") {
  for (const DType dtype : {f32, f64}) {
    for (const std::int64_t size : {1, 15, 16, 17, 63, 64, 65, 129, 1000}) {
      CAPTURE(size);
      RandomStream random(11);
      const Dim n = dim("n");
      const Tensor x = tensor("x", {n}, dtype);
      const Tensor y = random.uniform({n}, 0, 1, dtype) + x, z = random.normal({3, n}, 0, 1, dtype);
      const Array zeros = Array::zeros({size}, dtype);
      const auto results = function({x}, {y, z})(zeros);
      random.state().set_value(Array::from({std::int64_t{11}, std::int64_t{0}}));
      const std::vector<ReferenceValue> expected =
          evaluate(std::vector<Tensor>{y, z}, {{&x.node(), from_array(zeros)}});
      const auto same = [&](const Array& have, const ReferenceValue& want, double tolerance) {
        const std::vector<double> numbers = numbers_of(have);
        REQUIRE(numbers.size() == want.data.size());
        for (std::size_t i = 0; i < numbers.size(); ++i) {
          CHECK(std::abs(numbers[i] - static_cast<double>(want.data[i])) <= tolerance);
        }
      };
      same(results[0], expected[0], 0);
      same(results[1], expected[1], dtype == f32 ? 3e-6 : 1e-14);
    }
  }
}

TEST_CASE("random: a mask that the gradient needs again is drawn again") {
  RandomStream random(3);
  const Tensor x = tensor("x", {dim("n"), 100});
  const Tensor mask = cast(random.bernoulli(x.shape(), 0.5), f32);
  const Tensor y = sum(exp(x) * mask);
  const auto f = function({x}, std::vector<Tensor>{y, grad(y, x), mask});
  const auto results = f(Array::zeros({50, 100}));
  CHECK(array_equal(results[1], results[2]));
  // In elementwise work it is in no memory.
  const auto elementwise = function({x}, grad(sum(square(tanh(x) * mask)), x));
  CHECK(elementwise.memory(Array::zeros({50, 100})).arena <= 512);
  // Beside a product it is a byte for each element.
  const Tensor w = matrix("w");
  const Tensor hidden = tanh(dot(x, w)) * cast(random.bernoulli({x.shape(0), 100}, 0.5), f32);
  const auto step = function({x, w}, grad(sum(square(hidden)), w));
  const Array given[] = {Array::ones({50, 100}), Array::ones({100, 100})};
  std::ostringstream text;
  step.print(text);
  INFO(text.str());
  CHECK(step.memory(given[0], given[1]).arena <= 50 * 100 * (2 * 4 + 1) + 4096);
}

TEST_CASE("random: inside a scan each step has other numbers, and the gradient the same") {
  RandomStream random(8);
  const Tensor w = scalar("w");
  const Tensor x = tensor("x", {dim("steps")});
  const std::vector<Tensor> states = scan(
      [&](const Tensor& row, const Tensor& state) {
        const Tensor noise = random.normal({});
        return std::vector<Tensor>{state + w * noise * row, noise};
      },
      {.sequences = {x}, .outputs_info = {Operand(0.0F).tensor(f32), none}});
  const Tensor total = states[0][-1];
  const auto f = function({x, w}, std::vector<Tensor>{total, grad(total, w), states[1]});
  const auto results = f(Array::ones({20}), 1.0F);
  const std::vector<double> noise = numbers_of(results[2]);
  CHECK(variance_of(noise) > 0.2);
  std::vector<double> sorted = noise;
  std::sort(sorted.begin(), sorted.end());
  CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  const double sum_of_noise = mean_of(noise) * 20;
  CHECK(results[0].item<float>() == doctest::Approx(sum_of_noise).epsilon(1e-5));
  CHECK(results[1].item<float>() == doctest::Approx(sum_of_noise).epsilon(1e-5));
  // In nested loops, in each step of each.
  const Tensor m = tensor("m", {4, 5});
  const Tensor nested = scan(
      [&](const Tensor& row) {
        return scan([&](const Tensor& element) { return element + random.uniform({}); },
                    {.sequences = {row}});
      },
      {.sequences = {m}});
  std::vector<double> all = numbers_of(function({m}, nested)(Array::zeros({4, 5})));
  std::sort(all.begin(), all.end());
  CHECK(all.size() == 20);
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

TEST_CASE("random: what is drawn outside of a scan is the same in all steps") {
  RandomStream random(8);
  const Tensor noise = random.normal({});
  const Tensor x = tensor("x", {dim("steps")});
  const Tensor y = scan([&](const Tensor& row) { return row + noise; }, {.sequences = {x}});
  const std::vector<double> values = numbers_of(function({x}, y)(Array::zeros({5})));
  CHECK(variance_of(values) < 1e-12);
}

TEST_CASE("random: distributions") {
  RandomStream random(17);
  for (const DType dtype : {f32, f64}) {
    CAPTURE(name_of(dtype));
    const auto check = [&](const Tensor& x, const std::function<double(double)>& distribution) {
      CHECK(distance_to(drawn(x), distribution) < 1.95);
    };
    check(random.uniform({many}, -1, 3, dtype), [](double x) { return (x + 1) / 4; });
    check(random.normal({many}, 1, 2, dtype),
          [](double x) { return normal_distribution((x - 1) / 2); });
    check(random.truncated_normal({many}, 0, 1, 1.5, dtype), [](double x) {
      const double low = normal_distribution(-1.5), high = normal_distribution(1.5);
      return (normal_distribution(x) - low) / (high - low);
    });
    check(random.exponential({many}, 2, dtype), [](double x) { return 1 - std::exp(-2 * x); });
    check(random.gumbel({many}, 1, 0.5, dtype),
          [](double x) { return std::exp(-std::exp(-(x - 1) / 0.5)); });
    check(random.laplace({many}, 0, 1, dtype),
          [](double x) { return x < 0 ? 0.5 * std::exp(x) : 1 - 0.5 * std::exp(-x); });
    check(random.logistic({many}, 0, 1, dtype), [](double x) { return 1 / (1 + std::exp(-x)); });
    // Of a whole alpha.
    check(random.gamma({many}, 3, dtype),
          [](double x) { return 1 - std::exp(-x) * (1 + x + x * x / 2); });
    check(random.gamma({many}, 0.5, dtype), [](double x) { return std::erf(std::sqrt(x)); });
    check(random.beta({many}, 2, 1, dtype), [](double x) { return x * x; });
  }
  const std::vector<double> coins = drawn(random.bernoulli({many}, 0.3));
  CHECK(std::abs(mean_of(coins) - 0.3) < 4 * std::sqrt(0.21 / many));
}

TEST_CASE("random: counts of integers and of classes") {
  RandomStream random(19);
  std::vector<double> counts(10, 0);
  for (const double x : drawn(random.integers({many}, -3, 7)))
    ++counts.at(static_cast<std::size_t>(x + 3));
  CHECK(chi_squared(counts, std::vector<double>(10, many / 10.0)) < 30);
  const std::vector<float> weights = {1, 2, 3, 4};
  const Tensor logits = broadcast_to(log(Operand(Array::from(weights)).tensor()), {many, 4});
  std::vector<double> classes(4, 0);
  for (const double x : drawn(random.categorical(logits)))
    ++classes.at(static_cast<std::size_t>(x));
  const std::vector<double> expected = {many * 0.1, many * 0.2, many * 0.3, many * 0.4};
  CHECK(chi_squared(classes, expected) < 20);
  const std::vector<double> drawn_counts =
      drawn(random.multinomial(many, log(Operand(Array::from(weights)).tensor())));
  CHECK(mean_of(drawn_counts) * 4 == many);
  CHECK(chi_squared(drawn_counts, expected) < 20);
}

TEST_CASE("random: numbers of events") {
  RandomStream random(23);
  const auto check = [&](const std::vector<double>& x, double rate) {
    CAPTURE(rate);
    // Classes about the mean, each of which has a hundred and more, the outer ones whole sides.
    const double width = std::max(1.0, std::floor(std::sqrt(rate) / 3));
    const double first = std::max(0.0, std::floor(rate - 5 * width));
    std::vector<double> counts(11, 0), expected(11, 0);
    const auto class_of = [&](double k) {
      return static_cast<std::size_t>(std::clamp(std::floor((k - first) / width), 0.0, 10.0));
    };
    for (const double k : x) {
      REQUIRE(k >= 0);
      ++counts[class_of(k)];
    }
    const double reach = rate + 40 + 12 * std::sqrt(rate);
    for (double k = 0; k < reach; ++k) {
      expected[class_of(k)] += many * std::exp(k * std::log(rate) - rate - std::lgamma(k + 1));
    }
    while (expected.back() < 20) {
      expected[expected.size() - 2] += expected.back();
      counts[counts.size() - 2] += counts.back();
      expected.pop_back();
      counts.pop_back();
    }
    CHECK(chi_squared(counts, expected) < 35);
  };
  for (const double rate : {0.5, 4.0, 29.9, 30.0, 100.0, 12345.0}) {
    check(drawn(random.poisson({many}, rate)), rate);
  }
  // Rates that are only known in the call, of both methods.
  const Tensor rates = vector("rates");
  const auto f = function({rates}, random.poisson({rates.shape(0)}, rates, i32));
  Array given = Array::zeros({2 * many});
  for (std::int64_t i = 0; i < 2 * many; ++i) given.data<float>()[std::size_t(i)] = i % 2 ? 3 : 60;
  const Array together = f(given);
  CHECK(together.dtype() == i32);
  std::vector<double> small, large;
  for (const double x : numbers_of(together)) {
    (small.size() == large.size() ? large : small).push_back(x);
  }
  check(small, 3);
  check(large, 60);
  CHECK(drawn(random.poisson({3}, 0)) == std::vector<double>{0, 0, 0});
  const double much = drawn(random.poisson({1}, 1e15))[0];
  CHECK(std::abs(much - 1e15) < 6 * std::sqrt(1e15));
}

TEST_CASE("random: orders") {
  RandomStream random(29);
  // Each of the 24 orders of four as often as any other; in a scan each step has its own.
  constexpr std::int64_t steps = 4800;
  const Tensor all = scan([&](const Tensor& row) { return random.permutation(4) + row; },
                          {.sequences = {Operand(Array::zeros({steps}, i64)).tensor()}});
  const std::vector<double> rows = drawn(all);
  REQUIRE(rows.size() == 4 * steps);
  std::map<std::vector<double>, double> orders;
  for (auto row = rows.begin(); row != rows.end(); row += 4) ++orders[{row, row + 4}];
  CHECK(orders.size() == 24);
  std::vector<double> counts;
  for (const auto& [order, count] : orders) {
    CHECK(std::set<double>(order.begin(), order.end()) == std::set<double>{0, 1, 2, 3});
    counts.push_back(count);
  }
  CHECK(chi_squared(counts, std::vector<double>(24, steps / 24.0)) < 50);

  for (const std::int64_t n : {0, 1, 3, 17, 1000}) {
    const Tensor x = matrix("x");
    const auto f = function({x}, {random.shuffle(x), random.permutation(x.shape(0))});
    Array given = Array::zeros({n, 2});
    for (std::int64_t i = 0; i < 2 * n; ++i) given.data<float>()[std::size_t(i)] = float(i);
    const auto [shuffled, order] = f(given);
    std::vector<double> sorted = numbers_of(shuffled), places = numbers_of(order);
    for (std::size_t i = 0; i < sorted.size(); i += 2) CHECK(sorted[i + 1] == sorted[i] + 1);
    if (n == 1000) CHECK(sorted != numbers_of(given));
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == numbers_of(given));
    std::sort(places.begin(), places.end());
    for (std::size_t i = 0; i < places.size(); ++i) CHECK(places[i] == double(i));
  }
  // A gradient goes through the order as it was drawn.
  const Tensor v = vector("v");
  const Tensor shuffled = random.shuffle(v);
  const auto g =
      function({v}, {shuffled, grad(sum(shuffled * exp(cast(iota({v.shape(0)}, 0), f32))), v)});
  const auto [value, slope] = g(Array::from(std::vector<float>{0, 1, 2}));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(slope.data<float>()[std::size_t(value.data<float>()[i])] ==
          doctest::Approx(std::exp(double(i))));
  }
}

TEST_CASE("random: choices") {
  RandomStream random(31);
  const Tensor x = vector("x");
  const Tensor p = vector("p");
  const auto f = function({x, p}, {random.choice(x, {100, 200}), random.choice(x, {many}, {.p = p}),
                                   random.choice(x, {3}, {.replace = false})});
  const auto [any, weighed, different] =
      f(Array::from(std::vector<float>{5, 6, 7, 8}), Array::from(std::vector<float>{1, 0, 3, 4}));
  CHECK(any.shape() == Shape{100, 200});
  const auto counts_of = [](const Array& chosen) {
    std::vector<double> counts(4, 0);
    for (const double k : numbers_of(chosen)) ++counts.at(static_cast<std::size_t>(k - 5));
    return counts;
  };
  CHECK(chi_squared(counts_of(any), std::vector<double>(4, many / 4.0)) < 20);
  std::vector<double> counts = counts_of(weighed);
  CHECK(counts[1] == 0);
  counts.erase(counts.begin() + 1);
  CHECK(chi_squared(counts, {many / 8.0, many * 3 / 8.0, many / 2.0}) < 20);
  const std::vector<double> three = numbers_of(different);
  CHECK(std::set<double>(three.begin(), three.end()).size() == 3);
}

TEST_CASE("random: streams and draws do not follow each other") {
  RandomStream first(1), second(2);
  const std::vector<double> x = drawn(first.normal({many})), y = drawn(second.normal({many})),
                            z = drawn(first.normal({many}));
  for (const auto* other : {&y, &z}) {
    double product = 0;
    for (std::size_t i = 0; i < x.size(); ++i) product += x[i] * (*other)[i];
    CHECK(std::abs(product / std::sqrt(static_cast<double>(many))) < 4);
  }
  // Neighbours, and the two of a pair of Box and Muller.
  for (const std::size_t apart : {1U, 16U, 32U}) {
    double product = 0;
    for (std::size_t i = apart; i < x.size(); ++i) product += x[i] * x[i - apart];
    CHECK(std::abs(product / std::sqrt(static_cast<double>(many))) < 4);
  }
}

TEST_CASE("random: gradients flow to the parameters through the numbers as they were drawn") {
  RandomStream random(23);
  const Tensor mean = scalar("mean"), stddev = scalar("stddev");
  const Tensor x = random.normal({1000}, mean, stddev);
  const auto [to_mean, to_stddev] = grad(sum(x), mean, stddev);
  const auto f = function({mean, stddev}, {sum(x), to_mean, to_stddev});
  const auto [total, by_mean, by_stddev] = f(2.0F, 3.0F);
  CHECK(by_mean.item<float>() == 1000);
  CHECK(total.item<float>() == doctest::Approx(2000 + 3 * by_stddev.item<float>()).epsilon(1e-4));
}

TEST_CASE("random: gradients of gamma and beta deviates are those of their distributions") {
  RandomStream random(31);
  // The mean of x^2 is alpha (alpha + 1), that of log(x) is digamma(alpha).
  const Tensor alpha = scalar("alpha", f64);
  const Tensor x = random.gamma({200000}, alpha, f64);
  const auto f = function({alpha}, {grad(mean(x), alpha), grad(mean(x * x), alpha),
                                    grad(mean(log(x)), alpha), mean(x)});
  for (const double a : {0.3, 1.0, 4.5, 40.0}) {
    CAPTURE(a);
    const auto [of_mean, of_square, of_log, value] = f(a);
    CHECK(of_mean.item<double>() == doctest::Approx(1).epsilon(0.02));
    CHECK(of_square.item<double>() == doctest::Approx(2 * a + 1).epsilon(0.04));
    const double trigamma_of_a =
        function({}, trigamma(Operand(Array(a)).tensor()))().item<double>();
    CHECK(of_log.item<double>() == doctest::Approx(trigamma_of_a).epsilon(0.03));
    CHECK(value.item<double>() == doctest::Approx(a).epsilon(0.02));
  }
  // Of a deviate that is no number of f64, the logarithm of its share is.
  const Tensor tiny = grad(mean(random.gamma({1000}, alpha, f64)), alpha);
  CHECK(std::isfinite(function({alpha}, tiny)(1e-3).item<double>()));
  // The mean of a beta deviate is a / (a + b).
  const Tensor b = scalar("b", f64);
  const Tensor share = mean(random.beta({200000}, alpha, b, f64));
  const auto [by_a, by_b] = function({alpha, b}, {grad(share, alpha), grad(share, b)})(2.0, 3.0);
  CHECK(by_a.item<double>() == doctest::Approx(3.0 / 25).epsilon(0.02));
  CHECK(by_b.item<double>() == doctest::Approx(-2.0 / 25).epsilon(0.02));
}

TEST_CASE("random: ranges end where they say, and small parameters give numbers") {
  RandomStream random(29);
  for (const double x : drawn(random.uniform({400000}, 1000, 1000.25))) {
    if (!(x >= 1000 && x < 1000.25)) FAIL_CHECK(x);
  }
  for (const double x : drawn(random.beta({20000}, 0.01, 0.01))) {
    if (!(x >= 0 && x <= 1)) FAIL_CHECK(x);
  }
}

TEST_CASE("random: errors") {
  RandomStream random(1);
  CHECK(shape_error([&] {
          random.normal({3}, matrix("m"));
        }).starts_with("normal: a parameter does not broadcast to (3,): m is f32 ("));
  CHECK(shape_error([&] {
          random.uniform({1}, zeros({4}), 1);
        }).starts_with("uniform: a parameter does not broadcast to (1,): "));
  CHECK(value_error([&] { random.integers({3}, std::int64_t{-1} << 62, std::int64_t{1} << 62); }) ==
        "integers: low < high and at most 2^52 numbers are expected, low is -4611686018427387904, "
        "high is 4611686018427387904  [here]");
  CHECK(value_error([&] { random.uniform({3}, 2, 1); }) ==
        "uniform: low < high is expected, low is 2.0, high is 1.0  [here]");
  CHECK(value_error([&] { random.normal({3}, 0, -1); }) ==
        "normal: a stddev that is not negative is expected, it is -1.0  [here]");
  CHECK(value_error([&] { random.bernoulli({3}, 1.5); }) ==
        "bernoulli: a probability is expected, it is 1.5  [here]");
  CHECK(value_error([&] { random.normal({3}, 0, 1, i32); }) ==
        "normal: the dtype is i32, expected a floating one  [here]");
  CHECK(value_error([&] { random.integers({3}, 0, 9, f32); }) ==
        "integers: the dtype is f32, expected an integer one  [here]");
  CHECK(shape_error([&] { random.categorical(scalar("s")); }) ==
        "categorical: takes logits (..., classes): s is f32 ()  [here]");
  CHECK(value_error([&] { random.truncated_normal({3}, 0, 1, 0); }) ==
        "truncated_normal: reach is 0.0, expected one above 0, 8 at most  [here]");
  CHECK(value_error([&] { random.poisson({3}, -1); }) ==
        "poisson: a rate from 0 to 2^52 is expected, it is -1.0  [here]");
  CHECK(shape_error([&] { random.shuffle(scalar("s")); }) ==
        "shuffle: takes rows (n, ...): s is f32 ()  [here]");
  CHECK(value_error([&] {
          random.choice(vector("v"), {2}, {.replace = false, .p = vector("p")});
        }) == "choice: p is for choices with replace  [here]");
  CHECK(shape_error([&] {
          random.choice(zeros({3}), {4}, {.replace = false});
        }).starts_with("choice: there are 3 rows, without replace 4 are asked for"));
  CHECK(shape_error([&] {
          random.choice(zeros({0}), {4});
        }).starts_with("choice: there are 0 rows to choose from"));
  for (const std::int64_t weights : {2, 4}) {
    CHECK(shape_error([&] {
            random.choice(zeros({3}), {4}, {.p = zeros({weights})});
          }).starts_with("choice: p has not as many elements as there are rows: "));
    const Tensor x = vector("x"), p = vector("p");
    const auto weighed = function({x, p}, random.choice(x, {4}, {.p = p}));
    CHECK(shape_error([&] {
            weighed(Array::zeros({3}), Array::ones({weights}));
          }).starts_with("function: choice: p has not as many elements as there are rows: "));
  }
  const Tensor v = vector("v");
  const auto few = function({v}, random.choice(v, {4}, {.replace = false}));
  CHECK(shape_error([&] {
          few(Array::zeros({3}));
        }).starts_with("function: choice: there are 3 rows, without replace 4 are asked for"));
}
