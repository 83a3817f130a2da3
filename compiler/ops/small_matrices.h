// Linear algebra on elements, for matrices whose size is known and small; the rules that it shares
// with that on matrices of any size.
#pragma once
#include "compiler/ir/at.h"
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

// Attributes of decompositions: all their parts in one result, or the values alone.
struct PartsView {
  bool all;
  explicit PartsView(bool has_all) : all(has_all) {}
  explicit PartsView(const Attributes& a) : all(a.integers.at(0) != 0) {}
  Attributes attributes() const {
    Attributes result;
    result.integers = {all ? 1 : 0};
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
std::string no_eigenvalues(const char* op);
std::string no_singular_values(const char* op);
// Of matrices of that rank: a single one has no number.
std::string matrix_error(std::string text, int rank);

// The constant size of an axis, counted from the last (-1).
inline std::int64_t known_size(const TensorType& type, int axis) {
  return type.shape[static_cast<std::size_t>(type.rank() + axis)].constant();
}

// ---- Decompositions of matrices that are decomposable_small: of known sizes, with an element

bool is_decomposable_small(const Tensor& a);
Tensor small_eigvalsh(const Tensor& a);
std::vector<Tensor> small_eigh(const Tensor& a);  // the values, and the vectors as rows
Tensor small_svdvals(const Tensor& a);
std::vector<Tensor> small_svd(const Tensor& a);  // u, s, vh
std::vector<Tensor> small_qr(const Tensor& a);   // q, r
// The elements first, first + 1, ... along the last axis.
Tensor last_part(const Tensor& x, const Dim& first, const Dim& count);

// ---- Type rules and references

void require_matrices(TypeContext& context);  // f32 or f64, two axes or more

TensorType square_type(TypeContext& context);  // square matrices; the result is like them
TensorType solve_type(TypeContext& context);   // and matrices with as many rows, which it is like
TensorType pivots_type(TypeContext& context);  // one element for each row
void cholesky_reference(ReferenceContext& context);
void triangular_reference(ReferenceContext& context);
void solve_reference(ReferenceContext& context);
void pivots_reference(ReferenceContext& context);

// Calls a routine of LAPACK (runtime/lapack.h) on each matrix of the input, with results of those
// sizes; `pack` stores what the op makes of them. ValueError with that text if it fails.
using LapackRoutine = std::int32_t (*)(void* const* arrays, const std::int64_t* sizes);
void by_lapack(ReferenceContext& context, LapackRoutine routine,
               const std::vector<std::size_t>& results, const std::string& error,
               const std::function<void(const std::vector<std::vector<double>>& results,
                                        Number* packed)>& pack);

}  // namespace kroton::ops
