// Programs whose sizes are nested or many compile in a time that grows with their length.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <chrono>
#include <cmath>
#include <vector>

using namespace kroton;

namespace {

double seconds_to_make(const Tensor& x, const Tensor& y, Array argument, const Array& expected) {
  const auto begin = std::chrono::steady_clock::now();
  const auto f = function({x}, y);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  CHECK(array_equal(f(argument), expected));
  return taken.count();
}

}  // namespace

// Each took minutes, or did not end, where the text or the walk of a size followed every way to
// the sizes in it.
TEST_CASE("a vector of free size is turned round by slices, 40 times") {
  const auto x = vector("x");
  Tensor y = x;
  for (int k = 0; k < 40; ++k) {
    y = concatenate({y(slice(1, end)), y(slice(0, 1))}, 0);
  }
  CHECK(seconds_to_make(x, y, Array::from({0.0F, 1.0F, 2.0F}), Array::from({1.0F, 2.0F, 0.0F})) <
        30);
}

TEST_CASE("many clamped slices of a free size are joined") {
  const auto x = vector("x");
  std::vector<Tensor> pieces;
  std::vector<float> expected;
  for (int k = 0; k < 50; ++k) {
    pieces.push_back(x(slice(k, k + 7)));
    for (int i = k; i < std::min(k + 7, 10); ++i) expected.push_back(static_cast<float>(i));
  }
  Array whole = Array::view(expected.data(), {static_cast<std::int64_t>(expected.size())});
  CHECK(seconds_to_make(x, concatenate(pieces, 0), Array::arange(10), whole) < 30);
}

TEST_CASE("the interior of a free size is stepped 20 times, its ends held") {
  const auto x = vector("x");
  Tensor u = x;
  for (int k = 0; k < 20; ++k) {
    u = concatenate({u(slice(0, 1)), 0.5 * (u(slice(0, -2)) + u(slice(2, end))), u(slice(-1, end))},
                    0);
  }
  const Array line = Array::from({0.0F, 1.0F, 2.0F, 3.0F, 4.0F});
  CHECK(seconds_to_make(x, u, line, line) < 30);
}

// Each took a time that grew with the square of its length or more, where every question about an
// order was answered by a walk or a proof: a minute and more.
TEST_CASE("a cell is unrolled 700 times and differentiated") {
  const auto x = vector("x", f64);
  const auto w = tensor("w", {3, 3}, f64);
  Tensor state = tensor("state", {3}, f64);
  const std::vector<Tensor> inputs{x, w, state};
  for (int k = 0; k < 700; ++k) state = tanh(dot(w, state) + x[k]);
  const auto begin = std::chrono::steady_clock::now();
  const auto f = function(inputs, grad(sum(state), std::vector<Tensor>{x, w}));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  CHECK(taken.count() < 30);
  // Without weights each state is the tangent of its own input, and only the last one counts.
  const Array numbers = Array::normal({700}, 3, 0, 0.1).cast(f64);
  const auto results = f(numbers, Array::zeros({3, 3}, f64), Array::zeros({3}, f64));
  const auto by_x = results[0].data<double>();
  const double last = std::tanh(numbers.data<double>()[699]);
  const double before = std::tanh(numbers.data<double>()[698]);
  CHECK(by_x[698] == 0);
  CHECK(by_x[699] == doctest::Approx(3 * (1 - last * last)));
  for (const double by_w : results[1].data<double>()) {
    CHECK(by_w == doctest::Approx((1 - last * last) * before));
  }
}

TEST_CASE("vectors of 100 free sizes are summed, and their sizes added") {
  std::vector<Tensor> inputs, sums;
  Dim whole = 0;
  for (int k = 0; k < 100; ++k) {
    inputs.push_back(vector("x"));
    whole = whole + inputs.back().shape(0);
    sums.push_back(sum(inputs.back()));
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto f = function(inputs, zeros({whole}) + sum(stack(sums)));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  CHECK(taken.count() < 30);
  std::vector<Argument> arguments;
  std::int64_t count = 0;
  for (int k = 0; k < 100; ++k) {
    arguments.emplace_back(Array::ones({k % 7 * 1000}));
    count += k % 7 * 1000;
  }
  const Array result = f.call(arguments);
  CHECK(result.shape()[0] == count);
  CHECK(result.data<float>()[count - 1] == static_cast<float>(count));
}
