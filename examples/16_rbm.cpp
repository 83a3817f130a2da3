// Learns the strokes that digits are made of: a restricted Boltzmann machine of the MNIST digits.
//   rbm [--data DIR] [--epochs N] [--picture FILE]
// DIR holds the official files, gzipped or not; a sample of them ships with the repository. With
// --picture FILE a PNG shows what each hidden unit looks for, after each epoch. Persistent
// contrastive divergence: Tieleman, "Training Restricted Boltzmann Machines using Approximations to
// the Likelihood Gradient", 2008.
#include <kroton/kroton.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

constexpr std::int64_t hidden = 100, batch_size = 20;

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/mnist";
  int epochs = 5;
  std::string picture;
};

int run(const Settings& settings) {
  kt::data::Mnist mnist = kt::data::load_mnist(settings.data);
  kt::data::Loader digits(
      kt::data::from_images(std::move(mnist.train_images), std::move(mnist.train_labels)),
      {.batch = batch_size, .drop_last = true});
  std::printf("%lld digits from %s\n", static_cast<long long>(digits.count()),
              settings.data.c_str());

  nn::seed(1);
  const nn::Rbm rbm(784, hidden, {.chains = batch_size});
  const auto images = kt::tensor("images", {batch_size, 1, 28, 28});
  const auto divergence = rbm.contrastive_divergence(kt::flatten(images, 1), /*k=*/5);
  kt::optim::Sgd sgd({.rate = 0.05});
  const auto train =
      kt::function({images}, divergence.reconstruction,
                   {.updates = sgd.minimize(divergence.loss, rbm.parameters()), .name = "train"});
  const auto weights = kt::transpose(rbm.parameters()[0]);  // a row for each hidden unit
  const auto filters = kt::function({}, kt::reshape(weights, {hidden, 28, 28}));

  const auto start = std::chrono::steady_clock::now();
  for (int epoch = 1; epoch <= settings.epochs; ++epoch) {
    double sum = 0;
    for (digits.start(static_cast<std::uint64_t>(epoch)); const auto batch = digits.next();) {
      sum += train(batch->x).item<float>();
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("epoch %2d/%d  reconstruction %.2f nats a digit  %.1f s\n", epoch, settings.epochs,
                sum / static_cast<double>(digits.batches()), elapsed.count());
    std::fflush(stdout);
    if (!settings.picture.empty()) {
      kt::data::write_png(settings.picture, kt::data::tile(filters(), 10, {.stretch = true}));
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--epochs", &settings.epochs},
                     {"--picture", &settings.picture}},
                    [&] { return run(settings); });
}
