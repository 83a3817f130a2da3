// Programs whose sizes are nested or many compile in a time that grows with their length.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <chrono>
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
