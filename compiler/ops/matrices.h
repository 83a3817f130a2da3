// What functions of matrices, the last two axes, share.
#pragma once
#include <kroton/ops.h>

#include "compiler/ir/op.h"

namespace kroton::ops {

// ShapeError in the context's name unless operand 0 has square matrices.
void require_square(TypeContext& context);
// a as f32 or f64 matrices, and square ones; TypeError or ShapeError in the name of `op`.
Tensor float_matrices(const char* op, const Operand& a);
Tensor square_matrices(const char* op, const Operand& a);
// The same of what are matrices of any dtype.
Tensor with_square_sizes(const char* op, const Tensor& matrices);
// The size of square matrices, a constant if one is known.
Dim square_size(const TensorType& type);
// x with both of its last two axes at that size.
Dims square_shape(const Tensor& x);

// The axes before the last two.
Dims batch_of(const Tensor& x);
Tensor transposed_matrices(const Tensor& x);
// The positions in the last two axes, i64, of x's shape.
Tensor row_of(const Tensor& x);
Tensor column_of(const Tensor& x);
// The elements of the lower or upper triangle, without the diagonals nearer to it than `offset`,
// and zeros elsewhere.
Tensor triangle(const Tensor& x, bool lower, int offset = 0);
// Ones on the diagonal and zeros elsewhere, of x's shape and dtype.
Tensor identity_like(const Tensor& x);
// (..., n, n) -> (..., n); the sizes are equal at the call (ShapeError, in the name of `op`).
Tensor matrix_diagonal(const Tensor& x, const char* op);
// (..., n) -> (..., n, n), zeros beside the diagonal.
Tensor diagonal_matrix(const Tensor& x);

// LAPACK's factors of (..., n, n), each matrix transposed: U^T, and above its diagonal that of L
// without its ones; exchanges and rows, i32 (..., n, 1), as kroton_lu gives them
// (runtime/lapack.h).
struct LuFactors {
  Tensor transposed, exchanges, rows;
};
LuFactors lu_factors(const Tensor& a);
// The cotangent of a matrix from those of its parts; eigenvectors are rows.
using Span = std::span<const Tensor>;
std::vector<Tensor> lu_gradient(Span inputs, Span results, Span cotangents);
std::vector<Tensor> qr_gradient(Span inputs, Span results, Span cotangents);
std::vector<Tensor> eigh_gradient(Span inputs, Span results, Span cotangents);
std::vector<Tensor> eigvalsh_gradient(Span inputs, Span results, Span cotangents);
std::vector<Tensor> svd_gradient(Span inputs, Span results, Span cotangents);
std::vector<Tensor> svdvals_gradient(Span inputs, Span results, Span cotangents);

}  // namespace kroton::ops
