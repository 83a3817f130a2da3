// Sparse matrices as users make and multiply them.
#include <kroton/indexing.h>
#include <kroton/sparse.h>

#include <cstring>
#include <limits>
#include <numeric>

#include "compiler/ir/at.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/sparse_pattern.h"
#include "runtime/visit.h"

namespace kroton {

using ops::SparsePattern;
using Integers = std::vector<std::int64_t>;
using Sizes = SparseMatrix::Sizes;
using Tensors = std::vector<Tensor>;

namespace {

std::string text(std::int64_t k) { return std::to_string(k); }
std::string text(const Sizes& shape) { return "(" + text(shape[0]) + ", " + text(shape[1]) + ")"; }

// ---- Values

// The elements of a tensor that is a constant, else null.
const Array* constant_of(const Tensor& values) {
  return &values.node().op == &constant_op ? values.node().attributes.array.get() : nullptr;
}

Tensor constant_array(const Array& array) {
  return make_constant(array, LineScope::current().value_or(SourceLine{}));
}

Tensor positions(const Integers& numbers) { return constant_array(Array::from(numbers)); }

// Numbers, one for each of `count` stored elements, or a scalar.
Tensor values_of(const char* op, const Operand& given, std::int64_t count) {
  const Tensor values = given.tensor();
  const OpRecord record{.name = op};
  if (values.dtype() == DType::boolean) ops::fail_type(record, {values}, "the values are numbers");
  if (values.rank() == 0) return broadcast_to(values, {count});
  if (values.rank() != 1) ops::fail_shape(record, {values}, "the values have one axis");
  const char* const differ = "the values are not as many as the stored elements: %0 and %1";
  const Dim size = values.shape(0);
  const Tensor enough = ops::size_check(values, op, {values}, size, count, differ);
  if (!(size - count).is_constant() || (size - count).constant() <= 0) {
    return ops::size_check(enough, op, {values}, count, size, differ);
  }
  ops::fail_shape(record, {values},
                  "the values are not as many as the stored elements: " + size.to_string() +
                      " and " + text(count));
}

// Element place[k] of the result is the sum of the values[k] of that place.
Tensor brought_to(const Tensor& values, const Integers& place, std::int64_t count) {
  bool in_order = count == static_cast<std::int64_t>(place.size());
  const bool distinct = in_order;
  for (std::size_t k = 0; in_order && k < place.size(); ++k) in_order = at(place[k]) == k;
  if (in_order) return values;
  if (const Array* array = constant_of(values)) {
    Array result = Array::zeros({count}, array->dtype());
    visit_dtype(array->dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      const std::span<const T> from = array->data<T>();
      const std::span<T> to = result.data<T>();
      for (std::size_t k = 0; k < place.size(); ++k) {
        to[at(place[k])] = static_cast<T>(to[at(place[k])] + from[k]);
      }
    });
    return constant_array(result);
  }
  if (!distinct) return scatter_add(values, positions(place), {count});
  Integers from(place.size());
  for (std::size_t k = 0; k < place.size(); ++k) from[at(place[k])] = static_cast<std::int64_t>(k);
  return take(values, positions(from));
}

// One after the other; of one dtype.
Tensor joined(const Tensor& a, const Tensor& b) {
  const Array *of_a = constant_of(a), *of_b = constant_of(b);
  if (of_a == nullptr || of_b == nullptr) return concatenate({a, b});
  Array both = Array::empty({of_a->size() + of_b->size()}, of_a->dtype());
  auto* const bytes = static_cast<char*>(both.raw());
  if (of_a->size() > 0) std::memcpy(bytes, of_a->raw(), at(of_a->nbytes()));
  if (of_b->size() > 0) std::memcpy(bytes + of_a->nbytes(), of_b->raw(), at(of_b->nbytes()));
  return constant_array(both);
}

// a[of_a[k]] b[of_b[k]]; of one dtype.
Tensor products(const Tensor& a, const Integers& of_a, const Tensor& b, const Integers& of_b) {
  const Array *all_a = constant_of(a), *all_b = constant_of(b);
  if (all_a == nullptr || all_b == nullptr) {
    return take(a, positions(of_a)) * take(b, positions(of_b));
  }
  Array result = Array::empty({static_cast<std::int64_t>(of_a.size())}, all_a->dtype());
  visit_dtype(all_a->dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const std::span<const T> x = all_a->data<T>(), y = all_b->data<T>();
    const std::span<T> to = result.data<T>();
    for (std::size_t k = 0; k < to.size(); ++k) {
      to[k] = static_cast<T>(x[at(of_a[k])] * y[at(of_b[k])]);
    }
  });
  return constant_array(result);
}

// ---- Patterns

void check_shape(const char* op, const Sizes& shape) {
  if (shape[0] < 0 || shape[1] < 0)
    ops::fail_value(op, "a size of " + text(shape) + " is negative");
}

Integers checked_integers(const char* op, const char* what, const Array& array) {
  if (!is_integer(array.dtype())) {
    throw TypeError(std::string(op) + ": " + what + " is " + std::string(name_of(array.dtype())) +
                    ", expected integers  [" + to_string(*LineScope::current()) + "]");
  }
  if (array.rank() != 1) {
    throw ShapeError(std::string(op) + ": " + what + " has " + text(array.rank()) +
                     " axes, expected one  [" + to_string(*LineScope::current()) + "]");
  }
  return ops::integers_of(array);
}

void check_positions(const char* op, const char* what, const Integers& all, std::int64_t size) {
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (all[k] >= 0 && all[k] < size) continue;
    ops::fail_value(op, std::string(what) + "[" + std::to_string(k) + "] is " + text(all[k]) +
                            ", outside [0, " + text(size) + ")");
  }
}

// Stored elements at any places, also several at one.
SparseMatrix from_places(const Sizes& shape, const Integers& rows, const Integers& columns,
                         const Tensor& values) {
  Integers order(rows.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  order = ops::sorted_by(rows, shape[0], ops::sorted_by(columns, shape[1], order));
  Integers pointers(at(shape[0]) + 1, 0), stored, place(rows.size());
  std::int64_t row_before = -1;
  for (const std::int64_t k : order) {
    const std::int64_t row = rows[at(k)], column = columns[at(k)];
    if (row != row_before || column != stored.back()) {
      stored.push_back(column);
      ++pointers[at(row) + 1];
      row_before = row;
    }
    place[at(k)] = static_cast<std::int64_t>(stored.size()) - 1;
  }
  std::partial_sum(pointers.begin(), pointers.end(), pointers.begin());
  const Tensor ordered = brought_to(values, place, static_cast<std::int64_t>(stored.size()));
  return SparsePattern::with(SparsePattern::of_rows(shape, pointers, stored), ordered);
}

Integers rows_of(const SparseMatrix& a) {
  return ops::integers_of(SparsePattern::of(a).row_of_each);
}
Integers columns_of(const SparseMatrix& a) {
  return ops::integers_of(SparsePattern::of(a).columns);
}

}  // namespace

// ---- SparseMatrix

SparseMatrix::SparseMatrix(std::shared_ptr<const SparsePattern> pattern, Tensor values)
    : pattern_(std::move(pattern)),
      values_(std::move(values)),
      shape_(pattern_->shape),
      nnz_(pattern_->nnz()) {}

SparseMatrix SparseMatrix::from_coo(const Array& rows, const Array& columns, const Operand& values,
                                    const Sizes& shape) {
  const LineScope scope(values.line());
  check_shape("from_coo", shape);
  const Integers row_of = checked_integers("from_coo", "rows", rows);
  const Integers column_of = checked_integers("from_coo", "columns", columns);
  if (row_of.size() != column_of.size()) {
    throw ShapeError("from_coo: rows and columns are not equally many: " + text(rows.size()) +
                     " and " + text(columns.size()) + "  [" + to_string(values.line()) + "]");
  }
  check_positions("from_coo", "rows", row_of, shape[0]);
  check_positions("from_coo", "columns", column_of, shape[1]);
  return from_places(shape, row_of, column_of, values_of("from_coo", values, rows.size()));
}

SparseMatrix SparseMatrix::from_csr(const Array& indptr, const Array& indices,
                                    const Operand& values, const Sizes& shape) {
  const LineScope scope(values.line());
  check_shape("from_csr", shape);
  const Integers pointers = checked_integers("from_csr", "indptr", indptr);
  const Integers columns = checked_integers("from_csr", "indices", indices);
  if (indptr.size() != shape[0] + 1) {
    throw ShapeError("from_csr: indptr has " + text(indptr.size()) +
                     " elements, expected one more " + "than there are rows, " +
                     text(shape[0] + 1) + "  [" + to_string(values.line()) + "]");
  }
  if (pointers.front() != 0) {
    ops::fail_value("from_csr", "indptr[0] is " + text(pointers.front()) + ", expected 0");
  }
  for (std::size_t i = 1; i < pointers.size(); ++i) {
    if (pointers[i] >= pointers[i - 1]) continue;
    ops::fail_value("from_csr", "indptr falls: indptr[" + std::to_string(i - 1) + "] is " +
                                    text(pointers[i - 1]) + ", indptr[" + std::to_string(i) +
                                    "] is " + text(pointers[i]));
  }
  if (pointers.back() != indices.size()) {
    ops::fail_value("from_csr", "indptr ends with " + text(pointers.back()) + ", there are " +
                                    text(indices.size()) + " indices");
  }
  check_positions("from_csr", "indices", columns, shape[1]);
  Integers last_at(at(shape[1]), -1);  // where each column occurred last
  for (std::size_t i = 0; i + 1 < pointers.size(); ++i) {
    for (std::int64_t k = pointers[i]; k < pointers[i + 1]; ++k) {
      std::int64_t& last = last_at[at(columns[at(k)])];
      if (last >= pointers[i]) {
        ops::fail_value("from_csr", "row " + std::to_string(i) + " has column " +
                                        text(columns[at(k)]) + " twice: indices[" + text(last) +
                                        "] and indices[" + text(k) +
                                        "]; from_coo adds such elements up");
      }
      last = k;
    }
  }
  return {SparsePattern::of_rows(shape, pointers, columns),
          values_of("from_csr", values, indices.size())};
}

SparseMatrix SparseMatrix::from_dense(const Array& matrix, const Location& location) {
  const SourceLine line{location.file_name(), location.line()};
  const LineScope scope(line);
  if (matrix.rank() != 2) {
    throw ShapeError("from_dense: takes a matrix, its rank is " + text(matrix.rank()) + "  [" +
                     to_string(line) + "]");
  }
  if (matrix.dtype() == DType::boolean) {
    throw TypeError("from_dense: takes numbers, not booleans  [" + to_string(line) + "]");
  }
  const Array dense = matrix.contiguous();
  const Sizes shape{dense.shape()[0], dense.shape()[1]};
  Integers pointers = {0}, columns;
  Tensor values;
  visit_dtype(dense.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (!std::is_same_v<T, bool>) {
      std::vector<T> stored;
      const std::span<const T> data = dense.data<T>();
      for (std::int64_t i = 0; i < shape[0]; ++i) {
        for (std::int64_t j = 0; j < shape[1]; ++j) {
          const T element = data[at(i * shape[1] + j)];
          if (element == T{0}) continue;
          columns.push_back(j);
          stored.push_back(element);
        }
        pointers.push_back(static_cast<std::int64_t>(columns.size()));
      }
      values = constant_array(Array::from(stored));
    }
  });
  return {SparsePattern::of_rows(shape, pointers, columns), values};
}

std::int64_t SparseMatrix::shape(int axis) const {
  return shape_[at(ops::resolve_axis(axis, 2, "shape"))];
}

Array SparseMatrix::indptr() const { return *pattern_->row_pointers.node().attributes.array; }
Array SparseMatrix::indices() const { return *pattern_->columns.node().attributes.array; }
Array SparseMatrix::row_indices() const { return *pattern_->row_of_each.node().attributes.array; }

SparseMatrix SparseMatrix::with_values(const Operand& values) const {
  const LineScope scope(values.line());
  return {pattern_, values_of("with_values", values, nnz_)};
}

// ---- Products

namespace {

// a x, or a^T x, for x (rows,) or (rows, k).
Tensor product(const SparseMatrix& a, const Tensor& x, bool transposed) {
  const Tensors both = ops::promoted({a.values(), x});
  const Tensor& dense = both[1];
  const std::int64_t rows = a.shape(transposed ? 0 : 1);
  const Dim size = dense.shape(0);
  if (size.is_constant() && !size.is_constant(rows)) {
    ops::fail_shape(OpRecord{.name = "dot"}, {x},
                    "a sparse matrix " + text(a.shape()) + " takes " + text(rows) +
                        (transposed ? " on its left" : " on its right"));
  }
  return ops::sparse_dot(SparsePattern::of(a), both[0], dense, transposed);
}

Tensor dense_operand(const char* op, const Operand& x) {
  const Tensor dense = x.tensor();
  const OpRecord record{.name = op};
  if (dense.rank() != 1 && dense.rank() != 2) {
    ops::fail_shape(record, {dense}, "the dense operand is a vector or a matrix");
  }
  if (dense.dtype() == DType::boolean) ops::fail_type(record, {dense}, "takes numbers");
  return dense;
}

}  // namespace

Tensor dot(const SparseMatrix& a, const Operand& x) {
  const LineScope scope(x.line());
  return product(a, dense_operand("dot", x), false);
}

Tensor dot(const Operand& x, const SparseMatrix& a) {
  const LineScope scope(x.line());
  const Tensor dense = dense_operand("dot", x);
  if (dense.rank() == 1) return product(a, dense, true);
  return transpose(product(a, transpose(dense), true));
}

SparseMatrix dot(const SparseMatrix& a, const SparseMatrix& b) {
  const LineScope scope(a.values().line());
  const Tensors both = ops::promoted({a.values(), b.values()});
  if (a.shape(1) != b.shape(0)) {
    ops::fail_shape(
        OpRecord{.name = "dot"}, both,
        "sparse matrices " + text(a.shape()) + " and " + text(b.shape()) + " have no product");
  }
  const Integers row_of = rows_of(a), column_of = columns_of(a), columns_b = columns_of(b);
  const Integers pointers = ops::integers_of(SparsePattern::of(b).row_pointers);
  Integers rows, columns, of_a, of_b;
  for (std::size_t k = 0; k < row_of.size(); ++k) {
    for (std::int64_t q = pointers[at(column_of[k])]; q < pointers[at(column_of[k]) + 1]; ++q) {
      rows.push_back(row_of[k]);
      columns.push_back(columns_b[at(q)]);
      of_a.push_back(static_cast<std::int64_t>(k));
      of_b.push_back(q);
    }
  }
  return from_places({a.shape(0), b.shape(1)}, rows, columns,
                     products(both[0], of_a, both[1], of_b));
}

SparseMatrix sampled_dot(const SparseMatrix& pattern, const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const Tensors both = ops::promoted(x, y);
  const OpRecord op{.name = "sampled_dot"};
  if (both[0].rank() != 2 || both[1].rank() != 2) {
    ops::fail_shape(op, both, "takes two matrices");
  }
  if (both[0].dtype() == DType::boolean) ops::fail_type(op, both, "takes numbers");
  const auto differs = [](const Dim& a, const Dim& b) {
    return (a - b).is_constant() && !(a - b).is_constant(0);
  };
  if (differs(both[0].shape(0), pattern.shape(0)) || differs(both[1].shape(1), pattern.shape(1)) ||
      differs(both[0].shape(1), both[1].shape(0))) {
    ops::fail_shape(op, both,
                    "the product is not " + text(pattern.shape()) + ", as the pattern is");
  }
  const Tensor values = ops::sampled_dot(SparsePattern::of(pattern), both[0], transpose(both[1]));
  return SparsePattern::with_pattern_of(pattern, values);
}

// ---- Others

SparseMatrix transpose(const SparseMatrix& a) {
  const LineScope scope(a.values().line());
  return from_places({a.shape(1), a.shape(0)}, columns_of(a), rows_of(a), a.values());
}

Tensor to_dense(const SparseMatrix& a) {
  const LineScope scope(a.values().line());
  const std::int64_t rows = a.shape(0), columns = a.shape(1);
  if (columns > 0 && rows > std::numeric_limits<std::int64_t>::max() / columns) {
    ops::fail_value("to_dense", "a matrix " + text(a.shape()) + " has too many elements");
  }
  Integers places = rows_of(a);
  const Integers column_of = columns_of(a);
  for (std::size_t k = 0; k < places.size(); ++k) places[k] = places[k] * columns + column_of[k];
  return reshape(scatter_add(a.values(), positions(places), {rows * columns}), {rows, columns});
}

SparseMatrix add(const SparseMatrix& a, const SparseMatrix& b) {
  const LineScope scope(a.values().line());
  const Tensors both = ops::promoted({a.values(), b.values()});
  if (a.shape() != b.shape()) {
    ops::fail_shape(
        OpRecord{.name = "add"}, both,
        "shapes of sparse matrices differ: " + text(a.shape()) + " and " + text(b.shape()));
  }
  Integers rows = rows_of(a), columns = columns_of(a);
  const Integers more_rows = rows_of(b), more_columns = columns_of(b);
  rows.insert(rows.end(), more_rows.begin(), more_rows.end());
  columns.insert(columns.end(), more_columns.begin(), more_columns.end());
  return from_places(a.shape(), rows, columns, joined(both[0], both[1]));
}

namespace {

SparseMatrix scaled(const char* op, const SparseMatrix& a, const Operand& d, int axis) {
  const Tensors both = ops::promoted(a.values(), d);
  const OpRecord record{.name = op};
  if (both[0].dtype() == DType::boolean || both[1].dtype() == DType::boolean) {
    ops::fail_type(record, both, "takes numbers");
  }
  const char* const differ = "the factors are not as many as the matrix has: %0 and %1";
  if (both[1].rank() != 1) ops::fail_shape(record, both, "takes a vector of factors");
  const Dim size = both[1].shape(0), expected = a.shape(axis);
  const Tensor enough = ops::size_check(both[1], op, both, size, expected, differ);
  const Tensor factors = ops::size_check(enough, op, both, expected, size, differ);
  const SparsePattern& pattern = SparsePattern::of(a);
  const Tensor& places = axis == 0 ? pattern.row_of_each : pattern.columns;
  return SparsePattern::with_pattern_of(a, both[0] * take(factors, places));
}

}  // namespace

SparseMatrix scale_rows(const SparseMatrix& a, const Operand& d) {
  const LineScope scope(d.line());
  return scaled("scale_rows", a, d, 0);
}

SparseMatrix scale_columns(const SparseMatrix& a, const Operand& d) {
  const LineScope scope(d.line());
  return scaled("scale_columns", a, d, 1);
}

Tensor sum(const SparseMatrix& a, const Axes& axes) {
  const LineScope scope(a.values().line());
  const std::vector<int> over = axes.resolve(2, "sum");
  if (over.size() == 2) return sum(a.values());
  const Tensor values = is_float(a.dtype()) ? a.values() : ops::widened(a.values());
  if (over.empty()) ops::fail_value("sum", "over no axis, of a sparse matrix, is no sum");
  const bool of_columns = over[0] == 0;
  return product(SparsePattern::with_pattern_of(a, values),
                 ones({a.shape(over[0])}, values.dtype()), of_columns);
}

Tensor diagonal(const SparseMatrix& a) {
  const LineScope scope(a.values().line());
  const Integers rows = rows_of(a), columns = columns_of(a);
  Integers stored, places;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    if (rows[k] != columns[k]) continue;
    stored.push_back(static_cast<std::int64_t>(k));
    places.push_back(rows[k]);
  }
  return scatter_add(take(a.values(), positions(stored)), positions(places),
                     {std::min(a.shape(0), a.shape(1))});
}

SparseMatrix softmax(const SparseMatrix& a) {
  const LineScope scope(a.values().line());
  const Tensor& values = a.values();
  if (!is_float(values.dtype())) {
    ops::fail_type(OpRecord{.name = "softmax"}, {values}, "takes floating point only");
  }
  const Tensor& row = SparsePattern::of(a).row_of_each;
  const Tensor least =
      full_like(zeros({a.shape(0)}, values.dtype()), -std::numeric_limits<double>::infinity());
  const Tensor largest = max_at(least, stop_gradient(values), row);
  const Tensor exponentials = exp(values - take(largest, row));
  const Tensor sums = sum(SparsePattern::with_pattern_of(a, exponentials), 1);
  return SparsePattern::with_pattern_of(a, exponentials / take(sums, row));
}

}  // namespace kroton
