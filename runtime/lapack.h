#pragma once

/* What Kroton calls of LAPACK and BLAS: functions of the form of kt::ExternalFunction, so that
   machine code made in the process, object files and the reference interpreter call the same ones.
   `arrays` and `sizes` are those of its operands and results, matrices as (count, rows, columns);
   the last result, int64 (2), says which matrix an error means, and where in it. */

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this header is C */

#ifdef __cplusplus
extern "C" {
#endif

enum {
  KROTON_LAPACK_NO_SOLUTION = 1, /* of the matrix that the last result names */
  KROTON_LAPACK_TOO_LARGE = 2    /* a size does not fit LAPACK's integers of 32 bits */
};

/* Of a (count, n, n) the factor l (count, n, n): lower, zeros above, l l^T = a. Reads the lower
   triangle of a. Error: the order of the first leading minor that is not above 0, a NaN included.
 */
int32_t kroton_cholesky_f32(void* const* arrays, const int64_t* sizes);
int32_t kroton_cholesky_f64(void* const* arrays, const int64_t* sizes);

/* Of l (count, n, n) and b (count, n, k) the x (count, n, k) with l x = b, or l^T x = b, where l is
   lower or upper: the other triangle is not read. Error: the first 0 on the diagonal. */
int32_t kroton_solve_lower_f32(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_lower_f64(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_lower_transposed_f32(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_lower_transposed_f64(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_upper_f32(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_upper_f64(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_upper_transposed_f32(void* const* arrays, const int64_t* sizes);
int32_t kroton_solve_upper_transposed_f64(void* const* arrays, const int64_t* sizes);

#ifdef __cplusplus
}
#endif
