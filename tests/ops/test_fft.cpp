// Fourier transforms against their definition.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <complex>
#include <numbers>

#include "tests/tools/error_text.h"

namespace test_fft {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

using Numbers = std::vector<std::complex<double>>;

// Of rows of n numbers.
Numbers definition(const Numbers& x, std::int64_t n, int sign) {
  Numbers y(x.size());
  for (std::size_t row = 0; row < x.size(); row += static_cast<std::size_t>(n)) {
    for (std::int64_t k = 0; k < n; ++k) {
      std::complex<double> sum = 0;
      for (std::int64_t j = 0; j < n; ++j) {
        const double angle =
            sign * 2 * std::numbers::pi * static_cast<double>(j * k % n) / static_cast<double>(n);
        sum += x[row + static_cast<std::size_t>(j)] * std::polar(1.0, angle);
      }
      y[row + static_cast<std::size_t>(k)] = sum;
    }
  }
  return y;
}

Numbers numbers(const Array& re, const Array& im) {
  const Array a = re.cast(f64), b = im.cast(f64);
  Numbers result;
  for (std::size_t k = 0; k < a.data<double>().size(); ++k) {
    result.emplace_back(a.data<double>()[k], b.data<double>()[k]);
  }
  return result;
}

double distance(const Numbers& x, const Numbers& y) {
  double most = x.size() == y.size() ? 0 : 1e300, size = 1;
  for (std::size_t k = 0; k < std::min(x.size(), y.size()); ++k) {
    most = std::max(most, std::abs(x[k] - y[k]));
    size = std::max(size, std::abs(y[k]));
  }
  return most / size;
}

}  // namespace

TEST_CASE("fft: every size") {
  for (const std::int64_t n :
       {1, 2, 3, 4, 5, 8, 17, 32, 33, 37, 61, 64, 67, 96, 100, 121, 122, 134, 360, 1024, 3599}) {
    for (const DType dtype : {f32, f64}) {
      CAPTURE(n);
      CAPTURE(name_of(dtype));
      const double near = dtype == f64 ? 1e-13 : 5e-6;
      const Array re = Array::normal({2, n}, 1, 0, 1, dtype);
      const Array im = Array::normal({2, n}, 2, 0, 1, dtype);
      const Tensor a = tensor("a", {dim("rows"), n}, dtype),
                   b = tensor("b", {dim("rows"), n}, dtype);
      const Complex y = fft({a, b}), z = ifft(y);
      const auto f = function({a, b}, {y.re, y.im, z.re, z.im});
      const auto results = f(re, im);
      const Numbers x = numbers(re, im);
      CHECK(distance(numbers(results[0], results[1]), definition(x, n, -1)) < near);
      CHECK(distance(numbers(results[2], results[3]), x) < near);
      // Of real numbers.
      const Complex half = rfft(a);
      const Tensor whole = irfft(half, n);
      const auto g = function({a}, {half.re, half.im, whole});
      const auto parts = g(re);
      Numbers expected;
      const Numbers all = definition(numbers(re, Array::zeros({2, n})), n, -1);
      for (std::int64_t row = 0; row < 2; ++row) {
        for (std::int64_t k = 0; k <= n / 2; ++k) {
          expected.push_back(all[static_cast<std::size_t>(row * n + k)]);
        }
      }
      CHECK(distance(numbers(parts[0], parts[1]), expected) < near);
      CHECK(distance(numbers(parts[2], Array::zeros({2, n})), numbers(re, Array::zeros({2, n}))) <
            near);
    }
  }
}

TEST_CASE("fft: axes and vectors and real inputs") {
  const Tensor x = tensor("x", {6, 5, 4}, f64), v = tensor("v", {12}, f64);
  const Array values = Array::normal({6, 5, 4}, 3, 0, 1, f64);
  // Along an axis: as along the last of the transposed.
  const Complex first = fft(x, 0), last = fft(transpose(x, {1, 2, 0}));
  const auto f = function({x}, max(abs(transpose(first.re, {1, 2, 0}) - last.re)) +
                                   max(abs(transpose(first.im, {1, 2, 0}) - last.im)));
  CHECK(f(values).item<double>() < 1e-13);
  // Several: back where it came from.
  const Complex spectrum = rfftn(x, {0, 1, 2});
  CHECK(to_string(spectrum.re.type()) == "f64 (6, 5, 3)");
  const auto g = function({x}, max(abs(irfftn(spectrum, 4, {0, 1, 2}) - x)));
  CHECK(g(values).item<double>() < 1e-13);
  const Complex all = fftn(x, {0, 1}), back = ifftn(all, {0, 1});
  CHECK(function({x}, max(abs(back.re - x)) + max(abs(back.im)))(values).item<double>() < 1e-13);
  const Complex of_vector = fft(v);
  CHECK(function({v}, sum(square(of_vector.re) + square(of_vector.im)) / 12 -
                          sum(square(v)))(Array::normal({12}, 4, 0, 1, f64))
            .item<double>() == doctest::Approx(0).epsilon(1e-9));
  CHECK(array_equal(function({}, fftfreq(5))(), Array::from({0.0, 0.2, 0.4, -0.4, -0.2})));
  CHECK(array_equal(function({}, rfftfreq(4, 0.5))(), Array::from({0.0, 0.5, 1.0})));
  const Tensor w = vector("w");
  const auto shift = function({w}, {fftshift(w), ifftshift(w), ifftshift(fftshift(w))});
  const auto shifted = shift(std::vector<float>{0, 1, 2, 3, 4});
  CHECK(array_equal(shifted[0], Array::from({3.0F, 4.0F, 0.0F, 1.0F, 2.0F})));
  CHECK(array_equal(shifted[1], Array::from({2.0F, 3.0F, 4.0F, 0.0F, 1.0F})));
  CHECK(array_equal(shifted[2], Array::from({0.0F, 1.0F, 2.0F, 3.0F, 4.0F})));
}

TEST_CASE("fft: gradients") {
  for (const std::int64_t n : {6, 9, 67}) {
    const Tensor x = tensor("x", {n}, f64), h = tensor("h", {n / 2 + 1}, f64);
    const Complex y = rfft(x);
    const Tensor z = irfft({y.re * h, y.im * h}, n);
    verify_grad(sum(z * z * z), {{x, Array::normal({n}, 5, 0, 1, f64)},
                                 {h, Array::normal({n / 2 + 1}, 6, 0, 1, f64)}});
    const Complex w = fft({x, x * x}), back = ifft(w);
    verify_grad(sum(w.re * w.im) + sum(back.im * x), {{x, Array::normal({n}, 7, 0, 1, f64)}});
  }
}

TEST_CASE("fft: errors") {
  CHECK(shape_error([] { fft(vector("x")); }) ==
        "fft: the size of axis 0 is to be known when the expression is made: x is f32 "
        "(x.shape[0],)  [here]");
  CHECK(type_error([] { fft(tensor("x", {4}, i64)); }) ==
        "fft: takes floating point only: x is i64 (4,)  [here]");
  CHECK(value_error([] { fft(Tensor()); }).starts_with("fft: a Tensor is empty"));
  CHECK(value_error([] { rfft(Tensor()); }).starts_with("rfft: a Tensor is empty"));
  CHECK(shape_error([] { irfft(tensor("x", {4}), 4); }) ==
        "irfft: for 4 elements the axis has 3: x is f32 (4,)  [here]");
  CHECK(shape_error([] { rfft(scalar("x")); }).starts_with("rfft: takes an axis, not a scalar"));
  CHECK(value_error([] { ifft(tensor("x", {4}), 1); }).starts_with("ifft: axis 1 is out of range"));
  CHECK(shape_error([] { fft(tensor("x", {0})); }).starts_with("fft: axis 0 has no elements"));
}

}  // namespace test_fft
