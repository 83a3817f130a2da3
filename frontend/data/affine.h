// Where the pixels of a changed picture come from.
#pragma once
#include <kroton/augment.h>

#include <cstdint>
#include <vector>

namespace kroton::data {

// Pictures in memory, a channel after the other.
struct Planes {
  std::int64_t count = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

// What lies outside.
struct Outside {
  Fill fill = Fill::nearest;
  float value = 0;
};

// Pixel (i, j) is taken from row row[0] i + row[1] j + row[2], and the same of columns.
struct PixelMap {
  double row[3] = {1, 0, 0};
  double col[3] = {0, 1, 0};
};

// Of pictures of this size.
PixelMap pixel_map(const Affine& change, std::int64_t rows, std::int64_t cols);
// ValueError, naming the operation, unless positions come out that can be counted.
void check_zoom(double low, double high, const char* operation);
void check_shift(double shift, const char* what, const char* operation);

// Memory that rows of pictures are made with.
struct RowScratch {
  std::vector<std::int64_t> rows, cols;
  std::vector<float> row_parts, col_parts;
};

// Interpolates `size.count` planes of `size.rows` x `size.cols` of what `from` has.
void sample(const float* from, const Planes& from_size, const PixelMap& map, const Outside& outside,
            float* to, const Planes& size, RowScratch& scratch);

// Where a part of a picture begins, and whether it is turned over after it is taken.
struct Part {
  std::int64_t row = 0;
  std::int64_t col = 0;
  bool upside_down = false;
  bool mirrored = false;
};

// Copies the part, of the size `size`.
void copy_part(const float* from, const Planes& from_size, const Part& part, const Outside& outside,
               float* to, const Planes& size, RowScratch& scratch);

}  // namespace kroton::data
