#include <kroton/data.h>
#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <string>

#include "frontend/data/data_file.h"

namespace kroton::data {

namespace {

constexpr std::int64_t channels = 3, rows = 32, cols = 32;
constexpr std::int64_t record_bytes = 1 + channels * rows * cols;

// Appends the examples of one file.
void read_batch(const std::filesystem::path& path, Images& images,
                std::vector<std::uint8_t>& labels) {
  DataFile file(path);
  const std::size_t before = labels.size();
  const auto read = [&] { return std::to_string(labels.size() - before) + " examples"; };
  std::array<std::uint8_t, record_bytes> record{};
  for (;;) {
    const std::size_t got = file.read_up_to(record);
    if (got == 0) break;
    if (got < record.size()) {
      file.fail(file.offset(), "the data ends in example " +
                                   std::to_string(labels.size() - before) +
                                   ": expected a multiple of " + std::to_string(record_bytes) +
                                   " bytes, got " + std::to_string(file.offset()));
    }
    labels.push_back(record[0]);
    images.pixels.insert(images.pixels.end(), record.begin() + 1, record.end());
  }
  file.expect_end(read());
  if (labels.size() == before) {
    file.fail(
        0, "no examples: expected a multiple of " + std::to_string(record_bytes) + " bytes, got 0");
  }
  check_labels(file, std::span(labels).subspan(before), 0, record_bytes);
  images.count = static_cast<std::int64_t>(labels.size());
}

std::string training_file(int number) { return "data_batch_" + std::to_string(number) + ".bin"; }

}  // namespace

Cifar10 load_cifar10(const std::filesystem::path& directory) {
  constexpr int most = 5;
  int last = 1;
  std::string why;
  for (int number = 2; number <= most; ++number) {
    if (find_if_there(directory, {training_file(number)})) {
      last = number;
      why = "; only the last ones may be absent, and " + training_file(number) + " is there";
    }
  }
  std::vector<std::filesystem::path> training;
  for (int number = 1; number <= last; ++number) {
    training.push_back(find_file(directory, {training_file(number)}, why));
  }
  const auto test = find_file(directory, {"test_batch.bin"});
  const Images none{.pixels = {}, .count = 0, .rows = rows, .cols = cols, .channels = channels};
  Cifar10 cifar{.train_images = none, .train_labels = {}, .test_images = none, .test_labels = {}};
  for (const auto& path : training) read_batch(path, cifar.train_images, cifar.train_labels);
  read_batch(test, cifar.test_images, cifar.test_labels);
  return cifar;
}

}  // namespace kroton::data
