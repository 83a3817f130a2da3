// Keras's first network on the MNIST digits with a trainer: five epochs, twenty times, timed.
//   mnist_keras [--data DIR] [--epochs N] [--repeats N]
// DIR holds the official files, gzipped or not; a sample of them ships with the repository.
#include <kroton/kroton.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/mnist";
  int epochs = 5;
  int repeats = 20;
};

int run(const Settings& settings) {
  const kt::data::Mnist mnist = kt::data::load_mnist(settings.data);
  const auto train = kt::data::from_images(mnist.train_images, mnist.train_labels);
  const auto test = kt::data::from_images(mnist.test_images, mnist.test_labels);
  std::printf("%lld training and %lld test digits from %s\n", static_cast<long long>(train.count),
              static_cast<long long>(test.count), settings.data.c_str());

  std::vector<double> seconds;
  for (int repeat = 1; repeat <= settings.repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    nn::seed(static_cast<std::uint64_t>(repeat));
    const nn::Sequential net{nn::Flatten(), nn::Dense(128, {.activation = nn::relu}),
                             nn::Dropout(0.2), nn::Dense(10)};
    const auto images = kt::tensor("images", {kt::dim("batch"), 1, 28, 28});
    const auto labels = kt::vector("labels", kt::i64);
    kt::optim::Adam adam;
    nn::Trainer trainer(net, images, labels, nn::cross_entropy_of, adam,
                        {.metrics = {{"accuracy", nn::accuracy}}});
    trainer.fit(train, {.epochs = settings.epochs, .batch = 128});
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    seconds.push_back(taken.count());

    std::printf("training %2d: %.2f s, test accuracy %.2f %%\n", repeat, taken.count(),
                100 * trainer.evaluate(test)["accuracy"]);
  }
  const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  std::printf("minimum %.2f, maximum %.2f, mean %.2f, total %.2f s\n", *least, *most,
              total / settings.repeats, total);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--epochs", &settings.epochs},
                     {"--repeats", &settings.repeats}},
                    [&] { return run(settings); });
}
