// What all optimizers have in common: state, clipping, accumulation, rules of the user's; averages.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/optim.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "tests/train/train_tools.h"

using namespace train_tools;

TEST_CASE("optim: bias corrections are right in f32 after very many steps") {
  for (const std::int64_t taken : {0LL, 1LL, 999LL, 20'000'000LL, 4'000'000'000'000LL}) {
    CAPTURE(taken);
    auto w = kt::shared(0.0, "w");
    auto g = kt::scalar("g");
    optim::Adam adam({.rate = 1, .epsilon = 0});
    const auto step = kt::function({g}, {.updates = adam.updates({w}, {g})});
    std::vector<kt::Shared> state = adam.state();
    state[0].set_value(kt::Array(taken));
    const double count = static_cast<double>(taken) + 1;
    // Moments as a constant gradient of 1 makes them: the step is of length 1 whatever its number.
    state[1].set_value(kt::Array(static_cast<float>(-std::expm1((count - 1) * std::log(0.9)))));
    state[2].set_value(kt::Array(static_cast<float>(-std::expm1((count - 1) * std::log(0.999)))));
    step(1);
    CHECK(w.get_value().item<float>() == doctest::Approx(-1).epsilon(1e-6));
    CHECK(state[0].get_value().item<std::int64_t>() == taken + 1);
  }
}

TEST_CASE("optim: state is named, and made once") {
  const Toy toy;
  optim::Adam adam({.amsgrad = true});
  CHECK(adam.state().empty());
  const auto first = adam.minimize(toy.cost, toy.parameters);
  const std::string wanted =
      "adam.steps adam.m.u adam.v.u adam.largest_v.u adam.m.t adam.v.t adam.largest_v.t adam.m.v "
      "adam.v.v adam.largest_v.v ";
  CHECK(names(adam.state()) == wanted);
  const auto again = adam.minimize(toy.cost, toy.parameters);
  CHECK(names(adam.state()) == wanted);
  CHECK(first.size() == 13);
  CHECK(again.size() == 13);
  CHECK(adam.name() == "adam");

  // Of two parameters of one name the second's gets a number.
  auto a = kt::shared(1.0, "w");
  auto b = kt::shared(2.0, "w");
  optim::Sgd sgd({.momentum = 0.5, .accumulate = 2});
  const auto updates = sgd.minimize(a * b, {a, b});
  CHECK(updates.size() == 8);
  CHECK(names(sgd.state()) ==
        "sgd.steps sgd.calls sgd.gradient.w sgd.gradient.w.2 sgd.momentum.w "
        "sgd.momentum.w.2 ");
}

TEST_CASE("optim: parameters of both dtypes, each with its own arithmetic") {
  const auto train = [](std::vector<kt::Shared> parameters) {
    kt::Tensor cost;
    for (const kt::Shared& p : parameters) {
      const kt::Tensor part = kt::sum(kt::square(p - 3));
      cost = cost ? cost + part : part;
    }
    optim::NAdam nadam({.rate = optim::cosine(0.1, 20), .clip_norm = 100});
    const auto step = kt::function({}, cost, {.updates = nadam.minimize(cost, parameters)});
    for (int k = 0; k < 10; ++k) step();
    return names(nadam.state());
  };
  auto a = kt::shared(kt::Array::zeros({2}, kt::f32), "a");
  auto b = kt::shared(kt::Array::zeros({2}, kt::f64), "b");
  auto c = kt::shared(kt::Array::zeros({2}, kt::f64), "c");
  CHECK(train({a, b, c}) ==
        "nadam.steps nadam.m.a nadam.v.a nadam.mu_product nadam.m.b nadam.v.b nadam.mu_product.2 "
        "nadam.m.c nadam.v.c ");
  CHECK(kt::array_equal(b.get_value(), c.get_value()));
  CHECK(kt::all_close(a.get_value(), b.get_value(), 1e-5));
  CHECK(!kt::array_equal(a.get_value().cast(kt::f64), b.get_value()));
}

TEST_CASE("optim: a run goes on from its state") {
  const Toy toy;
  optim::NAdam one({.rate = 0.01});
  const auto step = kt::function({}, toy.cost, {.updates = one.minimize(toy.cost, toy.parameters)});
  for (int k = 0; k < 5; ++k) step();
  Toy copy;
  optim::NAdam other({.rate = 0.01});
  const auto next =
      kt::function({}, copy.cost, {.updates = other.minimize(copy.cost, copy.parameters)});
  for (int k = 0; k < 3; ++k)
    copy.parameters[static_cast<std::size_t>(k)].set_value(
        toy.parameters[static_cast<std::size_t>(k)].get_value());
  std::vector<kt::Shared> state = other.state();
  for (std::size_t k = 0; k < state.size(); ++k) state[k].set_value(one.state()[k].get_value());
  for (int k = 0; k < 5; ++k) {
    step();
    next();
  }
  CHECK(difference(copy.values(), toy.values()) == 0);
}

TEST_CASE("optim: accumulated steps are those of the large batch") {
  const kt::Array x = kt::Array::normal({12, 5}, 1, 0, 1, kt::f64);
  const kt::Array y = kt::Array::normal({12}, 2, 0, 1, kt::f64);
  const auto train = [&](std::int64_t accumulate, int batch) {
    auto in = kt::matrix("in", kt::f64);
    auto out = kt::vector("out", kt::f64);
    auto w = kt::shared(kt::Array::normal({5}, 3, 0, 1, kt::f64), "w");
    auto b = kt::shared(kt::Array(0.5), "b");
    const auto cost = kt::mean(kt::square(kt::dot(in, w) + b - out));
    optim::Adam adam({.rate = optim::exponential(0.1, 0.9),
                      .weight_decay = 0.1,
                      .clip_norm = 0.7,
                      .accumulate = accumulate});
    const auto step = kt::function({in, out}, cost, {.updates = adam.minimize(cost, {w, b})});
    std::vector<double> before;
    for (int call = 0; call < 8 * static_cast<int>(accumulate); ++call) {
      before = {w.get_value()(0), b.get_value().item<double>()};
      const std::int64_t at = call * batch % 12;
      kt::Array inputs = kt::Array::empty({batch, 5}, kt::f64);
      kt::Array outputs = kt::Array::empty({batch}, kt::f64);
      for (int row = 0; row < batch; ++row) {
        inputs.row(row).assign(x.row(at + row));
        outputs.row(row).assign(y.row(at + row));
      }
      step(inputs, outputs);
      const std::vector<double> after = {w.get_value()(0), b.get_value().item<double>()};
      // The parameters move in every `accumulate`-th call and in no other.
      CHECK((after[0] != before[0]) == ((call + 1) % accumulate == 0));
      CHECK((after[1] != before[1]) == ((call + 1) % accumulate == 0));
    }
    CHECK(adam.state()[0].get_value().item<std::int64_t>() == 8);
    std::vector<double> values = {b.get_value().item<double>()};
    for (const double v : w.get_value().data<double>()) values.push_back(v);
    return values;
  };
  CHECK(difference(train(4, 3), train(1, 12)) < 1e-12);
}

TEST_CASE("optim: clipping by norm is over all parameters, and bounds what is too long only") {
  auto a = kt::shared(kt::Array::zeros({2}), "a");
  auto b = kt::shared(kt::Array(0.0), "b");
  auto ga = kt::vector("ga");
  auto gb = kt::scalar("gb", kt::f64);
  optim::Sgd sgd({.rate = 1, .clip_norm = 1});
  const auto step = kt::function({ga, gb}, {.updates = sgd.updates({a, b}, {ga, gb})});
  step(std::vector<float>{2, 4}, 4.0);
  CHECK(a.get_value()(0) == doctest::Approx(-2.0 / 6));
  CHECK(a.get_value()(1) == doctest::Approx(-4.0 / 6));
  CHECK(b.get_value().item<double>() == doctest::Approx(-4 / 6.000001));
  step(std::vector<float>{0.25F, 0}, 0.5);
  CHECK(a.get_value()(0) == doctest::Approx(-2.0 / 6 - 0.25));
  CHECK(b.get_value().item<double>() == doctest::Approx(-4 / 6.000001 - 0.5));
}

TEST_CASE("optim: a table's rows that are not looked up are not touched by SGD") {
  auto table = kt::shared(kt::Array::normal({1000, 4}, 1), "table");
  auto ids = kt::vector("ids", kt::i64);
  const auto cost = kt::sum(kt::square(kt::take(table, ids)));
  optim::Sgd sgd({.rate = optim::cosine(0.1, 100)});
  const auto step = kt::function({ids}, {.updates = sgd.minimize(cost, {table})});
  std::ostringstream text;
  step.print(text);
  CHECK_MESSAGE(text.str().find("add_at") != std::string::npos, text.str());
  const double before = table.get_value()(7, 1);
  step(std::vector<std::int64_t>{7, 3});
  CHECK(table.get_value()(7, 1) == doctest::Approx(0.8 * before));
}

namespace {

struct SignMomentum : optim::Optimizer {
  explicit SignMomentum(double rate) : Optimizer("sign_momentum", {.rate = rate}) {}
  kt::Tensor rule(optim::Step& step) override {
    auto m = step.state("m");
    auto mean = step.update(m, 0.9 * m + 0.1 * step.gradient);
    return step.value - step.rate * kt::sign(mean);
  }
};

}  // namespace

TEST_CASE("optim: an optimizer of the user's own") {
  auto w = kt::shared(kt::Array::from({1.0F, -2.0F}), "w");
  SignMomentum optimizer(0.25);
  const auto step = kt::function({}, {.updates = optimizer.minimize(kt::sum(kt::square(w)), {w})});
  step();
  step();
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({0.5F, -1.5F})));
  CHECK(names(optimizer.state()) == "sign_momentum.steps sign_momentum.m.w ");
}

TEST_CASE("optim: averages of parameters") {
  auto w = kt::shared(kt::Array(4.0), "w");
  auto b = kt::shared(kt::Array(1.0), "b");
  optim::Sgd sgd({.rate = 0.25});
  optim::MovingAverage ema({w, b}, 0.5);
  CHECK(names(ema.averages()) == "average.w average.b ");
  const auto step =
      kt::function({}, {.updates = ema.updates(sgd.minimize(kt::square(w) + b, {w, b}))});
  const auto value = [](const kt::Shared& s) { return s.get_value().item<double>(); };
  step();  // w: 4, 2, 1; b: 1, 0.75, 0.5
  CHECK(value(ema.averages()[0]) == 3);
  step();
  CHECK(value(w) == 1);
  CHECK(value(ema.averages()[0]) == 2);
  CHECK(value(ema.averages()[1]) == 0.6875);
  ema.swap();
  CHECK(value(w) == 2);
  CHECK(value(b) == 0.6875);
  ema.swap();
  CHECK(value(w) == 1);
  CHECK(value(b) == 0.5);
  const auto later = kt::function({}, {.updates = ema.updates()});
  later();
  CHECK(value(ema.averages()[0]) == 1.5);
  CHECK(value(w) == 1);
}

TEST_CASE("optim: Muon takes filters as matrices of a row for each") {
  for (const kt::Shape& shape : {kt::Shape{3, 2, 2, 2}, kt::Shape{6, 2, 1}, kt::Shape{2, 2, 2}}) {
    CAPTURE(kt::to_string(shape));
    const kt::Array values = numbers(1, shape, kt::f64), slopes = numbers(4, shape, kt::f64);
    const kt::Shape flat{shape[0], shape.element_count() / shape[0]};
    auto filters = kt::shared(values, "filters");
    auto matrix = kt::shared(values.reshape(flat), "matrix");
    const optim::MuonOptions options{.rate = 0.1, .scale = optim::MuonOptions::Scale::rms};
    optim::Muon of_filters(options), of_matrix(options);
    const auto step = kt::function(
        {}, {.updates = of_filters.updates({filters}, {kt::Operand(slopes).tensor()})});
    const auto flat_step = kt::function(
        {}, {.updates = of_matrix.updates({matrix}, {kt::Operand(slopes.reshape(flat)).tensor()})});
    for (int k = 0; k < 3; ++k) {
      step();
      flat_step();
    }
    CHECK(kt::all_close(filters.get_value().reshape(flat), matrix.get_value(), 1e-12, 1e-12));
    CHECK_FALSE(kt::array_equal(filters.get_value(), values));
  }
}
