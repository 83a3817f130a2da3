// Linear algebra on the last two axes; those before them number the matrices of a batch (in errors
// row by row, from 0). f32 and f64 only (TypeError). Sizes of 0 are allowed. See also cholesky and
// solve_triangular in <kroton/ops.h>.
//
// Matrices of at most 12 rows and columns whose sizes are known, of qr, eigh and svd when the
// expression is made, else when the function is, are computed with by code of the function's own,
// one matrix in each lane of a vector: no function here but lu, eigvals and systems of more than 12
// right sides calls a library then. All else is LAPACK's, batches shared by the function's threads.
// See also <kroton/banded.h>.
//
// Gradients are those of PyTorch and JAX. An error ends the call before anything is updated; those
// of shape and dtype come where the expression is made.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// ---- Systems

// What is known of a matrix.
enum class Assume : std::uint8_t { general, positive_definite };

// The X with A X = b, for A (..., n, n) and b (n,) or (..., n, k); the axes before the last two
// broadcast. By Gauss' elimination with partial pivoting; with Assume::positive_definite by
// Cholesky's factors, of the lower triangle of a symmetric A. ValueError of the call for a matrix
// with a pivot that is 0, with its number in the batch; a NaN is passed on, and almost singular
// matrices give large errors. The factors of one A are shared by systems, gradients and
// determinants.
Tensor solve(const Operand& a, const Operand& b, Assume assume = Assume::general);
// The inverse. To solve a system is quicker and more accurate.
Tensor inv(const Operand& a);
// The x (n,) or (n, k) for which |a x - b| is least, and of those the one that is shortest, for a
// (..., m, n) of full rank and b (m,) or (..., m, k), with the same axes before. By QR; no error
// for another rank, but the result is not finite or not meaningful. ValueError unless it is known
// which of m and n is the larger.
Tensor lstsq(const Operand& a, const Operand& b);
// Systems of matrices with three diagonals: lower (..., n) and upper (..., n) beside the diagonal
// (..., n), of which lower[..., 0] and upper[..., n - 1] are not read; b (..., n); they broadcast.
// By Thomas' algorithm, without pivoting: for matrices that are diagonally dominant or positive
// definite; others may lose accuracy or give NaN.
Tensor solve_tridiagonal(const Operand& lower, const Operand& diagonal, const Operand& upper,
                         const Operand& b);

// ---- Determinants

// Exactly 0 where a pivot is. The gradient has the inverse in it: it is not finite for a singular
// matrix.
Tensor det(const Operand& a);
struct SignAndLog {
  Tensor sign, logabsdet;
};
// The sign of the determinant, and the logarithm of its size, which do not overflow; 0 and -inf for
// a singular matrix. The sign has no gradient.
SignAndLog slogdet(const Operand& a);
// The logarithm of the determinant of positive definite matrices, by cholesky, and its errors.
Tensor logdet(const Operand& a);

// ---- Factors

// P A = L U with partial pivoting, for (..., n, n). A singular matrix is no error: U has a 0.
struct Lu {
  Tensor factors;      // (..., n, n): U, and below its diagonal L without its ones
  Tensor pivots;       // i64 (..., n): row i was exchanged with row pivots[i], in turn (SciPy's)
  Tensor permutation;  // i64 (..., n): row i of L U is row permutation[i] of A
};
Lu lu(const Operand& a);

// A = Q R for (..., m, n), with k = min(m, n): q (..., m, k) with orthonormal columns, r (..., k,
// n) upper triangular. Signs are LAPACK's, with and without it: the opposite of what stands on the
// diagonal before a column is reflected, or the same if there are zeros below it. The gradient
// needs the first k columns of A independent (not finite otherwise) and, where sizes are free, m >=
// n (ShapeError of the call).
struct Qr {
  Tensor q, r;
};
Qr qr(const Operand& a);

// The eigenvalues, ascending, and eigenvectors, as columns, of symmetric matrices: a v = v w. The
// lower triangle alone is read. The first element of a vector that is at least 0.6 times as large
// as its largest is above 0. The gradient is symmetric, as that of cholesky; that of vectors is
// defined for what does not depend on their signs, and not finite where eigenvalues are equal.
// ValueError of the call for an element that is not finite, or an iteration without end.
struct Eigh {
  Tensor values, vectors;  // (..., n), (..., n, n)
};
Eigh eigh(const Operand& a);
// The values alone, which have a gradient at equal ones too (a subgradient).
Tensor eigvalsh(const Operand& a);
// The real and imaginary parts (..., n) of the eigenvalues of any matrices, in no particular order.
// No gradient (ValueError of grad). Errors as of eigh.
struct Eigenvalues {
  Tensor real, imag;
};
Eigenvalues eigvals(const Operand& a);

// A = u diag(s) vh for (..., m, n), with k = min(m, n): u (..., m, k), s (..., k) descending, vh
// (..., k, n). The columns of u have the signs that eigh's vectors have, and vh those that follow.
// Singular values of small matrices keep their digits if its columns (rows of a wide one) differ in
// size alone. Gradients through u and vh are defined for what does not depend on signs, and not
// finite where singular values are equal or 0. Errors as of eigh.
struct Svd {
  Tensor u, s, vh;
};
Svd svd(const Operand& a);
// The singular values alone, which have a gradient at equal ones too.
Tensor svdvals(const Operand& a);

// ---- What is made of them

// The pseudoinverse: singular values not above rcond times the largest count as 0. rcond below 0:
// the larger of m and n times the dtype's epsilon, as in PyTorch. The gradient is exact where the
// rank does not change.
Tensor pinv(const Operand& a, double rcond = -1);
// How many singular values (i64) are above rcond times the largest; the default is that of pinv.
Tensor matrix_rank(const Operand& a, double rcond = -1);
// The exponential of square matrices, by scaling, a Pade approximant and squaring: in f64 to about
// 1e-14 relative to its norm, for norms up to 1e20; NaN beyond.
Tensor expm(const Operand& a);
// The symmetric square root of symmetric positive semidefinite matrices, by eigh, of which negative
// eigenvalues count as 0. Its gradient is not finite where eigenvalues are equal or 0.
Tensor sqrtm(const Operand& a);
// Norms of matrices: the root of the sum of squares, the sum and the largest of the singular
// values, and the largest sum of sizes of a column (one) or a row (inf).
enum class MatrixNorm : std::uint8_t { fro, nuc, two, one, inf };
Tensor matrix_norm(const Operand& a, MatrixNorm norm = MatrixNorm::fro);
// The largest singular value over the smallest (two), else norm(a) norm(inv(a)).
Tensor cond(const Operand& a, MatrixNorm norm = MatrixNorm::two);

// ---- Matrices made of vectors and matrices

// The matrices (m_i, n_i) along the diagonal, zeros beside them.
Tensor block_diag(const std::vector<Tensor>& matrices,
                  const Operand::Location& location = Operand::Location::current());
// Row i, column j has column[i - j], or row[j - i] above the diagonal; row[0] is not read.
Tensor toeplitz(const Operand& column, const Operand& row);
// The powers x[i]^(columns - 1 - j), or x[i]^j if `increasing`.
Tensor vander(const Operand& x, int columns, bool increasing = false);

}  // namespace kroton
