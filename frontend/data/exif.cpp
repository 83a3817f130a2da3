// Which way up a picture is.
#include <algorithm>
#include <cstddef>

#include "frontend/data/picture_parts.h"

namespace kroton::data {

int exif_orientation(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const bool is_little = tiff[0] == 'I';
  if (tiff[0] != tiff[1] || (!is_little && tiff[0] != 'M')) return 1;
  const auto two = [&](std::size_t at) {
    const unsigned first = tiff[at], second = tiff[at + 1];
    return is_little ? first | second << 8 : first << 8 | second;
  };
  const auto four = [&](std::size_t at) {
    const std::size_t first = two(at), second = two(at + 2);
    return is_little ? first | second << 16 : first << 16 | second;
  };
  const std::size_t directory = four(4);
  if (two(2) != 42 || directory + 2 > tiff.size()) return 1;
  constexpr std::size_t entry_bytes = 12;
  constexpr unsigned orientation_tag = 0x0112, short_type = 3;
  const std::size_t entries = two(directory);
  for (std::size_t k = 0; k < entries; ++k) {
    const std::size_t at = directory + 2 + k * entry_bytes;
    if (at + entry_bytes > tiff.size()) break;
    if (two(at) != orientation_tag) continue;
    const unsigned value = two(at + 8);
    return two(at + 2) == short_type && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Picture upright(Picture picture, int orientation) {
  if (orientation <= 1) return picture;
  // Where the pixel at the top left is stored, and how far its neighbours to the right and below.
  const std::int64_t rows = picture.rows, cols = picture.cols;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool on_its_side = is_on_its_side(orientation);
  const std::int64_t down = from_bottom ? -cols : cols, right = from_right ? -1 : 1;
  const std::int64_t first = (from_bottom ? (rows - 1) * cols : 0) + (from_right ? cols - 1 : 0);
  Picture result{{}, rows, cols, picture.channels};
  if (on_its_side) std::swap(result.rows, result.cols);
  const std::int64_t next = on_its_side ? down : right, below = on_its_side ? right : down;
  result.pixels.resize(picture.pixels.size());
  std::uint8_t* to = result.pixels.data();
  for (std::int64_t row = 0; row < result.rows; ++row) {
    for (std::int64_t col = 0; col < result.cols; ++col) {
      const auto* from =
          picture.pixels.data() + (first + row * below + col * next) * picture.channels;
      to = std::copy_n(from, picture.channels, to);
    }
  }
  return result;
}

}  // namespace kroton::data
