#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include <kroton/array.h>

using namespace kroton;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

template <class T>
std::vector<T> values(const Array& array) {
  const auto data = array.data<T>();
  return {data.begin(), data.end()};
}

}  // namespace

TEST_CASE("shape: extents, count and text") {
  Shape shape{3, 4};
  CHECK(shape.rank() == 2);
  CHECK(shape.element_count() == 12);
  CHECK(to_string(shape) == "(3, 4)");
  CHECK(to_string(Shape{3}) == "(3,)");
  CHECK(to_string(Shape()) == "()");
  CHECK(Shape().element_count() == 1);
  CHECK(Shape{17, 0, 3}.element_count() == 0);
  shape.push_back(17);
  CHECK(shape == Shape{3, 4, 17});
  CHECK(shape != Shape{3, 4});
  const std::vector<std::int64_t> extents{3, 4, 17};
  CHECK(Shape(extents) == shape);
  CHECK(std::accumulate(shape.begin(), shape.end(), std::int64_t{0}) == 24);
}

TEST_CASE("shape: what cannot be") {
  CHECK_THROWS_WITH_AS((void)(Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}),
                       doctest::Contains("shape: expected at most 8 axes, got 9  [test_array.cpp:"),
                       ValueError);
  Shape full{1, 1, 1, 1, 1, 1, 1, 1};
  CHECK_THROWS_WITH_AS(full.push_back(1),
                       doctest::Contains("shape: expected at most 8 axes, got 9  [test_array.cpp:"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)(Shape{3, -1}.element_count()), "shape: negative extent -1 in (3, -1)",
                       ValueError);
  CHECK_THROWS_WITH_AS(
      (void)(Shape{1LL << 32, 1LL << 32}.element_count()),
      "shape: the element count of (4294967296, 4294967296) does not fit in 64 bits", ValueError);
  CHECK(Shape{1LL << 32, 1LL << 32, 0}.element_count() == 0);
}

TEST_CASE("array: factories") {
  CHECK(Array().shape() == Shape{0});
  CHECK(values<float>(Array::zeros({3})) == std::vector<float>{0, 0, 0});
  CHECK(values<std::int32_t>(Array::ones({3}, i32)) == std::vector<std::int32_t>{1, 1, 1});
  CHECK(values<double>(Array::full({1, 3}, 2.5, f64)) == std::vector<double>{2.5, 2.5, 2.5});
  CHECK(values<std::int64_t>(Array::full({1}, std::int64_t{1} << 62, i64))[0] == 1LL << 62);
  CHECK(Array::full({2}, true, boolean).data<bool>()[1]);
  CHECK(values<float>(Array::arange(3)) == std::vector<float>{0, 1, 2});
  CHECK(values<std::int64_t>(Array::arange(3, i64)) == std::vector<std::int64_t>{0, 1, 2});
  CHECK(values<double>(Array::arange(5, 3, -0.5, f64)) == std::vector<double>{5, 4.5, 4, 3.5});
  CHECK(Array::arange(3, 3).size() == 0);
  CHECK(Array::arange(3, 2).size() == 0);
  CHECK(Array(1.5F).rank() == 0);
  CHECK(Array(1.5F).item<float>() == 1.5F);
  CHECK(Array(true).dtype() == boolean);
}

TEST_CASE("array: elements are aligned to 64 bytes at every size") {
  for (const std::int64_t size : {0, 1, 3, 16, 17, 100000}) {
    const Array array = Array::empty({size}, f64);
    CHECK(reinterpret_cast<std::uintptr_t>(array.raw()) % 64 == 0);
    CHECK(array.nbytes() == size * 8);
    CHECK(reinterpret_cast<std::uintptr_t>(Array::zeros({size}).raw()) % 64 == 0);
  }
}

TEST_CASE("array: factories refuse what they cannot make") {
  CHECK_THROWS_WITH_AS((void)Array::zeros({3, -1}), "shape: negative extent -1 in (3, -1)",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array::zeros({1LL << 61}, f32),
                       "array: (2305843009213693952,) of f32 is larger than any memory",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array::full({3}, 2.5, i32), "full: i32 does not hold 2.5", ValueError);
  CHECK_THROWS_WITH_AS((void)Array::full({3}, std::int64_t{1} << 31, i32),
                       "full: i32 does not hold 2147483648", ValueError);
  CHECK_THROWS_WITH_AS((void)Array::full({3}, not_a_number, i64), "full: i64 does not hold nan",
                       ValueError);
  CHECK_THROWS_AS((void)Array::full({3}, ~std::uint64_t{0}, i64), ValueError);
  CHECK_THROWS_WITH_AS((void)Array::full({3}, 2, boolean), "full: boolean does not hold 2",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array::arange(0, 1, 0),
                       "arange: no such range: start 0.0, stop 1.0, step 0.0", ValueError);
  CHECK_THROWS_AS((void)Array::arange(0, infinity), ValueError);
  CHECK_THROWS_AS((void)Array::arange(0, not_a_number), ValueError);
  CHECK_THROWS_WITH_AS((void)Array::arange(0, 1, 0.5, i32), "arange: i32 does not hold 0.5",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array::arange(2, boolean),
                       "arange: expected a number dtype, got boolean", TypeError);
}

TEST_CASE("array: from ranges and lists") {
  const std::vector<float> six{1, 2, 3, 4, 5, 6};
  CHECK(values<float>(Array::from(six)) == six);
  CHECK(Array::from(six, {2, 3}).shape() == Shape{2, 3});
  CHECK(values<float>(Array::from(std::span(six).subspan(4))) == std::vector<float>{5, 6});
  CHECK(Array::from(std::array<double, 3>{1, 2, 3}).dtype() == f64);
  CHECK(Array::from({1, 2, 3}).dtype() == i32);
  CHECK(Array::from({1, 2, 3}, {3, 1}).shape() == Shape{3, 1});
  const Array matrix = Array::from({{1.0F, 2.0F, 3.0F}, {4.0F, 5.0F, 6.0F}});
  CHECK(matrix.shape() == Shape{2, 3});
  CHECK(values<float>(matrix) == six);
  const Array bits = Array::from(std::vector<bool>{true, false, true});
  CHECK(values<bool>(bits) == std::vector<bool>{true, false, true});
  CHECK(values<bool>(Array::from({{true}, {false}})) == std::vector<bool>{true, false});
  CHECK(Array::from(std::vector<std::int64_t>()).shape() == Shape{0});

  CHECK_THROWS_WITH_AS((void)Array::from(six, {4, 2}),
                       "from: shape (4, 2) has 8 elements, got 6 values", ShapeError);
  CHECK_THROWS_WITH_AS((void)Array::from({{1, 2}, {3}}), "from: row 1 has 1 values, row 0 has 2",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)Array::from({{}, {3}}), "from: row 1 has 1 values, row 0 has 0",
                       ShapeError);
  CHECK(Array::from<float>({{}, {}}).shape() == Shape{2, 0});
}

TEST_CASE("array: a copy is a handle, copy() is not") {
  Array a = Array::from({1.0F, 2.0F, 3.0F});
  Array handle = a;
  Array other = a.copy();
  a.data<float>()[0] = 9;
  CHECK(handle.data<float>()[0] == 9);
  CHECK(other.data<float>()[0] == 1);
  const void* place = a.raw();
  const Array moved = std::move(a);
  CHECK(moved.raw() == place);
  CHECK(a.shape() == Shape{0});  // NOLINT: what a move leaves is documented
  const Array& same = handle;
  handle = same;
  CHECK(handle.data<float>()[0] == 9);
}

TEST_CASE("array: views use the caller's memory") {
  std::vector<float> memory{1, 2, 3, 4, 5, 6};
  Array view = Array::view(memory.data(), {2, 3});
  view.data<float>()[5] = 60;
  CHECK(memory[5] == 60);
  CHECK(view.raw() == memory.data());
  CHECK_FALSE(view.is_read_only());
  CHECK(Array::view(static_cast<float*>(nullptr), {0, 3}).size() == 0);
  CHECK_THROWS_WITH_AS((void)Array::view(static_cast<float*>(nullptr), {3}),
                       "view: null pointer to (3,) of f32", ValueError);
}

TEST_CASE("array: a view of const memory is read-only") {
  const std::vector<float> memory{1, 2, 3};
  Array view = Array::view(memory.data(), {3});
  CHECK(view.is_read_only());
  CHECK(values<float>(view)[2] == 3);
  const std::string text = "array: a view of const memory has no mutable elements";
  CHECK_THROWS_WITH_AS((void)view.data<float>(), text.c_str(), ValueError);
  CHECK_THROWS_WITH_AS((void)view.raw(), text.c_str(), ValueError);
  Array reshaped = view.reshape({3, 1});
  CHECK_THROWS_AS((void)reshaped.raw(), ValueError);
  CHECK_FALSE(view.copy().is_read_only());
}

TEST_CASE("array: views with strides") {
  std::vector<std::int64_t> memory(24);
  std::iota(memory.begin(), memory.end(), 0);
  const Array transposed = Array::view(memory.data(), {4, 3, 2}, {1, 4, 12});
  CHECK_FALSE(transposed.is_row_major());
  CHECK(transposed.strides() == Shape{1, 4, 12});
  const auto gathered = values<std::int64_t>(transposed.contiguous());
  std::vector<std::int64_t> expected;
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      for (std::int64_t k = 0; k < 2; ++k) {
        expected.push_back(i + 4 * j + 12 * k);
      }
    }
  }
  CHECK(gathered == expected);
  CHECK(transposed.contiguous().strides() == Shape{6, 2, 1});

  const Array reversed = Array::view(memory.data() + 2, {3}, {-1});
  CHECK(values<std::int64_t>(reversed.copy()) == std::vector<std::int64_t>{2, 1, 0});
  const Array repeated = Array::view(memory.data() + 7, {2, 2}, {0, 0});
  CHECK(values<std::int64_t>(repeated.copy()) == std::vector<std::int64_t>{7, 7, 7, 7});
  CHECK(values<float>(transposed.cast(f32))[1] == 12);
  Array handle;
  handle = transposed;
  CHECK(handle.strides() == Shape{1, 4, 12});

  // Strides of axes with one element do not matter.
  const Array plain = Array::view(memory.data(), {1, 3}, {99, 1});
  CHECK(plain.is_row_major());
  CHECK(plain.contiguous().raw() == memory.data());
  CHECK(Array::view(memory.data(), {0, 3}, {5, 5}).is_row_major());

  CHECK_THROWS_WITH_AS((void)Array::view(memory.data(), {3, 2}, {1}),
                       "view: expected one stride per extent, got strides (1,) for shape (3, 2)",
                       ValueError);
  CHECK_THROWS_WITH_AS(
      (void)reversed.data<std::int64_t>(),
      "data: the array is a view with strides (-1,) for shape (3,), not row-major; "
      "call contiguous() first",
      ValueError);
  CHECK_THROWS_WITH_AS((void)reversed.reshape({3, 1}),
                       "reshape: the array is a view with strides (-1,) for shape (3,), not "
                       "row-major; call contiguous() first",
                       ValueError);
}

TEST_CASE("array: data and item check the dtype") {
  const Array array = Array::from({1.0F, 2.0F});
  CHECK_THROWS_WITH_AS((void)array.data<double>(), "data: the array is f32, asked for f64",
                       TypeError);
  CHECK_THROWS_WITH_AS((void)array.item<float>(),
                       "item: expected an array of one element, got shape (2,)", ValueError);
  CHECK_THROWS_WITH_AS((void)Array(1.5F).item<std::int32_t>(),
                       "item: the array is f32, asked for i32", TypeError);
  CHECK_THROWS_AS((void)array.item<double>(), ValueError);
  CHECK(Array(1.5F).item<double>() == 1.5);
  CHECK(Array(true).item<double>() == 1);
  CHECK(Array(std::int64_t{3}).item<double>() == 3);
  CHECK(Array::full({1, 1}, 17, i32).item<std::int32_t>() == 17);
}

TEST_CASE("array: cast") {
  const Array reals = Array::from({not_a_number, infinity, -infinity, 2.9F, -2.9F, 0.0F, 3e9F});
  constexpr std::int32_t max = std::numeric_limits<std::int32_t>::max();
  constexpr std::int32_t min = std::numeric_limits<std::int32_t>::min();
  CHECK(values<std::int32_t>(reals.cast(i32)) ==
        std::vector<std::int32_t>{0, max, min, 2, -2, 0, max});
  CHECK(values<std::int64_t>(reals.cast(i64)) ==
        std::vector<std::int64_t>{0, std::numeric_limits<std::int64_t>::max(),
                                  std::numeric_limits<std::int64_t>::min(), 2, -2, 0, 3000000000});
  CHECK(values<bool>(reals.cast(boolean)) ==
        std::vector<bool>{true, true, true, true, true, false, true});
  CHECK(Array(2147483647.0).cast(i32).item<std::int32_t>() == max);
  CHECK(Array(-2147483648.0).cast(i32).item<std::int32_t>() == min);
  CHECK(Array((std::int64_t{1} << 32) + 5).cast(i32).item<std::int32_t>() == 5);
  CHECK(Array(true).cast(f64).item<double>() == 1);
  CHECK(reals.cast(f32).raw() == reals.raw());
  CHECK(Array::zeros({0, 3}).cast(i32).shape() == Shape{0, 3});
}

TEST_CASE("array: reshape") {
  const Array array = Array::arange(12);
  CHECK(array.reshape({3, 4}).raw() == array.raw());
  CHECK(array.reshape({3, -1, 2}).shape() == Shape{3, 2, 2});
  CHECK(Array(1.5F).reshape({1, 1}).shape() == Shape{1, 1});
  CHECK(Array::zeros({0, 3}).reshape({17, 0}).shape() == Shape{17, 0});
  CHECK_THROWS_WITH_AS((void)array.reshape({5, 2}),
                       "reshape: cannot make (5, 2) of (12,), which has 12 elements", ShapeError);
  CHECK_THROWS_AS((void)array.reshape({5, -1}), ShapeError);
  CHECK_THROWS_AS((void)array.reshape({-1, -1}), ShapeError);
  CHECK_THROWS_AS((void)Array::zeros({0}).reshape({0, -1}), ShapeError);
}

// The expected texts are NumPy's, but for the words true and false.
TEST_CASE("array: text") {
  CHECK(to_string(Array(2.5F)) == "2.5");
  CHECK(to_string(Array(3.0F)) == "3.0");
  CHECK(to_string(Array(-17)) == "-17");
  CHECK(to_string(Array::zeros({0, 3})) == "[]");
  CHECK(to_string(Array::from({1.0F, 2.5F, -3.25F})) == "[ 1.    2.5  -3.25]");
  CHECK(to_string(Array::from({0.1F, 1.0F / 3})) == "[0.1        0.33333334]");
  CHECK(to_string(Array::from({1.0F / 3}).cast(f64)) == "[0.33333334]");
  CHECK(to_string(Array::from({1.0 / 3, 2.0})) == "[0.33333333 2.        ]");
  CHECK(to_string(Array::from({1e-5, 1.5})) == "[1.0e-05 1.5e+00]");
  CHECK(to_string(Array::from({1e10, 1.0})) == "[1.e+10 1.e+00]");
  CHECK(to_string(Array::from({not_a_number, infinity, -infinity, 1.5F})) ==
        "[ nan  inf -inf  1.5]");
  CHECK(to_string(Array::from({true, false})) == "[ true false]");
  CHECK(to_string(Array::from({{1, 20}, {300, 4}})) == "[[  1  20]\n [300   4]]");
  CHECK(to_string(Array::arange(8, i32).reshape({2, 2, 2})) ==
        "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]");
  CHECK(to_string(Array::arange(1001, i32)) == "[   0    1    2 ...  998  999 1000]");
  CHECK(to_string(Array::arange(4000, i32).reshape({1000, 4})) ==
        "[[   0    1    2    3]\n [   4    5    6    7]\n [   8    9   10   11]\n ...\n"
        " [3988 3989 3990 3991]\n [3992 3993 3994 3995]\n [3996 3997 3998 3999]]");
  std::ostringstream stream;
  stream << Array::full({40}, 7, i64);
  CHECK(stream.str() ==
        "[7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 "
        "7\n 7 7 7]");
  const std::vector<std::int32_t> memory{1, 2, 3, 4};
  CHECK(to_string(Array::view(memory.data(), {2, 2}, {1, 2})) == "[[1 3]\n [2 4]]");
}

TEST_CASE("array: comparison") {
  const Array a = Array::from({1.0F, not_a_number});
  CHECK(array_equal(Array::arange(17), Array::arange(17)));
  CHECK_FALSE(array_equal(Array::arange(17), Array::arange(17, f64)));
  CHECK_FALSE(array_equal(Array::arange(17), Array::arange(16)));
  CHECK_FALSE(array_equal(Array::arange(4), Array::arange(4).reshape({2, 2})));
  CHECK_FALSE(array_equal(a, a));
  CHECK(array_equal(a, a, /*equal_nan=*/true));
  CHECK(array_equal(Array::zeros({0}), Array::zeros({0})));

  CHECK(all_close(Array(1.0), Array(1.000001F)));
  CHECK_FALSE(all_close(Array(1.0), Array(1.001)));
  CHECK(all_close(Array(1.0), Array(1.001), 0, 0.01));
  CHECK_FALSE(all_close(Array(1.0), Array::from({1.0})));
  CHECK_FALSE(all_close(a, a));
  CHECK(all_close(a, a, 1e-5, 1e-8, /*equal_nan=*/true));
  CHECK(all_close(Array(infinity), Array(infinity)));
  CHECK_FALSE(all_close(Array(infinity), Array(-infinity)));
  CHECK_FALSE(all_close(Array(1.0F), Array(infinity)));
}

TEST_CASE("Array: elements by index, read and written") {
  Array a = Array::from({{1.0F, 2.0F, 3.0F}, {4.0F, 5.0F, 6.0F}});
  const double read = a(1, 2);
  CHECK(read == 6);
  CHECK(a(-1, -3) + 1 == 5);
  CHECK(a(0, 1).item<float>() == 2.0F);
  CHECK(a(0, 1).item<double>() == 2.0);
  a(0, 1) = 0.5;
  a(1, 0) = a(1, 2);
  a(1, 1) += 3;
  CHECK(array_equal(a, Array::from({{1.0F, 0.5F, 3.0F}, {6.0F, 8.0F, 6.0F}})));
  const Array& constant = a;
  CHECK(constant(0, 0) == 1);
  std::ostringstream text;
  text << a(0, 1);
  CHECK(text.str() == to_string(Array(0.5F)));
  CHECK(Array(2.5F)() == 2.5);
  // An entry keeps the elements.
  const auto kept = Array::from({{1.0F, 2.0F}})(0, 1);
  CHECK(kept == 2);

  CHECK_THROWS_WITH_AS(a(2, 0) = 1, "index: index 2 is out of range for axis 0, whose size is 2",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)a(0, -4),
                       "index: index -4 is out of range for axis 1, whose size is 3", ValueError);
  CHECK_THROWS_WITH_AS((void)a(0), "index: there are 1 indices, the array is f32 (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)a(0, 0, 0), "index: there are 3 indices, the array is f32 (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)a(0, 0).item<std::int64_t>(), "item: the array is f32, asked for i64",
                       TypeError);
}

TEST_CASE("Array: two elements meet as numbers") {
  const Array a = Array::from(std::vector<float>{1, 2});
  Array b = Array::from(std::vector<std::int64_t>{1, 5});
  CHECK(a(0) + a(1) == 3.0);
  CHECK(a(0) - b(1) == -4.0);
  CHECK(a(1) * b(1) == 10.0);
  CHECK(a(0) / a(1) == 0.5);
  CHECK(-b(1) == -5.0);
  const bool less = a(0) < a(1), equal = a(0) == b(0), at_least = a(0) >= b(1);
  CHECK(less);
  CHECK(equal);
  CHECK_FALSE(at_least);
  const Array nan = Array::from(std::vector<double>{std::nan("")});
  const bool ordered = nan(0) <= nan(0) || nan(0) > a(0);
  CHECK_FALSE(ordered);
  b(0) += a(1);
  CHECK(b(0) == 3.0);
}

TEST_CASE("Array: elements of each dtype by index") {
  Array ids = Array::zeros({3}, i64);
  ids(1) = std::int64_t{1} << 60;
  ids(2) = 7;
  CHECK(ids(1).item<std::int64_t>() == std::int64_t{1} << 60);
  CHECK(ids(2) == 7);
  CHECK_THROWS_WITH_AS(ids(0) = 0.5, "index: i64 does not hold 0.5", ValueError);
  ids(0) = (std::int64_t{1} << 53) + 1;
  CHECK_THROWS_WITH_AS((void)static_cast<double>(ids(0)),
                       "index: the element 9007199254740993 is no double; read it with "
                       "item<std::int64_t>()",
                       ValueError);
  ids(2) = ids(0);
  CHECK(ids(2).item<std::int64_t>() == (std::int64_t{1} << 53) + 1);
  Array flags = Array::zeros({2}, boolean);
  flags(1) = true;
  CHECK((flags(1) && !flags(0)));
  CHECK_THROWS_AS(flags(0) = 2, ValueError);
  Array small = Array::zeros({1}, i32);
  CHECK_THROWS_AS(small(0) = std::int64_t{1} << 40, ValueError);
}

TEST_CASE("Array: rows share the elements") {
  Array a = Array::arange(12).reshape({2, 3, 2});
  const Array row = a.row(1);
  CHECK(row.shape() == Shape{3, 2});
  CHECK(row(2, 1) == 11);
  a.row(-2).row(1)(0) = 50;
  CHECK(a(0, 1, 0) == 50);
  Array last = a.row(1).row(2);
  for (float& value : last.data<float>()) value = -1;
  CHECK(a(1, 2, 0) == -1);
  a.row(0).assign(row);
  CHECK(a(0, 0, 1) == 7);
  CHECK_THROWS_WITH_AS(a.row(0).assign(row.row(0)),
                       "assign: the array is f32 (3, 2), the values are f32 (2,)", ShapeError);
  CHECK_THROWS_WITH_AS(a.row(0).assign(Array::zeros({3, 2}, f64)),
                       "assign: the array is f32 (3, 2), the values are f64 (3, 2)", TypeError);
  CHECK_THROWS_WITH_AS((void)a.row(2), "index: index 2 is out of range for axis 0, whose size is 2",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array(1.0F).row(0), "row: the array is a scalar, f32 ()", ShapeError);
  CHECK_THROWS_AS((void)Array::zeros({0, 3}).row(0), ValueError);

  // Of a view with strides: every second column, and the columns as rows.
  std::vector<float> memory{0, 1, 2, 3, 4, 5, 6, 7};
  Array columns = Array::view(memory.data(), {4, 2}, {1, 4});
  CHECK(columns(3, 1) == 7);
  CHECK(columns.row(2)(1) == 6);
  CHECK_FALSE(columns.row(2).is_row_major());
  columns.row(2).assign(Array::from({20.0F, 60.0F}));
  CHECK(memory[2] == 20);
  CHECK(memory[6] == 60);
  Array backwards = Array::view(memory.data() + 4, {2, 4}, {-4, 1});
  CHECK(backwards.row(1).is_row_major());
  CHECK(backwards.row(1)(3) == 3);
  const float* read_only = memory.data();
  Array constant = Array::view(read_only, {2, 4});
  CHECK(constant(0, 1) == 1);
  CHECK_THROWS_AS(constant(0, 1) = 5, ValueError);
  CHECK_THROWS_AS(constant.row(0).assign(backwards.row(1)), ValueError);
}

TEST_CASE("Array: lists of numbers of several types") {
  CHECK(array_equal(Array::from({1, 2.5}), Array::from({1.0, 2.5})));
  CHECK(array_equal(Array::from({1, 2.5F}), Array::from({1.0F, 2.5F})));
  CHECK(array_equal(Array::from({true, 2}), Array::from({1, 2})));
  CHECK(Array::from({1U, 2U}).dtype() == u32);
  CHECK(Array::from({1U, 2U, true}).dtype() == i64);
  CHECK(Array::from({1LL, 2LL}).dtype() == i64);
  CHECK(array_equal(Array::from({{1, 2.5}, {3, 4}}), Array::from({{1.0, 2.5}, {3.0, 4.0}})));
  CHECK(array_equal(Array::from({1, 2.5}, {2, 1}), Array::from({{1.0}, {2.5}})));
  CHECK_THROWS_AS((void)Array::from({1, 2.5}, {3}), ShapeError);
}
