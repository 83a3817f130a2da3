// Learns to draw digits: a variational autoencoder of the MNIST digits.
//   vae [--data DIR] [--epochs N] [--picture FILE]
// DIR holds the official files, gzipped or not; a sample of them ships with the repository. With
// --picture FILE a PNG shows 100 new digits after each epoch. Kingma and Welling, "Auto-Encoding
// Variational Bayes", 2014.
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

constexpr std::int64_t hidden = 400, code = 20;

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/mnist";
  int epochs = 10;
  std::string picture;
};

// The mean over the batches of an epoch, weighted by their sizes, of what `step` gives.
double mean_of(const kt::Function<1>& step, kt::data::Loader& digits, std::uint64_t epoch) {
  double sum = 0;
  for (digits.start(epoch); const auto batch = digits.next();) {
    sum += step(batch->x).item<float>() * static_cast<double>(batch->labels.size());
  }
  return sum / static_cast<double>(digits.count());
}

int run(const Settings& settings) {
  kt::data::Mnist mnist = kt::data::load_mnist(settings.data);
  kt::data::Loader training(
      kt::data::from_images(std::move(mnist.train_images), std::move(mnist.train_labels)),
      {.batch = 128});
  kt::data::Loader test(
      kt::data::from_images(std::move(mnist.test_images), std::move(mnist.test_labels)),
      {.batch = 128, .shuffle = false});
  std::printf("%lld training and %lld test digits from %s\n",
              static_cast<long long>(training.count()), static_cast<long long>(test.count()),
              settings.data.c_str());

  nn::seed(1);
  const nn::Sequential encoder({nn::Dense(hidden, {.activation = nn::relu}), nn::Dense(2 * code)},
                               "encoder");
  const nn::Sequential decoder({nn::Dense(hidden, {.activation = nn::relu}), nn::Dense(784)},
                               "decoder");
  const kt::RandomStream random(/*seed=*/2);

  // A digit's code is drawn from a normal distribution of its own, as mean + deviation * noise, so
  // that gradients reach the two.
  const auto images = kt::tensor("images", {kt::dim("batch"), 1, 28, 28});
  const auto pixels = kt::flatten(images, 1);
  const auto encoded = encoder(pixels);
  const auto mean = encoded(kt::all, kt::slice(0, code));
  const auto log_variance = encoded(kt::all, kt::slice(code, 2 * code));
  const auto drawn = mean + kt::exp(0.5 * log_variance) * random.normal(mean.shape());

  // The evidence lower bound, negative, in nats a digit: how badly the pixels are told from the
  // code, and how far its distribution is from the normal one.
  const auto reconstruction = 784 * nn::binary_cross_entropy(decoder(drawn), pixels);
  const auto divergence =
      0.5 * kt::sum(kt::square(mean) + kt::exp(log_variance) - log_variance - 1, 1);
  const auto loss = reconstruction + kt::mean(divergence);

  std::vector<kt::Shared> parameters = encoder.parameters();
  for (const kt::Shared& parameter : decoder.parameters()) parameters.push_back(parameter);
  kt::optim::Adam adam({.rate = 1e-3});
  const auto train =
      kt::function({images}, loss, {.updates = adam.minimize(loss, parameters), .name = "train"});
  const auto measure = kt::function({images}, loss, {.name = "measure"});
  const auto draw = kt::function({}, nn::sigmoid(decoder(random.normal({100, code}))));

  const auto start = std::chrono::steady_clock::now();
  for (int epoch = 1; epoch <= settings.epochs; ++epoch) {
    const double of_training = mean_of(train, training, static_cast<std::uint64_t>(epoch));
    const double of_test = mean_of(measure, test, 0);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("epoch %2d/%d  training %.2f, test %.2f nats a digit  %.1f s\n", epoch,
                settings.epochs, of_training, of_test, elapsed.count());
    std::fflush(stdout);
    if (!settings.picture.empty()) {
      kt::data::write_png(settings.picture, kt::data::tile(draw().reshape({100, 28, 28}), 10));
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
