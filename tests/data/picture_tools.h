// Pictures in files, as others write them and as libjpeg and libpng can.
#pragma once
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

// They need <cstdio> before them.
#include <jpeglib.h>
#include <png.h>

#include "tests/tools/data_files.h"
#include "tests/tools/places.h"

namespace pictures {

namespace kt = kroton;
using kt::data::Picture;

// A file, and what Pillow reads in it.
struct Sample {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  Bytes file, colours, grey;
};

// The lines of picture_files.txt.
inline const std::map<std::string, Sample>& samples() {
  static const std::map<std::string, Sample> all = [] {
    std::map<std::string, Sample> read;
    std::ifstream stream(places::source_dir() + "/tests/data/picture_files.txt");
    const auto bytes = [&stream] {
      std::string text;
      stream >> text;
      Bytes found;
      for (std::size_t k = 0; text != "-" && k < text.size(); k += 2) {
        found.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(k, 2), nullptr, 16)));
      }
      return found;
    };
    for (std::string name; stream >> name;) {
      Sample& sample = read[name];
      stream >> sample.rows >> sample.cols;
      sample.file = bytes();
      sample.colours = bytes();
      sample.grey = bytes();
    }
    return read;
  }();
  REQUIRE(!all.empty());
  return all;
}

// The picture of picture_files.py.
inline Picture pattern(std::int64_t rows, std::int64_t cols) {
  Picture picture{{}, rows, cols, 3};
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t x = 0; x < cols; ++x) {
      for (const std::int64_t value : {x * 11, y * 17, x * y * 3 + 40}) {
        picture.pixels.push_back(static_cast<std::uint8_t>(value % 256));
      }
    }
  }
  return picture;
}

// The largest difference of two bytes; 256 where there are not as many.
inline int difference(const Bytes& a, const Bytes& b) {
  if (a.size() != b.size()) return 256;
  int largest = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    largest = std::max(largest, std::abs(int{a[k]} - int{b[k]}));
  }
  return largest;
}

struct PngKind {
  int type = PNG_COLOR_TYPE_RGB;
  int bits = 8;
  bool interlaced = false;
  std::vector<png_color> palette = {};
};

// A PNG file of samples as they are stored, `per_pixel` of them for each pixel.
inline Bytes png_file(const PngKind& kind, std::int64_t rows, std::int64_t cols, int per_pixel,
                      const std::vector<unsigned>& values) {
  Bytes bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp from, png_bytep data, std::size_t count) {
        auto& to = *static_cast<Bytes*>(png_get_io_ptr(from));
        to.insert(to.end(), data, data + count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(cols), static_cast<png_uint_32>(rows), kind.bits,
               kind.type, kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!kind.palette.empty()) {
    png_set_PLTE(png, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
  }
  png_write_info(png, info);
  const auto per_row = static_cast<std::size_t>(cols * per_pixel);
  std::vector<Bytes> lines;
  std::vector<png_bytep> starts;
  for (std::int64_t row = 0; row < rows; ++row) {
    Bytes& line = lines.emplace_back((per_row * static_cast<std::size_t>(kind.bits) + 7) / 8);
    for (std::size_t k = 0; k < per_row; ++k) {
      const unsigned value = values[static_cast<std::size_t>(row) * per_row + k];
      for (int bit = 0; bit < kind.bits; ++bit) {
        const std::size_t at =
            k * static_cast<std::size_t>(kind.bits) + static_cast<std::size_t>(bit);
        const unsigned is_set = value >> (kind.bits - 1 - bit) & 1U;
        line[at / 8] = static_cast<std::uint8_t>(line[at / 8] | is_set << (7 - at % 8));
      }
    }
  }
  for (Bytes& line : lines) starts.push_back(line.data());
  png_write_image(png, starts.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

struct JpegKind {
  J_COLOR_SPACE space = JCS_RGB;  // of the values
  J_COLOR_SPACE stored = JCS_YCbCr;
  int channels = 3;
  int quality = 100;
  bool has_adobe = false;
  bool is_progressive = false;
  std::vector<jpeg_scan_info> scans = {};  // of a progressive one
};

inline Bytes jpeg_file(const JpegKind& kind, std::int64_t rows, std::int64_t cols,
                       const Bytes& values) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_height = static_cast<JDIMENSION>(rows);
  info.image_width = static_cast<JDIMENSION>(cols);
  info.input_components = kind.channels;
  info.in_color_space = kind.space;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, kind.stored);
  jpeg_set_quality(&info, kind.quality, TRUE);
  info.write_Adobe_marker = kind.has_adobe ? TRUE : FALSE;
  if (kind.is_progressive) jpeg_simple_progression(&info);
  if (!kind.scans.empty()) {
    info.scan_info = kind.scans.data();
    info.num_scans = static_cast<int>(kind.scans.size());
  }
  jpeg_start_compress(&info, TRUE);
  for (std::int64_t row = 0; row < rows; ++row) {
    auto* line = const_cast<std::uint8_t*>(values.data()) + row * cols * kind.channels;
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(data, data + size);
  jpeg_destroy_compress(&info);
  std::free(data);
  return bytes;
}

}  // namespace pictures
