// L-BFGS on functions whose minima are known.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/optim.h>

#include <cmath>
#include <string>

namespace kt = kroton;
namespace optim = kroton::optim;

namespace {

template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const kt::Error& error) {
    const std::string text = error.what();
    return text.substr(0, text.find("  ["));
  }
  return "no error";
}

}  // namespace

TEST_CASE("lbfgs: Rosenbrock's valley") {
  for (const kt::DType dtype : {kt::f64, kt::f32}) {
    auto x = kt::shared(kt::Array::from({-1.2, 1.0, -0.5, 2.0}).cast(dtype), "x");
    const auto head = x(kt::slice(0, 3));
    const auto tail = x(kt::slice(1, 4));
    const auto cost = kt::sum(100 * kt::square(tail - kt::square(head)) + kt::square(1 - head));
    optim::Lbfgs lbfgs(cost, {x}, {}, {.iterations = 200, .change_tolerance = 0});
    const optim::LbfgsResult result = lbfgs.step();
    CAPTURE(result.iterations);
    CAPTURE(result.evaluations);
    CAPTURE(result.largest_gradient);
    const bool is_double = kt::size_of(dtype) == 8;
    CHECK(result.cost < (is_double ? 1e-15 : 1e-6));
    CHECK(kt::all_close(x.get_value(), kt::Array::ones({4}), is_double ? 1e-7 : 1e-2));
    if (is_double) {
      CHECK(result.converged);
      CHECK(result.largest_gradient <= 1e-7);
      CHECK(result.iterations < 100);
      CHECK(result.evaluations < 150);
    }
  }
}

TEST_CASE("lbfgs: least squares in several parameters, over several steps") {
  auto in = kt::matrix("in", kt::f64);
  auto out = kt::vector("out", kt::f64);
  auto w = kt::shared(kt::Array::zeros({3}, kt::f64), "w");
  auto b = kt::shared(kt::Array(0.0), "b");
  const auto cost = kt::mean(kt::square(kt::dot(in, w) + b - out));
  const kt::Array inputs = kt::Array::normal({40, 3}, 1, 0, 1, kt::f64);
  kt::Array outputs = kt::Array::empty({40}, kt::f64);
  for (int k = 0; k < 40; ++k) {
    outputs(k) = 2 * inputs(k, 0) - 30 * inputs(k, 1) + 0.5 * inputs(k, 2) + 7;
  }
  optim::Lbfgs lbfgs(cost, {w, b}, {in, out},
                     {.iterations = 2, .gradient_tolerance = 1e-10, .change_tolerance = 0});
  double before = HUGE_VAL;
  for (int k = 0; k < 15; ++k) {
    const optim::LbfgsResult result = lbfgs.step(inputs, outputs);
    CHECK(result.iterations <= 2);
    CHECK(result.cost <= before);
    before = result.cost;
  }
  CHECK(lbfgs.step(inputs, outputs).converged);
  CHECK(kt::all_close(w.get_value(), kt::Array::from({2, -30, 0.5}), 1e-9));
  CHECK(b.get_value().item<double>() == doctest::Approx(7).epsilon(1e-9));
}

TEST_CASE("lbfgs: a trial that leaves the domain is taken back") {
  auto x = kt::shared(kt::Array(0.001), "x");
  // The minimum is at 1; the cost is NaN below 0.
  optim::Lbfgs lbfgs(x - kt::log(x), {x}, {}, {.iterations = 100, .rate = 1000});
  const optim::LbfgsResult result = lbfgs.step();
  CHECK(result.converged);
  CHECK(x.get_value().item<double>() == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("lbfgs: errors leave the parameters as they were") {
  auto x = kt::shared(kt::Array(-1.0), "x");
  auto s = kt::scalar("s", kt::f64);
  optim::Lbfgs lbfgs(kt::log(x) * s, {x}, {s});
  CHECK(message_of([&] { lbfgs.step(1.0); }) == "lbfgs: the cost is nan at the start");
  CHECK(message_of([&] { lbfgs.step(); }) == "lbfgs: takes 1 arguments (s), got 0");
  optim::Lbfgs root(kt::sqrt(x + 1) * s, {x}, {s});
  CHECK(message_of([&] { root.step(1.0); }) == "lbfgs: the gradient is not finite at the start");
  CHECK(x.get_value().item<double>() == -1);

  auto ids = kt::shared(kt::Array::zeros({2}, kt::i64), "ids");
  const auto cost = kt::square(x);
  CHECK(message_of([&] { optim::Lbfgs(cost, {}, {}); }) == "lbfgs: no parameters");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x, x}, {}); }) ==
        "lbfgs: the parameter x is listed twice");
  CHECK(message_of([&] { optim::Lbfgs(cost, {ids}, {}); }) ==
        "lbfgs: the parameter ids is i64 (2,), not floating");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.history = 0}); }) ==
        "lbfgs: history is 0, below 1");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.iterations = 0}); }) ==
        "lbfgs: iterations is 0, below 1");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.evaluations = 0}); }) ==
        "lbfgs: evaluations is 0, below 1");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.rate = 0}); }) ==
        "lbfgs: rate is 0, not a finite number above 0");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.gradient_tolerance = -1}); }) ==
        "lbfgs: gradient_tolerance is -1, not a finite number of at least 0");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.change_tolerance = -1}); }) ==
        "lbfgs: change_tolerance is -1, not a finite number of at least 0");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.c1 = 0}); }) ==
        "lbfgs: c1 is 0, not in (0, 1)");
  CHECK(message_of([&] { optim::Lbfgs(cost, {x}, {}, {.c1 = 0.95}); }) ==
        "lbfgs: c2 is 0.9, not in (c1, 1)");
}
