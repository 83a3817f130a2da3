#include "frontend/data/affine.h"

#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace kroton::data {

namespace {

// The place of a pixel along an axis of `size`, or -1 for a constant one.
std::int64_t resolved(std::int64_t at, std::int64_t size, Fill fill) {
  if (at >= 0 && at < size) return at;
  const auto modulo = [](std::int64_t a, std::int64_t b) { return (a % b + b) % b; };
  switch (fill) {
    case Fill::constant:
      return -1;
    case Fill::nearest:
      return at < 0 ? 0 : size - 1;
    case Fill::reflect: {
      const std::int64_t place = modulo(at, 2 * size);
      return place < size ? place : 2 * size - 1 - place;
    }
    case Fill::wrap:
      return modulo(at, size);
  }
  return -1;
}

float pixel(const float* plane, const Planes& size, std::int64_t row, std::int64_t col,
            const Outside& outside) {
  const std::int64_t r = resolved(row, size.rows, outside.fill);
  const std::int64_t c = resolved(col, size.cols, outside.fill);
  return r < 0 || c < 0 ? outside.value : plane[r * size.cols + c];
}

float between(float a, float b, float part) { return a + (b - a) * part; }

// The whole number below, without a call.
std::int64_t floor_of(double x) {
  const auto whole = static_cast<std::int64_t>(x);
  return whole - (x < static_cast<double>(whole) ? 1 : 0);
}

}  // namespace

PixelMap pixel_map(const Affine& change, std::int64_t rows, std::int64_t cols) {
  constexpr double degree = std::numbers::pi / 180;
  const double turn = change.rotation * degree, shear = change.shear * degree;
  const double cosine = std::cos(turn), sine = std::sin(turn);
  const double slant = -std::sin(shear), shrink = std::cos(shear);
  const auto centre = [](std::int64_t size) { return static_cast<double>(size - 1) / 2; };
  // A row of rotation * shift * shear * zoom, with the centre at its place.
  const auto line = [&](double* to, double by_row, double by_col, double middle) {
    to[0] = by_row * change.row_zoom;
    to[1] = (by_row * slant + by_col * shrink) * change.col_zoom;
    to[2] = by_row * change.row_shift + by_col * change.col_shift + middle - to[0] * centre(rows) -
            to[1] * centre(cols);
  };
  PixelMap map;
  line(map.row, cosine, -sine, centre(rows));
  line(map.col, sine, cosine, centre(cols));
  return map;
}

void check_zoom(double low, double high, const char* operation) {
  constexpr double most = 1e6;
  if (low > 0 && low <= high && high <= most) return;
  if (low > high) {
    throw ValueError(std::string(operation) + ": the zoom is from " + to_string(Array(low)) +
                     " to " + to_string(Array(high)) + ": its low is above its high");
  }
  throw ValueError(std::string(operation) + ": expected a zoom above 0 and up to 1e6, got " +
                   to_string(Array(low)) + (low == high ? "" : " to " + to_string(Array(high))));
}

void check_shift(double shift, const char* what, const char* operation) {
  constexpr double most = 0x1p31;
  if (std::abs(shift) <= most) return;
  throw ValueError(std::string(operation) + ": expected a finite " + what + " below 2^31, got " +
                   to_string(Array(shift)));
}

void sample(const float* from, const Planes& from_size, const PixelMap& map, const Outside& outside,
            float* to, const Planes& size, RowScratch& scratch) {
  const auto width = static_cast<std::size_t>(size.cols);
  scratch.rows.resize(width);
  scratch.cols.resize(width);
  scratch.row_parts.resize(width);
  scratch.col_parts.resize(width);
  const std::int64_t stride = from_size.cols, plane = from_size.rows * from_size.cols;
  const auto last_row = static_cast<std::uint64_t>(from_size.rows - 1);
  const auto last_col = static_cast<std::uint64_t>(from_size.cols - 1);
  for (std::int64_t i = 0; i < size.rows; ++i) {
    const double row_start = map.row[0] * static_cast<double>(i) + map.row[2];
    const double col_start = map.col[0] * static_cast<double>(i) + map.col[2];
    for (std::size_t j = 0; j < width; ++j) {
      const double row = row_start + map.row[1] * static_cast<double>(j);
      const double col = col_start + map.col[1] * static_cast<double>(j);
      scratch.rows[j] = floor_of(row);
      scratch.cols[j] = floor_of(col);
      scratch.row_parts[j] = static_cast<float>(row - static_cast<double>(scratch.rows[j]));
      scratch.col_parts[j] = static_cast<float>(col - static_cast<double>(scratch.cols[j]));
    }
    for (std::int64_t k = 0; k < size.count; ++k) {
      const float* source = from + k * plane;
      float* line = to + (k * size.rows + i) * size.cols;
      for (std::size_t j = 0; j < width; ++j) {
        const std::int64_t row = scratch.rows[j], col = scratch.cols[j];
        const float down = scratch.row_parts[j], right = scratch.col_parts[j];
        if (static_cast<std::uint64_t>(row) < last_row &&
            static_cast<std::uint64_t>(col) < last_col) {
          const float* at = source + row * stride + col;
          line[j] = between(between(at[0], at[1], right),
                            between(at[stride], at[stride + 1], right), down);
        } else {
          const auto value = [&](std::int64_t r, std::int64_t c) {
            return pixel(source, from_size, r, c, outside);
          };
          line[j] = between(between(value(row, col), value(row, col + 1), right),
                            between(value(row + 1, col), value(row + 1, col + 1), right), down);
        }
      }
    }
  }
}

void copy_part(const float* from, const Planes& from_size, const Part& part, const Outside& outside,
               float* to, const Planes& size, RowScratch& scratch) {
  // The columns from `begin` to `end` are a piece of a row of `from`; the others lie outside.
  const std::int64_t begin = std::clamp<std::int64_t>(-part.col, 0, size.cols);
  const std::int64_t end = std::clamp<std::int64_t>(from_size.cols - part.col, begin, size.cols);
  scratch.cols.resize(static_cast<std::size_t>(size.cols));
  for (std::int64_t col = 0; col < size.cols; ++col) {
    if (col == begin) col = end;
    if (col >= size.cols) break;
    scratch.cols[static_cast<std::size_t>(col)] =
        resolved(part.col + col, from_size.cols, outside.fill);
  }
  for (std::int64_t k = 0; k < size.count; ++k) {
    for (std::int64_t row = 0; row < size.rows; ++row) {
      const std::int64_t to_row = part.upside_down ? size.rows - 1 - row : row;
      float* line = to + (k * size.rows + to_row) * size.cols;
      const std::int64_t from_row = resolved(part.row + row, from_size.rows, outside.fill);
      if (from_row < 0) {
        std::fill_n(line, size.cols, outside.value);
        continue;
      }
      const float* source = from + (k * from_size.rows + from_row) * from_size.cols;
      const auto fill = [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t col = first; col < last; ++col) {
          const std::int64_t at = scratch.cols[static_cast<std::size_t>(col)];
          line[part.mirrored ? size.cols - 1 - col : col] = at < 0 ? outside.value : source[at];
        }
      };
      fill(0, begin);
      fill(end, size.cols);
      const float* piece = source + part.col + begin;
      if (part.mirrored) {
        std::reverse_copy(piece, piece + (end - begin), line + size.cols - end);
      } else {
        std::copy_n(piece, end - begin, line + begin);
      }
    }
  }
}

Array affine(const Array& pictures, const Affine& change, Fill fill, double fill_value) {
  if (pictures.dtype() != f32) {
    throw TypeError("affine: expected pictures of f32, got " +
                    std::string(name_of(pictures.dtype())));
  }
  const Shape& shape = pictures.shape();
  if (shape.rank() < 2) {
    throw ShapeError("affine: expected pictures (..., rows, cols), got " + to_string(shape));
  }
  for (const double angle : {change.rotation, change.shear}) {
    if (!std::isfinite(angle)) {
      throw ValueError("affine: expected a finite angle, got " + to_string(Array(angle)));
    }
  }
  check_shift(change.row_shift, "row_shift", "affine");
  check_shift(change.col_shift, "col_shift", "affine");
  check_zoom(change.row_zoom, change.row_zoom, "affine");
  check_zoom(change.col_zoom, change.col_zoom, "affine");
  Array result = Array::empty(shape);
  if (result.size() == 0) return result;
  const std::int64_t rows = shape[shape.rank() - 2], cols = shape[shape.rank() - 1];
  const Planes size{pictures.size() / (rows * cols), rows, cols};
  const Array values = pictures.contiguous();
  RowScratch scratch;
  sample(values.data<float>().data(), size, pixel_map(change, rows, cols),
         {fill, static_cast<float>(fill_value)}, result.data<float>().data(), size, scratch);
  return result;
}

}  // namespace kroton::data
