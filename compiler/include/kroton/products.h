// Products of tensors beyond dot and matmul. Names and meanings are NumPy's; dtypes are promoted;
// numbers only (TypeError for booleans); integer products wrap. All of them are made of matrix
// products, elementwise products and sums, and fuse and differentiate as those do.
#pragma once
#include <kroton/ops.h>

#include <string>

namespace kroton {

// The string of an einsum, with the line that it is written at.
class Subscripts {
 public:
  Subscripts(const char* subscripts,  // NOLINT: implicit
             const Operand::Location& at = Operand::Location::current())
      : text(subscripts), location(at) {}
  Subscripts(std::string subscripts,  // NOLINT: implicit
             const Operand::Location& at = Operand::Location::current())
      : text(std::move(subscripts)), location(at) {}
  const std::string text;
  const Operand::Location location;
};

// Einstein's summation: kt::einsum("bij,bjk->bik", x, y). A letter names an axis; the letters
// behind the arrow are the axes of the result, in that order; over all others the product of the
// operands is summed. A letter that an operand has twice takes its diagonal: "ii->i". Without an
// arrow the result has the letters that occur once, in the order of the alphabet (capitals first).
// An ellipsis stands for the axes that have no letter, which broadcast; without an arrow they come
// first. Several operands are multiplied two at a time, in the order that takes the fewest
// operations as far as sizes are known (free ones count as 1000): the best order of up to 8
// operands, of more one that takes the cheapest product at each step. A product over which
// something is summed is a matrix product; transposes are views where the axes allow. ValueError
// for a string that is no such expression, or has another number of operands; ShapeError for a
// letter with two sizes, with the letter and both operands (free sizes at the call), and for an
// operand of another rank than its letters. Sizes of 1 do not broadcast under a letter.
Tensor einsum(const Subscripts& subscripts, const std::vector<Tensor>& operands);
template <std::derived_from<Tensor>... T>
  requires(sizeof...(T) > 0)
Tensor einsum(const Subscripts& subscripts, const T&... operands) {
  return einsum(subscripts, std::vector<Tensor>{operands...});
}

// The sum over the last `axes` axes of x and the first `axes` of y, pairwise; 0: the outer product.
// The result has the others, those of x first. ValueError for a count that is negative or above a
// rank, ShapeError where sizes differ.
Tensor tensordot(const Operand& x, const Operand& y, int axes = 2);
// The sum over axes axes_x[i] of x and axes_y[i] of y, pairwise; negative ones count from the end.
// ValueError for lists of different lengths, or an axis that is out of range or named twice.
Tensor tensordot(const Operand& x, const Operand& y, const std::vector<int>& axes_x,
                 const std::vector<int>& axes_y);

// The sum over the last axis of both; of a scalar the product.
Tensor inner(const Operand& x, const Operand& y);
// The sum of the products of all elements, in row-major order: ShapeError where the numbers of
// elements are known to differ.
Tensor vdot(const Operand& x, const Operand& y);
// Kronecker's product: blocks x[i, j, ...] * y. A missing axis counts as one of size 1, in front.
Tensor kron(const Operand& x, const Operand& y);
// The matrix product of all, in the order that takes the fewest operations (einsum). The first may
// be a vector, a row, and the last, a column; the others are matrices (ShapeError). ValueError
// unless there are two at least.
Tensor multi_dot(const std::vector<Tensor>& matrices,
                 const Operand::Location& location = Operand::Location::current());
// The product of n times x (..., m, m), by repeated squaring; 0: the identity. ShapeError unless
// the matrices are square. A negative n: of the inverse (kt::inv, and its errors).
Tensor matrix_power(const Operand& x, int n);
// y[..., k] = the sum over i and j of x[..., i] * w[k, i, j] * z[..., j], as PyTorch's.
Tensor bilinear(const Operand& x, const Operand& w, const Operand& z);

}  // namespace kroton
