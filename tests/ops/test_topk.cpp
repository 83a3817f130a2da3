// The first few of many, against a stable sort of the whole axis.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <numeric>
#include <vector>

using namespace kroton;  // NOLINT: tests

namespace {

enum class Order { mixed, rising, falling };

template <class T>
Array rows_of(std::int64_t rows, std::int64_t size, Order order) {
  Array x = Array::zeros({rows, size}, dtype_of<T>);
  std::uint32_t seed = 7;
  for (std::size_t i = 0; T & e : x.data<T>()) {
    seed = seed * 1664525 + 1013904223;
    const auto number = static_cast<double>(i++ % 100);
    // Few values, so that many are equal.
    e = static_cast<T>(order == Order::mixed    ? (seed >> 8) % 50
                       : order == Order::rising ? number
                                                : 99 - number);
  }
  return x;
}

template <class T>
void check_first(std::int64_t size, std::int64_t k, bool largest, Order order) {
  CAPTURE(size);
  CAPTURE(k);
  CAPTURE(largest);
  const Tensor x = tensor("x", {dim("rows"), dim("n")}, dtype_of<T>);
  const Array values = rows_of<T>(3, size, order);
  const Array found = function({x}, argtopk(x, k, 1, largest))(values);
  const auto all = values.data<T>();
  const auto positions = found.data<std::int64_t>();
  bool is_same = true;
  for (std::int64_t row = 0; row < 3; ++row) {
    const T* const of_row = all.data() + row * size;
    std::vector<std::int64_t> sorted(static_cast<std::size_t>(size));
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](std::int64_t a, std::int64_t b) {
      return largest ? of_row[a] > of_row[b] : of_row[a] < of_row[b];
    });
    is_same =
        is_same && std::equal(sorted.begin(), sorted.begin() + k, positions.begin() + row * k);
  }
  CHECK(is_same);
}

}  // namespace

TEST_CASE_TEMPLATE("topk: the first of a stable sort in any order of the elements", T, float,
                   double, std::int64_t, std::uint8_t) {
  for (const std::int64_t size : {1, 17, 64, 65, 129, 1000}) {
    for (const std::int64_t k : {1, 5, 48, 49}) {
      if (k > size) continue;
      for (const Order order : {Order::mixed, Order::rising, Order::falling}) {
        check_first<T>(size, k, true, order);
        check_first<T>(size, k, false, order);
      }
    }
  }
}

TEST_CASE("topk: values and positions belong together, along any axis") {
  const Tensor x = tensor("x", {40, 3});
  const auto [values, positions] = topk(x, 4, 0);
  const auto f = function({x}, {values, take_along_axis(x, positions, 0)});
  const auto results = f(Array::uniform({40, 3}, 5, -1, 1));
  CHECK(array_equal(results[0], results[1]));
}
