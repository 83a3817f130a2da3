// Recurrent layers that go on, initial states, peepholes, masks, stacks, no steps, errors.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

Array part(const Array& x, std::int64_t first, std::int64_t stop) {
  return function({}, Operand(x).tensor()(kroton::all, slice(first, stop)))();
}

std::vector<std::string> names_of(const std::vector<Shared>& parameters) {
  std::vector<std::string> names;
  for (const Shared& parameter : parameters) names.push_back(parameter.name());
  return names;
}

}  // namespace

TEST_CASE("recurrent: a stateful layer goes on from call to call") {
  nn::seed(1);
  const Tensor x = tensor("x", {dim("batch"), dim("steps"), 3});
  const nn::Lstm stateful(4, {.stateful = 2});
  const nn::Sequential net{stateful};
  const auto go_on = function({x}, net(x));
  CHECK(names_of(net.parameters()) ==
        std::vector<std::string>{"lstm1.weight", "lstm1.recurrent", "lstm1.bias"});
  CHECK(names_of(net.state()) == std::vector<std::string>{"lstm1.weight", "lstm1.recurrent",
                                                          "lstm1.bias", "lstm1.last_h",
                                                          "lstm1.last_c"});
  // The same weights without a memory.
  nn::seed(1);
  const nn::Sequential forgets{nn::Lstm(4)};
  const auto at_once = function({x}, forgets(x));
  const Array data = Array::normal({2, 7, 3}, 2);
  const Array whole = at_once(data);
  go_on(part(data, 0, 3));
  CHECK(all_close(go_on(part(data, 3, 7)), whole, 1e-6, 1e-6));
  CHECK_FALSE(all_close(go_on(part(data, 0, 7)), whole, 1e-4, 1e-4));
  stateful.reset_state();
  CHECK(all_close(go_on(data), whole, 1e-6, 1e-6));
  // Through bidirectional layers and stacks, and with sequences.
  const nn::Stacked<nn::Gru> stack(3, 2, {.recurrent = {.sequences = true, .stateful = 2}});
  const auto first = function({x}, stack(x));
  const Array once = first(data);
  CHECK_FALSE(all_close(first(data), once, 1e-4, 1e-4));
  stack.reset_state();
  CHECK(array_equal(first(data), once));
}

TEST_CASE("recurrent: a stateful layer takes its batches and trains") {
  const Tensor x = tensor("x", {dim("batch"), dim("steps"), 3});
  const nn::SimpleRnn layer(4, {.stateful = 2});
  layer.reset_state();  // there is nothing yet
  nn::Recorder recorder;
  const Tensor loss = mean(square(layer(x) - 0.5));
  std::vector<Shared> parameters;
  for (const auto& p : recorder.recorded()) {
    if (p->trainable) parameters.push_back(p->value);
  }
  CHECK(parameters.size() == 3);
  optim::Sgd sgd({.rate = 0.1});
  const auto step = function({x}, loss, {.updates = sgd.minimize(loss, parameters)});
  const Array data = Array::normal({2, 5, 3}, 2);
  float last = step(data).item<float>();
  const float first = last;
  for (int k = 0; k < 30; ++k) last = step(data).item<float>();
  CHECK(last < first);
  CHECK_THROWS_AS(step(Array::zeros({3, 5, 3})), ShapeError);
  CHECK(shape_error([&] { layer(tensor("y", {3, 5, 3})); }) ==
        "SimpleRnn: stateful, takes batches of 2: y is f32 (3, 5, 3)  [here]");
  CHECK(value_error([] { nn::Gru(2, {.stateful = -1}); }) ==
        "Gru: stateful is -1, the size of a batch  [here]");
  CHECK(value_error([] { nn::Gru(2).reset_state(); }) == "Gru: is not stateful  [here]");
}

TEST_CASE("recurrent: peepholes see the cell") {
  const std::int64_t units = 2;
  const nn::Lstm layer(units, {.peepholes = true});
  const Tensor x = tensor("x", {1, 3, 1});
  nn::Recorder recorder;
  const nn::RecurrentResult result = layer.run(x);
  std::vector<Array> p;
  for (const auto& parameter : recorder.recorded()) {
    std::vector<std::int64_t> sizes;
    for (const Dim& size : parameter->value.shape()) sizes.push_back(size.constant());
    p.push_back(Array::normal(Shape(sizes), 5 + p.size()));
    parameter->value.set_value(p.back());
  }
  REQUIRE(p.size() == 4);
  CHECK(recorder.recorded()[3]->value.name() == "peephole");
  const Array data = Array::normal({1, 3, 1}, 9);
  const auto f = function({x}, {result.outputs, result.state[1]});
  const auto [outputs, cell] = f(data);
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto at = [](const Array& a, std::int64_t i, std::int64_t k) -> double {
    return a(i, k).item<float>();
  };
  std::vector<double> h(2, 0), c(2, 0);
  for (std::int64_t t = 0; t < 3; ++t) {
    const std::vector<double> old = h;
    for (std::int64_t k = 0; k < units; ++k) {
      const auto n = static_cast<std::size_t>(k);
      const auto sum = [&](std::int64_t gate) {
        const std::int64_t column = gate * units + k;
        return data(0, t, 0).item<float>() * at(p[0], 0, column) + old[0] * at(p[1], 0, column) +
               old[1] * at(p[1], 1, column) + p[2](column).item<float>();
      };
      const double in = sigmoid(sum(0) + at(p[3], 0, k) * c[n]);
      const double forget = sigmoid(sum(1) + at(p[3], 1, k) * c[n]);
      c[n] = forget * c[n] + in * std::tanh(sum(2));
      h[n] = sigmoid(sum(3) + at(p[3], 2, k) * c[n]) * std::tanh(c[n]);
    }
    for (std::int64_t k = 0; k < units; ++k) {
      CHECK(outputs(0, t, k).item<float>() ==
            doctest::Approx(h[static_cast<std::size_t>(k)]).epsilon(1e-4));
    }
  }
  CHECK(at(cell, 0, 1) == doctest::Approx(c[1]).epsilon(1e-4));
  CHECK(value_error([] { nn::Gru(2, {.peepholes = true}); }) == "Gru: has no peepholes  [here]");
}

TEST_CASE("recurrent: an encoder hands its state to a decoder of free sizes") {
  nn::seed(4);
  const Tensor x = tensor3("x"), y = tensor("y", {dim("n"), dim("m"), 2}), mask = matrix("mask");
  const Tensor source = reshape(x, {x.shape(0), x.shape(1), 3});
  const nn::Lstm encoder(4), decoder(4);
  const auto encoded = encoder.run(source, {}, mask);
  const auto decoded = decoder.run(y, encoded.state);
  CHECK(decoded.state.size() == 2);
  const Tensor loss = sum(square(decoded.outputs));
  const auto f = function({x, mask, y}, {decoded.outputs, grad(loss, x)});
  const Array data = Array::normal({2, 5, 3}, 1), target = Array::normal({2, 4, 2}, 2);
  Array keep = Array::ones({2, 5});
  keep(0, 4) = keep(0, 3) = 0;
  const auto [outputs, slope] = f(data, keep, target);
  CHECK(outputs.shape() == Shape({2, 4, 4}));
  for (std::int64_t k = 0; k < 3; ++k) {
    CHECK(slope(0, 4, k).item<float>() == 0);
    CHECK(slope(0, 3, k).item<float>() == 0);
    CHECK(slope(0, 2, k).item<float>() != 0);
  }
  CHECK_THROWS_AS(f(data, keep, Array::normal({3, 4, 2}, 2)), ShapeError);
  CHECK_THROWS_AS(f(data, Array::ones({2, 4}), target), ShapeError);
  CHECK(message_of<ShapeError>([&] {
          f(data, Array::ones({5, 2}), target);
        }).starts_with("function: Lstm: sizes differ on axis 0: "));
  CHECK(f(Array::zeros({0, 5, 3}), Array::zeros({0, 5}), Array::zeros({0, 4, 2}))[0].shape() ==
        Shape({0, 4, 4}));
}

TEST_CASE("recurrent: a state of free sizes is compared axis by axis") {
  const Tensor x = tensor("x", {dim("n"), 2, 3}), h = matrix("h");
  const nn::Gru layer(4);
  const auto f = function({x, h}, layer.run(x, {h}).outputs);
  CHECK(f(Array::ones({2, 2, 3}), Array::ones({2, 4})).shape() == Shape({2, 2, 4}));
  CHECK_THROWS_AS(f(Array::ones({2, 2, 3}), Array::ones({4, 2})), ShapeError);
}

TEST_CASE("recurrent: no steps") {
  const Tensor x = tensor("x", {dim("n"), dim("steps"), 3});
  const nn::Gru last(2), each(2, {.sequences = true});
  const auto f = function({x}, last(x));
  CHECK(message_of<Error>([&] { f(Array::zeros({2, 0, 3})); }) ==
        "function: index: index -1 is out of range for axis 0 of scan Gru, which made 0 steps  "
        "[here]");
  const auto g = function({x}, each(x));
  CHECK(g(Array::zeros({2, 0, 3})).shape() == Shape({2, 0, 2}));
  const Tensor none = tensor("none", {4, 0, 3});
  CHECK(shape_error([&] { last(none); }) ==
        "Gru: there is no last step: none is f32 (4, 0, 3)  [here]");
  CHECK(shape_error([&] { nn::Stacked<nn::Gru>(2, 2)(none); }) ==
        "Stacked: there is no last step: none is f32 (4, 0, 3)  [here]");
  CHECK(shape_error([&] { nn::bidirectional<nn::Gru>(2)(none); }) ==
        "Gru: there is no last step: none is f32 (4, 0, 3)  [here]");
  // The state after no steps is the initial one.
  const Tensor h = tensor("h", {4, 2});
  const auto result = last.run(none, {h});
  const Array start = Array::normal({4, 2}, 1);
  CHECK(array_equal(function({h}, result.state[0])(start), start));
  // One step without a state before it.
  CHECK(f(Array::normal({1, 1, 3}, 1)).shape() == Shape({1, 2}));
}

TEST_CASE("recurrent: names of parts and what they cost") {
  const Tensor x = tensor("x", {dim("n"), 5, 3});
  const nn::Sequential net{nn::bidirectional<nn::Gru>(4, {.sequences = true}),
                           nn::Stacked<nn::SimpleRnn>(2, 2, {.dropout = 0.5}),
                           nn::bidirectional<nn::SimpleRnn>(2, {.sequences = true, .name = "own"})};
  CHECK(shape_error([&] { net(x); }) ==
        "SimpleRnn: takes x (batch, steps, features): reshape is f32 (n, 2)  [here]");
  const nn::Sequential two{nn::bidirectional<nn::Gru>(4, {.sequences = true, .name = "own"}),
                           nn::Stacked<nn::SimpleRnn>(2, 2, {.dropout = 0.5})};
  two(x);
  const auto names = names_of(two.parameters());
  CHECK(names[0] == "own.forward.weight");
  CHECK(names[4] == "own.backward.weight");
  CHECK(names[8] == "stacked1.layer1.weight");
  CHECK(names.back() == "stacked1.layer2.bias");
  // Of 5 steps: 12 * (3 + 4) products in each direction; 2 * (8 + 2) and 2 * (2 + 2).
  const std::string summary = two.summary({{"n", 1000}});
  INFO(summary);
  CHECK(contains(summary, "own       (n, 5, 8)         216   1.68    0.153\n"));
  CHECK(contains(summary, "stacked1  (n, 2)             32   0.28"));
  // In a network of one's own a name is part of the path once.
  const nn::Recorder recorder;
  nn::bidirectional<nn::Gru>(4, {.name = "both"})(x);
  CHECK(recorder.recorded()[0]->value.name() == "both.forward.weight");
}

TEST_CASE("recurrent: errors") {
  const Tensor x = tensor("x", {4, 5, 3});
  const nn::Lstm lstm(2);
  CHECK(type_error([&] { lstm(tensor("ids", {4, 5, 3}, i64)); }) ==
        "Lstm: takes floating x: ids is i64 (4, 5, 3)  [here]");
  CHECK(shape_error([&] { lstm(matrix("m")); }) ==
        "Lstm: takes x (batch, steps, features): m is f32 (m.shape[0], m.shape[1])  [here]");
  CHECK(shape_error([&] { lstm(x, tensor("mask", {4, 6})); }) ==
        "Lstm: a mask is (batch, steps) of x, which is f32 (4, 5, 3): mask is f32 (4, 6)  [here]");
  CHECK(value_error([&] { lstm.run(x, {tensor("h", {4, 2})}); }) ==
        "Lstm: an initial state is 2 tensors, given are 1  [here]");
  CHECK(shape_error([&] { lstm.run(x, {tensor("h", {4, 2}), tensor("c", {4, 2}, f64)}); }) ==
        "Lstm: an initial state is f32 (4, 2): c is f64 (4, 2)  [here]");
  CHECK(value_error([&] { nn::Stacked<nn::Gru>(2, 0); }) == "Stacked: layers is 0  [here]");
  CHECK(value_error([&] { nn::Stacked<nn::Gru>(2, 1, {.dropout = 1}); }) ==
        "Dropout: rate is 1.0, expected one in [0, 1)  [here]");
  CHECK(value_error([&] { nn::Stacked<nn::Gru>(2, 2).run(x, {tensor("h", {4, 2})}); }) ==
        "Stacked: an initial state is 2 tensors, given are 1  [here]");
  CHECK(value_error([&] { nn::Stacked<nn::Gru>(2, 2, {.recurrent = {.backwards = true}}); }) ==
        "Stacked: has no backwards: each layer would turn the steps around again  [here]");
}
