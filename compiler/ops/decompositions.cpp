// Decompositions: lu, qr, eigh, svd, eigvals. By LAPACK, but for small matrices of known size
// (small_eigh.cpp, small_svd.cpp, small_qr.cpp).
#include <kroton/linalg.h>

#include "compiler/ops/lapack_call.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/small_matrices.h"
#include "runtime/lapack.h"

namespace kroton {

using Tensors = std::vector<Tensor>;
using ops::Span;

namespace {

using ops::diagonal_matrix;
using ops::identity_like;
using ops::Routine;
using ops::transposed_matrices;
using ops::triangle;

// x with last axes of these sizes.
Dims with_last(const Tensor& x, const Dims& last) {
  Dims shape(x.shape().begin(), x.shape().end() - 2);
  shape.insert(shape.end(), last.begin(), last.end());
  return shape;
}

Tensor symmetric(const Tensor& x) { return 0.5 * (x + transposed_matrices(x)); }

// ---- qr

// Of A (..., m, n) with m >= n: (gQ + Q S) R^-T, where S is symmetric with the lower triangle of
// M = R gR^T - gQ^T Q.
Tensor tall_qr_gradient(const Tensor& q, const Tensor& r, const Tensor& of_q, const Tensor& of_r) {
  const Tensor m = matmul(r, transposed_matrices(of_r)) - matmul(transposed_matrices(of_q), q);
  const Tensor s = triangle(m, true) + transposed_matrices(triangle(m, true, 1));
  const Tensor right = of_q + matmul(q, s);
  return transposed_matrices(
      solve_triangular(r, transposed_matrices(right), /*transposed=*/false, /*lower=*/false));
}

}  // namespace

// A wide A is [X, Y] with X = Q U, Y = Q V and R = [U, V].
Tensors ops::qr_gradient(Span inputs, Span results, Span cotangents) {
  const Tensor &q = results[0], &r = results[1];
  const Dim &rows = inputs[0].shape(-2), &columns = inputs[0].shape(-1);
  if (!provably_at_least(columns, rows) || rows == columns) {
    const Tensor of_q = ops::size_check(cotangents[0], "the gradient of qr", {inputs[0]}, rows,
                                        columns, "%0 rows are less than %1 columns");
    return {tall_qr_gradient(q, r, of_q, cotangents[1])};
  }
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(r.rank()), 1);
  const auto part = [&](const Tensor& x, const Dim& first, const Dim& count) {
    Dims starts(ones.size(), Dim(0)), sizes = x.shape();
    starts.back() = first;
    sizes.back() = count;
    return ops::strided_slice(x, starts, sizes, ones);
  };
  const Tensor u = part(r, 0, rows), of_u = part(cotangents[1], 0, rows);
  const Tensor of_v = part(cotangents[1], rows, columns - rows);
  const Tensor y = part(inputs[0], rows, columns - rows);
  const Tensor of_q = cotangents[0] + matmul(y, transposed_matrices(of_v));
  return {concatenate({tall_qr_gradient(q, u, of_q, of_u), matmul(q, of_v)}, -1)};
}

// ---- eigh; vectors come as rows

// V (diag(gw) + (V^T gV) / (w_j - w_i)) V^T, symmetric.
Tensors ops::eigh_gradient(Span, Span results, Span cotangents) {
  const Tensor &w = results[0], &rows = results[1];
  const Tensor v = transposed_matrices(rows);
  const Tensor of_v = matmul(rows, transposed_matrices(cotangents[1]));
  const Tensor distance = expand_dims(w, -2) - expand_dims(w, -1);
  const Tensor on_diagonal = eq(ops::row_of(of_v), ops::column_of(of_v));
  const Tensor inside =
      where(on_diagonal, broadcast_to(expand_dims(cotangents[0], -1), of_v.shape()),
            of_v / where(on_diagonal, 1, distance));
  return {symmetric(matmul(matmul(v, inside), rows))};
}

namespace {

// The eigenvalues, and the eigenvectors as rows.
Tensors eigh_results(const Tensor& x) {
  if (ops::is_decomposable_small(x)) return ops::small_eigh(x);
  static const Routine routine("eigh", KROTON_ROUTINE(eigh), ops::no_eigenvalues("eigh"),
                               ops::eigh_gradient);
  const Dim n = ops::square_size(x.type());
  return routine.call({x}, {{x.dtype(), with_last(x, {n})}, {x.dtype(), with_last(x, {n, n})}});
}

}  // namespace

Tensors ops::eigvalsh_gradient(Span inputs, Span, Span cotangents) {
  const Tensor rows = eigh_results(inputs[0])[1];
  return {matmul(transposed_matrices(rows), expand_dims(cotangents[0], -1) * rows)};
}

namespace {

Tensors eigvals_gradient(Span, Span, Span) { ops::fail_value("eigvals", "has no gradient"); }

// ---- svd

// x - x^T
Tensor skew(const Tensor& x) { return x - transposed_matrices(x); }

}  // namespace

Tensors ops::svd_gradient(Span, Span results, Span cotangents) {
  const Tensor &u = results[0], &s = results[1], &vh = results[2];
  const Tensor v = transposed_matrices(vh);
  const Tensor &of_u = cotangents[0], &of_s = cotangents[1];
  const Tensor of_v = transposed_matrices(cotangents[2]);
  const Tensor row = expand_dims(s, -2), column = expand_dims(s, -1);
  const Tensor ut_of_u = matmul(transposed_matrices(u), of_u), vt_of_v = matmul(vh, of_v);
  const Tensor on_diagonal = eq(ops::row_of(ut_of_u), ops::column_of(ut_of_u));
  // s_j^2 - s_i^2, without cancellation.
  const Tensor e = where(on_diagonal, 1, (row - column) * (row + column));
  const Tensor inside =
      skew(ut_of_u) / e * row + column * (skew(vt_of_v) / e) +
      where(on_diagonal, broadcast_to(column * 0 + expand_dims(of_s, -1), ut_of_u.shape()), 0);
  Tensor result = matmul(matmul(u, inside), vh);
  const Dim &m = u.shape(-2), &k = u.shape(-1), &n = vh.shape(-1);
  if (!(m == k)) {
    result = result + matmul((of_u - matmul(u, ut_of_u)) / row, vh);
  }
  if (!(n == k)) {
    result = result + matmul(u, transposed_matrices((of_v - matmul(v, vt_of_v)) / row));
  }
  return {result};
}

namespace {

Tensors svd_results(const Tensor& x) {
  if (ops::is_decomposable_small(x)) return ops::small_svd(x);
  static const Routine routine("svd", KROTON_ROUTINE(svd), ops::no_singular_values("svd"),
                               ops::svd_gradient);
  const Dim &m = x.shape(-2), &n = x.shape(-1);
  const Dim k = minimum(m, n);
  return routine.call({x}, {{x.dtype(), with_last(x, {m, k})},
                            {x.dtype(), with_last(x, {k})},
                            {x.dtype(), with_last(x, {k, n})}});
}

}  // namespace

Tensors ops::svdvals_gradient(Span inputs, Span, Span cotangents) {
  const Tensors parts = svd_results(inputs[0]);
  return {matmul(parts[0] * expand_dims(cotangents[0], -2), parts[2])};
}

namespace ops {

bool is_decomposable_small(const Tensor& a) {
  const auto fits = [&](int axis) { return is_small(a.shape(axis)) && a.shape(axis) != Dim(0); };
  return fits(-2) && fits(-1);
}

Tensor last_part(const Tensor& x, const Dim& first, const Dim& count) {
  Dims starts(x.shape().size(), Dim(0)), sizes = x.shape();
  starts.back() = first;
  sizes.back() = count;
  return strided_slice(x, starts, sizes, std::vector<std::int64_t>(sizes.size(), 1));
}

// With the cotangent G of L and U in one: P^T L^-T (tril(L^T tril(G, -1), -1) + triu(triu(G) U^T))
// U^-T.
Tensors lu_gradient(Span, Span results, Span cotangents) {
  const Tensor factors = transposed_matrices(results[0]), g = transposed_matrices(cotangents[0]);
  const Tensor l = triangle(factors, true, 1) + identity_like(factors);
  const Tensor u = triangle(factors, false);
  const Tensor of_l = triangle(matmul(transposed_matrices(l), triangle(g, true, 1)), true, 1);
  const Tensor of_u = triangle(matmul(triangle(g, false), transposed_matrices(u)), false);
  const Tensor left = solve_triangular(l, of_l + of_u, /*transposed=*/true, /*lower=*/true);
  const Tensor inside = transposed_matrices(
      solve_triangular(u, transposed_matrices(left), /*transposed=*/false, /*lower=*/false));
  // Row i of it belongs to row rows[i].
  const Tensor permutation =
      cast(eq(cast(broadcast_to(results[2], factors.shape()), DType::i64), column_of(factors)),
           factors.dtype());
  return {matmul(transposed_matrices(permutation), inside)};
}

}  // namespace ops

Lu lu(const Operand& a) {
  const LineScope scope(a.line());
  const ops::LuFactors factors = ops::lu_factors(ops::square_matrices("lu", a));
  return {transposed_matrices(factors.transposed), cast(squeeze(factors.exchanges, -1), DType::i64),
          cast(squeeze(factors.rows, -1), DType::i64)};
}

Qr qr(const Operand& a) {
  const LineScope scope(a.line());
  static const Routine routine("qr", KROTON_ROUTINE(qr), "qr: matrix %index", ops::qr_gradient);
  const Tensor x = ops::float_matrices("qr", a);
  if (ops::is_decomposable_small(x)) {
    const Tensors parts = ops::small_qr(x);
    return {parts[0], parts[1]};
  }
  const Dim &m = x.shape(-2), &n = x.shape(-1);
  const Dim k = minimum(m, n);
  const Tensors results =
      routine.call({x}, {{x.dtype(), with_last(x, {m, k})}, {x.dtype(), with_last(x, {k, n})}});
  return {results[0], results[1]};
}

Eigh eigh(const Operand& a) {
  const LineScope scope(a.line());
  const Tensors results = eigh_results(ops::square_matrices("eigh", a));
  return {results[0], transposed_matrices(results[1])};
}

Tensor eigvalsh(const Operand& a) {
  const LineScope scope(a.line());
  static const Routine routine("eigvalsh", KROTON_ROUTINE(eigvalsh),
                               ops::no_eigenvalues("eigvalsh"), ops::eigvalsh_gradient);
  const Tensor x = ops::square_matrices("eigvalsh", a);
  if (ops::is_decomposable_small(x)) return ops::small_eigvalsh(x);
  return routine.call({x}, {{x.dtype(), with_last(x, {ops::square_size(x.type())})}})[0];
}

Eigenvalues eigvals(const Operand& a) {
  const LineScope scope(a.line());
  static const Routine routine("eigvals", KROTON_ROUTINE(eigvals), ops::no_eigenvalues("eigvals"),
                               eigvals_gradient);
  const Tensor x = ops::square_matrices("eigvals", a);
  const TensorType type{x.dtype(), with_last(x, {ops::square_size(x.type())})};
  const Tensors results = routine.call({x}, {type, type});
  return {results[0], results[1]};
}

Svd svd(const Operand& a) {
  const LineScope scope(a.line());
  const Tensors results = svd_results(ops::float_matrices("svd", a));
  return {results[0], results[1], results[2]};
}

Tensor svdvals(const Operand& a) {
  const LineScope scope(a.line());
  static const Routine routine("svdvals", KROTON_ROUTINE(svdvals),
                               ops::no_singular_values("svdvals"), ops::svdvals_gradient);
  const Tensor x = ops::float_matrices("svdvals", a);
  if (ops::is_decomposable_small(x)) return ops::small_svdvals(x);
  return routine.call({x}, {{x.dtype(), with_last(x, {minimum(x.shape(-2), x.shape(-1))})}})[0];
}

}  // namespace kroton
