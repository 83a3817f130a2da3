// Sorts of long axes, whose blocks several threads move, against std::stable_sort; in loops,
// branches and updates.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>
#include <kroton/indexing.h>
#include <kroton/kroton.h>
#include <kroton/numeric.h>
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

namespace kt = kroton;

namespace {

// Numbers of all magnitudes: of random bits, some of them equal, with the ends of the dtype.
template <class T>
kt::Array any_numbers(const kt::Shape& shape, kt::DType dtype) {
  kt::Array result = kt::Array::zeros(shape, dtype);
  std::mt19937_64 random(7);
  std::vector<T> special = {T(0), std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()};
  if constexpr (std::is_floating_point_v<T>) {
    special.insert(special.end(),
                   {T(-0.0), std::numeric_limits<T>::infinity(),
                    -std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN(),
                    -std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::denorm_min()});
  }
  for (T& x : result.data<T>()) {
    const std::uint64_t bits = random();
    if (bits % 8 == 0) {
      x = special[bits / 8 % special.size()];
    } else {
      std::memcpy(&x, &bits, sizeof(T));
    }
  }
  return result;
}

// Of rows of any length, or of a known one, whose zeros and NaNs need not be the same.
template <class T>
void check_rows(const kt::Array& x, bool is_known) {
  const auto is_before = [](T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    }
    return a < b;
  };
  const kt::Dim columns = is_known ? kt::Dim(x.shape()[1]) : kt::dim("columns");
  const kt::Tensor m = kt::tensor("m", {kt::dim("rows"), columns}, x.dtype());
  const auto f = kt::function(
      {m}, {kt::argsort(m), kt::argsort(m, -1, true), kt::sort(m), kt::sort(m, -1, true)});
  const auto [ascending, descending, sorted, falling] = f(x);
  const auto n = static_cast<std::size_t>(x.shape()[1]);
  const auto data = x.data<T>();
  for (std::size_t row = 0; row < static_cast<std::size_t>(x.shape()[0]); ++row) {
    std::vector<std::int64_t> up(n), down(n);
    std::iota(up.begin(), up.end(), 0);
    down = up;
    const auto at = [&](std::int64_t i) { return data[row * n + static_cast<std::size_t>(i)]; };
    std::stable_sort(up.begin(), up.end(), [&](auto a, auto b) { return is_before(at(a), at(b)); });
    std::stable_sort(down.begin(), down.end(),
                     [&](auto a, auto b) { return is_before(at(b), at(a)); });
    const auto found_up = ascending.data<std::int64_t>().subspan(row * n, n);
    const auto found_down = descending.data<std::int64_t>().subspan(row * n, n);
    CHECK(std::ranges::equal(found_up, up));
    CHECK(std::ranges::equal(found_down, down));
    const auto same = [&](const kt::Array& values, const std::vector<std::int64_t>& order) {
      bool result = true;
      for (std::size_t i = 0; i < n; ++i) {
        const T expected = at(order[i]), found = values.data<T>()[row * n + i];
        result = result && (is_known ? !is_before(found, expected) && !is_before(expected, found)
                                     : std::memcmp(&found, &expected, sizeof(T)) == 0);
      }
      return result;
    };
    CHECK(same(sorted, up));
    CHECK(same(falling, down));
  }
}

template <class T>
void check_long(const kt::Array& x) {
  check_rows<T>(x, false);
}

// Rows in the lanes of vectors: a whole number of them, and some more.
template <class T>
void check_known(kt::DType dtype, std::initializer_list<std::int64_t> lengths) {
  for (const std::int64_t length : lengths) {
    CAPTURE(length);
    for (const std::int64_t rows : {48, 5}) {
      check_rows<T>(any_numbers<T>({rows, length}, dtype), true);
    }
  }
}

}  // namespace

TEST_CASE("sort: long axes of any numbers") {
  check_long<float>(any_numbers<float>({2, 5000}, kt::f32));
  check_long<double>(any_numbers<double>({2, 5000}, kt::f64));
  check_long<std::int32_t>(any_numbers<std::int32_t>({2, 5000}, kt::i32));
  check_long<std::int64_t>(any_numbers<std::int64_t>({2, 5000}, kt::i64));
  check_long<float>(any_numbers<float>({3, 97}, kt::f32));
  check_long<double>(any_numbers<double>({3, 96}, kt::f64));
  check_long<float>(any_numbers<float>({1, 70000}, kt::f32));
}

TEST_CASE("sort: many rows of a known length") {
  check_known<float>(kt::f32, {2, 3, 15, 16, 17, 33, 100, 1000});
  check_known<double>(kt::f64, {2, 16, 31, 64, 300});
  check_known<std::int32_t>(kt::i32, {7, 32, 129});
  check_known<std::int64_t>(kt::i64, {5, 40, 257});
  check_known<std::uint8_t>(kt::u8, {3, 70});
  check_known<std::uint32_t>(kt::u32, {9, 70});
  check_known<std::uint64_t>(kt::u64, {9, 70});
  check_known<std::int16_t>(kt::i16, {20});
  check_known<float>(kt::f32, {2500});
}

TEST_CASE("sort: rows of more axes, along any of them") {
  const kt::Array x = any_numbers<std::int32_t>({5, 20, 18}, kt::i32);
  const kt::Tensor t = kt::tensor("t", {kt::dim("n"), 20, 18}, kt::i32);
  for (const int axis : {0, 1, 2}) {
    CAPTURE(axis);
    const kt::Tensor moved = kt::moveaxis(t, axis, -1), sorted = kt::sort(t, axis);
    const kt::Tensor matrix = kt::reshape(moved, {-1, moved.shape(2)});
    const kt::Tensor rows = kt::reshape(kt::sort(matrix), moved.shape());
    const auto f = kt::function({t}, {kt::moveaxis(sorted, axis, -1), rows,
                                      kt::take_along_axis(t, kt::argsort(t, axis), axis), sorted});
    const auto [along, by_rows, gathered, all] = f(x);
    CHECK(kt::array_equal(along, by_rows));
    CHECK(kt::array_equal(gathered, all));
    const auto values = along.data<std::int32_t>();
    const auto n = static_cast<std::size_t>(along.shape()[2]);
    for (std::size_t row = 0; row < values.size() / n; ++row) {
      CHECK(std::ranges::is_sorted(values.subspan(row * n, n)));
    }
  }
}

TEST_CASE("sort: in the step of a loop and its gradient") {
  const kt::Tensor m = kt::matrix("m", kt::f64), v = kt::vector("v", kt::f64);
  const kt::Tensor states =
      kt::scan([](kt::Tensor row, kt::Tensor state) { return kt::sort(row + state); },
               {.sequences = {m}, .outputs_info = {v}});
  const auto f = kt::function({m, v}, {states, kt::grad(kt::sum(kt::square(states)), m)});
  const auto [found, slope] =
      f(kt::Array::from({{3.0, 1, 2}, {9, 8, 7}}), kt::Array::from({0.0, 5, 1}));
  CHECK(kt::array_equal(found, kt::Array::from({{3.0, 3, 6}, {11, 12, 13}})));
  CHECK(kt::array_equal(slope, kt::Array::from({{30.0, 38, 28}, {24, 22, 26}})));
}

TEST_CASE("sort: on the side of a branch that is taken") {
  const kt::Tensor v = kt::vector("v");
  const auto f = kt::function({v}, kt::ifelse(kt::gt(v[0], 0), kt::sort(v), v));
  CHECK(kt::array_equal(f(kt::Array::from({3.0F, 1})), kt::Array::from({1.0F, 3})));
  CHECK(kt::array_equal(f(kt::Array::from({-3.0F, -5})), kt::Array::from({-3.0F, -5})));
}

TEST_CASE("elements that are replaced in an update") {
  const kt::Shared w = kt::shared(kt::Array::zeros({4}), "w");
  const kt::Tensor ids = kt::vector("ids", kt::i64), values = kt::vector("values");
  const auto f =
      kt::function({ids, values}, kt::sum(w), {.updates = {{w, kt::at(w, ids).set(values)}}});
  f(kt::Array::from<std::int64_t>({1, 3, 1}), kt::Array::from({2.0F, 7, 5}));
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({0.0F, 5, 0, 7})));
  CHECK_THROWS_AS(f(kt::Array::from<std::int64_t>({0, 4}), kt::Array::from({1.0F, 1})),
                  kt::ValueError);
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({0.0F, 5, 0, 7})));
}

TEST_CASE("running product: its Hessian with zeros among the factors") {
  const kt::Tensor x = kt::tensor("x", {4}, kt::f64);
  const kt::Tensor last = kt::cumprod(x, 0)[3];
  const kt::Tensor slope = kt::grad(last, x);
  // x0 x1 x2 x3 at (2, 0, 3, 0): by x1 and x3 its second derivative is 6.
  const auto f = kt::function({x}, {slope, kt::grad(slope[1], x)});
  const auto [first, second] = f(kt::Array::from({2.0, 0, 3, 0}));
  CHECK(kt::array_equal(first, kt::Array::from({0.0, 0, 0, 0})));
  CHECK(kt::array_equal(second, kt::Array::from({0.0, 0, 0, 6})));
}

TEST_CASE("products at repeated indices: second derivatives with zeros among the values") {
  const kt::Tensor v = kt::tensor("v", {3}, kt::f64);
  const kt::Tensor x = kt::Operand(kt::Array::from({5.0, 1})).tensor();
  const kt::Tensor y =
      kt::mul_at(x, v, kt::Operand(kt::Array::from<std::int64_t>({0, 0, 1})).tensor())[0];
  const kt::Tensor slope = kt::grad(y, v);
  const auto f = kt::function({v}, {slope, kt::grad(slope[0], v)});
  const auto [first, second] = f(kt::Array::from({0.0, 0, 3}));
  CHECK(kt::array_equal(first, kt::Array::from({0.0, 0, 0})));
  CHECK(kt::array_equal(second, kt::Array::from({0.0, 5, 0})));
}

TEST_CASE("logcumsumexp: far from each other and infinite") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const kt::Tensor v = kt::vector("v", kt::f64);
  const auto f = kt::function({v}, kt::logcumsumexp(v, 0));
  const kt::Array y = f(kt::Array::from({-inf, -inf, -1000.0, -1000.0, 1000.0, inf, 3.0}));
  const double expected[] = {-inf, -inf, -1000, -1000 + std::log(2.0), 1000, inf, inf};
  for (std::size_t i = 0; i < 7; ++i) CHECK(y.data<double>()[i] == expected[i]);
}

TEST_CASE("searchsorted: positions take the place of what was looked for") {
  const kt::Shared v = kt::shared(kt::Array::from({{-3L, 1L}, {2L, 4L}}), "v");
  const kt::Tensor sorted = kt::vector("sorted", kt::f64);
  kt::function({sorted}, {.updates = {{v, kt::searchsorted(sorted, v, true)}}})(
      std::vector<double>{0.5, 1.2});
  CHECK(kt::array_equal(v.get_value(), kt::Array::from({{0L, 1L}, {2L, 2L}})));
}
