// What Winograd's algorithms transform by: matrices, and blocks of expressions multiplied by them.
#pragma once
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::winograd {

using Matrix = std::vector<std::vector<double>>;
Matrix transposed(const Matrix& matrix);

// Along one axis, for m results of windows of r places, which see n = m + r - 1 elements:
//
//   Σ over p, k: g[p] d[p + k] w[k] = Σ over n: (results g)[n] (elements d)[n] (filter w)[n]
//
// with g for the results: so these are transposed(results) of products of the other two, and what
// a filter gets of given results is transposed(filter) of products.
struct Transforms {
  Matrix elements;  // (n, n)
  Matrix filter;    // (n, r)
  Matrix results;   // (n, m)
};
// For m of 1 (a window of one place), 2 or 4 (windows of three).
const Transforms& transforms(int results);

// A block of values, row-major, multiplied by a matrix along each axis.
std::vector<loop::Expr> transformed(std::vector<loop::Expr> values,
                                    const std::vector<Matrix>& matrices);

// The places of a block with these sizes, in row-major order.
std::vector<std::vector<std::int64_t>> places_of(const std::vector<std::int64_t>& sizes);

}  // namespace kroton::winograd
