#include <kroton/data.h>
#include <kroton/error.h>

#include <cstddef>
#include <string>

#include "frontend/data/data_file.h"

namespace kroton::data {

namespace {

constexpr std::int64_t picture_channels = 3, picture_side = 32;
constexpr std::int64_t picture_bytes = picture_channels * picture_side * picture_side;

Images no_images() {
  return {.pixels = {},
          .count = 0,
          .rows = picture_side,
          .cols = picture_side,
          .channels = picture_channels};
}

// One of the bytes before a picture, and where those of all examples go.
struct LabelByte {
  const char* name;
  int largest;
  std::vector<std::uint8_t>& labels;
};

// Appends the examples of one file.
void read_batch(const std::filesystem::path& path, Images& images,
                const std::vector<LabelByte>& labels) {
  DataFile file(path);
  const auto label_bytes = static_cast<std::int64_t>(labels.size());
  const std::int64_t record_bytes = label_bytes + picture_bytes;
  const std::size_t before = labels[0].labels.size();
  const auto count = [&] { return labels[0].labels.size() - before; };
  std::vector<std::uint8_t> record(static_cast<std::size_t>(record_bytes));
  for (;;) {
    const std::size_t got = file.read_up_to(record);
    if (got == 0) break;
    if (got < record.size()) {
      file.fail(file.offset(), "the data ends in example " + std::to_string(count()) +
                                   ": expected a multiple of " + std::to_string(record_bytes) +
                                   " bytes, got " + std::to_string(file.offset()));
    }
    for (std::size_t k = 0; k < labels.size(); ++k) labels[k].labels.push_back(record[k]);
    images.pixels.insert(images.pixels.end(), record.begin() + label_bytes, record.end());
  }
  file.expect_end(std::to_string(count()) + " examples");
  if (count() == 0) {
    file.fail(
        0, "no examples: expected a multiple of " + std::to_string(record_bytes) + " bytes, got 0");
  }
  for (std::size_t k = 0; k < labels.size(); ++k) {
    check_labels(file, std::span(labels[k].labels).subspan(before),
                 {.start = static_cast<std::int64_t>(k),
                  .stride = record_bytes,
                  .largest = labels[k].largest,
                  .name = labels[k].name});
  }
  images.count = static_cast<std::int64_t>(labels[0].labels.size());
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
  Cifar10 cifar{.train_images = no_images(),
                .train_labels = {},
                .test_images = no_images(),
                .test_labels = {}};
  for (const auto& path : training) {
    read_batch(path, cifar.train_images, {{"label", 9, cifar.train_labels}});
  }
  read_batch(test, cifar.test_images, {{"label", 9, cifar.test_labels}});
  return cifar;
}

Cifar100 load_cifar100(const std::filesystem::path& directory) {
  const auto train = find_file(directory, {"train.bin"});
  const auto test = find_file(directory, {"test.bin"});
  Cifar100 cifar{.train_images = no_images(),
                 .train_labels = {},
                 .train_coarse_labels = {},
                 .test_images = no_images(),
                 .test_labels = {},
                 .test_coarse_labels = {}};
  read_batch(train, cifar.train_images,
             {{"group", 19, cifar.train_coarse_labels}, {"label", 99, cifar.train_labels}});
  read_batch(test, cifar.test_images,
             {{"group", 19, cifar.test_coarse_labels}, {"label", 99, cifar.test_labels}});
  return cifar;
}

}  // namespace kroton::data
