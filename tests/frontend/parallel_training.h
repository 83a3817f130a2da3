// Networks that are trained on one device and on several, for tests.
#pragma once
#include <kroton/kroton.h>
#include <kroton/parallel.h>

#include <cmath>
#include <vector>

#include "tests/tools/places.h"

namespace parallel_test {

namespace kt = kroton;

// A network with fresh weights, what it is given, and its cost on these rows.
struct TrainingProblem {
  kt::Tensor x, labels, loss;
  std::vector<kt::Shared> parameters;
  kt::Array pictures, classes;  // f32 (count, ...), i64 (count,)
};

// A number of each picture's pixels, evenly spread, between 0 and 1.
inline kt::Array pixels_of(const kt::data::Images& images, std::int64_t count,
                           const std::vector<std::int64_t>& shape, std::int64_t stride) {
  std::vector<std::int64_t> sizes{count};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  kt::Array result = kt::Array::zeros(kt::Shape(std::span<const std::int64_t>(sizes)));
  const std::int64_t each = result.size() / count;
  const std::int64_t of_one = images.rows * images.cols * images.channels;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t k = 0; k < each; ++k) {
      result.data<float>()[static_cast<std::size_t>(i * each + k)] =
          static_cast<float>(
              images.pixels[static_cast<std::size_t>(i * of_one + k * stride % of_one)]) /
          255;
    }
  }
  return result;
}

inline kt::Array classes_of(const std::vector<std::uint8_t>& labels, std::int64_t count) {
  return kt::Array::from(std::vector<std::int64_t>(labels.begin(), labels.begin() + count));
}

// A perceptron with one hidden layer, on digits with every `stride`-th pixel.
inline TrainingProblem digits(std::int64_t count, std::int64_t stride, std::int64_t hidden) {
  static const kt::data::Mnist mnist =
      kt::data::load_mnist(places::source_dir() + "/examples/data/mnist");
  const std::int64_t pixels = 784 / stride;
  TrainingProblem p;
  p.pictures = pixels_of(mnist.train_images, count, {pixels}, stride);
  p.classes = classes_of(mnist.train_labels, count);
  p.x = kt::tensor("x", {kt::dim("batch"), pixels});
  p.labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto weights = [&](const kt::Shape& shape, std::uint64_t seed) {
    const double scale = 1 / std::sqrt(static_cast<double>(shape[0]));
    p.parameters.push_back(
        kt::shared(kt::Array::normal(shape, seed, 0, scale), "w" + std::to_string(seed)));
    p.parameters.push_back(kt::shared(kt::Array::zeros({shape[1]}), "b" + std::to_string(seed)));
  };
  weights({pixels, hidden}, 1);
  weights({hidden, 10}, 2);
  const kt::Tensor h = kt::tanh(kt::dot(p.x, p.parameters[0]) + p.parameters[1]);
  const kt::Tensor logits = kt::dot(h, p.parameters[2]) + p.parameters[3];
  p.loss = kt::mean(kt::softmax_cross_entropy(logits, p.labels));
  return p;
}

// Two convolutions and a dense layer, on photographs.
inline TrainingProblem photographs(std::int64_t count, std::int64_t size, std::int64_t filters) {
  static const kt::data::Cifar10 cifar =
      kt::data::load_cifar10(places::source_dir() + "/examples/data/cifar10");
  TrainingProblem p;
  p.pictures = pixels_of(cifar.train_images, count, {3, size, size}, 1);
  p.classes = classes_of(cifar.train_labels, count);
  p.x = kt::tensor("x", {kt::dim("batch"), 3, size, size});
  p.labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto weights = [&](const kt::Shape& shape, double scale) {
    const auto seed = static_cast<std::uint64_t>(p.parameters.size()) + 3;
    return p.parameters.emplace_back(
        kt::shared(kt::Array::normal(shape, seed, 0, scale), "w" + std::to_string(seed)));
  };
  const kt::Tensor first =
      kt::relu(kt::conv2d(p.x, weights({filters, 3, 3, 3}, 0.2), {.padding = 1}));
  const kt::Tensor pooled = kt::max_pool(first, 2);
  const kt::Tensor second =
      kt::relu(kt::conv2d(pooled, weights({filters, filters, 3, 3}, 0.2), {.padding = 1}));
  const kt::Tensor flat = kt::mean(second, {2, 3});
  const kt::Tensor logits = kt::dot(flat, weights({filters, 10}, 0.3));
  p.loss = kt::mean(kt::softmax_cross_entropy(logits, p.labels));
  return p;
}

// What training gives: the costs of the steps, then the parameters' values.
using Trained = std::vector<kt::Array>;

inline Trained results_of(const TrainingProblem& p, std::vector<float> costs) {
  Trained result{kt::Array::from(costs)};
  for (const kt::Shared& parameter : p.parameters) result.push_back(parameter.get_value());
  return result;
}

// The rows of one step, which go round.
template <class F>
std::vector<float> train(const TrainingProblem& p, const F& step, int steps, std::int64_t batch) {
  std::vector<float> costs;
  const std::int64_t batches = p.pictures.shape()[0] / batch;
  std::vector<std::int64_t> sizes(p.pictures.shape().begin(), p.pictures.shape().end());
  sizes[0] = batch;
  const std::int64_t each = p.pictures.size() / p.pictures.shape()[0];
  for (int k = 0; k < steps; ++k) {
    const std::int64_t first = k % batches * batch;
    const kt::Array x = kt::Array::view(p.pictures.data<float>().data() + first * each,
                                        kt::Shape(std::span<const std::int64_t>(sizes)));
    const kt::Array y = kt::Array::view(p.classes.data<std::int64_t>().data() + first, {batch});
    costs.push_back(step(x, y).template item<float>());
  }
  return costs;
}

template <class Optimizer>
Trained on_one(const TrainingProblem& p, const Optimizer& made, int steps, std::int64_t batch) {
  auto optimizer = made();
  const auto step =
      kt::function({p.x, p.labels}, p.loss, {.updates = optimizer.minimize(p.loss, p.parameters)});
  return results_of(p, train(p, step, steps, batch));
}

template <class Optimizer>
Trained on_group(const TrainingProblem& p, const Optimizer& made, int steps, std::int64_t batch,
                 const kt::DeviceGroup& group, std::int64_t bucket_bytes = 4 << 20) {
  auto optimizer = made();
  const kt::Tensor loss = kt::data_parallel_loss(p.loss, p.x, group);
  const auto step = kt::parallel_function(
      group, {p.x, p.labels}, loss,
      {.updates = optimizer.minimize(loss, p.parameters), .bucket_bytes = bucket_bytes});
  return results_of(p, train(p, step, steps, batch));
}

inline double largest_difference(const Trained& a, const Trained& b) {
  double largest = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    for (std::size_t i = 0; i < a[k].data<float>().size(); ++i) {
      const double difference = std::abs(a[k].data<float>()[i] - b[k].data<float>()[i]);
      largest = difference >= largest ? difference : std::isnan(difference) ? INFINITY : largest;
    }
  }
  return largest;
}

inline bool same_bits(const Trained& a, const Trained& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!kt::array_equal(a[k], b[k])) return false;
  }
  return a.size() == b.size();
}

}  // namespace parallel_test
