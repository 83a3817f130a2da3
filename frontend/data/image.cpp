// Pictures read and written, and as arrays.
#include <kroton/error.h>
#include <kroton/image.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "frontend/data/picture_parts.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

bool begins_with(std::span<const std::uint8_t> bytes, std::string_view text) {
  return bytes.size() >= text.size() &&
         std::equal(text.begin(), text.end(), bytes.begin(),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

// What a file is that is neither JPEG nor PNG, as far as that is known.
std::string known_format(std::span<const std::uint8_t> bytes) {
  using namespace std::string_view_literals;
  if (bytes.empty()) return "an empty file";
  if (begins_with(bytes, "GIF8")) return "a GIF file";
  if (begins_with(bytes, "BM")) return "a BMP file";
  if (begins_with(bytes, "II*\0"sv) || begins_with(bytes, "MM\0*"sv)) return "a TIFF file";
  if (begins_with(bytes, "RIFF") && bytes.size() > 12 && begins_with(bytes.subspan(8), "WEBP")) {
    return "a WebP file";
  }
  std::string text = "a file that begins with";
  for (const std::uint8_t byte : bytes.first(std::min<std::size_t>(bytes.size(), 4))) {
    constexpr std::string_view digits = "0123456789abcdef";
    text += {' ', digits[byte >> 4], digits[byte & 15]};
  }
  return text;
}

Picture with_channels(Picture picture, std::int64_t channels) {
  if (picture.channels == channels) return picture;
  Picture result{{}, picture.rows, picture.cols, channels};
  const std::size_t count = picture.pixels.size() / static_cast<std::size_t>(picture.channels);
  result.pixels.resize(count * static_cast<std::size_t>(channels));
  const std::uint8_t* from = picture.pixels.data();
  std::uint8_t* to = result.pixels.data();
  if (channels == 3) {
    for (std::size_t k = 0; k < count; ++k) to = std::fill_n(to, 3, from[k]);
  } else {
    // ITU-R BT.601, in 16 bits after the point.
    for (std::size_t k = 0; k < count; ++k, from += 3) {
      to[k] = static_cast<std::uint8_t>(
          (19595U * from[0] + 38470U * from[1] + 7471U * from[2] + 0x8000U) >> 16);
    }
  }
  return result;
}

void check_f32(const Array& array, const char* operation) {
  if (array.dtype() != f32) {
    throw TypeError(std::string(operation) + ": expected pictures of f32, got " +
                    std::string(name_of(array.dtype())));
  }
}

}  // namespace

void fail_reading(const std::string& name, const std::string& what) {
  throw IoError(name + ": " + what);
}

std::string size_of_picture(std::int64_t rows, std::int64_t cols) {
  return std::to_string(rows) + " rows of " + std::to_string(cols) + " pixels";
}

void check_size(const std::string& name, std::int64_t rows, std::int64_t cols,
                const PictureOptions& options) {
  if (rows * cols <= options.max_pixels) return;
  fail_reading(name, size_of_picture(rows, cols) + ", more than the " +
                         std::to_string(options.max_pixels) + " that max_pixels allows");
}

void check_picture(const Picture& picture, const char* operation) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  const auto is_size = [](std::int64_t size) { return size >= 1 && size < most; };
  const bool are_sizes =
      is_size(picture.rows) && is_size(picture.cols) && is_size(picture.channels);
  const auto values = static_cast<std::int64_t>(picture.pixels.size());
  // Divided, for the product of three may not fit.
  if (are_sizes && values % picture.channels == 0 &&
      values / picture.channels == picture.rows * picture.cols) {
    return;
  }
  throw ShapeError(std::string(operation) + ": a picture of " +
                   size_of_picture(picture.rows, picture.cols) + " and " +
                   std::to_string(picture.channels) + " channels has " + std::to_string(values) +
                   " values" + (are_sizes ? "" : "; expected at least one pixel"));
}

Picture read_picture(std::span<const std::uint8_t> bytes, const std::string& name,
                     const PictureOptions& options) {
  if (options.channels != 1 && options.channels != 3) {
    throw ValueError("read_picture: expected 1 or 3 channels, got " +
                     std::to_string(options.channels));
  }
  if (options.least_rows < 0 || options.least_cols < 0) {
    throw ValueError("read_picture: expected a least size of 0 x 0 or more, got " +
                     std::to_string(options.least_rows) + " x " +
                     std::to_string(options.least_cols));
  }
  int orientation = 1;
  Picture picture;
  if (begins_with(bytes, "\xff\xd8\xff")) {
    picture = decode_jpeg(bytes, name, options, orientation);
  } else if (begins_with(bytes, "\x89PNG\r\n\x1a\n")) {
    picture = decode_png(bytes, name, options, orientation);
  } else {
    fail_reading(name, "expected a JPEG or PNG file, got " + known_format(bytes));
  }
  return upright(with_channels(std::move(picture), options.channels), orientation);
}

Picture read_picture(const std::filesystem::path& path, const PictureOptions& options) {
  const files::InputFile file(path);
  std::vector<std::uint8_t> bytes(file.size());
  file.read(0, std::as_writable_bytes(std::span(bytes)), "picture");
  return read_picture(bytes, path.string(), options);
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  const std::vector<std::uint8_t> bytes = to_png(picture);
  files::OutputFile file(path);
  file.write(std::as_bytes(std::span(bytes)));
  file.commit();
}

void write_png(const std::filesystem::path& path, const Array& picture) {
  write_png(path, to_picture(picture));
}

float* write_planes(const Picture& picture, float* to) {
  const std::int64_t count = picture.rows * picture.cols;
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    const std::uint8_t* from = picture.pixels.data() + channel;
    for (std::int64_t k = 0; k < count; ++k) {
      *to++ = static_cast<float>(from[k * picture.channels]) * (1.0F / 255.0F);
    }
  }
  return to;
}

Array to_array(const Picture& picture) {
  check_picture(picture, "to_array");
  Array result = Array::empty({picture.channels, picture.rows, picture.cols});
  write_planes(picture, result.data<float>().data());
  return result;
}

Picture to_picture(const Array& picture) {
  check_f32(picture, "to_picture");
  const Shape& shape = picture.shape();
  const bool is_plane = shape.rank() == 2;
  if (!is_plane && (shape.rank() != 3 || (shape[0] != 1 && shape[0] != 3))) {
    throw ShapeError("to_picture: expected (rows, cols) or (1 or 3, rows, cols), got " +
                     to_string(shape));
  }
  if (picture.size() == 0) throw ShapeError("to_picture: no pixels: " + to_string(shape));
  Picture result{{}, shape[is_plane ? 0 : 1], shape[is_plane ? 1 : 2], is_plane ? 1 : shape[0]};
  result.pixels.resize(static_cast<std::size_t>(picture.size()));
  const Array values = picture.contiguous();
  const float* from = values.data<float>().data();
  const std::int64_t count = result.rows * result.cols;
  for (std::int64_t channel = 0; channel < result.channels; ++channel) {
    std::uint8_t* to = result.pixels.data() + channel;
    for (std::int64_t k = 0; k < count; ++k, to += result.channels) {
      const float value = *from++;
      if (std::isnan(value)) {
        throw ValueError("to_picture: NaN at row " + std::to_string(k / result.cols) + ", column " +
                         std::to_string(k % result.cols) + ", channel " + std::to_string(channel));
      }
      *to = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 1.0F) * 255.0F + 0.5F);
    }
  }
  return result;
}

Array tile(const Array& pictures, std::int64_t columns, const TileOptions& options) {
  check_f32(pictures, "tile");
  const Shape& shape = pictures.shape();
  if (shape.rank() != 3 && shape.rank() != 4) {
    throw ShapeError("tile: expected (n, channels, rows, cols) or (n, rows, cols), got " +
                     to_string(shape));
  }
  if (pictures.size() == 0) throw ShapeError("tile: no pixels: " + to_string(shape));
  constexpr std::int64_t most = std::int64_t{1} << 31;
  if (columns < 1) {
    throw ValueError("tile: expected at least 1 column, got " + std::to_string(columns));
  }
  if (options.gap < 0 || options.gap > most) {
    throw ValueError("tile: expected a gap of 0 pixels or more, got " +
                     std::to_string(options.gap));
  }
  const std::int64_t count = shape[0], channels = shape.rank() == 4 ? shape[1] : 1;
  const std::int64_t rows = shape[shape.rank() - 2], cols = shape[shape.rank() - 1];
  const std::int64_t across = std::min(columns, count), down = (count + across - 1) / across;
  const std::int64_t height = down * (rows + options.gap) - options.gap;
  const std::int64_t width = across * (cols + options.gap) - options.gap;
  Array result =
      Array::full(shape.rank() == 4 ? Shape{channels, height, width} : Shape{height, width},
                  options.background);
  const Array values = pictures.contiguous();
  const float* from = values.data<float>().data();
  float* to = result.data<float>().data();
  for (std::int64_t k = 0; k < count; ++k) {
    const auto all = std::span(from, static_cast<std::size_t>(channels * rows * cols));
    float scale = 1, shift = 0;
    if (options.stretch) {
      if (!std::ranges::all_of(all, [](float value) { return std::isfinite(value); })) {
        throw ValueError("tile: picture " + std::to_string(k) +
                         " has values that are not finite, which stretch cannot map to 0 to 1");
      }
      const auto [least, largest] = std::ranges::minmax(all);
      // Halved, so that the difference is finite.
      const float range = largest / 2 - least / 2;
      scale = range > 0 ? 0.5F / range : 0;
      shift = range > 0 ? -least * scale : 0.5F;
    }
    for (std::int64_t line = 0; line < channels * rows; ++line, from += cols) {
      const std::int64_t row = k / across * (rows + options.gap) + line % rows;
      float* start = to + (line / rows * height + row) * width + k % across * (cols + options.gap);
      for (std::int64_t col = 0; col < cols; ++col) start[col] = from[col] * scale + shift;
    }
  }
  return result;
}

}  // namespace kroton::data
