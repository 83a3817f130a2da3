// Pooling, patches, resizing, padding and normalisation: values and gradients against PyTorch's.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <fstream>
#include <map>
#include <sstream>

#include "tests/ops/peer_values.h"
#include "tests/tools/error_text.h"
#include "tests/tools/places.h"
#include "tests/tools/quick_code.h"

using namespace kroton;       // NOLINT: tests
using namespace error_text;   // NOLINT: tests
using namespace peer_values;  // NOLINT: tests

namespace {

// A line of window_values.txt.
struct Case {
  std::string name;
  Integers given, shape;
  struct Expected {
    Integers shape;
    std::vector<double> sums;
  };
  std::vector<Expected> expected;

  explicit Case(const std::string& line) {
    std::istringstream in(line);
    const auto word = [&] {
      std::string text;
      in >> text;
      return text;
    };
    name = word();
    if (const std::string text = word(); text != "-") given = numbers(text);
    shape = numbers(word());
    for (int k = 0; k < 2; ++k) {
      const Integers size = numbers(word());
      std::istringstream sums(word());
      Expected& e = expected.emplace_back(Expected{size, {}});
      for (std::string part; std::getline(sums, part, ',');) e.sums.push_back(std::stod(part));
    }
  }

  // The k-th of the lists of numbers that have one for each spatial axis.
  Integers list(std::size_t k) const {
    const std::size_t axes = shape.size() - 2;
    const auto from = given.begin() + static_cast<std::ptrdiff_t>(k * axes);
    return {from, from + static_cast<std::ptrdiff_t>(axes)};
  }
  static Padding both(const Integers& widths) {
    std::vector<std::pair<Dim, Dim>> pairs;
    for (const std::int64_t width : widths) pairs.emplace_back(width, width);
    return pairs;
  }

  // `layout` where the operation has one: x and the result are that way.
  Tensor apply(const Tensor& x, Layout layout) const {
    const auto channels = [&](std::uint64_t seed, double more) {
      return Operand(operand({shape[1]}, seed, DType::f64)).tensor() + more;
    };
    const auto variance = [&] { return abs(channels(7, 0)) + 0.5; };
    if (name == "max_pool") {
      return max_pool(x, PerAxis(list(0)),
                      {.stride = PerAxis(list(1)),
                       .padding = both(list(2)),
                       .dilation = PerAxis(list(3)),
                       .ceil_mode = given.back() != 0,
                       .layout = layout});
    }
    if (name == "avg_pool") {
      return avg_pool(x, PerAxis(list(0)),
                      {.stride = PerAxis(list(1)),
                       .padding = both(list(2)),
                       .counts_padding = given.back() != 0,
                       .ceil_mode = given[given.size() - 2] != 0,
                       .layout = layout});
    }
    if (name == "patches") {
      return images_to_patches(x, PerAxis(list(0)),
                               {.stride = PerAxis(list(1)),
                                .padding = both(list(2)),
                                .dilation = PerAxis(list(3)),
                                .layout = layout});
    }
    const Dims sizes(given.begin(), given.end());
    if (name == "nearest") return resize(x, sizes, {.layout = layout});
    if (name == "linear" || name == "aligned") {
      return resize(x, sizes,
                    {.interpolation = Interpolation::linear,
                     .corners = name == "aligned" ? Corners::aligned : Corners::half_pixel,
                     .layout = layout});
    }
    if (name == "upsample") return upsample(x, PerAxis(given), {.layout = layout});
    const NormOptions norm{.layout = layout};
    if (name == "batch_norm") {
      return batch_norm(x, channels(4, 0.5), channels(5, 0), {.epsilon = 1e-3, .layout = layout}).y;
    }
    if (name == "batch_norm_inference") {
      return batch_norm_inference(x, channels(4, 0.5), channels(5, 0), channels(6, 0), variance(),
                                  norm);
    }
    if (name == "group_norm") {
      return group_norm(x, given[0], channels(4, 0.5), channels(5, 0), norm);
    }
    if (name == "local_response_norm") {
      return local_response_norm(
          x, {.size = given[0], .alpha = 0.3, .beta = 0.75, .k = 2, .layout = layout});
    }
    if (name == "running") {
      const auto [mean, of_variance] = running_statistics(
          channels(6, 0), variance(), batch_norm(x, channels(4, 0), channels(5, 0), norm), 0.3);
      return concatenate({mean, of_variance}) + 0.0 * sum(x);
    }
    if (name == "layer_norm") {
      const Integers last(shape.end() - given[0], shape.end());
      const auto of = [&](std::uint64_t seed) {
        return Operand(operand(last, seed, DType::f64)).tensor();
      };
      return layer_norm(x, of(4) + 0.5, of(5));
    }
    if (name == "roll") return roll(x, given[0], static_cast<int>(given[1]));
    std::vector<std::pair<Dim, Dim>> widths(2);
    for (std::size_t k = 0; k < given.size(); k += 2) widths.emplace_back(given[k], given[k + 1]);
    const std::map<std::string, PadMode> modes = {{"constant", PadMode::constant},
                                                  {"edge", PadMode::edge},
                                                  {"reflect", PadMode::reflect},
                                                  {"wrap", PadMode::wrap}};
    return pad(x, widths, modes.at(name), 2.5);
  }

  bool has_layout() const {
    return name != "roll" && name != "layer_norm" && name != "constant" && name != "edge" &&
           name != "reflect" && name != "wrap" && name != "running";
  }
};

std::string difference(const Array& found, const Case::Expected& expected) {
  const Integers shape(found.shape().begin(), found.shape().end());
  if (shape != expected.shape) return "the shape is " + to_string(found.shape());
  double sums[2] = {0, 0}, scale = 1;
  std::int64_t k = 0;
  for (const double value : found.data<double>()) {
    sums[0] += value * static_cast<double>(k % 11 - 5);
    sums[1] += value * static_cast<double>(k % 17 + 1);
    scale += std::abs(value) * 17;
    ++k;
  }
  const bool same = std::abs(sums[0] - expected.sums[0]) <= 1e-12 * scale &&
                    std::abs(sums[1] - expected.sums[1]) <= 1e-12 * scale;
  return same ? "" : "the sums are " + std::to_string(sums[0]) + ", " + std::to_string(sums[1]);
}

// From channels first to channels last; and back, of patches too.
std::vector<int> to_last(int rank) {
  std::vector<int> axes = {0};
  for (int axis = 2; axis < rank; ++axis) axes.push_back(axis);
  axes.push_back(1);
  return axes;
}

Tensor to_first(const Tensor& y, bool is_patches) {
  std::vector<int> axes = {0, y.rank() - 1};
  const int spatial = is_patches ? (y.rank() - 2) / 2 : y.rank() - 2;
  if (is_patches) {
    for (int k = 0; k < spatial; ++k) axes.push_back(1 + spatial + k);
  }
  for (int k = 0; k < spatial; ++k) axes.push_back(1 + k);
  return transpose(y, axes);
}

TEST_CASE("pooling, patches, resizing, padding and normalisation give PyTorch's values") {
  std::ifstream file(places::source_dir() + "/tests/ops/window_values.txt");
  REQUIRE(file.good());
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    CAPTURE(line);
    const Case one(line);
    const QuickCode quick(count % 4 != 0);
    const bool is_free = count % 3 != 0, is_last = count % 2 == 0 && one.has_layout();
    Dims shape;
    for (const std::int64_t size : one.shape) {
      // Normalised axes have the sizes of scale and shift.
      const bool may_be_free = shape.size() != 1 && one.name != "layer_norm";
      shape.push_back(is_free && may_be_free ? dim("s" + std::to_string(shape.size())) : Dim(size));
    }
    const Tensor x = tensor("x", shape, f64);
    Tensor y;
    if (is_last) {
      const Tensor seen = transpose(x, to_last(x.rank()));
      y = to_first(one.apply(seen, Layout::channels_last), one.name == "patches");
    } else {
      y = one.apply(x, Layout::channels_first);
    }
    const Tensor g = tensor("g", y.shape(), f64);
    const auto f =
        function({x, g}, std::vector<Tensor>{y, vjp({y}, std::vector<Tensor>{x}, {g})[0]});
    const std::vector<Array> found =
        f(operand(one.shape, 1, DType::f64), operand(one.expected[0].shape, 3, DType::f64));
    CHECK(difference(found[0], one.expected[0]) == "");
    CHECK(difference(found[1], one.expected[1]) == "");
  }
  CHECK(count > 350);
}

TEST_CASE("patches put back add up where they overlap") {
  for (const Layout layout : {Layout::channels_first, Layout::channels_last}) {
    const Tensor x = tensor("x", {2, 4, 6, 4}, f64);
    const PatchOptions options{.stride = {2, 1}, .padding = 1, .layout = layout};
    const Tensor patches = images_to_patches(x, {3, 2}, options);
    const Tensor weights = tensor("w", patches.shape(), f64);
    const Dims sizes = layout == Layout::channels_last ? Dims{4, 6} : Dims{6, 4};
    const auto f = function(
        {weights}, std::vector<Tensor>{patches_to_images(weights, sizes, options),
                                       vjp({patches}, std::vector<Tensor>{x}, {weights})[0]});
    std::vector<std::int64_t> shape;
    for (const Dim& size : patches.shape()) shape.push_back(size.constant());
    const auto found = f(operand(shape, 2, DType::f64));
    CHECK(array_equal(found[0], found[1]));
  }
}

}  // namespace
