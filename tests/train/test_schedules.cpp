// Learning rates: values worked out by hand, and PyTorch's (optim_values.py).
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/optim.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/places.h"

namespace kt = kroton;
namespace optim = kroton::optim;

namespace {

using Rates = std::vector<double>;

// The rates at these steps, which come from a counter as in training.
Rates at(const optim::Schedule& schedule, const std::vector<std::int64_t>& steps,
         kt::DType dtype = kt::f64) {
  auto step = kt::scalar("step", kt::i64);
  const auto f =
      kt::function({step}, schedule.at(step, dtype), {.on_unused_input = kt::UnusedInput::ignore});
  Rates rates;
  for (const std::int64_t k : steps) {
    const kt::Array rate = f(k);
    CHECK(rate.dtype() == dtype);
    rates.push_back(rate.item<double>());
  }
  return rates;
}

Rates first(const optim::Schedule& schedule, std::size_t count, kt::DType dtype = kt::f64) {
  std::vector<std::int64_t> steps;
  for (std::size_t k = 0; k < count; ++k) steps.push_back(static_cast<std::int64_t>(k));
  return at(schedule, steps, dtype);
}

bool close(const Rates& got, const Rates& wanted, double tolerance = 1e-14) {
  bool all = got.size() == wanted.size();
  for (std::size_t k = 0; all && k < got.size(); ++k) {
    all = std::abs(got[k] - wanted[k]) <= tolerance * std::max(1.0, std::abs(wanted[k]));
    INFO("rate ", k, " is ", got[k], ", not ", wanted[k]);
    CHECK(all);
  }
  return all;
}

Rates of_file(const std::string& name) {
  std::ifstream file(places::source_dir() + "/tests/train/optim_values.txt");
  REQUIRE(file.good());
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    std::size_t count = 0;
    words >> word >> count;
    if (word != name) continue;
    Rates rates(count);
    for (double& rate : rates) words >> rate;
    REQUIRE(words);
    return rates;
  }
  FAIL("no line ", name);
  return {};
}

template <class Error, class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what();
    return text.substr(0, text.find("  ["));
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("schedules: numbers, variables and functions of the user's") {
  CHECK(close(first(0.5, 2), {0.5, 0.5}));
  CHECK(close(first(2, 1), {2}));
  CHECK(optim::Schedule(0.5).constant() == 0.5);

  auto rate = kt::shared(0.5, "rate");
  auto w = kt::shared(kt::Array(1.0), "w");
  optim::Sgd sgd({.rate = rate});
  const auto step = kt::function({}, {.updates = sgd.updates({w}, {kt::ones_like(w)})});
  step();
  CHECK(w.get_value().item<double>() == 0.5);
  rate.set_value(kt::Array(0.25F));
  step();
  CHECK(w.get_value().item<double>() == 0.25);

  // An input of the function.
  auto given = kt::scalar("given");
  optim::Sgd by_input({.rate = given});
  const auto other = kt::function({given}, {.updates = by_input.updates({w}, {kt::ones_like(w)})});
  other(1.25);
  CHECK(w.get_value().item<double>() == -1);

  // Literals are weak: a rate for an f64 has no f32 in it.
  const optim::Schedule own = [](const kt::Tensor& t) { return 0.1 / kt::sqrt(t + 1); };
  CHECK(!own.constant());
  CHECK(close(first(own, 3), {0.1, 0.1 / std::sqrt(2.0), 0.1 / std::sqrt(3.0)}));
  CHECK(close(first(own, 2, kt::f32), {0.1F, 0.1 / std::sqrt(2.0)}, 1e-7));
}

TEST_CASE("schedules: values worked out by hand") {
  CHECK(close(first(optim::step_decay(8, 0.5, 2), 6), {8, 8, 4, 4, 2, 2}));
  CHECK(close(at(optim::exponential(3, 0.25, 2), {0, 1, 2, 4}), {3, 1.5, 0.75, 0.1875}));
  CHECK(close(first(optim::inverse_time(6, 0.5), 5), {6, 4, 3, 2.4, 2}));
  CHECK(close(first(optim::polynomial(5, 4, 2, 1), 7), {5, 3.25, 2, 1.25, 1, 1, 1}));
  CHECK(close(first(optim::polynomial(1, 2), 4), {1, 0.5, 0, 0}));
  CHECK(close(first(optim::cosine(3, 4, 1), 7),
              {3, 2 + std::sqrt(0.5), 2, 2 - std::sqrt(0.5), 1, 1, 1}));
  CHECK(close(first(optim::cosine_restarts(4, 2), 5), {4, 2, 4, 2, 4}));
  CHECK(close(first(optim::cosine_restarts(4, 1, 2), 8),
              {4, 4, 2, 4, 2 + std::sqrt(2.0), 2, 2 - std::sqrt(2.0), 4}));
  const optim::OneCycleOptions linear = {.rise = 0.5,
                                         .start_divisor = 4,
                                         .final_divisor = 2,
                                         .shape = optim::OneCycleOptions::Shape::linear};
  // From 2 up to 8 at step 2, down to 1 at step 5.
  CHECK(close(first(optim::one_cycle(8, 6, linear), 8),
              {2, 5, 8, 8 - 7.0 / 3, 8 - 14.0 / 3, 1, 1, 1}));
  CHECK(close(first(optim::warm_up(4, 8, 0.5), 6), {4, 5, 6, 7, 8, 8}));
  CHECK(close(first(optim::warm_up(2, optim::step_decay(8, 0.5, 1), 0), 5), {0, 4, 8, 4, 2}));
  CHECK(close(first(optim::piecewise({2, 3}, {1, 0.5, 0.25}), 5), {1, 1, 0.5, 0.25, 0.25}));
  CHECK(close(first(optim::piecewise({}, {0.75}), 2), {0.75, 0.75}));
  CHECK(close(first(optim::per_minibatch({3, 2, 1}), 5), {3, 2, 1, 1, 1}));
  CHECK(close(first(optim::per_minibatch({3, 2}, 2), 6), {3, 3, 2, 2, 2, 2}));
  // 100 samples at 0.5 each, then 0.25: batches of 40 begin at 0, 40, 80, 120.
  CHECK(close(first(optim::per_sample({0.5, 0.25}, 40, 100), 5), {20, 20, 20, 10, 10}));
}

TEST_CASE("schedules: values of PyTorch") {
  using Shape = optim::OneCycleOptions::Shape;
  const std::vector<std::pair<std::string, optim::Schedule>> cases = {
      {"rate_step_decay", optim::step_decay(0.1, 0.5, 3)},
      {"rate_exponential", optim::exponential(0.1, 0.9)},
      {"rate_polynomial", optim::polynomial(0.1, 8, 2)},
      {"rate_cosine", optim::cosine(0.1, 8, 0.01)},
      {"rate_restarts", optim::cosine_restarts(0.1, 4, 1, 0.01)},
      {"rate_restarts_growing", optim::cosine_restarts(0.1, 2, 2, 0.01)},
      {"rate_one_cycle", optim::one_cycle(0.1, 12)},
      {"rate_one_cycle_linear",
       optim::one_cycle(
           0.1, 12,
           {.rise = 0.5, .start_divisor = 10, .final_divisor = 100, .shape = Shape::linear})},
      {"rate_warm_up", optim::warm_up(4, optim::exponential(0.1, 0.9), 0.2)},
  };
  for (const auto& [name, schedule] : cases) {
    CAPTURE(name);
    const Rates wanted = of_file(name);
    CHECK(close(first(schedule, wanted.size()), wanted));
    CHECK(close(first(schedule, wanted.size(), kt::f32), wanted, 1e-7));
  }
}

TEST_CASE("schedules: an f32 loses no step of a long training") {
  constexpr std::int64_t steps = 100'000'000;
  CHECK(
      close(at(optim::polynomial(1, steps), {steps - 1, steps - 3}, kt::f32), {1e-8, 3e-8}, 1e-14));
  CHECK(close(at(optim::cosine_restarts(1, 4), {steps + 1, steps + 2}, kt::f32),
              {0.5 + std::sqrt(0.125), 0.5}, 1e-7));
  const std::int64_t last = std::numeric_limits<std::int64_t>::max() / 4;
  CHECK(close(at(optim::cosine_restarts(1, 1, 2), {(std::int64_t{1} << 50) - 1, last}),
              {1, at(optim::cosine_restarts(1, 1, 2), {last})[0]}));
  CHECK(close(at(optim::step_decay(1, 0.5, steps), {steps - 1, steps, 3 * steps}, kt::f32),
              {1, 0.5, 0.125}));
}

TEST_CASE("schedules: a plateau lowers the rate") {
  auto rate = kt::shared(1.0, "rate");
  optim::Plateau plateau(
      rate, {.factor = 0.5, .patience = 1, .threshold = 0.1, .cooldown = 1, .min_rate = 0.2});
  CHECK(std::isinf(plateau.best()));
  CHECK(!plateau.observe(10));
  CHECK(!plateau.observe(9.5));  // better by less than a tenth: bad, 1
  CHECK(plateau.best() == 10);
  CHECK(plateau.observe(9.5));  // bad, 2
  CHECK(plateau.rate() == 0.5);
  CHECK(!plateau.observe(11));  // cooling down
  CHECK(!plateau.observe(11));
  CHECK(!plateau.observe(8));  // better
  CHECK(plateau.best() == 8);
  CHECK(!plateau.observe(NAN));
  CHECK(plateau.observe(NAN));
  CHECK(plateau.rate() == 0.25);
  CHECK(!plateau.observe(8));
  CHECK(!plateau.observe(8));
  CHECK(plateau.observe(8));
  CHECK(plateau.rate() == doctest::Approx(0.2));
  for (int k = 0; k < 5; ++k) CHECK(!plateau.observe(8));

  auto other = kt::shared(kt::Array(1.0), "other");
  optim::Plateau rising(other,
                        {.patience = 0, .threshold = 0.5, .relative = false, .maximize = true});
  CHECK(!rising.observe(-3));
  CHECK(!rising.observe(-2));
  CHECK(rising.observe(-1.75));
  CHECK(rising.rate() == doctest::Approx(0.1));
  // The last value counts relative to one that is negative, too.
  optim::Plateau relative(other, {.patience = 0, .threshold = 0.5, .maximize = true});
  CHECK(!relative.observe(1));
  CHECK(relative.observe(1.4));
  CHECK(!relative.observe(1.6));
}

TEST_CASE("schedules: errors") {
  const auto value = [](const auto& make) { return error_of<kt::ValueError>(make); };
  CHECK(value([] { (void)optim::step_decay(-1, 0.5, 1); }) ==
        "step_decay: the rate is -1, not a finite number of at least 0");
  CHECK(value([] { (void)optim::step_decay(1, 0.5, 0); }) == "step_decay: every is 0, below 1");
  CHECK(value([] { (void)optim::exponential(1, 0); }) ==
        "exponential: factor is 0, not a finite number above 0");
  CHECK(value([] { (void)optim::inverse_time(1, -1); }) ==
        "inverse_time: decay is -1, not a finite number of at least 0");
  CHECK(value([] { (void)optim::polynomial(1, 0); }) == "polynomial: steps is 0, below 1");
  CHECK(value([] { (void)optim::polynomial(1, 1, 0); }) ==
        "polynomial: power is 0, not a finite number above 0");
  CHECK(value([] { (void)optim::cosine(1, 1, -1); }) ==
        "cosine: end is -1, not a finite number of at least 0");
  CHECK(value([] { (void)optim::cosine(NAN, 1); }) ==
        "cosine: the rate is nan, not a finite number of at least 0");
  CHECK(value([] { (void)optim::cosine_restarts(1, 1, 0); }) ==
        "cosine_restarts: growth is 0, below 1");
  CHECK(value([] { (void)optim::one_cycle(1, 1); }) == "one_cycle: steps is 1, below 2");
  CHECK(value([] { (void)optim::one_cycle(1, 9, {.rise = 2}); }) ==
        "one_cycle: rise is 2, not in [0, 1]");
  CHECK(value([] { (void)optim::one_cycle(1, 9, {.start_divisor = 0}); }) ==
        "one_cycle: start_divisor is 0, not a finite number above 0");
  CHECK(value([] { (void)optim::one_cycle(1, 9, {.final_divisor = -1}); }) ==
        "one_cycle: final_divisor is -1, not a finite number above 0");
  CHECK(value([] { (void)optim::warm_up(0, 1); }) == "warm_up: steps is 0, below 1");
  CHECK(value([] { (void)optim::warm_up(1, 1, 2); }) == "warm_up: start is 2, not in [0, 1]");
  CHECK(value([] { (void)optim::piecewise({1}, {1}); }) ==
        "piecewise: 1 boundaries and 1 rates: there is one more rate");
  CHECK(value([] { (void)optim::piecewise({2, 2}, {1, 1, 1}); }) ==
        "piecewise: the boundaries do not ascend");
  CHECK(value([] { (void)optim::per_minibatch({}); }) == "per_minibatch: no rates");
  CHECK(value([] { (void)optim::per_minibatch({1}, 0); }) == "per_minibatch: period is 0, below 1");
  CHECK(value([] { (void)optim::per_sample({1}, 0); }) ==
        "per_sample: minibatch_size is 0, below 1");
  CHECK(value([] { (void)optim::per_sample({-1}, 1); }) ==
        "per_sample: the rate is -1, not a finite number of at least 0");

  auto table = kt::shared(kt::Array::zeros({2}), "table");
  auto count = kt::shared(3, "count");
  CHECK(value([] { optim::Schedule{kt::Tensor()}; }) == "schedule: the rate is an empty Tensor");
  CHECK(value([] { (void)optim::Schedule::of(nullptr); }) == "schedule: the rule is empty");
  CHECK(error_of<kt::ShapeError>([&] { optim::Schedule{table}; }) ==
        "schedule: the rate table is f32 (2,), not a scalar");
  CHECK(error_of<kt::TypeError>([&] { optim::Schedule{count}; }) ==
        "schedule: the rate count is i64 (), not floating");
  CHECK(error_of<kt::TypeError>([&] { (void)optim::Schedule(1).at(count, kt::i64); }) ==
        "schedule: a rate is floating, not i64");
  CHECK(error_of<kt::TypeError>([&] { (void)optim::cosine(1, 2).at(table); }) ==
        "schedule: the step table is f32 (2,), not an integer scalar");
  const optim::Schedule wrong = [&](const kt::Tensor& t) { return t + table; };
  CHECK(error_of<kt::ShapeError>([&] { (void)wrong.at(count); }) ==
        "schedule: the rate add is f32 (2,), not a scalar");
  const optim::Schedule none = [](const kt::Tensor&) { return kt::Tensor(); };
  CHECK(value([&] { (void)none.at(count); }) == "schedule: the rule returns an empty Tensor");
  CHECK(error_of<kt::TypeError>([&] { optim::Plateau{count}; }) ==
        "plateau: the rate count is i64 (), not floating");
  CHECK(error_of<kt::ShapeError>([&] { optim::Plateau{table}; }) ==
        "plateau: the rate table is f32 (2,), not a scalar");
  auto rate = kt::shared(1.0, "rate");
  CHECK(value([&] { optim::Plateau(rate, {.factor = 1}); }) ==
        "plateau: factor is 1, not in [0, 1)");
  CHECK(value([&] { optim::Plateau(rate, {.threshold = -1}); }) ==
        "plateau: threshold is -1, not a finite number of at least 0");
  CHECK(value([&] { optim::Plateau(rate, {.cooldown = -1}); }) ==
        "plateau: cooldown is -1, below 0");
  CHECK(value([&] { optim::Plateau(rate, {.min_rate = -1}); }) ==
        "plateau: min_rate is -1, not a finite number of at least 0");
  CHECK(value([&] { optim::Plateau(rate, {.patience = -1}); }) ==
        "plateau: patience is -1, below 0");
}
