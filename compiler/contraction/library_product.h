// Contractions that a device's library may compute in place of a kernel.
#pragma once
#include "compiler/contraction/contraction.h"

namespace kroton {

struct LibraryConvolution;  // library_convolution.h

// A product of matrices in whole buffers, row-major: result = alpha * a·b + beta * c + bias, for
// each of `batch`.
struct LibraryProduct {
  struct Matrix {
    loop::BufferRef buffer;
    Dim leading;              // elements from one row in memory to the next
    Dim batch_stride;         // from one of the batch to the next; 0: one for all
    bool transposed = false;  // memory holds its columns as rows
  };
  DType dtype = DType::f32;  // that it is computed in; operands, or all, may be of 16 bits
  Dim rows, columns, inner, batch = 1;  // of the result
  Matrix a, b, result;                  // the result is not transposed
  loop::BufferRef c;     // laid out like the result, perhaps it; null where beta is 0
  loop::BufferRef bias;  // one element per column, or null
  double alpha = 1, beta = 0;
  // If there is one, it is meant instead: of the product count the buffers of a, b and the result.
  std::shared_ptr<const LibraryConvolution> convolution = nullptr;
};

// What the contraction computes, if that is one: both operands lie in buffers, and what is done to
// the sum before it is stored is scaling, adding what is in the result's place or in a buffer like
// it, adding one value per column. Null for anything else.
std::shared_ptr<const LibraryProduct> library_product(const Contraction& contraction);

// The same product, stored into another buffer.
std::shared_ptr<const LibraryProduct> with_result(const LibraryProduct& product,
                                                  const loop::BufferRef& result);

}  // namespace kroton
