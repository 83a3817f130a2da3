// Sparse matrices: a pattern that is known when the graph is built, and values that are any
// expression. Names are those of scipy.sparse and torch.sparse.
//
//   auto w = kt::shared(kt::Array::ones({3}));                       // one value for each edge
//   auto a = kt::SparseMatrix::from_coo(from, to, w, {2, 3});
//   auto y = kt::dot(a, x);                                          // x: (3,) or (3, k)
//   auto [dw, dx] = kt::grad(kt::sum(kt::square(y)), {w, x});
//
// A pattern is checked, sorted both ways and copied once, when the matrix is made; functions hold
// it as constants. Gradients flow to the values and to the dense operands, of every order, and cost
// what the product does: only the stored elements have a gradient. The order of additions is fixed:
// a result does not depend on the number of threads.
#pragma once
#include <kroton/ops.h>

#include <array>
#include <memory>

namespace kroton {

namespace ops {
struct SparsePattern;
}

// A matrix (rows, columns) of which some elements are stored, in the order of rows (CSR); the
// others are 0. A stored element may be 0, too. A cheap handle.
class SparseMatrix {
 public:
  using Location = std::source_location;
  using Sizes = std::array<std::int64_t, 2>;  // rows, columns

  // Element (rows[k], columns[k]) is values[k]; of several at one place it is their sum, which is
  // stored where the first one is. Positions are i32 or i64 (nnz,), in any order (TypeError,
  // ShapeError); ValueError for one out of range, negative ones included, with its number. Values:
  // numbers (nnz,), or a scalar for all of them. Values that are no constant are brought to the
  // order of rows in each call where they are given in another one.
  static SparseMatrix from_coo(const Array& rows, const Array& columns, const Operand& values,
                               const Sizes& shape);
  // Row i has values[indptr[i]], ..., values[indptr[i + 1] - 1], in the columns that `indices` has
  // there, in any order. The values are taken as they are. ValueError where indptr does not begin
  // with 0, falls, or does not end with the number of indices, for an index out of range, and for a
  // column that a row has twice: from_coo adds such up.
  static SparseMatrix from_csr(const Array& indptr, const Array& indices, const Operand& values,
                               const Sizes& shape);
  // The elements of a matrix that are not 0.
  static SparseMatrix from_dense(const Array& matrix, const Location& at = Location::current());

  // A handle that is moved from stays what it was.
  SparseMatrix(const SparseMatrix&) = default;
  SparseMatrix& operator=(const SparseMatrix&) = default;

  const Sizes& shape() const { return shape_; }
  std::int64_t shape(int axis) const;  // ValueError unless axis is 0, 1, -1 or -2
  std::int64_t nnz() const { return nnz_; }
  DType dtype() const { return values_.dtype(); }
  // (nnz,), in the order of rows.
  const Tensor& values() const { return values_; }
  // The pattern: where each row begins, (rows + 1,); and the column and the row of each stored
  // element, (nnz,). i32, or i64 where that does not hold a size. Not to be written to.
  Array indptr() const;
  Array indices() const;
  Array row_indices() const;
  // Other values at the same places: (nnz,) in the order of rows, or a scalar. What acts on the
  // stored elements alone is written so: a.with_values(kt::tanh(a.values())).
  SparseMatrix with_values(const Operand& values) const;

 private:
  friend struct ops::SparsePattern;
  SparseMatrix(std::shared_ptr<const ops::SparsePattern> pattern, Tensor values);

  std::shared_ptr<const ops::SparsePattern> pattern_;
  Tensor values_;
  Sizes shape_;
  std::int64_t nnz_;
};

// ---- Products. dtypes are promoted; ShapeError where sizes differ, of the call where they are
// ---- free.

// a x for x (columns,) or (columns, k): (rows,) or (rows, k).
Tensor dot(const SparseMatrix& a, const Operand& x);
// x a for x (rows,) or (k, rows): (columns,) or (k, columns). dot(transpose(a), x) does not have to
// transpose matrices x.
Tensor dot(const Operand& x, const SparseMatrix& a);
// The product of two, of which all elements are stored that have a term.
SparseMatrix dot(const SparseMatrix& a, const SparseMatrix& b);
// The elements of the dense product x y at the places of `pattern`, whose values are not looked at:
// x (rows, k), y (k, columns).
SparseMatrix sampled_dot(const SparseMatrix& pattern, const Operand& x, const Operand& y);

// ---- Others.

SparseMatrix transpose(const SparseMatrix& a);
Tensor to_dense(const SparseMatrix& a);
// The union of both patterns. ShapeError unless the shapes are equal.
SparseMatrix add(const SparseMatrix& a, const SparseMatrix& b);
// diag(d) a and a diag(d): each row, each column times an element of d, (rows,) or (columns,).
SparseMatrix scale_rows(const SparseMatrix& a, const Operand& d);
SparseMatrix scale_columns(const SparseMatrix& a, const Operand& d);
// Over both axes, or one: axis 1 gives the sums of the rows, (rows,).
Tensor sum(const SparseMatrix& a, const Axes& axes = {});
// (min(rows, columns),), 0 where nothing is stored.
Tensor diagonal(const SparseMatrix& a);
// Of each row the softmax over its stored elements, as if the others were -inf. Floating point
// only (TypeError). A row without elements stays one.
SparseMatrix softmax(const SparseMatrix& a);

}  // namespace kroton
