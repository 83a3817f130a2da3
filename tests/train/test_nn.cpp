// Networks from layers: values against the formulas, parameters, modes, errors.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/tools/error_text.h"

namespace test_nn {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

std::vector<std::string> names_of(const std::vector<Shared>& parameters) {
  std::vector<std::string> names;
  for (const Shared& parameter : parameters) names.push_back(parameter.name());
  return names;
}

Array numbers(const Shape& shape, std::uint64_t seed) { return Array::normal(shape, seed); }

Array value_of(const Tensor& expression) { return function({}, expression)(); }

}  // namespace

TEST_CASE("nn: a convolutional network trains, and its parts have names") {
  nn::seed(3);
  const Tensor x = tensor("x", {dim("batch"), 1, 8, 8});
  const Tensor labels = vector("labels", i64);
  const nn::Sequential net{
      nn::Conv2D(4, 3, {.activation = nn::relu}), nn::MaxPool(2),    nn::Flatten(),
      nn::Dense(16, {.activation = nn::tanh}),    nn::Dropout(0.25), nn::Dense(3)};
  CHECK(value_error([&] { (void)net.parameters(); }) ==
        "Sequential: the network has not been called, which makes its parameters");
  const Tensor loss = nn::cross_entropy(net.train(x), labels);
  CHECK(names_of(net.parameters()) == std::vector<std::string>{"conv1.weight", "conv1.bias",
                                                               "dense1.weight", "dense1.bias",
                                                               "dense2.weight", "dense2.bias"});
  CHECK(net.parameter_count() == 4 * 9 + 4 + 36 * 16 + 16 + 16 * 3 + 3);
  // Of one picture: 36 positions of 4 filters of 9 weights, 36 * 16 and 16 * 3 products.
  CHECK(net.summary() ==
        "layer      gives             parameters    MFLOP       MiB\n"
        "conv1      (batch, 4, 6, 6)          40  0.00259  0.000549\n"
        "max_pool1  (batch, 4, 3, 3)           0        0  0.000137\n"
        "flatten1   (batch, 36)                0        0  0.000137\n"
        "dense1     (batch, 16)              592  0.00115   6.1e-05\n"
        "dropout1   (batch, 16)                0        0   6.1e-05\n"
        "dense2     (batch, 3)                51  9.6e-05  1.14e-05\n"
        "683 parameters, 683 of them trained; 0.00384 MFLOP, 0.000957 MiB\n");
  CHECK(contains(net.summary({{"batch", 1000}}), "; 3.84 MFLOP, 0.957 MiB\n"));
  optim::Sgd sgd({.rate = 0.1, .momentum = 0.9});
  const auto step = function({x, labels}, loss, {.updates = sgd.minimize(loss, net.parameters())});
  const Tensor logits = net(x);
  const auto predict = function({x, labels}, {logits, nn::accuracy(logits, labels)});
  // Three kinds of pictures: a bright row, column, or diagonal.
  Array pictures = Array::zeros({30, 1, 8, 8});
  Array classes = Array::zeros({30}, i64);
  for (std::int64_t n = 0; n < 30; ++n) {
    classes.data<std::int64_t>()[static_cast<std::size_t>(n)] = n % 3;
    for (std::int64_t k = 0; k < 8; ++k) {
      const std::int64_t place = n / 3 % 8;
      const std::int64_t row = n % 3 == 0 ? place : k, column = n % 3 == 1 ? place : k;
      pictures.data<float>()[static_cast<std::size_t>(n * 64 + row * 8 + column)] = 1;
    }
  }
  const float first = step(pictures, classes).item<float>();
  float last = first;
  for (int k = 0; k < 60; ++k) last = step(pictures, classes).item<float>();
  CHECK(first > 0.8F);
  CHECK(last < 0.3F);
  const auto [scores, share] = predict(pictures, classes);
  CHECK(share.item<float>() > 0.95F);
  // Nothing is dropped when predicting.
  CHECK(array_equal(predict(pictures, classes)[0], scores));
}

TEST_CASE("nn: the same seed makes the same network, copies share parameters") {
  const auto make = [] {
    nn::seed(7);
    const nn::Sequential net{nn::Dense(3), nn::Dense(2)};
    net(tensor("x", {5, 4}));
    return net.parameters();
  };
  const auto first = make(), second = make();
  for (std::size_t k = 0; k < first.size(); ++k) {
    CHECK(array_equal(first[k].get_value(), second[k].get_value()));
  }
  const nn::Dense layer(3);
  const nn::Dense copy = layer;
  const Tensor x = tensor("x", {5, 3});
  const nn::Sequential twice{layer, copy};
  twice(x);
  CHECK(twice.parameters().size() == 2);
  CHECK(shape_error([&] { layer(tensor("y", {5, 4})); })
            .starts_with("dense1.weight: it is f32 (3, 3), made at the first call of its layer; "
                         "this call needs f32 (4, 3)"));
}

TEST_CASE("nn: a layer of one's own, scopes, and frozen parameters") {
  struct Residual {
    nn::Dense inner{4, {.activation = nn::relu, .name = "inner"}};
    Tensor operator()(const Tensor& x) const {
      const nn::Scope scope("inner");
      return x + inner(x);
    }
  };
  const nn::Sequential net{Residual(), [](const Tensor& x) { return 2 * x; },
                           nn::Sequential({nn::Dense(2)}, "head")};
  const Tensor x = tensor("x", {dim("n"), 4});
  net(x);
  CHECK(names_of(net.parameters()) ==
        std::vector<std::string>{"layer1.inner.weight", "layer1.inner.bias", "head.dense1.weight",
                                 "head.dense1.bias"});
  struct Unnamed {
    nn::Dense first{4}, second{4};
    Tensor operator()(const Tensor& input) const { return second(first(input)); }
  };
  const nn::Sequential unnamed{Unnamed()};
  unnamed(x);
  CHECK(names_of(unnamed.parameters()) == std::vector<std::string>{"layer1.weight", "layer1.bias",
                                                                   "layer1.2.weight",
                                                                   "layer1.2.bias"});
  net.set_trainable("layer1", false);
  CHECK(names_of(net.parameters()) ==
        std::vector<std::string>{"head.dense1.weight", "head.dense1.bias"});
  CHECK(net.state().size() == 4);
  net.set_trainable("layer1", true);
  CHECK(net.parameters().size() == 4);
  CHECK(value_error([&] { net.set_trainable("nothing", true); }) ==
        "set_trainable: there is no parameter nothing, nor one below it; near are head, layer1, "
        "head.dense1");
  CHECK(value_error([] {
          nn::Sequential({nn::Dense(2, {.name = "a"}), nn::Dense(2, {.name = "a"})});
        }) == "Sequential: two layers are called a");
}

TEST_CASE("nn: batch normalisation updates its running statistics while training only") {
  const nn::Sequential net{nn::BatchNormalization({.momentum = 0.5})};
  const Tensor x = tensor("x", {dim("n"), 2});
  const auto train = function({x}, net.train(x));
  const auto predict = function({x}, net(x));
  CHECK(net.parameters().size() == 2);
  CHECK(net.state().size() == 4);
  const Array data = Array::from(std::vector<float>{1, 10, 3, 30}).reshape({2, 2});
  const Array y = train(data);
  CHECK(all_close(y, Array::from(std::vector<float>{-1, -1, 1, 1}).reshape({2, 2}), 1e-4, 1e-4));
  const Shared mean = net.state()[2], variance = net.state()[3];
  CHECK(mean.name() == "batch_norm1.running_mean");
  CHECK(all_close(mean.get_value(), Array::from(std::vector<float>{1, 10})));
  // Of 2 elements, corrected: 2 and 200.
  CHECK(all_close(variance.get_value(), Array::from(std::vector<float>{1.5F, 100.5F})));
  const Array z = predict(data);
  CHECK(all_close(mean.get_value(), Array::from(std::vector<float>{1, 10})));
  CHECK(z(0, 0).item<float>() == doctest::Approx(0));
  CHECK(z(1, 0).item<float>() == doctest::Approx(2 / std::sqrt(1.5)).epsilon(1e-4));
}

TEST_CASE("nn: a network with batch normalisation trains") {
  nn::seed(4);
  const Tensor x = tensor("x", {dim("n"), 3});
  const nn::Sequential net{nn::Dense(4), nn::BatchNormalization(), nn::Dense(1)};
  const Tensor loss = mean(square(net.train(x) - 0.3));
  optim::Sgd sgd({.rate = 0.05});
  const auto step = function({x}, loss, {.updates = sgd.minimize(loss, net.parameters())});
  const Array data = numbers({20, 3}, 8);
  const float first = step(data).item<float>();
  float last = first;
  for (int k = 0; k < 100; ++k) last = step(data).item<float>();
  CHECK(last < 0.2F * first);
  const Shared variance = net.state()[5];
  CHECK(variance.name() == "batch_norm1.running_variance");
  CHECK_FALSE(array_equal(variance.get_value(), Array::ones({4})));
  // One example has no variance, and none say nothing.
  const nn::Sequential alone{nn::BatchNormalization()};
  const auto f = function({x}, alone.train(x));
  f(Array::ones({1, 3}));
  CHECK(all_close(alone.state()[2].get_value(), Array::full({3}, 0.1F)));
  CHECK(all_close(alone.state()[3].get_value(), Array::full({3}, 0.9F)));
  f(Array::ones({0, 3}));
  CHECK(all_close(alone.state()[3].get_value(), Array::full({3}, 0.9F)));
  // Twice in one function: one after the other.
  const auto twice = function({x}, {alone.train(x), alone.train(2 * x)});
  alone.state()[2].set_value(Array::zeros({3}));
  twice(Array::ones({2, 3}));
  CHECK(all_close(alone.state()[2].get_value(), Array::full({3}, 0.9F * 0.1F + 0.1F * 2)));
}

TEST_CASE("nn: losses of nothing and of other shapes") {
  const Tensor logits = tensor("logits", {dim("n"), 3}), labels = vector("labels", i64);
  const Tensor mask = vector("mask");
  const Tensor loss = nn::cross_entropy(logits, labels, {.mask = mask});
  const auto f = function({logits, labels, mask}, {loss, grad(loss, logits)});
  const auto [value, slope] = f(Array::ones({2, 3}), Array::zeros({2}, i64), Array::zeros({2}));
  CHECK(value.item<float>() == 0);
  CHECK(array_equal(slope, Array::zeros({2, 3})));
  const auto g = function({logits, labels}, nn::cross_entropy(logits, labels));
  CHECK_THROWS_AS(g(Array::ones({1, 3}), Array::full({1}, -1, i64)), ValueError);
  CHECK(shape_error([&] { nn::cross_entropy(logits, labels, {.class_weights = ones({4})}); }) ==
        "cross_entropy: class weights are (3,): broadcast is f32 (4,)  [here]");
  CHECK(shape_error([&] {
          nn::mean_squared_error(logits, labels);
        }).starts_with("mean_squared_error: takes two tensors of one shape: logits is "));
}

TEST_CASE("nn: dropout keeps the mean, and whole channels with spatial") {
  nn::seed(1);
  const nn::Training training;
  const Tensor x = tensor("x", {dim("n"), 50, 4, 4});
  const auto f = function({x}, {nn::Dropout(0.4)(x), nn::Dropout(0.4, {.spatial = true})(x)});
  const auto [plain, spatial] = f(Array::ones({100, 50, 4, 4}));
  for (const Array& y : {plain, spatial}) {
    const auto values = y.data<float>();
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    CHECK(sum / static_cast<double>(y.size()) == doctest::Approx(1).epsilon(0.05));
    CHECK(std::all_of(values.begin(), values.end(),
                      [](float v) { return v == 0 || std::abs(v - 1 / 0.6F) < 1e-6F; }));
  }
  for (std::size_t channel = 0; channel < 100; ++channel) {
    const auto values = spatial.data<float>().subspan(channel * 16, 16);
    CHECK(std::all_of(values.begin(), values.end(), [&](float v) { return v == values[0]; }));
  }
}

TEST_CASE("nn: masked steps leave the state, two directions, sequences") {
  nn::seed(5);
  const Tensor x = tensor("x", {2, 5, 3}), mask = matrix("mask");
  const nn::Lstm lstm(4);
  const auto masked = function({x, mask}, lstm(x, mask));
  const Tensor shorter = tensor("s", {2, 3, 3});
  const auto plain = function({shorter}, lstm(shorter));
  const Array data = numbers({2, 5, 3}, 2);
  Array keep = Array::zeros({2, 5});
  for (std::size_t n = 0; n < 2; ++n) {
    for (std::size_t t = 0; t < 3; ++t) keep.data<float>()[n * 5 + t] = 1;
  }
  CHECK(all_close(masked(data, keep), plain(value_of(Operand(data).tensor()(all, slice(0, 3)))),
                  1e-6, 1e-6));
  const nn::Layer both = nn::bidirectional<nn::Gru>(4, {.sequences = true});
  const Tensor y = both(x);
  CHECK(to_string(y.shape()) == "(2, 5, 8)");
  CHECK(to_string(nn::bidirectional<nn::Gru>(4)(x).shape()) == "(2, 8)");
}

TEST_CASE("nn: attention looks at no later position where it is causal") {
  nn::seed(2);
  const Tensor x = tensor("x", {1, 4, 8});
  const nn::MultiHeadAttention attention(2, {.causal = true});
  const auto f = function({x}, attention(x));
  const Array data = numbers({1, 4, 8}, 3);
  const Array y = f(data);
  Array changed = data.copy();
  for (std::size_t k = 24; k < 32; ++k) changed.data<float>()[k] += 1;  // the last position
  const Array z = f(changed);
  CHECK(array_equal(value_of(Operand(y).tensor()(0, slice(0, 3))),
                    value_of(Operand(z).tensor()(0, slice(0, 3)))));
  CHECK_FALSE(all_close(y, z));
  const nn::Sequential block{nn::TransformerBlock(2, 16, {.causal = true})};
  CHECK(to_string(block(x).shape()) == "(1, 4, 8)");
  CHECK(block.parameter_count() == 4 * (64 + 8) + 4 * 8 + 8 * 16 + 16 + 16 * 8 + 8);
}

TEST_CASE("nn: initial values have the variances that they say") {
  const auto variance = [](const nn::Initializer& make) {
    const Array values = make(Shape({200, 300}), {200, 300}, 9, f64);
    double sum = 0;
    for (const double v : values.data<double>()) sum += v * v;
    return sum / static_cast<double>(values.size());
  };
  CHECK(variance(nn::glorot_uniform()) == doctest::Approx(2.0 / 500).epsilon(0.03));
  CHECK(variance(nn::glorot_normal()) == doctest::Approx(2.0 / 500).epsilon(0.03));
  CHECK(variance(nn::he_uniform()) == doctest::Approx(2.0 / 200).epsilon(0.03));
  CHECK(variance(nn::he_normal()) == doctest::Approx(2.0 / 200).epsilon(0.03));
  CHECK(variance(nn::lecun_normal()) == doctest::Approx(1.0 / 200).epsilon(0.03));
  CHECK(variance(nn::torch_uniform()) == doctest::Approx(1.0 / 600).epsilon(0.03));
  CHECK(variance(nn::truncated_normal(1)) == doctest::Approx(0.7737).epsilon(0.03));
  const Array q = nn::orthogonal()(Shape({3, 5}), {}, 4, f64);
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t k = 0; k < 3; ++k) {
      double product = 0;
      for (std::int64_t j = 0; j < 5; ++j) {
        product += q(i, j).item<double>() * q(k, j).item<double>();
      }
      CHECK(product == doctest::Approx(i == k ? 1 : 0));
    }
  }
}

TEST_CASE("nn: losses and metrics") {
  const Operand logits(Array::from(std::vector<float>{2, 1, 0, 0, 3, 1}).reshape({2, 3}));
  const Tensor scores = logits.tensor();
  const Tensor labels = Operand(Array::from(std::vector<std::int64_t>{0, 2})).tensor();
  const auto scalar_of = [](const Tensor& t) {
    return static_cast<double>(value_of(t).item<float>());
  };
  const double first = std::log(std::exp(2) + std::exp(1) + 1) - 2;
  const double second = std::log(1 + std::exp(3) + std::exp(1)) - 1;
  CHECK(scalar_of(nn::cross_entropy(scores, labels)) == doctest::Approx((first + second) / 2));
  CHECK(scalar_of(nn::cross_entropy(scores, labels, {.ignored_label = 2})) ==
        doctest::Approx(first));
  const Tensor weights = Operand(Array::from(std::vector<float>{1, 1, 3})).tensor();
  CHECK(scalar_of(nn::cross_entropy(scores, labels, {.class_weights = weights})) ==
        doctest::Approx((first + 3 * second) / 4));
  const double smooth =
      0.9 * (first + second) / 2 + 0.1 * ((first + 2 - 1) + (second + 1 - 4.0 / 3)) / 2;
  CHECK(scalar_of(nn::cross_entropy(scores, labels, {.label_smoothing = 0.1})) ==
        doctest::Approx(smooth).epsilon(1e-5));
  CHECK(scalar_of(nn::accuracy(scores, labels)) == 0.5);
  CHECK(scalar_of(nn::top_k_accuracy(scores, labels, 2)) == 1);
  const Array confusion = value_of(nn::confusion_matrix(scores, labels));
  CHECK(array_equal(
      confusion,
      Array::from(std::vector<std::int64_t>{1, 0, 0, 0, 0, 0, 0, 1, 0}).reshape({3, 3})));
  const Tensor counts = Operand(confusion).tensor();
  CHECK(array_equal(value_of(nn::precision(counts)), Array::from(std::vector<float>{1, 0, 0})));
  CHECK(array_equal(value_of(nn::recall(counts)), Array::from(std::vector<float>{1, 0, 0})));
  const Tensor x = Operand(Array::from(std::vector<float>{1, -2})).tensor();
  const Tensor y = Operand(Array::from(std::vector<float>{0, 1})).tensor();
  CHECK(scalar_of(nn::mean_squared_error(x, y)) == 5);
  CHECK(scalar_of(nn::mean_absolute_error(x, y)) == 2);
  CHECK(scalar_of(nn::huber(x, y)) == doctest::Approx((0.5 + 2.5) / 2));
  CHECK(scalar_of(nn::binary_cross_entropy(x, y)) ==
        doctest::Approx((std::log1p(std::exp(1)) + std::log1p(std::exp(2))) / 2));
  CHECK(shape_error([&] {
          nn::cross_entropy(scores, matrix("labels", i64));
        }).starts_with("cross_entropy: takes logits (..., classes) and labels (...): "));
}

TEST_CASE("nn: errors name the line where the layer was made") {
  CHECK(value_error([] { nn::Dense(0); }) == "Dense: units is 0  [here]");
  CHECK(value_error([] { nn::Dropout(1); }) ==
        "Dropout: rate is 1.0, expected one in [0, 1)  [here]");
  CHECK(shape_error([] { nn::Conv2D(4, 3)(tensor("x", {2, 3, 8})); }) ==
        "Conv2D: takes x of rank 4: x is f32 (2, 3, 8)  [here]");
  CHECK(shape_error([] {
          nn::Conv2D(4, 9)(tensor("x", {2, 3, 8, 8}));
        }).starts_with("conv2d: the window reaches over 9 positions of spatial axis 0"));
  CHECK(shape_error([] { nn::Dense(4)(matrix("x")); }).ends_with("  [here]"));
}

}  // namespace test_nn
