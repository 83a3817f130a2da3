// Examples for training, dealt in batches: from arrays, from files, changed on the way, made by
// threads while a step computes.
//
//     kt::data::Loader loader(kt::data::from_arrays(x, labels), {.batch = 128, .seed = 1});
//     for (int epoch = 0; epoch < 10; ++epoch) {
//       for (const kt::data::Batch& batch : loader.epoch(epoch)) step(batch.x, batch.labels);
//     }
#pragma once
#include <kroton/array.h>
#include <kroton/data.h>

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace kroton::data {

// Some examples: a row of each array is one.
struct Batch {
  Array x = {};
  Array labels = {};
  // Of sequences that are padded to one length, (batch, steps): 1 where a step is one, else 0.
  std::optional<Array> mask = {};
  // The further inputs and labels of networks that have several.
  std::vector<Array> more_x = {}, more_labels = {};
  // How much each example counts, (batch), or each label of it: of the labels' first axes.
  std::optional<Array> weights = {};
};

using Rows = std::span<const std::uint32_t>;

// Examples by their numbers, from 0 to count - 1.
struct Dataset {
  std::int64_t count = 0;
  // The examples of these rows, in this order, as epoch `epoch` sees them. A function of the two
  // alone, which several threads may call at once.
  std::function<Batch(Rows rows, std::uint64_t epoch)> make;
  // Of sequences, how long each one is; else empty.
  std::vector<std::int64_t> lengths = {};
  // Batches are copies of what lies in memory: no thread beside the caller's pays.
  bool is_in_memory = false;
};

// The rows of two arrays. ShapeError where they have different numbers of them.
Dataset from_arrays(const Array& x, const Array& labels);
// The rows of several arrays, for networks with several inputs and outputs; there may be no labels.
// ValueError for no x; ShapeError as above.
Dataset from_arrays(const std::vector<Array>& x, const std::vector<Array>& labels);
// The same examples with weights (Batch::weights), of which row k is that of example k. ShapeError
// for another number of rows.
Dataset weighted(const Dataset& dataset, const Array& weights);
// Pictures as f32 (batch, channels, rows, cols) with values from 0 to 1, and their labels as i64
// (batch). ShapeError where there are not as many labels as pictures.
Dataset from_images(Images images, std::vector<std::uint8_t> labels);
// These examples of `dataset`, numbered anew. ValueError for a row that is not there.
Dataset subset(const Dataset& dataset, std::vector<std::uint32_t> rows);
// All but this part of the examples, and that part: which ones is decided by the seed. ValueError
// for a part outside (0, 1), and where one of the two would be empty.
std::pair<Dataset, Dataset> split(const Dataset& dataset, double part, std::uint64_t seed);
// Each batch as `change` leaves it; what it does may depend on the rows and the epoch, and several
// threads may call it at once.
Dataset mapped(const Dataset& dataset,
               std::function<void(Batch& batch, Rows rows, std::uint64_t epoch)> change);

struct LoaderOptions {
  std::int64_t batch = 32;
  bool shuffle = true;     // else in ascending order
  std::uint64_t seed = 1;  // of the order, another one in each epoch
  bool drop_last = false;  // leave out the last batch of an epoch where it is smaller
  // Batches are of sequences of about one length (of data sets that know the lengths).
  bool by_length = false;
  // Threads that make batches beside the caller's; with 0 next() makes its batch itself. Unless
  // given 0 for data sets in memory, 2 for others.
  std::optional<int> threads = {};
  // How many batches are made before they are asked for, with threads.
  int ahead = 4;
};

// The batches of a data set, epoch after epoch: the same ones in the same order however many
// threads make them.
class Loader {
 public:
  // ValueError for options out of range, and for `by_length` without lengths.
  explicit Loader(Dataset dataset, const LoaderOptions& options = {});
  ~Loader();
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  std::int64_t count() const;    // examples in an epoch, those that are dropped left out
  std::int64_t batches() const;  // batches in an epoch
  // An epoch for a loop over its batches, which begins it. The loader is to outlive it.
  class Epoch;
  Epoch epoch(std::uint64_t number);

  // Begins epoch `epoch`, from batch `first` on; what is left of another one is dropped.
  void start(std::uint64_t epoch, std::int64_t first = 0);
  // The next batch of the epoch; nothing after its last, and before start(). Throws what making it
  // threw, after which the epoch is at its end. Several threads may call it: each batch goes to one
  // of them.
  std::optional<Batch> next();
  // How long next() has waited, or made batches itself, since start().
  double seconds_waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Loader::Epoch {
 public:
  class Iterator {
   public:
    explicit Iterator(Loader& loader) : loader_(&loader), batch_(loader.next()) {}
    const Batch& operator*() const { return *batch_; }
    const Batch* operator->() const { return &*batch_; }
    Iterator& operator++() {
      batch_ = loader_->next();
      return *this;
    }
    bool operator!=(std::default_sentinel_t) const { return batch_.has_value(); }

   private:
    Loader* loader_;
    std::optional<Batch> batch_;
  };
  Epoch(Loader& loader, std::uint64_t number) : loader_(&loader), number_(number) {}
  Iterator begin() const {
    loader_->start(number_);
    return Iterator(*loader_);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  Loader* loader_;
  std::uint64_t number_;
};

inline Loader::Epoch Loader::epoch(std::uint64_t number) { return Epoch(*this, number); }

}  // namespace kroton::data
