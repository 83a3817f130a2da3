#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <kroton/data.h>
#include <kroton/error.h>

#include "tests/tools/data_files.h"

using namespace kroton;

namespace {

constexpr std::size_t record = 3073;

// An example for each label; value i of the picture is the label plus i, modulo 256.
Bytes batch(const Bytes& labels) {
  Bytes bytes;
  for (const std::uint8_t label : labels) {
    bytes.push_back(label);
    for (std::size_t i = 0; i < record - 1; ++i) {
      bytes.push_back(static_cast<std::uint8_t>(label + i));
    }
  }
  return bytes;
}

std::string load_error(const Files& directory) {
  return error_of([&] { return data::load_cifar10(directory.path()); });
}

}  // namespace

TEST_CASE("cifar10: reads plain and gzipped files, in their order") {
  const Files directory;
  directory.write("data_batch_1.bin", batch({1, 2, 3}));
  directory.write_gzipped("data_batch_2.bin.gz", batch({9}));
  directory.write_gzipped("data_batch_3.bin", batch({0, 4}));
  directory.write("test_batch.bin.gz", batch({5}));
  const data::Cifar10 cifar = data::load_cifar10(directory.path());
  CHECK(cifar.train_labels == Bytes{1, 2, 3, 9, 0, 4});
  CHECK(cifar.test_labels == Bytes{5});
  for (const data::Images* images : {&cifar.train_images, &cifar.test_images}) {
    CHECK(images->channels == 3);
    CHECK(images->rows == 32);
    CHECK(images->cols == 32);
  }
  CHECK(cifar.train_images.count == 6);
  CHECK(cifar.test_images.count == 1);
  Bytes expected;
  for (const std::uint8_t label : cifar.train_labels) {
    const Bytes one = batch({label});
    expected.insert(expected.end(), one.begin() + 1, one.end());
  }
  CHECK(cifar.train_images.pixels == expected);
}

TEST_CASE("cifar10: all five training files") {
  const Files directory;
  for (std::uint8_t k = 1; k <= 5; ++k) {
    directory.write("data_batch_" + std::to_string(k) + ".bin", batch({k}));
  }
  directory.write("data_batch_6.bin", batch({9}));
  directory.write("test_batch.bin", batch({6}));
  CHECK(data::load_cifar10(directory.path()).train_labels == Bytes{1, 2, 3, 4, 5});
}

TEST_CASE("cifar10: files that are not there") {
  const Files directory;
  const std::string missing = directory.path().string() + ": none of these files is there: ";
  CHECK(load_error(directory) == missing + "data_batch_1.bin, data_batch_1.bin.gz");
  directory.write("data_batch_1.bin", batch({1}));
  CHECK(load_error(directory) == missing + "test_batch.bin, test_batch.bin.gz");
  directory.write("test_batch.bin", batch({1}));
  CHECK(load_error(directory) == "no error");
  directory.write("data_batch_3.bin", batch({1}));
  CHECK(load_error(directory) ==
        missing +
            "data_batch_2.bin, data_batch_2.bin.gz; only the last ones may be absent, and "
            "data_batch_3.bin is there");
  CHECK(error_of([&] { return data::load_cifar10(directory.path() / "absent"); }) ==
        (directory.path() / "absent").string() +
            ": none of these files is there: data_batch_1.bin, data_batch_1.bin.gz");
}

TEST_CASE("cifar10: a directory in place of a file") {
  const Files directory;
  directory.write("data_batch_1.bin", batch({1}));
  std::filesystem::create_directory(directory.path() / "test_batch.bin");
  CHECK(load_error(directory) == (directory.path() / "test_batch.bin").string() + ": not a file");
}

TEST_CASE("cifar10: an empty file") {
  const Files directory;
  directory.write("test_batch.bin", batch({1}));
  for (const auto& path :
       {directory.write("data_batch_1.bin", {}), directory.write_gzipped("data_batch_1.bin", {})}) {
    const std::string error = load_error(directory);
    CHECK(error.starts_with(path.string() + ": at byte 0"));
    CHECK(error.ends_with(": no examples: expected a multiple of 3073 bytes, got 0"));
  }
}

TEST_CASE("cifar10: a size that is no multiple of an example's") {
  const Files directory;
  directory.write("test_batch.bin", batch({1}));
  Bytes bytes = batch({1, 2});
  bytes.push_back(0);
  const auto longer = directory.write("data_batch_1.bin", bytes);
  CHECK(load_error(directory) == longer.string() +
                                     ": at byte 6147: the data ends in example 2: expected a "
                                     "multiple of 3073 bytes, got 6147");
  bytes.resize(3072);
  const auto shorter = directory.write_gzipped("data_batch_1.bin", bytes);
  CHECK(load_error(directory) == shorter.string() +
                                     ": at byte 3072 of the decompressed data: the data ends in "
                                     "example 0: expected a multiple of 3073 bytes, got 3072");
}

TEST_CASE("cifar10: a label above 9") {
  const Files directory;
  directory.write("data_batch_1.bin", batch({9, 0}));
  directory.write("data_batch_2.bin", batch({9}));
  const auto path = directory.write("test_batch.bin", batch({3, 10, 11}));
  CHECK(load_error(directory) ==
        path.string() + ": at byte 3073: label of example 1: expected 0 to 9, got 10");
}

TEST_CASE("cifar10: a gzip stream that breaks off or is damaged") {
  const Files directory;
  directory.write("test_batch.bin", batch({1}));
  const Bytes whole = contents(directory.write_gzipped("whole", batch({1, 2, 3})));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    directory.write("data_batch_1.bin", Bytes(whole.begin(), whole.begin() + length));
    REQUIRE(load_error(directory) != "no error");
  }
  for (std::size_t i = 10; i < whole.size(); ++i) {
    Bytes damaged = whole;
    damaged[i] ^= 0x55;
    directory.write("data_batch_1.bin", damaged);
    REQUIRE(load_error(directory) != "no error");
  }
  const auto cut = directory.write("data_batch_1.bin", Bytes(whole.begin(), whole.end() - 3));
  CHECK(load_error(directory) == cut.string() +
                                     ": at byte 9219 of the decompressed data: the gzip data "
                                     "breaks off after 3 examples, before its checksum");
}

TEST_CASE("cifar10: rows of coloured images") {
  const data::Images source{{0, 255, 51, 102, 153, 204}, 1, 1, 2, 3};
  std::vector<float> out(6);
  data::gather_batch(source, std::vector<std::uint32_t>{0}, out);
  CHECK(out[1] == 1.0F);
  CHECK(out[5] == doctest::Approx(0.8));
  CHECK_THROWS_WITH_AS(
      data::gather_batch(source, std::vector<std::uint32_t>{0}, std::span(out).first(2)),
      "gather_batch: expected room for 1 images of 3 channels of 1 x 2 pixels, 6 floats, got 2",
      ShapeError);
}
