#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

#include <kroton/data.h>
#include <kroton/error.h>

#include "tests/tools/data_files.h"

using namespace kroton;

namespace {

Bytes idx(std::initializer_list<std::uint32_t> header, const Bytes& body) {
  Bytes bytes;
  for (const std::uint32_t number : header) {
    for (const int shift : {24, 16, 8, 0}) {
      bytes.push_back(static_cast<std::uint8_t>(number >> shift));
    }
  }
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

// Pixel i is i modulo 251.
Bytes images(std::uint32_t count, std::uint32_t rows, std::uint32_t cols) {
  Bytes pixels(std::size_t{count} * rows * cols);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i % 251);
  }
  return idx({0x803, count, rows, cols}, pixels);
}

Bytes labels(const Bytes& values) {
  return idx({0x801, static_cast<std::uint32_t>(values.size())}, values);
}

std::string image_error(const std::filesystem::path& path) {
  return error_of([&] { return data::read_idx_images(path); });
}

std::string label_error(const std::filesystem::path& path) {
  return error_of([&] { return data::read_idx_labels(path); });
}

}  // namespace

TEST_CASE("idx: reads plain and gzipped files alike") {
  const Files directory;
  for (const std::uint32_t count : {0U, 1U, 3U, 17U}) {
    CAPTURE(count);
    const Bytes bytes = images(count, 3, 5);
    for (const auto& path :
         {directory.write("plain", bytes), directory.write_gzipped("zipped", bytes)}) {
      const data::Images read = data::read_idx_images(path);
      CHECK(read.count == count);
      CHECK(read.rows == 3);
      CHECK(read.cols == 5);
      CHECK(std::ranges::equal(read.pixels, std::span(bytes).subspan(16)));
    }
    Bytes values(count);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::uint8_t>(i % 10);
    }
    CHECK(data::read_idx_labels(directory.write("plain", labels(values))) == values);
    CHECK(data::read_idx_labels(directory.write_gzipped("zipped", labels(values))) == values);
  }
}

TEST_CASE("idx: a missing file and a directory") {
  const Files directory;
  const auto path = directory.path() / "absent";
  CHECK(image_error(path) == path.string() + ": no such file");
  CHECK(image_error(directory.path()) == directory.path().string() + ": not a file");
}

TEST_CASE("idx: an empty file") {
  const Files directory;
  const auto path = directory.write("f", {});
  CHECK(image_error(path) == path.string() +
                                 ": at byte 0: the data ends in the magic number: "
                                 "expected 4 bytes, got 0");
}

TEST_CASE("idx: wrong magic numbers") {
  const Files directory;
  const auto a = directory.write("a", labels({1, 2}));
  CHECK(image_error(a) == a.string() +
                              ": at byte 0: wrong magic number: expected 0x00000803 "
                              "(images: unsigned bytes, 3 dimensions), got 0x00000801");
  const auto b = directory.write_gzipped("b", images(1, 2, 2));
  CHECK(label_error(b) == b.string() +
                              ": at byte 0 of the decompressed data: wrong magic number: "
                              "expected 0x00000801 (labels: unsigned bytes, 1 dimension), "
                              "got 0x00000803");
}

TEST_CASE("idx: a header that breaks off") {
  const Files directory;
  Bytes bytes = images(1, 2, 2);
  bytes.resize(10);
  const auto path = directory.write("f", bytes);
  CHECK(image_error(path) == path.string() +
                                 ": at byte 10: the data ends in the rows per image: "
                                 "expected 12 bytes, got 10");
}

TEST_CASE("idx: a plain file that breaks off") {
  const Files directory;
  Bytes bytes = images(3, 2, 2);
  bytes.resize(20);
  const auto path = directory.write("f", bytes);
  CHECK(image_error(path) ==
        path.string() +
            ": at byte 16: the header announces 3 images of 2 x 2 pixels, 28 bytes in "
            "all; a file of 20 bytes holds at most 20");
}

TEST_CASE("idx: gzipped data that is too short") {
  const Files directory;
  Bytes bytes = images(3, 2, 2);
  bytes.resize(20);
  const auto path = directory.write_gzipped("f", bytes);
  CHECK(image_error(path) ==
        path.string() +
            ": at byte 20 of the decompressed data: the data ends in the 3 images of "
            "2 x 2 pixels: expected 28 bytes, got 20");
}

TEST_CASE("idx: a gzip stream that breaks off") {
  const Files directory;
  const Bytes bytes = images(17, 28, 28);
  const Bytes whole = contents(directory.write_gzipped("whole", bytes));
  // At every length: never a partial load, whether the data or the checksum is cut.
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto path = directory.write("f", Bytes(whole.begin(), whole.begin() + length));
    REQUIRE(image_error(path) != "no error");
  }
  const auto cut = directory.write("f", Bytes(whole.begin(), whole.end() - 3));
  CHECK(image_error(cut) == cut.string() +
                                ": at byte 13344 of the decompressed data: the gzip "
                                "data breaks off after 17 images of 28 x 28 pixels, "
                                "before its checksum");
}

TEST_CASE("idx: a gzip stream that is damaged") {
  const Files directory;
  const Bytes whole = contents(directory.write_gzipped("whole", images(17, 28, 28)));
  Bytes wrong_checksum = whole;
  wrong_checksum[whole.size() - 6] ^= 0xff;
  const auto path = directory.write("f", wrong_checksum);
  CHECK(image_error(path) == path.string() +
                                 ": at byte 0 of the decompressed data: cannot be "
                                 "decompressed from here: incorrect data check");
  // Any other damaged byte after the gzip header gives an error, too.
  for (std::size_t i = 10; i < whole.size(); ++i) {
    Bytes damaged = whole;
    damaged[i] ^= 0x55;
    REQUIRE(image_error(directory.write("f", damaged)) != "no error");
  }
}

TEST_CASE("idx: absurd sizes") {
  const Files directory;
  const auto a = directory.write("a", idx({0x803, 0x80000001, 28, 28}, {}));
  CHECK(image_error(a) == a.string() +
                              ": at byte 4: number of images: expected 0 to 2147483648, "
                              "got 2147483649");
  const auto b = directory.write("b", idx({0x803, 5, 0, 28}, {}));
  CHECK(image_error(b) ==
        b.string() + ": at byte 8: rows per image: expected 1 to 2147483648, got 0");
  const auto c = directory.write("c", idx({0x803, 0x80000000, 0x80000000, 0x80000000}, {}));
  CHECK(image_error(c) == c.string() +
                              ": at byte 4: the header announces 2147483648 images of "
                              "2147483648 x 2147483648 pixels, more bytes than 63 bits "
                              "count");
  const auto d = directory.write_gzipped("d", idx({0x803, 60000, 2800, 2800}, {1, 2, 3}));
  const std::string size = std::to_string(std::filesystem::file_size(d));
  const std::string most = std::to_string(std::filesystem::file_size(d) * 1032);
  CHECK(image_error(d) == d.string() +
                              ": at byte 16 of the decompressed data: the header announces "
                              "60000 images of 2800 x 2800 pixels, 470400000016 bytes in "
                              "all; a gzipped file of " +
                              size + " bytes holds at most " + most);
  const auto e = directory.write("e", idx({0x801, 0x7fffffff}, {1, 2, 3}));
  CHECK(label_error(e) == e.string() +
                              ": at byte 8: the header announces 2147483647 labels, "
                              "2147483655 bytes in all; a file of 11 bytes holds at most "
                              "11");
}

TEST_CASE("idx: bytes after the end") {
  const Files directory;
  Bytes bytes = images(3, 2, 2);
  bytes.push_back(0);
  const auto a = directory.write("a", bytes);
  CHECK(image_error(a) == a.string() +
                              ": at byte 28: more data after 3 images of 2 x 2 pixels: "
                              "expected the file to end here");
  const auto b = directory.write_gzipped("b", bytes);
  CHECK(image_error(b) == b.string() +
                              ": at byte 28 of the decompressed data: more data after 3 "
                              "images of 2 x 2 pixels: expected the file to end here");
}

TEST_CASE("idx: a label above 9") {
  const Files directory;
  const auto path = directory.write("f", labels({9, 0, 10}));
  CHECK(label_error(path) ==
        path.string() + ": at byte 10: label of example 2: expected 0 to 9, got 10");
}

TEST_CASE("mnist: finds the files under each of their names") {
  const Files directory;
  directory.write("train-images-idx3-ubyte", images(3, 2, 2));
  directory.write("train-labels.idx1-ubyte", labels({1, 2, 3}));
  directory.write_gzipped("t10k-images-idx3-ubyte.gz", images(1, 2, 2));
  directory.write_gzipped("t10k-labels.idx1-ubyte.gz", labels({7}));
  const data::Mnist mnist = data::load_mnist(directory.path());
  CHECK(mnist.train_images.count == 3);
  CHECK(mnist.train_labels == Bytes{1, 2, 3});
  CHECK(mnist.test_images.count == 1);
  CHECK(mnist.test_labels == Bytes{7});
}

TEST_CASE("mnist: a file that is not there") {
  const Files directory;
  directory.write("train-images-idx3-ubyte", images(3, 2, 2));
  CHECK(error_of([&] { return data::load_mnist(directory.path()); }) ==
        directory.path().string() +
            ": none of these files is there: train-labels-idx1-ubyte, train-labels-idx1-ubyte.gz, "
            "train-labels.idx1-ubyte, train-labels.idx1-ubyte.gz");
}

TEST_CASE("mnist: counts and sizes that do not match") {
  const Files directory;
  const auto train = directory.write("train-images-idx3-ubyte", images(3, 2, 2));
  const auto test = directory.write("t10k-images-idx3-ubyte", images(1, 2, 2));
  const auto test_labels = directory.write("t10k-labels-idx1-ubyte", labels({7, 8}));
  directory.write("train-labels-idx1-ubyte", labels({1, 2, 3}));
  const auto error = [&] { return error_of([&] { return data::load_mnist(directory.path()); }); };
  CHECK(error() == test_labels.string() + ": at byte 4 of the data: 2 labels, but " +
                       test.string() + " has 1 images");
  directory.write("t10k-labels-idx1-ubyte", labels({7}));
  directory.write("t10k-images-idx3-ubyte", images(1, 2, 3));
  CHECK(error() == test.string() + ": at byte 8 of the data: images of 2 x 3 pixels, but " +
                       train.string() + " has 2 x 2");
}

TEST_CASE("gather: rows of images and labels") {
  const data::Images source{{0, 255, 51, 102, 153, 204}, 3, 1, 2};
  std::vector<float> out(4);
  data::gather_batch(source, std::vector<std::uint32_t>{2, 0}, out);
  CHECK(out[0] == doctest::Approx(0.6));
  CHECK(out[1] == doctest::Approx(0.8));
  CHECK(out[2] == 0.0F);
  CHECK(out[3] == 1.0F);
  data::gather_batch(source, {}, {});
  std::vector<std::int64_t> targets(2);
  data::gather_labels(Bytes{7, 8, 9}, std::vector<std::uint32_t>{2, 0}, targets);
  CHECK(targets == std::vector<std::int64_t>{9, 7});

  const std::vector<std::uint32_t> bad{1, 3};
  CHECK_THROWS_WITH_AS(data::gather_batch(source, bad, out),
                       "gather_batch: row 3 is out of range for 3 rows", ValueError);
  data::Images damaged = source;
  damaged.count = 4;
  CHECK_THROWS_WITH_AS(data::gather_batch(damaged, bad, out),
                       "gather_batch: expected 8 pixels of 4 images of 1 x 2, got 6", ShapeError);
  CHECK_THROWS_WITH_AS(data::gather_batch(source, bad, std::span(out).subspan(1)),
                       "gather_batch: expected room for 2 images of 1 x 2 pixels, 4 floats, got 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(data::gather_labels(Bytes{7, 8, 9}, bad, targets),
                       "gather_labels: row 3 is out of range for 3 rows", ValueError);
  CHECK_THROWS_WITH_AS(data::gather_labels(Bytes{7}, {}, targets),
                       "gather_labels: expected room for 0 labels, got 2", ShapeError);
}

TEST_CASE("batches: each epoch is a permutation, the last batch is kept") {
  for (const std::int64_t count : {0, 1, 3, 17, 1000}) {
    for (const std::int64_t size : {1, 3, 17}) {
      data::Batches batches(count, size, 5);
      CHECK(batches.batch_count() == (count + size - 1) / size);
      std::vector<std::uint32_t> seen;
      std::int64_t left = count;
      for (const std::span<const std::uint32_t> rows : batches.next_epoch()) {
        CHECK(static_cast<std::int64_t>(rows.size()) == std::min(size, left));
        left -= size;
        seen.insert(seen.end(), rows.begin(), rows.end());
      }
      std::ranges::sort(seen);
      REQUIRE(static_cast<std::int64_t>(seen.size()) == count);
      for (std::size_t i = 0; i < seen.size(); ++i) {
        REQUIRE(seen[i] == i);
      }
    }
  }
}

TEST_CASE("batches: the order is a function of seed and epoch") {
  const auto order = [](const data::Batches& batches) {
    const auto rows = batches.batch(0);
    return std::vector<std::uint32_t>(rows.begin(), rows.end());
  };
  data::Batches a(100, 100, 5);
  data::Batches b(100, 100, 5);
  data::Batches c(100, 100, 6);
  CHECK(std::ranges::is_sorted(order(a)));
  const auto first = order(a.next_epoch());
  CHECK_FALSE(std::ranges::is_sorted(first));
  CHECK(order(b.next_epoch()) == first);
  CHECK(order(c.next_epoch()) != first);
  const auto second = order(a.next_epoch());
  CHECK(second != first);
  CHECK(order(b.next_epoch()) == second);
}

TEST_CASE("batches: every place is as likely") {
  // 3! orders of 3, 6000 epochs: 1000 each, with a standard deviation of 29.
  data::Batches batches(3, 3, 1);
  std::vector<int> counts(27);
  for (int epoch = 0; epoch < 6000; ++epoch) {
    const auto rows = batches.next_epoch().batch(0);
    ++counts[rows[0] * 9 + rows[1] * 3 + rows[2]];
  }
  CHECK(std::ranges::count(counts, 0) == 21);
  for (const int count : counts) {
    CHECK((count == 0 || (count > 850 && count < 1150)));
  }
}

TEST_CASE("batches: what cannot be") {
  CHECK_THROWS_WITH_AS((void)data::Batches(-1, 3, 1),
                       "Batches: expected a count between 0 and 4294967295, got -1", ValueError);
  CHECK_THROWS_WITH_AS((void)data::Batches(3, 0, 1),
                       "Batches: expected a batch size of at least 1, got 0", ValueError);
  const data::Batches batches(5, 3, 1);
  CHECK_THROWS_WITH_AS((void)batches.batch(2), "Batches: batch 2 is out of range for 2 batches",
                       ValueError);
}
