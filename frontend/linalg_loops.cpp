// Functions of matrices that are loops.
#include <kroton/index.h>
#include <kroton/linalg.h>
#include <kroton/scan.h>

#include <cmath>
#include <limits>

#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/small_matrices.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// The diagonal approximant of degree 13: (V - U)^-1 (V + U), good for 1-norms up to this one.
constexpr double largest_norm = 5.371920351148152;
constexpr double coefficients[] = {64764752532480000.,
                                   32382376266240000.,
                                   7771770303897600.,
                                   1187353796428800.,
                                   129060195264000.,
                                   10559470521600.,
                                   670442572800.,
                                   33522128640.,
                                   1323241920.,
                                   40840800.,
                                   960960.,
                                   16380.,
                                   182.,
                                   1.};
constexpr std::int64_t most_squarings = 64;

Tensor approximant(const Tensor& a) {
  const auto& b = coefficients;
  const Tensor one = ops::identity_like(a);
  const Tensor a2 = matmul(a, a), a4 = matmul(a2, a2), a6 = matmul(a4, a2);
  const Tensor odd = matmul(a6, b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 +
                     b[3] * a2 + b[1] * one;
  const Tensor u = matmul(a, odd);
  const Tensor v = matmul(a6, b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 +
                   b[2] * a2 + b[0] * one;
  return ops::apply(solve_op, {v - u, v + u}, ops::SolveView(false, false).attributes());
}

}  // namespace

Tensor expm(const Operand& operand) {
  const LineScope scope(operand.line());
  const Tensor a = ops::square_matrices("expm", operand);
  if (a.shape(-1).is_constant(0)) return a;
  // How often each matrix is halved before and its exponential squared behind.
  const Tensor norm = matrix_norm(stop_gradient(a), MatrixNorm::one);
  const Tensor wanted_halvings =
      ceil(log(maximum(norm, largest_norm) / largest_norm) * (1 / std::log(2.0)));
  const Tensor halvings = minimum(wanted_halvings, static_cast<double>(most_squarings));
  const auto of_matrices = [](const Tensor& x) { return expand_dims(expand_dims(x, -1), -1); };
  const Tensor scale = exp(halvings * -std::log(2.0));
  // Beyond, nothing is known.
  const Tensor known = le(wanted_halvings, halvings);
  const Tensor start = where(of_matrices(known), approximant(a * of_matrices(scale)),
                             std::numeric_limits<double>::quiet_NaN());
  const Tensor steps = arange(most_squarings, a.dtype());
  return foldl(
      [&](const Tensor& step, const Tensor& x, const Tensor& times) {
        const Tensor wanted = times > step;
        return ifelse(any(wanted), where(of_matrices(wanted), matmul(x, x), x), x);
      },
      {steps}, start, {halvings});
}

Tensor solve_tridiagonal(const Operand& lower, const Operand& diagonal, const Operand& upper,
                         const Operand& b) {
  const LineScope scope(diagonal.line());
  const OpRecord op{.name = "solve_tridiagonal"};
  Tensors operands = ops::promoted({lower.tensor(), diagonal.tensor(), upper.tensor(), b.tensor()});
  if (!is_float(operands[0].dtype()) || is_only_stored(operands[0].dtype()))
    ops::fail_type(op, operands, "takes f32 and f64 only");
  if (operands[3].rank() == 0) ops::fail_shape(op, operands, "takes vectors at least");
  operands = ops::broadcast(op, operands);
  for (Tensor& x : operands) x = ops::move_axis(x, x.rank() - 1, 0);
  const Tensor &a = operands[0], &d = operands[1], &c = operands[2], &right = operands[3];
  const Tensor position = iota(d.shape(), 0);
  // What is not read counts as 0.
  const Tensor below = where(eq(position, 0), 0, a);
  const Tensor above = where(eq(position, size_of_dim(d.shape(0)) - 1), 0, c);
  const Dims row(d.shape().begin() + 1, d.shape().end());
  const Tensor nothing = zeros(row, d.dtype());
  const auto forward = scan(
      [](const Tensor& a_i, const Tensor& d_i, const Tensor& c_i, const Tensor& b_i,
         const Tensor& c_before, const Tensor& x_before) {
        const Tensor pivot = d_i - a_i * c_before;
        return std::array{c_i / pivot, (b_i - a_i * x_before) / pivot};
      },
      {.sequences = {below, d, above, right},
       .outputs_info = {nothing, nothing},
       .name = "solve_tridiagonal"});
  const Tensor x = scan(
      [](const Tensor& c_i, const Tensor& x_i, const Tensor& behind) { return x_i - c_i * behind; },
      {.sequences = {forward[0], forward[1]},
       .outputs_info = {nothing},
       .go_backwards = true,
       .name = "solve_tridiagonal"});
  // The last row comes first.
  return ops::move_axis(x(slice(end, end, -1)), 0, x.rank() - 1);
}

}  // namespace kroton
