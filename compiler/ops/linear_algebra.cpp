// Factors, systems and determinants: small matrices of known size are computed with element by
// element, all others by LAPACK.
#include <kroton/error.h>
#include <kroton/linalg.h>

#include <cmath>

#include "compiler/ops/draw.h"
#include "compiler/ops/lapack_call.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/small_matrices.h"
#include "runtime/lapack.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using ops::Routine;
using ops::SolveView;
using ops::transposed_matrices;
using ops::TriangleView;

// Rows of operands that are matrices on their last axes.
template <const OpRecord& op>
constexpr auto batch_matrices = ops::batch_elementwise<op>;

// ---- cholesky

// (S + S^T) / 2 of S = L^-T P L^-1, where P is the lower triangle of L^T G with half its diagonal
// and G the cotangent of L.
Tensors cholesky_vjp(const Tensor& l, const Tensor& g) {
  const Tensor product = matmul(transposed_matrices(l), g);
  const Tensor on_diagonal = eq(ops::row_of(product), ops::column_of(product));
  const Tensor p = where(on_diagonal, 0.5 * product, ops::triangle(product, true));
  const Tensor left = solve_triangular(l, p, true);
  const Tensor s = transposed_matrices(solve_triangular(l, transposed_matrices(left), true));
  return {0.5 * (s + transposed_matrices(s))};
}

Tensor cholesky_expand(std::span<const Tensor> in, const Attributes&) {
  static const Routine routine("cholesky", KROTON_ROUTINE(cholesky), ops::not_positive_definite);
  const Dim n = ops::square_size(in[0].type());
  if (ops::is_small(n)) return ops::apply(small_cholesky_op, {in[0]});
  return routine.call({in[0]}, {{in[0].dtype(), ops::square_shape(in[0])}})[0];
}

// ---- solve_triangular

Tensors triangular_vjp(const Tensor& x, const Tensor& g) {
  const auto [transposed, lower] = TriangleView(x.node().attributes);
  const Tensor& l = x.node().inputs[0];
  const Tensor of_b = solve_triangular(l, g, !transposed, lower);
  const Tensor of_l =
      transposed ? matmul(x, transposed_matrices(of_b)) : matmul(of_b, transposed_matrices(x));
  return {-ops::triangle(of_l, lower), of_b};
}

const Routine& triangular_routine(const TriangleView& how) {
  static const Routine routines[] = {
      {"solve_triangular", KROTON_ROUTINE(solve_upper), ops::singular_triangle},
      {"solve_triangular", KROTON_ROUTINE(solve_upper_transposed), ops::singular_triangle},
      {"solve_triangular", KROTON_ROUTINE(solve_lower), ops::singular_triangle},
      {"solve_triangular", KROTON_ROUTINE(solve_lower_transposed), ops::singular_triangle}};
  return routines[(how.lower ? 2 : 0) + (how.transposed ? 1 : 0)];
}

// Both are written out: matrices, and as many columns as are known and few.
bool are_small(const Tensor& a, const Tensor& b) {
  return ops::is_small(ops::square_size(a.type())) && ops::is_small(b.shape(-1));
}

Dims solution_shape(const Tensor& a, const Tensor& b) {
  Dims shape = b.shape();
  shape.end()[-2] = ops::square_size(a.type());
  return shape;
}

Tensor triangular_expand(std::span<const Tensor> in, const Attributes& attributes) {
  if (are_small(in[0], in[1])) {
    return ops::apply(small_triangular_op, {in[0], in[1]}, attributes);
  }
  return triangular_routine(TriangleView(attributes))
      .call({in[0], in[1]}, {{in[1].dtype(), solution_shape(in[0], in[1])}})[0];
}

// ---- solve

Tensor solution(const Tensor& a, const Tensor& b, const SolveView& how) {
  return ops::apply(solve_op, {a, b}, how.attributes());
}

Tensors solve_vjp(const Tensor& x, const Tensor& g) {
  const SolveView how(x.node().attributes);
  const Tensor of_b = solution(x.node().inputs[0], g, {!how.transposed, how.checked});
  const Tensor of_a =
      how.transposed ? matmul(x, transposed_matrices(of_b)) : matmul(of_b, transposed_matrices(x));
  return {-of_a, of_b};
}

Tensor solve_expand(std::span<const Tensor> in, const Attributes& attributes) {
  static const Routine routines[] = {
      {"solve", KROTON_ROUTINE(lu_solve_unchecked), ops::singular_matrix},
      {"solve", KROTON_ROUTINE(lu_solve_transposed_unchecked), ops::singular_matrix},
      {"solve", KROTON_ROUTINE(lu_solve), ops::singular_matrix},
      {"solve", KROTON_ROUTINE(lu_solve_transposed), ops::singular_matrix}};
  if (are_small(in[0], in[1])) return ops::apply(small_solve_op, {in[0], in[1]}, attributes);
  const SolveView how(attributes);
  const ops::LuFactors lu = ops::lu_factors(in[0]);
  return routines[(how.checked ? 2 : 0) + (how.transposed ? 1 : 0)].call(
      {lu.transposed, lu.exchanges, in[1]}, {{in[1].dtype(), solution_shape(in[0], in[1])}})[0];
}

// ---- determinant

enum class Part : std::uint8_t { value, log_of_size, sign };

TensorType determinant_type(TypeContext& context) {
  TensorType type = ops::pivots_type(context);
  type.shape.pop_back();
  return type;
}

Part part_of(const Attributes& attributes) { return static_cast<Part>(attributes.integers.at(0)); }

// d det = det tr(A^-1 dA)
Tensors determinant_vjp(const Tensor& y, const Tensor& g) {
  const Part part = part_of(y.node().attributes);
  if (part == Part::sign) return {Tensor()};
  const Tensor& a = y.node().inputs[0];
  const Tensor inverse = solution(a, ops::identity_like(a), {true, false});
  const Tensor factor = part == Part::value ? g * y : g;
  return {expand_dims(expand_dims(factor, -1), -1) * inverse};
}

// Numbers whose product is the determinant.
Tensor pivots(const Tensor& a) {
  if (ops::is_small(ops::square_size(a.type()))) return ops::apply(small_pivots_op, {a});
  const ops::LuFactors lu = ops::lu_factors(a);
  const Tensor diagonal = ops::matrix_diagonal(lu.transposed, "det");
  const Tensor exchanges = squeeze(lu.exchanges, -1);
  return where(ne(exchanges, iota(exchanges.shape(), exchanges.rank() - 1, DType::i32)), -diagonal,
               diagonal);
}

Tensor determinant_expand(std::span<const Tensor> in, const Attributes& attributes) {
  const Tensor d = pivots(in[0]);
  switch (part_of(attributes)) {
    case Part::value:
      return prod(d, -1);
    case Part::log_of_size:
      return sum(log(abs(d)), -1);
    case Part::sign:
      return prod(sign(d), -1);
  }
  throw InternalError("determinant: no such part");
}

void determinant_reference(ReferenceContext& c) {
  const auto n = static_cast<std::size_t>(c.inputs[0]->shape.back());
  ReferenceValue factors{DType::f64, c.inputs[0]->shape, {}};
  factors.shape.pop_back();
  factors.data.resize(c.output.data.size() * n);
  ReferenceContext of_pivots{c.attributes, c.inputs, factors, c.size};
  ops::pivots_reference(of_pivots);
  const Part part = part_of(c.attributes);
  for (std::size_t k = 0; k < c.output.data.size(); ++k) {
    double value = part == Part::log_of_size ? 0 : 1;
    for (std::size_t i = 0; i < n; ++i) {
      const auto pivot = static_cast<double>(factors.data[k * n + i]);
      if (part == Part::value) value *= pivot;
      if (part == Part::log_of_size) value += std::log(std::abs(pivot));
      if (part == Part::sign) value *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot;
    }
    c.output.data[k] = value;
  }
}

Tensor determinant(const char* name, const Operand& a, Part part) {
  const LineScope scope(a.line(), name);
  Attributes attributes;
  attributes.integers = {static_cast<std::int64_t>(part)};
  return ops::apply(determinant_op, {a.tensor()}, std::move(attributes));
}

// ---- Samples

std::vector<Sample> cholesky_samples() {
  const auto apply = [](std::span<const Tensor> in) {
    const Tensor square = matmul(in[0], transposed_matrices(in[0]));
    return cholesky(square + 2 * ops::identity_like(square));
  };
  std::vector<Sample> samples;
  ops::add_samples(samples, {{0, 0}, {1, 1}, {3, 3}, {2, 3, 3}, {0, 3, 3}, {2, 1, 2, 2}}, apply);
  ops::add_samples(samples, {{17, 17}}, apply, false);
  return samples;
}

std::vector<Sample> solve_triangular_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& l, const ops::HostShape& b, bool differentiable) {
    for (const DType dtype : ops::dtypes_of(ops::floating)) {
      for (const bool lower : {true, false}) {
        for (const bool transposed : {true, false}) {
          samples.push_back({{ops::spread(dtype, l, -2, 2, 1), ops::spread(dtype, b, -2, 2, 2)},
                             [=](std::span<const Tensor> in) {
                               return solve_triangular(in[0] + 4 * ops::identity_like(in[0]), in[1],
                                                       transposed, lower);
                             },
                             differentiable});
        }
      }
    }
  };
  add({0, 0}, {0, 3}, true);
  add({1, 1}, {1, 1}, true);
  add({3, 3}, {3, 2}, true);
  add({2, 2, 2}, {2, 2, 3}, true);
  add({17, 17}, {17, 3}, false);
  return samples;
}

std::vector<Sample> solve_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& a, const ops::HostShape& b, bool differentiable) {
    for (const DType dtype : ops::dtypes_of(ops::floating)) {
      samples.push_back({{ops::spread(dtype, a, -2, 2, 1), ops::spread(dtype, b, -2, 2, 2)},
                         [](std::span<const Tensor> in) {
                           return solve(in[0] + 4 * ops::identity_like(in[0]), in[1]);
                         },
                         differentiable});
    }
  };
  add({0, 0}, {0, 3}, true);
  add({1, 1}, {1, 1}, true);
  add({3, 3}, {3, 2}, true);
  add({2, 2, 2}, {2, 2, 3}, true);
  add({17, 17}, {17, 3}, false);
  return samples;
}

std::vector<Sample> determinant_samples() {
  std::vector<Sample> samples;
  for (const Part part : {Part::value, Part::log_of_size}) {
    const auto apply = [part](std::span<const Tensor> in) {
      return determinant("det", in[0] + 4 * ops::identity_like(in[0]), part);
    };
    ops::add_samples(samples, {{0, 0}, {1, 1}, {3, 3}, {2, 3, 3}, {2, 1, 2, 2}}, apply);
    ops::add_samples(samples, {{17, 17}}, apply, false);
  }
  const auto sign = [](std::span<const Tensor> in) {
    return slogdet(in[0] - 40 * ops::identity_like(in[0])).sign;
  };
  ops::add_samples(samples, {{0, 0}, {1, 1}, {3, 3}, {2, 3, 3}, {17, 17}}, sign, false);
  return samples;
}

}  // namespace

// L (..., n, n) of a (..., n, n).   vjp: see there
constinit const OpRecord cholesky_op = {.name = "cholesky",
                                        .kind = OpKind::composite,
                                        .cost = 100,
                                        .observable = true,
                                        .infer = ops::square_type,
                                        .vjp = cholesky_vjp,
                                        .expand = cholesky_expand,
                                        .reference = ops::cholesky_reference,
                                        .batch = batch_matrices<cholesky_op>,
                                        .samples = cholesky_samples};

// X (..., n, k) of L (..., n, n) and B (..., n, k). integers: TriangleView.
constinit const OpRecord solve_triangular_op = {.name = "solve_triangular",
                                                .kind = OpKind::composite,
                                                .arity = 2,
                                                .cost = 100,
                                                .observable = true,
                                                .infer = ops::solve_type,
                                                .vjp = triangular_vjp,
                                                .expand = triangular_expand,
                                                .reference = ops::triangular_reference,
                                                .batch = batch_matrices<solve_triangular_op>,
                                                .samples = solve_triangular_samples};

// X (..., n, k) of A (..., n, n) and B (..., n, k). integers: SolveView.
constinit const OpRecord solve_op = {.name = "solve",
                                     .kind = OpKind::composite,
                                     .arity = 2,
                                     .cost = 100,
                                     .observable = true,
                                     .infer = ops::solve_type,
                                     .vjp = solve_vjp,
                                     .expand = solve_expand,
                                     .reference = ops::solve_reference,
                                     .batch = batch_matrices<solve_op>,
                                     .samples = solve_samples};

// A part of the determinant (...) of A (..., n, n). integers[0]: Part.
// vjp: dA = dy det A^-T, or dy A^-T of the logarithm
constinit const OpRecord determinant_op = {.name = "determinant",
                                           .kind = OpKind::composite,
                                           .cost = 100,
                                           .infer = determinant_type,
                                           .vjp = determinant_vjp,
                                           .expand = determinant_expand,
                                           .reference = determinant_reference,
                                           .batch = batch_matrices<determinant_op>,
                                           .samples = determinant_samples};

namespace ops {

LuFactors lu_factors(const Tensor& a) {
  static const Routine routine("lu", KROTON_ROUTINE(lu), "lu: matrix %index", lu_gradient);
  const Dims shape = square_shape(a);
  Dims column = shape;
  column.back() = 1;
  const Tensors results =
      routine.call({a}, {{a.dtype(), shape}, {DType::i32, column}, {DType::i32, column}});
  return {results[0], results[1], results[2]};
}

}  // namespace ops

Tensor cholesky(const Operand& a) {
  const LineScope scope(a.line());
  return ops::apply(cholesky_op, {a.tensor()});
}

Tensor solve_triangular(const Operand& l, const Operand& b, bool transposed, bool lower) {
  const LineScope scope(l.line());
  const Tensors operands = ops::promoted(l, b);
  const Tensor& matrices = operands[0];
  const Tensor& right = operands[1];
  if (matrices.rank() == 2 && right.rank() == 1) {
    return squeeze(solve_triangular(matrices, expand_dims(right, 1), transposed, lower), 1);
  }
  return ops::apply(solve_triangular_op, {matrices, right},
                    TriangleView(transposed, lower).attributes());
}

Tensor solve(const Operand& a, const Operand& b, Assume assume) {
  const LineScope scope(a.line());
  Tensors operands = ops::promoted(a, b);
  Tensor &matrices = operands[0], &right = operands[1];
  if (matrices.rank() < 2 || right.rank() < 1) {
    ops::fail_shape(solve_op, operands, "takes matrices, and a vector or matrices");
  }
  if (right.rank() == 1) return squeeze(solve(matrices, expand_dims(right, 1), assume), -1);
  const auto batch_of = [](const Tensor& x) {
    return Dims(x.shape().begin(), x.shape().end() - 2);
  };
  const Dims batch = ops::common_shape(solve_op, operands, {batch_of(matrices), batch_of(right)});
  for (Tensor* x : {&matrices, &right}) {
    Dims shape = batch;
    shape.insert(shape.end(), x->shape().end() - 2, x->shape().end());
    *x = ops::broadcast_towards(*x, shape);
  }
  if (assume == Assume::positive_definite) {
    const Tensor l = cholesky(matrices);
    return solve_triangular(l, solve_triangular(l, right), true);
  }
  return solution(matrices, right, {false, true});
}

Tensor inv(const Operand& a) {
  const LineScope scope(a.line());
  const Tensor matrices = ops::square_matrices("inv", a);
  return solution(matrices, ops::identity_like(matrices), {false, true});
}

Tensor det(const Operand& a) { return determinant("det", a, Part::value); }

Tensor logdet(const Operand& a) {
  const LineScope scope(a.line());
  return 2 * sum(log(ops::matrix_diagonal(cholesky(a), "logdet")), -1);
}

SignAndLog slogdet(const Operand& a) {
  return {determinant("slogdet", a, Part::sign), determinant("slogdet", a, Part::log_of_size)};
}

}  // namespace kroton
