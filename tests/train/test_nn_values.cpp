// Layers, losses and their gradients against values of PyTorch (nn_values.py), in f64.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <fstream>
#include <map>
#include <sstream>

#include "tests/tools/places.h"
#include "tests/train/train_tools.h"

using namespace kroton;  // NOLINT: tests
using train_tools::difference;
using train_tools::numbers;

namespace {

const std::vector<double>& expected(const std::string& name) {
  static const auto values = [] {
    std::map<std::string, std::vector<double>> read;
    std::ifstream file(places::source_dir() + "/tests/train/nn_values.txt");
    REQUIRE(file.good());
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string key, value;
      words >> key;
      while (words >> value) read[key].push_back(std::stod(value));
    }
    return read;
  }();
  REQUIRE_MESSAGE(values.contains(name), name);
  return values.at(name);
}

Shared value(int seed, const Shape& shape, double shift = 0) {
  return shared(numbers(seed, shape, f64, shift), "p" + std::to_string(seed));
}
Tensor integers(std::initializer_list<std::int64_t> values, const Shape& shape) {
  return constant(Array::from(std::vector<std::int64_t>(values), shape));
}
Tensor reals(std::initializer_list<double> values) {
  return constant(Array::from(std::vector<double>(values)));
}

// The elements of all, one after the other.
std::vector<double> elements(const std::vector<Tensor>& outputs) {
  std::vector<double> all;
  for (const Array& array : function({}, outputs)()) {
    const Array doubles = array.cast(f64);
    all.insert(all.end(), doubles.data<double>().begin(), doubles.data<double>().end());
  }
  return all;
}

Shape shape_of(const Tensor& x) {
  std::vector<std::int64_t> sizes;
  for (const Dim& size : x.shape()) sizes.push_back(size.constant());
  return Shape(sizes);
}

// The outputs, and the gradients of the sum of their elements times numbers.
void check_with_gradients(const std::string& name, std::vector<Tensor> outputs,
                          const std::vector<Shared>& inputs) {
  Tensor cost = constant(Array(0.0));
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Array factors = numbers(9 + static_cast<int>(k), shape_of(outputs[k]), f64);
    cost = cost + sum(outputs[k] * factors);
  }
  const std::vector<Tensor> gradients = grad(cost, inputs);
  outputs.insert(outputs.end(), gradients.begin(), gradients.end());
  INFO(name);
  CHECK(difference(elements(outputs), expected(name)) < 1e-8);
}

void check_loss(const std::string& name, const Tensor& loss, const std::vector<Shared>& inputs,
                double tolerance = 1e-8) {
  std::vector<Tensor> outputs = {loss};
  const std::vector<Tensor> gradients = grad(loss, inputs);
  outputs.insert(outputs.end(), gradients.begin(), gradients.end());
  INFO(name);
  CHECK(difference(elements(outputs), expected(name)) < tolerance);
}

using Recorded = std::vector<std::shared_ptr<nn::Parameter>>;

// What `call` gives, and the parameters of the layers that it calls.
template <class Call>
auto recorded(const Call& call) {
  const nn::Recorder recorder;
  auto result = call();
  return std::pair(result, recorder.recorded());
}

// Gives these parameters the values of their names.
std::vector<Shared> set(const Recorded& parameters_made,
                        const std::map<std::string, Array>& values_by_name) {
  std::vector<Shared> parameters;
  for (const auto& parameter : parameters_made) {
    const auto found = values_by_name.find(parameter->value.name());
    REQUIRE_MESSAGE(found != values_by_name.end(), parameter->value.name());
    parameter->value.set_value(found->second);
    parameters.push_back(parameter->value);
  }
  return parameters;
}

}  // namespace

TEST_CASE("nn values: activations") {
  Array values = numbers(1, {11}, f64, 0.03);
  for (double& v : values.data<double>()) v *= 16;
  const Shared x = shared(values, "x");
  const std::map<std::string, nn::Activation> activations = {{"relu", nn::relu},
                                                             {"relu6", nn::relu6},
                                                             {"leaky_relu", nn::leaky_relu},
                                                             {"elu", nn::elu},
                                                             {"selu", nn::selu},
                                                             {"gelu", nn::gelu},
                                                             {"gelu_tanh", nn::gelu_tanh},
                                                             {"silu", nn::silu},
                                                             {"mish", nn::mish},
                                                             {"hard_sigmoid", nn::hard_sigmoid},
                                                             {"softsign", nn::softsign},
                                                             {"tanh", nn::tanh},
                                                             {"sigmoid", nn::sigmoid},
                                                             {"softplus", nn::softplus},
                                                             {"softmax", nn::softmax}};
  for (const auto& [name, activation] : activations)
    check_with_gradients(name, {activation(x)}, {x});
}

TEST_CASE("nn values: normalisation by groups and channels and over two axes") {
  const Shared x = value(1, {2, 4, 3, 2});
  const auto check = [&](const std::string& name, const auto& layer, const Array& scale,
                         const Array& shift) {
    const auto [y, made] = recorded([&] { return layer(x); });
    std::vector<Shared> inputs = {x};
    for (const Shared& p : set(made, {{"scale", scale}, {"shift", shift}})) inputs.push_back(p);
    check_with_gradients(name, {y}, inputs);
  };
  const Array scale = numbers(2, {4}, f64, 1), shift = numbers(3, {4}, f64);
  check("group_norm", nn::GroupNormalization(2), scale, shift);
  check("instance_norm", nn::InstanceNormalization(), scale, shift);
  check("layer_norm", nn::LayerNormalization({.axes = 2}), numbers(2, {3, 2}, f64, 1),
        numbers(3, {3, 2}, f64));
}

TEST_CASE("nn values: convolutions of single channels") {
  const Shared x = value(1, {2, 3, 5, 6});
  const std::map<std::string, Array> weights = {{"depthwise_weight", numbers(2, {6, 1, 3, 2}, f64)},
                                                {"weight", numbers(3, {4, 6, 1, 1}, f64)},
                                                {"bias", numbers(4, {4}, f64)}};
  nn::SeparableConvOptions options{
      .between = nn::softplus, .stride = 2, .padding = 1, .multiplier = 2};
  const nn::SeparableConv2D layer(4, {3, 2}, options);
  const auto [y, made] = recorded([&] { return layer(x); });
  const auto p = set(made, weights);
  check_with_gradients("separable", {y}, {x, p[0], p[1], p[2]});
  options.layout = Layout::channels_last;
  const nn::SeparableConv2D last(4, {3, 2}, options);
  const auto [z, made_last] = recorded([&] { return last(transpose(x, {0, 2, 3, 1})); });
  const auto q = set(made_last, weights);
  check_with_gradients("separable", {transpose(z, {0, 3, 1, 2})}, {x, q[0], q[1], q[2]});

  const Shared signal = value(1, {2, 3, 5});
  const auto [u, made_1d] = recorded([&] { return nn::DepthwiseConv1D(3, {}, 2)(signal); });
  const auto r =
      set(made_1d, {{"weight", numbers(2, {6, 1, 3}, f64)}, {"bias", numbers(4, {6}, f64)}});
  check_with_gradients("depthwise1d", {u}, {signal, r[0], r[1]});
}

namespace {

// Parameter k of PyTorch's layer, times 2, and its transpose.
Array torch_value(int k, const Shape& shape) {
  Array values = numbers(20 + k, shape, f64);
  for (double& v : values.data<double>()) v *= 2;
  return values;
}
Array transposed(const Array& matrix) { return function({}, transpose(constant(matrix)))(); }
Array added(const Array& a, const Array& b) { return function({}, constant(a) + constant(b))(); }

// PyTorch's weight_ih, weight_hh, bias_ih and bias_hh, from parameter `first` on, under the names
// that begin with `path`.
std::map<std::string, Array> torch_weights(const std::string& path, std::int64_t inputs,
                                           std::int64_t units, std::int64_t parts, int first = 0) {
  const Array input_bias = torch_value(first + 2, {parts * units});
  const Array state_bias = torch_value(first + 3, {parts * units});
  const bool is_gru = parts == 3;
  return {{path + "weight", transposed(torch_value(first, {parts * units, inputs}))},
          {path + "recurrent", transposed(torch_value(first + 1, {parts * units, units}))},
          {path + "bias", is_gru ? input_bias : added(input_bias, state_bias)},
          {path + "recurrent_bias", state_bias}};
}

template <class Recurrent>
void check_recurrent(const std::string& name, std::int64_t parts) {
  const Shared x = value(1, {3, 5, 2});
  const Recurrent layer(4);
  const auto [from_zeros, made] = recorded([&] { return layer.run(x); });
  set(made, torch_weights("", 2, 4, parts));
  std::vector<Tensor> outputs = {from_zeros.outputs};
  outputs.insert(outputs.end(), from_zeros.state.begin(), from_zeros.state.end());
  check_with_gradients(name, outputs, {x});
  CHECK(elements({layer(x)}) == elements({from_zeros.state[0]}));

  std::vector<Shared> inputs = {x};
  std::vector<Tensor> initial;
  for (std::size_t k = 0; k < layer.states(); ++k) {
    inputs.push_back(value(7 + static_cast<int>(k), {3, 4}));
    initial.push_back(inputs.back());
  }
  const nn::RecurrentResult from = layer.run(x, initial);
  outputs = {from.outputs};
  outputs.insert(outputs.end(), from.state.begin(), from.state.end());
  check_with_gradients(name + "_from", outputs, inputs);
}

}  // namespace

TEST_CASE("nn values: recurrent layers with weights of PyTorch's") {
  check_recurrent<nn::SimpleRnn>("rnn", 1);
  check_recurrent<nn::Lstm>("lstm", 4);
  check_recurrent<nn::Gru>("gru", 3);
}

TEST_CASE("nn values: two directions with a mask and stacked layers") {
  const Shared x = value(1, {3, 5, 2});
  const Tensor mask = integers({1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0}, {3, 5});
  const auto both = nn::bidirectional<nn::Lstm>(4);
  const auto [last, made] = recorded([&] { return both(x, mask); });
  auto weights = torch_weights("forward.", 2, 4, 4);
  weights.merge(torch_weights("backward.", 2, 4, 4, 4));
  set(made, weights);
  check_with_gradients("bidirectional",
                       {last(kroton::all, slice(0, 4)), last(kroton::all, slice(4, 8))}, {x});
  const auto all_steps = nn::bidirectional<nn::Lstm>(4, {.sequences = true});
  const auto [y, made_all] = recorded([&] { return all_steps(x, mask); });
  set(made_all, weights);
  // What PyTorch fills with zeros is not compared.
  const Tensor counted = y * cast(expand_dims(mask, 2), f64);
  CHECK(difference(elements({counted}), expected("bidirectional_sequences")) < 1e-8);

  const nn::Stacked<nn::Gru> stacked(4, 2);
  const auto [result, made_stacked] = recorded([&] { return stacked.run(x); });
  weights = torch_weights("layer1.", 2, 4, 3);
  weights.merge(torch_weights("layer2.", 4, 4, 3, 4));
  set(made_stacked, weights);
  check_with_gradients("stacked", {result.outputs, result.state[0], result.state[1]}, {x});
  CHECK(elements({stacked(x)}) == elements({result.state[1]}));
}

TEST_CASE("nn values: attention") {
  const Shared queries = value(1, {2, 3, 4}), memory = value(2, {2, 5, 4});
  std::map<std::string, Array> weights;
  const char* names[] = {"query", "key", "value", "out"};
  for (int k = 0; k < 4; ++k) {
    Array matrix = numbers(30 + k, {4, 4}, f64);
    for (double& v : matrix.data<double>()) v *= 3;
    weights[std::string(names[k]) + "_weight"] = matrix;
    weights[std::string(names[k]) + "_bias"] = numbers(40 + k, {4}, f64);
  }
  const Tensor mask = integers({1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, {2, 1, 1, 5});
  const nn::MultiHeadAttention to_others(2), causal(2, {.causal = true});
  const auto [y, made] = recorded([&] { return to_others(queries, memory, mask); });
  set(made, weights);
  check_with_gradients("attention_padding", {y}, {queries, memory});
  const auto [of_itself, made_causal] = recorded([&] { return causal(memory, memory, mask); });
  set(made_causal, weights);
  check_with_gradients("attention_causal", {of_itself}, {memory});
}

TEST_CASE("nn values: metrics of classes and of numbers") {
  const Tensor logits = constant(numbers(3, {12, 4}, f64));
  const Tensor labels = integers({0, 2, 1, 1, 0, 3, 2, 2, 1, 0, 0, 1}, {12});
  const Tensor counts = nn::confusion_matrix(logits, labels);
  const auto check = [](const std::string& name, const Tensor& values) {
    INFO(name);
    CHECK(difference(elements({values}), expected(name)) < 1e-6);
  };
  check("confusion", counts);
  check("precision", nn::precision(counts));
  check("recall", nn::recall(counts));
  check("f1_score", nn::f1_score(counts));
  check("top_2", nn::top_k_accuracy(logits + 1e-9 * constant(numbers(5, {12, 4}, f64)), labels, 2));
  const Tensor y = constant(numbers(2, {12}, f64));
  check("r_squared", nn::r_squared(y + constant(numbers(7, {12}, f64)) / 2, y));
}

TEST_CASE("nn values: losses of classes") {
  const Shared logits = value(3, {5, 3});
  const Tensor labels = integers({0, 2, 1, 1, 0}, {5});
  const Tensor weights = reals({0.5, 1, 2});
  const auto loss = [&](const nn::CrossEntropyOptions& options) {
    return nn::cross_entropy(logits, labels, options);
  };
  check_loss("cross_entropy_smooth", loss({.label_smoothing = 0.2, .class_weights = weights}),
             {logits});
  check_loss("cross_entropy_ignored",
             loss({.label_smoothing = 0.2, .class_weights = weights, .ignored_label = 1}),
             {logits});
  const Tensor not_1 = reals({1, 1, 0, 0, 1});
  check_loss("cross_entropy_ignored",
             loss({.label_smoothing = 0.2, .class_weights = weights, .mask = not_1}), {logits});
  check_loss("cross_entropy_plain", loss({.label_smoothing = 0.2}), {logits});
  check_loss("focal", nn::focal(logits, labels), {logits});
}

TEST_CASE("nn values: losses of two tensors") {
  const Shared x = value(1, {4, 3});
  const Tensor y = constant(numbers(2, {4, 3}, f64));
  const Tensor target = cast(gt(y, 0), f64), signs = 2 * target - 1;
  const Shared variance = value(5, {4, 3}, 0.6);
  const Tensor classes = one_hot(integers({0, 2, 1, 1}, {4}), 3, f64);
  const Tensor p = softmax(constant(numbers(6, {4, 3}, f64)), 1);
  check_loss("binary_focal", nn::binary_focal(x, target), {x});
  check_loss("poisson_nll", nn::poisson_nll(x, 3 * target), {x});
  check_loss("gaussian_nll", nn::gaussian_nll(x, y, variance), {x, variance});
  check_loss("mean_squared_error", nn::mean_squared_error(x, y), {x});
  check_loss("mean_absolute_error", nn::mean_absolute_error(x, y), {x});
  check_loss("log_cosh", nn::log_cosh(x, y), {x});
  check_loss("huber", nn::huber(x, y, 0.3), {x});
  check_loss("hinge", nn::hinge(x, signs), {x});
  check_loss("squared_hinge", nn::squared_hinge(x, signs), {x});
  check_loss("categorical_hinge", nn::categorical_hinge(x, classes), {x});
  check_loss("kl_divergence", nn::kl_divergence(log_softmax(x, 1), p), {x});
  check_loss("soft_cross_entropy", nn::soft_cross_entropy(x, p), {x});
  check_loss("binary_cross_entropy", nn::binary_cross_entropy(x, target), {x});
  check_loss("cosine", nn::cosine_loss(x, y), {x});
  // PyTorch adds 1e-6 to each difference.
  check_loss("triplet", nn::triplet(x, y, constant(numbers(8, {4, 3}, f64))), {x}, 1e-4);
}

TEST_CASE("nn values: connectionist temporal classification") {
  const Shared logits = value(1, {6, 7, 4}, 0.2);
  // What is past a sequence's length may be anything.
  const Tensor labels = integers({1, 2, 3, 1, 1, 2, 3, -9, 99, 7, 7, 7, 1, 2, 55, 2, 1, 3}, {6, 3});
  const Tensor steps = integers({7, 4, 5, 7, 3, 1}, {6}),
               lengths = integers({3, 3, 1, 0, 2, 1}, {6});
  const auto one = [](const Tensor& x, std::int64_t n) { return x(slice(n, n + 1)); };
  std::vector<Tensor> each;
  for (std::int64_t n = 0; n < 6; ++n) {
    each.push_back(nn::ctc(one(logits, n), one(labels, n), one(steps, n), one(lengths, n)));
  }
  CHECK(difference(elements(each), expected("ctc_each")) < 1e-10);
  check_loss("ctc", nn::ctc(logits, labels, steps, lengths), {logits});
  check_loss("ctc_per_label", nn::ctc(logits, labels, steps, lengths, {.per_label = true}),
             {logits});
  const Shared other = value(2, {2, 5, 3});
  check_loss("ctc_last_blank",
             nn::ctc(other, integers({0, 1, 1, 1}, {2, 2}), integers({5, 4}, {2}),
                     integers({2, 2}, {2}), {.blank = 2}),
             {other});
}

TEST_CASE("nn values: metrics of scores") {
  const Array scores = numbers(4, {30}, f64);
  const Array a = numbers(5, {30}, f64), b = numbers(6, {30}, f64);
  Array ones = Array::zeros({30}, i64);
  for (std::int64_t k = 0; k < 30; ++k) {
    ones(k) = a(k).item<double>() + b(k).item<double>() / 3 > 0 ? 1 : 0;
  }
  CHECK(nn::roc_auc(scores, ones) == doctest::Approx(expected("roc_auc")[0]).epsilon(1e-12));
  CHECK(nn::average_precision(scores, ones) ==
        doctest::Approx(expected("average_precision")[0]).epsilon(1e-12));
}
