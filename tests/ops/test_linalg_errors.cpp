// Products and linear algebra: what is refused, and what a call ends with; small matrices and
// LAPACK say the same.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/linalg.h>
#include <kroton/products.h>

#include <cmath>
#include <limits>

#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests
using error_text::shape_error;
using error_text::type_error;
using error_text::value_error;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

Array doubles(const Shape& shape, std::initializer_list<double> values) {
  Array result = Array::zeros(shape, f64);
  std::copy(values.begin(), values.end(), result.data<double>().begin());
  return result;
}

const Tensor a = tensor("a", {2, 3}), b = tensor("b", {4, 5});

}  // namespace

TEST_CASE("linalg errors: einsum's strings and sizes") {
  CHECK(value_error([] { einsum("ij", a, b); }) ==
        "einsum: \"ij\": it has 1 operands, got 2  [here]");
  CHECK(value_error([] { einsum("ij,j?->i", a, b); }) ==
        "einsum: \"ij,j?->i\": expected letters, commas, \"...\" and one \"->\", got '?'  [here]");
  CHECK(value_error([] { einsum("ij->ii", a); }) ==
        "einsum: \"ij->ii\": the result has the letter i twice  [here]");
  CHECK(value_error([] { einsum("ij->k", a); }) ==
        "einsum: \"ij->k\": the result's letter k is none of an operand  [here]");
  CHECK(value_error([] { einsum("ij->i...", a); }) ==
        "einsum: \"ij->i...\": the result has an ellipsis, and no operand has one  [here]");
  CHECK(value_error([] { einsum("...i...->i", a); }) ==
        "einsum: \"...i...->i\": two ellipses for one operand  [here]");
  CHECK(
      shape_error([] { einsum("ij,jk->ik", a, b); }) ==
      "einsum: \"ij,jk->ik\": the letter j is 3 in operand 0 and 4 in operand 1: a is f32 (2, 3), "
      "b is f32 (4, 5)  [here]");
  CHECK(shape_error([] { einsum("ii->i", a); }) ==
        "einsum: \"ii->i\": the letter i is 2 in operand 0 and 3 in operand 0: a is f32 (2, 3)  "
        "[here]");
  CHECK(shape_error([] { einsum("ijk->i", a); }) ==
        "einsum: \"ijk->i\" gives a 3 axes: a is f32 (2, 3)  [here]");
  CHECK(type_error([] { einsum("i->", vector("v", boolean)); }) ==
        "einsum: takes numbers only: v is boolean (v.shape[0],)  [here]");
  // Sizes that are compared at the call.
  const Tensor x = matrix("x"), y = matrix("y");
  const auto f = function({x, y}, einsum("ij,jk->ik", x, y));
  CHECK_THROWS_AS(f(Array::ones({2, 3}), Array::ones({4, 2})), ShapeError);
  const auto g = function({x}, einsum("ii->i", x), {.name = "g"});
  CHECK(array_equal(g(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}})), Array::from({1.0F, 4.0F})));
  CHECK_THROWS_AS(g(Array::ones({2, 3})), ShapeError);
  CHECK_THROWS_AS(g(Array::ones({3, 2})), ShapeError);
}

TEST_CASE("linalg errors: tensordot and the other products") {
  CHECK(shape_error([] { tensordot(a, b, 1); }) ==
        "tensordot: sizes differ: axis 1 of a is 3, axis 0 of b is 4: a is f32 (2, 3), b is f32 "
        "(4, 5)  [here]");
  CHECK(value_error([] { tensordot(a, b, 3); }) ==
        "tensordot: cannot sum over 3 axes of f32 (2, 3) and f32 (4, 5)  [here]");
  CHECK(value_error([] { tensordot(a, b, {0}, {0, 1}); }) ==
        "tensordot: expected as many axes of x as of y, got 1 and 2  [here]");
  CHECK(value_error([] { tensordot(a, a, {0, -2}, {0, 1}); }) ==
        "tensordot: axis -2 is named twice  [here]");
  CHECK(
      shape_error([] { inner(a, b); }) ==
      "inner: sizes differ: axis 1 of a is 3, axis 1 of b is 5: a is f32 (2, 3), b is f32 (4, 5)  "
      "[here]");
  CHECK(shape_error([] { vdot(a, b); }) ==
        "vdot: the numbers of elements differ: a is f32 (2, 3), b is f32 (4, 5)  [here]");
  CHECK(value_error([] { multi_dot({a}); }) ==
        "multi_dot: expected two matrices at least, got 1  [here]");
  CHECK(
      shape_error([] { multi_dot({a, b}); }) ==
      "multi_dot: inner sizes differ: operand 0 has 3 columns, operand 1 has 4 rows: a is f32 (2, "
      "3), b is f32 (4, 5)  [here]");
  CHECK(shape_error([] { matrix_power(a, 2); }) ==
        "matrix_power: the matrices are not square: a is f32 (2, 3)  [here]");
  const Tensor free = matrix("free");
  for (const int n : {1, 2}) {
    CHECK_THROWS_AS(function({free}, matrix_power(free, n))(Array::ones({2, 3})), ShapeError);
  }
  CHECK(type_error([] { kron(a > 0, a > 0); }).substr(0, 24) == "kron: takes numbers only");
}

TEST_CASE("linalg errors: integer products have the operands' dtype, and wrap") {
  const Tensor x = matrix("x", i32), y = matrix("y", i32);
  const Tensor product = einsum("ij,jk->ik", x, y);
  CHECK(product.dtype() == i32);
  CHECK(einsum("ij->", x).dtype() == i32);
  const Array big = Array::full({2, 2}, 1 << 30, i32);
  CHECK(array_equal(function({x, y}, product)(big, Array::full({2, 2}, 3, i32)),
                    function({x, y}, matmul(x, y))(big, Array::full({2, 2}, 3, i32))));
}

TEST_CASE("linalg errors: what is refused where it is declared") {
  const auto solver = [](const Operand& x) { return solve(x, x); };
  CHECK(shape_error([] { solve(vector("v"), vector("v")); }).find("matrices") != std::string::npos);
  CHECK(shape_error([] { inv(a); }) == "inv: the matrices are not square: a is f32 (2, 3)  [here]");
  CHECK(type_error([&] { solver(tensor("i", {2, 2}, i64)); }) ==
        "solve: takes f32 and f64 only: i is i64 (2, 2), i is i64 (2, 2)  [here]");
  CHECK(shape_error([] { solve(tensor("x", {2, 2}), tensor("y", {3, 1})); }).substr(0, 6) ==
        "solve:");
  for (const auto function : {eigvalsh, expm, det})
    CHECK(!shape_error([&] { function(a); }).empty());
  for (const auto function : {svdvals, eigvalsh}) {
    CHECK(!type_error([&] { function(tensor("i", {2, 2}, i32)); }).empty());
    CHECK(!shape_error([&] { function(vector("v")); }).empty());
  }
}

TEST_CASE("linalg errors: a singular matrix is told by small matrices as by LAPACK") {
  for (const bool known : {true, false}) {
    CAPTURE(known);
    const Dim n = known ? Dim(2) : dim("n"), batch = dim("batch");
    const Tensor x = tensor("x", {batch, n, n}, f64);
    const auto f = function({x}, inv(x), {.name = "f"});
    const Array singular = doubles({3, 2, 2}, {1, 2, 3, 4, 1, 0, 0, 1, 2, 4, 1, 2});
    CHECK(value_error([&] { f(singular); }) ==
          "f: solve: matrix 2 is singular: its pivot 1 is 0  [here]");
    const Tensor m = tensor("m", {n, n}, f64), v = tensor("v", {n}, f64);
    const auto g = function({m, v}, solve(m, v), {.name = "g"});
    CHECK(value_error([&] { g(Array::zeros({2, 2}, f64), Array::ones({2}, f64)); }) ==
          "g: solve: the matrix is singular: its pivot 0 is 0  [here]");
    // A NaN is passed on.
    const Array passed = g(doubles({2, 2}, {1, 2, no_number, 4}), Array::ones({2}, f64));
    CHECK(std::isnan(passed.data<double>()[0]));
    const auto d = function({m}, {det(m), slogdet(m).sign, slogdet(m).logabsdet});
    const auto parts = d(doubles({2, 2}, {1, 2, 2, 4}));
    CHECK(parts[0].item<double>() == 0);
    CHECK(parts[1].item<double>() == 0);
    CHECK(parts[2].item<double>() == -std::numeric_limits<double>::infinity());
    CHECK(std::isnan(d(doubles({2, 2}, {1, no_number, 2, 4}))[0].item<double>()));
    const auto p = function({x}, cholesky(x), {.name = "p"});
    CHECK(value_error([&] { p(doubles({2, 2, 2}, {1, 0, 0, 1, 1, 0, 2, 1})); }) ==
          "p: cholesky: matrix 1 is not positive definite: its leading minor of order 2 is not "
          "above 0  [here]");
  }
  const Tensor m = matrix("m", f64);
  const auto e = function({m}, eigh(m).values, {.name = "e"});
  CHECK(value_error([&] { e(doubles({2, 2}, {1, no_number, no_number, 1})); }) ==
        "e: eigh: of the matrix no eigenvalues were found: it has a NaN or an infinity, or the "
        "iteration does not converge  [here]");
  CHECK_THROWS_AS(grad(sum(eigvals(m).real), m), ValueError);
}

TEST_CASE("linalg errors: small matrices give what LAPACK gives") {
  for (const DType dtype : {f32, f64}) {
    const double tolerance = dtype == f32 ? 2e-4 : 1e-12;
    for (const std::int64_t n : {1, 2, 3, 6, 12}) {
      if (n == 12 && dtype == f32) continue;  // a second of compiling
      const auto outputs = [&](const Tensor& x) {
        const Tensor eye = cast(eq(iota(x.shape(), 1), iota(x.shape(), 2)), x.dtype());
        const Tensor definite = matmul(x, swapaxes(x, 1, 2)) + eye;
        const Tensor right = x(all, all, slice(0, 1));
        return std::vector<Tensor>{cholesky(definite), solve(x + 0.1 * eye, right), det(x),
                                   solve_triangular(x + 9 * eye, right, true, false)};
      };
      const Tensor known = tensor("known", {dim("batch"), n, n}, dtype);
      const Tensor free = tensor("free", {dim("batch"), dim("n"), dim("n")}, dtype);
      const auto small = function({known}, outputs(known)), large = function({free}, outputs(free));
      for (const std::int64_t batch : {0, 1, 3, 8, 21}) {
        CAPTURE(n);
        CAPTURE(batch);
        const Array values = Array::uniform({batch, n, n}, 5, -1, 1).cast(dtype);
        const auto here = small(values), there = large(values);
        for (std::size_t k = 0; k < here.size(); ++k) {
          CAPTURE(k);
          const double loose = k == 1 ? 100 * tolerance : tolerance;
          CHECK(all_close(here[k], there[k], loose, loose));
        }
      }
    }
  }
}
