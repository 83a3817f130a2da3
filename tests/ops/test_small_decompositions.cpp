// eigh, svd and qr of small matrices of known size: to full precision whatever the matrix, the same
// as LAPACK's as far as they are defined, and without LAPACK.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/linalg.h>

#include <cmath>
#include <limits>
#include <random>
#include <sstream>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t at(std::int64_t k) { return static_cast<std::size_t>(k); }

double epsilon_of(DType dtype) { return dtype == f32 ? 0x1p-23 : 0x1p-52; }

// Row-major (rows, columns), in f64.
struct Matrix {
  std::int64_t rows, columns;
  std::vector<double> data;
  Matrix(std::int64_t m, std::int64_t n) : rows(m), columns(n), data(at(m * n)) {}
  double& operator()(std::int64_t i, std::int64_t j) { return data[at(i * columns + j)]; }
  double operator()(std::int64_t i, std::int64_t j) const { return data[at(i * columns + j)]; }
};

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows, b.columns);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t k = 0; k < a.columns; ++k) {
      for (std::int64_t j = 0; j < b.columns; ++j) result(i, j) += a(i, k) * b(k, j);
    }
  }
  return result;
}

Matrix transposed(const Matrix& a) {
  Matrix result(a.columns, a.rows);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < a.columns; ++j) result(j, i) = a(i, j);
  }
  return result;
}

double largest(const Matrix& a) {
  double result = 0;
  for (const double x : a.data) result = std::max(result, std::abs(x));
  return result;
}

double distance(const Matrix& a, const Matrix& b) {
  REQUIRE(a.data.size() == b.data.size());
  double result = 0;
  for (std::size_t k = 0; k < a.data.size(); ++k) {
    const double difference = std::abs(a.data[k] - b.data[k]);
    result = difference <= result ? result : difference;  // a NaN is the largest
  }
  return result;
}

Matrix identity(std::int64_t n) {
  Matrix result(n, n);
  for (std::int64_t i = 0; i < n; ++i) result(i, i) = 1;
  return result;
}

Matrix diagonal(const std::vector<double>& values) {
  Matrix result = identity(static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) result.data[i * (values.size() + 1)] = values[i];
  return result;
}

Matrix random(std::int64_t m, std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  Matrix result(m, n);
  for (double& x : result.data) x = static_cast<double>(generator()) / 2147483648.0 - 1;
  return result;
}

Matrix times(const Matrix& a, double factor) {
  Matrix result = a;
  for (double& x : result.data) x *= factor;
  return result;
}

// With orthonormal columns, by Gram and Schmidt, twice.
Matrix orthonormal(std::int64_t n, unsigned seed) {
  Matrix q = random(n, n, seed);
  for (std::int64_t j = 0; j < n; ++j) {
    for (int turn = 0; turn < 2; ++turn) {
      for (std::int64_t k = 0; k < j; ++k) {
        double dot = 0;
        for (std::int64_t i = 0; i < n; ++i) dot += q(i, k) * q(i, j);
        for (std::int64_t i = 0; i < n; ++i) q(i, j) -= dot * q(i, k);
      }
      double square = 0;
      for (std::int64_t i = 0; i < n; ++i) square += q(i, j) * q(i, j);
      for (std::int64_t i = 0; i < n; ++i) q(i, j) /= std::sqrt(square);
    }
  }
  return q;
}

Matrix symmetric(const std::vector<double>& values, unsigned seed) {
  const Matrix q = orthonormal(static_cast<std::int64_t>(values.size()), seed);
  Matrix result = product(product(q, diagonal(values)), transposed(q));
  for (std::int64_t i = 0; i < result.rows; ++i) {
    for (std::int64_t j = 0; j < i; ++j) result(j, i) = result(i, j);
  }
  return result;
}

Array batch_of(const std::vector<Matrix>& matrices, DType dtype) {
  const auto count = static_cast<std::int64_t>(matrices.size());
  Array result = Array::zeros({count, matrices[0].rows, matrices[0].columns}, f64);
  auto to = result.data<double>().begin();
  for (const Matrix& a : matrices) to = std::copy(a.data.begin(), a.data.end(), to);
  return result.cast(dtype);
}

Matrix matrix_of(const Array& batch, std::int64_t number) {
  const Array wide = batch.cast(f64);
  Matrix result(batch.shape()[-2], batch.shape()[-1]);
  const auto all = wide.data<double>();
  std::copy_n(all.begin() + number * result.rows * result.columns, result.data.size(),
              result.data.begin());
  return result;
}

// That part of an array along the first axis, which stays.
Array part_of(const Array& batch, std::int64_t number) {
  std::vector<std::int64_t> shape(batch.shape().begin(), batch.shape().end());
  const std::int64_t size = shape[0] == 0 ? 0 : batch.size() / shape[0];
  shape[0] = 1;
  Array result = Array::zeros(Shape(std::span<const std::int64_t>(shape)), f64);
  const Array wide = batch.cast(f64);
  std::copy_n(wide.data<double>().begin() + number * size, size, result.data<double>().begin());
  return result.cast(batch.dtype());
}

// Matrices of n rows at which an iteration might fail, or lose digits; for f32 within its range.
std::vector<Matrix> hard(std::int64_t n, DType dtype) {
  const double huge = dtype == f32 ? 1e30 : 1e150, tiny = dtype == f32 ? 1e-30 : 1e-150;
  const double epsilon = epsilon_of(dtype);
  std::vector<double> apart, clustered, two, graded, steep, opposite;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<double>(i);
    apart.push_back(x + 1);
    clustered.push_back(1 + x * 4 * epsilon);
    two.push_back(i % 2 == 0 ? 1 : 3);
    graded.push_back(std::pow(10, -x));
    steep.push_back(std::pow(epsilon, x / 2));
    opposite.push_back(i % 2 == 0 ? x + 1 : -x);
  }
  Matrix ones(n, n), nilpotent(n, n), negative = symmetric(apart, 7);
  for (double& x : ones.data) x = 1;
  for (std::int64_t i = 0; i + 1 < n; ++i) nilpotent(i, i + 1) = nilpotent(i + 1, i) = 1;
  negative = times(negative, -1);
  std::vector<Matrix> result = {Matrix(n, n),
                                identity(n),
                                times(identity(n), -2),
                                ones,
                                nilpotent,
                                negative,
                                symmetric(apart, 1),
                                symmetric(clustered, 2),
                                symmetric(two, 3),
                                symmetric(graded, 4),
                                symmetric(steep, 5),
                                symmetric(opposite, 6),
                                diagonal(steep),
                                times(symmetric(apart, 8), huge),
                                times(symmetric(apart, 8), tiny),
                                times(ones, huge),
                                times(identity(n), tiny)};
  for (unsigned seed = 20; seed < 30; ++seed) {
    Matrix a = random(n, n, seed);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < i; ++j) a(j, i) = a(i, j);
    }
    result.push_back(a);
  }
  return result;
}

// The first element that is not small is above 0.
void check_signs(const Matrix& vectors_as_columns) {
  for (std::int64_t j = 0; j < vectors_as_columns.columns; ++j) {
    double size = 0;
    for (std::int64_t i = 0; i < vectors_as_columns.rows; ++i) {
      size = std::max(size, std::abs(vectors_as_columns(i, j)));
    }
    for (std::int64_t i = 0; i < vectors_as_columns.rows; ++i) {
      if (std::abs(vectors_as_columns(i, j)) < 0.6001 * size) continue;
      CHECK(vectors_as_columns(i, j) > 0);
      break;
    }
  }
}

void check_orthonormal(const Matrix& columns, double tolerance) {
  CHECK(distance(product(transposed(columns), columns), identity(columns.columns)) <= tolerance);
}

}  // namespace

TEST_CASE("small decompositions: eigenvalues and vectors of hard matrices to full precision") {
  for (const DType dtype : {f32, f64}) {
    for (const std::int64_t n : {1, 2, 3, 5, 12}) {
      CAPTURE(n);
      const std::vector<Matrix> matrices = hard(n, dtype);
      const Tensor x = tensor("x", {dim("count"), n, n}, dtype);
      const auto [w, v] = eigh(x);
      const Array values = batch_of(matrices, dtype);
      const auto got = function({x}, {w, v, eigvalsh(x)})(values);
      const Tensor y = tensor("y", {dim("count"), dim("n"), dim("n")}, dtype);
      const Array by_lapack = function({y}, eigvalsh(y))(values).cast(f64);
      const Array found = got[0].cast(f64);
      const double tolerance = 8 * static_cast<double>(n + 1) * epsilon_of(dtype);
      CHECK(array_equal(got[0], got[2]));
      for (std::size_t k = 0; k < matrices.size(); ++k) {
        CAPTURE(k);
        const auto number = static_cast<std::int64_t>(k);
        const Matrix a = matrix_of(values, number), vectors = matrix_of(got[1], number);
        const double scale = largest(a) * static_cast<double>(n);
        std::vector<double> own;
        for (std::int64_t i = 0; i < n; ++i)
          own.push_back(found.data<double>()[at(number * n + i)]);
        CHECK(std::is_sorted(own.begin(), own.end()));
        for (std::int64_t i = 0; i < n; ++i) {
          const double expected = by_lapack.data<double>()[at(number * n + i)];
          CHECK(std::abs(own[at(i)] - expected) <= tolerance * scale);
        }
        check_orthonormal(vectors, tolerance);
        check_signs(vectors);
        CHECK(distance(product(a, vectors), product(vectors, diagonal(own))) <= tolerance * scale);
      }
    }
  }
}

TEST_CASE("small decompositions: singular values and vectors of hard matrices") {
  for (const DType dtype : {f32, f64}) {
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                               {2, 3},
                               {3, 3},
                               {5, 2},
                               {1, 12},
                               {12, 12},
                               {4, 7}}) {
      CAPTURE(m);
      CAPTURE(n);
      const std::int64_t k = std::min(m, n), most = std::max(m, n);
      std::vector<Matrix> matrices;
      for (const Matrix& square : hard(most, dtype)) {
        Matrix a(m, n);
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t j = 0; j < n; ++j) a(i, j) = square(i, j);
        }
        matrices.push_back(a);
      }
      for (unsigned seed = 40; seed < 44; ++seed) matrices.push_back(random(m, n, seed));
      const Tensor x = tensor("x", {dim("count"), m, n}, dtype);
      const auto [u, s, vh] = svd(x);
      const Array values = batch_of(matrices, dtype);
      const auto got = function({x}, {u, s, vh, svdvals(x)})(values);
      const Tensor y = tensor("y", {dim("count"), dim("m"), dim("n")}, dtype);
      const Array by_lapack = function({y}, svdvals(y))(values).cast(f64);
      const Array found = got[1].cast(f64);
      const double tolerance = 8 * static_cast<double>(most + 1) * epsilon_of(dtype);
      CHECK(array_equal(got[1], got[3]));
      for (std::size_t number = 0; number < matrices.size(); ++number) {
        CAPTURE(number);
        const auto which = static_cast<std::int64_t>(number);
        const Matrix a = matrix_of(values, which);
        const Matrix left = matrix_of(got[0], which), right = matrix_of(got[2], which);
        const double scale = largest(a) * static_cast<double>(most);
        std::vector<double> own;
        for (std::int64_t i = 0; i < k; ++i) own.push_back(found.data<double>()[at(which * k + i)]);
        CHECK(std::is_sorted(own.rbegin(), own.rend()));
        CHECK(own.back() >= 0);
        for (std::int64_t i = 0; i < k; ++i) {
          const double expected = by_lapack.data<double>()[at(which * k + i)];
          CHECK(std::abs(own[at(i)] - expected) <= tolerance * scale);
        }
        check_orthonormal(left, tolerance);
        check_orthonormal(transposed(right), tolerance);
        check_signs(left);
        CHECK(distance(product(product(left, diagonal(own)), right), a) <= tolerance * scale);
      }
    }
  }
}

TEST_CASE("small decompositions: small singular values keep their digits") {
  const Tensor x = tensor("x", {3, 3}, f64);
  const auto f = function({x}, svdvals(x));
  // Columns far apart in size: those of the matrix of ones and twos times 1, 1e-20 and 1e-40.
  Array a = Array::zeros({3, 3}, f64);
  const double columns[] = {1, 1e-20, 1e-40};
  const double base[3][3] = {{2, 1, 0}, {1, 2, 1}, {0, 1, 2}};
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) a.data<double>()[i * 3 + j] = base[i][j] * columns[j];
  }
  const Array s = f(a);
  // To first order the lengths of the columns of R: sqrt(5), sqrt(14 / 5), 4 / sqrt(14).
  CHECK(s.data<double>()[0] == doctest::Approx(std::sqrt(5.0)).epsilon(1e-14));
  CHECK(s.data<double>()[1] / 1e-20 == doctest::Approx(std::sqrt(14.0 / 5)).epsilon(1e-14));
  CHECK(s.data<double>()[2] / 1e-40 == doctest::Approx(4 / std::sqrt(14.0)).epsilon(1e-14));
  const Array d = function(
      {x}, eigvalsh(x))(Array::from({{1e-200, 0.0, 0.0}, {0.0, 3.0, 0.0}, {0.0, 0.0, 1e-100}}));
  CHECK(array_equal(d, Array::from({1e-200, 1e-100, 3.0})));
}

TEST_CASE("small decompositions: q and r of hard matrices are LAPACK's") {
  for (const DType dtype : {f32, f64}) {
    for (const auto& [m, n] :
         {std::pair<std::int64_t, std::int64_t>{1, 1}, {2, 3}, {3, 3}, {5, 2}, {12, 12}, {4, 7}}) {
      CAPTURE(m);
      CAPTURE(n);
      const std::int64_t most = std::max(m, n);
      std::vector<Matrix> matrices;
      for (const Matrix& square : hard(most, dtype)) {
        Matrix a(m, n);
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t j = 0; j < n; ++j) a(i, j) = square(i, j);
        }
        matrices.push_back(a);
      }
      const std::size_t first_random = matrices.size();
      for (unsigned seed = 40; seed < 48; ++seed) matrices.push_back(random(m, n, seed));
      const Tensor x = tensor("x", {dim("count"), m, n}, dtype);
      const auto [q, r] = qr(x);
      const Array values = batch_of(matrices, dtype);
      const auto got = function({x}, {q, r})(values);
      const Tensor y = tensor("y", {dim("count"), dim("m"), dim("n")}, dtype);
      const auto by_lapack = function({y}, {qr(y).q, qr(y).r})(values);
      const double tolerance = 8 * static_cast<double>(most + 1) * epsilon_of(dtype);
      for (std::size_t k = 0; k < matrices.size(); ++k) {
        CAPTURE(k);
        const auto number = static_cast<std::int64_t>(k);
        const Matrix a = matrix_of(values, number);
        const Matrix own_q = matrix_of(got[0], number), own_r = matrix_of(got[1], number);
        const double scale = largest(a) * static_cast<double>(most);
        check_orthonormal(own_q, tolerance);
        CHECK(distance(product(own_q, own_r), a) <= tolerance * scale);
        for (std::int64_t i = 0; i < own_r.rows; ++i) {
          for (std::int64_t j = 0; j < i && j < n; ++j) CHECK(own_r(i, j) == 0);
        }
        // Others have columns of which only rounding decides.
        if (k < first_random) continue;
        CHECK(distance(own_q, matrix_of(by_lapack[0], number)) <= 1000 * tolerance);
        CHECK(distance(own_r, matrix_of(by_lapack[1], number)) <= 1000 * tolerance);
      }
    }
  }
}

TEST_CASE("small decompositions: vectors are the same in both ways") {
  for (const DType dtype : {f32, f64}) {
    std::vector<Matrix> matrices, others;
    for (unsigned seed = 0; seed < 20; ++seed) {
      matrices.push_back(symmetric({-3, -1, 2, 4.5, 7}, seed));
      others.push_back(random(4, 6, seed));
    }
    const Tensor x = tensor("x", {dim("count"), 5, 5}, dtype);
    const Tensor y = tensor("y", {dim("count"), dim("n"), dim("n")}, dtype);
    const Array values = batch_of(matrices, dtype), wide = batch_of(others, dtype);
    const double tolerance = 1000 * epsilon_of(dtype);
    CHECK(all_close(function({x}, eigh(x).vectors)(values), function({y}, eigh(y).vectors)(values),
                    tolerance, tolerance));
    const Tensor a = tensor("a", {dim("count"), 4, 6}, dtype);
    const Tensor b = tensor("b", {dim("count"), dim("m"), dim("n")}, dtype);
    const auto mine = function({a}, {svd(a).u, svd(a).vh})(wide);
    const auto lapack = function({b}, {svd(b).u, svd(b).vh})(wide);
    CHECK(all_close(mine[0], lapack[0], 10 * tolerance, 10 * tolerance));
    CHECK(all_close(mine[1], lapack[1], 10 * tolerance, 10 * tolerance));
  }
}

TEST_CASE("small decompositions: a matrix has the same bits wherever in a batch it is") {
  for (const DType dtype : {f32, f64}) {
    const std::vector<Matrix> matrices = hard(4, dtype);
    const Array all = batch_of(matrices, dtype);
    const Tensor many = tensor("many", {dim("count"), 4, 4}, dtype),
                 one = tensor("one", {4, 4}, dtype);
    const auto of = [](const Tensor& x) {
      const auto [w, v] = eigh(x);
      const auto [u, s, vh] = svd(x);
      const auto [q, r] = qr(x);
      return std::vector<Tensor>{w, v, u, s, vh, q, r};
    };
    const auto together = function({many}, of(many))(all);
    const auto alone = function({one}, of(one));
    const auto few = function({many}, of(many));
    for (std::size_t k = 0; k < matrices.size(); ++k) {
      CAPTURE(k);
      const auto number = static_cast<std::int64_t>(k);
      const Array single = batch_of({matrices[k]}, dtype);
      const auto got = alone(single.reshape({4, 4}));
      const auto in_batch = few(single);
      for (std::size_t part = 0; part < got.size(); ++part) {
        CAPTURE(part);
        const Array expected = part_of(together[part], number);
        CHECK(array_equal(in_batch[part], expected));
        CHECK(array_equal(got[part].reshape(expected.shape()), expected));
      }
    }
  }
}

TEST_CASE("small decompositions: what is not finite is an error with the matrix's number") {
  for (const double bad : {nan_value, infinity, -infinity}) {
    const Tensor x = tensor("x", {dim("count"), 3, 3}, f64), y = tensor("y", {2, 2}, f64);
    Array values = Array::ones({11, 3, 3}, f64);
    values.data<double>()[9 * 9 + 3] = bad;
    const std::string why =
        " were found: it has a NaN or an infinity, or the iteration does not converge  [here]";
    const auto text = [](const auto& f, const Array& a) {
      return error_text::value_error([&] { f(a); });
    };
    CHECK(text(function({x}, eigh(x).vectors, {.name = "f"}), values) ==
          "f: eigh: of matrix 9 no eigenvalues" + why);
    CHECK(text(function({x}, eigvalsh(x), {.name = "f"}), values) ==
          "f: eigvalsh: of matrix 9 no eigenvalues" + why);
    CHECK(text(function({x}, svd(x).vh, {.name = "f"}), values) ==
          "f: svd: of matrix 9 no singular values" + why);
    CHECK(text(function({x}, svdvals(x), {.name = "f"}), values) ==
          "f: svdvals: of matrix 9 no singular values" + why);
    CHECK(text(function({y}, eigvalsh(y), {.name = "f"}), Array::full({2, 2}, bad, f64)) ==
          "f: eigvalsh: of the matrix no eigenvalues" + why);
    // qr passes it on.
    const Array r = function({x}, qr(x).r)(values);
    CHECK(!std::isfinite(r.data<double>()[9 * 9]));
    CHECK(std::isfinite(r.data<double>()[8 * 9]));
  }
  // Of eigh the lower triangle is read.
  const Tensor x = tensor("x", {2, 2}, f64);
  CHECK(array_equal(function({x}, eigvalsh(x))(Array::from({{1.0, nan_value}, {0.0, 2.0}})),
                    Array::from({1.0, 2.0})));
}

TEST_CASE("cuda: small decompositions take no library") {
  const Tensor x = tensor("x", {dim("count"), 4, 4}, f64);
  const Tensor s = x + swapaxes(x, -1, -2), tall = x(all, all, slice(0, 3));
  const std::vector<Tensor> outputs = {eigh(s).values,
                                       abs(eigh(s).vectors),
                                       svd(x).s,
                                       abs(svd(tall).u),
                                       qr(x).r,
                                       qr(tall).q,
                                       pinv(tall),
                                       lstsq(tall, x),
                                       matrix_norm(x, MatrixNorm::nuc),
                                       cond(x),
                                       cast(matrix_rank(x), f64),
                                       sqrtm(matmul(x, swapaxes(x, -1, -2)))};
  const auto f = function({x}, outputs);
  std::ostringstream text;
  f.print(text);
  CHECK(text.str().find("kroton_") == std::string::npos);
  const gpu_emulator::TestCuda cuda;
  std::vector<Matrix> matrices;
  for (unsigned seed = 0; seed < 37; ++seed) matrices.push_back(random(4, 4, seed));
  const Array values = batch_of(matrices, f64);
  const auto here = f(values);
  const auto there = function({x}, outputs, {.target = kroton::cuda()})(values);
  for (std::size_t k = 0; k < here.size(); ++k) {
    CAPTURE(k);
    CHECK(all_close(there[k], here[k], 1e-9, 1e-9));
  }
}
