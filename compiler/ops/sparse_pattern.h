// Which elements of a sparse matrix are stored.
#pragma once
#include <kroton/sparse.h>

#include <vector>

namespace kroton::ops {

struct SparsePattern {
  SparseMatrix::Sizes shape = {};
  // Constants, i32 or i64. By rows: where each row begins in the list of stored elements, then each
  // one's column. By columns, the other way round: where each column begins, each element's row,
  // and its position among the values, which are in the order of rows.
  Tensor row_pointers, columns, column_pointers, rows, order;
  Tensor row_of_each;  // of the elements by rows

  std::int64_t nnz() const { return columns.shape(0).constant(); }

  // What is made of elements in any order, each place once.
  static std::shared_ptr<const SparsePattern> of_rows(SparseMatrix::Sizes shape,
                                                      const std::vector<std::int64_t>& pointers,
                                                      const std::vector<std::int64_t>& columns);
  static const SparsePattern& of(const SparseMatrix& matrix) { return *matrix.pattern_; }
  static SparseMatrix with(const std::shared_ptr<const SparsePattern>& pattern, Tensor values) {
    return {pattern, std::move(values)};
  }
  static SparseMatrix with_pattern_of(const SparseMatrix& matrix, Tensor values) {
    return {matrix.pattern_, std::move(values)};
  }
};

// The numbers of `order` sorted by their keys in [0, count), equal ones in the order they have
// there.
std::vector<std::int64_t> sorted_by(const std::vector<std::int64_t>& keys, std::int64_t count,
                                    const std::vector<std::int64_t>& order);
// The elements of an array of integers.
std::vector<std::int64_t> integers_of(const Array& array);
// Those of a constant.
std::vector<std::int64_t> integers_of(const Tensor& constant);

// A x, or A^T x, for values (nnz,) of the pattern's elements by rows and x (size,) or (size, k), or
// values (batch, nnz) and x (batch, size, k).
Tensor sparse_dot(const SparsePattern& pattern, const Tensor& values, const Tensor& x,
                  bool transposed);
// For each stored element at (i, j) the inner product of row i of x and row j of y, which are
// vectors, matrices or (batch, size, k).
Tensor sampled_dot(const SparsePattern& pattern, const Tensor& x, const Tensor& y);

}  // namespace kroton::ops
