// A matrix product that a device's library may compute in place of a kernel.
#pragma once
#include <kroton/dtype.h>

#include <cstdint>

namespace kroton {

// d = alpha * a·b + beta * c + bias, for each of `batch` matrices, all row-major.
struct DeviceProduct {
  // (rows, columns) elements, or with `transposed` (columns, rows), `leading` from the beginning of
  // one row in memory to the next.
  struct Matrix {
    std::uint64_t address = 0;
    std::int64_t leading = 0;
    std::int64_t batch_stride = 0;  // elements from one of the batch to the next; 0: one for all
    bool transposed = false;
  };
  DType dtype = DType::f32;     // or f64; that it is computed in
  DType operands = DType::f32;  // of a and b: dtype, or one of 16 bits that is computed in f32
  DType result = DType::f32;    // of c, d and bias: dtype, or that of the operands
  bool tf32 = false;            // operands of f32 may be rounded to 11 bits
  std::int64_t rows = 0, columns = 0, inner = 0, batch = 1;  // of d; all at least 1
  Matrix a, b, c, d;                                         // c and d are not transposed
  std::uint64_t bias = 0;                                    // one element per column; 0: none
  double alpha = 1, beta = 0;                                // c is read if beta is not 0
  int algorithm = 0;  // of the library's for such a product, the first is its best guess
};

}  // namespace kroton
