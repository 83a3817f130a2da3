// Trains a convolutional network on photographs of CIFAR-10 and tests it.
//   cifar10 [--data DIR] [--epochs N] [--batch N] [--rate R]
// DIR holds the official binary files, gzipped or not; a sample of them ships with the repository.
#include <kroton/kroton.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>
namespace kt = kroton;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/cifar10";
  int epochs = 40;
  int batch = 50;
  double rate = 0.01;
};

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (flag == "--data") {
      settings.data = value;
    } else if (flag == "--epochs") {
      settings.epochs = std::atoi(value);
    } else if (flag == "--batch") {
      settings.batch = std::atoi(value);
    } else if (flag == "--rate") {
      settings.rate = std::atof(value);
    } else {
      throw kt::ValueError("cifar10: unknown option " + flag);
    }
  }
  if (settings.epochs < 1 || settings.batch < 1 || settings.rate <= 0) {
    throw kt::ValueError("cifar10: --epochs, --batch and --rate must be numbers above zero");
  }
  return settings;
}

// The network of the papers that compared Theano, TensorFlow and CNTK.
kt::nn::Sequential network() {
  using namespace kt::nn;  // NOLINT: a list of layers
  const Initializer he = he_normal();
  return {Conv2D(20, 5, {.activation = relu, .weight = he}),
          MaxPool(2),
          Conv2D(40, 5, {.activation = relu, .weight = he}),
          MaxPool(2),
          Flatten(),
          Dense(1000, {.activation = relu, .weight = he}),
          Dropout(0.5),
          Dense(1000, {.activation = relu, .weight = he}),
          Dropout(0.5),
          Dense(10)};
}

// ---- The data: a shared variable each, from which a step takes rows by their numbers.

// All pictures, with values from 0 to 1.
kt::Shared pictures_of(const kt::data::Images& images) {
  kt::Array values = kt::Array::empty({images.count, images.channels, images.rows, images.cols});
  const kt::data::Batches all(images.count, images.count, /*seed=*/0);
  kt::data::gather_batch(images, all.batch(0), values.data<float>());
  return kt::shared(values, "pictures");
}

kt::Shared labels_of(const std::vector<std::uint8_t>& labels) {
  return kt::shared(kt::Array::from(std::vector<std::int64_t>(labels.begin(), labels.end())),
                    "classes");
}

// One line that is redrawn: on a terminal all the time, else once an epoch.
void show_progress(int epoch, int epochs, double done, double loss, double rate, double left) {
  const bool terminal = isatty(STDOUT_FILENO);
  if (!terminal && done < 1) return;
  char bar[25];
  for (int i = 0; i < 24; ++i) bar[i] = i < static_cast<int>(done * 24) ? '#' : '.';
  bar[24] = 0;
  std::printf("%sepoch %2d/%d [%s] loss %.4f  %7.0f images/s  %3.0f s left%s", terminal ? "\r" : "",
              epoch, epochs, bar, loss, rate, left, done < 1 ? "" : "\n");
  std::fflush(stdout);
}

int run(const Settings& settings) {
  kt::data::Cifar10 cifar = kt::data::load_cifar10(settings.data);
  const std::int64_t train_count = cifar.train_images.count;
  const std::int64_t test_count = cifar.test_images.count;
  std::printf("%lld training and %lld test pictures from %s\n", static_cast<long long>(train_count),
              static_cast<long long>(test_count), settings.data.c_str());
  const kt::Shared train_pictures = pictures_of(cifar.train_images);
  const kt::Shared train_labels = labels_of(cifar.train_labels);
  const kt::Shared test_pictures = pictures_of(cifar.test_images);
  const kt::Shared test_labels = labels_of(cifar.test_labels);
  cifar = {};

  auto x = kt::tensor("x", {kt::dim("batch"), 3, 32, 32});
  auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  kt::nn::seed(1);
  const kt::nn::Sequential net = network();
  const kt::Tensor loss = kt::nn::cross_entropy(net.train(x), labels);
  kt::optim::Sgd sgd({.rate = settings.rate});
  const kt::Tensor right = kt::sum(kt::cast(kt::eq(kt::argmax(net(x), 1), labels), kt::i64));
  std::printf("%s", net.summary().c_str());

  auto rows = kt::vector("rows", kt::i64);
  auto train = kt::function(
      {rows}, loss,
      {.updates = sgd.minimize(loss, net.parameters()),
       .givens = {{x, kt::take(train_pictures, rows)}, {labels, kt::take(train_labels, rows)}},
       .name = "train"});
  auto correct = kt::function(
      {rows}, right,
      {.givens = {{x, kt::take(test_pictures, rows)}, {labels, kt::take(test_labels, rows)}},
       .name = "correct"});
  std::printf("compiled the training step in %.0f ms, the test in %.0f ms\n",
              1e3 * train.compile_seconds(), 1e3 * correct.compile_seconds());

  std::vector<std::int64_t> numbers;
  const auto row_numbers = [&](std::span<const std::uint32_t> batch) -> const auto& {
    numbers.assign(batch.begin(), batch.end());
    return numbers;
  };
  kt::data::Batches batches(train_count, settings.batch, /*seed=*/3);
  const Clock::time_point start = Clock::now();
  const double pictures_in_all = static_cast<double>(train_count) * settings.epochs;
  double pictures_done = 0;
  for (int epoch = 1; epoch <= settings.epochs; ++epoch) {
    double sum = 0, count = 0;
    for (auto batch : batches.next_epoch()) {
      sum += train(row_numbers(batch)).item<float>() * static_cast<double>(batch.size());
      count += static_cast<double>(batch.size());
      const double speed = (pictures_done + count) / seconds_since(start);
      show_progress(epoch, settings.epochs, count / static_cast<double>(train_count), sum / count,
                    speed, (pictures_in_all - pictures_done - count) / speed);
    }
    pictures_done += count;
  }

  std::int64_t right_in_test = 0;
  for (auto batch : kt::data::Batches(test_count, settings.batch, /*seed=*/0)) {
    right_in_test += correct(row_numbers(batch)).item<std::int64_t>();
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("test accuracy %.2f %%\n",
              100.0 * static_cast<double>(right_in_test) / static_cast<double>(test_count));
  std::printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
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
