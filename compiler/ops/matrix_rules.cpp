// Type rules and references of linear algebra.
#include <kroton/error.h>

#include <cmath>

#include "compiler/ops/check.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/small_matrices.h"

namespace kroton::ops {

std::string matrix_error(std::string text, int rank) {
  static constexpr std::string_view numbered = "matrix %index";
  const std::size_t place = text.find(numbered);
  if (rank <= 2 && place != std::string::npos) {
    text.replace(place, numbered.size(), "the matrix");
  }
  return text;
}

namespace {

void require_floating(const TypeContext& context) {
  if (!is_float(context.input(0).dtype) || is_only_stored(context.input(0).dtype))
    context.fail_type("takes f32 and f64 only");
}

std::string not_found(const char* op, const char* values) {
  return std::string(op) + ": of matrix %index no " + values +
         " were found: it has a NaN or an infinity, or the iteration does not converge";
}

}  // namespace

std::string no_eigenvalues(const char* op) { return not_found(op, "eigenvalues"); }
std::string no_singular_values(const char* op) { return not_found(op, "singular values"); }

void require_matrices(TypeContext& context) {
  require_floating(context);
  if (context.input(0).rank() < 2) context.fail_shape("takes matrices, of two axes or more");
}

TensorType square_type(TypeContext& context) {
  require_floating(context);
  require_square(context);
  TensorType type = context.input(0);
  type.shape.end()[-1] = type.shape.end()[-2] = square_size(type);
  return type;
}

TensorType pivots_type(TypeContext& context) {
  TensorType type = square_type(context);
  type.shape.pop_back();
  return type;
}

TensorType solve_type(TypeContext& context) {
  const TensorType& a = context.input(0);
  const TensorType& b = context.input(1);
  require_floating(context);
  if (a.dtype != b.dtype) context.fail_type("dtypes differ");
  require_square(context);
  if (b.rank() != a.rank()) context.fail_shape("ranks differ");
  for (int axis = 0; axis + 1 < a.rank(); ++axis) {
    const auto k = static_cast<std::size_t>(axis);
    context.equal(a.shape[k], b.shape[k], sizes_differ(axis, a.rank()));
  }
  TensorType type = b;
  type.shape.end()[-2] = square_size(a);
  return type;
}

namespace {

// One matrix of an array.
struct Matrix {
  Number* data;
  std::size_t rows, columns;
  Number& operator()(std::size_t i, std::size_t j) const { return data[i * columns + j]; }
};

Matrix matrix_of(ReferenceValue& value, std::size_t number) {
  const auto rows = static_cast<std::size_t>(value.shape.end()[-2]);
  const auto columns = static_cast<std::size_t>(value.shape.end()[-1]);
  return {value.data.data() + number * rows * columns, rows, columns};
}

std::size_t count_matrices(const ReferenceValue& value) {
  const auto elements = static_cast<std::size_t>(value.shape.end()[-2] * value.shape.end()[-1]);
  return elements == 0 ? 0 : value.data.size() / elements;
}

[[noreturn]] void fail(const char* text, std::size_t number, std::size_t place, int rank) {
  throw ValueError(with_numbers(matrix_error(text, rank), static_cast<std::int64_t>(number),
                                static_cast<std::int64_t>(place)));
}

double real(const Number& x) { return static_cast<double>(x); }

int rank_of(const ReferenceValue& value) { return static_cast<int>(value.shape.size()); }

// Gauss' elimination of the first columns, each larger element in turn becoming the pivot; whether
// the rows' exchanges are odd.
bool eliminate(const Matrix& m) {
  bool odd = false;
  for (std::size_t c = 0; c < m.rows; ++c) {
    for (std::size_t r = c + 1; r < m.rows; ++r) {
      if (!(std::abs(real(m(r, c))) > std::abs(real(m(c, c))))) continue;
      odd = !odd;
      for (std::size_t j = 0; j < m.columns; ++j) std::swap(m(c, j), m(r, j));
    }
    for (std::size_t r = c + 1; r < m.rows; ++r) {
      if (real(m(c, c)) == 0) continue;  // and below it
      const double factor = real(m(r, c)) / real(m(c, c));
      for (std::size_t j = c; j < m.columns; ++j) {
        m(r, j) = std::fma(-factor, real(m(c, j)), real(m(r, j)));
      }
    }
  }
  return odd;
}

}  // namespace

void cholesky_reference(ReferenceContext& c) {
  ReferenceValue a = *c.inputs[0];
  for (std::size_t number = 0; number < count_matrices(a); ++number) {
    const Matrix x = matrix_of(a, number), l = matrix_of(c.output, number);
    for (std::size_t j = 0; j < x.rows; ++j) {
      for (std::size_t i = j; i < x.rows; ++i) {
        double sum = real(x(i, j));
        for (std::size_t k = 0; k < j; ++k) sum -= real(l(i, k)) * real(l(j, k));
        if (i == j && !(sum > 0)) fail(not_positive_definite, number, j + 1, rank_of(a));
        l(i, j) = i == j ? std::sqrt(sum) : sum / real(l(j, j));
      }
    }
  }
}

void triangular_reference(ReferenceContext& c) {
  const TriangleView how(c.attributes);
  ReferenceValue a = *c.inputs[0];
  c.output.data = c.inputs[1]->data;
  for (std::size_t number = 0; number < count_matrices(c.output); ++number) {
    const Matrix l = matrix_of(a, number), x = matrix_of(c.output, number);
    for (std::size_t i = 0; i < l.rows; ++i) {
      if (real(l(i, i)) == 0) fail(singular_triangle, number, i, rank_of(a));
    }
    const bool forwards = how.lower != how.transposed;
    for (std::size_t step = 0; step < l.rows; ++step) {
      const std::size_t i = forwards ? step : l.rows - 1 - step;
      for (std::size_t k = 0; k < x.columns; ++k) {
        double sum = real(x(i, k));
        for (std::size_t before = 0; before < step; ++before) {
          const std::size_t j = forwards ? before : l.rows - 1 - before;
          sum -= real(how.transposed ? l(j, i) : l(i, j)) * real(x(j, k));
        }
        x(i, k) = sum / real(l(i, i));
      }
    }
  }
}

void solve_reference(ReferenceContext& c) {
  const SolveView how(c.attributes);
  ReferenceValue a = *c.inputs[0], b = *c.inputs[1];
  for (std::size_t number = 0; number < count_matrices(b); ++number) {
    const Matrix x = matrix_of(a, number), right = matrix_of(b, number);
    const std::size_t n = x.rows;
    std::vector<Number> elements(n * (n + right.columns));
    const Matrix m{elements.data(), n, n + right.columns};
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) m(i, j) = how.transposed ? x(j, i) : x(i, j);
      for (std::size_t k = 0; k < right.columns; ++k) m(i, n + k) = right(i, k);
    }
    eliminate(m);
    for (std::size_t i = 0; i < n && how.checked; ++i) {
      if (real(m(i, i)) == 0) fail(singular_matrix, number, i, rank_of(a));
    }
    const Matrix result = matrix_of(c.output, number);
    for (std::size_t i = n; i-- > 0;) {
      for (std::size_t k = 0; k < right.columns; ++k) {
        double sum = real(m(i, n + k));
        for (std::size_t j = i + 1; j < n; ++j) sum -= real(m(i, j)) * real(result(j, k));
        result(i, k) = sum / real(m(i, i));
      }
    }
  }
}

void pivots_reference(ReferenceContext& c) {
  ReferenceValue a = *c.inputs[0];
  for (std::size_t number = 0; number < count_matrices(a); ++number) {
    const Matrix m = matrix_of(a, number);
    const bool odd = eliminate(m);
    for (std::size_t i = 0; i < m.rows; ++i) {
      c.output.data[number * m.rows + i] = i == 0 && odd ? -real(m(i, i)) : real(m(i, i));
    }
  }
}

void by_lapack(ReferenceContext& c, LapackRoutine routine, const std::vector<std::size_t>& results,
               const std::string& error,
               const std::function<void(const std::vector<std::vector<double>>& results,
                                        Number* packed)>& pack) {
  const ReferenceValue& a = *c.inputs[0];
  const std::int64_t m = a.shape.end()[-2], n = a.shape.end()[-1];
  const auto elements = static_cast<std::size_t>(m * n);
  const std::size_t count = elements == 0 ? 0 : a.data.size() / elements;
  for (std::size_t number = 0; number < count; ++number) {
    std::vector<double> x(elements);
    for (std::size_t i = 0; i < elements; ++i) x[i] = real(a.data[number * elements + i]);
    std::vector<std::vector<double>> values;
    for (const std::size_t size : results) values.emplace_back(size);
    std::vector<void*> arrays = {x.data()};
    for (std::vector<double>& value : values) arrays.push_back(value.data());
    std::int64_t failure[2];
    arrays.push_back(failure);
    const std::int64_t sizes[] = {1, m, n};
    if (routine(arrays.data(), sizes) != 0) throw ValueError(error);
    pack(values, c.output.data.data() + number * (c.output.data.size() / count));
  }
}

}  // namespace kroton::ops
