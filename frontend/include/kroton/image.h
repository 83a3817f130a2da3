// Pictures in files: JPEG and PNG.
//
//     kt::data::Picture photo = kt::data::read_picture("photo.jpg");
//     kt::Array x = kt::data::to_array(kt::data::resize(photo, 224, 224));  // f32 (3, 224, 224)
//     kt::data::write_png("filters.png", kt::data::tile(filters, 8, {.stretch = true}));
#pragma once
#include <kroton/array.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace kroton::data {

// One picture, one byte per value (0 dark, 255 bright), row-major: row, column, channel; one
// channel is grey, three are red, green and blue. That is how files store pictures and what crop,
// resize and the writers work on, a pixel's values side by side; networks take the channels apart,
// which to_array does (and Images, pictures of one size for networks, has done).
struct Picture {
  std::vector<std::uint8_t> pixels;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t channels = 3;
};

struct PictureOptions {
  // 1: grey, of colours 0.299 red + 0.587 green + 0.114 blue. 3: colours, of grey three equal ones.
  std::int64_t channels = 3;
  // The most rows * cols there may be: what a file's header may make a program allocate.
  std::int64_t max_pixels = std::int64_t{1} << 27;
  // For where a small picture is enough: with one of these above 0 a JPEG is read at a half, a
  // quarter or an eighth of its size, the smallest that has at least so many rows and columns. That
  // is several times faster than reading all of it.
  std::int64_t least_rows = 0;
  std::int64_t least_cols = 0;
};

// Reads a picture, JPEG or PNG by its first bytes whatever its name.
// JPEG: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK (inverted where Adobe's marker is
// there, as its programs write them). PNG: 1 to 16 bits (16 are rounded to 8), grey, colours,
// palette, interlaced. Opacity and transparent colours are dropped, as by Pillow's convert("RGB")
// and Keras: the colours are those that are stored, on no background. The orientation that Exif
// data tells is applied: the picture is upright. Colour profiles and gamma are not applied.
// ValueError for channels other than 1 and 3 and for negative least sizes. IoError, naming the file
// and what libjpeg or libpng said, for a file that is missing, damaged or truncated, of another
// format, of more than `max_pixels`, or of more pixels than a file of its size can hold (more than
// 512 pixels a byte in JPEG, more than 1032 bytes a byte in PNG). Of a JPEG in one
// scan the end marker may be missing.
[[nodiscard]] Picture read_picture(const std::filesystem::path& path,
                                   const PictureOptions& options = {});
// The same from memory; `name` is what errors name.
[[nodiscard]] Picture read_picture(std::span<const std::uint8_t> bytes, const std::string& name,
                                   const PictureOptions& options = {});

// The picture in PNG's format, 8 bits, grey or coloured. ShapeError for other than 1 or 3 channels,
// for no pixels, and for another number of values than the sizes say.
[[nodiscard]] std::vector<std::uint8_t> to_png(const Picture& picture);
// Writes a PNG file, complete or not at all. Errors as to_png, IoError where it cannot be written.
void write_png(const std::filesystem::path& path, const Picture& picture);
// The same of an array, see to_picture.
void write_png(const std::filesystem::path& path, const Array& picture);

// f32 (channels, rows, cols) with values from 0 to 1. ShapeError as to_png, for any number of
// channels from 1 on.
[[nodiscard]] Array to_array(const Picture& picture);
// f32 (rows, cols) or (1 or 3, rows, cols) with values from 0 to 1, rounded to 256 levels; values
// outside become 0 or 255. TypeError for another dtype, ShapeError for another shape or no pixels,
// ValueError for NaN.
[[nodiscard]] Picture to_picture(const Array& picture);

struct TileOptions {
  std::int64_t gap = 1;  // pixels between pictures, of value `background`
  double background = 0;
  // Each picture's least value becomes 0 and its largest 1: for filters, whose values are of both
  // signs. A picture of one value becomes 0.5.
  bool stretch = false;
};

// Pictures side by side, for showing filters and samples: f32 (n, channels, rows, cols) in rows of
// `columns` become one (channels, height, width); (n, rows, cols) become (height, width). What the
// last row lacks is background. TypeError for another dtype, ShapeError for another rank or no
// pixels, ValueError for columns below 1, a gap below 0, and with `stretch` for NaN and infinities.
[[nodiscard]] Array tile(const Array& pictures, std::int64_t columns,
                         const TileOptions& options = {});

// The picture in another size: bilinear, and on reduction averaged over as many more pixels as it
// gets smaller (no aliasing). The same values as Pillow's resize(..., Image.BILINEAR). ShapeError
// as to_array, ValueError for a size below 1 and for one of more than 2^31 values.
[[nodiscard]] Picture resize(const Picture& picture, std::int64_t rows, std::int64_t cols);
// The part of `rows` x `cols` pixels from (row, col) on. ShapeError as to_array, ValueError where
// it is not inside or has no pixels.
[[nodiscard]] Picture crop(const Picture& picture, std::int64_t row, std::int64_t col,
                           std::int64_t rows, std::int64_t cols);

}  // namespace kroton::data
