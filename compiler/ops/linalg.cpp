// Functions of matrices that are made of factors, systems and decompositions.
#include <kroton/linalg.h>

#include <limits>

#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "runtime/lapack.h"
#include "runtime/visit.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using ops::transposed_matrices;

double epsilon_of(DType dtype) {
  return visit_dtype(dtype, []<class T>(std::type_identity<T>) {
    return static_cast<double>(std::numeric_limits<T>::epsilon());
  });
}

// Below what singular values count as 0, (..., 1).
Tensor least_singular_value(const Tensor& s, const Tensor& a, double rcond) {
  const Tensor largest = max(s, -1, true);
  if (rcond >= 0) return rcond * largest;
  return epsilon_of(a.dtype()) * size_of_dim(maximum(a.shape(-2), a.shape(-1)), a.dtype()) *
         largest;
}

bool is_empty(const Tensor& a) { return a.shape(-2).is_constant(0) || a.shape(-1).is_constant(0); }

Dims pinv_shape(const TensorType& a) {
  Dims shape = a.shape;
  std::swap(shape.end()[-1], shape.end()[-2]);
  return shape;
}

TensorType pinv_type(TypeContext& context) {
  const TensorType& a = context.input(0);
  if (!is_float(a.dtype) || is_only_stored(a.dtype)) context.fail_type("takes f32 and f64 only");
  if (a.rank() < 2) context.fail_shape("takes matrices, of two axes or more");
  return {a.dtype, pinv_shape(a)};
}

// dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P, where the rank stays.
Tensors pinv_vjp(const Tensor& p, const Tensor& g) {
  const Tensor& a = p.node().inputs[0];
  const Tensor pt = transposed_matrices(p), gt = transposed_matrices(g);
  const Tensor left = gt - matmul(a, matmul(p, gt));   // (I - A P) G^T
  const Tensor right = gt - matmul(matmul(gt, p), a);  // G^T (I - P A)
  return {matmul(matmul(left, p), pt) + matmul(pt, matmul(p, right)) - matmul(pt, matmul(g, pt))};
}

Tensor pinv_expand(std::span<const Tensor> in, const Attributes& attributes) {
  const Tensor& a = in[0];
  if (is_empty(a)) return zeros(pinv_shape(a.type()), a.dtype());
  const auto [u, s, vh] = svd(a);
  const Tensor counts = s > least_singular_value(s, a, attributes.real);
  const Tensor inverse = where(counts, 1 / where(counts, s, 1), 0);
  return matmul(transposed_matrices(vh) * expand_dims(inverse, -2), transposed_matrices(u));
}

void pinv_reference(ReferenceContext& c) {
  const ReferenceValue& a = *c.inputs[0];
  const std::int64_t m = a.shape.end()[-2], n = a.shape.end()[-1], k = std::min(m, n);
  if (k == 0) return;
  const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
  std::vector<double> x(size(m * n)), u(size(m * k)), s(size(k)), vh(size(k * n));
  std::int64_t failure[2];
  void* arrays[] = {x.data(), u.data(), s.data(), vh.data(), failure};
  const std::int64_t sizes[] = {1, m, n};
  const double rcond = c.attributes.real >= 0
                           ? c.attributes.real
                           : epsilon_of(a.dtype) * static_cast<double>(std::max(m, n));
  for (std::size_t first = 0; first < a.data.size(); first += x.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(a.data[first + i]);
    if (kroton_svd_f64(arrays, sizes) != 0) throw ValueError("pinv: no singular values");
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < m; ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l < k; ++l) {
          if (!(s[size(l)] > rcond * s[0])) continue;
          sum += vh[size(l * n + i)] / s[size(l)] * u[size(j * k + l)];
        }
        c.output.data[first + size(i * m + j)] = sum;
      }
    }
  }
}

std::vector<Sample> pinv_samples() {
  const auto apply = [](std::span<const Tensor> in) {
    return pinv(in[0] + 3 * ops::identity_like(in[0]));
  };
  std::vector<Sample> samples;
  ops::add_samples(samples, {{1, 1}, {3, 3}, {2, 4, 3}, {3, 5}, {0, 2, 2}}, apply);
  ops::add_samples(samples, {{17, 15}}, apply, false);
  return samples;
}

}  // namespace

// P (..., n, m) of A (..., m, n). real: rcond, below 0 for the default.   vjp: see there
constinit const OpRecord pinv_op = {.name = "pinv",
                                    .kind = OpKind::composite,
                                    .cost = 100,
                                    .observable = true,
                                    .infer = pinv_type,
                                    .vjp = pinv_vjp,
                                    .expand = pinv_expand,
                                    .reference = pinv_reference,
                                    .batch = ops::batch_elementwise<pinv_op>,
                                    .samples = pinv_samples};

Tensor pinv(const Operand& a, double rcond) {
  const LineScope scope(a.line());
  Attributes attributes;
  attributes.real = rcond;
  return ops::apply(pinv_op, {a.tensor()}, std::move(attributes));
}

Tensor matrix_rank(const Operand& a, double rcond) {
  const LineScope scope(a.line());
  const Tensor x = ops::float_matrices("matrix_rank", a);
  if (is_empty(x)) return zeros(ops::batch_of(x), DType::i64);
  const Tensor s = svdvals(x);
  return sum(cast(s > least_singular_value(s, x, rcond), DType::i64), -1);
}

Tensor lstsq(const Operand& a, const Operand& b) {
  const LineScope scope(a.line());
  const Tensors operands = ops::promoted(a, b);
  const Tensor x = ops::float_matrices("lstsq", operands[0]);
  const Tensor& right = operands[1];
  if (right.rank() == 1 && x.rank() == 2) return squeeze(lstsq(x, expand_dims(right, 1)), 1);
  if (right.rank() != x.rank()) {
    ops::fail_shape(OpRecord{.name = "lstsq"}, operands, "ranks differ");
  }
  const Dim &m = x.shape(-2), &n = x.shape(-1);
  if (m.is_constant() && right.shape(-2).is_constant() && m != right.shape(-2)) {
    ops::fail_shape(OpRecord{.name = "lstsq"}, operands, "the numbers of rows differ");
  }
  if (provably_at_least(m, n)) {
    const auto [q, r] = qr(x);
    return solve_triangular(r, matmul(transposed_matrices(q), right), false, false);
  }
  if (!provably_at_least(n, m)) {
    ops::fail_value("lstsq", "it is not known whether there are more rows or columns: a is " +
                                 to_string(x.type()));
  }
  const auto [q, r] = qr(transposed_matrices(x));
  return matmul(q, solve_triangular(r, right, true, false));
}

Tensor sqrtm(const Operand& a) {
  const LineScope scope(a.line());
  const auto [w, v] = eigh(a);
  return matmul(v * expand_dims(sqrt(maximum(w, 0)), -2), transposed_matrices(v));
}

Tensor matrix_norm(const Operand& a, MatrixNorm norm) {
  const LineScope scope(a.line());
  const Tensor x = ops::float_matrices("matrix_norm", a);
  if (is_empty(x)) return zeros(ops::batch_of(x), x.dtype());
  switch (norm) {
    case MatrixNorm::fro:
      return sqrt(sum(square(x), {-2, -1}));
    case MatrixNorm::nuc:
      return sum(svdvals(x), -1);
    case MatrixNorm::two:
      return maximum(max(svdvals(x), -1), 0);  // of a size that is 0
    case MatrixNorm::one:
      return maximum(max(sum(abs(x), -2), -1), 0);
    case MatrixNorm::inf:
      return maximum(max(sum(abs(x), -1), -1), 0);
  }
  ops::fail_value("matrix_norm", "no such norm");
}

Tensor cond(const Operand& a, MatrixNorm norm) {
  const LineScope scope(a.line());
  const Tensor x = ops::float_matrices("cond", a);
  if (is_empty(x)) return zeros(ops::batch_of(x), x.dtype());
  if (norm != MatrixNorm::two) return matrix_norm(x, norm) * matrix_norm(inv(x), norm);
  const Tensor s = svdvals(x);
  return max(s, -1) / min(s, -1);
}

Tensor block_diag(const Tensors& matrices, const Operand::Location& location) {
  const LineScope scope(
      LineScope::current().value_or(SourceLine{location.file_name(), location.line()}));
  if (matrices.empty()) ops::fail_value("block_diag", "expected one matrix at least");
  for (const Tensor& x : matrices) (void)Operand(x).tensor();  // none is empty
  const Tensors operands = ops::promoted(matrices);
  Dim columns = 0;
  for (const Tensor& x : operands) {
    if (x.rank() != 2) ops::fail_shape(OpRecord{.name = "block_diag"}, matrices, "takes matrices");
    columns = columns + x.shape(1);
  }
  Tensors rows;
  Dim before = 0;
  for (const Tensor& x : operands) {
    rows.push_back(pad(x, {{0, 0}, {before, columns - before - x.shape(1)}}));
    before = before + x.shape(1);
  }
  return concatenate(rows, 0);
}

Tensor toeplitz(const Operand& column, const Operand& row) {
  const LineScope scope(column.line());
  const Tensors operands = ops::promoted(column, row);
  if (operands[0].rank() != 1 || operands[1].rank() != 1) {
    ops::fail_shape(OpRecord{.name = "toeplitz"}, operands, "takes two vectors");
  }
  const Dims shape = {operands[0].shape(0), operands[1].shape(0)};
  const Tensor distance = iota(shape, 0) - iota(shape, 1);
  return where(distance >= 0, take(operands[0], maximum(distance, 0)),
               take(operands[1], maximum(-distance, 0)));
}

Tensor vander(const Operand& x, int columns, bool increasing) {
  const LineScope scope(x.line());
  const Tensor base = x.tensor();
  if (columns < 1) {
    ops::fail_value("vander", "expected one column at least, got " + std::to_string(columns));
  }
  if (base.rank() != 1 || base.dtype() == DType::boolean) {
    ops::fail_shape(OpRecord{.name = "vander"}, {base}, "takes a vector of numbers");
  }
  Tensors powers = {ones_like(base)};
  while (powers.size() < static_cast<std::size_t>(columns)) powers.push_back(powers.back() * base);
  if (!increasing) std::reverse(powers.begin(), powers.end());
  return stack(powers, 1);
}

}  // namespace kroton
