#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
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

/// The MNIST digits, or another set in its form: images and their labels, 0 to 9.
struct Mnist {
  Images train_images;
  std::vector<std::uint8_t> train_labels;
  Images test_images;
  std::vector<std::uint8_t> test_labels;
};

/// The CIFAR-10 photographs, 32 x 32 of 3 channels, and their labels, numbers of cifar10_classes.
struct Cifar10 {
  Images train_images;
  std::vector<std::uint8_t> train_labels;
  Images test_images;
  std::vector<std::uint8_t> test_labels;
};

/// The CIFAR-100 photographs, 32 x 32 of 3 channels. Each has two labels: its class, a number of
/// cifar100_classes, and the group of five classes that it is of, one of cifar100_coarse_classes.
struct Cifar100 {
  Images train_images;
  std::vector<std::uint8_t> train_labels;
  std::vector<std::uint8_t> train_coarse_labels;
  Images test_images;
  std::vector<std::uint8_t> test_labels;
  std::vector<std::uint8_t> test_coarse_labels;
};

/// The names of the classes, in the order of the labels.
inline constexpr std::array<std::string_view, 10> fashion_mnist_classes = {
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal",      "shirt",   "sneaker",  "bag",   "ankle boot"};
inline constexpr std::array<std::string_view, 10> cifar10_classes = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
// clang-format off
inline constexpr std::array<std::string_view, 100> cifar100_classes = {
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm"};
inline constexpr std::array<std::string_view, 20> cifar100_coarse_classes = {
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates", "people",
    "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2"};
// clang-format on

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

/// Reads Fashion-MNIST, pictures of clothes of 10 kinds (fashion_mnist_classes), from its four
/// files, which have the names and the form of MNIST's; throws as load_mnist does.
/// Source: https://github.com/zalandoresearch/fashion-mnist
[[nodiscard]] Mnist load_fashion_mnist(const std::filesystem::path& directory);

/// Reads CIFAR-10's "binary version" from a directory: data_batch_1.bin to data_batch_5.bin, in
/// that order, and test_batch.bin, each with .gz or not, gzipped or not. An example is a byte for
/// the label and 3072 for the picture. A file may have any number of them, and the last training
/// files may be absent. Throws IoError, naming the file and the byte offset (of the decompressed
/// data when the file is gzipped), for a file that is missing (data_batch_1.bin always, another one
/// if a later one is there), empty or damaged, for a size that is no multiple of 3073, and for a
/// label above 9; nothing is returned then.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html
[[nodiscard]] Cifar10 load_cifar10(const std::filesystem::path& directory);

/// Reads CIFAR-100's "binary version" from a directory: train.bin and test.bin, each with .gz or
/// not, gzipped or not. An example is a byte for the group, one for the class, and 3072 for the
/// picture. Throws IoError as load_cifar10 does: both files are needed, sizes are multiples of
/// 3074, groups 0 to 19, classes 0 to 99.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html
[[nodiscard]] Cifar100 load_cifar100(const std::filesystem::path& directory);

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
