// Restricted Boltzmann machines: energies and gradients against the formulas, chains, and that one
// learns a distribution.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>

#include "tests/tools/error_text.h"
#include "tests/train/train_tools.h"

namespace test_nn_rbm {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests
using train_tools::numbers;

namespace {

void set_numbers(const nn::Rbm& rbm) {
  int seed = 1;
  for (Shared p : rbm.parameters()) {
    std::vector<std::int64_t> sizes;
    for (const Dim& size : p.shape()) sizes.push_back(size.constant());
    p.set_value(numbers(seed++, Shape(sizes), f32));
  }
}

// The bits of n as numbers.
std::vector<double> bits(std::int64_t n, std::int64_t count) {
  std::vector<double> result;
  for (std::int64_t k = 0; k < count; ++k) result.push_back(static_cast<double>(n >> k & 1));
  return result;
}

}  // namespace

TEST_CASE("rbm: the free energy is that of the sum over the hidden units") {
  const nn::Rbm rbm(3, 2);
  set_numbers(rbm);
  const auto p = rbm.parameters();
  const Array w = p[0].get_value(), a = p[1].get_value(), b = p[2].get_value();
  const Tensor v = matrix("v");
  const auto f = function({v}, {rbm.free_energy(v), rbm(v)});
  for (std::int64_t n = 0; n < 8; ++n) {
    const auto visible = bits(n, 3);
    double sum = 0;
    std::vector<double> on(2, 0);
    for (std::int64_t m = 0; m < 4; ++m) {
      const auto hidden = bits(m, 2);
      double exponent = 0;
      for (std::int64_t i = 0; i < 3; ++i) {
        const auto at = static_cast<std::size_t>(i);
        exponent += visible[at] * a(i).item<float>();
        for (std::int64_t j = 0; j < 2; ++j) {
          exponent += visible[at] * w(i, j).item<float>() * hidden[static_cast<std::size_t>(j)];
        }
      }
      for (std::int64_t j = 0; j < 2; ++j) {
        exponent += hidden[static_cast<std::size_t>(j)] * b(j).item<float>();
      }
      sum += std::exp(exponent);
      for (std::size_t j = 0; j < 2; ++j) on[j] += hidden[j] * std::exp(exponent);
    }
    const auto [energy, probabilities] = f(Array::from(visible).cast(f32).reshape({1, 3}));
    CHECK(energy(0).item<float>() == doctest::Approx(-std::log(sum)).epsilon(1e-5));
    CHECK(probabilities(0, 0).item<float>() == doctest::Approx(on[0] / sum).epsilon(1e-5));
    CHECK(probabilities(0, 1).item<float>() == doctest::Approx(on[1] / sum).epsilon(1e-5));
  }
}

TEST_CASE("rbm: gradients of contrastive divergence are differences of products") {
  for (const std::int64_t chains : {0, 5}) {
    nn::seed(3);
    const nn::Rbm rbm(6, 4, {.chains = chains});
    set_numbers(rbm);
    const Tensor v = matrix("v");
    const auto cd = rbm.contrastive_divergence(v, 1);
    const auto p = rbm.parameters();
    const auto products = [&](const Tensor& x) {
      return std::vector<Tensor>{-dot(transpose(x), rbm(x)) / size_of_dim(x.shape(0)), -mean(x, 0),
                                 -mean(rbm(x), 0)};
    };
    const auto positive = products(v), negative = products(cd.samples);
    std::vector<Tensor> outputs = grad(cd.loss, p);
    for (std::size_t k = 0; k < 3; ++k) outputs.push_back(positive[k] - negative[k]);
    outputs.push_back(cd.samples);
    outputs.push_back(cd.reconstruction);
    const auto f = function({v}, outputs);
    Array data = Array::zeros({7, 6});
    for (std::int64_t k = 0; k < 42; ++k) data(k / 6, k % 6) = k * k % 5 < 2 ? 1 : 0;
    const auto first = f(data), second = f(data);
    for (std::size_t k = 0; k < 3; ++k) CHECK(all_close(first[k], first[k + 3], 1e-5, 1e-6));
    CHECK(first[6].shape() == Shape({chains == 0 ? 7 : chains, 6}));
    CHECK_FALSE(array_equal(first[6], second[6]));
    const auto values = first[6].data<float>();
    CHECK(std::all_of(values.begin(), values.end(), [](float x) { return x == 0 || x == 1; }));
    CHECK(first[7].item<float>() > 0);
    if (chains > 0) CHECK(array_equal(rbm.chains().get_value(), second[6]));
    // A function of the gradients alone moves the chains, too.
    if (chains > 0) {
      const Array before = rbm.chains().get_value();
      function({v}, grad(cd.loss, p[0]))(data);
      CHECK_FALSE(array_equal(rbm.chains().get_value(), before));
      CHECK(rbm.state().size() == 4);
    }
  }
}

TEST_CASE("rbm: one learns bars") {
  for (const std::int64_t chains : {0, 100}) {
    nn::seed(5);
    // Pictures of 2 x 2: an upper, a lower, a left or a right bar, each as often.
    const nn::Rbm rbm(4, 8, {.weight = nn::normal(0.1), .chains = chains});
    const Tensor v = matrix("v");
    const auto cd = rbm.contrastive_divergence(v, 2);
    optim::Sgd sgd({.rate = optim::exponential(0.5, 0.998)});
    const auto step = function({v}, {cd.loss, cd.reconstruction},
                               {.updates = sgd.minimize(cd.loss, rbm.parameters())});
    Array data = Array::zeros({40, 4});
    const std::vector<std::vector<std::int64_t>> bars = {{0, 1}, {2, 3}, {0, 2}, {1, 3}};
    for (std::int64_t n = 0; n < 40; ++n) {
      for (const std::int64_t place : bars[static_cast<std::size_t>(n % 4)]) data(n, place) = 1;
    }
    for (int k = 0; k < 1500; ++k) step(data);
    // The probability of each of the 16 pictures, exactly.
    Array all = Array::zeros({16, 4});
    for (std::int64_t n = 0; n < 16; ++n) {
      for (std::int64_t k = 0; k < 4; ++k) all(n, k) = n >> k & 1;
    }
    const Array energies = function({v}, rbm.free_energy(v))(all);
    double sum = 0, of_bars = 0;
    for (std::int64_t n = 0; n < 16; ++n) {
      const double weight = std::exp(-energies(n).item<float>() + energies(3).item<float>());
      sum += weight;
      const bool is_bar = n == 3 || n == 12 || n == 5 || n == 10;
      if (is_bar) of_bars += weight;
      if (is_bar) CHECK(weight > 0.2);
    }
    INFO(chains);
    CHECK(of_bars / sum > 0.8);
    // So it dreams of bars.
    const auto dream = function({v}, rbm.gibbs(v, 50));
    const Array dreams = dream(Array::zeros({200, 4}));
    std::int64_t seen = 0;
    for (std::int64_t n = 0; n < 200; ++n) {
      std::int64_t picture = 0;
      for (std::int64_t k = 0; k < 4; ++k) picture += (dreams(n, k).item<float>() > 0 ? 1 : 0) << k;
      seen += picture == 3 || picture == 12 || picture == 5 || picture == 10 ? 1 : 0;
    }
    CHECK(seen > 140);
  }
}

TEST_CASE("rbm: sizes and errors") {
  CHECK(value_error([] { nn::Rbm(0, 2); }) == "Rbm: 0 visible and 2 hidden units  [here]");
  CHECK(value_error([] { nn::Rbm(1, 2, {.chains = -1}); }) == "Rbm: chains is -1  [here]");
  const nn::Rbm rbm(3, 2, {.name = "machine"});
  CHECK(rbm.parameters()[0].name() == "machine.weight");
  const Tensor v = matrix("v");
  CHECK(value_error([&] { rbm.gibbs(v, -1); }) == "Rbm: gibbs of -1 steps  [here]");
  CHECK(value_error([&] { rbm.contrastive_divergence(v, 0); }) ==
        "Rbm: contrastive divergence of 0 steps  [here]");
  CHECK(value_error([&] { rbm.chains(); }) == "Rbm: has no persistent chains  [here]");
  CHECK(shape_error([&] { rbm.free_energy(tensor("x", {2, 4})); }) ==
        "Rbm: there are 3 units: x is f32 (2, 4)  [here]");
  CHECK(type_error([&] { rbm(matrix("n", i64)); }) ==
        "Rbm: takes floating x: n is i64 (n.shape[0], n.shape[1])  [here]");
  const auto none = function({v}, {rbm.gibbs(v, 0), rbm.gibbs(v, 2)});
  CHECK(none(Array::zeros({0, 3}))[1].shape() == Shape({0, 3}));
  const Array half = Array::full({1, 3}, 0.5);
  CHECK(array_equal(none(half)[0], half));
}

}  // namespace test_nn_rbm
