// Values of pictures changed at random, examples made of two, and what is not accepted.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace test_augment_values {

namespace {

namespace kt = kroton;
using kt::Array;
using kt::Shape;
using kt::data::augmented;
using kt::data::AugmentOptions;
using kt::data::Batch;
using kt::data::Dataset;

Dataset uniform(const Shape& shape, double low = 0, double high = 1) {
  Array labels = Array::empty({shape[0]}, kt::i64);
  std::int64_t k = 0;
  for (std::int64_t& label : labels.data<std::int64_t>()) label = k++ % 3;
  return kt::data::from_arrays(Array::uniform(shape, 5, low, high), labels);
}

Batch all_of(const Dataset& data, std::uint64_t epoch = 0) {
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(data.count));
  std::iota(rows.begin(), rows.end(), 0U);
  return data.make(rows, epoch);
}

std::vector<double> values_of(const Array& array) {
  std::vector<double> values;
  for (const float v : array.contiguous().data<float>()) values.push_back(v);
  return values;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const kt::Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("augment: channel shift keeps the picture's range") {
  const Dataset data = uniform({300, 2, 4, 4}, 0.2, 0.9);
  const Array before = all_of(data).x, after = all_of(augmented(data, {.channel_shift = 0.3})).x;
  std::vector<double> shifts;
  for (std::int64_t n = 0; n < 300; ++n) {
    const auto a = values_of(before.row(n)), b = values_of(after.row(n));
    const auto [low, high] = std::ranges::minmax(a);
    // What is not at an end tells the shift.
    double shift = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      if (b[k] > low && b[k] < high) shift = b[k] - a[k];
    }
    for (std::size_t k = 0; k < a.size(); ++k) {
      CHECK(b[k] == doctest::Approx(std::clamp(a[k] + shift, low, high)).epsilon(1e-5));
    }
    shifts.push_back(shift);
  }
  const auto [low, high] = std::ranges::minmax(shifts);
  CHECK(low >= -0.3001);
  CHECK(low < -0.28);
  CHECK(high <= 0.3001);
  CHECK(high > 0.28);
}

TEST_CASE("augment: brightness keeps to white") {
  const Dataset data = uniform({300, 3, 2, 2}, 0, 200);
  const Array before = all_of(data).x;
  const Array after = all_of(augmented(data, {.brightness = {0.5, 3}, .white = 255})).x;
  std::vector<double> factors;
  for (std::int64_t n = 0; n < 300; ++n) {
    const auto a = values_of(before.row(n)), b = values_of(after.row(n));
    const auto least = static_cast<std::size_t>(std::ranges::min_element(a) - a.begin());
    const double factor = b[least] / a[least];
    for (std::size_t k = 0; k < a.size(); ++k) {
      CHECK(b[k] == doctest::Approx(std::min(a[k] * factor, 255.0)).epsilon(1e-5));
    }
    if (b[least] < 255) factors.push_back(factor);
  }
  const auto [low, high] = std::ranges::minmax(factors);
  CHECK(low >= 0.4999);
  CHECK(low < 0.55);
  CHECK(high <= 3.0001);
  CHECK(high > 2.9);
}

TEST_CASE("augment: a function of the user's and a factor") {
  const Dataset data = uniform({5, 1, 2, 3});
  AugmentOptions options{.rescale = 10};
  options.function = [](Array picture, std::uint32_t row, std::uint64_t epoch) {
    CHECK(picture.shape() == Shape{1, 2, 3});
    for (float& v : picture.data<float>()) v = static_cast<float>(100 * epoch + row);
  };
  const Batch batch = all_of(augmented(data, options), 2);
  for (std::int64_t n = 0; n < 5; ++n) {
    for (const double v : values_of(batch.x.row(n))) CHECK(v == 10.0 * (200.0 + double(n)));
  }
}

TEST_CASE("augment: normalised by sample and by channel") {
  for (const std::int64_t size : {1, 3, 17}) {
    const Dataset data = uniform({4, 3, size, 2}, -1, 5);
    const Array before = all_of(data).x;
    const Array centred = all_of(augmented(data, {.samplewise_center = true})).x;
    const Array scaled = all_of(augmented(data, {.samplewise_std = true})).x;
    const Array both =
        all_of(augmented(data, {.samplewise_center = true, .samplewise_std = true})).x;
    for (std::int64_t n = 0; n < 4; ++n) {
      const auto a = values_of(before.row(n));
      const double mean = mean_of(a), deviation = deviation_of(a);
      const auto c = values_of(centred.row(n)), s = values_of(scaled.row(n));
      const auto b = values_of(both.row(n));
      for (std::size_t k = 0; k < a.size(); ++k) {
        CHECK(c[k] == doctest::Approx(a[k] - mean).epsilon(1e-4));
        CHECK(s[k] == doctest::Approx(a[k] / (deviation + 1e-6)).epsilon(1e-4));
        CHECK(b[k] == doctest::Approx((a[k] - mean) / (deviation + 1e-6)).epsilon(1e-4));
      }
    }
    const Array channels = all_of(augmented(data, {.mean = {1, 2, 3}, .stddev = {0.5, 2, 4}})).x;
    const Array alike = all_of(augmented(data, {.mean = {2}, .stddev = {4}})).x;
    const double means[] = {1, 2, 3}, deviations[] = {0.5, 2, 4};
    for (std::int64_t n = 0; n < 4; ++n) {
      for (std::int64_t c = 0; c < 3; ++c) {
        const auto a = values_of(before.row(n).row(c)), b = values_of(channels.row(n).row(c));
        const auto d = values_of(alike.row(n).row(c));
        for (std::size_t k = 0; k < a.size(); ++k) {
          CHECK(b[k] == doctest::Approx((a[k] - means[c]) / deviations[c]).epsilon(1e-4));
          CHECK(d[k] == doctest::Approx((a[k] - 2) / 4).epsilon(1e-4));
        }
      }
    }
  }
  // One value: not divided by nothing.
  const Dataset flat = kt::data::from_arrays(Array::full({1, 1, 2, 2}, 3), Array::zeros({1}));
  CHECK(kt::array_equal(
      all_of(augmented(flat, {.samplewise_center = true, .samplewise_std = true})).x,
      Array::zeros({1, 1, 2, 2})));
}

TEST_CASE("augment: moments of the channels") {
  for (const std::int64_t count : {1, 3, 64, 65, 200}) {
    const Dataset data = uniform({count, 2, 3, 5}, 1000, 1001);
    const Array x = all_of(data).x;
    const kt::data::ChannelMoments moments = kt::data::channel_moments(data);
    REQUIRE(moments.mean.size() == 2);
    for (std::int64_t c = 0; c < 2; ++c) {
      std::vector<double> all;
      for (std::int64_t n = 0; n < count; ++n) {
        for (const double v : values_of(x.row(n).row(c))) all.push_back(v);
      }
      const auto k = static_cast<std::size_t>(c);
      CHECK(moments.mean[k] == doctest::Approx(mean_of(all)).epsilon(1e-10));
      CHECK(moments.stddev[k] == doctest::Approx(deviation_of(all)).epsilon(1e-7));
    }
    // What they normalise has moments 0 and 1.
    const auto again = kt::data::channel_moments(
        augmented(data, {.mean = moments.mean, .stddev = moments.stddev}));
    CHECK(std::abs(again.mean[0]) < 1e-3);
    CHECK(again.stddev[1] == doctest::Approx(1).epsilon(1e-3));
  }
  CHECK_THROWS_AS(kt::data::channel_moments(uniform({0, 1, 2, 2})), kt::ValueError);
  CHECK_THROWS_AS(kt::data::channel_moments({}), kt::ValueError);
  CHECK_THROWS_AS(kt::data::channel_moments(uniform({1, 0, 2, 2})), kt::ShapeError);
  CHECK_THROWS_AS(kt::data::channel_moments(uniform({1, 2})), kt::ShapeError);
  CHECK_THROWS_AS(kt::data::channel_moments(kt::data::from_arrays(
                      Array::zeros({1, 1, 2, 2}, kt::f64), Array::zeros({1}))),
                  kt::TypeError);
}

TEST_CASE("augment: ZCA whitening leaves no correlation") {
  // Pictures of 12 values, of which the first one goes with the second.
  Array pictures = Array::normal({40, 3, 2, 2}, 4);
  for (std::int64_t k = 0; k < 40; ++k) {
    pictures(k, 0, 0, 0) += pictures(k, 0, 0, 1).item<float>() * 2;
  }
  const Dataset examples = kt::data::from_arrays(pictures, Array::zeros({40}, kt::i64));
  AugmentOptions options;
  options.zca = kt::data::zca_matrix(examples);
  CHECK(options.zca.shape() == kt::Shape({12, 12}));
  for (std::int64_t i = 0; i < 12; ++i) {
    for (std::int64_t j = 0; j < 12; ++j) {
      CHECK(options.zca(i, j).item<float>() == doctest::Approx(options.zca(j, i).item<float>()));
    }
  }
  const auto products_of = [](const Array& x) {
    const Array rows = x.reshape({40, 12});
    std::vector<double> sums(144);
    for (std::int64_t k = 0; k < 40; ++k) {
      for (std::int64_t i = 0; i < 12; ++i) {
        for (std::int64_t j = 0; j < 12; ++j) {
          sums[static_cast<std::size_t>(12 * i + j)] +=
              rows(k, i).item<double>() * rows(k, j).item<double>() / 40;
        }
      }
    }
    return sums;
  };
  std::vector<std::uint32_t> all(40);
  for (std::uint32_t k = 0; k < 40; ++k) all[k] = k;
  const Array white = augmented(examples, options).make(all, 0).x;
  CHECK(white.shape() == pictures.shape());
  const std::vector<double> sums = products_of(white);
  for (std::size_t k = 0; k < 144; ++k) {
    CHECK(sums[k] == doctest::Approx(k % 13 == 0 ? 1.0 : 0.0).epsilon(1e-4));
  }
  // A value that is always 0, and fewer pictures than values: what is not there stays 0.
  Array few = pictures.copy();
  for (std::int64_t k = 0; k < 40; ++k) few(k, 2, 1, 1) = 0;
  const Array of_few =
      kt::data::zca_matrix(kt::data::from_arrays(few, Array::zeros({40}, kt::i64)));
  for (std::int64_t k = 0; k < 12; ++k) CHECK(of_few(11, k).item<float>() == 0);
  const Array of_three = kt::data::zca_matrix(kt::data::subset(examples, {0, 1, 2}));
  double trace = 0;
  for (std::int64_t k = 0; k < 12; ++k) trace += of_three(k, k).item<double>();
  CHECK(std::isfinite(trace));

  CHECK(message_of([&] { (void)kt::data::zca_matrix(examples, -1); }) ==
        "zca_matrix: epsilon is -1.0, expected a finite one of at least 0");
  CHECK(message_of([&] { (void)kt::data::zca_matrix(Dataset{}); }) ==
        "zca_matrix: the data set makes no batches");
  few(3, 0, 0, 0) = std::nan("");
  CHECK(message_of([&] {
          (void)kt::data::zca_matrix(kt::data::from_arrays(few, Array::zeros({40}, kt::i64)));
        }) == "zca_matrix: a picture holds nan");
  options.zca = Array::zeros({12, 11});
  CHECK_THROWS_WITH_AS(augmented(examples, options),
                       "augmented: zca is (12, 11), expected a square matrix", kt::ShapeError);
  options.zca = Array::zeros({11, 11});
  CHECK_THROWS_WITH_AS(augmented(examples, options).make(all, 0),
                       "augmented: zca is (11, 11), for pictures (40, 3, 2, 2) of 12 values",
                       kt::ShapeError);
  options.zca = Array::zeros({12, 12}, kt::f64);
  CHECK_THROWS_WITH_AS(augmented(examples, options), "augmented: zca is f64, expected f32",
                       kt::TypeError);
}

TEST_CASE("augment: cutout") {
  for (const std::int64_t size : {1, 2, 3, 50}) {
    const Dataset data = uniform({300, 2, 6, 5});
    const Array before = all_of(data).x;
    const Array after = all_of(augmented(data, {.cutout = size, .cutout_value = -2})).x;
    std::set<std::pair<std::int64_t, std::int64_t>> centres;
    for (std::int64_t n = 0; n < 300; ++n) {
      const auto a = values_of(before.row(n)), b = values_of(after.row(n));
      std::int64_t top = 6, bottom = -1, left = 5, right = -1, cut = 0;
      for (std::int64_t k = 0; k < 60; ++k) {
        const auto at = static_cast<std::size_t>(k);
        if (b[at] != -2) {
          CHECK(b[at] == a[at]);
          continue;
        }
        ++cut;
        top = std::min(top, k / 5 % 6);
        bottom = std::max(bottom, k / 5 % 6);
        left = std::min(left, k % 5);
        right = std::max(right, k % 5);
      }
      // A rectangle, of both channels, whole but at the borders.
      CHECK(cut == 2 * (bottom - top + 1) * (right - left + 1));
      CHECK(bottom - top + 1 <= size);
      if (top > 0 && bottom < 5) CHECK(bottom - top + 1 == size);
      if (left > 0 && right < 4) CHECK(right - left + 1 == size);
      centres.insert({top + bottom, left + right});
    }
    CHECK(centres.size() == (size == 50 ? 1U : 30U));
  }
}

TEST_CASE("augment: mixup") {
  const Dataset data = uniform({200, 1, 2, 2});
  const Array x = all_of(data).x, labels = all_of(data).labels;
  for (const double alpha : {0.2, 1.0, 4.0}) {
    const Batch batch = all_of(augmented(data, {.mixup = alpha, .classes = 3}));
    REQUIRE(batch.labels.shape() == Shape{200, 3});
    CHECK(batch.labels.dtype() == kt::f32);
    std::vector<double> parts;
    for (std::int64_t n = 0; n < 200; ++n) {
      const auto mixed = values_of(batch.x.row(n)), own = values_of(x.row(n));
      const auto probabilities = values_of(batch.labels.row(n));
      CHECK(probabilities[0] + probabilities[1] + probabilities[2] == doctest::Approx(1));
      // Another one and a part that explain it.
      int explained = 0;
      for (std::int64_t other = 0; other < 200; ++other) {
        const auto theirs = values_of(x.row(other));
        const double part = (mixed[0] - theirs[0]) / (own[0] - theirs[0]);
        if (other == n || !(part >= -1e-5 && part <= 1 + 1e-5)) continue;
        bool fits = true;
        for (std::size_t k = 0; k < 4; ++k) {
          fits = fits && std::abs(part * own[k] + (1 - part) * theirs[k] - mixed[k]) < 1e-4;
        }
        std::vector<double> expected(3);
        expected[static_cast<std::size_t>(n % 3)] += part;
        expected[static_cast<std::size_t>(other % 3)] += 1 - part;
        for (std::size_t k = 0; k < 3; ++k) {
          fits = fits && std::abs(expected[k] - probabilities[k]) < 1e-2;
        }
        if (!fits) continue;
        if (explained++ == 0) parts.push_back(part);
      }
      CHECK(explained >= 1);
    }
    // Beta(a, a) has mean 1 / 2 and variance 1 / (4 (2 a + 1)).
    CHECK(std::abs(mean_of(parts) - 0.5) < 0.12);
    const double variance = 1 / (4 * (2 * alpha + 1));
    CHECK(deviation_of(parts) == doctest::Approx(std::sqrt(variance)).epsilon(0.2));
  }
  // Of one there is no other; and labels may be probabilities already.
  const std::vector<std::uint32_t> one{4};
  const Batch alone = augmented(data, {.mixup = 1, .classes = 3}).make(one, 0);
  CHECK(kt::all_close(alone.x.row(0), x.row(4), 1e-6));
  CHECK(kt::all_close(alone.labels, Array::from({{0.0F, 1.0F, 0.0F}}), 1e-6));
  const Dataset twice =
      augmented(augmented(data, {.mixup = 1, .classes = 3}), {.seed = 2, .mixup = 1});
  CHECK(all_of(twice).labels.shape() == Shape{200, 3});
  const Batch none = augmented(data, {.mixup = 1, .classes = 3}).make({}, 0);
  CHECK(none.x.shape() == Shape{0, 1, 2, 2});
  CHECK(none.labels.shape() == Shape{0, 3});
  for (const double alpha : {1e-6, 1e6}) {
    const Batch extreme = all_of(augmented(data, {.mixup = alpha, .classes = 3}));
    for (const double v : values_of(extreme.labels)) CHECK((v >= 0 && v <= 1));
  }
}

TEST_CASE("augment: options out of range") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const Dataset data = uniform({2, 3, 4, 4});
  std::vector<AugmentOptions> bad{{.zoom = {0, 1}},
                                  {.zoom = {2, 1}},
                                  {.zoom = {1, 1e7}},
                                  {.zoom = {nan, 1}},
                                  {.crop_rows = 2},
                                  {.crop_rows = -1, .crop_cols = -1},
                                  {.crop_cols = 2},
                                  {.padding = -1},
                                  {.padding = std::int64_t{1} << 40},
                                  {.brightness = {-1, 1}},
                                  {.brightness = {2, 1}},
                                  {.brightness = {1, inf}},
                                  {.white = -1},
                                  {.rescale = nan},
                                  {.mean = {nan}},
                                  {.stddev = {-1}},
                                  {.cutout = -1},
                                  {.mixup = -1, .classes = 3},
                                  {.mixup = inf, .classes = 3},
                                  {.mixup = 1, .classes = -3},
                                  {.classes = 3}};
  for (const double value : {-1.0, nan, inf}) {
    bad.push_back({.rotation = value});
    bad.push_back({.width_shift = value});
    bad.push_back({.height_shift = value});
    bad.push_back({.shear = value});
    bad.push_back({.channel_shift = value});
  }
  for (const AugmentOptions& options : bad) {
    CHECK_THROWS_AS(augmented(data, options), kt::ValueError);
  }
  CHECK_THROWS_AS(augmented({}, {}), kt::ValueError);
  CHECK(message_of([&] { (void)augmented(data, {.rotation = -5}); }) ==
        "augmented: expected a finite rotation of 0 or more, got -5.0");
  CHECK(message_of([&] { (void)augmented(data, {.zoom = {1.2, 0.8}}); }) ==
        "augmented: the zoom is from 1.2 to 0.8: its low is above its high");
  const Array picture = Array::zeros({2, 2});
  for (const kt::data::Affine& change : std::vector<kt::data::Affine>{{.rotation = nan},
                                                                      {.row_shift = inf},
                                                                      {.col_shift = nan},
                                                                      {.shear = inf},
                                                                      {.row_zoom = 0},
                                                                      {.col_zoom = -1},
                                                                      {.row_zoom = nan},
                                                                      {.col_zoom = inf}}) {
    CHECK_THROWS_AS(kt::data::affine(picture, change), kt::ValueError);
  }
  CHECK_THROWS_AS(kt::data::affine(Array::zeros({2}), {}), kt::ShapeError);
  CHECK_THROWS_AS(kt::data::affine(Array::zeros({2, 2}, kt::i64), {}), kt::TypeError);
  // As far as they may go.
  const kt::data::Affine far{.rotation = 1e300,
                             .row_shift = 0x1p31,
                             .col_shift = -0x1p31,
                             .shear = -1e300,
                             .row_zoom = 1e6,
                             .col_zoom = 1e-300};
  for (const auto fill : {kt::data::Fill::constant, kt::data::Fill::nearest,
                          kt::data::Fill::reflect, kt::data::Fill::wrap}) {
    const Array moved = kt::data::affine(Array::ones({3, 3}), far, fill, 1);
    CHECK(kt::all_close(moved, Array::ones({3, 3})));
  }
}

TEST_CASE("augment: batches that do not fit") {
  const auto message = [](const Array& x, const AugmentOptions& options) {
    const Array labels = Array::zeros({x.shape()[0]}, kt::i64);
    return message_of([&] { (void)all_of(augmented(kt::data::from_arrays(x, labels), options)); });
  };
  const Array x = Array::zeros({2, 3, 4, 5});
  const std::string expected =
      "augmented: expected pictures f32 (batch, channels, rows, cols), got ";
  CHECK(message(Array::zeros({2, 3, 4, 5}, kt::f64), {}) == expected + "f64");
  CHECK(message(Array::zeros({2, 3, 4}), {}) == expected + "(2, 3, 4)");
  CHECK(message(Array::zeros({2, 3, 0, 4}), {}) == expected + "(2, 3, 0, 4) without pixels");
  CHECK(message(x, {.crop_rows = 5, .crop_cols = 5}) ==
        "augmented: a crop of 5 x 5 is larger than pictures (2, 3, 4, 5) with a padding of 0");
  CHECK(message(x, {.crop_rows = 6, .crop_cols = 7, .padding = 1}) == "no error");
  CHECK(message(x, {.mean = {1, 2}}) == "augmented: 2 means for pictures (2, 3, 4, 5)");
  CHECK(message(x, {.stddev = {1, 2, 3, 4}}) ==
        "augmented: 4 standard deviations for pictures (2, 3, 4, 5)");
  CHECK(message(x, {.mixup = 1}) ==
        "augmented: mixup needs the number of classes for labels i64 (batch)");
  const Dataset wrong{.count = 3, .make = [x](kt::data::Rows, std::uint64_t) {
                        return Batch{x, Array::zeros({2}, kt::i64)};
                      }};
  CHECK(message_of([&] { (void)all_of(augmented(wrong, {})); }) ==
        expected + "(2, 3, 4, 5) for 3 examples");
  const auto mixed = [&](const Array& labels) {
    return message_of([&] {
      (void)all_of(augmented(kt::data::from_arrays(x, labels), {.mixup = 1, .classes = 3}));
    });
  };
  const std::string kinds = "augmented: mixup expects labels i64 (2,) or f32 (2, classes), got ";
  CHECK(mixed(Array::zeros({2}, kt::i32)) == kinds + "i32");
  CHECK(mixed(Array::zeros({2, 1}, kt::i64)) == kinds + "(2, 1)");
  CHECK(mixed(Array::zeros({2})) == kinds + "(2,) for 3 classes");
  CHECK(mixed(Array::zeros({2, 4})) == kinds + "(2, 4) for 3 classes");
  CHECK(mixed(Array::full({2}, 3, kt::i64)) == "augmented: label 3 is none of 3 classes");
  CHECK(mixed(Array::full({2}, -1, kt::i64)) == "augmented: label -1 is none of 3 classes");
}

}  // namespace test_augment_values
