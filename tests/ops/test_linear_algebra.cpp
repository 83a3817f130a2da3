// cholesky and solve_triangular: values, errors and gradients, and where they take part. The suite
// of all ops checks their records besides.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <climits>
#include <cmath>
#include <limits>

#include "runtime/lapack.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

namespace test_linear_algebra {

using namespace kroton;  // NOLINT: tests
using error_text::shape_error;
using error_text::type_error;
using error_text::value_error;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

Tensor transposed(const Tensor& x) { return swapaxes(x, -1, -2); }

Tensor identity(const Tensor& x) {
  const int rank = x.rank();
  return cast(eq(iota(x.shape(), rank - 2), iota(x.shape(), rank - 1)), x.dtype());
}

// x x^T + n, symmetric positive definite.
Tensor definite(const Tensor& x) {
  const Tensor square = matmul(x, transposed(x));
  return square + 4 * identity(square);
}

Array doubles(const Shape& shape, std::initializer_list<double> values) {
  Array result = Array::zeros(shape, f64);
  std::copy(values.begin(), values.end(), result.data<double>().begin());
  return result;
}

Array random(const Shape& shape, DType dtype, int seed) {
  const Array values = Array::uniform(shape, seed, -1, 1);
  if (dtype == f32) return values;
  const Tensor x = tensor("x", Dims(shape.begin(), shape.end()));
  return function({x}, cast(x, dtype))(values);
}

const Array singular_second = doubles({2, 2, 2}, {2, 0, 1, 2, 1, 0, 3, 0});
const Array indefinite_third = doubles({3, 2, 2}, {4, 0, 2, 5, 1, 0, 0, 1, 1, 0, 2, 1});

}  // namespace

TEST_CASE("linear algebra: the factor of a known matrix, of which the lower triangle is read") {
  const Tensor a = tensor("a", {3, 3}, f64);
  const auto f = function({a}, cholesky(a));
  const Array l = doubles({3, 3}, {2, 0, 0, 6, 1, 0, -8, 5, 3});
  CHECK(array_equal(f(doubles({3, 3}, {4, no_number, -1, 12, 37, 77, -16, -43, 98})), l));
}

TEST_CASE("linear algebra: L L^T is the matrix, at all sizes, batches and dtypes") {
  for (const DType dtype : {f32, f64}) {
    const double tolerance = dtype == f32 ? 1e-5 : 1e-13;
    const Tensor x = tensor("x", {dim("batch"), dim("n"), dim("n")}, dtype);
    const Tensor a = definite(x), l = cholesky(a);
    const auto free = function({x}, {a, l, matmul(l, transposed(l))});
    for (const std::int64_t n : {0, 1, 3, 17, 70}) {
      for (const std::int64_t batch : {0, 1, 5}) {
        CAPTURE(n);
        CAPTURE(batch);
        const Array values = random({batch, n, n}, dtype, 3);
        const auto got = free(values);
        REQUIRE(got[1].shape() == Shape{batch, n, n});
        CHECK(all_close(got[2], got[0], tolerance, tolerance));
        const Tensor known = tensor("known", {batch, n, n}, dtype);
        CHECK(all_close(function({known}, cholesky(definite(known)))(values), got[1], tolerance,
                        tolerance));
        const auto upper =
            function({x}, sum(abs(where(iota(l.shape(), 1) < iota(l.shape(), 2), l, 0))));
        CHECK(all_close(upper(values), Array::zeros({}, dtype)));
      }
    }
  }
  // More axes before the matrices, and none.
  const Tensor x = tensor("x", {2, 0, 3, 4, 4});
  CHECK(function({x}, cholesky(definite(x)))(Array::zeros({2, 0, 3, 4, 4})).size() == 0);
  const Tensor y = tensor("y", {2, 3, 4, 4});
  const Tensor l = cholesky(definite(y));
  const auto f = function({y}, {matmul(l, transposed(l)), definite(y)});
  const auto got = f(Array::uniform({2, 3, 4, 4}, 1, -1, 1));
  CHECK(all_close(got[0], got[1], 1e-5, 1e-5));
}

TEST_CASE("linear algebra: triangular systems are solved, the other triangle is not read") {
  for (const DType dtype : {f32, f64}) {
    const double tolerance = dtype == f32 ? 1e-4 : 1e-12;
    for (const bool lower : {true, false}) {
      for (const bool trans : {true, false}) {
        const Tensor m = tensor("m", {dim("batch"), dim("n"), dim("n")}, dtype);
        const Tensor b = tensor("b", {dim("batch"), dim("n"), dim("k")}, dtype);
        const Tensor row = iota(m.shape(), 1), column = iota(m.shape(), 2);
        const Tensor inside = lower ? ge(row, column) : le(row, column);
        const Tensor full = m + 3 * identity(m);
        const Tensor triangle = where(inside, full, 0);
        const Tensor x = solve_triangular(where(inside, full, no_number), b, trans, lower);
        const auto f = function({m, b}, matmul(trans ? transposed(triangle) : triangle, x));
        for (const std::int64_t n : {0, 1, 3, 17}) {
          for (const std::int64_t k : {0, 1, 2, 19}) {
            CAPTURE(n);
            CAPTURE(k);
            for (const std::int64_t batch : {0, 1, 3}) {
              const Array right = random({batch, n, k}, dtype, 2);
              CHECK(all_close(f(random({batch, n, n}, dtype, 1), right), right, tolerance,
                              tolerance));
            }
          }
        }
      }
    }
  }
  const Tensor l = tensor("l", {2, 2}, f64), v = vector("v", f64);
  const auto solve = function({l, v}, solve_triangular(l, v));
  CHECK(array_equal(solve(doubles({2, 2}, {2, no_number, 1, 4}), doubles({2}, {2, 9})),
                    doubles({2}, {1, 2})));
  // A NaN is passed on, dtypes are promoted.
  CHECK(std::isnan(
      solve(doubles({2, 2}, {2, 0, no_number, 4}), doubles({2}, {2, 9})).data<double>()[1]));
  CHECK(solve_triangular(tensor("l", {2, 2}), v).dtype() == f64);
}

TEST_CASE("linear algebra: what is refused when it is declared") {
  CHECK(shape_error([] { cholesky(vector("v")); }) ==
        "cholesky: takes matrices, of two axes or more: v is f32 (v.shape[0],)  [here]");
  CHECK(shape_error([] { cholesky(tensor("a", {5, 3, 4})); }) ==
        "cholesky: the matrices are not square: a is f32 (5, 3, 4)  [here]");
  CHECK(type_error([] { cholesky(tensor("a", {3, 3}, i64)); }) ==
        "cholesky: takes f32 and f64 only: a is i64 (3, 3)  [here]");
  const Tensor l = tensor("l", {2, 3, 3});
  CHECK(shape_error([&] { solve_triangular(l, tensor("b", {3, 4})); }) ==
        "solve_triangular: ranks differ: l is f32 (2, 3, 3), b is f32 (3, 4)  [here]");
  CHECK(shape_error([&] { solve_triangular(l, tensor("b", {1, 3, 4})); }) ==
        "solve_triangular: sizes differ on axis 0: l is f32 (2, 3, 3), b is f32 (1, 3, 4)  [here]");
  CHECK(shape_error([&] { solve_triangular(l, tensor("b", {2, 4, 4})); }) ==
        "solve_triangular: sizes differ on axis 1: l is f32 (2, 3, 3), b is f32 (2, 4, 4)  [here]");
  CHECK(shape_error([&] { solve_triangular(tensor("l", {2, 3}), l); }) ==
        "solve_triangular: the matrices are not square: l is f32 (2, 3), l is f32 (2, 3, 3)  "
        "[here]");
  CHECK(type_error([] { solve_triangular(tensor("l", {3, 3}, i32), tensor("b", {3, 1}, i32)); }) ==
        "solve_triangular: takes f32 and f64 only: l is i32 (3, 3), b is i32 (3, 1)  [here]");
  // Free sizes are compared at the call.
  const Tensor a = matrix("a");
  const auto f = function({a}, cholesky(a), {.name = "f"});
  CHECK(shape_error([&] { f(Array::ones({2, 3})); }).find("the matrices are not square") !=
        std::string::npos);
}

TEST_CASE("linear algebra: a matrix without a factor is told, and nothing has been updated") {
  const Tensor a = tensor("a", {dim("batch"), dim("n"), dim("n")}, f64);
  const Shared w = shared(Array::ones({2}), "w");
  const auto f = function({a}, cholesky(a), {.updates = {{w, w + 1}}, .name = "step"});
  CHECK(value_error([&] { f(indefinite_third); }) ==
        "step: cholesky: matrix 2 is not positive definite: its leading minor of order 2 is not "
        "above 0  [here]");
  CHECK(array_equal(w.get_value(), Array::ones({2})));
  f(doubles({1, 1, 1}, {4}));
  CHECK(array_equal(w.get_value(), Array::full({2}, 2.0)));
  // A single matrix has no number. A NaN in what is read is as good as a minor below 0.
  for (const DType dtype : {f32, f64}) {
    const Tensor m = tensor("m", {2, 2}, dtype);
    const auto g = function({m}, cholesky(m), {.name = "g"});
    const auto in = function({m}, m);
    const auto at = [&](double x00, double x10, double x11) {
      const Tensor x = tensor("x", {2, 2}, f64);
      return value_error(
          [&] { g(function({x}, cast(x, dtype))(doubles({2, 2}, {x00, 0, x10, x11}))); });
    };
    const std::string text =
        "g: cholesky: the matrix is not positive definite: its leading minor "
        "of order ";
    CHECK(at(-1, 0, 1) == text + "1 is not above 0  [here]");
    CHECK(at(0, 0, 1) == text + "1 is not above 0  [here]");
    CHECK(at(1, 2, 1) == text + "2 is not above 0  [here]");
    CHECK(at(no_number, 0, 1) == text + "1 is not above 0  [here]");
    CHECK(at(1, no_number, 1) == text + "2 is not above 0  [here]");
    CHECK(at(1, 0, no_number) == text + "2 is not above 0  [here]");
    CHECK(at(1, 0, 1) == "no error");
  }
}

TEST_CASE("linear algebra: a 0 on the diagonal is told") {
  const Tensor l = tensor("l", {dim("batch"), 2, 2}, f64),
               b = tensor("b", {dim("batch"), 2, 1}, f64);
  const auto f = function({l, b}, solve_triangular(l, b), {.name = "f"});
  CHECK(value_error([&] { f(singular_second, Array::ones({2, 2, 1}, f64)); }) ==
        "f: solve_triangular: matrix 1 is singular: element 1 of its diagonal is 0  [here]");
  const Tensor m = tensor("m", {2, 2}), v = tensor("v", {2});
  const auto g = function({m, v}, solve_triangular(m, v, true, false), {.name = "g"});
  CHECK(value_error([&] { g(Array::zeros({2, 2}), Array::ones({2})); }) ==
        "g: solve_triangular: the matrix is singular: element 0 of its diagonal is 0  [here]");
}

TEST_CASE("linear algebra: sizes that LAPACK's integers do not hold are an error") {
  std::int64_t failure[2] = {};
  void* const arrays[] = {nullptr, nullptr, failure, failure};
  const std::int64_t large = std::int64_t{INT_MAX} + 1;
  const std::int64_t wide[] = {1, 1, 1, 1, 1, large, 1, 1, large, 2};
  const std::int64_t high[] = {1, large, large, 1, large, large, 2};
  CHECK(kroton_solve_lower_f64(arrays, wide) == KROTON_LAPACK_TOO_LARGE);
  CHECK(kroton_solve_upper_transposed_f32(arrays, wide) == KROTON_LAPACK_TOO_LARGE);
  CHECK(kroton_cholesky_f32(arrays, high) == KROTON_LAPACK_TOO_LARGE);
  CHECK(kroton_cholesky_f64(arrays, high) == KROTON_LAPACK_TOO_LARGE);
}

TEST_CASE("linear algebra: gradients of first and second order") {
  for (const Shape& shape : {Shape{3, 3}, Shape{2, 4, 4}}) {
    const Tensor x = tensor("x", Dims(shape.begin(), shape.end()), f64);
    const Tensor b = tensor("b", Dims(shape.begin(), shape.end()), f64);
    const std::vector<std::pair<Tensor, Array>> at = {{x, random(shape, f64, 1)},
                                                      {b, random(shape, f64, 2)}};
    const Tensor weight = sin(iota(x.shape(), x.rank() - 1, f64) + 1);
    const Tensor of_factor = sum(cholesky(definite(x)) * weight * b);
    verify_grad(of_factor, at);
    verify_grad(sum(grad(of_factor, x) * weight), at);
    for (const bool lower : {true, false}) {
      for (const bool trans : {true, false}) {
        const Tensor solved = solve_triangular(x + 3 * identity(x), b, trans, lower);
        const Tensor cost = sum(sin(solved) * weight);
        verify_grad(cost, at);
        const auto [of_x, of_b] = grad(cost, x, b);
        verify_grad(sum(of_x * weight) + sum(cos(of_b)), at);
      }
    }
    // log det A and b^T A^-1 b, of a normal distribution's density.
    const Tensor l = cholesky(definite(x));
    const Tensor density =
        sum(log(sum(l * identity(l), -1))) + 0.5 * sum(square(solve_triangular(l, b)));
    verify_grad(density, at);
    verify_grad(sum(grad(density, x) * weight), at);
  }
}

TEST_CASE("linear algebra: the gradient by a symmetric matrix is symmetric, and that of log det") {
  const Tensor a = tensor("a", {3, 3}, f64);
  const Tensor l = cholesky(a);
  // d log det A / dA = A^-1: 2 sum log diag L.
  const Tensor cost = 2 * sum(log(sum(l * identity(l), -1)));
  const Tensor inverse = solve_triangular(l, solve_triangular(l, identity(l)), /*transposed=*/true);
  const auto f = function({a}, {grad(cost, a), inverse});
  const auto got = f(doubles({3, 3}, {4, 12, -16, 12, 37, -43, -16, -43, 98}));
  CHECK(all_close(got[0], got[1], 1e-9, 1e-9));
  // Through the matrix's symmetric part its elements may be moved one by one.
  const Tensor part = 0.5 * (a + transpose(a));
  verify_grad(sum(sin(cholesky(part))), {{a, doubles({3, 3}, {4, 1, 0, 1, 5, 2, 0, 2, 6})}});
}

TEST_CASE(
    "linear algebra: in the steps of a scan, as a Kalman filter's covariance, and an ifelse") {
  const Tensor start = tensor("start", {3, 3}, f64), noise = tensor("noise", {4, 3}, f64);
  const Tensor motion = tensor("motion", {3, 3}, f64);
  // P = M P M^T + 1; S = P + diag(r^2); P' = P - P S^-1 P.
  const auto step = [&](const Tensor& r, const Tensor& p) {
    const Tensor predicted = matmul(matmul(motion, p), transpose(motion)) + identity(p);
    const Tensor l = cholesky(predicted + identity(p) * square(r));
    const Tensor gain = solve_triangular(l, predicted);
    return predicted - matmul(transpose(gain), gain);
  };
  const Tensor looped = scan([&](Tensor r, Tensor p) { return step(r, p); },
                             {.sequences = {noise}, .outputs_info = {definite(start)}})[-1];
  Tensor unrolled = definite(start);
  for (int k = 0; k < 4; ++k) unrolled = step(noise[k], unrolled);
  const std::vector<Tensor> inputs = {start, noise, motion};
  std::vector<Tensor> outputs = {looped, unrolled};
  for (const Tensor& result : {looped, unrolled}) {
    for (const Tensor& g : grad(sum(sin(result)), inputs)) outputs.push_back(g);
  }
  const auto f = function(inputs, outputs);
  const auto got = f(random({3, 3}, f64, 1), random({4, 3}, f64, 2), random({3, 3}, f64, 3));
  CHECK(all_close(got[0], got[1], 1e-12, 1e-12));
  for (std::size_t k = 2; k < 5; ++k) CHECK(all_close(got[k], got[k + 3], 1e-10, 1e-10));
  verify_grad(sum(sin(looped)), {{start, random({3, 3}, f64, 1)},
                                 {noise, random({4, 3}, f64, 2)},
                                 {motion, random({3, 3}, f64, 3)}});

  const Tensor wanted = scalar("wanted", boolean), a = tensor("a", {3, 2, 2}, f64);
  const auto g = function({wanted, a}, ifelse(wanted, cholesky(a), a));
  CHECK(array_equal(g(false, indefinite_third), indefinite_third));
  CHECK_THROWS_AS(g(true, indefinite_third), ValueError);
}

TEST_CASE("cuda: LAPACK runs on the host") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = tensor("x", {dim("batch"), dim("n"), dim("n")});
  const Tensor l = cholesky(definite(x));
  const std::vector<Tensor> outputs = {l, grad(sum(sin(l)), x)};
  const auto there = function({x}, outputs, {.target = kroton::cuda()});
  const auto here = function({x}, outputs);
  const Array values = Array::uniform({3, 5, 5}, 1, -1, 1);
  CHECK(all_close(there(values)[0], here(values)[0], 1e-5, 1e-5));
  CHECK(all_close(there(values)[1], here(values)[1], 1e-4, 1e-4));
  const Tensor a = tensor("a", {3, 2, 2}, f64);
  const auto f = function({a}, cholesky(a), {.name = "f", .target = kroton::cuda()});
  CHECK(value_error([&] { f(indefinite_third); }) ==
        "f: cholesky: matrix 2 is not positive definite: its leading minor of order 2 is not "
        "above 0  [here]");
  CHECK(f(doubles({3, 2, 2}, {4, 0, 2, 5, 1, 0, 0, 1, 9, 0, 3, 2})).data<double>()[8] == 3);
}

}  // namespace test_linear_algebra
