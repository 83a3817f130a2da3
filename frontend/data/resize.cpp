// Other sizes, and parts.
#include <kroton/error.h>
#include <kroton/image.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "frontend/data/picture_parts.h"

namespace kroton::data {

namespace {

// Weights are whole numbers of 2^-22: a sum of bytes by weights fits in 32 bits.
constexpr int weight_bits = 22;

// What pixels of the input an output pixel is made of: from `first` on, by their weights.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;
};

// A triangle of half width 1 output pixel or 1 input pixel, whichever is wider, around the centre.
std::vector<Taps> taps_of(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double width = std::max(scale, 1.0);
  std::vector<Taps> all(static_cast<std::size_t>(to));
  std::vector<double> weights;
  for (std::int64_t k = 0; k < to; ++k) {
    const double centre = (static_cast<double>(k) + 0.5) * scale;
    Taps& taps = all[static_cast<std::size_t>(k)];
    taps.first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - width + 0.5), 0);
    const std::int64_t end =
        std::min<std::int64_t>(static_cast<std::int64_t>(centre + width + 0.5), from);
    weights.clear();
    double sum = 0;
    for (std::int64_t at = taps.first; at < end; ++at) {
      const double distance = std::abs((static_cast<double>(at) - centre + 0.5) / width);
      weights.push_back(std::max(1.0 - distance, 0.0));
      sum += weights.back();
    }
    for (const double weight : weights) {
      taps.weights.push_back(static_cast<std::int32_t>(0.5 + weight / sum * (1 << weight_bits)));
    }
  }
  return all;
}

std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

constexpr std::int32_t half = 1 << (weight_bits - 1);

template <std::int64_t Channels>
void resize_row(const std::uint8_t* from, std::uint8_t* to, const std::vector<Taps>& all) {
  for (const Taps& taps : all) {
    const std::uint8_t* at = from + taps.first * Channels;
    std::int32_t sums[Channels];
    std::fill_n(sums, Channels, half);
    for (const std::int32_t weight : taps.weights) {
      for (std::int64_t c = 0; c < Channels; ++c) sums[c] += at[c] * weight;
      at += Channels;
    }
    for (std::int64_t c = 0; c < Channels; ++c) *to++ = rounded(sums[c]);
  }
}

void resize_row(const std::uint8_t* from, std::uint8_t* to, const std::vector<Taps>& all,
                std::int64_t channels) {
  for (const Taps& taps : all) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::uint8_t* at = from + taps.first * channels + c;
      std::int32_t sum = half;
      for (const std::int32_t weight : taps.weights) {
        sum += *at * weight;
        at += channels;
      }
      *to++ = rounded(sum);
    }
  }
}

Picture with_cols(const Picture& picture, std::int64_t cols) {
  const std::vector<Taps> taps = taps_of(picture.cols, cols);
  const std::int64_t channels = picture.channels;
  Picture result{{}, picture.rows, cols, channels};
  result.pixels.resize(static_cast<std::size_t>(picture.rows * cols * channels));
  for (std::int64_t row = 0; row < picture.rows; ++row) {
    const std::uint8_t* from = picture.pixels.data() + row * picture.cols * channels;
    std::uint8_t* to = result.pixels.data() + row * cols * channels;
    if (channels == 1) {
      resize_row<1>(from, to, taps);
    } else if (channels == 3) {
      resize_row<3>(from, to, taps);
    } else {
      resize_row(from, to, taps, channels);
    }
  }
  return result;
}

Picture with_rows(const Picture& picture, std::int64_t rows) {
  const auto width = static_cast<std::size_t>(picture.cols * picture.channels);
  Picture result{{}, rows, picture.cols, picture.channels};
  result.pixels.resize(static_cast<std::size_t>(rows) * width);
  std::vector<std::int32_t> sums(width);
  std::uint8_t* to = result.pixels.data();
  for (const Taps& taps : taps_of(picture.rows, rows)) {
    std::ranges::fill(sums, half);
    const std::uint8_t* from = picture.pixels.data() + static_cast<std::size_t>(taps.first) * width;
    for (const std::int32_t weight : taps.weights) {
      for (std::size_t k = 0; k < width; ++k) sums[k] += from[k] * weight;
      from += width;
    }
    to = std::ranges::transform(sums, to, rounded).out;
  }
  return result;
}

}  // namespace

Picture resize(const Picture& picture, std::int64_t rows, std::int64_t cols) {
  check_picture(picture, "resize");
  constexpr std::int64_t most = std::int64_t{1} << 31;
  const auto fits = [&](std::int64_t height, std::int64_t width) {
    return height <= most / width / picture.channels;
  };
  if (rows < 1 || cols < 1) {
    throw ValueError("resize: expected a size of 1 x 1 or more, got " + std::to_string(rows) +
                     " x " + std::to_string(cols));
  }
  // Across first, but where that only makes more to be reduced.
  const bool down_first = rows < picture.rows && cols > picture.cols;
  if (!fits(rows, cols) || (!down_first && !fits(picture.rows, cols))) {
    throw ValueError("resize: from " + size_of_picture(picture.rows, picture.cols) + " to " +
                     size_of_picture(rows, cols) + " is more than 2^31 values");
  }
  if (rows == picture.rows && cols == picture.cols) return picture;
  if (cols == picture.cols) return with_rows(picture, rows);
  if (rows == picture.rows) return with_cols(picture, cols);
  if (down_first) return with_cols(with_rows(picture, rows), cols);
  return with_rows(with_cols(picture, cols), rows);
}

Picture crop(const Picture& picture, std::int64_t row, std::int64_t col, std::int64_t rows,
             std::int64_t cols) {
  check_picture(picture, "crop");
  if (rows < 1 || cols < 1 || row < 0 || col < 0 || row > picture.rows - rows ||
      col > picture.cols - cols) {
    throw ValueError("crop: " + size_of_picture(rows, cols) + " from (" + std::to_string(row) +
                     ", " + std::to_string(col) + ") on are not inside a picture of " +
                     size_of_picture(picture.rows, picture.cols));
  }
  Picture result{{}, rows, cols, picture.channels};
  const std::int64_t width = cols * picture.channels;
  result.pixels.reserve(static_cast<std::size_t>(rows * width));
  for (std::int64_t k = row; k < row + rows; ++k) {
    const auto* from = picture.pixels.data() + (k * picture.cols + col) * picture.channels;
    result.pixels.insert(result.pixels.end(), from, from + width);
  }
  return result;
}

}  // namespace kroton::data
