// Eigenvalues and eigenvectors of small symmetric matrices of known size, by Jacobi's method.
#include <kroton/error.h>
#include <kroton/linalg.h>

#include <algorithm>

#include "compiler/ops/jacobi.h"
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
using ops::larger;
using ops::PartsView;
using ops::smaller;
using ops::Term;

void eigh_write(WriteContext& context) {
  const bool has_vectors = PartsView(context.attributes()).all;
  const std::size_t n = at(ops::known_size(context.input_type(0), -1));
  LaneLoops loops(context, has_vectors ? 2 : 1);
  const LaneLoops::Array a = loops.array({n, n}), v = has_vectors ? loops.array({n, n}) : a;
  const ops::JacobiBlock block(loops);
  const ops::Format format = ops::format_of(loops.constant(0));
  const double epsilon = format.pick(0x1p-23, 0x1p-52);
  const double least = ops::scale_of(format) * epsilon * epsilon;
  loops.each_block([&] {
    ops::read_scaled(loops, a, n, n, block, [&](Index index, const Expr& i, const Expr& j) {
      index.push_back(loop::binary(loop::Op::max, i, j));
      index.push_back(loop::binary(loop::Op::min, i, j));
      return context.input(0, index);
    });
    if (has_vectors) ops::set_identity(loops, v, n);
    ops::sweep(loops, n, block, [&](const Expr& p, const Expr& q) {
      const Term app = loops.hold(loops.get(a, p, p)), aqq = loops.hold(loops.get(a, q, q));
      const Term apq = loops.hold(loops.get(a, p, q));
      const Term size = larger(smaller(abs(app), abs(aqq)) * epsilon, loops.constant(least));
      const Term needed = loops.hold(size < abs(apq)), is_exchanged = loops.hold(aqq < app);
      ops::note_moved(loops, block, needed || is_exchanged);
      const ops::Rotation r = ops::rotation_of(loops, app, aqq, apq, needed, is_exchanged);
      const Term left = loops.hold(select(needed, loops.constant(0), apq));
      const std::vector<Term> of_p = ops::held_row(loops, a, p, n),
                              of_q = ops::held_row(loops, a, q, n);
      ops::rotate(loops, a, p, q, of_p, of_q, r);
      for (std::size_t k = 0; k < n; ++k) {
        loops.set(a, fma(of_p[k], r.cp, of_q[k] * r.sp), k, p);
        loops.set(a, fma(of_p[k], r.cq, of_q[k] * r.sq), k, q);
      }
      loops.set(a, r.of_p, p, p);
      loops.set(a, r.of_q, q, q);
      loops.set(a, left, p, q);
      loops.set(a, left, q, p);
      if (!has_vectors) return;
      const std::vector<Term> vp = ops::held_row(loops, v, p, n),
                              vq = ops::held_row(loops, v, q, n);
      ops::rotate(loops, v, p, q, vp, vq, r);
    });
    if (has_vectors) {
      loops.times(static_cast<std::int64_t>(n),
                  [&](const Expr& i) { loops.each_lane([&] { ops::turn(loops, i, v, n); }); });
    }
    loops.each_matrix([&](const Index& batch, const Expr& number) {
      const std::string text = ops::no_eigenvalues(has_vectors ? "eigh" : "eigvalsh");
      loops.times(static_cast<std::int64_t>(n), [&](const Expr& i) {
        Index index = batch;
        index.push_back(i);
        if (has_vectors) index.push_back(loop::integer(0));
        ops::store_value(loops, block, index, loops.get(a, i, i), number, text);
        if (!has_vectors) return;
        loops.times(static_cast<std::int64_t>(n), [&](const Expr& k) {
          index.back() = k + loop::integer(1);
          context.store(index, (loops.get(v, i, k) + 0.0).v);  // no -0
        });
      });
    });
  });
}

TensorType eigh_type(TypeContext& context) {
  TensorType type = ops::square_type(context);
  if (PartsView(context.attributes()).all) {
    type.shape.back() = type.shape.back() + 1;
  } else {
    type.shape.pop_back();
  }
  return type;
}

void eigh_reference(ReferenceContext& c) {
  const bool has_vectors = PartsView(c.attributes).all;
  const auto n = at(c.inputs[0]->shape.back());
  const std::string error = ops::no_eigenvalues(has_vectors ? "eigh" : "eigvalsh");
  if (!has_vectors) {
    ops::by_lapack(c, kroton_eigvalsh_f64, {n}, error, [](const auto& values, Number* packed) {
      std::copy(values[0].begin(), values[0].end(), packed);
    });
    return;
  }
  ops::by_lapack(c, kroton_eigh_f64, {n, n * n}, error, [n](const auto& values, Number* packed) {
    for (std::size_t i = 0; i < n; ++i) {
      *packed++ = values[0][i];
      for (std::size_t k = 0; k < n; ++k) *packed++ = values[1][i * n + k];
    }
  });
}

Tensors eigh_parts(const Tensor& packed) {
  const Dim n = packed.shape(-2);
  return {squeeze(ops::last_part(packed, 0, 1), -1), ops::last_part(packed, 1, n)};
}

Tensor symmetric_apart(const Tensor& x) {
  const Tensor a = ops::apart(x);
  return 0.5 * (a + ops::transposed_matrices(a));
}

std::vector<Sample> eigh_samples() {
  std::vector<Sample> samples;
  ops::add_known_samples(samples, {{1, 1}, {3, 3}, {2, 2, 2}, {0, 2, 2}},
                         [](const Tensor& x) { return eigvalsh(symmetric_apart(x)); });
  ops::add_known_samples(samples, {{1, 1}, {3, 3}, {3, 2, 2}}, [](const Tensor& x) {
    const auto [w, v] = eigh(symmetric_apart(x));
    return concatenate({v, expand_dims(w, -2)}, -2);
  });
  ops::add_known_samples(
      samples, {{17, 5, 5}, {2, 0, 3, 3}},
      [](const Tensor& x) { return eigh(symmetric_apart(x)).values; }, false);
  return samples;
}

}  // namespace

// Of symmetric A (..., n, n) its eigenvalues w (..., n), ascending, or (..., n, n + 1): in row i
// w_i and its vector. integers: PartsView.
constinit const OpRecord small_eigh_op = {.name = "small_eigh",
                                          .kind = OpKind::write,
                                          .cost = 500,
                                          .observable = true,
                                          .infer = eigh_type,
                                          .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
                                            const Tensors inputs = {y.node().inputs[0]};
                                            if (!PartsView(y.node().attributes).all)
                                              return ops::eigvalsh_gradient(inputs, {}, Tensors{g});
                                            return ops::eigh_gradient(inputs, eigh_parts(y),
                                                                      eigh_parts(g));
                                          },
                                          .write = eigh_write,
                                          .reference = eigh_reference,
                                          .batch = ops::batch_elementwise<small_eigh_op>,
                                          .samples = eigh_samples};

namespace ops {

Tensor small_eigvalsh(const Tensor& a) {
  return apply(small_eigh_op, {a}, PartsView(false).attributes());
}
Tensors small_eigh(const Tensor& a) {
  return eigh_parts(apply(small_eigh_op, {a}, PartsView(true).attributes()));
}

}  // namespace ops

}  // namespace kroton
