// Convolutions by cuDNN, on the library of the tests.
#include <doctest/doctest.h>
#include <kroton/convolution.h>
#include <kroton/kroton.h>

#include <vector>

#include "compiler/codegen/cuda/choices.h"
#include "tests/fake_driver/process.h"
#include "tests/tools/cache_tools.h"
#include "tests/tools/error_text.h"

namespace kt = kroton;
using fake_driver::Process;

namespace {

struct ConvolutionCase {
  kt::Shape x, w;
  kt::ConvolutionOptions options = {};
  // The library's convolutions in the gradient by the picture: each class of positions that a
  // stride makes sees a part of the filters, which the library has no layout for.
  int by_picture = 1;
};

std::vector<ConvolutionCase> convolution_cases() {
  return {
      {{2, 3, 7, 8}, {5, 3, 3, 3}, {}},
      {{2, 3, 7, 8}, {5, 3, 3, 3}, {.padding = 1}},
      {{2, 3, 7, 8}, {5, 3, 3, 2}, {.stride = {2, 1}, .padding = kt::Padding::same}, 0},
      {{1, 2, 9, 9}, {3, 2, 3, 3}, {.stride = 2, .padding = {{0, 2}, {1, 0}}, .dilation = 2}},
      {{2, 4, 6, 5}, {6, 2, 3, 3}, {.padding = 1, .groups = 2}},
      {{2, 6, 6, 5}, {6, 3, 1, 1}, {.groups = 2}},
      {{2, 3, 17}, {4, 3, 3}, {.stride = 3, .padding = 2}, 0},
      {{2, 2, 4, 5, 4}, {3, 2, 2, 3, 2}, {.padding = 1}},
      {{2, 6, 5, 3}, {4, 3, 3, 3}, {.padding = 1, .layout = kt::Layout::channels_last}},
      {{2, 3, 6, 7}, {4, 3, 3, 2}, {.padding = kt::Padding::full, .flip = true}},
  };
}

kt::Tensor convolved(const kt::Tensor& x, const kt::Tensor& w,
                     const kt::ConvolutionOptions& options) {
  return x.rank() == 3   ? kt::conv1d(x, w, options)
         : x.rank() == 4 ? kt::conv2d(x, w, options)
                         : kt::conv3d(x, w, options);
}

kt::Tensor named(const char* name, const kt::Shape& shape, kt::DType dtype) {
  return kt::tensor(name, std::vector<kt::Dim>(shape.begin(), shape.end()), dtype);
}

double tolerance_of(kt::DType dtype) {
  return dtype == kt::f64 ? 1e-12 : dtype == kt::f32 ? 1e-4 : dtype == kt::f16 ? 4e-3 : 3e-2;
}

// The results of these for x and w on both processors, called three times; how many convolutions
// of the library one call has.
int check_convolutions(const Process& process, const std::vector<kt::Tensor>& inputs,
                       const kt::Tensor& result, const std::vector<kt::Array>& values,
                       const kt::Target& target = kt::cuda()) {
  constexpr auto ignore = kt::UnusedInput::ignore;
  const auto on_cpu =
      kt::function(inputs, std::vector<kt::Tensor>{result}, {.on_unused_input = ignore});
  const auto on_cuda = kt::function(inputs, std::vector<kt::Tensor>{result},
                                    {.target = target, .on_unused_input = ignore});
  const std::vector<kt::Argument> arguments(values.begin(), values.end());
  const kt::Array want = on_cpu.call(arguments)[0];
  const double tolerance = tolerance_of(result.dtype());
  int ran = 0;
  for (int call = 0; call < 3; ++call) {
    const int before = process->convolutions();
    const kt::Array have = on_cuda.call(arguments)[0];
    CHECK(kt::all_close(have, want, tolerance, tolerance));
    ran = process->convolutions() - before;
  }
  return ran;
}

}  // namespace

TEST_CASE("library convolutions: strides and padding and dilation and groups and layouts") {
  const Process process("cudnn=on");
  if (!process) return;
  for (const kt::DType dtype : {kt::f32, kt::f64, kt::bf16, kt::f16}) {
    for (const ConvolutionCase& one : convolution_cases()) {
      CAPTURE(dtype);
      CAPTURE(kt::to_string(one.x));
      CAPTURE(kt::to_string(one.w));
      const auto x = named("x", one.x, dtype), w = named("w", one.w, dtype);
      const kt::Tensor y = convolved(x, w, one.options);
      const std::vector<kt::Array> values{kt::Array::normal(one.x, 1).cast(dtype),
                                          kt::Array::normal(one.w, 2).cast(dtype)};
      // Turned around: the library knows that.
      CHECK(check_convolutions(process, {x, w}, y, values) == 1);
    }
  }
}

TEST_CASE("library convolutions: gradients by picture and filters") {
  const Process process("cudnn=on");
  if (!process) return;
  for (const kt::DType dtype : {kt::f32, kt::bf16}) {
    for (ConvolutionCase one : convolution_cases()) {
      one.x[0] *= 16;  // so that many products are added up for each filter
      CAPTURE(dtype);
      CAPTURE(kt::to_string(one.x));
      CAPTURE(kt::to_string(one.w));
      const auto x = named("x", one.x, dtype), w = named("w", one.w, dtype);
      const kt::Tensor y = convolved(x, w, one.options);
      const kt::Tensor g = kt::tensor("g", y.shape(), dtype);
      std::vector<kt::Array> values{kt::Array::normal(one.x, 1).cast(dtype),
                                    kt::Array::normal(one.w, 2).cast(dtype)};
      const kt::Array shaped = kt::function({x, w}, y)(values[0], values[1]);
      values.push_back(kt::Array::normal(shaped.shape(), 3).cast(dtype));
      const kt::Tensor cost = kt::sum(kt::cast(y * g, kt::f32));
      CHECK(check_convolutions(process, {x, w, g}, kt::grad(cost, w), values) == 1);
      CHECK(check_convolutions(process, {x, w, g}, kt::grad(cost, x), values) == one.by_picture);
    }
  }
}

TEST_CASE("library convolutions: batches of a free size and of none") {
  const Process process("cudnn=on");
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("n"), 3, 7, 8}), w = kt::tensor("w", {5, 3, 3, 3});
  const auto g = kt::tensor("g", {x.shape(0), 5, 7, 8});
  const kt::Tensor cost = kt::sum(kt::conv2d(x, w, {.padding = 1}) * g);
  for (const std::int64_t n : {1, 3, 0}) {
    CAPTURE(n);
    const std::vector<kt::Array> values{kt::Array::normal({n, 3, 7, 8}, 1),
                                        kt::Array::normal({5, 3, 3, 3}, 2),
                                        kt::Array::normal({n, 5, 7, 8}, 3)};
    const int ran = n == 0 ? 0 : 1;
    CHECK(check_convolutions(process, {x, w, g}, kt::grad(cost, x), values) == ran);
    CHECK(check_convolutions(process, {x, w, g}, kt::grad(cost, w), values) == ran);
    CHECK(check_convolutions(process, {x, w, g}, kt::conv2d(x, w, {.padding = 1}), values) == ran);
  }
}

TEST_CASE("library convolutions: what is done to results goes behind them where that pays") {
  const Process process("cudnn=on");
  if (!process) return;
  const auto b = kt::vector("b");
  for (const std::int64_t channels : {2, 16}) {
    CAPTURE(channels);
    const auto x = kt::tensor("x", {2, channels, 6, 5}), w = kt::tensor("w", {4, channels, 3, 3});
    const kt::Tensor y = kt::relu(kt::conv2d(x, w, {.padding = 1}) + kt::reshape(b, {4, 1, 1}));
    const std::vector<kt::Array> values{kt::Array::normal({2, channels, 6, 5}, 1),
                                        kt::Array::normal({4, channels, 3, 3}, 2),
                                        kt::Array::normal({4}, 3)};
    CHECK(check_convolutions(process, {x, w, b}, y, values) == (channels == 16 ? 1 : 0));
  }
}

TEST_CASE("library convolutions: what is no convolution of memory is a kernel") {
  const Process process("cudnn=on");
  if (!process) return;
  const auto x = kt::tensor("x", {2, 3, 6, 5}), w = kt::tensor("w", {4, 3, 3, 3});
  const std::vector<kt::Array> values{kt::Array::normal({2, 3, 6, 5}, 1),
                                      kt::Array::normal({4, 3, 3, 3}, 2)};
  // Zeros that are not the padding's.
  const auto rows = kt::reshape(kt::arange(6), {6, 1});
  const kt::Tensor masked = kt::where(rows < 4, x, 0.0F);
  check_convolutions(process, {x, w}, kt::conv2d(masked, w, {.padding = 1}), values);
  check_convolutions(process, {x, w}, kt::conv2d(kt::where(kt::isnan(x), 0.0F, x), w), values);
  check_convolutions(process, {x, w}, kt::conv2d(2 * x, w / 3, {.padding = 1}), values);
  check_convolutions(process, {x, w}, kt::conv2d(x * x, w), values);
  kt::Target off = kt::cuda();
  off.products = false;
  CHECK(check_convolutions(process, {x, w}, kt::conv2d(x, w), values, off) == 0);
}

TEST_CASE("library convolutions: without the library or what it refuses a kernel does it") {
  const auto x = kt::tensor("x", {2, 3, 6, 5}), w = kt::tensor("w", {4, 3, 3, 3});
  const std::vector<kt::Array> values{kt::Array::normal({2, 3, 6, 5}, 1),
                                      kt::Array::normal({4, 3, 3, 3}, 2)};
  for (const char* behaviour : {"off", "refuses", "none", "late", "fallback"}) {
    const Process process(std::string("cudnn=") + behaviour);
    if (!process) continue;
    const std::string asked = std::getenv("KROTON_FAKE_DRIVER");
    CHECK(check_convolutions(process, {x, w}, kt::conv2d(x, w, {.padding = 1}), values) ==
          (asked == "cudnn=fallback" ? 1 : 0));
    break;
  }
}

TEST_CASE("library convolutions: a library that fails is an error") {
  const Process process("cudnn=broken");
  if (!process) return;
  const auto x = kt::tensor("x", {2, 3, 6, 5}), w = kt::tensor("w", {4, 3, 3, 3});
  const auto f = kt::function({x, w}, kt::conv2d(x, w), {.target = kt::cuda()});
  const std::string message = error_text::device_error(
      [&] { f(kt::Array::normal({2, 3, 6, 5}, 1), kt::Array::normal({4, 3, 3, 3}, 2)); });
  CHECK(error_text::contains(message, "libcudnn.so.9"));
  CHECK(error_text::contains(message, "cudnnBackendExecute: CUDNN_STATUS_EXECUTION_FAILED (5000)"));
}

TEST_CASE("library convolutions: operands are rounded to 11 bits only where that is asked for") {
  const Process process("cudnn=on");
  if (!process) return;
  const auto x = kt::tensor("x", {2, 3, 6, 5}), w = kt::tensor("w", {4, 3, 3, 3});
  const kt::Array xs = kt::Array::normal({2, 3, 6, 5}, 1), ws = kt::Array::normal({4, 3, 3, 3}, 2);
  const auto y = kt::conv2d(x, w);
  const kt::Array want = kt::function({x, w}, y)(xs, ws);
  kt::Target tf32 = kt::cuda();
  tf32.tf32 = true;
  const kt::Array rounded = kt::function({x, w}, y, {.target = tf32})(xs, ws);
  CHECK(process->convolutions() == 1);
  CHECK(kt::all_close(rounded, want, 5e-3, 5e-3));
  CHECK_FALSE(kt::all_close(rounded, want, 1e-6, 1e-6));
}

TEST_CASE("library convolutions: filters are updated in place and failed checks leave them") {
  const Process process("cudnn=on");
  if (!process) return;
  const auto x = kt::tensor("x", {6, 3, 6, 5}), g = kt::tensor("g", {6, 4, 6, 5});
  const auto row = kt::scalar("row", kt::i64);
  const kt::Array start = kt::Array::normal({4, 3, 3, 3}, 2);
  const kt::Array xs = kt::Array::normal({6, 3, 6, 5}, 1), gs = kt::Array::normal({6, 4, 6, 5}, 3);
  const auto steps = [&](const kt::Target& target, bool fails) {
    auto w = kt::shared(start, "w");
    const kt::Tensor by_w = kt::grad(kt::sum(kt::conv2d(x, w, {.padding = 1}) * g), w);
    const auto step = kt::function({x, g, row}, kt::sum(kt::take(x, row, 0)),
                                   {.updates = {{w, w - 0.1 * by_w}}, .target = target});
    for (int call = 0; call < 3; ++call) step(xs, gs, 1);
    if (fails) CHECK_THROWS_AS(step(xs, gs, 6), kt::ValueError);
    return w.get_value();
  };
  CHECK(kt::all_close(steps(kt::cuda(), true), steps(kt::cpu(), false), 1e-5, 1e-5));
  CHECK(process->convolutions() >= 3);
}

TEST_CASE("library convolutions: KROTON_TUNE times them beside kernels") {
  const Process process("cudnn=on");
  if (!process) return;
  const cache_test::Setting tune("KROTON_TUNE", "1");
  kroton::codegen::forget_choices();
  const auto x = kt::tensor("x", {2, 3, 6, 5}), w = kt::tensor("w", {4, 3, 3, 3});
  const std::vector<kt::Array> values{kt::Array::normal({2, 3, 6, 5}, 1),
                                      kt::Array::normal({4, 3, 3, 3}, 2)};
  process->times(std::vector<float>(100, 1.0F));
  CHECK(check_convolutions(process, {x, w}, kt::conv2d(x, w, {.padding = 1}), values) == 1);
  CHECK(process->calls("cuEventElapsedTime") >= 10);
  // Behind it what is done to the results, though the model would not.
  process->times({});
  check_convolutions(process, {x, w}, kt::relu(kt::conv2d(x, w, {.padding = 1})), values);
}
