// Systems of matrices with few diagonals, and null spaces. f32 and f64 only (TypeError).
#pragma once
#include <kroton/linalg.h>

namespace kroton {

// How many diagonals there are below and above the main one.
struct Bands {
  int lower = 0, upper = 0;
};

// The X with A X = b, where A (n, n) has those diagonals and zeros beside them, as in SciPy
// (solve_banded): ab (..., lower + upper + 1, n) holds them as rows, ab[..., upper + i - j, j] =
// A[i, j], and its corners that belong to no element are not read. b (n,) or (..., n, k); the axes
// before the last two broadcast. By Gauss' elimination with partial pivoting, LAPACK's: its time is
// that of n lower (lower + upper). Gradients of every order by ab (0 in the corners) and b.
// ShapeError unless ab has lower + upper + 1 rows, ValueError for negative numbers of diagonals;
// ValueError of the call for a matrix with a pivot that is 0, with its number in the batch.
Tensor solve_banded(const Bands& bands, const Operand& ab, const Operand& b);

// An orthonormal basis (..., n, n - rank) of the x with A x = 0, for A (..., m, n) of that rank:
// the columns of scipy.linalg.null_space, whose number must be known when the expression is made.
// They are the right singular vectors of the singular values that count as 0 (rcond: that of
// matrix_rank), up to sign, and any basis will do where there are several: the gradient is that of
// what does not depend on which one it is, as of N N^T, while the rank stays. ValueError of the
// call for a matrix of another rank; ShapeError unless n is known, or m is less than the rank.
Tensor null_space(const Operand& a, int rank, double rcond = -1);

}  // namespace kroton
