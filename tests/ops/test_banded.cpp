// solve_banded and null_space: values (PyTorch's are in test_linalg_values.cpp), gradients, errors.
#include <doctest/doctest.h>
#include <kroton/banded.h>
#include <kroton/kroton.h>

#include <cmath>
#include <limits>

#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests
using error_text::shape_error;
using error_text::type_error;
using error_text::value_error;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

Array numbers(const Shape& shape, int seed) { return Array::uniform(shape, seed, -1, 1).cast(f64); }

// The matrix of those diagonals.
Tensor dense(const Tensor& ab, const Bands& bands) {
  const Dim n = ab.shape(-1);
  const Tensor i = iota({n, n}, 0), j = iota({n, n}, 1);
  Tensor result = zeros({n, n}, ab.dtype());
  for (int row = 0; row <= bands.lower + bands.upper; ++row) {
    const Tensor on_it = eq(i - j, row - bands.upper);
    result = result + where(on_it, expand_dims(ab(row), 0), 0);
  }
  return result;
}

// Diagonally dominant.
Tensor dominant(const Tensor& ab, const Bands& bands) {
  const Tensor row = iota(ab.shape(), ab.rank() - 2);
  return where(eq(row, bands.upper), ab + 4, ab);
}

}  // namespace

TEST_CASE("solve_banded: SciPy's example") {
  // scipy.linalg.solve_banded((1, 2), ab, b)
  const Array ab = Array::from({{0.0, 0.0, -1.0, -1.0, -1.0},
                                {0.0, 2.0, 2.0, 2.0, 2.0},
                                {5.0, 4.0, 3.0, 2.0, 1.0},
                                {1.0, 1.0, 1.0, 1.0, 0.0}});
  const Tensor a = matrix("a", f64), b = vector("b", f64);
  const auto f = function({a, b}, solve_banded({1, 2}, a, b));
  CHECK(all_close(
      f(ab, Array::from({0.0, 1.0, 2.0, 2.0, 3.0})),
      Array::from({-2.37288135593220, 3.93220338983051, -4.0, 4.35593220338983, -1.35593220338983}),
      1e-13, 1e-13));
  // Rows change places, and the corners are not read.
  const Array pivots = Array::from({{nan_value, 1.0, 3.0}, {0.0, 0.0, 1.0}, {2.0, 4.0, nan_value}});
  const auto g = function({a, b}, solve_banded({1, 1}, a, b));
  CHECK(all_close(g(pivots, Array::from({1.0, 8.0, 6.0})), Array::from({1.0, 1.0, 2.0})));
}

TEST_CASE("solve_banded: all bands and sizes and batches, against the whole matrix") {
  for (const Bands bands : {Bands{0, 0}, {1, 0}, {0, 2}, {1, 1}, {2, 1}, {3, 5}}) {
    const std::int64_t rows = bands.lower + bands.upper + 1;
    CAPTURE(rows);
    const Tensor a = tensor("a", {rows, dim("n")}, f64), b = matrix("b", f64);
    const Tensor used = dominant(a, bands);
    const auto f = function({a, b}, {solve_banded(bands, used, b), solve(dense(used, bands), b)});
    for (const std::int64_t n : {1, 3, 17, 40}) {
      for (const std::int64_t k : {0, 1, 3}) {
        CAPTURE(n);
        const auto got = f(numbers({rows, n}, 1), numbers({n, k}, 2));
        CHECK(all_close(got[0], got[1], 1e-11, 1e-11));
      }
    }
    CHECK(f(numbers({rows, 0}, 1), numbers({0, 2}, 2))[0].size() == 0);
  }
  // The axes before broadcast; f32.
  const Bands bands{1, 2};
  const Tensor a = tensor("a", {dim("count"), 1, 4, 6}), b = tensor("b", {3, 6, 2});
  const auto f = function({a, b}, solve_banded(bands, dominant(a, bands), b));
  const Array diagonals = Array::uniform({5, 1, 4, 6}, 1, -1, 1),
              right = Array::uniform({3, 6, 2}, 2);
  const Array x = f(diagonals, right);
  REQUIRE(x.shape() == Shape{5, 3, 6, 2});
  const Tensor one = tensor("one", {4, 6}), of_one = tensor("of_one", {6, 2});
  const auto single = function({one, of_one}, solve(dense(dominant(one, bands), bands), of_one));
  Array last = Array::zeros({4, 6}), last_right = Array::zeros({6, 2});
  std::copy_n(diagonals.data<float>().begin() + 4 * 24, 24, last.data<float>().begin());
  std::copy_n(right.data<float>().begin() + 2 * 12, 12, last_right.data<float>().begin());
  const Array expected = single(last, last_right);
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(x.data<float>()[14 * 12 + i] == doctest::Approx(expected.data<float>()[i]).epsilon(1e-5));
  }
}

TEST_CASE("solve_banded: gradients of first and second order") {
  for (const Bands bands : {Bands{0, 0}, {1, 1}, {2, 1}, {0, 2}}) {
    const std::int64_t rows = bands.lower + bands.upper + 1;
    CAPTURE(rows);
    const Tensor a = tensor("a", {2, rows, 4}, f64), b = tensor("b", {2, 4, 2}, f64);
    const Tensor x = solve_banded(bands, dominant(a, bands), b);
    const Tensor cost = sum(sin(x));
    const Array at = numbers({2, rows, 4}, 1), right = numbers({2, 4, 2}, 2);
    CHECK_NOTHROW(verify_grad(cost, {{a, at}, {b, right}}));
    CHECK_NOTHROW(
        verify_grad(sum(sin(grad(cost, a))) + sum(cos(grad(cost, b))), {{a, at}, {b, right}}));
  }
  // Nothing comes to the corners.
  const Tensor a = tensor("a", {3, 4}, f64), b = vector("b", f64);
  const Array g = function({a, b}, grad(sum(solve_banded({1, 1}, a, b)), a))(
      function({a}, dominant(a, {1, 1}))(numbers({3, 4}, 1)), numbers({4}, 2));
  CHECK(g.data<double>()[0] == 0);
  CHECK(g.data<double>()[11] == 0);
  CHECK(g.data<double>()[1] != 0);
}

TEST_CASE("solve_banded: in a scan, and what is refused") {
  const Tensor a = tensor("a", {3, 4}, f64), b = vector("b", f64);
  const Tensor many = tensor("many", {dim("steps"), 3, 4}, f64);
  const auto rows = function(
      {many, b},
      map([&](const Tensor& ab) { return solve_banded({1, 1}, dominant(ab, {1, 1}), b); }, {many}));
  const Array all = numbers({5, 3, 4}, 1), right = numbers({4}, 2);
  CHECK(rows(all, right).shape() == Shape{5, 4});
  CHECK(value_error([&] { solve_banded({-1, 1}, a, b); }) ==
        "solve_banded: the numbers of diagonals are negative: lower -1, upper 1  [here]");
  CHECK(shape_error([&] { solve_banded({1, 2}, a, tensor("c", {4, 1}, f64)); }) ==
        "solve_banded: expected 4 rows of diagonals, lower 1, upper 2: a is f64 (3, 4), c is f64 "
        "(4, 1)  [here]");
  CHECK(shape_error([&] { solve_banded({1, 1}, a, tensor("c", {5, 1}, f64)); }) ==
        "solve_banded: the numbers of rows differ: a is f64 (3, 4), c is f64 (5, 1)  [here]");
  CHECK(shape_error([&] { solve_banded({1, 1}, a, tensor("c", {5}, f64)); }) ==
        "solve_banded: the numbers of rows differ: a is f64 (3, 4), c is f64 (5,)  [here]");
  CHECK(type_error([&] {
          solve_banded({1, 1}, tensor("i", {3, 4}, i64), tensor("j", {4, 1}, i64));
        }) == "solve_banded: takes f32 and f64 only: i is i64 (3, 4), j is i64 (4, 1)  [here]");
  CHECK_THROWS_AS(solve_banded({1, 1}, b, b), ShapeError);
  const Tensor free = matrix("free", f64);
  const auto f = function({free, b}, solve_banded({1, 1}, free, b), {.name = "f"});
  CHECK_THROWS_AS(f(Array::ones({2, 4}, f64), Array::ones({4}, f64)), ShapeError);
  CHECK_THROWS_AS(f(Array::ones({4, 4}, f64), Array::ones({4}, f64)), ShapeError);
  CHECK_THROWS_AS(f(Array::ones({3, 4}, f64), Array::ones({5}, f64)), ShapeError);
  CHECK(value_error([&] { f(Array::zeros({3, 4}, f64), Array::ones({4}, f64)); }) ==
        "f: solve_banded: the matrix is singular: its pivot 0 is 0  [here]");
}

TEST_CASE("null_space: an orthonormal basis of what a matrix takes to 0") {
  for (const auto& [m, n, rank] : {std::array<std::int64_t, 3>{2, 4, 2},
                                   {4, 4, 1},
                                   {5, 3, 2},
                                   {1, 12, 1},
                                   {3, 20, 2},
                                   {20, 14, 3},
                                   {3, 3, 3},
                                   {3, 3, 0},
                                   {0, 3, 0}}) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(rank);
    const Tensor left = tensor("left", {2, m, rank}, f64),
                 right = tensor("right", {2, rank, n}, f64);
    const Tensor a = matmul(left, right), basis = null_space(a, static_cast<int>(rank));
    const Tensor square = matmul(swapaxes(basis, -1, -2), basis);
    const auto got = function({left, right}, {basis, matmul(a, basis), square})(
        numbers({2, m, rank}, 1), numbers({2, rank, n}, 2));
    CHECK(got[0].shape() == Shape{2, n, n - rank});
    CHECK(all_close(got[1], Array::zeros({2, m, n - rank}, f64), 1e-13, 1e-13));
    for (std::int64_t i = 0; i < 2 * (n - rank) * (n - rank); ++i) {
      const std::int64_t place = i % ((n - rank) * (n - rank));
      const double expected = place / (n - rank) == place % (n - rank) ? 1 : 0;
      CHECK(std::abs(got[2].data<double>()[static_cast<std::size_t>(i)] - expected) < 1e-13);
    }
  }
}

TEST_CASE("null_space: the gradient of the projection to it") {
  const Tensor a = tensor("a", {2, 4}, f64);
  const Tensor basis = null_space(a, 2);
  const Tensor cost = sum(sin(matmul(basis, swapaxes(basis, 0, 1))) * iota({4, 4}, 0, f64));
  CHECK_NOTHROW(verify_grad(cost, {{a, numbers({2, 4}, 5)}}));
  CHECK_NOTHROW(verify_grad(sum(sin(grad(cost, a))), {{a, numbers({2, 4}, 5)}}));
}

TEST_CASE("null_space: what is refused") {
  const Tensor a = tensor("a", {2, 3}, f64);
  CHECK(value_error([&] { null_space(a, 3); }) ==
        "null_space: matrices f64 (2, 3) have no rank 3  [here]");
  CHECK(value_error([&] { null_space(a, -1); }) ==
        "null_space: matrices f64 (2, 3) have no rank -1  [here]");
  CHECK_THROWS_AS(null_space(matrix("m", f64), 1), ShapeError);
  CHECK_THROWS_AS(null_space(tensor("i", {2, 3}, i64), 1), TypeError);
  const auto f = function({a}, null_space(a, 1), {.name = "f"});
  CHECK(value_error([&] {
          f(Array::from({{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}));
        }).find("null_space: a matrix has not the rank 1") != std::string::npos);
  CHECK_NOTHROW(f(Array::from({{1.0, 2.0, 3.0}, {2.0, 4.0, 6.0}})));
}
