// Blocks, padding, noise, names, and what layers say about mistakes.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>

#include "tests/tools/error_text.h"

namespace test_nn_layers {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

std::vector<std::string> names_of(const std::vector<Shared>& parameters) {
  std::vector<std::string> names;
  for (const Shared& parameter : parameters) names.push_back(parameter.name());
  return names;
}

std::vector<std::string> names_made_by(const nn::Layer& layer, const Tensor& x) {
  const nn::Recorder recorder;
  layer(x);
  std::vector<std::string> names;
  for (const auto& parameter : recorder.recorded()) names.push_back(parameter->value.name());
  return names;
}

Array value_of(const Tensor& expression) { return function({}, expression)(); }

}  // namespace

TEST_CASE("layers: residual and concatenating blocks") {
  nn::seed(1);
  const Tensor x = tensor("x", {dim("n"), 3, 6, 6});
  const nn::Sequential net{
      nn::Residual({nn::Conv2D(3, 3, {.activation = nn::relu, .padding = 1}),
                    nn::Conv2D(3, 3, {.padding = 1})},
                   {.activation = nn::relu}),
      nn::Residual({nn::Conv2D(4, 1)}, {.projection = nn::Conv2D(4, 1, {.use_bias = false})}),
      nn::Concatenate({nn::Conv2D(2, 3, {.padding = 1}), nn::identity(),
                       nn::Sequential({nn::Conv2D(5, 1, {.name = "only"})}, "deep")}),
      nn::GlobalMaxPool()};
  const Tensor y = net(x);
  CHECK(to_string(y.shape()) == "(n, 11)");
  CHECK(names_of(net.parameters()) ==
        std::vector<std::string>{
            "residual1.conv1.weight", "residual1.conv1.bias", "residual1.conv2.weight",
            "residual1.conv2.bias", "residual2.conv1.weight", "residual2.conv1.bias",
            "residual2.projection.weight", "concatenate1.conv1.weight", "concatenate1.conv1.bias",
            "concatenate1.deep.only.weight", "concatenate1.deep.only.bias"});
  // 36 positions of 2 * 3 filters of 27 weights, of 4 * 3 twice, of 2 * 36 and 5 * 4.
  CHECK(contains(net.summary({{"n", 1000}}), "residual1         (n, 3, 6, 6)          168   11.7"));
  CHECK(contains(net.summary({{"n", 1000}}), "residual2         (n, 4, 6, 6)           28   1.73"));
  CHECK(contains(net.summary({{"n", 1000}}), "concatenate1      (n, 11, 6, 6)          99   6.62"));

  const Array data = Array::normal({2, 3}, 1);
  const nn::Residual doubles({[](const Tensor& t) { return t; }});
  CHECK(all_close(value_of(doubles(constant(data))), value_of(constant(data) * 2)));
  const nn::Residual nothing(std::vector<nn::Layer>{});
  CHECK(all_close(value_of(nothing(constant(data))), value_of(constant(data) * 2)));
  CHECK(shape_error([&] { nn::Residual({nn::Dense(1)})(constant(data)); }) ==
        "Residual: the shortcut is f32 (2, 3), the layers give f32 (2, 1)  [here]");
  CHECK(value_error([&] { nn::Concatenate({}); }) == "Concatenate: there are no branches  [here]");
  CHECK(shape_error([&] {
          nn::Concatenate({nn::Dense(1), [](const Tensor& t) { return sum(t, 0); }})(
              constant(data));
        }).ends_with("  [here]"));
  CHECK(value_error([&] {
          nn::Concatenate({nn::Dense(1, {.name = "a"}), nn::Dense(1, {.name = "a"})});
        }) == "Concatenate: two layers are called a");
}

TEST_CASE("layers: padding and repetition") {
  const Array picture = Array::arange(1, 5).reshape({1, 1, 2, 2});
  const Tensor x = constant(picture);
  CHECK(array_equal(value_of(nn::Upsample(2)(x)),
                    Array::from(std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4},
                                {1, 1, 4, 4})));
  CHECK(array_equal(value_of(nn::ZeroPadding({{0, 1}, {1, 0}})(x)),
                    Array::from(std::vector<float>{0, 1, 2, 0, 3, 4, 0, 0, 0}, {1, 1, 3, 3})));
  CHECK(array_equal(value_of(nn::ZeroPadding(1, Layout::channels_last)(reshape(x, {1, 2, 2, 1}))),
                    Array::from(std::vector<float>{0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0},
                                {1, 4, 4, 1})));
  CHECK(array_equal(value_of(nn::ZeroPadding(0)(x)), picture));
  CHECK(value_error([] { nn::ZeroPadding(Padding::same); }) ==
        "ZeroPadding: the widths must be given as numbers  [here]");
  CHECK(value_error([&] {
          nn::ZeroPadding({{1, 1}, {1, 1}, {1, 1}})(x);
        }).starts_with("ZeroPadding: "));
  CHECK(array_equal(value_of(nn::GlobalMaxPool()(x)), Array::full({1, 1}, 4)));
  CHECK(array_equal(value_of(nn::GlobalAveragePool()(x)), Array::full({1, 1}, 2.5)));
}

TEST_CASE("layers: noise while training keeps mean and variance") {
  nn::seed(2);
  const Tensor x = matrix("x");
  const Array data = Array::normal({300, 300}, 7);
  const auto moments = [](const Array& values) {
    double sum = 0, squares = 0;
    for (const float v : values.data<float>()) {
      sum += v;
      squares += static_cast<double>(v) * v;
    }
    const auto n = static_cast<double>(values.size());
    return std::pair(sum / n, squares / n - sum * sum / (n * n));
  };
  const nn::AlphaDropout alpha(0.3);
  const nn::GaussianNoise noise(0.5);
  CHECK(same(alpha(x), x));
  CHECK(same(noise(x), x));
  const nn::Training training;
  const auto f = function({x}, {alpha(x), noise(x)});
  const auto [dropped, noisy] = f(data);
  CHECK(std::abs(moments(dropped).first) < 0.02);
  CHECK(moments(dropped).second == doctest::Approx(1).epsilon(0.03));
  CHECK(moments(noisy).second == doctest::Approx(1.25).epsilon(0.03));
  CHECK_FALSE(array_equal(f(data)[1], noisy));
  CHECK(value_error([] { nn::AlphaDropout(-0.1); }) ==
        "AlphaDropout: rate is -0.1, expected one in [0, 1)  [here]");
  CHECK(value_error([] { nn::GaussianNoise(NAN); }) == "GaussianNoise: stddev is nan  [here]");
  const nn::GaussianNoise doubles(1);
  CHECK(doubles(tensor("d", {2}, f64)).dtype() == f64);
}

TEST_CASE("layers: a name is part of the path wherever the layer is called") {
  const Tensor x = tensor("x", {2, 4}), steps = tensor("s", {2, 3, 4});
  const auto first = [](const nn::Layer& layer, const Tensor& input) {
    return names_made_by(layer, input).front();
  };
  CHECK(first(nn::Dense(2, {.name = "mine"}), x) == "mine.weight");
  {
    const nn::Scope scope("outer");
    CHECK(first(nn::Dense(2, {.name = "mine"}), x) == "outer.mine.weight");
    // The scope of the same name is the layer's.
    CHECK(first(nn::Dense(2, {.name = "outer"}), x) == "outer.weight");
  }
  CHECK(first(nn::Sequential({nn::Dense(2, {.name = "mine"})}, "net"), x) == "net.mine.weight");
  CHECK(first(nn::Sequential{nn::Sequential({nn::Dense(2)}, "inner")}, x) == "inner.dense1.weight");
  CHECK(first(nn::Embedding(3, 2, nn::normal(1), "words"), tensor("i", {2}, i64)) ==
        "words.weight");
  CHECK(first(nn::BatchNormalization({.name = "norm"}), x) == "norm.scale");
  CHECK(first(nn::LayerNormalization(1e-5, "norm"), x) == "norm.scale");
  CHECK(first(nn::Conv1D(2, 2, {.name = "c"}), steps) == "c.weight");
  CHECK(first(nn::Lstm(2, {.name = "memory"}), steps) == "memory.weight");
  CHECK(first(nn::Residual({nn::Dense(4)}, {.name = "block"}), x) == "block.dense1.weight");
  CHECK(names_made_by(nn::MultiHeadAttention(2, {.name = "look"}), steps)[1] == "look.query_bias");
  CHECK(names_made_by(nn::TransformerBlock(2, 4, {.name = "block"}), steps)[2] ==
        "block.attention.query_weight");
}

TEST_CASE("layers: parameters by their path and penalties") {
  const Tensor x = tensor("x", {dim("n"), 4});
  const nn::Sequential net{nn::Dense(3), nn::Dense(2)};
  CHECK(value_error([&] { net.parameters("dense1"); }).starts_with("Sequential: the network has"));
  net(x);
  CHECK(names_of(net.parameters("dense2")) ==
        std::vector<std::string>{"dense2.weight", "dense2.bias"});
  CHECK(names_of(net.parameters("dense1.weight")) == std::vector<std::string>{"dense1.weight"});
  CHECK(value_error([&] { net.parameters("dense3"); }) ==
        "parameters: there is no parameter dense3, nor one below it; near are dense1, dense2, "
        "dense1.bias");
  CHECK(value_error([&] {
          net.set_trainable("dens1", false);
        }).ends_with("near are dense1, dense2, dense1.bias"));
  net.set_trainable("dense2.bias", false);
  CHECK(net.parameters("dense2").size() == 1);
  const Tensor penalty = nn::l2(net.parameters("dense2")) + nn::l1(net.parameters("dense1.weight"));
  double sum = 0;
  const Array first = net.parameters()[0].get_value(),
              second = net.parameters("dense2")[0].get_value();
  for (const float v : first.data<float>()) sum += std::abs(v);
  for (const float v : second.data<float>()) sum += static_cast<double>(v) * v;
  CHECK(value_of(penalty).item<float>() == doctest::Approx(sum).epsilon(1e-5));
  CHECK(value_of(nn::l2({})).item<float>() == 0);
}

TEST_CASE("layers: the table of an embedding is no ring") {
  const Tensor ids = vector("ids", i64);
  const nn::Embedding table(10, 2, nn::normal(1), "table");
  const auto f = function({ids}, table(ids));
  CHECK(f(std::vector<std::int64_t>{0, 9}).shape() == Shape({2, 2}));
  CHECK(f(std::vector<std::int64_t>{}).shape() == Shape({0, 2}));
  CHECK(value_error([&] { f(std::vector<std::int64_t>{10}); }) ==
        "function: take: index 10 is out of range for axis 0 of table.weight, whose size is 10  "
        "[here]");
  CHECK(value_error([&] { f(std::vector<std::int64_t>{0, -1}); }) ==
        "function: check: an index is negative: it does not hold at index 1  [here]");
  CHECK(type_error([&] { table(vector("x")); }) ==
        "Embedding: takes integers: x is f32 (x.shape[0],)  [here]");
}

TEST_CASE("layers: errors begin with the layer and end with its line") {
  const Tensor ids = tensor("ids", {2, 3}, i64), scalar_ = scalar("s"), m = tensor("m", {2, 3});
  const auto check = [](const std::string& message, const std::string& begin) {
    CHECK_MESSAGE(message.starts_with(begin), message);
    CHECK_MESSAGE(message.ends_with("  [here]"), message);
  };
  check(shape_error([&] { nn::Flatten()(scalar_); }), "Flatten: takes x (batch, ...): s is f32 ()");
  CHECK(to_string(nn::Flatten()(vector("v")).shape()) == "(v.shape[0], 1)");
  check(shape_error([&] { nn::GlobalAveragePool()(m); }), "GlobalAveragePool: takes x (batch, ch");
  check(shape_error([&] { nn::GlobalMaxPool()(m); }), "GlobalMaxPool: takes x (batch, channels");
  check(shape_error([&] { nn::MaxPool(2)(m); }), "MaxPool: takes x (batch, channels, spatial...)");
  check(shape_error([&] { nn::AveragePool(2)(m); }), "AveragePool: takes x (batch, channels");
  check(shape_error([&] { nn::Upsample(2)(m); }), "Upsample: takes x (batch, channels, spatial");
  check(shape_error([&] { nn::ZeroPadding(2)(m); }), "ZeroPadding: takes x (batch, channels");
  check(shape_error([&] { nn::Reshape({4})(m); }), "reshape: the element count is not");
  check(shape_error([&] { nn::Reshape({4})(scalar_); }), "Reshape: takes x (batch, ...)");
  check(type_error([&] { nn::Dense(2)(ids); }), "Dense: takes floating x: ids is i64 (2, 3)");
  check(type_error([&] { nn::Dropout(0.5)(ids); }), "Dropout: takes floating x: ids is i64 (2, 3)");
  check(type_error([&] { nn::BatchNormalization()(ids); }), "BatchNormalization: takes floating");
  check(type_error([&] { nn::LayerNormalization()(ids); }), "LayerNormalization: takes floating");
  check(shape_error([&] { nn::LayerNormalization({.axes = 3})(m); }),
        "LayerNormalization: takes x with 3 axes of features at least: m is f32 (2, 3)");
  check(value_error([&] { nn::LayerNormalization({.axes = 0}); }), "LayerNormalization: axes is 0");
  check(shape_error([&] { nn::GroupNormalization(2)(m); }),
        "GroupNormalization: 2 groups do not divide the 3 channels");
  check(value_error([&] { nn::GroupNormalization(0); }), "GroupNormalization: groups is 0");
  check(shape_error([&] { nn::InstanceNormalization()(m); }), "InstanceNormalization: takes x");
  check(value_error([&] { nn::BatchNormalization({.momentum = 2}); }),
        "BatchNormalization: momentum is 2.0, expected one in [0, 1]");
  check(value_error([&] { nn::Conv2D(4, 3, {.groups = 3}); }),
        "Conv2D: groups is 3, which does not divide 4 filters");
  check(value_error([&] { nn::Conv1D(4, 3, {.groups = 0}); }), "Conv1D: groups is 0");
  check(value_error([&] { nn::SeparableConv2D(0, 3); }), "SeparableConv2D: filters is 0");
  check(value_error([&] { nn::DepthwiseConv1D(3, {}, 0); }), "DepthwiseConv1D: multiplier is 0");
  check(shape_error([&] { nn::DepthwiseConv1D(3)(tensor3("t")); }),
        "DepthwiseConv1D: the number of channels must be known");
  check(type_error([&] { nn::MultiHeadAttention(1)(tensor("t", {1, 2, 3}, i32)); }),
        "MultiHeadAttention: takes floating x");
  check(shape_error([&] { nn::TransformerBlock(1, 2)(m); }), "TransformerBlock: takes x");
  check(value_error([&] { nn::Dense(3)(Tensor()); }), "Dense: a Tensor is empty");
  check(value_error([&] { nn::Dense(3, {.weight = nullptr, .name = "d"})(m); }),
        "d.weight: its initializer is empty");
  check(shape_error([&] {
          nn::Dense(3, {.weight = [](const Shape&, const nn::Fans&, std::uint64_t, DType dtype) {
                      return Array::zeros({2}, dtype);
                    }})(m);
        }),
        "weight: its initializer gave f32 (2,), it is f32 (3, 3)");
  check(type_error([&] { nn::gelu(ids); }), "gelu: takes floating x: ids is i64 (2, 3)");
  check(type_error([&] { nn::Sequential{nn::selu}(ids); }), "selu: takes floating x");
  check(value_error([&] { nn::Layer(std::function<Tensor(const Tensor&)>()); }),
        "Layer: the function is empty");
  check(value_error([&] { nn::Sequential net{nn::Dense(2), nn::Activation()}; }),
        "Layer: the function is empty");
}

TEST_CASE("layers: a summary of pictures of free sizes") {
  const nn::Sequential net{nn::Conv2D(2, 3, {.name = "c"}), nn::GlobalMaxPool()};
  net(tensor("x", {dim("n"), 1, dim("h"), dim("w")}));
  CHECK(net.summary() ==
        "layer             gives                 parameters  MFLOP       MiB\n"
        "c                 (n, 2, h - 2, w - 2)          20      ?         ?\n"
        "global_max_pool1  (n, 2)                         0      0  7.63e-06\n"
        "20 parameters, 20 of them trained; 0 MFLOP, 7.63e-06 MiB\n");
  CHECK(contains(net.summary({{"n", 10}, {"h", 102}, {"w", 52}}), "20    1.8     0.381\n"));
  const nn::Sequential nothing(std::vector<nn::Layer>{});
  const Tensor x = vector("x");
  CHECK(same(nothing(x), x));
  CHECK(nothing.parameters().empty());
  CHECK(nothing.summary() ==
        "layer  gives  parameters  MFLOP  MiB\n"
        "0 parameters, 0 of them trained; 0 MFLOP, 0 MiB\n");
  CHECK(value_error([&] { nothing.parameters("a"); }) ==
        "parameters: there is no parameter a, nor one below it; the network has none");
}

TEST_CASE("layers: a layer of one's own notes its products") {
  const nn::Sequential net{[](const Tensor& x) {
    const Tensor w = Operand(Array::ones({4, 500})).tensor();
    nn::Recorder::note_multiply_adds(x.shape(0) * 4 * 500);
    return dot(x, w);
  }};
  net(tensor("x", {1000, 4}));
  CHECK(contains(net.summary(), "(1000, 500)           0      4  1.91"));
}

}  // namespace test_nn_layers
