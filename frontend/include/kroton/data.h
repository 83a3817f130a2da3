#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

namespace kroton::data {

/// Images of one size, one byte per value (0 dark, 255 bright), row-major: image, channel, row,
/// column. Grey images have one channel, coloured ones red, green and blue.
struct Images {
  std::vector<std::uint8_t> pixels;
  std::int64_t count = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t channels = 1;
};

/// The MNIST digits: images and their labels, 0 to 9.
struct Mnist {
  Images train_images;
  std::vector<std::uint8_t> train_labels;
  Images test_images;
  std::vector<std::uint8_t> test_labels;
};

/// The CIFAR-10 photographs, 32 x 32 of 3 channels, and their labels: 0 airplane, 1 automobile,
/// 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.
struct Cifar10 {
  Images train_images;
  std::vector<std::uint8_t> train_labels;
  Images test_images;
  std::vector<std::uint8_t> test_labels;
};

/// Reads images in the IDX format (magic 0x00000803), gzipped or not, whatever the file's name.
/// Throws IoError, naming the file and the byte offset (of the decompressed data when the file is
/// gzipped), for a file that is missing, damaged or truncated, has another magic, sizes that cannot
/// be, or bytes after its end; nothing is returned then.
/// Source: https://yann.lecun.com/exdb/mnist
[[nodiscard]] Images read_idx_images(const std::filesystem::path& path);

/// Reads labels in the IDX format (magic 0x00000801), gzipped or not. Throws IoError as
/// read_idx_images does, and for a label above 9.
[[nodiscard]] std::vector<std::uint8_t> read_idx_labels(const std::filesystem::path& path);

/// Reads the four official files from a directory: {train,t10k}-images-idx3-ubyte and
/// {train,t10k}-labels-idx1-ubyte, with '.' in place of the second '-' or not, with .gz or not.
/// Throws IoError as the readers do, for a file that is missing (listing the names looked for), and
/// where images and labels differ in number or the two sets' images in size.
[[nodiscard]] Mnist load_mnist(const std::filesystem::path& directory);

/// Reads CIFAR-10's "binary version" from a directory: data_batch_1.bin to data_batch_5.bin, in
/// that order, and test_batch.bin, each with .gz or not, gzipped or not. An example is a byte for
/// the label and 3072 for the picture. A file may have any number of them, and the last training
/// files may be absent. Throws IoError, naming the file and the byte offset (of the decompressed
/// data when the file is gzipped), for a file that is missing (data_batch_1.bin always, another one
/// if a later one is there), empty or damaged, for a size that is no multiple of 3073, and for a
/// label above 9; nothing is returned then.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html
[[nodiscard]] Cifar10 load_cifar10(const std::filesystem::path& directory);

/// Writes images `rows` of `images` to `out`, in order, as float32 values between 0 and 1. Throws
/// ShapeError unless out.size() is rows.size() * images.channels * images.rows * images.cols and
/// there are as many values as the sizes of `images` say, ValueError for a row that is not there.
void gather_batch(const Images& images, std::span<const std::uint32_t> rows, std::span<float> out);

/// Writes labels `rows` of `labels` to `out`, in order. Throws ShapeError unless out.size() is
/// rows.size(), ValueError for a row that is not there.
void gather_labels(std::span<const std::uint8_t> labels, std::span<const std::uint32_t> rows,
                   std::span<std::int64_t> out);

/// The numbers 0 to count - 1 in batches, in a new order each epoch. The order is a function of the
/// seed and the epoch alone. The last batch is smaller when batch_size does not divide count.
///
///     data::Batches batches(60000, 128, /*seed=*/1);
///     for (int epoch = 0; epoch < 10; ++epoch)
///       for (std::span<const std::uint32_t> rows : batches.next_epoch()) ...
class Batches {
 public:
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = std::span<const std::uint32_t>;

    Iterator() = default;
    Iterator(const Batches* batches, std::int64_t index) : batches_(batches), index_(index) {}
    value_type operator*() const { return batches_->batch(index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++index_;
      return before;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const Batches* batches_ = nullptr;
    std::int64_t index_ = 0;
  };

  /// Starts in ascending order, which serves evaluation; next_epoch() shuffles. Throws ValueError
  /// unless 0 <= count < 2^32 and batch_size >= 1.
  Batches(std::int64_t count, std::int64_t batch_size, std::uint64_t seed);

  /// Shuffles (Fisher-Yates over Philox4x32-10) and returns the batches of epoch `number`, from 0.
  const Batches& epoch(std::uint64_t number) &;
  /// Those of the epoch after the last one, at first of epoch 0.
  const Batches& next_epoch() & { return epoch(epoch_); }
  /// The same of batches without a name, which the result keeps.
  Batches next_epoch() && {
    next_epoch();
    return std::move(*this);
  }

  /// Batches per epoch, the smaller last one included.
  [[nodiscard]] std::int64_t batch_count() const noexcept;
  /// Batch `index` of this epoch, valid until the next. Throws ValueError unless 0 <= index <
  /// batch_count().
  [[nodiscard]] std::span<const std::uint32_t> batch(std::int64_t index) const;

  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, batch_count()}; }

 private:
  std::vector<std::uint32_t> order_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  std::uint64_t epoch_ = 0;
};

}  // namespace kroton::data
