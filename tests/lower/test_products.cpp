// Matrix products of every transposition, dtype and odd size, against plain loops in double
// precision.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

const std::vector<std::int64_t> extents = {1, 2, 3, 5, 12, 13, 16, 17, 31, 33, 48, 100};

struct Variant {
  DType dtype;
  bool transpose_a, transpose_b;
};
constexpr Variant variants[] = {{DType::f32, false, false}, {DType::f32, false, true},
                                {DType::f32, true, false},  {DType::f32, true, true},
                                {DType::f64, false, false}, {DType::f64, false, true},
                                {DType::f64, true, false},  {DType::f64, true, true}};

std::string name_of_variant(const Variant& v) {
  return std::string(name_of(v.dtype)) + " " + (v.transpose_a ? "a^T" : "a") + " " +
         (v.transpose_b ? "b^T" : "b");
}

Shape shape_of(bool transposed, std::int64_t rows, std::int64_t columns) {
  return transposed ? Shape{columns, rows} : Shape{rows, columns};
}

Tensor product(const Variant& v, const Tensor& a, const Tensor& b) {
  return dot(v.transpose_a ? transpose(a) : a, v.transpose_b ? transpose(b) : b);
}

// "" when c is a b within the bound on rounding errors of any order of summation.
template <class T>
std::string wrong(const Variant& v, const Array& a, const Array& b, const Array& c, std::int64_t m,
                  std::int64_t n, std::int64_t k) {
  if (!(c.shape() == Shape{m, n})) return "the shape is " + to_string(c.shape());
  const std::span<const T> pa = a.data<T>();
  const std::span<const T> pb = b.data<T>();
  const std::span<const T> pc = c.data<T>();
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      double magnitude = 0;
      for (std::int64_t p = 0; p < k; ++p) {
        const double x = pa[static_cast<std::size_t>(v.transpose_a ? p * m + i : i * k + p)];
        const double y = pb[static_cast<std::size_t>(v.transpose_b ? j * k + p : p * n + j)];
        sum += x * y;
        magnitude += std::abs(x * y);
      }
      const double bound =
          static_cast<double>(k + 1) * std::numeric_limits<T>::epsilon() * magnitude;
      const double have = pc[static_cast<std::size_t>(i * n + j)];
      if (!(std::abs(have - sum) <= bound)) {
        return "element (" + std::to_string(i) + ", " + std::to_string(j) + ") is " +
               std::to_string(have) + ", expected " + std::to_string(sum);
      }
    }
  }
  return "";
}

std::string wrong(const Variant& v, const Array& a, const Array& b, const Array& c, std::int64_t m,
                  std::int64_t n, std::int64_t k) {
  return v.dtype == DType::f32 ? wrong<float>(v, a, b, c, m, n, k)
                               : wrong<double>(v, a, b, c, m, n, k);
}

template <class F>
std::string try_sizes(const Variant& v, const F& f, std::int64_t m, std::int64_t n,
                      std::int64_t k) {
  const auto seed = static_cast<std::uint64_t>(m * 10000 + n * 100 + k);
  const Array a = Array::normal(shape_of(v.transpose_a, m, k), seed, 0, 1, v.dtype);
  const Array b = Array::normal(shape_of(v.transpose_b, k, n), seed + 1, 0, 1, v.dtype);
  const std::string text = wrong(v, a, b, f(a, b), m, n, k);
  if (text.empty()) return "";
  return "(" + std::to_string(m) + ", " + std::to_string(k) + ") x (" + std::to_string(k) + ", " +
         std::to_string(n) + "): " + text + "\n";
}

// Each m, n, k, in a function of its own for every variant.
void check_known_sizes(std::span<const std::int64_t[3]> all) {
  for (const Variant& v : variants) {
    SUBCASE(name_of_variant(v).c_str()) {
      std::string failures;
      for (const auto& [m, n, k] : all) {
        const Tensor a = tensor("a", v.transpose_a ? Dims{k, m} : Dims{m, k}, v.dtype);
        const Tensor b = tensor("b", v.transpose_b ? Dims{n, k} : Dims{k, n}, v.dtype);
        failures += try_sizes(v, function({a, b}, product(v, a, b)), m, n, k);
      }
      CHECK(failures == "");
    }
  }
}

}  // namespace

TEST_CASE("matrix products, sizes free") {
  for (const Variant& v : variants) {
    SUBCASE(name_of_variant(v).c_str()) {
      const Tensor a = matrix("a", v.dtype);
      const Tensor b = matrix("b", v.dtype);
      const auto f = function({a, b}, product(v, a, b));
      std::string failures;
      for (const std::int64_t m : extents) {
        for (const std::int64_t n : extents) {
          for (const std::int64_t k : extents) failures += try_sizes(v, f, m, n, k);
        }
      }
      for (const std::int64_t size : {0, 3}) {
        failures += try_sizes(v, f, size, 3, 0);
        failures += try_sizes(v, f, 0, size, 17);
        failures += try_sizes(v, f, size, 0, 3);
      }
      failures += try_sizes(v, f, 130, 70, 300);
      failures += try_sizes(v, f, 7, 600, 520);
      CHECK(failures == "");
    }
  }
}

TEST_CASE("matrix products, sizes known") {
  const std::int64_t sizes[][3] = {{1, 1, 1},    {1, 17, 3},   {17, 1, 33},   {3, 5, 1},
                                   {2, 16, 100}, {5, 13, 12},  {12, 33, 17},  {13, 31, 2},
                                   {48, 48, 48}, {100, 3, 31}, {33, 100, 16}, {31, 12, 13}};
  check_known_sizes(sizes);
}

// Sizes at which the schedule packs B or A, or shares out rows among tasks, and leaves rows,
// columns and steps over.
TEST_CASE("matrix products, large known sizes") {
  const std::int64_t sizes[][3] = {{70, 65, 1030},  {600, 65, 1100},   {1037, 70, 530},
                                   {101, 10, 1030}, {530, 1030, 1040}, {50, 1300, 1700},
                                   {3, 300, 1030}};
  check_known_sizes(sizes);
}

TEST_CASE("matrix products with one known size") {
  for (const Variant& v : variants) {
    SUBCASE(name_of_variant(v).c_str()) {
      std::string failures;
      for (int known = 0; known < 3; ++known) {
        const std::int64_t size = known == 2 ? 33 : 530;
        const Dim m = known == 0 ? Dim(size) : dim("m");
        const Dim n = known == 1 ? Dim(size) : dim("n");
        const Dim k = known == 2 ? Dim(size) : dim("k");
        const Tensor a = tensor("a", v.transpose_a ? Dims{k, m} : Dims{m, k}, v.dtype);
        const Tensor b = tensor("b", v.transpose_b ? Dims{n, k} : Dims{k, n}, v.dtype);
        const auto f = function({a, b}, product(v, a, b));
        for (const std::int64_t free : {0, 1, 3, 17, 70}) {
          failures += try_sizes(v, f, known == 0 ? size : free, known == 1 ? size : 13,
                                known == 2 ? size : 31);
          failures += try_sizes(v, f, known == 0 ? size : 13, known == 1 ? size : free,
                                known == 2 ? size : 16);
          failures += try_sizes(v, f, known == 0 ? size : 14, known == 1 ? size : 65,
                                known == 2 ? size : free);
        }
      }
      CHECK(failures == "");
    }
  }
}

TEST_CASE("matrix products with one side of known sizes, bias and activation") {
  const Tensor x = matrix("x");
  const Shared w = shared(Array::normal({100, 33}, 1), "w");
  const Shared b = shared(Array::normal({33}, 2), "b");
  const Tensor y = relu(dot(x, w) + b);
  const Tensor z = tanh(dot(x, w) * 0.1) + dot(x, w)(all, slice(end, end, -1));
  const auto f = function({x}, {y, z, sum(y, 0)});
  for (const std::int64_t rows : {0, 1, 2, 3, 16, 17, 31, 100}) {
    CAPTURE(rows);
    const Array value = Array::normal({rows, 100}, 7);
    const std::array<Array, 3> have = f(value);
    const Tensor outputs[] = {y, z, sum(y, 0)};
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(difference(expected(outputs[k], {{x, value}}), have[k], {4e-6, 1e-13}) == "");
    }
  }
}

TEST_CASE("products of vectors, matrices with vectors, outer products") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    CAPTURE(dtype);
    const Tensor u = vector("u", dtype);
    const Tensor v = vector("v", dtype);
    const Tensor a = matrix("a", dtype);
    const Tensor b = matrix("b", dtype);
    const std::vector<Tensor> outputs = {dot(u, u),   dot(u, a), dot(a, v),
                                         outer(u, v), dot(a, b), dot(transpose(a), u)};
    for (const std::int64_t m : {0, 1, 3, 17, 100}) {
      for (const std::int64_t k : {1, 3, 33}) {
        CAPTURE(m);
        CAPTURE(k);
        check_agrees({{u, v, a, b},
                      outputs,
                      {random_array({m}, dtype, 1), random_array({k}, dtype, 2),
                       random_array({m, k}, dtype, 3), random_array({k, 5}, dtype, 4)}});
      }
    }
  }
}

TEST_CASE("batched products, with batches that are repeated") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    CAPTURE(dtype);
    const Tensor a = tensor3("a", dtype);
    const Tensor b = tensor3("b", dtype);
    const Tensor w = matrix("w", dtype);
    const Tensor c = tensor("c", {2, 1, 5, 3}, dtype);
    const Tensor d = tensor("d", {3, 3, 4}, dtype);
    const std::vector<Tensor> outputs = {matmul(a, b), matmul(a, w),
                                         matmul(transpose(b, {0, 2, 1}), transpose(a, {0, 2, 1})),
                                         matmul(c, d), relu(matmul(a, b) + 1)};
    for (const std::int64_t batch : {0, 1, 3, 17}) {
      for (const std::int64_t m : {1, 3, 17}) {
        CAPTURE(batch);
        CAPTURE(m);
        check_agrees({{a, b, w, c, d},
                      outputs,
                      {random_array({batch, m, 13}, dtype, 1),
                       random_array({batch, 13, 7}, dtype, 2), random_array({13, 31}, dtype, 3),
                       random_array({2, 1, 5, 3}, dtype, 4), random_array({3, 3, 4}, dtype, 5)}});
      }
    }
  }
}

TEST_CASE("products of free sizes with one column or one row at the call") {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::i32}) {
    CAPTURE(dtype);
    const Tensor x = matrix("x", dtype), y = matrix("y", dtype);
    const Tensor a = tensor3("a", dtype), b = tensor3("b", dtype);
    const std::vector<Tensor> outputs = {dot(x, y) * 2 + max(x, 1, true), matmul(a, b),
                                         matmul(swapaxes(b, 1, 2), swapaxes(a, 1, 2)),
                                         dot(transpose(y), transpose(x))};
    const auto f = function({x, y, a, b}, outputs);
    for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 16},
                                                                          {1, 1, 33},
                                                                          {17, 1, 33},
                                                                          {1, 17, 33},
                                                                          {0, 1, 33},
                                                                          {1, 0, 33},
                                                                          {3, 1, 1100},
                                                                          {1, 3, 1100},
                                                                          {2, 2, 33},
                                                                          {33, 1, 33}}) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      const Array values[] = {random_array({m, k}, dtype, 1), random_array({k, n}, dtype, 2),
                              random_array({3, m, k}, dtype, 3), random_array({3, k, n}, dtype, 4)};
      const std::vector<Array> have = f(values[0], values[1], values[2], values[3]);
      for (std::size_t output = 0; output < outputs.size(); ++output) {
        const auto wanted = expected(
            outputs[output], {{x, values[0]}, {y, values[1]}, {a, values[2]}, {b, values[3]}});
        CHECK(difference(wanted, have[output]) == "");
      }
    }
  }
}

TEST_CASE("a free product of one column or one row adds up a long inner axis in blocks") {
  const Tensor x = matrix("x"), y = matrix("y");
  const auto f = function({x, y}, dot(x, y));
  const std::int64_t k = (1 << 24) + 1024;
  for (const std::int64_t columns : {1, 2}) {
    const Array sums = f(Array::ones({1, k}), Array::ones({k, columns}));
    CHECK(sums.data<float>().back() == static_cast<float>(k));
  }
}

TEST_CASE("a NaN or an infinity in a product stays in its row and column") {
  const Tensor a = matrix("a");
  const Tensor b = matrix("b");
  const auto f = function({a, b}, dot(a, b));
  for (const std::int64_t size : {3, 17, 33}) {
    CAPTURE(size);
    Array x = Array::ones({size, size});
    x.data<float>()[static_cast<std::size_t>(size + 1)] = NAN;
    const Array y = f(x, Array::ones({size, size}));
    std::int64_t wrong_ones = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) {
      const float value = y.data<float>()[static_cast<std::size_t>(i)];
      const bool right = i / size == 1 ? std::isnan(value) : value == static_cast<float>(size);
      wrong_ones += right ? 0 : 1;
    }
    CHECK(wrong_ones == 0);
  }
}
