// Small matrices of known size: each operation is written out on the elements, in one loop over the
// matrices of a batch, whose vectors have a matrix in each lane. No branch depends on a value: rows
// change places by selection.
#include "compiler/ops/small_matrices.h"

#include <kroton/linalg.h>

#include <algorithm>

#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using loop::Expr;
using loop::Op;
using ops::known_size;

// The elements of one matrix, as expressions.
class Elements {
 public:
  Elements(std::int64_t rows, std::int64_t columns)
      : columns_(at(columns)), all_(at(rows * columns)) {}
  Expr& operator()(std::size_t row, std::size_t column) { return all_[row * columns_ + column]; }
  const Expr& operator()(std::size_t row, std::size_t column) const {
    return all_[row * columns_ + column];
  }
  std::size_t columns() const { return columns_; }

 private:
  std::size_t columns_;
  std::vector<Expr> all_;
};

Expr divided(const Expr& a, const Expr& b) { return loop::binary(Op::div, a, b); }
// a - b * c, rounded once.
Expr minus_product(const Expr& a, const Expr& b, const Expr& c) {
  return loop::fma(loop::unary(Op::neg, b), c, a);
}

// The loop over the matrices: `body` gets the index of one, and its number.
void for_each_matrix(WriteContext& context, int axes_behind,
                     const std::function<void(const Index& batch, const Expr& number)>& body) {
  const Dims& shape = context.type().shape;
  const Dims batch(shape.begin(), shape.end() - axes_behind);
  context.nest(batch, [&](const Index& index) {
    Expr number = loop::integer(0);
    for (std::size_t axis = 0; axis < batch.size(); ++axis) {
      number = number * loop::size(batch[axis]) + index[axis];
    }
    body(index, number);
  });
}

Index inside(Index batch, std::size_t row, std::size_t column) {
  batch.push_back(loop::integer(static_cast<std::int64_t>(row)));
  batch.push_back(loop::integer(static_cast<std::int64_t>(column)));
  return batch;
}

Elements read(WriteContext& context, int k, const Index& batch) {
  const TensorType& type = context.input_type(k);
  Elements result(known_size(type, -2), known_size(type, -1));
  for (std::size_t i = 0; i < at(known_size(type, -2)); ++i) {
    for (std::size_t j = 0; j < result.columns(); ++j) {
      result(i, j) = context.input(k, inside(batch, i, j));
    }
  }
  return result;
}

// The position from 1 on of the first that does not hold, 0 if all do.
Expr first_failing(const std::vector<Expr>& conditions) {
  Expr position = loop::integer(0);
  for (std::size_t k = conditions.size(); k-- > 0;) {
    position =
        loop::select(conditions[k], position, loop::integer(static_cast<std::int64_t>(k) + 1));
  }
  return position;
}

// `value`, which ends the call where a condition does not hold; `first` is the number of the first.
Expr checked(WriteContext& context, const Expr& value, const Expr& number,
             const std::vector<Expr>& conditions, std::int64_t first, const char* text) {
  const Expr failing = first_failing(conditions);
  return context.check(value, loop::binary(Op::eq, failing, loop::integer(0)), number,
                       failing + loop::integer(first - 1),
                       ops::matrix_error(text, context.input_type(0).rank()));
}

Expr zero_of(WriteContext& context) { return loop::real(0, context.type().dtype); }

// ---- The operations

void cholesky_write(WriteContext& context) {
  const auto n = at(known_size(context.type(), -1));
  for_each_matrix(context, 2, [&](const Index& batch, const Expr& number) {
    Elements l(known_size(context.type(), -1), known_size(context.type(), -1));
    std::vector<Expr> positive;
    const Expr zero = zero_of(context);
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = j; i < n; ++i) {
        Expr sum = context.input(0, inside(batch, i, j));
        for (std::size_t k = 0; k < j; ++k) sum = minus_product(sum, l(i, k), l(j, k));
        if (i == j) {
          positive.push_back(loop::binary(Op::lt, zero, sum));
          l(j, j) = loop::unary(Op::sqrt, sum);
        } else {
          l(i, j) = divided(sum, l(j, j));
          l(j, i) = zero;
        }
      }
    }
    if (n > 0) l(0, 0) = checked(context, l(0, 0), number, positive, 1, ops::not_positive_definite);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) context.store(inside(batch, i, j), l(i, j));
    }
  });
}

void triangular_write(WriteContext& context) {
  const ops::TriangleView how(context.attributes());
  const auto n = at(known_size(context.type(), -2));
  const auto columns = at(known_size(context.type(), -1));
  for_each_matrix(context, 2, [&](const Index& batch, const Expr& number) {
    const Elements l = read(context, 0, batch);
    Elements x = read(context, 1, batch);
    const auto element = [&](std::size_t i, std::size_t j) {
      return how.transposed ? l(j, i) : l(i, j);
    };
    const bool forwards = how.lower != how.transposed;
    std::vector<Expr> solvable;
    for (std::size_t i = 0; i < n; ++i) {
      solvable.push_back(loop::binary(Op::ne, l(i, i), zero_of(context)));
    }
    for (std::size_t step = 0; step < n; ++step) {
      const std::size_t i = forwards ? step : n - 1 - step;
      for (std::size_t c = 0; c < columns; ++c) {
        for (std::size_t before = 0; before < step; ++before) {
          const std::size_t j = forwards ? before : n - 1 - before;
          x(i, c) = minus_product(x(i, c), element(i, j), x(j, c));
        }
        x(i, c) = divided(x(i, c), l(i, i));
      }
    }
    if (n > 0 && columns > 0)
      x(0, 0) = checked(context, x(0, 0), number, solvable, 0, ops::singular_triangle);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < columns; ++c) context.store(inside(batch, i, c), x(i, c));
    }
  });
}

// Gauss' elimination of the first n columns with the largest pivot of each; `exchanged` is told of
// every comparison on which two rows change places.
void eliminate(Elements& m, std::size_t n, const std::function<void(const Expr&)>& exchanged) {
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t r = c + 1; r < n; ++r) {
      const Expr larger =
          loop::binary(Op::lt, loop::unary(Op::abs, m(c, c)), loop::unary(Op::abs, m(r, c)));
      exchanged(larger);
      for (std::size_t j = c; j < m.columns(); ++j) {
        const Expr upper = m(c, j), lower = m(r, j);
        m(c, j) = loop::select(larger, lower, upper);
        m(r, j) = loop::select(larger, upper, lower);
      }
    }
    // Below a pivot of 0 there are zeros only.
    const Expr zero = loop::real(0, m(c, c)->dtype), one = loop::real(1, m(c, c)->dtype);
    const Expr pivot = loop::select(loop::binary(Op::eq, m(c, c), zero), one, m(c, c));
    for (std::size_t r = c + 1; r < n; ++r) {
      const Expr factor = divided(m(r, c), pivot);
      for (std::size_t j = c + 1; j < m.columns(); ++j) {
        m(r, j) = minus_product(m(r, j), factor, m(c, j));
      }
    }
  }
}

void solve_write(WriteContext& context) {
  const ops::SolveView how(context.attributes());
  const auto n = at(known_size(context.type(), -2));
  const auto columns = at(known_size(context.type(), -1));
  for_each_matrix(context, 2, [&](const Index& batch, const Expr& number) {
    const Elements a = read(context, 0, batch), b = read(context, 1, batch);
    Elements m(static_cast<std::int64_t>(n), static_cast<std::int64_t>(n + columns));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) m(i, j) = how.transposed ? a(j, i) : a(i, j);
      for (std::size_t c = 0; c < columns; ++c) m(i, n + c) = b(i, c);
    }
    eliminate(m, n, [](const Expr&) {});
    std::vector<Expr> solvable;
    for (std::size_t i = 0; i < n; ++i) {
      solvable.push_back(loop::binary(Op::ne, m(i, i), zero_of(context)));
    }
    for (std::size_t i = n; i-- > 0;) {
      for (std::size_t c = n; c < n + columns; ++c) {
        for (std::size_t j = i + 1; j < n; ++j) m(i, c) = minus_product(m(i, c), m(i, j), m(j, c));
        m(i, c) = divided(m(i, c), m(i, i));
      }
    }
    if (how.checked && n > 0 && columns > 0) {
      m(0, n) = checked(context, m(0, n), number, solvable, 0, ops::singular_matrix);
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < columns; ++c) context.store(inside(batch, i, c), m(i, n + c));
    }
  });
}

void pivots_write(WriteContext& context) {
  const auto n = at(known_size(context.type(), -1));
  for_each_matrix(context, 1, [&](const Index& batch, const Expr&) {
    Elements m = read(context, 0, batch);
    Expr odd = loop::boolean_constant(false);
    eliminate(m, n, [&](const Expr& larger) { odd = loop::binary(Op::ne, odd, larger); });
    for (std::size_t i = 0; i < n; ++i) {
      Index index = batch;
      index.push_back(loop::integer(static_cast<std::int64_t>(i)));
      const Expr pivot = m(i, i);
      context.store(index, i == 0 ? loop::select(odd, loop::unary(Op::neg, pivot), pivot) : pivot);
    }
  });
}

// ---- Samples

// Of matrices (..., n, n), and as many with `columns` columns if asked for. `known`: of known
// sizes, which these ops take only; of free ones `free`, the same by the op that chooses.
std::vector<Sample> samples_of(bool have_right_sides, const ops::Apply& known,
                               const ops::Apply& free) {
  std::vector<Sample> samples;
  const std::pair<std::int64_t, std::int64_t> sizes[] = {{1, 1}, {2, 3}, {3, 1}, {5, 2}};
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    for (const auto& [n, columns] : sizes) {
      for (const ops::HostShape& batch : {ops::HostShape{}, {17}, {2, 0}, {3, 1}}) {
        ops::HostShape a = batch, b = batch;
        a.insert(a.end(), {n, n});
        b.insert(b.end(), {n, columns});
        std::vector<ReferenceValue> inputs = {ops::spread(dtype, a, -2, 2, 1)};
        if (have_right_sides) inputs.push_back(ops::spread(dtype, b, -2, 2, 2));
        samples.push_back({inputs,
                           [=](std::span<const Tensor> in) {
                             const bool are_known = std::ranges::all_of(
                                 in, [](const Tensor& x) { return ops::is_small(x.shape(-1)); });
                             return are_known ? known(in) : free(in);
                           },
                           false});
      }
    }
  }
  return samples;
}

// Whose rows change places, but never by a tie that rounding decides.
Tensor dominant(const Tensor& x) {
  const Tensor backwards = eq(ops::row_of(x) + ops::column_of(x), size_of_dim(x.shape(-1)) - 1);
  return where(backwards, x + 9, x);
}

Tensor definite(const Tensor& x) {
  const Tensor square = matmul(x, ops::transposed_matrices(x));
  return square + 2 * ops::identity_like(square);
}

}  // namespace

// L (..., n, n) of a (..., n, n), as cholesky.
constinit const OpRecord small_cholesky_op = {
    .name = "small_cholesky",
    .kind = OpKind::write,
    .cost = 100,
    .observable = true,
    .infer = ops::square_type,
    .write = cholesky_write,
    .reference = ops::cholesky_reference,
    .batch = ops::batch_elementwise<small_cholesky_op>,
    .samples = [] {
      return samples_of(
          false,
          [](std::span<const Tensor> in) {
            return ops::apply(small_cholesky_op, {definite(in[0])});
          },
          [](std::span<const Tensor> in) { return cholesky(definite(in[0])); });
    }};

// X (..., n, k) of triangular L (..., n, n) and B (..., n, k), as solve_triangular. integers:
// TriangleView.
constinit const OpRecord small_triangular_op = {
    .name = "small_triangular",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 100,
    .observable = true,
    .infer = ops::solve_type,
    .write = triangular_write,
    .reference = ops::triangular_reference,
    .batch = ops::batch_elementwise<small_triangular_op>,
    .samples = [] {
      std::vector<Sample> samples;
      for (const bool lower : {true, false}) {
        for (const bool transposed : {true, false}) {
          const auto of = samples_of(
              true,
              [=](std::span<const Tensor> in) {
                return ops::apply(small_triangular_op,
                                  {in[0] + 4 * ops::identity_like(in[0]), in[1]},
                                  ops::TriangleView(transposed, lower).attributes());
              },
              [=](std::span<const Tensor> in) {
                return solve_triangular(in[0] + 4 * ops::identity_like(in[0]), in[1], transposed,
                                        lower);
              });
          samples.insert(samples.end(), of.begin(), of.end());
        }
      }
      return samples;
    }};

// X (..., n, k) of A (..., n, n) and B (..., n, k), as solve. integers: SolveView.
constinit const OpRecord small_solve_op = {
    .name = "small_solve",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 200,
    .observable = true,
    .infer = ops::solve_type,
    .write = solve_write,
    .reference = ops::solve_reference,
    .batch = ops::batch_elementwise<small_solve_op>,
    .samples = [] {
      return samples_of(
          true,
          [](std::span<const Tensor> in) {
            return ops::apply(small_solve_op, {definite(in[0]), in[1]},
                              ops::SolveView(true, true).attributes());
          },
          [](std::span<const Tensor> in) { return solve(definite(in[0]), in[1]); });
    }};

// The pivots (..., n) of A (..., n, n), of which the first has the sign of the exchanges of rows:
// their product is the determinant.
constinit const OpRecord small_pivots_op = {
    .name = "small_pivots",
    .kind = OpKind::write,
    .cost = 100,
    .infer = ops::pivots_type,
    .write = pivots_write,
    .reference = ops::pivots_reference,
    .batch = ops::batch_elementwise<small_pivots_op>,
    .samples = [] {
      return samples_of(
          false,
          [](std::span<const Tensor> in) {
            return prod(ops::apply(small_pivots_op, {dominant(in[0])}), -1);
          },
          [](std::span<const Tensor> in) { return det(dominant(in[0])); });
    }};

}  // namespace kroton
