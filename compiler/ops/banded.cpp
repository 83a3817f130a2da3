// Systems of banded matrices, by LAPACK; null spaces.
#include <kroton/banded.h>
#include <kroton/check.h>
#include <kroton/index.h>

#include "compiler/ops/lapack_call.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/rules.h"
#include "runtime/lapack.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using ops::Routine;
using ops::Span;
using ops::transposed_matrices;

Tensor solution(const Tensor& upper, const Tensor& lower, const Tensor& b, bool transposed);

// The diagonals of A as the cotangent has them: -g_i x_j for the element (i, j), of which row r
// holds that with i = j + r - above.
Tensor of_diagonals(const Tensor& left, const Tensor& right, std::int64_t rows,
                    std::int64_t above) {
  const Dim n = left.shape(-2);
  const Tensor i = iota({rows, n}, 0) + iota({rows, n}, 1) - above;
  const Tensor inside = logical_and(ge(i, 0), lt(i, size_of_dim(n)));
  // (..., rows, n, k)
  const Tensor there = take(left, minimum(maximum(i, 0), size_of_dim(n) - 1), -2);
  const Tensor products = sum(there * expand_dims(right, -3), -1);
  return where(broadcast_to(inside, products.shape()), -products, 0);
}

Tensors gradient(Span inputs, Span results, Span cotangents, bool transposed) {
  const Tensor &upper = inputs[0], &lower = inputs[1], &x = results[0];
  const Tensor of_b = solution(upper, lower, cotangents[0], !transposed);
  const std::int64_t above = upper.shape(-2).constant() - 1, below = lower.shape(-2).constant();
  const Tensor all = transposed ? of_diagonals(x, of_b, above + below + 1, above)
                                : of_diagonals(of_b, x, above + below + 1, above);
  const auto part = [&](std::int64_t first, std::int64_t count) {
    const std::vector<std::int64_t> ones(all.shape().size(), 1);
    Dims starts(all.shape().size(), Dim(0)), sizes = all.shape();
    starts.end()[-2] = first;
    sizes.end()[-2] = count;
    return ops::strided_slice(all, starts, sizes, ones);
  };
  return {part(0, above + 1), part(above + 1, below), of_b};
}

Tensor solution(const Tensor& upper, const Tensor& lower, const Tensor& b, bool transposed) {
  static const std::string singular =
      "solve_banded: matrix %index is singular: its pivot %size is 0";
  static const Routine plain("solve_banded", KROTON_ROUTINE(solve_banded), singular,
                             [](Span inputs, Span results, Span cotangents) {
                               return gradient(inputs, results, cotangents, false);
                             });
  static const Routine of_transpose("solve_banded", KROTON_ROUTINE(solve_banded_transposed),
                                    singular, [](Span inputs, Span results, Span cotangents) {
                                      return gradient(inputs, results, cotangents, true);
                                    });
  return (transposed ? of_transpose : plain).call({upper, lower, b}, {b.type()})[0];
}

}  // namespace

Tensor solve_banded(const Bands& bands, const Operand& ab, const Operand& b) {
  const LineScope scope(ab.line(), "solve_banded");
  const OpRecord op{.name = "solve_banded"};
  if (bands.lower < 0 || bands.upper < 0) {
    ops::fail_value("solve_banded", "the numbers of diagonals are negative: lower " +
                                        std::to_string(bands.lower) + ", upper " +
                                        std::to_string(bands.upper));
  }
  Tensors operands = ops::promoted(ab, b);
  Tensor &diagonals = operands[0], &right = operands[1];
  if (!is_float(diagonals.dtype()) || is_only_stored(diagonals.dtype()))
    ops::fail_type(op, operands, "takes f32 and f64 only");
  if (diagonals.rank() < 2 || right.rank() < 1) {
    ops::fail_shape(op, operands, "takes diagonals as rows, and a vector or matrices");
  }
  const bool is_vector = right.rank() == 1;
  const std::int64_t rows = std::int64_t{bands.lower} + bands.upper + 1;
  const std::string expected = "expected " + std::to_string(rows) + " rows of diagonals, lower " +
                               std::to_string(bands.lower) + ", upper " +
                               std::to_string(bands.upper);
  const Dim given = diagonals.shape(-2);
  if (given.is_constant() && given != Dim(rows)) ops::fail_shape(op, operands, expected);
  if (!given.is_constant()) {
    for (const auto& [size, least] : {std::pair(given, Dim(rows)), std::pair(Dim(rows), given)}) {
      diagonals = ops::size_check(diagonals, "solve_banded", operands, size, least, expected);
    }
  }
  const Dim n = diagonals.shape(-1), of_right = right.shape(is_vector ? -1 : -2);
  if (n != of_right && (n - of_right).is_constant()) {
    ops::fail_shape(op, operands, "the numbers of rows differ");
  }
  if (n != of_right) {
    for (const auto& [size, least] : {std::pair(n, of_right), std::pair(of_right, n)}) {
      right = ops::size_check(right, "solve_banded", operands, size, least,
                              "the numbers of rows differ: %0 is less than %1");
    }
  }
  if (is_vector) right = expand_dims(right, 1);
  const Dims batch =
      ops::common_shape(op, operands, {ops::batch_of(diagonals), ops::batch_of(right)});
  const auto repeated = [&](const Tensor& x) {
    Dims shape = batch;
    shape.insert(shape.end(), x.shape().end() - 2, x.shape().end());
    return ops::broadcast_towards(x, shape);
  };
  diagonals = repeated(diagonals);
  right = repeated(right);
  const auto part = [&](std::int64_t first, std::int64_t count) {
    const std::vector<std::int64_t> ones(diagonals.shape().size(), 1);
    Dims starts(diagonals.shape().size(), Dim(0)), sizes = diagonals.shape();
    starts.end()[-2] = first;
    sizes.end()[-2] = count;
    return ops::strided_slice(diagonals, starts, sizes, ones);
  };
  const Tensor x =
      solution(part(0, bands.upper + 1), part(bands.upper + 1, bands.lower), right, false);
  return is_vector ? squeeze(x, -1) : x;
}

Tensor null_space(const Operand& operand, int rank, double rcond) {
  const LineScope scope(operand.line(), "null_space");
  const Tensor a = ops::float_matrices("null_space", operand);
  const OpRecord op{.name = "null_space"};
  const Dim m = a.shape(-2), n = a.shape(-1);
  if (!n.is_constant() || !m.is_constant()) {
    ops::fail_shape(op, {a}, "the sizes of the matrices must be known");
  }
  const std::int64_t rows = m.constant(), columns = n.constant();
  if (rank < 0 || rank > std::min(rows, columns)) {
    ops::fail_value("null_space",
                    "matrices " + to_string(a.type()) + " have no rank " + std::to_string(rank));
  }
  Dims shape = a.shape();
  shape.end()[-2] = n;
  shape.end()[-1] = columns - rank;
  if (columns == rank) return zeros(shape, a.dtype());
  if (rows == 0) {
    return broadcast_to(ops::identity_like(zeros({n, n}, a.dtype())), shape);
  }
  // Rows of zeros make the basis of all of space complete.
  const Tensor fixed = stop_gradient(a);
  Tensor tall = fixed;
  if (rows < columns) {
    Dims missing = a.shape();
    missing.end()[-2] = columns - rows;
    tall = concatenate({fixed, zeros(missing, a.dtype())}, -2);
  }
  const auto [u, s, vh] = svd(tall);
  std::vector<std::int64_t> ones(shape.size(), 1);
  Dims starts(shape.size(), Dim(0)), sizes = vh.shape();
  starts.end()[-2] = rank;
  sizes.end()[-2] = columns - rank;
  const Tensor basis = transposed_matrices(ops::strided_slice(vh, starts, sizes, ones));
  const Tensor has_rank = eq(matrix_rank(fixed, rcond), rank);
  const Tensor known = check(expand_dims(expand_dims(has_rank, -1), -1), basis,
                             "null_space: a matrix has not the rank " + std::to_string(rank));
  // With P the projection to the null space, N = P B (B^T P B)^-1/2: B itself where P is that of B,
  // and the inverse root is (3 - B^T P B) / 2 up to the square of what is small there.
  const Tensor projected = known - matmul(pinv(a, rcond), matmul(a, known));
  const Tensor product = matmul(transposed_matrices(known), projected);
  return matmul(projected, 1.5 * ops::identity_like(product) - 0.5 * product);
}

}  // namespace kroton
