#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>
#include <kroton/variables.h>

#include <cmath>

#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"

namespace kt = kroton;
using kt::Array;
using kt::Tensor;

namespace {

// The value of a scalar expression of scalars.
double at(const Tensor& output, const std::vector<std::pair<Tensor, double>>& values) {
  std::map<const kt::Node*, kt::ReferenceValue> bindings;
  for (const auto& [variable, value] : values) {
    bindings[&variable.node()] = {variable.dtype(), {}, {value}};
  }
  return kt::evaluate(std::span(&output, 1), bindings).front().data.front();
}

std::vector<double> values_at(const Tensor& output,
                              const std::vector<std::pair<Tensor, Array>>& values) {
  std::map<const kt::Node*, kt::ReferenceValue> bindings;
  for (const auto& [variable, value] : values) {
    bindings[&variable.node()] = kt::from_array(value);
  }
  const std::vector<kt::Number> data = kt::evaluate(std::span(&output, 1), bindings).front().data;
  return {data.begin(), data.end()};
}

}  // namespace

TEST_CASE("gradients of (a + b) * (b + 1)") {
  const Tensor a = kt::scalar("a");
  const Tensor b = kt::scalar("b");
  const Tensor e = (a + b) * (b + 1);
  const auto [da, db] = kt::grad(e, a, b);
  CHECK(at(e, {{a, 2}, {b, 1}}) == 6);
  CHECK(at(da, {{a, 2}, {b, 1}}) == 2);
  CHECK(at(db, {{a, 2}, {b, 1}}) == 5);
  CHECK(at(kt::grad(e, a), {{a, 0}, {b, 17}}) == 18);
}

TEST_CASE("second and third derivatives") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor cube = x * x * x;
  const Tensor first = kt::grad(cube, x);
  const Tensor second = kt::grad(first, x);
  const Tensor third = kt::grad(second, x);
  CHECK(at(first, {{x, 3}}) == doctest::Approx(27));
  CHECK(at(second, {{x, 3}}) == doctest::Approx(18));
  CHECK(at(third, {{x, 3}}) == doctest::Approx(6));

  const Tensor wave = kt::exp(kt::sin(x));
  const double s = std::sin(0.7);
  const double c = std::cos(0.7);
  const double y = std::exp(s);
  const Tensor wave2 = kt::grad(kt::grad(wave, x), x);
  CHECK(at(wave2, {{x, 0.7}}) == doctest::Approx(y * (c * c - s)));
  CHECK(at(kt::grad(wave2, x), {{x, 0.7}}) == doctest::Approx(y * c * (c * c - 3 * s - 1)));
}

TEST_CASE("gradients of a logistic regression agree with finite differences") {
  const Tensor x = kt::matrix("x", kt::f64);
  const Tensor y = kt::vector("y", kt::f64);
  const kt::Shared w = kt::shared(Array::normal({3, 1}, 1, 0, 1, kt::f64), "w");
  const kt::Shared b = kt::shared(Array::zeros({1}, kt::f64), "b");
  const Tensor p = 1 / (1 + kt::exp(-kt::dot(x, w) - b));
  const Tensor q = kt::reshape(p, {x.shape(0)});
  const Tensor xent = -y * kt::log(q) - (1 - y) * kt::log(1 - q);
  const Tensor loss = kt::mean(xent) + 0.01 * kt::sum(kt::square(w));
  for (const std::int64_t rows : {1, 3, 17}) {
    kt::verify_grad(loss, {{x, Array::normal({rows, 3}, 2, 0, 1, kt::f64)},
                           {y, Array::uniform({rows}, 3, 0, 1, kt::f64)},
                           {w, Array::normal({3, 1}, 4, 0, 1, kt::f64)},
                           {b, Array::full({1}, 0.5, kt::f64)}});
  }
  // Far in the tails the stable form is differentiated: neither infinite nor NaN.
  const auto [gw, gb] = kt::grad(loss, w, b);
  const std::vector<std::pair<Tensor, Array>> tail = {{x, Array::full({1, 3}, 1000.0, kt::f64)},
                                                      {y, Array::zeros({1}, kt::f64)},
                                                      {w, Array::ones({3, 1}, kt::f64)},
                                                      {b, Array::zeros({1}, kt::f64)}};
  CHECK(values_at(gb, tail)[0] == doctest::Approx(1));
  CHECK(values_at(gw, tail)[0] == doctest::Approx(1000.02));
}

TEST_CASE("a network's gradients agree with finite differences, integer labels given") {
  const Tensor x = kt::tensor("x", {kt::dim("batch"), 3}, kt::f64);
  const Tensor labels = kt::vector("labels", kt::i64);
  const Tensor w1 = kt::matrix("w1", kt::f64);
  const Tensor w2 = kt::matrix("w2", kt::f64);
  const Tensor hidden = kt::tanh(kt::dot(x, w1));
  const Tensor loss = kt::mean(kt::softmax_cross_entropy(kt::dot(hidden, w2), labels));
  kt::verify_grad(loss, {{x, Array::normal({3, 3}, 1, 0, 1, kt::f64)},
                         {labels, Array::from({std::int64_t{0}, std::int64_t{1}, std::int64_t{1}})},
                         {w1, Array::normal({3, 5}, 2, 0, 1, kt::f64)},
                         {w2, Array::normal({5, 2}, 3, 0, 1, kt::f64)}});
}

TEST_CASE("verify_grad finds a gradient that does not fit") {
  const Tensor x = kt::vector("x", kt::f64);
  const Array point = Array::from({0.5, 2.0, 3.0});
  kt::verify_grad(kt::sum(x * x), {{x, point}});
  const Tensor wrong = kt::sum(kt::stop_gradient(x) * x);
  CHECK_THROWS_WITH_AS(kt::verify_grad(wrong, {{x, point}}),
                       doctest::Contains("verify_grad: the gradient of sum with respect to x[0] is "
                                         "0.5, by finite differences 1"),
                       kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::verify_grad(wrong, {{x, Array::zeros({3})}}),
                       doctest::Contains("verify_grad: x is f64 (x.shape[0],), got f32 (3,)  ["),
                       kt::TypeError);
  CHECK_THROWS_WITH_AS(kt::verify_grad(wrong, {{x, Array::zeros({3, 1}, kt::f64)}}),
                       doctest::Contains("verify_grad: x is f64 (x.shape[0],), got f64 (3, 1)  ["),
                       kt::ShapeError);
}

TEST_CASE("verify_grad is given something to check, and every input") {
  const Tensor x = kt::vector("x", kt::f64);
  const Tensor y = kt::vector("y", kt::f64);
  const Tensor cost = kt::sum(x * y);
  CHECK_THROWS_WITH_AS(kt::verify_grad(cost, {}),
                       doctest::Contains("verify_grad: there is nothing to check: no floating "
                                         "variable is given a value  [test_grad.cpp:"),
                       kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::verify_grad(cost, {{x, Array::zeros({3}, kt::f64)}}),
                       doctest::Contains("verify_grad: the cost depends on y, f64 (y.shape[0],), "
                                         "which is given no value  [test_grad.cpp:"),
                       kt::ValueError);
}

TEST_CASE("gradients with respect to intermediate results") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor h = kt::exp(x);
  const Tensor cost = h * h;
  const auto [gh, gx] = kt::grad(cost, h, x);
  CHECK(at(gh, {{x, 0}}) == doctest::Approx(2));
  CHECK(at(gx, {{x, 0}}) == doctest::Approx(2));
  CHECK(at(gh, {{x, 1}}) == doctest::Approx(2 * std::exp(1.0)));
  CHECK(at(kt::grad(cost, cost), {{x, 1}}) == 1);
}

TEST_CASE("no gradient passes through what is constant") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor h = x * x;
  const Tensor cost = h * x;
  CHECK(at(kt::grad(cost, x), {{x, 3}}) == 27);
  CHECK(at(kt::grad(cost, x, {.consider_constant = {h}}), {{x, 3}}) == 9);
  CHECK(at(kt::grad(kt::stop_gradient(h) * x, x), {{x, 3}}) == 9);
  CHECK(at(kt::grad(kt::stop_gradient(h), x), {{x, 3}}) == 0);
  CHECK(at(kt::grad(kt::floor(x) + x, x), {{x, 2.5}}) == 1);
}

TEST_CASE("known gradients take the place of computed ones") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor h = kt::exp(x);
  const Tensor cost = h * h;
  const Tensor g = kt::scalar("g", kt::f64);
  const Tensor known = kt::grad(cost, x, {.known_grads = {{h, g}}});
  CHECK(at(known, {{x, 0}, {g, 17}}) == 17);
  CHECK(at(kt::grad(Tensor(), x, {.known_grads = {{h, g}}}), {{x, 0}, {g, 3}}) == 3);
  CHECK_THROWS_WITH_AS(
      kt::grad(cost, x, {.known_grads = {{h, kt::vector("v", kt::f64)}}}),
      doctest::Contains("grad: expected a cotangent of the type of exp is f64 (), got f64 ("),
      kt::ShapeError);
}

TEST_CASE("products of cotangents and Jacobians") {
  const Tensor x = kt::vector("x", kt::f64);
  const Tensor v = kt::vector("v", kt::f64);
  const auto result = kt::vjp({x * x, kt::sum(x)}, {x}, {v, kt::make_literal(3.0, kt::f64, {})});
  CHECK(values_at(result[0], {{x, Array::from({1.0, 2.0})}, {v, Array::from({10.0, 20.0})}}) ==
        std::vector<double>{23, 83});
  CHECK_THROWS_WITH_AS(
      kt::vjp({x}, {x}, {}),
      doctest::Contains(
          "vjp: expected one cotangent for each of 1 outputs, got 0  [test_grad.cpp:"),
      kt::ValueError);
}

TEST_CASE("a variable that the cost does not depend on is an error unless allowed") {
  const Tensor x = kt::scalar("x");
  const Tensor unused = kt::vector("unused");
  CHECK_THROWS_WITH_AS(kt::grad(x * x, unused),
                       doctest::Contains("grad: the cost does not depend on unused, f32 "
                                         "(unused.shape[0],)  [test_grad.cpp:"),
                       kt::ValueError);
  const Tensor zeros = kt::grad(x * x, unused, {.allow_unused = true});
  CHECK(zeros.type() == unused.type());
  CHECK(values_at(zeros, {{unused, Array::from({1.0F, 2.0F})}}) == std::vector<double>{0, 0});
}

TEST_CASE("cost and wrt must be floating, the cost a scalar") {
  const Tensor x = kt::vector("x");
  const Tensor ids = kt::vector("ids", kt::i64);
  CHECK_THROWS_WITH_AS(kt::grad(x * x, x),
                       doctest::Contains("grad: expected a scalar cost: mul is f32 (x.shape[0],)  "
                                         "[test_grad.cpp:"),
                       kt::ShapeError);
  CHECK_THROWS_WITH_AS(
      kt::grad(kt::sum(ids), ids),
      doctest::Contains("grad: expected a floating wrt: ids is i64 (ids.shape[0],)"),
      kt::TypeError);
  CHECK_THROWS_WITH_AS(kt::grad(kt::sum(ids), x),
                       doctest::Contains("grad: expected a floating cost: sum is i64 ()"),
                       kt::TypeError);
  CHECK_THROWS_WITH_AS(
      kt::grad(Tensor(), x),
      doctest::Contains(
          "grad: the cost is an empty Tensor, and there are no known gradients  [test_grad.cpp:"),
      kt::ValueError);
  CHECK_THROWS_WITH_AS(
      kt::grad(kt::sum(x), Tensor()),
      doctest::Contains(
          "grad: wrt is an empty Tensor: no expression has been assigned to it  [test_grad.cpp:"),
      kt::ValueError);
}

TEST_CASE("nodes of a gradient carry the line of the operation they come from") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor y = kt::tanh(x);
  const Tensor gradient = kt::grad(y, x);
  for (const Tensor& tensor : kt::topological_order(std::span(&gradient, 1))) {
    if (same(tensor, x)) continue;
    CHECK(tensor.line().line == y.line().line);
  }
}
