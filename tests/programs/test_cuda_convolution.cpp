// Convolutions on a GPU and their gradients, in all the forms that a kernel of theirs has, against
// the reference interpreter.
#include <doctest/doctest.h>
#include <kroton/convolution.h>
#include <kroton/kroton.h>

#include <string>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests

namespace {

struct Layer {
  std::int64_t batch, channels;
  kt::Shape picture;
  std::int64_t filters;
  kt::Shape window;
  std::int64_t stride = 1, dilation = 1, groups = 1;
  bool is_padded = true;
  kt::DType dtype = kt::f32;
};

kt::Shape together(std::int64_t a, std::int64_t b, const kt::Shape& rest) {
  std::vector<std::int64_t> sizes{a, b};
  for (int axis = 0; axis < rest.rank(); ++axis) sizes.push_back(rest[axis]);
  return kt::Shape(std::span<const std::int64_t>(sizes));
}

// Adds the layer, with what is done to it, and its gradients.
void add(Problem& problem, const Layer& layer, bool is_free) {
  const auto seed = static_cast<std::uint64_t>(problem.inputs.size() + 1);
  const kt::Shape x_shape = together(layer.batch, layer.channels, layer.picture);
  const kt::Shape w_shape = together(layer.filters, layer.channels / layer.groups, layer.window);
  const std::string number = std::to_string(problem.inputs.size());
  kt::Dims x_dims, w_dims;
  for (int axis = 0; axis < x_shape.rank(); ++axis) {
    // Its channels are known, as those of layers are.
    const bool named = is_free && axis != 1;
    x_dims.push_back(named ? kt::dim("d" + number + "_" + std::to_string(axis))
                           : kt::Dim(x_shape[axis]));
    w_dims.push_back(w_shape[axis]);
  }
  const kt::Tensor x = kt::tensor("x" + number, x_dims, layer.dtype),
                   w = kt::tensor("w" + number, w_dims, layer.dtype);
  const int spatial = layer.picture.rank();
  kt::ConvolutionOptions options;
  options.stride = layer.stride;
  options.dilation = layer.dilation;
  options.groups = layer.groups;
  if (layer.is_padded) options.padding = kt::Padding::same;
  const kt::Tensor y = spatial == 1   ? kt::conv1d(x, w, options)
                       : spatial == 2 ? kt::conv2d(x, w, options)
                                      : kt::conv3d(x, w, options);
  const auto [gx, gw] = kt::grad(kt::sum(kt::square(y)), x, w);
  for (const kt::Tensor& t : {x, w}) problem.inputs.push_back(t);
  problem.values.push_back(random_array(x_shape, layer.dtype, seed));
  problem.values.push_back(random_array(w_shape, layer.dtype, seed + 1));
  for (const kt::Tensor& t : {kt::relu(y), gx, gw}) problem.outputs.push_back(t);
}

void check(const std::vector<Layer>& layers, bool is_free) {
  const gpu_emulator::TestCuda cuda;
  Problem problem;
  for (const Layer& layer : layers) add(problem, layer, is_free);
  // Sums of squares: the gradient by filters adds up products of some hundred.
  check_agrees(problem, {.f32 = 1e-5, .f64 = 1e-12}, kt::cuda());
}

}  // namespace

TEST_CASE("cuda: convolutions of known sizes with their gradients") {
  check({{2, 3, {9, 8}, 5, {3, 3}},
         {3, 17, {7, 7}, 33, {3, 3}},
         {1, 4, {6, 10}, 70, {1, 1}},
         {2, 5, {11, 9}, 4, {3, 2}, 2},
         {1, 3, {13, 13}, 17, {7, 7}, 2},
         {2, 2, {9, 9}, 3, {3, 3}, 1, 2},
         {1, 6, {5, 5}, 6, {3, 3}, 1, 1, 2}},
        false);
}

TEST_CASE("cuda: convolutions of one and three axes with their gradients") {
  check({{2, 3, {19}, 4, {5}},
         {2, 20, {40}, 20, {3}, 2, 1, 1, false},
         {1, 2, {4, 5, 6}, 3, {3, 3, 3}},
         {1, 3, {5, 4, 4}, 18, {2, 1, 3}, 1, 1, 1, false},
         {1, 1, {40}, 1, {20}},
         {2, 3, {6, 6}, 4, {3, 3}, 1, 1, 1, true, kt::f64},
         {2, 4, {6, 6}, 20, {3, 3}, 1, 1, 1, true, kt::f16}},
        false);
}

TEST_CASE("cuda: convolutions whose sums are shared by blocks") {
  // Few results of many products each, forwards, by the picture and by the filters.
  check({{1, 130, {5, 5}, 3, {3, 3}}, {1, 2, {6, 6}, 150, {3, 3}}, {4, 3, {20, 20}, 4, {3, 3}}},
        false);
}

TEST_CASE("cuda: convolutions of free sizes with their gradients") {
  check({{2, 3, {9, 8}, 5, {3, 3}}, {1, 17, {17, 16}, 20, {3, 3}, 2}, {2, 4, {30}, 6, {5}}}, true);
}

TEST_CASE("cuda: each channel of a convolution with a window of its own") {
  check({{2, 6, {9, 8}, 6, {3, 3}, 1, 1, 6}, {1, 4, {9, 9}, 8, {3, 3}, 2, 1, 4}}, false);
}

TEST_CASE("cuda: elements below each other that read much of the same") {
  // By four, and by seven.
  for (const kt::Shape& picture : {kt::Shape{64, 64}, kt::Shape{49, 160}}) {
    check({{1, 16, picture, 16, {3, 3}, 1, 1, 16}}, false);
  }
}
