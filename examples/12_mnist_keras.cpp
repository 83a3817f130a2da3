// Keras's first network on the MNIST digits with a trainer: five epochs, twenty times, timed.
//   mnist_keras [--data DIR] [--epochs N] [--repeats N]
// DIR holds the official files, gzipped or not; a sample of them ships with the repository.
#include <kroton/kroton.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/mnist";
  int epochs = 5;
  int repeats = 20;
};

int number(const std::string& flag, const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) {
    throw kt::ValueError("mnist_keras: " + flag + " takes a number above 0, not '" + text + "'");
  }
  return value;
}

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (i + 1 == argc)
      throw kt::ValueError("mnist_keras: " + flag + " is unknown or takes a value");
    const std::string value = argv[++i];
    if (flag == "--data") {
      settings.data = value;
    } else if (flag == "--epochs") {
      settings.epochs = number(flag, value);
    } else if (flag == "--repeats") {
      settings.repeats = number(flag, value);
    } else {
      throw kt::ValueError("mnist_keras: unknown option " + flag);
    }
  }
  return settings;
}

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
  try {
    return run(parse(argc, argv));
  } catch (const kt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
