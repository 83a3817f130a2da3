// Products and convolutions: of f32, in TF32, of 16 bits; by the library, and ("own") by kernels.
#include <kroton/convolution.h>

#include "tests/gpu/benchmarks.h"

namespace gpu_benchmarks {
namespace {

kt::Target kernels_only() {
  kt::Target target = kt::cuda();
  target.products = false;
  return target;
}

kt::Target in_tf32(kt::Target target = kt::cuda()) {
  target.tf32 = true;
  return target;
}

// Square ones in a dtype of 16 bits.
void narrow_products(const char* name, kt::DType dtype) {
  const std::int64_t n = size(4096, 32);
  const auto a = data({n, n}, 40, 1, dtype), b = data({n, n}, 41, 1, dtype);
  const auto bias = data({n}, 42, 1, dtype);
  const Work work{6 * real(n) * real(n), 2 * real(n) * real(n) * real(n)};
  const std::string of = std::string(name) + "_4096";
  resident("dot_" + of, work, [&] { return kt::dot(a, b); });
  resident("dot_own_" + of, work, [&] { return kt::dot(a, b); }, kernels_only());
  resident("dot_bias_relu_" + of, work, [&] { return kt::relu(kt::dot(a, b) + bias); });
}

void attention(const std::string& name, kt::DType dtype, const kt::Target& target) {
  const std::int64_t batch = size(96, 2), length = size(512, 9);
  const auto q = data({batch, length, 64}, 22, 1, dtype);
  const auto key = data({batch, length, 64}, 23, 1, dtype);
  const auto value = data({batch, length, 64}, 24, 1, dtype);
  const Work work{0, 4 * real(batch) * real(length) * real(length) * 64};
  resident(
      name, work,
      [&] {
        const auto scores = kt::matmul(q, kt::transpose(key, {0, 2, 1})) / 8;
        return kt::matmul(kt::softmax(scores), value);
      },
      target);
}

// A window over a picture with as many channels as filters, and its gradients.
void layer(const std::string& kind, kt::DType dtype, const kt::Target& target) {
  const std::int64_t pictures = size(32, 1), side = size(56, 6);
  const auto image = data({pictures, 64, side, side}, 25, 1, dtype);
  const auto filters = data({64, 64, 3, 3}, 26, 1, dtype);
  kt::ConvolutionOptions same;
  same.padding = kt::Padding::same;
  const Work work{0, 2 * real(pictures) * real(side) * real(side) * 64 * 64 * 9};
  const auto all = [&] {
    return kt::sum(kt::square(kt::cast(kt::conv2d(image, filters, same), kt::f32)));
  };
  const std::string by = kind + "32x64x56x56";
  resident("conv_" + by, work, [&] { return kt::conv2d(image, filters, same); }, target);
  resident("conv_grad_filters_" + by, work, [&] { return kt::grad(all(), filters); }, target);
  resident("conv_grad_image_" + by, work, [&] { return kt::grad(all(), image); }, target);
}

}  // namespace

void products() {
  const kt::Target own = kernels_only();
  for (const std::int64_t large : {512, 1024, 4096}) {
    const std::int64_t n = size(large, 16 + large / 256);
    const std::string by = std::to_string(large);
    const auto a = data({n, n}, 15), b = data({n, n}, 16), bias = data({n}, 17);
    const Work work{12 * real(n) * real(n), 2 * real(n) * real(n) * real(n)};
    resident("dot_" + by, work, [&] { return kt::dot(a, b); });
    resident("dot_own_" + by, work, [&] { return kt::dot(a, b); }, own);
    resident("dot_bias_relu_" + by, work, [&] { return kt::relu(kt::dot(a, b) + bias); });
  }
  const std::int64_t k = size(16384, 64);
  const auto flat = data({64, k}, 18), tall = data({k, 64}, 19);
  const Work work{8 * 64 * real(k), 2 * 64 * 64 * real(k)};
  resident("dot_64x16384x64", work, [&] { return kt::dot(flat, tall); });
  resident("dot_own_64x16384x64", work, [&] { return kt::dot(flat, tall); }, own);
  const std::int64_t n = size(4096, 40);
  const auto w = data({n, n}, 20), v = data({n}, 21);
  resident("dot_matrix_vector_4096", {4 * real(n) * real(n), 0}, [&] { return kt::dot(w, v); });
  attention("attention_96x512x64", kt::f32, kt::cuda());
  attention("attention_tf32_96x512x64", kt::f32, in_tf32());
  attention("attention_bf16_96x512x64", kt::bf16, kt::cuda());
  narrow_products("bf16", kt::bf16);
  narrow_products("f16", kt::f16);
  const std::int64_t m = size(4096, 32);
  const auto c = data({m, m}, 40), d = data({m, m}, 41), row = data({m}, 42);
  const Work square{12 * real(m) * real(m), 2 * real(m) * real(m) * real(m)};
  resident("dot_tf32_4096", square, [&] { return kt::dot(c, d); }, in_tf32());
  resident("dot_own_tf32_4096", square, [&] { return kt::dot(c, d); }, in_tf32(kernels_only()));
  resident(
      "dot_bias_relu_tf32_4096", square, [&] { return kt::relu(kt::dot(c, d) + row); }, in_tf32());
  const auto few = data({8, m}, 43, 1, kt::bf16), many = data({m, m}, 44, 1, kt::bf16);
  resident("dot_bf16_8x4096x4096", {2 * real(m) * real(m), 16 * real(m) * real(m)},
           [&] { return kt::dot(few, many); });
}

void convolutions() {
  layer("", kt::f32, kt::cuda());
  layer("tf32_", kt::f32, in_tf32());
  layer("bf16_", kt::bf16, kt::cuda());
  layer("f16_", kt::f16, kt::cuda());
  const std::int64_t pictures = size(32, 1), side = size(56, 6), wide = size(256, 16);
  const auto one = data({pictures, wide, side, side}, 45, 1, kt::bf16);
  const auto points = data({64, wide, 1, 1}, 46, 1, kt::bf16);
  resident("conv_1x1_bf16_32x256x56x56",
           {0, 2 * real(pictures) * real(side) * real(side) * real(wide) * 64},
           [&] { return kt::conv2d(one, points); });
  const std::int64_t channels = size(96, 3);
  const auto image = data({pictures, channels, side, side}, 47);
  const auto each = data({channels, 1, 3, 3}, 48);
  kt::ConvolutionOptions options;
  options.padding = kt::Padding::same;
  options.groups = channels;
  resident("conv_depthwise_32x96x56x56",
           {8 * real(pictures) * real(channels) * real(side) * real(side), 0},
           [&] { return kt::conv2d(image, each, options); });
}

}  // namespace gpu_benchmarks
