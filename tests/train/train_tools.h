// The toy cost of the tests of optimizers, and what they compare with.
#pragma once
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/optim.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

namespace train_tools {

namespace kt = kroton;
namespace optim = kroton::optim;

inline kt::Array numbers(int seed, const kt::Shape& shape, kt::DType dtype, double shift = 0) {
  kt::Array made = kt::Array::empty(shape, kt::f64);
  std::int64_t k = 0;
  for (double& value : made.data<double>()) {
    value = static_cast<double>((7 * k++ + 3 * seed) % 11 - 5) / 10 + shift;
  }
  return made.cast(dtype);
}

// Two matrices, one wide and one tall, a vector, and a cost of them.
struct Toy {
  explicit Toy(kt::DType dtype = kt::f64)
      : parameters{kt::shared(numbers(1, {2, 3}, dtype), "u"),
                   kt::shared(numbers(2, {3, 2}, dtype), "t"),
                   kt::shared(numbers(3, {4}, dtype), "v")} {
    const auto& [u, t, v] = std::tie(parameters[0], parameters[1], parameters[2]);
    cost = kt::sum(kt::square(kt::dot(u, t) - numbers(5, {2, 2}, dtype))) / 2 +
           kt::sum(kt::sin(u) * numbers(4, {2, 3}, dtype)) +
           kt::sum(kt::softplus(v) * numbers(6, {4}, dtype, 0.6)) +
           kt::sum(kt::square(kt::square(v))) / 10;
  }

  std::vector<double> values() const {
    std::vector<double> all;
    for (const kt::Shared& parameter : parameters) {
      for (const double value : parameter.get_value().cast(kt::f64).data<double>()) {
        all.push_back(value);
      }
    }
    return all;
  }

  std::vector<kt::Shared> parameters;
  kt::Tensor cost;
};

// The largest difference, relative to the larger of the value and `least`.
inline double difference(const std::vector<double>& got, const std::vector<double>& wanted,
                         double least = 1e-3) {
  REQUIRE(got.size() == wanted.size());
  double largest = 0;
  for (std::size_t k = 0; k < got.size(); ++k) {
    if (std::isnan(got[k])) return HUGE_VAL;
    const double scale = std::max(std::abs(wanted[k]), least);
    largest = std::max(largest, std::abs(got[k] - wanted[k]) / scale);
  }
  return largest;
}

// Every shared variable's name.
inline std::string names(const std::vector<kt::Shared>& variables) {
  std::string all;
  for (const kt::Shared& variable : variables) all += variable.name() + ' ';
  return all;
}

}  // namespace train_tools
