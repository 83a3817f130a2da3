// argmax and argmin at all widths of rows and columns: the first of equals, the first NaN.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <limits>

#include "tests/tools/compiled_tools.h"

namespace kt = kroton;

namespace {

template <class T>
bool is_nan(T value) {
  return value != value;
}

// Of the elements begin, begin + step, ..., `count` of them; 0 if there are none.
template <class T>
std::int64_t best_of(const T* begin, std::int64_t count, std::int64_t step, bool maximum) {
  std::int64_t best = 0;
  for (std::int64_t k = 1; k < count; ++k) {
    const T value = begin[k * step], known = begin[best * step];
    if (is_nan(known)) break;
    if (is_nan(value) || (maximum ? value > known : value < known)) best = k;
  }
  return best;
}

// Few different values, so that there are ties; zeros of both signs, infinities and NaN among them.
template <class T>
std::vector<T> values(std::int64_t count, std::uint64_t seed, bool with_nan) {
  std::vector<T> result;
  std::uint64_t state = seed * 6364136223846793005U + 1442695040888963407U;
  for (std::int64_t k = 0; k < count; ++k) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const auto pick = static_cast<int>((state >> 33) % 24);
    auto value = static_cast<T>(pick % 5 - 2);
    if constexpr (std::is_floating_point_v<T>) {
      if (pick == 7) value = T(-0.0);
      if (pick == 8 && seed % 3 == 0) value = -std::numeric_limits<T>::infinity();
      if (pick == 9 && seed % 5 == 0) value = std::numeric_limits<T>::infinity();
      if (pick == 10 && with_nan) value = std::numeric_limits<T>::quiet_NaN();
    } else {
      if (pick == 8 && seed % 3 == 0) value = std::numeric_limits<T>::min();
      if (pick == 9 && seed % 5 == 0) value = std::numeric_limits<T>::max();
    }
    result.push_back(value);
  }
  return result;
}

template <class T>
struct Checked {
  kt::Function<4> f;

  explicit Checked(const kt::Tensor& x)
      : f(kt::function({x},
                       {kt::argmax(x, 1), kt::argmin(x, 1), kt::argmax(x, 0), kt::argmin(x, 0)})) {}

  void check(const std::vector<T>& elements, std::int64_t rows, std::int64_t columns) const {
    const auto found = f(kt::Array::from(elements, {rows, columns}));
    for (const bool maximum : {true, false}) {
      const kt::Array& by_row = found[maximum ? 0 : 1];
      const kt::Array& by_column = found[maximum ? 2 : 3];
      CAPTURE(maximum);
      CAPTURE(rows);
      CAPTURE(columns);
      int wrong = 0;
      for (std::int64_t row = 0; row < rows; ++row) {
        const T* begin = elements.data() + row * columns;
        wrong += by_row.data<std::int64_t>()[static_cast<std::size_t>(row)] !=
                 best_of(begin, columns, 1, maximum);
      }
      CHECK(wrong == 0);
      wrong = 0;
      for (std::int64_t column = 0; column < columns; ++column) {
        wrong += by_column.data<std::int64_t>()[static_cast<std::size_t>(column)] !=
                 best_of(elements.data() + column, rows, columns, maximum);
      }
      CHECK(wrong == 0);
    }
  }
};

// All of them for one dtype; for the others those around the vectors' lengths.
template <class T>
std::vector<std::int64_t> widths() {
  std::vector<std::int64_t> result;
  for (std::int64_t width = 1; width <= 70; ++width) {
    const bool is_near = width <= 5 || width % 16 <= 1 || width % 16 == 15 || width == 70;
    if (is_near || std::is_same_v<T, float>) result.push_back(width);
  }
  return result;
}

template <class T>
void check_all_widths() {
  const kt::DType dtype = kt::dtype_of<T>;
  const Checked<T> free_sizes(kt::tensor("x", {kt::dim("n"), kt::dim("m")}, dtype));
  for (const std::int64_t width : widths<T>()) {
    // Known widths with any number of rows, and any widths with a known number of rows.
    const Checked<T> known(kt::tensor("x", {kt::dim("n"), width}, dtype));
    const Checked<T> known_rows(kt::tensor("x", {width, kt::dim("m")}, dtype));
    for (const std::int64_t other : {1, 7, 37, 90}) {
      for (const bool with_nan : {false, true}) {
        const auto seed = static_cast<std::uint64_t>(width * 100 + other);
        const std::vector<T> elements = values<T>(width * other, seed, with_nan);
        free_sizes.check(elements, other, width);
        known.check(elements, other, width);
        known_rows.check(elements, width, other);
      }
    }
  }
  for (const T all : {T(0), std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()}) {
    free_sizes.check(std::vector<T>(40 * 70, all), 40, 70);
  }
  if constexpr (std::is_floating_point_v<T>) {
    const T infinity = std::numeric_limits<T>::infinity();
    for (const T all : {infinity, -infinity, std::numeric_limits<T>::quiet_NaN()}) {
      free_sizes.check(std::vector<T>(40 * 70, all), 40, 70);
    }
  }
}

}  // namespace

TEST_CASE("argmax and argmin at all widths: f32") { check_all_widths<float>(); }
TEST_CASE("argmax and argmin at all widths: f64") { check_all_widths<double>(); }
TEST_CASE("argmax and argmin at all widths: i32") { check_all_widths<std::int32_t>(); }
TEST_CASE("argmax and argmin at all widths: i64") { check_all_widths<std::int64_t>(); }

TEST_CASE("argmax and argmin: long rows and columns, positions far from the start, both at once") {
  const kt::Tensor x = kt::matrix("x");
  const auto f = kt::function({x}, {kt::argmax(x, 1), kt::max(x, 1), kt::argmin(x, 1),
                                    kt::argmax(x, 0), kt::max(x, 0), kt::argmax(x)});
  for (const kt::Shape& shape : {kt::Shape{3, 5000}, kt::Shape{5000, 3}, kt::Shape{600, 700}}) {
    kt::Array value = kt::Array::uniform(shape, 1);
    const std::int64_t rows = shape[0], columns = shape[1];
    const auto element = [&](std::int64_t row, std::int64_t column) -> float& {
      return value.data<float>()[static_cast<std::size_t>(row * columns + column)];
    };
    element(rows - 1, columns - 1) = 2;
    element(rows / 2, columns - 2) = 2;
    element(rows / 2, columns - 1) = -2;
    const auto r = f(value);
    CHECK(r[0].data<std::int64_t>()[static_cast<std::size_t>(rows - 1)] == columns - 1);
    CHECK(r[0].data<std::int64_t>()[static_cast<std::size_t>(rows / 2)] == columns - 2);
    CHECK(r[1].data<float>()[static_cast<std::size_t>(rows / 2)] == 2);
    CHECK(r[2].data<std::int64_t>()[static_cast<std::size_t>(rows / 2)] == columns - 1);
    CHECK(r[3].data<std::int64_t>()[static_cast<std::size_t>(columns - 1)] == rows - 1);
    CHECK(r[3].data<std::int64_t>()[static_cast<std::size_t>(columns - 2)] == rows / 2);
    CHECK(r[4].data<float>()[static_cast<std::size_t>(columns - 1)] == 2);
    CHECK(r[5].item<std::int64_t>() == rows / 2 * columns + columns - 2);
  }
}
