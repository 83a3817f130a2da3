// Linear algebra on elements, for matrices whose size is known and small; the rules that it shares
// with that on matrices of any size.
#pragma once
#include "compiler/ir/op.h"

namespace kroton::ops {

// Up to which size matrices are computed with element by element: more is too much code.
constexpr std::int64_t largest_small_matrix = 12;
inline bool is_small(const Dim& size) {
  return size.is_constant() && size.constant() <= largest_small_matrix;
}

// Attributes of triangular systems: L^T X = B in place of L X = B; L is lower triangular.
struct TriangleView {
  bool transposed, lower;
  TriangleView(bool of_transposed, bool is_lower) : transposed(of_transposed), lower(is_lower) {}
  explicit TriangleView(const Attributes& a)
      : transposed(a.integers.at(0) != 0), lower(a.integers.at(1) != 0) {}
  Attributes attributes() const {
    Attributes result;
    result.integers = {transposed ? 1 : 0, lower ? 1 : 0};
    return result;
  }
};

// Attributes of other systems: A^T X = B in place of A X = B; whether a singular matrix ends the
// call, or gives infinities and NaN.
struct SolveView {
  bool transposed, checked;
  SolveView(bool of_transposed, bool is_checked) : transposed(of_transposed), checked(is_checked) {}
  explicit SolveView(const Attributes& a)
      : transposed(a.integers.at(0) != 0), checked(a.integers.at(1) != 0) {}
  Attributes attributes() const {
    Attributes result;
    result.integers = {transposed ? 1 : 0, checked ? 1 : 0};
    return result;
  }
};

// The texts of errors of the call.
constexpr const char* not_positive_definite =
    "cholesky: matrix %index is not positive definite: its leading minor of order %size is not "
    "above 0";
constexpr const char* singular_triangle =
    "solve_triangular: matrix %index is singular: element %size of its diagonal is 0";
constexpr const char* singular_matrix = "solve: matrix %index is singular: its pivot %size is 0";
// Of matrices of that rank: a single one has no number.
std::string matrix_error(std::string text, int rank);

// ---- Type rules and references

TensorType square_type(TypeContext& context);  // square matrices; the result is like them
TensorType solve_type(TypeContext& context);   // and matrices with as many rows, which it is like
TensorType pivots_type(TypeContext& context);  // one element for each row
void cholesky_reference(ReferenceContext& context);
void triangular_reference(ReferenceContext& context);
void solve_reference(ReferenceContext& context);
void pivots_reference(ReferenceContext& context);

}  // namespace kroton::ops
