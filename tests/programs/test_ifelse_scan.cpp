// ifelse in the steps of a scan: values, gradients, and that a step evaluates only what it takes.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/scan/scan_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests
using namespace scan_test;      // NOLINT: tests

namespace {

// A state that a step moves only where the row is positive: h = tanh(h * w + table[id]).
struct Gated {
  Tensor rows = tensor("rows", {dim("steps")}, f64);
  Tensor ids = tensor("ids", {rows.shape(0)}, i64);
  Tensor table = vector("table", f64);
  Tensor w = scalar("w", f64);
  Tensor h = scan(
      [this](Tensor row, Tensor id, Tensor state) {
        return ifelse(row > 0, tanh(state * w + take(table, id) * row), state);
      },
      {.sequences = {rows, ids}, .outputs_info = {zeros({}, f64)}});

  // The states, by plain C++.
  static std::vector<double> states(const std::vector<double>& rows,
                                    const std::vector<std::int64_t>& ids,
                                    const std::vector<double>& table, double w) {
    std::vector<double> result;
    double state = 0;
    for (std::size_t t = 0; t < rows.size(); ++t) {
      if (rows[t] > 0)
        state = std::tanh(state * w + table[static_cast<std::size_t>(ids[t])] * rows[t]);
      result.push_back(state);
    }
    return result;
  }
};

Array integers(const std::vector<std::int64_t>& values) {
  Array result = Array::zeros({static_cast<std::int64_t>(values.size())}, i64);
  std::copy(values.begin(), values.end(), result.data<std::int64_t>().begin());
  return result;
}

}  // namespace

TEST_CASE("ifelse in scan: values") {
  const Gated model;
  const auto f = function({model.rows, model.ids, model.table, model.w}, model.h);
  const std::vector<double> table{0.5, -1, 2};
  for (const std::size_t n : {0, 1, 3, 17}) {
    std::vector<double> rows;
    std::vector<std::int64_t> ids;
    for (std::size_t t = 0; t < n; ++t) {
      rows.push_back(t % 3 == 1 ? -0.5 : 0.25 * static_cast<double>(t + 1));
      ids.push_back(static_cast<std::int64_t>(t % 3));
    }
    check_values(f(Array::from(rows), integers(ids), Array::from(table), 0.75),
                 Gated::states(rows, ids, table, 0.75), 1e-12);
  }
}

TEST_CASE("ifelse in scan: a step does not evaluate the side it does not take") {
  const Gated model;
  const std::vector<Tensor> inputs{model.rows, model.ids, model.table, model.w};
  const Tensor cost = sum(square(model.h));
  const auto f = function(inputs, {model.h, grad(cost, model.w), grad(cost, model.table)});
  const std::vector<double> rows{0.5, -1, 2, -3, 1};
  const Array table = Array::from({0.5, -1.0, 2.0});
  const auto good = f(Array::from(rows), integers({0, 1, 2, 0, 1}), table, 0.75);
  const auto bad = f(Array::from(rows), integers({0, 7, 2, -9, 1}), table, 0.75);
  for (std::size_t k = 0; k < good.size(); ++k) CHECK(numbers(good[k]) == numbers(bad[k]));
  CHECK_THROWS_AS(f(Array::from(rows), integers({0, 1, 7, 0, 1}), table, 0.75), ValueError);
  CHECK_THROWS_AS(f(Array::from(rows), integers({0, 1, 2, 0, 7}), table, 0.75), ValueError);
}

TEST_CASE("ifelse in scan: a condition of the state, and an invariant that may fail") {
  const Tensor x = vector("x", f64);
  const Tensor id = scalar("id", i64);
  const Tensor table = vector("table", f64);
  const Tensor y = scan(
      [&](Tensor row, Tensor state) {
        return ifelse(state > 1, state * 0.5, state + row * take(table, id));
      },
      {.sequences = {x}, .outputs_info = {zeros({}, f64) + 3}});
  const auto f = function({x, id, table}, {y, grad(sum(y), x)});
  const Array two = Array::from({1.0, 2.0});
  check_values(f(Array::from({1.0, 1.0}), 7, two)[0], {1.5, 0.75});
  check_values(f(Array::from({1.0, 1.0}), 7, two)[1], {0, 0});
  check_values(f(Array::from({1.0, 1.0, 5.0}), 1, two)[0], {1.5, 0.75, 10.75});
  check_values(f(Array::from({1.0, 1.0, 5.0}), 1, two)[1], {0, 0, 2});
  CHECK_THROWS_AS(f(Array::from({1.0, 1.0, 5.0}), 7, two), ValueError);
}

TEST_CASE("ifelse in scan: gradients to the second order") {
  const Gated model;
  const Tensor cost = sum(square(model.h)) + model.h[-1];
  const Tensor slopes = square(grad(cost, model.w)) + sum(square(grad(cost, model.table)));
  const std::vector<Tensor> inputs{model.rows, model.ids, model.table, model.w};
  const std::vector<Array> values{Array::from({0.5, -1.0, 2.0, -3.0, 1.0}),
                                  integers({0, 1, 2, 0, 1}), Array::from({0.5, -1.0, 0.25}),
                                  Array::full({}, 0.75, f64)};
  check_finite_differences(cost, inputs, values);
  check_finite_differences(slopes, inputs, values);
}

TEST_CASE("ifelse in scan: products, several states of one condition") {
  Recurrence r;
  const Tensor x = matrix("x", f64);
  const Tensor w = tensor("w", {4, 4}, f64);
  r.inputs = {x, w};
  r.wrt = {x, w};
  r.options = {
      .sequences = {x}, .outputs_info = {zeros({4}, f64), ones({4}, f64)}, .non_sequences = {w}};
  r.step = [](std::span<const Tensor> in) -> std::vector<Tensor> {
    const Tensor& row = in[0];
    const Tensor& h = in[1];
    const Tensor& c = in[2];
    const Tensor on = sum(row) > 0;
    const Tensor mixed = tanh(dot(h, in[3]) + row);
    return {ifelse(on, mixed * c, h), ifelse(on, c + exp(-mixed), c * 0.5)};
  };
  r.cost = [](std::span<const Tensor> outputs) {
    return sum(square(outputs[0])) + sum(outputs[1][-1]);
  };
  r.values = [](std::int64_t n) -> std::vector<Array> {
    return {Array::normal({n, 4}, 3, 0, 1, f64), Array::normal({4, 4}, 4, 0, 0.5, f64)};
  };
  check_against_unrolled(r, 1, {1, 3, 9});
}

TEST_CASE("ifelse: a scan in the branch not taken does not run") {
  const Tensor c = scalar("c", boolean);
  const Tensor d = scalar("d", boolean);
  const Tensor ids = vector("ids", i64);
  const Tensor table = vector("table", f64);
  const Tensor w = scalar("w", f64);
  const Tensor y = scan([&](Tensor id, Tensor state) { return state * w + take(table, id); },
                        {.sequences = {ids}, .outputs_info = {zeros({}, f64)}});
  const Tensor cost = ifelse(c, y[-1], w) + ifelse(d, sum(y), w * 2);
  const auto f = function({c, d, ids, table, w}, {cost, grad(cost, w)});
  const Array two = Array::from({1.0, 2.0});
  const auto none_taken = f(false, false, integers({0, 7}), two, 0.5);
  CHECK(none_taken[0].item<double>() == 1.5);
  CHECK(none_taken[1].item<double>() == 3);
  const auto taken = f(true, false, integers({0, 1}), two, 0.5);
  CHECK(taken[0].item<double>() == 3.5);
  CHECK(taken[1].item<double>() == 3);
  CHECK(f(true, true, integers({0, 1}), two, 0.5)[0].item<double>() == 6);
  CHECK(f(true, true, integers({0, 1}), two, 0.5)[1].item<double>() == 2);
  CHECK_THROWS_AS(f(true, false, integers({0, 7}), two, 0.5), ValueError);
  CHECK_THROWS_AS(f(false, true, integers({0, 7}), two, 0.5), ValueError);
}
