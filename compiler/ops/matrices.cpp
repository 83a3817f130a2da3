#include "compiler/ops/matrices.h"

#include "compiler/ops/rules.h"

namespace kroton::ops {

Dim square_size(const TensorType& type) {
  const Dim& last = type.shape.back();
  return last.is_constant() ? last : type.shape[type.shape.size() - 2];
}

Dims square_shape(const Tensor& x) {
  Dims shape = x.shape();
  if (shape.size() >= 2) shape.end()[-1] = shape.end()[-2] = square_size(x.type());
  return shape;
}

void require_square(TypeContext& context) {
  const TensorType& type = context.input(0);
  if (type.rank() < 2) context.fail_shape("takes matrices, of two axes or more");
  context.equal(type.shape[type.shape.size() - 2], type.shape.back(),
                "the matrices are not square");
}

Tensor float_matrices(const char* op, const Operand& a) {
  const Tensor x = a.tensor();
  const OpRecord record{.name = op};
  if (!is_float(x.dtype()) || is_only_stored(x.dtype()))
    fail_type(record, {x}, "takes f32 and f64 only");
  if (x.rank() < 2) fail_shape(record, {x}, "takes matrices, of two axes or more");
  return x;
}

Tensor with_square_sizes(const char* op, const Tensor& matrices) {
  Tensor x = matrices;
  const Dim rows = x.shape(-2), columns = x.shape(-1);
  if (rows == columns) return x;
  if ((rows - columns).is_constant()) {
    fail_shape(OpRecord{.name = op}, {x}, "the matrices are not square");
  }
  for (const auto& [size, least] : {std::pair(rows, columns), std::pair(columns, rows)}) {
    x = size_check(x, op, {x}, size, least, "the matrices are not square: %0 is less than %1");
  }
  return x;
}

Tensor square_matrices(const char* op, const Operand& a) {
  return with_square_sizes(op, float_matrices(op, a));
}

Dims batch_of(const Tensor& x) { return Dims(x.shape().begin(), x.shape().end() - 2); }

Tensor transposed_matrices(const Tensor& x) { return swapaxes(x, -1, -2); }

Tensor row_of(const Tensor& x) { return iota(x.shape(), x.rank() - 2); }
Tensor column_of(const Tensor& x) { return iota(x.shape(), x.rank() - 1); }

Tensor triangle(const Tensor& x, bool lower, int offset) {
  const Tensor row = row_of(x), column = column_of(x);
  return where(lower ? ge(row, column + offset) : le(row + offset, column), x, 0);
}

Tensor identity_like(const Tensor& x) { return cast(eq(row_of(x), column_of(x)), x.dtype()); }

Tensor matrix_diagonal(const Tensor& x, const char* op) {
  const Dim &rows = x.shape(-2), &columns = x.shape(-1);
  Tensor square = x;
  for (const auto& [a, b] : {std::pair(rows, columns), std::pair(columns, rows)}) {
    square = size_check(square, op, {x}, a, b,
                        "the axes of a diagonal have different sizes: %0 is less than %1");
  }
  const Dim n = square_size(x.type());
  Dims shape(x.shape().begin(), x.shape().end() - 2);
  shape.push_back(n * n);
  const Tensor flat = reshape(square, shape);
  if (!n.is_constant()) return take(flat, arange(n) * size_of_dim(n + 1), -1);
  shape.back() = n;
  std::vector<std::int64_t> steps(shape.size(), 1);
  steps.back() = n.constant() + 1;
  return strided_slice(flat, Dims(shape.size(), Dim(0)), shape, steps);
}

Tensor diagonal_matrix(const Tensor& x) {
  Dims shape = x.shape();
  shape.push_back(shape.back());
  const Tensor wide = broadcast_to(expand_dims(x, -1), shape);
  return where(eq(row_of(wide), column_of(wide)), wide, 0);
}

}  // namespace kroton::ops
