/* LAPACK and BLAS behind the form of Kroton's calls. Both take matrices by columns, and a row-major
   matrix read by columns is its transpose: the sides, triangles and transpositions are chosen so
   that little is moved for that. No argument is one that they refuse, since then they print. */
#include "runtime/lapack.h"

#include <fenv.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int32_t no_solution(void* failure, int64_t matrix, int64_t position) {
  int64_t* numbers = failure;
  numbers[0] = matrix;
  numbers[1] = position;
  return KROTON_LAPACK_NO_SOLUTION;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

#define REAL float
#define OF_TYPE(name) name##_f32
#define FORTRAN(name) s##name##_
#include "runtime/aot/lapack_of_type.h"
#undef REAL
#undef OF_TYPE
#undef FORTRAN

#define REAL double
#define OF_TYPE(name) name##_f64
#define FORTRAN(name) d##name##_
#include "runtime/aot/lapack_of_type.h"
