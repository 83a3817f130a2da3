#include <kroton/dataset.h>
#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace kroton::data {

namespace {

// The rows of an array, one after the other.
Array rows_of(const Array& all, Rows rows) {
  std::vector<std::int64_t> sizes(all.shape().begin(), all.shape().end());
  const std::int64_t count = sizes[0];
  sizes[0] = static_cast<std::int64_t>(rows.size());
  Array result = Array::empty(Shape(sizes), all.dtype());
  if (result.size() == 0) return result;
  const std::size_t bytes = static_cast<std::size_t>(result.size()) *
                            static_cast<std::size_t>(size_of(all.dtype())) / rows.size();
  const auto* from = static_cast<const std::byte*>(all.raw());
  auto* to = static_cast<std::byte*>(result.raw());
  for (const std::uint32_t row : rows) {
    if (row >= count) {
      throw ValueError("from_arrays: row " + std::to_string(row) + " is out of range for " +
                       std::to_string(count) + " examples");
    }
    std::memcpy(to, from + row * bytes, bytes);
    to += bytes;
  }
  return result;
}

// A data set whose batches another one makes, of the rows that `rows_of` gives.
Dataset renumbered(const Dataset& from, std::vector<std::uint32_t> rows) {
  Dataset result;
  result.count = static_cast<std::int64_t>(rows.size());
  result.is_in_memory = from.is_in_memory;
  if (!from.lengths.empty()) {
    for (const std::uint32_t row : rows) result.lengths.push_back(from.lengths[row]);
  }
  result.make = [make = from.make, kept = std::make_shared<std::vector<std::uint32_t>>(
                                       std::move(rows))](Rows asked, std::uint64_t epoch) {
    std::vector<std::uint32_t> there;
    there.reserve(asked.size());
    for (const std::uint32_t row : asked) there.push_back(kept->at(row));
    return make(there, epoch);
  };
  return result;
}

}  // namespace

Dataset from_arrays(const Array& x, const Array& labels) {
  if (x.shape().rank() == 0 || labels.shape().rank() == 0 || x.shape()[0] != labels.shape()[0]) {
    throw ShapeError("from_arrays: x is " + to_string(x.shape()) + ", labels are " +
                     to_string(labels.shape()) + ": both have an example in each row");
  }
  return {.count = x.shape()[0],
          .make = [x = x.contiguous(), labels = labels.contiguous()](
                      Rows rows,
                      std::uint64_t) { return Batch{rows_of(x, rows), rows_of(labels, rows)}; },
          .is_in_memory = true};
}

Dataset from_arrays(const std::vector<Array>& x, const std::vector<Array>& labels) {
  if (x.empty()) throw ValueError("from_arrays: there is no x");
  std::vector<Array> all;
  for (const std::vector<Array>* list : {&x, &labels}) {
    for (const Array& array : *list) all.push_back(array.contiguous());
  }
  std::string shapes;
  bool fits = true;
  for (std::size_t k = 0; k < all.size(); ++k) {
    const Shape& shape = all[k].shape();
    shapes += (k == 0 ? "x are " : k == x.size() ? ", labels are " : " and ") + to_string(shape);
    fits = fits && shape.rank() > 0 && all[0].rank() > 0 && shape[0] == all[0].shape()[0];
  }
  if (!fits) throw ShapeError("from_arrays: " + shapes + ": all have an example in each row");
  return {.count = all[0].shape()[0],
          .make =
              [all, inputs = x.size()](Rows rows, std::uint64_t) {
                Batch batch;
                for (std::size_t k = 0; k < all.size(); ++k) {
                  Array part = rows_of(all[k], rows);
                  const bool is_x = k < inputs;
                  if (k == 0 || k == inputs) {
                    (is_x ? batch.x : batch.labels) = std::move(part);
                  } else {
                    (is_x ? batch.more_x : batch.more_labels).push_back(std::move(part));
                  }
                }
                return batch;
              },
          .is_in_memory = true};
}

Dataset weighted(const Dataset& dataset, const Array& weights) {
  if (weights.rank() == 0 || weights.shape()[0] != dataset.count) {
    throw ShapeError("weighted: weights are " + to_string(weights.shape()) + ", the data set has " +
                     std::to_string(dataset.count) + " examples");
  }
  Dataset result = dataset;
  result.make = [make = dataset.make, kept = weights.cast(f32).contiguous()](Rows rows,
                                                                             std::uint64_t epoch) {
    Batch batch = make(rows, epoch);
    batch.weights = rows_of(kept, rows);
    return batch;
  };
  return result;
}

Dataset from_images(Images images, std::vector<std::uint8_t> labels) {
  const Shape shape{images.count, images.channels, images.rows, images.cols};
  if (static_cast<std::int64_t>(images.pixels.size()) != shape.element_count() ||
      static_cast<std::int64_t>(labels.size()) != images.count) {
    throw ShapeError("from_images: images " + to_string(shape) + " have " +
                     std::to_string(images.pixels.size()) + " values and " +
                     std::to_string(labels.size()) + " labels");
  }
  struct Kept {
    Images images;
    std::vector<std::uint8_t> labels;
  };
  auto kept = std::make_shared<const Kept>(std::move(images), std::move(labels));
  return {.count = kept->images.count,
          .make =
              [kept](Rows rows, std::uint64_t) {
                const Images& all = kept->images;
                const auto count = static_cast<std::int64_t>(rows.size());
                Batch batch{Array::empty({count, all.channels, all.rows, all.cols}, f32),
                            Array::empty({count}, i64)};
                gather_batch(all, rows, batch.x.data<float>());
                gather_labels(kept->labels, rows, batch.labels.data<std::int64_t>());
                return batch;
              },
          .is_in_memory = true};
}

Dataset subset(const Dataset& dataset, std::vector<std::uint32_t> rows) {
  for (const std::uint32_t row : rows) {
    if (row >= dataset.count) {
      throw ValueError("subset: row " + std::to_string(row) + " is out of range for " +
                       std::to_string(dataset.count) + " examples");
    }
  }
  return renumbered(dataset, std::move(rows));
}

std::pair<Dataset, Dataset> split(const Dataset& dataset, double part, std::uint64_t seed) {
  if (!(part > 0 && part < 1)) {
    throw ValueError("split: expected a part between 0 and 1, got " + to_string(Array(part)));
  }
  const auto taken =
      static_cast<std::int64_t>(std::llround(part * static_cast<double>(dataset.count)));
  if (taken == 0 || taken == dataset.count) {
    throw ValueError("split: a part of " + to_string(Array(part)) + " of " +
                     std::to_string(dataset.count) + " examples leaves one side empty");
  }
  Batches order(dataset.count, dataset.count, seed);
  const Rows all = order.epoch(0).batch(0);
  const auto rest = all.size() - static_cast<std::size_t>(taken);
  // Each side in the order of the data set.
  const auto side = [&](Rows rows) {
    std::vector<std::uint32_t> sorted(rows.begin(), rows.end());
    std::ranges::sort(sorted);
    return renumbered(dataset, std::move(sorted));
  };
  return {side(all.first(rest)), side(all.subspan(rest))};
}

Dataset mapped(const Dataset& dataset, std::function<void(Batch&, Rows, std::uint64_t)> change) {
  Dataset result = dataset;
  result.is_in_memory = false;
  result.make = [make = dataset.make, change = std::move(change)](Rows rows, std::uint64_t epoch) {
    Batch batch = make(rows, epoch);
    change(batch, rows, epoch);
    return batch;
  };
  return result;
}

}  // namespace kroton::data
