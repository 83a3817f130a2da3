/* LAPACK and BLAS behind the form of Kroton's calls. Both take matrices by columns, and a row-major
   matrix read by columns is its transpose: the sides, triangles and transpositions below are chosen
   so that nothing is moved for that. No argument is one that they refuse, since then they print. */
#include "runtime/lapack.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Fortran passes the lengths of character arguments last. */
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info, size_t);
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info, size_t);
void strsm_(const char* side, const char* uplo, const char* transa, const char* diag, const int* m,
            const int* n, const float* alpha, const float* a, const int* lda, float* b,
            const int* ldb, size_t, size_t, size_t, size_t);
void dtrsm_(const char* side, const char* uplo, const char* transa, const char* diag, const int* m,
            const int* n, const double* alpha, const double* a, const int* lda, double* b,
            const int* ldb, size_t, size_t, size_t, size_t);

/* ---- Of one matrix. `n` and `k` are above 0. Results: 0, or the position from 1 on of what is
   wrong on the diagonal. */

typedef int factor_function(int n, void* matrix);

/* By columns the lower triangle is the upper one, and a = u^T u there. LAPACKs differ in whether a
   NaN is an error to them; it reaches the diagonal of the factor in any case. */
static int factor_f32(int n, void* matrix) {
  const float* l = matrix;
  int info = 0;
  spotrf_("U", &n, matrix, &n, &info, 1);
  for (int i = 0; info == 0 && i < n; ++i) {
    if (isnan(l[(size_t)i * (size_t)n + (size_t)i])) info = i + 1;
  }
  return info;
}

static int factor_f64(int n, void* matrix) {
  const double* l = matrix;
  int info = 0;
  dpotrf_("U", &n, matrix, &n, &info, 1);
  for (int i = 0; info == 0 && i < n; ++i) {
    if (isnan(l[(size_t)i * (size_t)n + (size_t)i])) info = i + 1;
  }
  return info;
}

typedef struct triangle {
  const char* uplo;       /* of the matrix by columns: "U" for a lower one */
  const char* transposed; /* "N" or "T" */
} triangle;

typedef int solve_function(triangle t, int n, int k, const void* l, void* x);

/* By columns l x = b is x^T l^T = b^T: the matrix stands on the right, with k rows of x^T. */
static int solve_f32(triangle t, int n, int k, const void* l, void* x) {
  const float* a = l;
  const float one = 1;
  for (int i = 0; i < n; ++i) {
    if (a[(size_t)i * (size_t)n + (size_t)i] == 0) return i + 1;
  }
  strsm_("R", t.uplo, t.transposed, "N", &k, &n, &one, a, &n, x, &k, 1, 1, 1, 1);
  return 0;
}

static int solve_f64(triangle t, int n, int k, const void* l, void* x) {
  const double* a = l;
  const double one = 1;
  for (int i = 0; i < n; ++i) {
    if (a[(size_t)i * (size_t)n + (size_t)i] == 0) return i + 1;
  }
  dtrsm_("R", t.uplo, t.transposed, "N", &k, &n, &one, a, &n, x, &k, 1, 1, 1, 1);
  return 0;
}

/* ---- Of all of them */

static int32_t no_solution(int64_t* failure, int64_t matrix, int position) {
  failure[0] = matrix;
  failure[1] = position;
  return KROTON_LAPACK_NO_SOLUTION;
}

static int32_t cholesky(void* const* arrays, const int64_t* sizes, size_t element,
                        factor_function* factor) {
  const int64_t count = sizes[0], n = sizes[1];
  if (count == 0 || n == 0) return 0;
  if (n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const size_t row = (size_t)n * element, matrix = (size_t)n * row;
  for (int64_t k = 0; k < count; ++k) {
    const char* a = (const char*)arrays[0] + (size_t)k * matrix;
    char* l = (char*)arrays[1] + (size_t)k * matrix;
    for (size_t i = 0; i < (size_t)n; ++i) {
      const size_t used = (i + 1) * element;
      memcpy(l + i * row, a + i * row, used);
      memset(l + i * row + used, 0, row - used);
    }
    const int wrong = factor((int)n, l);
    if (wrong != 0) return no_solution(arrays[2], k, wrong);
  }
  return 0;
}

static int32_t solve(void* const* arrays, const int64_t* sizes, size_t element, triangle t,
                     solve_function* solve_one) {
  const int64_t count = sizes[0], n = sizes[1], k = sizes[5];
  if (count == 0 || n == 0 || k == 0) return 0;
  if (n > INT_MAX || k > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const size_t matrix = (size_t)n * (size_t)n * element, columns = (size_t)n * (size_t)k * element;
  memcpy(arrays[2], arrays[1], (size_t)count * columns);
  for (int64_t i = 0; i < count; ++i) {
    const int wrong = solve_one(t, (int)n, (int)k, (const char*)arrays[0] + (size_t)i * matrix,
                                (char*)arrays[2] + (size_t)i * columns);
    if (wrong != 0) return no_solution(arrays[3], i, wrong - 1);
  }
  return 0;
}

int32_t kroton_cholesky_f32(void* const* arrays, const int64_t* sizes) {
  return cholesky(arrays, sizes, sizeof(float), factor_f32);
}
int32_t kroton_cholesky_f64(void* const* arrays, const int64_t* sizes) {
  return cholesky(arrays, sizes, sizeof(double), factor_f64);
}

static const triangle lower = {"U", "N"}, lower_transposed = {"U", "T"};
static const triangle upper = {"L", "N"}, upper_transposed = {"L", "T"};

int32_t kroton_solve_lower_f32(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(float), lower, solve_f32);
}
int32_t kroton_solve_lower_f64(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(double), lower, solve_f64);
}
int32_t kroton_solve_lower_transposed_f32(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(float), lower_transposed, solve_f32);
}
int32_t kroton_solve_lower_transposed_f64(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(double), lower_transposed, solve_f64);
}
int32_t kroton_solve_upper_f32(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(float), upper, solve_f32);
}
int32_t kroton_solve_upper_f64(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(double), upper, solve_f64);
}
int32_t kroton_solve_upper_transposed_f32(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(float), upper_transposed, solve_f32);
}
int32_t kroton_solve_upper_transposed_f64(void* const* arrays, const int64_t* sizes) {
  return solve(arrays, sizes, sizeof(double), upper_transposed, solve_f64);
}
