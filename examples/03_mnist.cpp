// Trains a 784-512-10 network on real MNIST digits and tests it.
//   mnist [--data DIR] [--epochs N] [--batch N] [--rate R] [--target cpu|cuda] [--devices N]
// N devices share each batch: GPUs, or threads on the CPU.
// DIR holds the official files, gzipped or not; a sample of them ships with the repository.
#include <kroton/kroton.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "common/flags.h"
namespace kt = kroton;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/mnist";
  int epochs = 10;
  int batch = 128;
  double rate = 0.5;
  kt::Target target = kt::cpu();
  int devices = 1;
};

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

int run(const Settings& settings, Clock::time_point process_start) {
  const kt::data::Mnist mnist = kt::data::load_mnist(settings.data);
  std::printf("%lld training and %lld test digits from %s\n",
              static_cast<long long>(mnist.train_images.count),
              static_cast<long long>(mnist.test_images.count), settings.data.c_str());

  auto x = kt::tensor("x", {kt::dim("batch"), 784});
  auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  auto w1 = kt::shared(kt::Array::normal({784, 512}, /*seed=*/1, 0, 0.05), "w1");
  auto b1 = kt::shared(kt::Array::zeros({512}), "b1");
  auto w2 = kt::shared(kt::Array::normal({512, 10}, /*seed=*/2, 0, 0.06), "w2");
  auto b2 = kt::shared(kt::Array::zeros({10}), "b2");

  auto hidden = kt::relu(kt::dot(x, w1) + b1);
  auto logits = kt::dot(hidden, w2) + b2;
  const kt::DeviceGroup group = kt::devices(settings.target, settings.devices);
  auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
  const bool is_shared = group.size() > 1;
  if (is_shared) loss = kt::data_parallel_loss(loss, x, group);
  auto [gw1, gb1, gw2, gb2] = kt::grad(loss, w1, b1, w2, b2);
  const double rate = settings.rate;
  const std::vector<kt::Update> updates = {
      {w1, w1 - rate * gw1}, {b1, b1 - rate * gb1}, {w2, w2 - rate * gw2}, {b2, b2 - rate * gb2}};
  std::function<kt::Array(const kt::Array&, const kt::Array&)> train;
  const Clock::time_point compiling = Clock::now();
  if (is_shared) {
    train = kt::parallel_function(group, {x, labels}, loss, {.updates = updates, .name = "train"});
  } else {
    train = kt::function({x, labels}, loss,
                         {.updates = updates, .name = "train", .target = settings.target});
  }
  const double compiled = seconds_since(compiling);
  auto correct =
      kt::function({x, labels}, kt::sum(kt::cast(kt::eq(kt::argmax(logits, 1), labels), kt::i64)),
                   {.name = "correct", .target = settings.target});
  std::printf("compiled the training step in %.0f ms, the test in %.0f ms\n", 1e3 * compiled,
              1e3 * correct.compile_seconds());

  // Pixels of one batch; smaller batches use the front of it.
  std::vector<float> pixels(static_cast<std::size_t>(settings.batch) * 784);
  std::vector<std::int64_t> digits(static_cast<std::size_t>(settings.batch));
  const auto load = [&](const kt::data::Images& images, const std::vector<std::uint8_t>& all,
                        std::span<const std::uint32_t> rows) {
    const auto count = static_cast<std::int64_t>(rows.size());
    kt::data::gather_batch(images, rows, std::span(pixels).first(rows.size() * 784));
    kt::data::gather_labels(all, rows, std::span(digits).first(rows.size()));
    return std::pair{kt::Array::view(pixels.data(), {count, 784}),
                     kt::Array::view(digits.data(), {count})};
  };

  kt::data::Batches batches(mnist.train_images.count, settings.batch, /*seed=*/3);
  const Clock::time_point start = Clock::now();
  double images_done = 0;
  const double images_in_all = static_cast<double>(mnist.train_images.count) * settings.epochs;
  bool first = true;
  for (int epoch = 1; epoch <= settings.epochs; ++epoch) {
    double sum = 0, count = 0;
    for (auto rows : batches.next_epoch()) {
      const auto [batch_x, batch_labels] = load(mnist.train_images, mnist.train_labels, rows);
      const double step_loss = train(batch_x, batch_labels).item<float>();
      if (first) {
        std::printf("first training step %.2f s after the start\n", seconds_since(process_start));
        first = false;
      }
      sum += step_loss * static_cast<double>(rows.size());
      count += static_cast<double>(rows.size());
      images_done += static_cast<double>(rows.size());
      const double speed = images_done / seconds_since(start);
      show_progress(epoch, settings.epochs, count / static_cast<double>(mnist.train_images.count),
                    sum / count, speed, (images_in_all - images_done) / speed);
    }
  }

  kt::data::Batches test(mnist.test_images.count, settings.batch, /*seed=*/0);
  std::int64_t right = 0;
  for (auto rows : test) {
    const auto [batch_x, batch_labels] = load(mnist.test_images, mnist.test_labels, rows);
    right += correct(batch_x, batch_labels).item<std::int64_t>();
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("test accuracy %.2f %%\n",
              100.0 * static_cast<double>(right) / static_cast<double>(mnist.test_images.count));
  std::printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Clock::time_point start = Clock::now();
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--epochs", &settings.epochs},
                     {"--batch", &settings.batch},
                     {"--rate", &settings.rate},
                     {"--target", &settings.target},
                     {"--devices", &settings.devices}},
                    [&] { return run(settings, start); });
}
