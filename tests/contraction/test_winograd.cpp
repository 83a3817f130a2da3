// Convolutions in tiles of several results: the same values as computed directly, for every shape.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <sstream>

#include "compiler/compile.h"
#include "compiler/contraction/winograd_transforms.h"
#include "tests/tools/cache_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests
using cache_test::Setting;

namespace {

struct Layer {
  Shape picture, filters;
  std::int64_t padding = 0, groups = 1;
  bool free_batch = false;
};

Tensor convolution_of(const Tensor& x, const Tensor& w, const Layer& layer) {
  const ConvolutionOptions options{.padding = layer.padding, .groups = layer.groups};
  if (layer.picture.rank() == 3) return conv1d(x, w, options);
  return layer.picture.rank() == 4 ? conv2d(x, w, options) : conv3d(x, w, options);
}

Dims dims_of(const Shape& shape, bool is_free) {
  Dims dims(shape.begin(), shape.end());
  if (is_free) dims[0] = dim("n");
  return dims;
}

// The convolution with an epilogue, and its gradients: multiples of 1/4 in [-range, range].
std::vector<Array> results(const Layer& layer, Winograd winograd, Check check, DType dtype,
                           double range) {
  const Tensor x = tensor("x", dims_of(layer.picture, layer.free_batch), dtype);
  const Tensor w = tensor("w", dims_of(layer.filters, false), dtype);
  const Tensor y = convolution_of(x, w, layer);
  const Tensor g = tensor("g", y.shape(), dtype);
  std::vector<Tensor> outputs = vjp({y}, std::vector<Tensor>{x, w}, {g});
  outputs.push_back(relu(y) + g);
  const auto f = function({x, w, g}, outputs, {.check = check, .winograd = winograd});
  const auto quarters = [&](const Shape& shape, std::uint64_t seed) {
    const Array whole = Array::uniform(shape, seed, -4 * range, 4 * range).cast(i32);
    const Tensor v = tensor("v", Dims(shape.begin(), shape.end()), i32);
    return Array(function({v}, cast(v, dtype) / 4)(whole));
  };
  Shape given = layer.picture;
  given[1] = layer.filters[0];
  for (std::size_t k = 2; k < static_cast<std::size_t>(given.rank()); ++k) {
    given[k] += 2 * layer.padding - layer.filters[k] + 1;
  }
  return f(quarters(layer.picture, 1), quarters(layer.filters, 2), quarters(given, 3));
}

double difference_of(const Array& a, const Array& b) {
  REQUIRE(a.shape() == b.shape());
  const Array x = a.cast(f64), y = b.cast(f64);
  double worst = 0;
  for (std::size_t k = 0; k < x.data<double>().size(); ++k) {
    const double difference = std::abs(x.data<double>()[k] - y.data<double>()[k]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return worst;
}

// Rows and columns that are no multiple of a tile, batches that fill no panel, filters that fill no
// tile of results.
const Layer layers[] = {
    {{2, 48, 16, 20}, {64, 48, 3, 3}, 1},
    {{3, 64, 7, 35}, {70, 64, 3, 3}, 0},
    {{1, 96, 9, 17}, {90, 96, 3, 3}, 2},
    {{5, 128, 7, 7}, {130, 128, 3, 3}, 1, 1, true},
    {{17, 100, 4, 16}, {100, 100, 3, 3}, 1, 1, true},
    {{2, 128, 14, 15}, {160, 64, 3, 3}, 1, 2},
    {{2, 64, 33}, {64, 64, 3}, 0},
    {{1, 64, 6, 18}, {64, 64, 1, 3}, 0},
    {{1, 64, 18, 16}, {64, 64, 3, 1}, 0},
    {{1, 64, 3, 5, 16}, {64, 64, 3, 3, 3}, 1},
    {{2, 130, 30, 3}, {140, 130, 3, 3}, 1},
    {{0, 64, 16, 16}, {64, 64, 3, 3}, 1},
    {{0, 64, 16, 16}, {64, 64, 3, 3}, 1, 1, true},
};

}  // namespace

TEST_CASE("winograd: whole numbers have the sums that they have directly") {
  // Sums of the filters are quarters, and all are small: nothing is rounded by tiles of 2.
  for (const Layer& layer : layers) {
    CAPTURE(layer.picture);
    const auto direct = results(layer, Winograd::off, Check::off, f32, 2);
    const auto tiled = results(layer, Winograd::two, Check::off, f32, 2);
    for (std::size_t k = 0; k < direct.size(); ++k) {
      CHECK(difference_of(direct[k], tiled[k]) == 0);
    }
  }
}

TEST_CASE("winograd: tiles of 4 give the sums up to rounding") {
  for (const Layer& layer : layers) {
    CAPTURE(layer.picture);
    const auto direct = results(layer, Winograd::off, Check::off, f64, 2);
    const auto tiled = results(layer, Winograd::four, Check::off, f64, 2);
    for (std::size_t k = 0; k < direct.size(); ++k) {
      CHECK(difference_of(direct[k], tiled[k]) < 1e-9);
    }
  }
}

TEST_CASE("winograd: only what was written is read, within buffers") {
  for (const Layer& layer : layers) {
    CAPTURE(layer.picture);
    for (const Winograd winograd : {Winograd::two, Winograd::four}) {
      CHECK_NOTHROW(results(layer, winograd, Check::memory, f32, 1));
    }
  }
}

TEST_CASE("winograd: rounding errors of tiles of 2 are those of the direct form") {
  const Layer layer{{2, 128, 28, 28}, {128, 128, 3, 3}, 1};
  // Activations as a network has them.
  const Tensor x = tensor("x", dims_of(layer.picture, false));
  const Tensor w = tensor("w", dims_of(layer.filters, false));
  const Array X = Array::normal(layer.picture, 1), W = Array::normal(layer.filters, 2, 0, 0.04);
  const auto error_of = [&](Winograd winograd) {
    const auto f = function({x, w}, convolution_of(relu(x), w, layer), {.winograd = winograd});
    const Tensor x64 = tensor("x", dims_of(layer.picture, false), f64);
    const Tensor w64 = tensor("w", dims_of(layer.filters, false), f64);
    const auto exact =
        function({x64, w64}, convolution_of(relu(x64), w64, layer), {.winograd = Winograd::off});
    const Array y = f(X, W).cast(f64), z = exact(X.cast(f64), W.cast(f64));
    double sum = 0;
    for (std::size_t k = 0; k < y.data<double>().size(); ++k) {
      const double error = y.data<double>()[k] - z.data<double>()[k];
      sum += error * error;
    }
    return std::sqrt(sum / static_cast<double>(y.data<double>().size()));
  };
  const double direct = error_of(Winograd::off);
  CHECK(error_of(Winograd::two) < 2 * direct);
  CHECK(error_of(Winograd::four) < 8 * direct);
}

TEST_CASE("winograd: where it pays, and as the function or the environment asks for") {
  const auto kernels_of = [](std::int64_t channels, WinogradTiles tiles) {
    const Tensor x = tensor("x", {2, channels, 32, 32});
    const Tensor w = tensor("w", {channels, channels, 3, 3});
    const Tensor y = conv2d(x, w);
    const std::vector<Tensor> outputs{y};
    const std::vector<Tensor> inputs{x, w};
    Graph graph(inputs, outputs, {}, true);
    const Program program =
        make_program(graph, "f", codegen::named_target("x86-64-v4"), {Checks{}, false, tiles});
    return program.steps.size();
  };
  CHECK(kernels_of(128, {1}) == 1);
  CHECK(kernels_of(128, {2}) == 2);
  CHECK(kernels_of(128, {4}) == 2);
  CHECK(kernels_of(8, {2}) == 1);
  {
    const Setting setting("KROTON_WINOGRAD", "4");
    CHECK(WinogradTiles::from_environment().most == 4);
  }
  const Setting setting("KROTON_WINOGRAD", "3");
  CHECK(value_error([] { WinogradTiles::from_environment(); }) ==
        "KROTON_WINOGRAD is \"3\", expected 0, 2 or 4");
}

TEST_CASE("convolutions: a function tells the form of its kernels") {
  const auto text_of = [](const Shape& picture, const Shape& filters, Winograd winograd) {
    const Tensor x = tensor("x", dims_of(picture, false)), w = tensor("w", dims_of(filters, false));
    const Tensor y = conv2d(x, w);
    const Tensor g = tensor("g", y.shape());
    std::ostringstream text;
    function({x, w, g}, std::vector<Tensor>{y, vjp({y}, std::vector<Tensor>{w}, {g})[0]},
             {.winograd = winograd})
        .print(text);
    return text.str();
  };
  CHECK(contains(text_of({2, 64, 32, 32}, {64, 64, 3, 3}, Winograd::two),
                 "convolution in tiles of 2 results along each axis"));
  const std::string direct = text_of({2, 64, 32, 32}, {64, 64, 3, 3}, Winograd::off);
  CHECK(contains(direct, "convolution with positions as columns"));
  CHECK(contains(direct, "convolution with filters as columns"));
  CHECK(contains(text_of({2, 64, 32, 32}, {64, 64, 1, 1}, Winograd::two),
                 "convolution as a matrix product"));
}

TEST_CASE("winograd: the transforms multiply") {
  using namespace winograd;  // NOLINT: tests
  for (const int m : {1, 2, 4}) {
    const Transforms& t = transforms(m);
    const std::size_t n = t.elements.size(), r = t.filter.at(0).size();
    REQUIRE(t.results.at(0).size() == static_cast<std::size_t>(m));
    // Every product of a result, an element and a place is counted once if they belong together.
    for (std::size_t p = 0; p < static_cast<std::size_t>(m); ++p) {
      for (std::size_t d = 0; d < n; ++d) {
        for (std::size_t k = 0; k < r; ++k) {
          double sum = 0;
          for (std::size_t f = 0; f < n; ++f) {
            sum += t.results[f][p] * t.elements[f][d] * t.filter[f][k];
          }
          CHECK(sum == doctest::Approx(d == p + k ? 1 : 0));
        }
      }
    }
  }
}
