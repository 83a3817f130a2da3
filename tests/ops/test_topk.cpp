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
void check_first(const Function<1>& argtopk_of_rows, std::int64_t rows, std::int64_t size,
                 std::int64_t k, bool largest) {
  CAPTURE(rows);
  CAPTURE(size);
  CAPTURE(k);
  CAPTURE(largest);
  for (const Order order : {Order::mixed, Order::rising, Order::falling}) {
    const Array values = rows_of<T>(rows, size, order);
    const Array found = argtopk_of_rows(values);
    const auto all = values.data<T>();
    const auto positions = found.data<std::int64_t>();
    bool is_same = true;
    for (std::int64_t row = 0; row < rows; ++row) {
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
}

}  // namespace

TEST_CASE_TEMPLATE("topk: the first of a stable sort in any order of the elements", T, float,
                   double, std::int64_t, std::uint8_t) {
  const Tensor x = tensor("x", {dim("rows"), dim("n")}, dtype_of<T>);
  for (const std::int64_t k : {1, 5, 48, 49}) {
    for (const bool largest : {true, false}) {
      const Function<1> of_rows = function({x}, argtopk(x, k, 1, largest));
      for (const std::int64_t size : {1, 5, 16, 17, 64, 65, 129, 1000}) {
        for (const std::int64_t rows : {0, 3, 19}) {
          if (k <= size) check_first<T>(of_rows, rows, size, k, largest);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("topk: many rows of a short known length", T, float, double) {
  for (const std::int64_t size : {4, 9, 64, 65}) {
    const Tensor x = tensor("x", {dim("rows"), Dim(size)}, dtype_of<T>);
    const Function<1> of_rows = function({x}, argtopk(x, 1 + size / 5, 1, size % 2 == 0));
    for (const std::int64_t rows : {0, 1, 3, 17, 100}) {
      check_first<T>(of_rows, rows, size, 1 + size / 5, size % 2 == 0);
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
