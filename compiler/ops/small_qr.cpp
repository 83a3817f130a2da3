// Q and R of small matrices of known size, by Householder's reflections, with a matrix in each lane
// of a vector.
#include <kroton/linalg.h>

#include <algorithm>

#include "compiler/ops/lanes.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/small_matrices.h"
#include "compiler/ops/small_samples.h"
#include "runtime/lapack.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using loop::Expr;
using ops::LaneLoops;
using ops::Term;

void qr_write(WriteContext& context) {
  const auto rows = static_cast<std::size_t>(ops::known_size(context.input_type(0), -2));
  const auto columns = static_cast<std::size_t>(ops::known_size(context.input_type(0), -1));
  const std::size_t least = std::min(rows, columns);
  LaneLoops loops(context, 2);
  const LaneLoops::Array x = loops.array({columns, rows}), q = loops.array({least, rows});
  const LaneLoops::Array factors = loops.array({least}), units = loops.array({columns});
  const double scale = ops::scale_of(ops::format_of(loops.constant(0)));
  const auto count = [](std::size_t size) { return static_cast<std::int64_t>(size); };
  loops.each_block([&] {
    loops.each_lane([&] {
      for (std::size_t c = 0; c < columns; ++c) {
        for (std::size_t i = 0; i < rows; ++i) loops.set(x, loops.constant(0), c, i);
      }
    });
    loops.each_matrix([&](const Index& batch, const Expr&) {
      loops.times(count(rows), [&](const Expr& i) {
        loops.times(count(columns), [&](const Expr& c) {
          Index index = batch;
          index.insert(index.end(), {i, c});
          loops.set(x, ops::term(context.input(0, index)), c, i);
        });
      });
    });
    // A column times a power of two has the same reflection, and that column of R is multiplied.
    loops.times(count(columns), [&](const Expr& c) {
      loops.each_lane([&] {
        Term largest = loops.constant(0);
        for (std::size_t i = 0; i < rows; ++i) {
          largest = ops::call(loop::Op::max, largest, abs(loops.get(x, c, i)));
        }
        const Term power = loops.hold(ops::power_of_two(largest));
        const Term inverse = loops.hold(loops.constant(1) / power);
        loops.set(units, power, c);
        for (std::size_t i = 0; i < rows; ++i) {
          loops.set(x, loops.get(x, c, i) * inverse * scale, c, i);
        }
      });
    });
    ops::reflect_columns(loops, x, factors, columns, rows, least);
    ops::orthonormal_columns(loops, x, factors, q, least, rows);
    loops.each_matrix([&](const Index& batch, const Expr&) {
      loops.times(count(least), [&](const Expr& i) {
        Index index = batch;
        index.insert(index.end(), {i, i});
        loops.times(count(rows), [&](const Expr& k) {
          index.back() = k;
          context.store(index, loops.get(q, i, k).v);
        });
        loops.times(count(columns), [&](const Expr& c) {
          index.back() = c + loop::integer(count(rows));
          const Term element = loops.get(x, c, i) * (1 / scale) * loops.get(units, c);
          context.store(index, loop::select(loop::binary(loop::Op::lt, c, i), loops.constant(0).v,
                                            element.v));
        });
      });
    });
  });
}

TensorType qr_type(TypeContext& context) {
  ops::require_matrices(context);
  TensorType type = context.input(0);
  const Dim m = type.shape.end()[-2], n = type.shape.end()[-1];
  type.shape.end()[-2] = minimum(m, n);
  type.shape.end()[-1] = m + n;
  return type;
}

void qr_reference(ReferenceContext& c) {
  const auto m = static_cast<std::size_t>(c.inputs[0]->shape.end()[-2]);
  const auto n = static_cast<std::size_t>(c.inputs[0]->shape.end()[-1]);
  const std::size_t least = std::min(m, n);
  ops::by_lapack(c, kroton_qr_f64, {m * least, least * n}, "qr",
                 [=](const auto& values, Number* packed) {
                   for (std::size_t i = 0; i < least; ++i) {
                     for (std::size_t k = 0; k < m; ++k) *packed++ = values[0][k * least + i];
                     for (std::size_t k = 0; k < n; ++k) *packed++ = values[1][i * n + k];
                   }
                 });
}

// q and r
Tensors qr_parts(const Tensor& packed, const TensorType& a) {
  const Dim &m = a.shape.end()[-2], &n = a.shape.end()[-1];
  return {ops::transposed_matrices(ops::last_part(packed, 0, m)), ops::last_part(packed, m, n)};
}

// Signs jump where a column has zeros below the diagonal.
Tensor squares(const Tensor& x) {
  const auto [q, r] = qr(x + 3 * ops::identity_like(x));
  return square(concatenate({ops::transposed_matrices(q), r}, -1));
}

std::vector<Sample> qr_samples() {
  std::vector<Sample> samples;
  ops::add_known_samples(samples, {{1, 1}, {3, 3}, {2, 2, 3}, {0, 2, 2}, {2, 3, 2}, {2, 2, 1}},
                         squares);
  ops::add_known_samples(samples, {{17, 5, 5}, {2, 0, 3, 3}, {2, 5}}, squares, false);
  return samples;
}

}  // namespace

// Of A (..., m, n), with k = min(m, n), Q and R (..., k, m + n): in row i column i of Q and row i
// of R.
constinit const OpRecord small_qr_op = {.name = "small_qr",
                                        .kind = OpKind::write,
                                        .cost = 300,
                                        .infer = qr_type,
                                        .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
                                          const Tensors inputs = {y.node().inputs[0]};
                                          const TensorType& a = inputs[0].type();
                                          return ops::qr_gradient(inputs, qr_parts(y, a),
                                                                  qr_parts(g, a));
                                        },
                                        .write = qr_write,
                                        .reference = qr_reference,
                                        .batch = ops::batch_elementwise<small_qr_op>,
                                        .samples = qr_samples};

namespace ops {

Tensors small_qr(const Tensor& a) { return qr_parts(apply(small_qr_op, {a}), a.type()); }

}  // namespace ops

}  // namespace kroton
