// What reading a picture is made of.
#pragma once
#include <kroton/image.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

namespace kroton::data {

// IoError about a picture in a file.
[[noreturn]] void fail_reading(const std::string& name, const std::string& what);

// As stored: 1 channel or 3, not turned. `orientation` becomes what Exif data tells, else 1.
Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name,
                    const PictureOptions& options, int& orientation);
Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name,
                   const PictureOptions& options, int& orientation);

// Has `read` fill the rows of a picture, some at a time: memory is used as there are data for it,
// whatever the header says.
template <class Read>
void read_rows(Picture& picture, Read read) {
  constexpr std::size_t at_once = std::size_t{1} << 20;
  const auto row_bytes = static_cast<std::size_t>(picture.cols * picture.channels);
  const auto most = static_cast<std::int64_t>(at_once / row_bytes + 1);
  picture.pixels.reserve(static_cast<std::size_t>(picture.rows) * row_bytes);
  for (std::int64_t row = 0; row < picture.rows; row += most) {
    const std::int64_t count = std::min(most, picture.rows - row);
    const std::size_t before = picture.pixels.size();
    picture.pixels.resize(before + static_cast<std::size_t>(count) * row_bytes);
    read(picture.pixels.data() + before, row_bytes, count);
  }
}

// IoError for more pixels than the options allow. Sizes are below 2^31.
void check_size(const std::string& name, std::int64_t rows, std::int64_t cols,
                const PictureOptions& options);

// The orientation, 1 to 8, in Exif data, which begin with a TIFF header; 1 where it tells none.
int exif_orientation(std::span<const std::uint8_t> tiff);
// Whether rows become columns.
inline bool is_on_its_side(int orientation) { return orientation >= 5; }
// The picture upright, of an orientation from 1 to 8.
Picture upright(Picture picture, int orientation);

// ShapeError, naming the operation, unless there are pixels, and as many values as the sizes say.
void check_picture(const Picture& picture, const char* operation);
// The channels one after the other, with values from 0 to 1. Returns the end of them.
float* write_planes(const Picture& picture, float* to);
std::string size_of_picture(std::int64_t rows, std::int64_t cols);

}  // namespace kroton::data
