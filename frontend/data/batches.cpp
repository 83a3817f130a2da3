#include <kroton/data.h>
#include <kroton/error.h>
#include <kroton/shape.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "frontend/data/random.h"

namespace kroton::data {

namespace {

// The row as an index, checked against the number of rows there are.
std::size_t checked_row(std::uint32_t row, std::uint64_t count, const char* operation) {
  if (row >= count) {
    throw ValueError(std::string(operation) + ": row " + std::to_string(row) +
                     " is out of range for " + std::to_string(count) + " rows");
  }
  return row;
}

}  // namespace

Batches::Batches(std::int64_t count, std::int64_t batch_size, std::uint64_t seed)
    : batch_size_(batch_size), seed_(seed) {
  if (count < 0 || count > std::numeric_limits<std::uint32_t>::max()) {
    throw ValueError("Batches: expected a count between 0 and 4294967295, got " +
                     std::to_string(count));
  }
  if (batch_size < 1) {
    throw ValueError("Batches: expected a batch size of at least 1, got " +
                     std::to_string(batch_size));
  }
  order_.resize(static_cast<std::size_t>(count));
  std::iota(order_.begin(), order_.end(), 0U);
}

const Batches& Batches::epoch(std::uint64_t number) & {
  epoch_ = number + 1;
  // Each epoch shuffles the ascending order, so that it does not depend on the epochs before.
  std::iota(order_.begin(), order_.end(), 0U);
  Random random(seed_, number);
  for (std::size_t left = order_.size(); left > 1; --left) {
    std::swap(order_[left - 1], order_[random.below(static_cast<std::uint32_t>(left))]);
  }
  return *this;
}

std::int64_t Batches::batch_count() const noexcept {
  const auto count = static_cast<std::int64_t>(order_.size());
  return count / batch_size_ + (count % batch_size_ != 0 ? 1 : 0);
}

std::span<const std::uint32_t> Batches::batch(std::int64_t index) const {
  if (index < 0 || index >= batch_count()) {
    throw ValueError("Batches: batch " + std::to_string(index) + " is out of range for " +
                     std::to_string(batch_count()) + " batches");
  }
  const auto all = std::span<const std::uint32_t>(order_);
  const auto first = static_cast<std::size_t>(index * batch_size_);
  return all.subspan(first, std::min(static_cast<std::size_t>(batch_size_), all.size() - first));
}

void gather_batch(const Images& images, std::span<const std::uint32_t> rows, std::span<float> out) {
  const std::string size =
      (images.channels == 1 ? "" : std::to_string(images.channels) + " channels of ") +
      std::to_string(images.rows) + " x " + std::to_string(images.cols);
  const std::int64_t all =
      Shape{images.count, images.channels, images.rows, images.cols}.element_count();
  if (static_cast<std::int64_t>(images.pixels.size()) != all) {
    throw ShapeError("gather_batch: expected " + std::to_string(all) + " pixels of " +
                     std::to_string(images.count) + " images of " + size + ", got " +
                     std::to_string(images.pixels.size()));
  }
  const auto pixels = static_cast<std::size_t>(images.channels * images.rows * images.cols);
  if (out.size() != rows.size() * pixels) {
    throw ShapeError("gather_batch: expected room for " + std::to_string(rows.size()) +
                     " images of " + size + " pixels, " + std::to_string(rows.size() * pixels) +
                     " floats, got " + std::to_string(out.size()));
  }
  float* to = out.data();
  for (const std::uint32_t row : rows) {
    const std::size_t image =
        checked_row(row, static_cast<std::uint64_t>(images.count), "gather_batch");
    const std::uint8_t* from = images.pixels.data() + image * pixels;
    for (std::size_t i = 0; i < pixels; ++i) {
      *to++ = static_cast<float>(from[i]) * (1.0F / 255.0F);
    }
  }
}

void gather_labels(std::span<const std::uint8_t> labels, std::span<const std::uint32_t> rows,
                   std::span<std::int64_t> out) {
  if (out.size() != rows.size()) {
    throw ShapeError("gather_labels: expected room for " + std::to_string(rows.size()) +
                     " labels, got " + std::to_string(out.size()));
  }
  std::ranges::transform(rows, out.begin(), [&](std::uint32_t row) {
    return std::int64_t{labels[checked_row(row, labels.size(), "gather_labels")]};
  });
}

}  // namespace kroton::data
