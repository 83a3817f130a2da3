// CIFAR-100 and Fashion-MNIST; what they share with MNIST and CIFAR-10 is tested there.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include <kroton/data.h>
#include <kroton/error.h>

#include "tests/tools/data_files.h"

using namespace kroton;

namespace {

// Examples of these groups and classes; value i of a picture is its class plus i, modulo 256.
Bytes cifar100(const Bytes& groups, const Bytes& labels) {
  Bytes bytes;
  for (std::size_t k = 0; k < labels.size(); ++k) {
    bytes.insert(bytes.end(), {groups[k], labels[k]});
    for (std::size_t i = 0; i < 3072; ++i) {
      bytes.push_back(static_cast<std::uint8_t>(labels[k] + i));
    }
  }
  return bytes;
}

std::string cifar100_error(const Files& directory) {
  return error_of([&] { return data::load_cifar100(directory.path()); });
}

Bytes idx(std::uint32_t magic, std::initializer_list<std::uint8_t> sizes, const Bytes& body) {
  Bytes bytes = {0, 0, static_cast<std::uint8_t>(magic >> 8), static_cast<std::uint8_t>(magic)};
  for (const std::uint8_t size : sizes) bytes.insert(bytes.end(), {0, 0, 0, size});
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

}  // namespace

TEST_CASE("cifar100: groups and classes and pictures") {
  const Files directory;
  directory.write("train.bin", cifar100({0, 19, 4}, {99, 0, 57}));
  directory.write_gzipped("test.bin.gz", cifar100({7}, {24}));
  const data::Cifar100 cifar = data::load_cifar100(directory.path());
  CHECK(cifar.train_labels == Bytes{99, 0, 57});
  CHECK(cifar.train_coarse_labels == Bytes{0, 19, 4});
  CHECK(cifar.test_labels == Bytes{24});
  CHECK(cifar.test_coarse_labels == Bytes{7});
  CHECK(cifar.train_images.count == 3);
  CHECK(cifar.test_images.count == 1);
  for (const data::Images* images : {&cifar.train_images, &cifar.test_images}) {
    CHECK(images->channels == 3);
    CHECK(images->rows == 32);
    CHECK(images->cols == 32);
    CHECK(images->pixels.size() == static_cast<std::size_t>(images->count) * 3072);
  }
  for (std::size_t i = 0; i < 3072; ++i) {
    REQUIRE(cifar.train_images.pixels[2 * 3072 + i] == static_cast<std::uint8_t>(57 + i));
  }
}

TEST_CASE("cifar100: damaged files") {
  const Files directory;
  const std::string missing = directory.path().string() + ": none of these files is there: ";
  CHECK(cifar100_error(directory) == missing + "train.bin, train.bin.gz");
  const auto train = directory.write("train.bin", cifar100({0, 1}, {1, 2}));
  CHECK(cifar100_error(directory) == missing + "test.bin, test.bin.gz");
  const auto test = directory.write("test.bin", cifar100({1, 2}, {3, 100}));
  CHECK(cifar100_error(directory) ==
        test.string() + ": at byte 3075: label of example 1: expected 0 to 99, got 100");
  directory.write("test.bin", cifar100({1, 20}, {3, 4}));
  CHECK(cifar100_error(directory) ==
        test.string() + ": at byte 3074: group of example 1: expected 0 to 19, got 20");
  Bytes cut = cifar100({1}, {2});
  cut.pop_back();
  directory.write("test.bin", cut);
  CHECK(cifar100_error(directory) ==
        test.string() +
            ": at byte 3073: the data ends in example 0: expected a multiple of 3074 bytes, got "
            "3073");
  directory.write("test.bin", {});
  CHECK(cifar100_error(directory) ==
        test.string() + ": at byte 0: no examples: expected a multiple of 3074 bytes, got 0");
}

TEST_CASE("fashion-mnist: MNIST's files") {
  const Files directory;
  directory.write("train-images-idx3-ubyte", idx(0x803, {2, 1, 2}, {1, 2, 3, 4}));
  directory.write("train-labels-idx1-ubyte", idx(0x801, {2}, {9, 0}));
  directory.write_gzipped("t10k-images-idx3-ubyte.gz", idx(0x803, {1, 1, 2}, {5, 6}));
  directory.write("t10k-labels-idx1-ubyte", idx(0x801, {1}, {3}));
  const data::Mnist fashion = data::load_fashion_mnist(directory.path());
  CHECK(fashion.train_images.pixels == Bytes{1, 2, 3, 4});
  CHECK(fashion.train_labels == Bytes{9, 0});
  CHECK(fashion.test_labels == Bytes{3});
  CHECK_THROWS_AS((void)data::load_fashion_mnist(directory.path() / "absent"), IoError);
}

TEST_CASE("names of classes: all different and in their order") {
  const auto distinct = [](const auto& names) {
    return std::set<std::string_view>(names.begin(), names.end()).size();
  };
  CHECK(distinct(data::fashion_mnist_classes) == 10);
  CHECK(distinct(data::cifar10_classes) == 10);
  CHECK(distinct(data::cifar100_classes) == 100);
  CHECK(distinct(data::cifar100_coarse_classes) == 20);
  // Both lists of CIFAR-100 are sorted.
  CHECK(std::ranges::is_sorted(data::cifar100_classes));
  CHECK(std::ranges::is_sorted(data::cifar100_coarse_classes));
  CHECK(data::cifar10_classes[9] == "truck");
  CHECK(data::fashion_mnist_classes[9] == "ankle boot");
  CHECK(data::cifar100_classes[99] == "worm");
}
