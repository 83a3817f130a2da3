#include <kroton/data.h>
#include <kroton/error.h>

#include <array>
#include <cstdio>
#include <limits>
#include <string>

#include "frontend/data/data_file.h"

namespace kroton::data {

namespace {

constexpr std::int64_t max_extent = std::int64_t{1} << 31;
constexpr std::uint32_t image_magic = 0x00000803;  // unsigned bytes, 3 dimensions
constexpr std::uint32_t label_magic = 0x00000801;  // unsigned bytes, 1 dimension

std::string hexadecimal(std::uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

// A file that begins with big-endian numbers.
class IdxFile : public DataFile {
 public:
  using DataFile::DataFile;

  // A big-endian number.
  std::uint32_t read_number(const std::string& what) {
    std::array<std::uint8_t, 4> bytes{};
    read(bytes, what);
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
           std::uint32_t{bytes[2]} << 8 | bytes[3];
  }

  void read_magic(std::uint32_t expected, const std::string& meaning) {
    const std::uint32_t magic = read_number("magic number");
    if (magic != expected) {
      fail(0, "wrong magic number: expected " + hexadecimal(expected) + " (" + meaning + "), got " +
                  hexadecimal(magic));
    }
  }

  // One extent of the header.
  std::int64_t read_extent(const std::string& what, std::int64_t least) {
    const std::int64_t at = offset();
    const std::int64_t extent = read_number(what);
    if (extent < least || extent > max_extent) {
      fail(at, what + ": expected " + std::to_string(least) + " to " + std::to_string(max_extent) +
                   ", got " + std::to_string(extent));
    }
    return extent;
  }

  // Reads the `count` bytes that the header announces, after checking that the file can hold them.
  std::vector<std::uint8_t> read_body(std::int64_t count, const std::string& what) {
    // Deflate turns at most 1032 bytes into one.
    const std::int64_t most = is_gzipped() ? file_size() * 1032 : file_size();
    if (count > most - offset()) {
      fail(offset(), "the header announces " + what + ", " + std::to_string(offset() + count) +
                         " bytes in all; a " + (is_gzipped() ? "gzipped " : "") + "file of " +
                         std::to_string(file_size()) + " bytes holds at most " +
                         std::to_string(most));
    }
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
    read(bytes, what);
    expect_end(what);
    return bytes;
  }
};

// The path of one of the official files, under any of the names that it goes by.
std::filesystem::path find_idx_file(const std::filesystem::path& directory, const std::string& set,
                                    const std::string& kind) {
  return find_file(directory, {set + "-" + kind, set + "." + kind});
}

void check_counts(const std::filesystem::path& image_path, const Images& images,
                  const std::filesystem::path& label_path,
                  const std::vector<std::uint8_t>& labels) {
  if (images.count != static_cast<std::int64_t>(labels.size())) {
    throw IoError(label_path.string() +
                  ": at byte 4 of the data: " + std::to_string(labels.size()) + " labels, but " +
                  image_path.string() + " has " + std::to_string(images.count) + " images");
  }
}

}  // namespace

Images read_idx_images(const std::filesystem::path& path) {
  IdxFile file(path);
  file.read_magic(image_magic, "images: unsigned bytes, 3 dimensions");
  Images images;
  images.count = file.read_extent("number of images", 0);
  images.rows = file.read_extent("rows per image", 1);
  images.cols = file.read_extent("columns per image", 1);
  const std::string what = std::to_string(images.count) + " images of " +
                           std::to_string(images.rows) + " x " + std::to_string(images.cols) +
                           " pixels";
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(images.count * images.rows, images.cols, &bytes) ||
      bytes > std::numeric_limits<std::int64_t>::max() - file.offset()) {
    file.fail(4, "the header announces " + what + ", more bytes than 63 bits count");
  }
  images.pixels = file.read_body(bytes, what);
  return images;
}

std::vector<std::uint8_t> read_idx_labels(const std::filesystem::path& path) {
  IdxFile file(path);
  file.read_magic(label_magic, "labels: unsigned bytes, 1 dimension");
  const std::int64_t count = file.read_extent("number of labels", 0);
  const std::int64_t start = file.offset();
  std::vector<std::uint8_t> labels = file.read_body(count, std::to_string(count) + " labels");
  check_labels(file, labels, {.start = start});
  return labels;
}

Mnist load_mnist(const std::filesystem::path& directory) {
  const auto train_images = find_idx_file(directory, "train-images", "idx3-ubyte");
  const auto train_labels = find_idx_file(directory, "train-labels", "idx1-ubyte");
  const auto test_images = find_idx_file(directory, "t10k-images", "idx3-ubyte");
  const auto test_labels = find_idx_file(directory, "t10k-labels", "idx1-ubyte");
  Mnist mnist{read_idx_images(train_images), read_idx_labels(train_labels),
              read_idx_images(test_images), read_idx_labels(test_labels)};
  check_counts(train_images, mnist.train_images, train_labels, mnist.train_labels);
  check_counts(test_images, mnist.test_images, test_labels, mnist.test_labels);
  if (mnist.train_images.rows != mnist.test_images.rows ||
      mnist.train_images.cols != mnist.test_images.cols) {
    throw IoError(test_images.string() + ": at byte 8 of the data: images of " +
                  std::to_string(mnist.test_images.rows) + " x " +
                  std::to_string(mnist.test_images.cols) + " pixels, but " + train_images.string() +
                  " has " + std::to_string(mnist.train_images.rows) + " x " +
                  std::to_string(mnist.train_images.cols));
  }
  return mnist;
}

Mnist load_fashion_mnist(const std::filesystem::path& directory) { return load_mnist(directory); }

}  // namespace kroton::data
