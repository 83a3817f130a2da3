// Taps, ends by a condition, truncation, order, numbers of states and checkpoints, in all
// combinations: against the reference interpreter and against each other, and to the third order
// against finite differences.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

using Tensors = std::span<const Tensor>;

struct Form {
  int states = 1;
  bool deep = false;  // the value three steps ago is read as well, and the row before
  bool ends = false;  // at the fifth step
  std::int64_t truncate = -1;
  bool backwards = false;
  std::int64_t every = 0;  // -1: as many as sqrt says

  std::string text() const {
    return std::to_string(states) + " states" + (deep ? ", taps" : "") + (ends ? ", ends" : "") +
           ", truncated to " + std::to_string(truncate) + (backwards ? ", backwards" : "") +
           ", every " + std::to_string(every);
  }
};

constexpr std::int64_t rows = 8;

// A loop of that form, over variables x, s (the initial values) and a, and a cost of all that it
// gives.
struct Loop {
  Tensor x = vector("x", f64), s = matrix("s", f64), a = scalar("a", f64);
  Tensor ends = vector("ends", f64);
  Tensor cost;

  explicit Loop(const Form& form) {
    ScanOptions options;
    options.sequences = {{x, form.deep ? std::vector<int>{-1, 0} : std::vector<int>{0}}, ends};
    options.non_sequences = {a};
    options.truncate_gradient = form.truncate;
    options.go_backwards = form.backwards;
    if (form.every < 0) options.checkpoint = Checkpoints::sqrt;
    if (form.every > 0) options.checkpoint_every = form.every;
    const std::vector<int> taps = form.deep ? std::vector<int>{-1, -3} : std::vector<int>{-1};
    for (int k = 0; k < form.states; ++k) {
      // Rows of s: the earliest value first.
      options.outputs_info.push_back(form.deep ? State(s(slice(0, 3), k), taps) : s(2, k));
    }
    options.outputs_info.push_back(none);
    const std::size_t first = form.deep ? 2 : 1, each = taps.size();
    const auto next = [=](Tensors in) {
      const Tensor& rate = in.back();
      std::vector<Tensor> results;
      const auto before = [&](int k) {
        return in[first + 1 + each * static_cast<std::size_t>(k % form.states)];
      };
      for (int k = 0; k < form.states; ++k) {
        Tensor value = sin(rate * before(k) + (0.3 + 0.1 * k) * in[0]) + 0.4 * before(k + 1);
        if (form.deep) {
          value = value + 0.3 * in[first + 2 + each * static_cast<std::size_t>(k)] * in[1];
        }
        results.push_back(value);
      }
      results.push_back(results[0] * exp(in[0]));
      return results;
    };
    std::vector<Tensor> outputs;
    if (form.ends) {
      outputs = scan([&](Tensors in) { return until(next(in), in[first] > 0.5); }, options);
    } else {
      outputs = scan([&](Tensors in) { return next(in); }, options);
    }
    cost = sum(square(outputs[0][-1]));
    for (const Tensor& output : outputs) cost = cost + sum(sin(output)) + output[-1];
  }

  std::vector<Tensor> inputs() const { return {x, s, a, ends}; }
  static std::vector<Array> values(const Form& form, double moved = 0) {
    std::vector<double> at = some_numbers(rows), start = some_numbers(9, 2);
    const std::vector<double> way = some_numbers(rows, 3), turn = some_numbers(9, 4);
    for (std::size_t i = 0; i < at.size(); ++i) at[i] += moved * way[i];
    for (std::size_t i = 0; i < start.size(); ++i) start[i] += moved * turn[i];
    std::vector<double> last(form.deep ? rows - 1 : rows, 0.0);
    last[form.backwards ? last.size() - 5 : 4] = 1;
    return {Array::from(at), array_of(start, f64).reshape({3, 3}), Array(0.7 + 0.2 * moved),
            Array::from(last)};
  }
};

std::vector<Tensor> value_and_gradients(const Loop& loop) {
  std::vector<Tensor> results = {loop.cost};
  for (const Tensor& g : grad(loop.cost, std::vector<Tensor>{loop.x, loop.s, loop.a})) {
    results.push_back(g);
  }
  return results;
}

std::vector<std::vector<double>> interpreted(const Form& form) {
  const Loop loop(form);
  std::vector<std::vector<double>> results;
  for (const ReferenceValue& value :
       compiled_test::expected({loop.inputs(), value_and_gradients(loop), Loop::values(form)})) {
    results.emplace_back(value.data.begin(), value.data.end());
  }
  return results;
}

std::vector<Form> all_forms() {
  std::vector<Form> forms;
  for (const int states : {1, 2, 3}) {
    for (const bool deep : {false, true}) {
      for (const bool ends : {false, true}) {
        for (const std::int64_t truncate : {-1, 0, 3}) {
          for (const bool backwards : {false, true}) {
            forms.push_back({states, deep, ends, truncate, backwards});
          }
        }
      }
    }
  }
  return forms;
}

// The cost and its derivatives along a line, each the derivative of the one before.
void check_along_a_line(const Form& form, int order) {
  CAPTURE(form.text());
  const Loop loop(form);
  const std::vector<Array> turn = Loop::values(form, 1), start = Loop::values(form, 0);
  std::vector<Tensor> results = {loop.cost};
  const std::vector<Tensor> wrt = {loop.x, loop.s, loop.a};
  for (int k = 0; k < order; ++k) {
    const std::vector<Tensor> gradients = grad(results.back(), wrt);
    Tensor along = zeros({}, f64);
    for (std::size_t i = 0; i < wrt.size(); ++i) {
      along = along + sum(gradients[i] * (constant(turn[i]) - constant(start[i])));
    }
    results.push_back(along);
  }
  const auto f = function(loop.inputs(), results);
  const auto at = [&](double moved) {
    const std::vector<Array> values = Loop::values(form, moved);
    const std::vector<Argument> arguments(values.begin(), values.end());
    std::vector<double> numbers;
    for (const Array& result : f.call(arguments)) numbers.push_back(result.item<double>());
    return numbers;
  };
  const std::vector<double> here = at(0);
  const std::vector<ReferenceValue> want =
      compiled_test::expected({loop.inputs(), results, Loop::values(form)});
  constexpr double h = 1e-5;
  const std::vector<double> ahead = at(h), behind = at(-h);
  for (std::size_t k = 0; k < here.size(); ++k) {
    CAPTURE(k);
    CHECK(here[k] == doctest::Approx(double(want[k].data[0])).epsilon(1e-10));
    if (k == 0) continue;
    CHECK(here[k] == doctest::Approx((ahead[k - 1] - behind[k - 1]) / (2 * h)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("scan combinations: the gradient with checkpoints is the one without") {
  std::size_t number = 0;
  for (Form form : all_forms()) {
    const auto want = interpreted(form);
    form.every = std::array<std::int64_t, 3>{1, 3, -1}[(number + number / 3) % 3];
    ++number;
    CAPTURE(form.text());
    const auto have = interpreted(form);
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      REQUIRE(have[k].size() == want[k].size());
      for (std::size_t i = 0; i < want[k].size(); ++i) {
        CHECK(have[k][i] == doctest::Approx(want[k][i]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("scan combinations: compiled code does what the interpreter does") {
  for (const Form& form : std::vector<Form>{{1, true, true, 3, false, 3},
                                            {2, false, true, 3, true, 0},
                                            {2, true, false, 0, true, -1},
                                            {3, true, true, -1, true, 2}}) {
    CAPTURE(form.text());
    const Loop loop(form);
    const std::vector<Array> values = Loop::values(form);
    const std::vector<Tensor> results = value_and_gradients(loop);
    const auto f = function(loop.inputs(), results);
    const std::vector<Argument> arguments(values.begin(), values.end());
    const std::vector<Array> have = f.call(arguments);
    const auto want = compiled_test::expected({loop.inputs(), results, values});
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(compiled_test::difference(want[k], have[k], {.f32 = 1e-5, .f64 = 1e-11}) == "");
    }
  }
}

TEST_CASE("scan combinations: to the third order") {
  check_along_a_line({1, false, true, -1, false, 0}, 3);
  check_along_a_line({2, true, false, -1, true, 0}, 3);
}

TEST_CASE("scan combinations: to the third order with checkpoints") {
  check_along_a_line({1, false, false, -1, true, 3}, 3);
  check_along_a_line({1, true, true, -1, false, 2}, 2);
}

TEST_CASE("scan combinations: to the third order with three states") {
  check_along_a_line({3, true, true, -1, false, 0}, 3);
}
