// The four problems of tests/bench/by_hand.h: values and derivatives are those written by hand, and
// these are right by finite differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/bench/problems.h"

namespace test_published_problems {

namespace kt = kroton;
using namespace bench;  // NOLINT: tests
using bench::Problem;
using by_hand::Numbers;

namespace {

double distance(std::span<const double> have, std::span<const double> want) {
  REQUIRE(have.size() == want.size());
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::abs(have[i] - want[i]) / std::max(1.0, std::abs(want[i])));
  }
  return worst;
}

template <class Of>
void check_like_hand(const Of& of, const Numbers& value, const Numbers& derivative) {
  const Problem made = problem(of);
  std::vector<kt::Tensor> outputs = made.derivatives;
  outputs.push_back(made.value);
  const auto f = kt::function(made.inputs, outputs, {.on_unused_input = kt::UnusedInput::ignore});
  const std::vector<kt::Argument> arguments(made.arguments.begin(), made.arguments.end());
  const std::vector<kt::Array> results = f.call(arguments);
  CHECK(distance(results.back().data<double>(), value) < 1e-12);
  Numbers parts;
  for (std::size_t k = 0; k + 1 < results.size(); ++k) {
    const auto part = results[k].data<double>();
    parts.insert(parts.end(), part.begin(), part.end());
  }
  CHECK(distance(parts, derivative) < 1e-12);
}

// d value / d parameter, by a step to both sides of each of the parameters.
template <class Value>
void check_differences(Numbers& parameters, const Value& value, const double* derivative,
                       std::size_t stride = 1) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const double at = parameters[i], h = 1e-6;
    parameters[i] = at + h;
    const double up = value();
    parameters[i] = at - h;
    const double down = value();
    parameters[i] = at;
    CHECK(derivative[i * stride] == doctest::Approx((up - down) / (2 * h)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("published problems: a mixture of Gaussians") {
  by_hand::Mixture of = by_hand::mixture(17, 3, 4);
  of.gamma = 1.25;
  of.m = 2;
  Numbers g;
  CHECK(of.gradient(g) == doctest::Approx(of.value()).epsilon(1e-14));
  check_like_hand(of, {of.value()}, g);
  const auto value = [&] { return of.value(); };
  check_differences(of.alphas, value, g.data());
  check_differences(of.means, value, &g[4]);
  check_differences(of.factors, value, &g[4 + 12]);
}

TEST_CASE("published problems: bundle adjustment") {
  by_hand::Bundle of = by_hand::bundle(2, 5, 9);
  std::fill(of.camera.begin(), of.camera.begin() + 2, 1e-9);  // hardly a turn
  Numbers values, jacobian;
  of.values(values);
  of.jacobian(jacobian);
  check_like_hand(of, values, jacobian);
  // An error against the parts of its own camera and point.
  for (const std::size_t seen : {0, 3, 8}) {
    for (const std::size_t e : {0, 1}) {
      const auto error = [&] {
        of.values(values);
        return values[2 * seen + e];
      };
      const double* row = &jacobian[(2 * seen + e) * by_hand::Bundle::row];
      const auto check = [&](double& parameter, double derivative) {
        const double at = parameter, h = 1e-6;
        parameter = at + h;
        const double up = error();
        parameter = at - h;
        const double down = error();
        parameter = at;
        CHECK(derivative == doctest::Approx((up - down) / (2 * h)).epsilon(1e-6));
      };
      for (std::size_t k = 0; k < 11; ++k) {
        check(of.camera[static_cast<std::size_t>(of.camera_of[seen]) * 11 + k], row[k]);
      }
      for (std::size_t k = 0; k < 3; ++k) {
        check(of.point[static_cast<std::size_t>(of.point_of[seen]) * 3 + k], row[11 + k]);
      }
      check(of.weight[seen], row[14]);
    }
  }
}

TEST_CASE("published problems: a hand") {
  by_hand::Hand of = by_hand::hand(7);
  Numbers values, jacobian;
  of.values(values);
  of.jacobian(jacobian);
  check_like_hand(of, values, jacobian);
  for (const std::size_t k : {0, 10, 20}) {
    const auto value = [&] {
      of.values(values);
      return values[k];
    };
    check_differences(of.theta, value, &jacobian[k], 21);
  }
}

TEST_CASE("published problems: a diagonal LSTM") {
  by_hand::Lstm of = by_hand::lstm(2, 6, 3);
  Numbers g;
  CHECK(of.gradient(g) == doctest::Approx(of.value()).epsilon(1e-14));
  check_like_hand(of, {of.value()}, g);
  const auto value = [&] { return of.value(); };
  check_differences(of.main, value, g.data());
  check_differences(of.extra, value, &g[2 * 8 * 3]);
}

}  // namespace test_published_problems
