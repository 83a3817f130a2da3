// Singular values and vectors of small matrices of known sizes, by Jacobi's method.
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

// Of A. The rows of W are those of A or of A^T, whichever are fewer; it becomes J W, whose rows are
// orthogonal.
struct SvdSizes {
  std::size_t rows, columns, least, most;
  bool is_tall;
  explicit SvdSizes(const TensorType& a)
      : rows(at(ops::known_size(a, -2))),
        columns(at(ops::known_size(a, -1))),
        least(std::min(rows, columns)),
        most(std::max(rows, columns)),
        is_tall(rows >= columns) {}
};

// Rows whose singular value is 0 become orthonormal to the others, and to each other.
void complete(LaneLoops& loops, const LaneLoops::Array& w, const LaneLoops::Array& is_null,
              const LaneLoops::Array& any_null, const SvdSizes& sizes) {
  const auto least = static_cast<std::int64_t>(sizes.least);
  const LaneLoops::Array x = loops.array({sizes.least, sizes.most});
  const LaneLoops::Array q = loops.array({sizes.least, sizes.most});
  const LaneLoops::Array factors = loops.array({sizes.least});
  loops.if_any(any_null, [&] {
    const auto each_row = [&](const std::function<void(const Expr& i)>& body) {
      loops.times(least, [&](const Expr& i) { loops.each_lane([&] { body(i); }); });
    };
    each_row([&](const Expr& i) {
      for (std::size_t k = 0; k < sizes.most; ++k) loops.set(x, loops.get(w, i, k), i, k);
    });
    ops::reflect_columns(loops, x, factors, sizes.least, sizes.most, sizes.least);
    ops::orthonormal_columns(loops, x, factors, q, sizes.least, sizes.most);
    each_row([&](const Expr& i) {
      const Term null = loops.hold(loops.get(is_null, i) > 0.0);
      for (std::size_t k = 0; k < sizes.most; ++k) {
        loops.set(w, select(null, loops.get(q, i, k), loops.get(w, i, k)), i, k);
      }
    });
  });
}

void svd_write(WriteContext& context) {
  const bool has_vectors = PartsView(context.attributes()).all;
  const SvdSizes sizes(context.input_type(0));
  const std::size_t least = sizes.least, most = sizes.most;
  LaneLoops loops(context, has_vectors ? 2 : 1);
  const LaneLoops::Array w = loops.array({least, most});
  const LaneLoops::Array j = has_vectors ? loops.array({least, least}) : w;
  const LaneLoops::Array s = loops.array({least}), is_null = loops.array({least});
  const LaneLoops::Array any_null = loops.array({1});
  const ops::JacobiBlock block(loops);
  const ops::Format format = ops::format_of(loops.constant(0));
  const double epsilon = format.pick(0x1p-23, 0x1p-52);
  const double tolerance = epsilon * epsilon * static_cast<double>(most);
  loops.each_block([&] {
    ops::read_scaled(loops, w, least, most, block, [&](Index index, const Expr& i, const Expr& k) {
      index.push_back(sizes.is_tall ? k : i);
      index.push_back(sizes.is_tall ? i : k);
      return context.input(0, index);
    });
    if (has_vectors) ops::set_identity(loops, j, least);
    ops::sweep(loops, least, block, [&](const Expr& p, const Expr& q) {
      const std::vector<Term> of_p = ops::held_row(loops, w, p, most),
                              of_q = ops::held_row(loops, w, q, most);
      const auto product = [&](const std::vector<Term>& x, const std::vector<Term>& y) {
        Term sum = x[0] * y[0];
        for (std::size_t k = 1; k < most; ++k) sum = fma(x[k], y[k], sum);
        return loops.hold(sum);
      };
      const Term a = product(of_p, of_p), b = product(of_q, of_q), c = product(of_p, of_q);
      // Orthogonal: |c| <= sqrt(most) epsilon sqrt(a b), above which it may be rounding.
      const Term inverse =
          loops.hold(loops.constant(1) / at_least(larger(a, b), format.pick(0x1p-124, 0x1p-1020)));
      const Term cosine = loops.hold(c * inverse);
      const Term limit = smaller(a, b) * inverse * tolerance;
      const Term needed = loops.hold(limit < cosine * cosine), is_exchanged = loops.hold(a < b);
      ops::note_moved(loops, block, needed || is_exchanged);
      const ops::Rotation r = ops::rotation_of(loops, a, b, c, needed, is_exchanged);
      // What is left of the shorter row, if that is no more than rounding, is nothing.
      std::vector<Term> shorter;
      Term squares = loops.constant(0);
      for (std::size_t k = 0; k < most; ++k) {
        shorter.push_back(loops.hold(fma(of_p[k], r.cq, of_q[k] * r.sq)));
        squares = fma(shorter[k], shorter[k], squares);
      }
      const Term is_noise = loops.hold(squares < smaller(a, b) * (16 * tolerance));
      for (std::size_t k = 0; k < most; ++k) {
        loops.set(w, fma(of_p[k], r.cp, of_q[k] * r.sp), p, k);
        loops.set(w, select(is_noise, loops.constant(0), shorter[k]), q, k);
      }
      if (!has_vectors) return;
      const std::vector<Term> jp = ops::held_row(loops, j, p, least);
      const std::vector<Term> jq = ops::held_row(loops, j, q, least);
      ops::rotate(loops, j, p, q, jp, jq, r);
    });
    loops.each_lane([&] { loops.set(any_null, loops.constant(0), 0); });
    loops.times(static_cast<std::int64_t>(least), [&](const Expr& i) {
      loops.each_lane([&] {
        Term sum = loops.constant(0);
        for (std::size_t k = 0; k < most; ++k) {
          const Term element = loops.get(w, i, k);
          sum = fma(element, element, sum);
        }
        const Term value = loops.hold(sqrt(sum));
        loops.set(s, value, i);
        if (!has_vectors) return;
        const Term null = loops.hold(equal(value, 0.0));
        const Term one = loops.constant(1);
        const Term inverse = loops.hold(one / select(null, one, value));
        loops.set(is_null, select(null, one, 0.0), i);
        loops.set(any_null, select(null, one, loops.get(any_null, 0)), 0);
        for (std::size_t k = 0; k < most; ++k) loops.set(w, loops.get(w, i, k) * inverse, i, k);
      });
    });
    if (has_vectors) {
      complete(loops, w, is_null, any_null, sizes);
      loops.times(static_cast<std::int64_t>(least), [&](const Expr& i) {
        loops.each_lane([&] {
          const auto& [u, v] = sizes.is_tall ? std::pair(&w, &j) : std::pair(&j, &w);
          ops::turn(loops, i, *u, sizes.rows, v, sizes.columns);
        });
      });
    }
    loops.each_matrix([&](const Index& batch, const Expr& number) {
      const std::string text = ops::no_singular_values(has_vectors ? "svd" : "svdvals");
      loops.times(static_cast<std::int64_t>(least), [&](const Expr& i) {
        Index index = batch;
        index.push_back(i);
        if (has_vectors) index.push_back(loop::integer(0));
        ops::store_value(loops, block, index, loops.get(s, i), number, text);
        if (!has_vectors) return;
        const auto store = [&](const LaneLoops::Array& x, std::size_t first, std::size_t size) {
          loops.times(static_cast<std::int64_t>(size), [&](const Expr& k) {
            index.back() = k + loop::integer(static_cast<std::int64_t>(first));
            context.store(index, (loops.get(x, i, k) + 0.0).v);  // no -0
          });
        };
        store(w, 1, most);
        store(j, 1 + most, least);
      });
    });
  });
}

TensorType svd_type(TypeContext& context) {
  TensorType type = context.input(0);
  ops::require_matrices(context);
  const Dim m = type.shape.end()[-2], n = type.shape.end()[-1];
  type.shape.end()[-2] = minimum(m, n);
  if (PartsView(context.attributes()).all) {
    type.shape.back() = m + n + 1;
  } else {
    type.shape.pop_back();
  }
  return type;
}

void svd_reference(ReferenceContext& c) {
  const bool has_vectors = PartsView(c.attributes).all;
  const auto m = at(c.inputs[0]->shape.end()[-2]), n = at(c.inputs[0]->shape.end()[-1]);
  const std::size_t least = std::min(m, n);
  const std::string error = ops::no_singular_values(has_vectors ? "svd" : "svdvals");
  if (!has_vectors) {
    ops::by_lapack(c, kroton_svdvals_f64, {least}, error, [](const auto& values, Number* packed) {
      std::copy(values[0].begin(), values[0].end(), packed);
    });
    return;
  }
  ops::by_lapack(c, kroton_svd_f64, {m * least, least, least * n}, error,
                 [=](const auto& values, Number* packed) {
                   for (std::size_t i = 0; i < least; ++i) {
                     *packed++ = values[1][i];
                     const auto u = [&] {
                       for (std::size_t k = 0; k < m; ++k) *packed++ = values[0][k * least + i];
                     };
                     const auto v = [&] {
                       for (std::size_t k = 0; k < n; ++k) *packed++ = values[2][i * n + k];
                     };
                     if (m >= n) u();
                     v();
                     if (m < n) u();
                   }
                 });
}

// u, s, vh
Tensors svd_parts(const Tensor& packed, const TensorType& a) {
  const SvdSizes sizes(a);
  const auto most = static_cast<std::int64_t>(sizes.most);
  const Tensor s = squeeze(ops::last_part(packed, 0, 1), -1);
  const Tensor w = ops::last_part(packed, 1, most);
  const Tensor j = ops::last_part(packed, most + 1, static_cast<std::int64_t>(sizes.least));
  if (sizes.is_tall) return {ops::transposed_matrices(w), s, j};
  return {ops::transposed_matrices(j), s, w};
}

std::vector<Sample> svd_samples() {
  std::vector<Sample> samples;
  ops::add_known_samples(samples, {{1, 1}, {3, 3}, {2, 3, 2}, {0, 2, 2}, {2, 4}},
                         [](const Tensor& x) { return svdvals(ops::apart(x)); });
  ops::add_known_samples(samples, {{1, 1}, {2, 2}, {2, 3, 2}, {2, 3}}, [](const Tensor& x) {
    const auto [u, s, vh] = svd(ops::apart(x));
    return concatenate({u, expand_dims(s, -2), ops::transposed_matrices(vh)}, -2);
  });
  ops::add_known_samples(
      samples, {{17, 4, 5}, {2, 0, 3, 3}}, [](const Tensor& x) { return svd(ops::apart(x)).s; },
      false);
  return samples;
}

}  // namespace

// Of A (..., m, n), with k = min(m, n), its singular values s (..., k), descending, or (..., k, 1 +
// m + n): in row i s_i, then column i of u and row i of vh, the longer one first. integers:
// PartsView.
constinit const OpRecord small_svd_op = {.name = "small_svd",
                                         .kind = OpKind::write,
                                         .cost = 500,
                                         .observable = true,
                                         .infer = svd_type,
                                         .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
                                           const Tensors inputs = {y.node().inputs[0]};
                                           const TensorType& a = inputs[0].type();
                                           if (!PartsView(y.node().attributes).all)
                                             return ops::svdvals_gradient(inputs, {}, Tensors{g});
                                           return ops::svd_gradient(inputs, svd_parts(y, a),
                                                                    svd_parts(g, a));
                                         },
                                         .write = svd_write,
                                         .reference = svd_reference,
                                         .batch = ops::batch_elementwise<small_svd_op>,
                                         .samples = svd_samples};

namespace ops {

Tensor small_svdvals(const Tensor& a) {
  return apply(small_svd_op, {a}, PartsView(false).attributes());
}
Tensors small_svd(const Tensor& a) {
  return svd_parts(apply(small_svd_op, {a}, PartsView(true).attributes()), a.type());
}

}  // namespace ops

}  // namespace kroton
