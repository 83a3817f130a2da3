#include <kroton/augment.h>
#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "frontend/data/affine.h"
#include "frontend/data/mixup.h"
#include "frontend/data/random.h"
#include "frontend/data/zca.h"

namespace kroton::data {

namespace {

constexpr const char* augmented_name = "augmented";
constexpr float tiny = 1e-6F;  // keeps pictures of one value from being divided by 0

[[noreturn]] void refuse(const std::string& what) {
  throw ValueError(std::string(augmented_name) + ": " + what);
}

void check_range(const AugmentOptions::Range& range, const char* name) {
  if (range.low >= 0 && range.low <= range.high && std::isfinite(range.high)) return;
  refuse(std::string("expected a ") + name + " from 0 on, its low end first, got " +
         to_string(Array(range.low)) + " to " + to_string(Array(range.high)));
}

void check_from_zero(double value, const char* name) {
  if (value >= 0 && std::isfinite(value)) return;
  refuse(std::string("expected a finite ") + name + " of 0 or more, got " +
         to_string(Array(value)));
}

void check(const AugmentOptions& o) {
  check_from_zero(o.rotation, "rotation");
  check_from_zero(o.width_shift, "width_shift");
  check_from_zero(o.height_shift, "height_shift");
  check_shift(o.width_shift, "width_shift", augmented_name);
  check_shift(o.height_shift, "height_shift", augmented_name);
  check_from_zero(o.shear, "shear");
  check_zoom(o.zoom.low, o.zoom.high, augmented_name);
  check_from_zero(o.channel_shift, "channel_shift");
  check_range(o.brightness, "brightness");
  check_from_zero(o.white, "white");
  if (!std::isfinite(o.rescale)) refuse("rescale is " + to_string(Array(o.rescale)));
  for (const double mean : o.mean) {
    if (!std::isfinite(mean)) refuse("a mean is " + to_string(Array(mean)));
  }
  for (const double stddev : o.stddev) check_from_zero(stddev, "stddev");
  constexpr std::int64_t most = std::int64_t{1} << 24;
  for (const auto& [size, name] : {std::pair{o.crop_rows, "crop_rows"},
                                   {o.crop_cols, "crop_cols"},
                                   {o.padding, "padding"},
                                   {o.cutout, "cutout"},
                                   {o.classes, "classes"}}) {
    if (size < 0 || size > most) {
      refuse(std::string("expected ") + name + " from 0 to 2^24, got " + std::to_string(size));
    }
  }
  if ((o.crop_rows == 0) != (o.crop_cols == 0)) {
    refuse("a crop has crop_rows and crop_cols, got " + std::to_string(o.crop_rows) + " and " +
           std::to_string(o.crop_cols));
  }
  if (o.mixup != 0 && !(o.mixup >= 1e-6 && o.mixup <= 1e6)) {
    refuse("expected a mixup of 0 or from 1e-6 to 1e6, got " + to_string(Array(o.mixup)));
  }
  if (o.zca.size() > 0) {
    if (o.zca.dtype() != f32) {
      throw TypeError(std::string(augmented_name) + ": zca is " +
                      std::string(name_of(o.zca.dtype())) + ", expected f32");
    }
    if (o.zca.rank() != 2 || o.zca.shape()[0] != o.zca.shape()[1]) {
      throw ShapeError(std::string(augmented_name) + ": zca is " + to_string(o.zca.shape()) +
                       ", expected a square matrix");
    }
  }
  if (o.mixup == 0 && o.classes != 0) refuse("classes is given, which only mixup uses");
}

// What is drawn for an example; each has numbers of its own.
enum class Drawn : std::uint8_t {
  rotation,
  shift,
  shear,
  zoom,
  crop,
  horizontal_flip,
  vertical_flip,
  channel_shift,
  brightness,
  cutout,
  mixup,
};

class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t epoch, std::uint32_t row) {
    // A block that nothing else draws from, for what shuffles may have the same seed.
    constexpr std::uint64_t high = std::uint64_t{1} << 63;
    const Philox::Words words = Philox::block(seed, epoch, high | row);
    key_ = std::uint64_t{words[1]} << 32 | words[0];
  }
  Random of(Drawn what) const { return {key_, static_cast<std::uint64_t>(what)}; }

 private:
  std::uint64_t key_;
};

// A sum in double precision, of eight that do not wait for each other.
template <class Term>
double sum_of(std::span<const float> values, Term term) {
  double sums[8] = {};
  std::size_t k = 0;
  for (; k + 8 <= values.size(); k += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += term(values[k + lane]);
  }
  for (; k < values.size(); ++k) sums[0] += term(values[k]);
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

double mean_of(std::span<const float> values) {
  return sum_of(values, [](float v) { return double{v}; }) / static_cast<double>(values.size());
}

double square_sum(std::span<const float> values, double mean) {
  return sum_of(values, [mean](float v) { return (v - mean) * (v - mean); });
}

class Augmenter {
 public:
  explicit Augmenter(const AugmentOptions& options) : o_(options) {
    has_affine_ = o_.rotation != 0 || o_.width_shift != 0 || o_.height_shift != 0 ||
                  o_.shear != 0 || o_.zoom.low != 1 || o_.zoom.high != 1;
    has_brightness_ = o_.brightness.low != 1 || o_.brightness.high != 1;
    o_.zca = o_.zca.contiguous();
  }

  void operator()(Batch& batch, Rows rows, std::uint64_t epoch) const {
    const Planes from_size = checked_size(batch.x, rows);
    const auto count = static_cast<std::int64_t>(rows.size());
    Planes size = from_size;
    if (o_.crop_rows != 0) size = {size.count, o_.crop_rows, o_.crop_cols};
    // A new array: what a data set gives may be its own.
    Array x = Array::empty({count, size.count, size.rows, size.cols});
    const Array given = batch.x.contiguous();
    const float* from = given.data<float>().data();
    float* to = x.data<float>().data();
    const auto length = static_cast<std::size_t>(size.count * size.rows * size.cols);
    if (o_.zca.size() > 0 && o_.zca.shape()[0] != static_cast<std::int64_t>(length)) {
      throw ShapeError(std::string(augmented_name) + ": zca is " + to_string(o_.zca.shape()) +
                       ", for pictures " + to_string(x.shape()) + " of " + std::to_string(length) +
                       " values");
    }
    RowScratch scratch;
    std::vector<float> of_picture;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const Draws draws(o_.seed, epoch, rows[k]);
      move(draws, from, from_size, to, size, scratch);
      const std::span<float> picture(to, length);
      colour(draws, picture);
      if (o_.function) o_.function(x.row(static_cast<std::int64_t>(k)), rows[k], epoch);
      normalize(picture, size);
      if (o_.zca.size() > 0) whiten(picture, o_.zca, of_picture);
      cut(draws, to, size);
      from += from_size.count * from_size.rows * from_size.cols;
      to += length;
    }
    batch.x = std::move(x);
    if (o_.mixup != 0) mix(batch, rows, epoch);
  }

 private:
  // The size of one picture.
  Planes checked_size(const Array& x, Rows rows) const {
    const std::string expected =
        std::string(augmented_name) + ": expected pictures f32 (batch, channels, rows, cols), got ";
    if (x.dtype() != f32) throw TypeError(expected + std::string(name_of(x.dtype())));
    const Shape& shape = x.shape();
    if (shape.rank() != 4) throw ShapeError(expected + to_string(shape));
    if (shape[0] != static_cast<std::int64_t>(rows.size())) {
      throw ShapeError(expected + to_string(shape) + " for " + std::to_string(rows.size()) +
                       " examples");
    }
    const Planes size{shape[1], shape[2], shape[3]};
    if (size.count == 0 || size.rows == 0 || size.cols == 0) {
      throw ShapeError(expected + to_string(shape) + " without pixels");
    }
    if (o_.crop_rows > size.rows + 2 * o_.padding || o_.crop_cols > size.cols + 2 * o_.padding) {
      throw ShapeError(std::string(augmented_name) + ": a crop of " + std::to_string(o_.crop_rows) +
                       " x " + std::to_string(o_.crop_cols) + " is larger than pictures " +
                       to_string(shape) + " with a padding of " + std::to_string(o_.padding));
    }
    for (const auto* values : {&o_.mean, &o_.stddev}) {
      const auto given = static_cast<std::int64_t>(values->size());
      if (given > 1 && given != size.count) {
        throw ShapeError(std::string(augmented_name) + ": " + std::to_string(given) +
                         (values == &o_.mean ? " means" : " standard deviations") +
                         " for pictures " + to_string(shape));
      }
    }
    return size;
  }

  Affine drawn_affine(const Draws& draws, const Planes& size) const {
    Affine change;
    const auto even = [](Random& random, double most) { return random.uniform(-most, most); };
    const auto pixels = [](double shift, std::int64_t of) {
      return shift < 1 ? shift * static_cast<double>(of) : shift;
    };
    Random turn = draws.of(Drawn::rotation), shift = draws.of(Drawn::shift);
    Random shear = draws.of(Drawn::shear), zoom = draws.of(Drawn::zoom);
    change.rotation = even(turn, o_.rotation);
    change.row_shift = even(shift, pixels(o_.height_shift, size.rows));
    change.col_shift = even(shift, pixels(o_.width_shift, size.cols));
    change.shear = even(shear, o_.shear);
    change.row_zoom = zoom.uniform(o_.zoom.low, o_.zoom.high);
    change.col_zoom = zoom.uniform(o_.zoom.low, o_.zoom.high);
    return change;
  }

  void move(const Draws& draws, const float* from, const Planes& from_size, float* to,
            const Planes& size, RowScratch& scratch) const {
    const Outside outside{o_.fill, static_cast<float>(o_.fill_value)};
    Part part;
    const std::int64_t free_rows = from_size.rows + 2 * o_.padding - size.rows;
    const std::int64_t free_cols = from_size.cols + 2 * o_.padding - size.cols;
    if (free_rows != 0 || free_cols != 0) {
      Random random = draws.of(Drawn::crop);
      const auto place = [&](std::int64_t free) {
        return static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(free + 1))) -
               o_.padding;
      };
      part.row = place(free_rows);
      part.col = place(free_cols);
    }
    const auto half = [&](Drawn what) { return draws.of(what).below(2) == 1; };
    part.mirrored = o_.horizontal_flip && half(Drawn::horizontal_flip);
    part.upside_down = o_.vertical_flip && half(Drawn::vertical_flip);
    if (!has_affine_) {
      copy_part(from, from_size, part, outside, to, size, scratch);
      return;
    }
    PixelMap map = pixel_map(drawn_affine(draws, from_size), from_size.rows, from_size.cols);
    for (double* line : {map.row, map.col}) {
      // Where the part begins, and where it ends for one that is turned over.
      line[2] += line[0] * static_cast<double>(part.row) + line[1] * static_cast<double>(part.col);
      if (part.upside_down) {
        line[2] += line[0] * static_cast<double>(size.rows - 1);
        line[0] = -line[0];
      }
      if (part.mirrored) {
        line[2] += line[1] * static_cast<double>(size.cols - 1);
        line[1] = -line[1];
      }
    }
    sample(from, from_size, map, outside, to, size, scratch);
  }

  void colour(const Draws& draws, std::span<float> picture) const {
    if (o_.channel_shift != 0) {
      Random random = draws.of(Drawn::channel_shift);
      const auto shift = static_cast<float>(random.uniform(-o_.channel_shift, o_.channel_shift));
      const auto [least, largest] = std::ranges::minmax(picture);
      for (float& v : picture) v = std::clamp(v + shift, least, largest);
    }
    if (has_brightness_) {
      Random random = draws.of(Drawn::brightness);
      const auto factor = static_cast<float>(random.uniform(o_.brightness.low, o_.brightness.high));
      const auto white = static_cast<float>(o_.white);
      for (float& v : picture) v = std::clamp(v * factor, 0.0F, white);
    }
  }

  void normalize(std::span<float> picture, const Planes& size) const {
    if (o_.rescale != 1) {
      const auto factor = static_cast<float>(o_.rescale);
      for (float& v : picture) v *= factor;
    }
    if (o_.samplewise_center || o_.samplewise_std) {
      const double mean = mean_of(picture);
      const auto shift = o_.samplewise_center ? static_cast<float>(mean) : 0.0F;
      float factor = 1;
      if (o_.samplewise_std) {
        const double variance = square_sum(picture, mean) / static_cast<double>(picture.size());
        factor = 1 / (static_cast<float>(std::sqrt(variance)) + tiny);
      }
      for (float& v : picture) v = (v - shift) * factor;
    }
    if (o_.mean.empty() && o_.stddev.empty()) return;
    const auto plane = static_cast<std::size_t>(size.rows * size.cols);
    for (std::size_t k = 0; k < static_cast<std::size_t>(size.count); ++k) {
      const auto of_channel = [k](const std::vector<double>& values) {
        return static_cast<float>(values.size() == 1 ? values[0] : values[k]);
      };
      const float shift = o_.mean.empty() ? 0 : of_channel(o_.mean);
      const float factor = o_.stddev.empty() ? 1 : 1 / (of_channel(o_.stddev) + tiny);
      for (float& v : picture.subspan(k * plane, plane)) v = (v - shift) * factor;
    }
  }

  void cut(const Draws& draws, float* picture, const Planes& size) const {
    if (o_.cutout == 0) return;
    Random random = draws.of(Drawn::cutout);
    const auto range = [&](std::int64_t all) {
      const std::int64_t first =
          std::int64_t{random.below(static_cast<std::uint32_t>(all))} - o_.cutout / 2;
      return std::pair{std::max<std::int64_t>(first, 0), std::min(first + o_.cutout, all)};
    };
    const auto [top, bottom] = range(size.rows);
    const auto [left, right] = range(size.cols);
    for (std::int64_t k = 0; k < size.count; ++k) {
      for (std::int64_t row = top; row < bottom; ++row) {
        std::fill_n(picture + (k * size.rows + row) * size.cols + left, right - left,
                    static_cast<float>(o_.cutout_value));
      }
    }
  }

  void mix(Batch& batch, Rows rows, std::uint64_t epoch) const {
    std::vector<float> parts;
    std::vector<std::size_t> others;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      Random random = Draws(o_.seed, epoch, rows[k]).of(Drawn::mixup);
      parts.push_back(static_cast<float>(symmetric_beta(random, o_.mixup)));
      std::size_t other = k;
      if (rows.size() > 1) {
        other = random.below(static_cast<std::uint32_t>(rows.size() - 1));
        if (other >= k) ++other;
      }
      others.push_back(other);
    }
    batch.labels =
        blended(class_probabilities(batch.labels, batch.x.shape()[0], o_.classes), parts, others);
    batch.x = blended(batch.x, parts, others);
  }

  AugmentOptions o_;
  bool has_affine_ = false;
  bool has_brightness_ = false;
};

}  // namespace

Dataset augmented(const Dataset& dataset, const AugmentOptions& options) {
  check(options);
  if (!dataset.make) refuse("the data set makes no batches");
  return mapped(dataset, Augmenter(options));
}

ChannelMoments channel_moments(const Dataset& dataset) {
  constexpr std::int64_t at_once = 64;
  const auto name = std::string("channel_moments: ");
  if (!dataset.make) throw ValueError(name + "the data set makes no batches");
  if (dataset.count == 0) throw ValueError(name + "the data set has no examples");
  ChannelMoments moments;
  std::vector<double> squares;  // of the distances from the mean
  double seen = 0;              // pixels of a channel
  for (std::int64_t first = 0; first < dataset.count; first += at_once) {
    std::vector<std::uint32_t> rows(
        static_cast<std::size_t>(std::min(at_once, dataset.count - first)));
    std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
    const Array x = dataset.make(rows, 0).x.contiguous();
    const std::string expected = name + "expected pictures f32 (batch, channels, rows, cols), got ";
    if (x.dtype() != f32) throw TypeError(expected + std::string(name_of(x.dtype())));
    const Shape& shape = x.shape();
    if (shape.rank() != 4 || x.size() == 0) throw ShapeError(expected + to_string(shape));
    const auto channels = static_cast<std::size_t>(shape[1]);
    if (first == 0) {
      moments.mean.assign(channels, 0);
      squares.assign(channels, 0);
    } else if (channels != squares.size()) {
      throw ShapeError(name + "pictures of " + std::to_string(squares.size()) + " channels, then " +
                       to_string(shape));
    }
    const auto plane = static_cast<std::size_t>(shape[2] * shape[3]);
    const auto count = static_cast<double>(plane);
    const std::span<const float> all = x.data<float>();
    // Two sets of values become one: Chan, Golub, LeVeque, "Algorithms for computing the sample
    // variance", The American Statistician 37 (1983).
    for (std::size_t at = 0; at < all.size(); at += channels * plane) {
      for (std::size_t k = 0; k < channels; ++k) {
        const auto values = all.subspan(at + k * plane, plane);
        const double mean = mean_of(values), apart = mean - moments.mean[k];
        squares[k] += square_sum(values, mean) + apart * apart * seen * count / (seen + count);
        moments.mean[k] += apart * count / (seen + count);
      }
      seen += count;
    }
  }
  for (const double sum : squares) moments.stddev.push_back(std::sqrt(sum / seen));
  return moments;
}

}  // namespace kroton::data
