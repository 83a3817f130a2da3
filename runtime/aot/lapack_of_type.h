/* The calls for one element type: REAL, with OF_TYPE for the names of Kroton's functions and
   FORTRAN for those of LAPACK's. lapack.c includes this file for each. */

/* Fortran passes the lengths of character arguments last. */
void FORTRAN(potrf)(const char* uplo, const int* n, REAL* a, const int* lda, int* info, size_t);
void FORTRAN(trsm)(const char* side, const char* uplo, const char* transa, const char* diag,
                   const int* m, const int* n, const REAL* alpha, const REAL* a, const int* lda,
                   REAL* b, const int* ldb, size_t, size_t, size_t, size_t);
void FORTRAN(getrf)(const int* m, const int* n, REAL* a, const int* lda, int* ipiv, int* info);
void FORTRAN(getrs)(const char* trans, const int* n, const int* nrhs, const REAL* a, const int* lda,
                    const int* ipiv, REAL* b, const int* ldb, int* info, size_t);
void FORTRAN(gbtrf)(const int* m, const int* n, const int* kl, const int* ku, REAL* ab,
                    const int* ldab, int* ipiv, int* info);
void FORTRAN(gbtrs)(const char* trans, const int* n, const int* kl, const int* ku, const int* nrhs,
                    const REAL* ab, const int* ldab, const int* ipiv, REAL* b, const int* ldb,
                    int* info, size_t);
void FORTRAN(geqrf)(const int* m, const int* n, REAL* a, const int* lda, REAL* tau, REAL* work,
                    const int* lwork, int* info);
void FORTRAN(orgqr)(const int* m, const int* n, const int* k, REAL* a, const int* lda,
                    const REAL* tau, REAL* work, const int* lwork, int* info);
void FORTRAN(syevd)(const char* jobz, const char* uplo, const int* n, REAL* a, const int* lda,
                    REAL* w, REAL* work, const int* lwork, int* iwork, const int* liwork, int* info,
                    size_t, size_t);
void FORTRAN(gesdd)(const char* jobz, const int* m, const int* n, REAL* a, const int* lda, REAL* s,
                    REAL* u, const int* ldu, REAL* vt, const int* ldvt, REAL* work,
                    const int* lwork, int* iwork, int* info, size_t);
void FORTRAN(geev)(const char* jobvl, const char* jobvr, const int* n, REAL* a, const int* lda,
                   REAL* wr, REAL* wi, REAL* vl, const int* ldvl, REAL* vr, const int* ldvr,
                   REAL* work, const int* lwork, int* info, size_t, size_t);

/* b (columns, rows) = the transpose of a (rows, columns), in blocks that caches hold. */
static void OF_TYPE(transpose)(const REAL* a, REAL* b, size_t rows, size_t columns) {
  enum { block = 32 };
  for (size_t i = 0; i < rows; i += block) {
    for (size_t j = 0; j < columns; j += block) {
      const size_t last_i = i + block < rows ? i + block : rows;
      const size_t last_j = j + block < columns ? j + block : columns;
      for (size_t r = i; r < last_i; ++r) {
        for (size_t c = j; c < last_j; ++c) b[c * rows + r] = a[r * columns + c];
      }
    }
  }
}

static int OF_TYPE(is_not_finite)(const REAL* a, size_t count) {
  for (size_t k = 0; k < count; ++k) {
    if (!isfinite(a[k])) return 1;
  }
  return 0;
}

/* By columns the lower triangle is the upper one, and a = u^T u there. LAPACKs differ in whether a
   NaN is an error to them; it reaches the diagonal of the factor in any case. */
int32_t OF_TYPE(kroton_cholesky)(void* const* arrays, const int64_t* sizes) {
  const int64_t count = sizes[0];
  const size_t n = (size_t)sizes[1];
  if (count == 0 || n == 0) return 0;
  if (n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int order = (int)n;
  for (int64_t k = 0; k < count; ++k) {
    const REAL* a = (const REAL*)arrays[0] + (size_t)k * n * n;
    REAL* l = (REAL*)arrays[1] + (size_t)k * n * n;
    for (size_t i = 0; i < n; ++i) {
      memcpy(l + i * n, a + i * n, (i + 1) * sizeof(REAL));
      memset(l + i * n + i + 1, 0, (n - i - 1) * sizeof(REAL));
    }
    int info = 0;
    FORTRAN(potrf)("U", &order, l, &order, &info, 1);
    for (size_t i = 0; info == 0 && i < n; ++i) {
      if (isnan(l[i * n + i])) info = (int)i + 1;
    }
    if (info != 0) return no_solution(arrays[2], k, info);
  }
  return 0;
}

/* `uplo` is that of the matrix by columns: "U" for a lower one. By columns l x = b is x^T l^T =
   b^T: the matrix stands on the right, with k rows of x^T. */
static int32_t OF_TYPE(triangular)(void* const* arrays, const int64_t* sizes, const char* uplo,
                                   const char* transposed) {
  const int64_t count = sizes[0];
  const size_t n = (size_t)sizes[1], k = (size_t)sizes[5];
  if (count == 0 || n == 0 || k == 0) return 0;
  if (n > INT_MAX || k > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int order = (int)n, columns = (int)k;
  const REAL one = 1;
  memcpy(arrays[2], arrays[1], (size_t)count * n * k * sizeof(REAL));
  for (int64_t m = 0; m < count; ++m) {
    const REAL* l = (const REAL*)arrays[0] + (size_t)m * n * n;
    for (size_t i = 0; i < n; ++i) {
      if (l[i * n + i] == 0) return no_solution(arrays[3], m, (int64_t)i);
    }
    FORTRAN(trsm)("R", uplo, transposed, "N", &columns, &order, &one, l, &order,
                  (REAL*)arrays[2] + (size_t)m * n * k, &columns, 1, 1, 1, 1);
  }
  return 0;
}

int32_t OF_TYPE(kroton_solve_lower)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(triangular)(arrays, sizes, "U", "N");
}
int32_t OF_TYPE(kroton_solve_lower_transposed)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(triangular)(arrays, sizes, "U", "T");
}
int32_t OF_TYPE(kroton_solve_upper)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(triangular)(arrays, sizes, "L", "N");
}
int32_t OF_TYPE(kroton_solve_upper_transposed)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(triangular)(arrays, sizes, "L", "T");
}

/* LAPACK's factors stay by columns. The exchanges of rows count from 0. */
int32_t OF_TYPE(kroton_lu)(void* const* arrays, const int64_t* sizes) {
  const int64_t count = sizes[0];
  const size_t n = (size_t)sizes[1];
  if (count == 0 || n == 0) return 0;
  if (n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int order = (int)n;
  for (int64_t k = 0; k < count; ++k) {
    REAL* factors = (REAL*)arrays[1] + (size_t)k * n * n;
    int32_t* pivots = (int32_t*)arrays[2] + (size_t)k * n;
    int32_t* rows = (int32_t*)arrays[3] + (size_t)k * n;
    OF_TYPE(transpose)((const REAL*)arrays[0] + (size_t)k * n * n, factors, n, n);
    int info = 0; /* above 0: a pivot is 0, which is for others to judge */
    FORTRAN(getrf)(&order, &order, factors, &order, pivots, &info);
    for (size_t i = 0; i < n; ++i) rows[i] = (int32_t)i;
    for (size_t i = 0; i < n; ++i) {
      pivots[i] -= 1;
      const int32_t row = rows[i];
      rows[i] = rows[pivots[i]];
      rows[pivots[i]] = row;
    }
  }
  return 0;
}

static int32_t OF_TYPE(lu_solve)(void* const* arrays, const int64_t* sizes, const char* transposed,
                                 int checked) {
  const int64_t count = sizes[0];
  const size_t n = (size_t)sizes[1], k = (size_t)sizes[8];
  if (count == 0 || n == 0 || k == 0) return 0;
  if (n > INT_MAX || k > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int order = (int)n, columns = (int)k;
  int* pivots = malloc(n * sizeof(int));
  REAL* x = malloc(n * k * sizeof(REAL));
  int32_t status = pivots == NULL || x == NULL ? KROTON_LAPACK_NO_MEMORY : 0;
  for (int64_t m = 0; status == 0 && m < count; ++m) {
    const REAL* factors = (const REAL*)arrays[0] + (size_t)m * n * n;
    const int32_t* exchanges = (const int32_t*)arrays[1] + (size_t)m * n;
    for (size_t i = 0; checked && status == 0 && i < n; ++i) {
      if (factors[i * n + i] == 0) status = no_solution(arrays[4], m, (int64_t)i);
    }
    if (status != 0) break;
    for (size_t i = 0; i < n; ++i) pivots[i] = exchanges[i] + 1;
    OF_TYPE(transpose)((const REAL*)arrays[2] + (size_t)m * n * k, x, n, k);
    int info = 0;
    FORTRAN(getrs)(transposed, &order, &columns, factors, &order, pivots, x, &order, &info, 1);
    OF_TYPE(transpose)(x, (REAL*)arrays[3] + (size_t)m * n * k, k, n);
  }
  free(pivots);
  free(x);
  return status;
}

int32_t OF_TYPE(kroton_lu_solve)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(lu_solve)(arrays, sizes, "N", 1);
}
int32_t OF_TYPE(kroton_lu_solve_transposed)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(lu_solve)(arrays, sizes, "T", 1);
}
int32_t OF_TYPE(kroton_lu_solve_unchecked)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(lu_solve)(arrays, sizes, "N", 0);
}
int32_t OF_TYPE(kroton_lu_solve_transposed_unchecked)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(lu_solve)(arrays, sizes, "T", 0);
}

/* LAPACK wants the diagonals by columns, below as many empty rows as there are diagonals below the
   main one. */
static int32_t OF_TYPE(solve_banded)(void* const* arrays, const int64_t* sizes,
                                     const char* transposed) {
  const int64_t count = sizes[0], above = sizes[1] - 1, n = sizes[2], below = sizes[4];
  const int64_t k = sizes[8];
  if (count == 0 || n == 0 || k == 0) return 0;
  if (n > INT_MAX || k > INT_MAX || 2 * below + above + 1 > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int order = (int)n, columns = (int)k, lower = (int)below, upper = (int)above;
  const int height = 2 * lower + upper + 1;
  REAL* factors = malloc((size_t)n * (size_t)height * sizeof(REAL));
  REAL* x = malloc((size_t)(n * k) * sizeof(REAL));
  int* pivots = malloc((size_t)n * sizeof(int));
  int32_t status = factors == NULL || x == NULL || pivots == NULL ? KROTON_LAPACK_NO_MEMORY : 0;
  for (int64_t m = 0; status == 0 && m < count; ++m) {
    const REAL* diagonals = (const REAL*)arrays[0] + m * (above + 1) * n;
    const REAL* rest = (const REAL*)arrays[1] + m * below * n;
    for (int64_t j = 0; j < n; ++j) {
      REAL* column = factors + j * height;
      for (int64_t r = 0; r < below; ++r) column[r] = 0;
      for (int64_t r = 0; r <= above; ++r) column[below + r] = diagonals[r * n + j];
      for (int64_t r = 0; r < below; ++r) column[below + above + 1 + r] = rest[r * n + j];
    }
    int info = 0;
    FORTRAN(gbtrf)(&order, &order, &lower, &upper, factors, &height, pivots, &info);
    if (info != 0) {
      status = no_solution(arrays[4], m, info - 1);
      break;
    }
    OF_TYPE(transpose)((const REAL*)arrays[2] + m * n * k, x, (size_t)n, (size_t)k);
    FORTRAN(gbtrs)(transposed, &order, &lower, &upper, &columns, factors, &height, pivots, x,
                   &order, &info, 1);
    OF_TYPE(transpose)(x, (REAL*)arrays[3] + m * n * k, (size_t)k, (size_t)n);
  }
  free(factors);
  free(x);
  free(pivots);
  return status;
}

int32_t OF_TYPE(kroton_solve_banded)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(solve_banded)(arrays, sizes, "N");
}
int32_t OF_TYPE(kroton_solve_banded_transposed)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(solve_banded)(arrays, sizes, "T");
}

int32_t OF_TYPE(kroton_qr)(void* const* arrays, const int64_t* sizes) {
  const int64_t count = sizes[0], m = sizes[1], n = sizes[2], k = smaller(m, n);
  if (count == 0 || k == 0) return 0;
  if (m > INT_MAX || n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  const int rows = (int)m, columns = (int)n, least = (int)k, query = -1;
  REAL wanted = 0, also = 0;
  int info = 0;
  FORTRAN(geqrf)(&rows, &columns, NULL, &rows, NULL, &wanted, &query, &info);
  FORTRAN(orgqr)(&rows, &least, &least, NULL, &rows, NULL, &also, &query, &info);
  const int length = (int)larger((int64_t)(wanted > also ? wanted : also), n);
  REAL* a = malloc((size_t)(m * n) * sizeof(REAL));
  REAL* tau = malloc((size_t)k * sizeof(REAL));
  REAL* work = malloc((size_t)length * sizeof(REAL));
  int32_t status = a == NULL || tau == NULL || work == NULL ? KROTON_LAPACK_NO_MEMORY : 0;
  for (int64_t i = 0; status == 0 && i < count; ++i) {
    REAL* q = (REAL*)arrays[1] + i * m * k;
    REAL* r = (REAL*)arrays[2] + i * k * n;
    OF_TYPE(transpose)((const REAL*)arrays[0] + i * m * n, a, (size_t)m, (size_t)n);
    FORTRAN(geqrf)(&rows, &columns, a, &rows, tau, work, &length, &info);
    for (int64_t row = 0; row < k; ++row) {
      for (int64_t c = 0; c < n; ++c) r[row * n + c] = c < row ? 0 : a[c * m + row];
    }
    FORTRAN(orgqr)(&rows, &least, &least, a, &rows, tau, work, &length, &info);
    OF_TYPE(transpose)(a, q, (size_t)k, (size_t)m);
  }
  free(a);
  free(tau);
  free(work);
  return status;
}

/* The sign of vectors, which LAPACK leaves open: the first element of the `count` elements that is
   not below this part of the largest is above 0. Such an element is the first whatever the last
   digits are. Of matrices that are small the compiler's own code does the same. */
static int OF_TYPE(is_to_be_turned)(const REAL* x, size_t count, size_t step) {
  REAL largest = 0;
  for (size_t k = 0; k < count; ++k) {
    const REAL size = x[k * step] < 0 ? -x[k * step] : x[k * step];
    if (size > largest) largest = size;
  }
  for (size_t k = 0; k < count; ++k) {
    const REAL size = x[k * step] < 0 ? -x[k * step] : x[k * step];
    if (size >= largest * (REAL)0.6) return x[k * step] < 0;
  }
  return 0;
}

static void OF_TYPE(turn)(REAL* x, size_t count, size_t step) {
  for (size_t k = 0; k < count; ++k) x[k * step] = -x[k * step];
}

/* LAPACK asks the processor for infinities and NaNs to see whether it has them: the flags that this
   raises are nobody's, and traps must not see it. */

/* By columns the lower triangle is the upper one. Vectors are the rows of `vectors`, which is
   overwritten if there are to be none. */
static int32_t OF_TYPE(symmetric)(const char* job, int64_t count, int64_t n, const REAL* a, REAL* w,
                                  REAL* vectors, void* failure) {
  if (count == 0 || n == 0) return 0;
  if (n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  fenv_t environment;
  feholdexcept(&environment);
  const int order = (int)n, query = -1;
  REAL wanted = 0;
  int wanted_integers = 0, info = 0;
  FORTRAN(syevd)(job, "U", &order, NULL, &order, NULL, &wanted, &query, &wanted_integers, &query,
                 &info, 1, 1);
  const int length = (int)wanted, integers = wanted_integers;
  const size_t matrix = (size_t)n * (size_t)n;
  REAL* work = malloc((size_t)length * sizeof(REAL));
  REAL* own = vectors == NULL ? malloc(matrix * sizeof(REAL)) : NULL;
  int* iwork = malloc((size_t)integers * sizeof(int));
  int32_t status = 0;
  if (work == NULL || iwork == NULL || (vectors == NULL && own == NULL)) {
    status = KROTON_LAPACK_NO_MEMORY;
  }
  for (int64_t k = 0; status == 0 && k < count; ++k) {
    REAL* v = vectors == NULL ? own : vectors + (size_t)k * matrix;
    memcpy(v, a + (size_t)k * matrix, matrix * sizeof(REAL));
    info = OF_TYPE(is_not_finite)(v, matrix);
    if (info == 0) {
      FORTRAN(syevd)(job, "U", &order, v, &order, w + k * n, work, &length, iwork, &integers, &info,
                     1, 1);
    }
    for (int64_t i = 0; vectors != NULL && info == 0 && i < n; ++i) {
      REAL* row = v + i * n;
      if (OF_TYPE(is_to_be_turned)(row, (size_t)n, 1)) OF_TYPE(turn)(row, (size_t)n, 1);
    }
    if (info != 0) status = no_solution(failure, k, 0);
  }
  free(work);
  free(own);
  free(iwork);
  fesetenv(&environment);
  return status;
}

int32_t OF_TYPE(kroton_eigh)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(symmetric)("V", sizes[0], sizes[1], arrays[0], arrays[1], arrays[2], arrays[3]);
}
int32_t OF_TYPE(kroton_eigvalsh)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(symmetric)("N", sizes[0], sizes[1], arrays[0], arrays[1], NULL, arrays[2]);
}

/* By columns a is a^T = v s u^T: what LAPACK calls u by columns is v^T, its v^T is u. */
static int32_t OF_TYPE(singular)(const char* job, const int64_t* sizes, const REAL* a, REAL* u,
                                 REAL* s, REAL* vt, void* failure) {
  const int64_t count = sizes[0], m = sizes[1], n = sizes[2], k = smaller(m, n);
  if (count == 0 || k == 0) return 0;
  if (m > INT_MAX || n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  fenv_t environment;
  feholdexcept(&environment);
  const int rows = (int)n, columns = (int)m, least = (int)k, query = -1;
  REAL wanted = 0;
  int info = 0;
  FORTRAN(gesdd)(job, &rows, &columns, NULL, &rows, NULL, NULL, &rows, NULL, &least, &wanted,
                 &query, NULL, &info, 1);
  const int length = (int)wanted;
  const size_t matrix = (size_t)m * (size_t)n;
  REAL* work = malloc((size_t)length * sizeof(REAL));
  REAL* own = malloc(matrix * sizeof(REAL));
  int* iwork = malloc(8 * (size_t)k * sizeof(int));
  int32_t status = work == NULL || own == NULL || iwork == NULL ? KROTON_LAPACK_NO_MEMORY : 0;
  for (int64_t i = 0; status == 0 && i < count; ++i) {
    memcpy(own, a + (size_t)i * matrix, matrix * sizeof(REAL));
    info = OF_TYPE(is_not_finite)(own, matrix);
    if (info == 0) {
      FORTRAN(gesdd)(job, &rows, &columns, own, &rows, s + i * k,
                     vt == NULL ? NULL : vt + i * k * n, &rows, u == NULL ? NULL : u + i * m * k,
                     &least, work, &length, iwork, &info, 1);
    }
    for (int64_t j = 0; u != NULL && info == 0 && j < k; ++j) {
      REAL* column = u + i * m * k + j;
      if (!OF_TYPE(is_to_be_turned)(column, (size_t)m, (size_t)k)) continue;
      OF_TYPE(turn)(column, (size_t)m, (size_t)k);
      OF_TYPE(turn)(vt + i * k * n + j * n, (size_t)n, 1);
    }
    if (info != 0) status = no_solution(failure, i, 0);
  }
  free(work);
  free(own);
  free(iwork);
  fesetenv(&environment);
  return status;
}

int32_t OF_TYPE(kroton_svd)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(singular)("S", sizes, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4]);
}
int32_t OF_TYPE(kroton_svdvals)(void* const* arrays, const int64_t* sizes) {
  return OF_TYPE(singular)("N", sizes, arrays[0], NULL, arrays[1], NULL, arrays[2]);
}

/* The transpose of a matrix has its eigenvalues. */
int32_t OF_TYPE(kroton_eigvals)(void* const* arrays, const int64_t* sizes) {
  const int64_t count = sizes[0], n = sizes[1];
  if (count == 0 || n == 0) return 0;
  if (n > INT_MAX) return KROTON_LAPACK_TOO_LARGE;
  fenv_t environment;
  feholdexcept(&environment);
  const int order = (int)n, query = -1, one = 1;
  REAL wanted = 0;
  int info = 0;
  FORTRAN(geev)("N", "N", &order, NULL, &order, NULL, NULL, NULL, &one, NULL, &one, &wanted, &query,
                &info, 1, 1);
  const int length = (int)wanted;
  const size_t matrix = (size_t)n * (size_t)n;
  REAL* work = malloc((size_t)length * sizeof(REAL));
  REAL* own = malloc(matrix * sizeof(REAL));
  int32_t status = work == NULL || own == NULL ? KROTON_LAPACK_NO_MEMORY : 0;
  for (int64_t k = 0; status == 0 && k < count; ++k) {
    memcpy(own, (const REAL*)arrays[0] + (size_t)k * matrix, matrix * sizeof(REAL));
    info = OF_TYPE(is_not_finite)(own, matrix);
    if (info == 0) {
      FORTRAN(geev)("N", "N", &order, own, &order, (REAL*)arrays[1] + k * n,
                    (REAL*)arrays[2] + k * n, NULL, &one, NULL, &one, work, &length, &info, 1, 1);
    }
    if (info != 0) status = no_solution(arrays[3], k, 0);
  }
  free(work);
  free(own);
  fesetenv(&environment);
  return status;
}
