#pragma once

/* What Kroton calls of LAPACK and BLAS: functions of the form of kt::ExternalFunction, so that
   machine code made in the process, object files and the reference interpreter call the same ones.
   `arrays` and `sizes` are those of its operands and results, matrices as (count, rows, columns);
   the last result, int64 (2), says which matrix an error means, and where in it. Each is there for
   both element types: KROTON_LAPACK(name) declares name_f32 and name_f64. */

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this header is C */

#ifdef __cplusplus
extern "C" {
#endif

enum {
  KROTON_LAPACK_NO_SOLUTION = 1, /* of the matrix that the last result names */
  KROTON_LAPACK_TOO_LARGE = 2,   /* a size does not fit LAPACK's integers of 32 bits */
  KROTON_LAPACK_NO_MEMORY = 3    /* for what LAPACK works with */
};

#define KROTON_LAPACK(name)                                      \
  int32_t name##_f32(void* const* arrays, const int64_t* sizes); \
  int32_t name##_f64(void* const* arrays, const int64_t* sizes);

/* Of a (count, n, n) the factor l (count, n, n): lower, zeros above, l l^T = a. Reads the lower
   triangle of a. Error: the order of the first leading minor that is not above 0, a NaN included.
 */
KROTON_LAPACK(kroton_cholesky)

/* Of l (count, n, n) and b (count, n, k) the x (count, n, k) with l x = b, or l^T x = b, where l is
   lower or upper: the other triangle is not read. Error: the first 0 on the diagonal. */
KROTON_LAPACK(kroton_solve_lower)
KROTON_LAPACK(kroton_solve_lower_transposed)
KROTON_LAPACK(kroton_solve_upper)
KROTON_LAPACK(kroton_solve_upper_transposed)

/* Of a (count, n, n) the factors (count, n, n), by columns: u, and below its diagonal l without its
   ones; the exchanges, int32 (count, n, 1): row i with the row of that number, in turn; and as the
   result of all of them the rows, int32 (count, n, 1): row i of l u is that row of a. */
KROTON_LAPACK(kroton_lu)

/* Of the first two of these and b (count, n, k) the x (count, n, k) with a x = b, or a^T x = b.
   Error: the first pivot that is 0, unless unchecked. */
KROTON_LAPACK(kroton_lu_solve)
KROTON_LAPACK(kroton_lu_solve_transposed)
KROTON_LAPACK(kroton_lu_solve_unchecked)
KROTON_LAPACK(kroton_lu_solve_transposed_unchecked)

/* Of a matrix (n, n) with few diagonals, those from the main one on as the rows of upper (count, u
   + 1, n), from above, and those below as the rows of lower (count, l, n), each element in the
   column that it has in the matrix, and of b (count, n, k): the x (count, n, k) with a x = b, or
   a^T x = b. Error: the first pivot that is 0. */
KROTON_LAPACK(kroton_solve_banded)
KROTON_LAPACK(kroton_solve_banded_transposed)

/* Of a (count, m, n) and the smaller k of m and n: q (count, m, k), r (count, k, n). */
KROTON_LAPACK(kroton_qr)

/* Of symmetric a (count, n, n), of which the lower triangle is read, the eigenvalues w (count, n),
   ascending, and the eigenvectors as the rows of v (count, n, n), each turned so that the first
   element of at least 0.6 times the largest is above 0. Error: they were not found, or
   an element of a is not finite. */
KROTON_LAPACK(kroton_eigh)
KROTON_LAPACK(kroton_eigvalsh)

/* Of a (count, m, n) and the smaller k of m and n: u (count, m, k), s (count, k), descending,
   and v^T (count, k, n), turned so that it holds for the columns of u; or s alone. Errors as
   above. */
KROTON_LAPACK(kroton_svd)
KROTON_LAPACK(kroton_svdvals)

/* Of a (count, n, n) the real and the imaginary parts (count, n) of its eigenvalues. Errors as
   above. */
KROTON_LAPACK(kroton_eigvals)

#ifdef __cplusplus
}
#endif
