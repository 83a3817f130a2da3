// Pictures changed at random: where pixels come from, and that what is drawn is what it should be.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <numbers>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/places.h"

namespace {

namespace kt = kroton;
using kt::Array;
using kt::Shape;
using kt::data::Affine;
using kt::data::augmented;
using kt::data::AugmentOptions;
using kt::data::Batch;
using kt::data::Dataset;
using kt::data::Fill;
using kt::data::Loader;

// Pictures whose values are functions of (picture, channel, row, column).
template <class Value>
Dataset pictures(const Shape& shape, Value value) {
  Array x = Array::empty(shape);
  Array labels = Array::empty({shape[0]}, kt::i64);
  float* to = x.data<float>().data();
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    labels.data<std::int64_t>()[static_cast<std::size_t>(n)] = n % 3;
    for (std::int64_t c = 0; c < shape[1]; ++c) {
      for (std::int64_t i = 0; i < shape[2]; ++i) {
        for (std::int64_t j = 0; j < shape[3]; ++j) *to++ = static_cast<float>(value(n, c, i, j));
      }
    }
  }
  return kt::data::from_arrays(x, labels);
}

// Each pixel has a value of its own.
Dataset numbered(const Shape& shape) {
  return pictures(shape, [&](auto n, auto c, auto i, auto j) {
    return ((n * shape[1] + c) * shape[2] + i) * shape[3] + j;
  });
}

Batch all_of(const Dataset& data, std::uint64_t epoch = 0) {
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(data.count));
  std::iota(rows.begin(), rows.end(), 0U);
  return data.make(rows, epoch);
}

// A value of picture n, channel c, row i, column j.
float at(const Array& x, std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
  const Shape& s = x.shape();
  return x.data<float>()[static_cast<std::size_t>(((n * s[1] + c) * s[2] + i) * s[3] + j)];
}

const AugmentOptions everything{.seed = 3,
                                .rotation = 20,
                                .width_shift = 0.2,
                                .height_shift = 2,
                                .shear = 10,
                                .zoom = {0.8, 1.3},
                                .crop_rows = 7,
                                .crop_cols = 6,
                                .padding = 1,
                                .fill = Fill::reflect,
                                .horizontal_flip = true,
                                .vertical_flip = true,
                                .channel_shift = 10,
                                .brightness = {0.5, 1.5},
                                .white = 1e6,
                                .rescale = 0.01,
                                .samplewise_center = true,
                                .samplewise_std = true,
                                .mean = {0.1, 0.2},
                                .stddev = {2, 3},
                                .cutout = 2,
                                .cutout_value = 7};

}  // namespace

TEST_CASE("augment: affine changes as scipy and Keras make them") {
  const std::map<std::string, Fill> fills{{"constant", Fill::constant},
                                          {"nearest", Fill::nearest},
                                          {"reflect", Fill::reflect},
                                          {"wrap", Fill::wrap}};
  constexpr std::int64_t rows = 5, cols = 7;
  Array picture = Array::empty({2, rows, cols});
  for (int k = 0; k < rows * cols; ++k) {
    const auto value = static_cast<float>((k * 37 + 11) % 50) / 50;
    picture.data<float>()[static_cast<std::size_t>(k)] = value;
    picture.data<float>()[static_cast<std::size_t>(k + rows * cols)] = 1 - value;
  }
  std::ifstream file(places::source_dir() + "/tests/data/augment_values.txt");
  int compared = 0;
  for (std::string line; std::getline(file, line); ++compared) {
    CAPTURE(line);
    std::istringstream words(line);
    std::string fill;
    Affine change;
    words >> fill >> change.rotation >> change.row_shift >> change.col_shift >> change.shear >>
        change.row_zoom >> change.col_zoom;
    const Array changed = kt::data::affine(picture, change, fills.at(fill), 0.25);
    REQUIRE(changed.shape() == picture.shape());
    const Array inverse = kt::data::affine(picture, change, fills.at(fill), 0.75);
    for (std::int64_t k = 0; k < rows * cols; ++k) {
      double expected = -1;
      words >> expected;
      CHECK(changed.data<float>()[static_cast<std::size_t>(k)] ==
            doctest::Approx(expected).epsilon(1e-5));
      CHECK(inverse.data<float>()[static_cast<std::size_t>(k + rows * cols)] ==
            doctest::Approx(1 - expected).epsilon(1e-5));
    }
  }
  CHECK(compared == 40);
  CHECK(kt::array_equal(kt::data::affine(picture, {}), picture));
  CHECK(kt::data::affine(Array::zeros({0, 3}), {.rotation = 1}).shape() == Shape{0, 3});
  CHECK(kt::array_equal(kt::data::affine(Array::full({1, 1}, 4), {.rotation = 33}),
                        Array::full({1, 1}, 4)));
}

TEST_CASE("augment: nothing asked for changes nothing") {
  for (const std::int64_t count : {0, 1, 3, 17}) {
    const Dataset data = numbered({count, 2, 3, 4});
    const Batch plain = all_of(data), same = all_of(augmented(data, {}));
    CHECK(kt::array_equal(plain.x, same.x));
    CHECK(kt::array_equal(plain.labels, same.labels));
  }
}

TEST_CASE("augment: a function of seed and epoch and row - whichever thread and batch") {
  const Dataset data = numbered({40, 2, 9, 8});
  const auto make = [&](std::uint64_t seed) {
    AugmentOptions options = everything;
    options.seed = seed;
    return augmented(data, options);
  };
  const Array first = all_of(make(3), 0).x;
  CHECK(first.shape() == Shape{40, 2, 7, 6});
  CHECK_FALSE(kt::array_equal(first, all_of(make(3), 1).x));
  CHECK_FALSE(kt::array_equal(first, all_of(make(4), 0).x));
  for (const std::uint64_t epoch : {0, 2}) {
    const Array expected = all_of(make(3), epoch).x;
    for (const int threads : {0, 1, 2, 5}) {
      Loader loader(make(3), {.batch = 7, .threads = threads});
      loader.start(epoch);
      // Which pictures a batch has, its labels do not tell: those of the data set without changes.
      Loader plain(data, {.batch = 7});
      plain.start(epoch);
      while (const auto batch = loader.next()) {
        const auto original = plain.next();
        for (std::int64_t k = 0; k < batch->x.shape()[0]; ++k) {
          const auto row = static_cast<std::int64_t>(original->x.row(k).data<float>()[0]) / 144;
          CHECK(kt::array_equal(batch->x.row(k), expected.row(row)));
        }
      }
    }
  }
}

TEST_CASE("augment: what a data set gives stays as it is") {
  const Array x = Array::uniform({4, 3, 5, 5}, 1);
  const Array before = x.copy();
  const Dataset own{.count = 4, .make = [x](kt::data::Rows, std::uint64_t) {
                      return Batch{x, Array::zeros({4}, kt::i64)};
                    }};
  AugmentOptions options{.horizontal_flip = true, .rescale = 3, .cutout = 2};
  options.function = [](Array picture, std::uint32_t, std::uint64_t) {
    picture.data<float>()[0] = 5;
  };
  CHECK_FALSE(kt::array_equal(all_of(augmented(own, options)).x, before));
  CHECK(kt::array_equal(x, before));
}

TEST_CASE("augment: flips") {
  const Dataset data = numbered({400, 2, 3, 4});
  const Batch plain = all_of(data);
  const Batch batch = all_of(augmented(data, {.horizontal_flip = true, .vertical_flip = true}));
  std::map<std::pair<bool, bool>, int> seen;
  for (std::int64_t n = 0; n < 400; ++n) {
    const bool mirrored = std::fmod(at(batch.x, n, 0, 0, 0), 4) == 3;
    const bool upside_down = std::fmod(at(batch.x, n, 0, 0, 0), 12) >= 8;
    ++seen[{mirrored, upside_down}];
    bool same = true;
    for (std::int64_t c = 0; c < 2; ++c) {
      for (std::int64_t i = 0; i < 3; ++i) {
        for (std::int64_t j = 0; j < 4; ++j) {
          same = same && at(batch.x, n, c, i, j) ==
                             at(plain.x, n, c, upside_down ? 2 - i : i, mirrored ? 3 - j : j);
        }
      }
    }
    CHECK(same);
  }
  CHECK(seen.size() == 4);
  for (const auto& [way, count] : seen) CHECK(std::abs(count - 100) < 35);  // 4 sigma
}

TEST_CASE("augment: crops with padding") {
  const Dataset data = numbered({600, 1, 3, 4});
  const Batch plain = all_of(data);
  for (const Fill fill : {Fill::constant, Fill::nearest, Fill::reflect, Fill::wrap}) {
    for (const bool flip : {false, true}) {
      CAPTURE(fill);
      const Batch batch = all_of(augmented(data, {.crop_rows = 2,
                                                  .crop_cols = 5,
                                                  .padding = 2,
                                                  .fill = fill,
                                                  .fill_value = -1,
                                                  .horizontal_flip = flip}));
      REQUIRE(batch.x.shape() == Shape{600, 1, 2, 5});
      std::map<std::array<std::int64_t, 3>, int> seen;
      for (std::int64_t n = 0; n < 600; ++n) {
        // The place that explains all that is seen.
        const auto fits = [&](std::int64_t row, std::int64_t col, bool mirrored) {
          const auto place = [&](std::int64_t k, std::int64_t size) -> std::int64_t {
            if (k >= 0 && k < size) return k;
            if (fill == Fill::constant) return -1;
            if (fill == Fill::nearest) return k < 0 ? 0 : size - 1;
            if (fill == Fill::reflect) return k < 0 ? -1 - k : 2 * size - 1 - k;
            return k < 0 ? k + size : k - size;
          };
          for (std::int64_t i = 0; i < 2; ++i) {
            for (std::int64_t j = 0; j < 5; ++j) {
              const std::int64_t r = place(row + i, 3), c = place(col + j, 4);
              const float expected = r < 0 || c < 0 ? -1 : at(plain.x, n, 0, r, c);
              if (at(batch.x, n, 0, i, mirrored ? 4 - j : j) != expected) return false;
            }
          }
          return true;
        };
        bool found = false;
        for (std::int64_t row = -2; row <= 3; ++row) {
          for (std::int64_t col = -2; col <= 1; ++col) {
            for (const bool mirrored : {false, true}) {
              if (found || (mirrored && !flip) || !fits(row, col, mirrored)) continue;
              found = true;
              ++seen[{row, col, std::int64_t{mirrored}}];
            }
          }
        }
        CHECK(found);
      }
      // All 6 x 4 places, of which some look the same: rows all outside; rows or columns again.
      const std::map<Fill, std::size_t> looks{
          {Fill::constant, 16}, {Fill::nearest, 16}, {Fill::reflect, 24}, {Fill::wrap, 12}};
      CHECK(seen.size() == looks.at(fill) * (flip ? 2 : 1) + (fill == Fill::constant ? 1 : 0));
    }
  }
  // Of a size of its own, without padding; and the whole picture.
  CHECK(all_of(augmented(data, {.crop_rows = 1, .crop_cols = 1})).x.shape() == Shape{600, 1, 1, 1});
  CHECK(kt::array_equal(all_of(augmented(data, {.crop_rows = 3, .crop_cols = 4})).x, plain.x));
}

TEST_CASE("augment: shifts and zooms are drawn from their ranges") {
  // Values are the row in one channel, the column in the other: what is drawn can be read off.
  constexpr std::int64_t count = 500;
  const Dataset data =
      pictures({count, 2, 20, 30}, [](auto, auto c, auto i, auto j) { return c == 0 ? i : j; });
  const auto spread = [](const std::vector<double>& values) {
    const auto [low, high] = std::ranges::minmax(values);
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    return std::array{low, high, mean};
  };
  // Some pixels in the middle, which stay inside.
  const auto slope = [](const Array& x, std::int64_t n, std::int64_t c, bool by_row) {
    return at(x, n, c, by_row ? 11 : 10, by_row ? 15 : 16) - at(x, n, c, 10, 15);
  };
  const Array shifted = all_of(augmented(data, {.width_shift = 0.1, .height_shift = 4.5})).x;
  std::vector<double> down, right;
  for (std::int64_t n = 0; n < count; ++n) {
    down.push_back(at(shifted, n, 0, 10, 15) - 10);
    right.push_back(at(shifted, n, 1, 10, 15) - 15);
  }
  for (const auto& [values, most] : {std::pair{down, 4.5}, {right, 3.0}}) {
    const auto [low, high, mean] = spread(values);
    CHECK(low >= -most);
    CHECK(low < -0.97 * most);
    CHECK(high <= most);
    CHECK(high > 0.97 * most);
    CHECK(std::abs(mean) < 0.11 * most);  // 4 sigma
  }
  const Array zoomed = all_of(augmented(data, {.zoom = {0.5, 1.1}})).x;
  std::vector<double> tall, wide;
  for (std::int64_t n = 0; n < count; ++n) {
    tall.push_back(slope(zoomed, n, 0, true));
    wide.push_back(slope(zoomed, n, 1, false));
  }
  CHECK(tall != wide);
  for (const auto& values : {tall, wide}) {
    const auto [low, high, mean] = spread(values);
    CHECK(low >= 0.4999);
    CHECK(low < 0.52);
    CHECK(high <= 1.1001);
    CHECK(high > 1.08);
    CHECK(mean == doctest::Approx(0.8).epsilon(0.04));
  }
  const Array turned = all_of(augmented(data, {.rotation = 30, .horizontal_flip = true})).x;
  std::vector<double> angles;
  int mirrored = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    const double cosine = slope(turned, n, 1, false);
    const double sine = slope(turned, n, 0, false);
    CHECK(cosine * cosine + sine * sine == doctest::Approx(1).epsilon(1e-4));
    if (cosine < 0) ++mirrored;
    angles.push_back(std::asin(sine) * 180 / std::numbers::pi);
  }
  const auto [low, high, mean] = spread(angles);
  CHECK(low >= -30.001);
  CHECK(low < -29);
  CHECK(high <= 30.001);
  CHECK(high > 29);
  CHECK(std::abs(mean) < 3.2);
  CHECK(std::abs(mirrored - count / 2) < 45);
  // Kinds of changes do not share numbers: one more leaves the others as they are.
  const Array both =
      all_of(
          augmented(data,
                    {.rotation = 30, .horizontal_flip = true, .brightness = {2, 2}, .white = 1000}))
          .x;
  for (std::int64_t n = 0; n < count; ++n) {
    CHECK(at(both, n, 1, 10, 15) == 2 * at(turned, n, 1, 10, 15));
  }
}

TEST_CASE("augment: an affine change and crop and flips are one") {
  const Dataset data = pictures({50, 1, 12, 10}, [](auto n, auto, auto i, auto j) {
    return std::sin(0.3 * static_cast<double>(i * j + n));
  });
  AugmentOptions options{.rotation = 25, .zoom = {0.9, 1.2}, .fill = Fill::wrap};
  const Array whole = all_of(augmented(data, options)).x;
  options.horizontal_flip = options.vertical_flip = true;
  options.crop_rows = 5;
  options.crop_cols = 4;
  const Array parts = all_of(augmented(data, options)).x;
  options.rotation = 0;
  options.zoom = {};
  // Where the parts are: the same changes without the affine one.
  const Array places = all_of(augmented(numbered({50, 1, 12, 10}), options)).x;
  for (std::int64_t n = 0; n < 50; ++n) {
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < 4; ++j) {
        const auto place = static_cast<std::int64_t>(at(places, n, 0, i, j)) - n * 120;
        CHECK(at(parts, n, 0, i, j) ==
              doctest::Approx(at(whole, n, 0, place / 10, place % 10)).epsilon(1e-4));
      }
    }
  }
}
