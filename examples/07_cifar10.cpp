// Trains a convolutional network on photographs of CIFAR-10 and tests it.
//   cifar10 [--data DIR] [--epochs N]
// DIR holds the official binary files, gzipped or not; a sample of them ships with the repository.
// The network, the optimizer and the batches are those of the papers that compared Theano,
// TensorFlow and CNTK.
#include <kroton/kroton.h>

#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
using namespace kt::nn;  // NOLINT: layers

namespace {

int run(const std::string& directory, int epochs) {
  // All pictures lie in one variable, where a step takes them by their numbers; those for testing
  // are the last.
  kt::data::Cifar10 cifar = kt::data::load_cifar10(directory);
  kt::data::Images all = std::move(cifar.train_images);
  const std::int64_t train_count = all.count;
  all.count += cifar.test_images.count;
  all.pixels.insert(all.pixels.end(), cifar.test_images.pixels.begin(),
                    cifar.test_images.pixels.end());
  std::vector<std::uint8_t> labels = std::move(cifar.train_labels);
  labels.insert(labels.end(), cifar.test_labels.begin(), cifar.test_labels.end());
  std::vector<std::uint32_t> rows(labels.size());
  std::iota(rows.begin(), rows.end(), 0U);
  const kt::data::Batch whole = kt::data::from_images(std::move(all), labels).make(rows, 0);
  const kt::Shared pictures = kt::shared(whole.x, "pictures");
  const kt::data::Dataset numbers = kt::data::from_arrays(
      kt::Array::from(std::vector<std::int64_t>(rows.begin(), rows.end())), whole.labels);
  const auto part = [&](std::int64_t from, std::int64_t to) {
    return kt::data::subset(numbers, {rows.begin() + from, rows.begin() + to});
  };

  kt::nn::seed(1);
  const ConvOptions conv{.activation = relu, .weight = he_normal()};
  const DenseOptions dense{.activation = relu, .weight = he_normal()};
  const Sequential net{[&](const kt::Tensor& number) { return kt::take(pictures, number); },
                       Conv2D(20, 5, conv),
                       MaxPool(2),
                       Conv2D(40, 5, conv),
                       MaxPool(2),
                       Flatten(),
                       Dense(1000, dense),
                       Dropout(0.5),
                       Dense(1000, dense),
                       Dropout(0.5),
                       Dense(10)};
  kt::optim::Sgd sgd({.rate = 0.01});
  Trainer trainer(net, kt::vector("number", kt::i64), kt::vector("label", kt::i64),
                  cross_entropy_of, sgd, {.metrics = {{"accuracy", accuracy}}});
  std::cout << train_count << " training pictures from " << directory << '\n' << net.summary();
  trainer.fit(part(0, train_count), {.epochs = epochs, .batch = 50, .progress = &std::cout});
  const double right = trainer.evaluate(part(train_count, numbers.count), 250)["accuracy"];
  std::cout << "test accuracy " << 100 * right << " %\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory = KROTON_EXAMPLE_DATA "/cifar10";
  int epochs = 40;
  return flags::run(argc, argv, {{"--data", &directory}, {"--epochs", &epochs}},
                    [&] { return run(directory, epochs); });
}
