// Convolutions and their transposes: values and gradients against PyTorch's, errors, and what has
// no place in the samples of the op.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "tests/ops/peer_values.h"
#include "tests/tools/error_text.h"
#include "tests/tools/places.h"
#include "tests/tools/quick_code.h"

namespace test_convolution {

using namespace kroton;       // NOLINT: tests
using namespace error_text;   // NOLINT: tests
using namespace peer_values;  // NOLINT: tests

namespace {

// A line of convolution_values.txt.
struct Case {
  bool transposed, last, flip;
  std::int64_t n, c, o, groups;
  Integers size, window, stride, dilation, more;
  std::string padding;
  struct Expected {
    Integers shape, sums;
  };
  std::vector<Expected> expected;

  explicit Case(const std::string& line) {
    std::istringstream in(line);
    const auto word = [&] {
      std::string text;
      in >> text;
      return text;
    };
    transposed = word() == "transposed";
    last = word() == "last";
    flip = word() == "flip";
    const Integers counts = numbers(word());
    n = counts[0], c = counts[1], o = counts[2], groups = counts[3];
    size = numbers(word()), window = numbers(word()), stride = numbers(word());
    dilation = numbers(word());
    padding = word();
    more = numbers(word());
    for (int k = 0; k < 3; ++k) {
      const Integers shape = numbers(word());
      expected.push_back({shape, numbers(word())});
    }
  }

  Padding pads() const {
    if (padding == "valid") return Padding::valid;
    if (padding == "same") return Padding::same;
    if (padding == "full") return Padding::full;
    std::vector<std::pair<Dim, Dim>> widths;
    std::istringstream in(padding);
    for (std::string pair; std::getline(in, pair, ';');) {
      const Integers both = numbers(pair);
      widths.emplace_back(both[0], both[1]);
    }
    return widths;
  }

  Integers x_shape() const {
    Integers shape = {n};
    if (!last) shape.push_back(c);
    shape.insert(shape.end(), size.begin(), size.end());
    if (last) shape.push_back(c);
    return shape;
  }
  Integers w_shape() const {
    Integers shape = transposed ? Integers{c, o / groups} : Integers{o, c / groups};
    shape.insert(shape.end(), window.begin(), window.end());
    return shape;
  }

  Tensor apply(const Tensor& x, const Tensor& w) const {
    const Layout layout = last ? Layout::channels_last : Layout::channels_first;
    if (transposed) {
      constexpr Tensor (*functions[])(const Operand&, const Operand&,
                                      const ConvTransposeOptions&) = {
          conv_transpose1d, conv_transpose2d, conv_transpose3d};
      return functions[size.size() - 1](x, w,
                                        {.stride = PerAxis(stride),
                                         .padding = pads(),
                                         .output_padding = PerAxis(more),
                                         .dilation = PerAxis(dilation),
                                         .groups = groups,
                                         .layout = layout,
                                         .flip = flip});
    }
    constexpr Tensor (*functions[])(const Operand&, const Operand&, const ConvolutionOptions&) = {
        conv1d, conv2d, conv3d};
    return functions[size.size() - 1](x, w,
                                      {.stride = PerAxis(stride),
                                       .padding = pads(),
                                       .dilation = PerAxis(dilation),
                                       .groups = groups,
                                       .layout = layout,
                                       .flip = flip});
  }
};

std::string difference(const Array& found, const Case::Expected& expected) {
  const Integers shape(found.shape().begin(), found.shape().end());
  if (shape != expected.shape) return "the shape is " + to_string(found.shape());
  const Array exact = found.cast(DType::f64);
  double sums[2] = {0, 0};
  std::int64_t k = 0;
  for (const double value : exact.data<double>()) {
    sums[0] += value * static_cast<double>(k % 11 - 5);
    sums[1] += value * static_cast<double>(k % 17 + 1);
    ++k;
  }
  const bool same = sums[0] == static_cast<double>(expected.sums[0]) &&
                    sums[1] == static_cast<double>(expected.sums[1]);
  return same ? "" : "the sums are " + std::to_string(sums[0]) + ", " + std::to_string(sums[1]);
}

// The function of a setting, with the sizes that its cases do not share free.
class Compiled {
 public:
  Compiled(const Case& of, bool is_free, DType dtype) {
    const std::size_t axes = of.size.size();
    Dims x_shape, w_shape;
    for (const std::int64_t size : of.x_shape()) x_shape.push_back(size);
    for (const std::int64_t size : of.w_shape()) w_shape.push_back(size);
    if (is_free) {
      x_shape[0] = dim("n");
      for (std::size_t axis = 0; axis < axes; ++axis) {
        x_shape[axis + (of.last ? 1 : 2)] = dim("s" + std::to_string(axis));
      }
      if (of.groups == 1) {
        x_shape[of.last ? axes + 1 : 1] = dim("c");
        w_shape[0] = dim(of.transposed ? "c" : "o");
        w_shape[1] = dim(of.transposed ? "o" : "c");
      }
    }
    const Tensor x = tensor("x", x_shape, dtype), w = tensor("w", w_shape, dtype);
    const Tensor y = of.apply(x, w);
    const Tensor g = tensor("g", y.shape(), dtype);
    const std::vector<Tensor> gradients = vjp({y}, std::vector<Tensor>{x, w}, {g});
    function_.emplace(function({x, w, g}, std::vector<Tensor>{y, gradients[0], gradients[1]}));
  }
  std::vector<Array> operator()(const Case& with, DType dtype) const {
    return (*function_)(operand(with.x_shape(), 1, dtype), operand(with.w_shape(), 2, dtype),
                        operand(with.expected[0].shape, 3, dtype));
  }

 private:
  std::optional<Function<dynamic_outputs>> function_;
};

// The file's settings come in blocks of six lines; every `parts`-th one from `which` on.
void check_values(int which) {
  constexpr int parts = 4, lines = 6;
  std::ifstream file(places::source_dir() + "/tests/ops/convolution_values.txt");
  REQUIRE(file.good());
  std::map<std::string, Compiled> compiled;
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    if (count / lines % parts != which) continue;
    CAPTURE(line);
    // Loops are the same in either; a few settings show that machine code is.
    const QuickCode quick(count / lines % 10 != 0);
    const Case one(line);
    const DType dtype = count % 5 == 4 ? DType::f64 : DType::f32;
    const bool is_free = count % 6 != 0;
    std::ostringstream key;
    key << one.transposed << one.last << one.flip << one.padding << static_cast<int>(dtype);
    for (const Integers& part : {one.window, one.stride, one.dilation, one.more}) {
      for (const std::int64_t number : part) key << ' ' << number;
    }
    if (one.groups > 1) key << ' ' << one.groups << ' ' << one.c << ' ' << one.o;
    if (!is_free) key << ' ' << line;
    const auto at = compiled.try_emplace(key.str(), one, is_free, dtype).first;
    const std::vector<Array> found = at->second(one, dtype);
    CHECK(difference(found[0], one.expected[0]) == "");
    CHECK(difference(found[1], one.expected[1]) == "");
    CHECK(difference(found[2], one.expected[2]) == "");
  }
  CHECK(count >= 600);
}

// Several, that run side by side.
TEST_CASE("convolutions, their transposes and gradients give PyTorch's values: 1") {
  check_values(0);
}
TEST_CASE("convolutions, their transposes and gradients give PyTorch's values: 2") {
  check_values(1);
}
TEST_CASE("convolutions, their transposes and gradients give PyTorch's values: 3") {
  check_values(2);
}
TEST_CASE("convolutions, their transposes and gradients give PyTorch's values: 4") {
  check_values(3);
}

TEST_CASE("convolutions: errors") {
  const Tensor x = tensor("x", {dim("n"), 3, 7, 5}), w = tensor("w", {4, 3, 3, 3});
  CHECK(
      shape_error([&] { conv2d(x, tensor("w", {4, 2, 3, 3})); }) ==
      "conv2d: x has 3 channels, the filters are for 2: x is f32 (n, 3, 7, 5), w is f32 (4, 2, 3, "
      "3)  [here]");
  CHECK(
      shape_error([&] { conv2d(x, tensor("w", {4, 3, 8, 3})); }) ==
      "conv2d: the window reaches over 8 positions of spatial axis 0, which has 7: x is f32 (n, 3, "
      "7, 5), w is f32 (4, 3, 8, 3)  [here]");
  CHECK(
      shape_error([&] { conv2d(x, w, {.padding = 1, .dilation = 4}); }) ==
      "conv2d: the window reaches over 9 positions of spatial axis 1, which has 7 with its padding:"
      " x is f32 (n, 3, 7, 5), w is f32 (4, 3, 3, 3)  [here]");
  CHECK(
      shape_error([&] { conv1d(x, w); }) ==
      "conv1d: takes x (batch, channels, spatial...) and filters (out, in, window...) of rank 3: x "
      "is f32 (n, 3, 7, 5), w is f32 (4, 3, 3, 3)  [here]");
  CHECK(shape_error([&] { conv2d(x, w, {.groups = 3}); }) ==
        "conv2d: 4 filters cannot be divided into 3 groups: x is f32 (n, 3, 7, 5), w is f32 (4, 3, "
        "3, 3)  [here]");
  CHECK(value_error([&] { conv2d(x, w, {.stride = {1, 0}}); }) ==
        "conv2d: stride is 0, at least 1 is possible  [here]");
  CHECK(value_error([&] { conv2d(x, w, {.dilation = {1, 1, 1}}); }) ==
        "conv2d: dilation has 3 numbers for 2 spatial axes  [here]");
  CHECK(value_error([&] { conv2d(x, w, {.padding = -1}); }) ==
        "conv2d: padding is negative: -1  [here]");
  CHECK(
      value_error([&] { conv_transpose2d(tensor("z", {1, 4, 2, 2}), w, {.output_padding = 1}); }) ==
      "conv_transpose2d: output_padding is 1, it has to be less than the stride, 1  [here]");
  CHECK(type_error([&] { conv2d(cast(x, i32), cast(w, i32)); }) ==
        "conv2d: takes floating point only: cast is i32 (n, 3, 7, 5), cast is i32 (4, 3, 3, 3)  "
        "[here]");
  // Of the call, where a size is free.
  const Tensor free = tensor("free", {1, 3, dim("h"), dim("h")});
  const auto f = function({free, w}, conv2d(free, w));
  CHECK(shape_error([&] { f(Array::ones({1, 3, 2, 2}), Array::ones({4, 3, 3, 3})); }) ==
        "function: conv2d: the window reaches over 3 positions of spatial axis 0, which has 2  "
        "[here]");
  CHECK(f(Array::ones({1, 3, 3, 3}), Array::ones({4, 3, 3, 3})).size() == 4);
  CHECK(value_error([&] { conv2d(x, w, {.dilation = std::int64_t{1} << 62}); }) ==
        "conv2d: dilation is 4611686018427387904, at most 2147483647 is possible  [here]");
  CHECK(value_error([&] { conv2d(x, w, {.padding = std::int64_t{1} << 62}); }) ==
        "conv2d: padding is 4611686018427387904, at most 2147483647 is possible  [here]");
  const auto transposed =
      function({free}, conv_transpose2d(free, zeros({3, 4, 3, 3}), {.stride = 2, .padding = 2}));
  CHECK(shape_error([&] { transposed(Array::ones({1, 3, 1, 1})); }) ==
        "function: conv_transpose2d: the padding takes away 4 of 3 positions of spatial axis 0  "
        "[here]");
  CHECK(shape_error(
            [&] { conv_transpose2d(tensor("z", {1, 4, 1, 1}), w, {.stride = 2, .padding = 2}); }) ==
        "conv_transpose2d: the padding takes away 4 of 3 positions of spatial axis 0: z is f32 (1, "
        "4, 1, 1), w is f32 (4, 3, 3, 3)  [here]");
}

// What f(x, w) gives with its gradients, of a picture of free size and of one whose size is known:
// the same; and at the size below the least one an error.
void check_free_sizes(const std::function<Tensor(const Tensor&, const Tensor&)>& f,
                      const Dims& filters, std::int64_t least, const std::string& error) {
  const auto compiled = [&](const Dim& size) {
    const Tensor x = tensor("x", {2, 2, size, size}), w = tensor("w", filters);
    const Tensor y = f(x, w), cost = sum(y * y);
    return function({x, w}, std::vector<Tensor>{y, grad(cost, x), grad(cost, w)});
  };
  const auto call = [&](const auto& function, std::int64_t size) {
    return function(operand({2, 2, size, size}, 1, f32),
                    operand({filters[0].constant(), filters[1].constant(), 3, 3}, 2, f32));
  };
  const auto free = compiled(dim("h"));
  CHECK(shape_error([&] { call(free, least - 1); }) == error);
  // 37: several panels of rows, each of several widths of tiles.
  for (const std::int64_t size : {least, least + 1, least + 2, least + 3, std::int64_t{37}}) {
    CAPTURE(size);
    const auto expected = call(compiled(size), size);
    const auto results = call(free, size);
    for (std::size_t k = 0; k < expected.size(); ++k) {
      CAPTURE(k);
      CHECK(all_close(results[k], expected[k], 1e-5, 1e-5));
    }
  }
}

TEST_CASE("convolutions, pools and their gradients of free sizes down to one window") {
  for (const int stride : {1, 2, 4}) {
    CAPTURE(stride);
    const auto reaches = [](const std::string& op, const std::string& has) {
      return "function: " + op + ": the window reaches over 3 positions of spatial axis 0, " + has +
             "  [here]";
    };
    check_free_sizes(
        [&](const Tensor& x, const Tensor& w) { return conv2d(x, w, {.stride = stride}); },
        {3, 2, 3, 3}, 3, reaches("conv2d", "which has 2"));
    check_free_sizes(
        [&](const Tensor& x, const Tensor& w) {
          return conv2d(x, w, {.stride = stride, .padding = 1});
        },
        {3, 2, 3, 3}, 1, reaches("conv2d", "which has 2 with its padding"));
    check_free_sizes(
        [&](const Tensor& x, const Tensor& w) {
          return sum(w) * max_pool(x, 3, {.stride = PerAxis(stride)});
        },
        {3, 2, 3, 3}, 3, reaches("max_pool", "which has 2"));
    check_free_sizes(
        [&](const Tensor& x, const Tensor& w) {
          return sum(w) * avg_pool(x, 3, {.stride = PerAxis(stride), .padding = 1});
        },
        {3, 2, 3, 3}, 1, reaches("avg_pool", "which has 2 with its padding"));
    check_free_sizes(
        [&](const Tensor& x, const Tensor& w) {
          return conv_transpose2d(x, w, {.stride = stride, .padding = 2});
        },
        {2, 3, 3, 3}, 2,
        "function: conv_transpose2d: the padding takes away 4 of 3 positions of spatial axis 0  "
        "[here]");
  }
}

TEST_CASE("convolutions of nothing") {
  const Tensor x = tensor("x", {dim("n"), dim("c"), 5, 5}), w = tensor("w", {2, dim("c"), 3, 3});
  const Tensor y = conv2d(x, w, {.padding = Padding::same});
  const auto f = function({x, w}, std::vector<Tensor>{y, grad(sum(y * y), w)});
  const auto no_pictures = f(Array::ones({0, 1, 5, 5}), Array::ones({2, 1, 3, 3}));
  CHECK(no_pictures[0].size() == 0);
  CHECK(array_equal(no_pictures[1], Array::zeros({2, 1, 3, 3})));
  const auto no_channels = f(Array::ones({1, 0, 5, 5}), Array::ones({2, 0, 3, 3}));
  CHECK(array_equal(no_channels[0], Array::zeros({1, 2, 5, 5})));
  CHECK(no_channels[1].size() == 0);
}

}  // namespace

}  // namespace test_convolution
