#include <kroton/data.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <system_error>

#include <kroton/error.h>

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

// A file read front to back through zlib, which passes one that is not gzipped through unchanged.
class IdxFile {
 public:
  explicit IdxFile(const std::filesystem::path& path) : path_(path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      throw IoError(path.string() + ": no such file");
    }
    if (!std::filesystem::is_regular_file(path, error)) {
      throw IoError(path.string() + ": not a file");
    }
    file_size_ = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
    file_.reset(gzopen(path.c_str(), "rb"));
    if (error || file_ == nullptr) {
      throw IoError(path.string() + ": cannot be opened for reading");
    }
    gzbuffer(file_.get(), 1U << 17);
    gzipped_ = gzdirect(file_.get()) == 0;
  }

  // The byte of the (decompressed) data that is read next.
  [[nodiscard]] std::int64_t offset() const { return offset_; }

  // Reports `message` for the byte `offset`.
  [[noreturn]] void fail(std::int64_t offset, const std::string& message) const {
    throw IoError(path_.string() + ": at byte " + std::to_string(offset) +
                  (gzipped_ ? " of the decompressed data: " : ": ") + message);
  }

  // Fills `bytes`, or reports where the data ends; `what` names what is being read.
  void read(std::span<std::uint8_t> bytes, const std::string& what) {
    const std::int64_t end = offset_ + static_cast<std::int64_t>(bytes.size());
    while (!bytes.empty()) {
      const std::size_t got = read_some(bytes);
      if (got == 0) {
        fail(offset_, "the data ends in the " + what + ": expected " + std::to_string(end) +
                          " bytes, got " + std::to_string(offset_));
      }
      bytes = bytes.subspan(got);
    }
  }

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
    const std::int64_t at = offset_;
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
    const std::int64_t most = gzipped_ ? file_size_ * 1032 : file_size_;
    if (count > most - offset_) {
      fail(offset_, "the header announces " + what + ", " + std::to_string(offset_ + count) +
                        " bytes in all; a " + (gzipped_ ? "gzipped " : "") + "file of " +
                        std::to_string(file_size_) + " bytes holds at most " +
                        std::to_string(most));
    }
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
    read(bytes, what);
    std::uint8_t extra = 0;
    if (read_some({&extra, 1}) != 0) {
      fail(offset_ - 1, "more data after " + what + ": expected the file to end here");
    }
    if (broken_off_) {
      fail(offset_, "the gzip data breaks off after " + what + ", before its checksum");
    }
    return bytes;
  }

 private:
  // Reads a part of `bytes`: at least one, or none at the end of the data. Reading the end is what
  // makes zlib verify the checksum.
  std::size_t read_some(std::span<std::uint8_t> bytes) {
    constexpr std::size_t most = 1U << 16;  // how closely the place of damaged data is known
    const int got =
        gzread(file_.get(), bytes.data(), static_cast<unsigned>(std::min(bytes.size(), most)));
    int code = Z_OK;
    const std::string reason = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) {
      broken_off_ = true;
    } else if (code == Z_ERRNO) {
      fail(offset_, "the system cannot read it from here");
    } else if (got < 0) {
      const std::size_t prefix = path_.string().size() + 2;  // zlib puts "path: " before it
      fail(offset_,
           "cannot be decompressed from here: " + reason.substr(std::min(prefix, reason.size())));
    }
    if (got <= 0) {
      return 0;
    }
    offset_ += got;
    return static_cast<std::size_t>(got);
  }

  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::int64_t file_size_ = 0;
  std::int64_t offset_ = 0;
  bool gzipped_ = false;
  bool broken_off_ = false;  // the gzip stream ends before its checksum
};

// The path of one of the official files, under any of the names that it goes by.
std::filesystem::path find_file(const std::filesystem::path& directory, const std::string& set,
                                const std::string& kind) {
  std::string looked_for;
  for (const char* separator : {"-", "."}) {
    for (const char* suffix : {"", ".gz"}) {
      const std::string name = set + separator + kind + suffix;
      std::error_code error;
      if (std::filesystem::exists(directory / name, error)) {
        return directory / name;
      }
      looked_for += (looked_for.empty() ? "" : ", ") + name;
    }
  }
  throw IoError(directory.string() + ": none of these files is there: " + looked_for);
}

void check_counts(const std::filesystem::path& image_path, const IdxImages& images,
                  const std::filesystem::path& label_path,
                  const std::vector<std::uint8_t>& labels) {
  if (images.count != static_cast<std::int64_t>(labels.size())) {
    throw IoError(label_path.string() +
                  ": at byte 4 of the data: " + std::to_string(labels.size()) + " labels, but " +
                  image_path.string() + " has " + std::to_string(images.count) + " images");
  }
}

}  // namespace

IdxImages read_idx_images(const std::filesystem::path& path) {
  IdxFile file(path);
  file.read_magic(image_magic, "images: unsigned bytes, 3 dimensions");
  IdxImages images;
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
  const auto bad = std::ranges::find_if(labels, [](std::uint8_t label) { return label > 9; });
  if (bad != labels.end()) {
    file.fail(start + (bad - labels.begin()), "label of example " +
                                                  std::to_string(bad - labels.begin()) +
                                                  ": expected 0 to 9, got " + std::to_string(*bad));
  }
  return labels;
}

Mnist load_mnist(const std::filesystem::path& directory) {
  const auto train_images = find_file(directory, "train-images", "idx3-ubyte");
  const auto train_labels = find_file(directory, "train-labels", "idx1-ubyte");
  const auto test_images = find_file(directory, "t10k-images", "idx3-ubyte");
  const auto test_labels = find_file(directory, "t10k-labels", "idx1-ubyte");
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

}  // namespace kroton::data
