// Products of matrices.
#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

// The last two axes as the product sees them.
struct MatrixSizes {
  Dim rows, columns;
};

MatrixSizes sizes_of(const TensorType& type, bool transposed) {
  const Dim& first = type.shape[at(type.rank() - 2)];
  const Dim& second = type.shape[at(type.rank() - 1)];
  return transposed ? MatrixSizes{second, first} : MatrixSizes{first, second};
}

TensorType dot_type(TypeContext& context) {
  const TensorType& a = context.input(0);
  const TensorType& b = context.input(1);
  ops::require(context, Accepts::floating);
  if (a.dtype != b.dtype) {
    context.fail_type("dtypes differ");
  }
  if (a.rank() != b.rank() || a.rank() < 2) {
    context.fail_shape("takes two operands of one rank of at least 2");
  }
  TensorType type{a.dtype, {}};
  for (int axis = 0; axis + 2 < a.rank(); ++axis) {
    type.shape.push_back(
        context.equal(a.shape[at(axis)], b.shape[at(axis)], ops::sizes_differ(axis, a.rank())));
  }
  const MatrixSizes left = sizes_of(a, context.attributes().integers[0] != 0);
  const MatrixSizes right = sizes_of(b, context.attributes().integers[1] != 0);
  context.equal(left.columns, right.rows, "inner sizes differ");
  type.shape.push_back(left.rows);
  type.shape.push_back(right.columns);
  return type;
}

Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  Attributes attributes;
  attributes.integers = {transpose_a ? 1 : 0, transpose_b ? 1 : 0};
  return ops::apply(dot_op, {a, b}, std::move(attributes));
}

Tensors dot_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& a = y.node().inputs[0];
  const Tensor& b = y.node().inputs[1];
  const bool ta = y.node().attributes.integers[0] != 0;
  const bool tb = y.node().attributes.integers[1] != 0;
  return {ta ? product(b, g, tb, true) : product(g, b, false, !tb),
          tb ? product(g, a, true, ta) : product(a, g, !ta, false)};
}

void dot_reference(ReferenceContext& c) {
  const ReferenceValue& a = *c.inputs[0];
  const ReferenceValue& b = *c.inputs[1];
  const std::size_t rank = a.shape.size();
  const bool ta = c.attributes.integers[0] != 0;
  const bool tb = c.attributes.integers[1] != 0;
  const std::int64_t inner = a.shape[ta ? rank - 2 : rank - 1];
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& position) {
    ops::Position left = position, right = position;
    ops::CompensatedSum total;
    for (std::int64_t k = 0; k < inner; ++k) {
      left[rank - 2] = ta ? k : position[rank - 2];
      left[rank - 1] = ta ? position[rank - 2] : k;
      right[rank - 2] = tb ? position[rank - 1] : k;
      right[rank - 1] = tb ? k : position[rank - 1];
      total.add(a.data[static_cast<std::size_t>(ops::offset_of(a.shape, left))] *
                b.data[static_cast<std::size_t>(ops::offset_of(b.shape, right))]);
    }
    c.output.data[next++] = total.value();
  });
}

ContractionRoles dot_roles(const Attributes& attributes, const Dims& a, const Dims&) {
  ContractionRoles roles;
  for (std::size_t axis = 0; axis + 2 < a.size(); ++axis) roles.batch.push_back(axis);
  roles.rows = {a.size() - 2};
  roles.columns = {a.size() - 1};
  roles.inner = {a[a.size() - (attributes.integers[0] != 0 ? 2 : 1)]};
  return roles;
}

Factors dot_factors(const Attributes& attributes, const Index& result, const Index& inner) {
  const Index batch(result.begin(), result.end() - 2);
  const auto matrix = [&](const loop::Expr& row, const loop::Expr& column, bool transposed) {
    Index index = batch;
    index.push_back(transposed ? column : row);
    index.push_back(transposed ? row : column);
    return index;
  };
  return {matrix(result.end()[-2], inner[0], attributes.integers[0] != 0),
          matrix(inner[0], result.back(), attributes.integers[1] != 0)};
}

// (count, r, c) -> (count, c, r): no element moves when one of the two is 1.
Tensor swap_matrix_axes(const Tensor& x) {
  const bool moves = !x.shape(1).is_constant(1) && !x.shape(2).is_constant(1);
  return moves ? swapaxes(x, 1, 2) : reshape(x, {x.shape(0), x.shape(2), x.shape(1)});
}

// Matrices of which one is the same for all rows give one product: the other's rows are merged into
// the axis that the product keeps, (count, m, k) x (k, n) = (count * m, k) x (k, n). Only where
// that would transpose whole matrices for the sake of a vector are they left in place.
Tensor dot_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                 const Attributes& attributes, const Dim& count) {
  const std::size_t varying = mapped[0] ? 0 : 1;
  const Tensor& matrices = operands[varying];
  const Tensor& fixed = operands[1 - varying];
  // As merging wants it, the inner axis is the last of `matrices` and the first of `fixed`.
  const bool matrices_swapped = (attributes.integers[varying] != 0) == (varying == 0);
  const bool fixed_swapped = (attributes.integers[1 - varying] != 0) == (varying == 0);
  const bool both = mapped[0] && mapped[1];
  if (both || matrices.rank() != 3) {
    return ops::apply(dot_op, ops::with_rows(operands, mapped, count), attributes);
  }
  const Dim& kept = matrices.shape(matrices_swapped ? 2 : 1);
  const Dim& result = fixed.shape(fixed_swapped ? 0 : 1);
  if (matrices_swapped && !kept.is_constant(1) && result.is_constant(1)) {
    return ops::apply(dot_op, ops::with_rows(operands, mapped, count), attributes);
  }
  const Tensor rows = matrices_swapped ? swap_matrix_axes(matrices) : matrices;
  const Tensor merged = reshape(rows, {count * kept, rows.shape(2)});
  const Tensor y = reshape(product(merged, fixed, false, fixed_swapped), {count, kept, result});
  return varying == 0 ? y : swap_matrix_axes(y);
}

std::vector<Sample> dot_samples() {
  std::vector<Sample> samples;
  const auto pair = [&](const ops::HostShape& x, const ops::HostShape& y, const ops::Apply& apply,
                        DType dtype) {
    samples.push_back({{ops::spread(dtype, x, -2, 2, 1), ops::spread(dtype, y, -2, 2, 2)},
                       apply,
                       is_float(dtype)});
  };
  const ops::Apply with_dot = [](std::span<const Tensor> in) { return dot(in[0], in[1]); };
  const ops::Apply with_matmul = [](std::span<const Tensor> in) { return matmul(in[0], in[1]); };
  for (DType dtype : ops::dtypes_of(ops::floating)) {
    for (const auto& [x, y] :
         std::vector<std::pair<ops::HostShape, ops::HostShape>>{{{17}, {17}},
                                                                {{0}, {0}},
                                                                {{3, 17}, {17}},
                                                                {{17}, {17, 3}},
                                                                {{1, 1}, {1, 1}},
                                                                {{3, 17}, {17, 5}},
                                                                {{17, 3}, {3, 17}},
                                                                {{3, 0}, {0, 5}},
                                                                {{0, 3}, {3, 5}},
                                                                {{3, 4}, {4, 0}},
                                                                {{}, {3, 5}}}) {
      pair(x, y, with_dot, dtype);
    }
    for (const auto& [x, y] :
         std::vector<std::pair<ops::HostShape, ops::HostShape>>{{{3, 17}, {17, 5}},
                                                                {{3}, {3}},
                                                                {{2, 3, 5}, {2, 5, 4}},
                                                                {{2, 3, 5}, {5, 4}},
                                                                {{3, 5}, {2, 5, 1}},
                                                                {{2, 1, 3, 5}, {3, 5, 4}},
                                                                {{5}, {2, 5, 3}},
                                                                {{2, 3, 5}, {5}}}) {
      pair(x, y, with_matmul, dtype);
    }
    // Both flags, as gradients use them.
    pair(
        {17, 3}, {17, 5},
        [](std::span<const Tensor> in) { return product(in[0], in[1], true, false); }, dtype);
    pair(
        {3, 17}, {5, 17},
        [](std::span<const Tensor> in) { return product(in[0], in[1], false, true); }, dtype);
    pair(
        {2, 17, 3}, {2, 5, 17},
        [](std::span<const Tensor> in) { return product(in[0], in[1], true, true); }, dtype);
  }
  for (DType dtype : ops::dtypes_of(ops::integer)) {
    pair({3, 17}, {17, 5}, with_dot, dtype);
    pair({3}, {3}, with_dot, dtype);
  }
  return samples;
}

// Vectors, matrices and batches of them: any two whose inner sizes are equal.
void draw_dot(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::number, 1, 3);
  const TensorType type = d[x].type();
  const int rank = type.rank();
  if (rank == 1 && d.one_in(2)) {
    d.call("outer", outer, x, d.operand(ops::number, 1, 1));
    return;
  }
  Dims other = {type.shape.back()};
  if (rank == 3 || d.one_in(2)) other.push_back(d.size());
  if (rank == 3 && d.one_in(2)) other.insert(other.begin(), type.shape[0]);
  const ops::Slot y = d.of_type({type.dtype, other});
  if (rank < 3 && other.size() < 3 && d.one_in(2)) {
    d.call("dot", dot, x, y);
  } else {
    d.call("matmul", matmul, x, y);
  }
}

}  // namespace

// y = op(a) x op(b), floating point only: (b..., m, k) x (b..., k, n) -> (b..., m, n).
// attributes.integers = {transpose_a, transpose_b}: whether the last two axes of an operand are
// swapped, (b..., k, m) or (b..., n, k).   vjp: da = dy x op(b)^T, db = op(a)^T x dy
constinit const OpRecord dot_op = {.name = "dot",
                                   .kind = OpKind::contraction,
                                   .arity = 2,
                                   .linear = Linear::each,
                                   .infer = dot_type,
                                   .vjp = dot_vjp,
                                   .roles = dot_roles,
                                   .factors = dot_factors,
                                   .reference = dot_reference,
                                   .batch = dot_batch,
                                   .draw = draw_dot,
                                   .samples = dot_samples};

namespace {

// (..., m, k) x (..., k, n) of equal ranks. Integers have no matrix kernels and are few: they are
// multiplied and added.
Tensor multiply(const Tensor& a, const Tensor& b) {
  if (is_float(a.dtype())) {
    return product(a, b, false, false);
  }
  return cast(sum(expand_dims(a, -1) * expand_dims(b, -3), -2), a.dtype());
}

// NumPy's matmul, its errors in the name of `op`.
Tensor matrix_product(const OpRecord& op, const Operand& left, const Operand& right) {
  const std::vector<Tensor> operands = ops::promoted(left, right);
  const Tensor& x = operands[0];
  const Tensor& y = operands[1];
  if (x.dtype() == DType::boolean) {
    ops::fail_type(op, operands, "takes numbers only");
  }
  if (x.rank() == 0 || y.rank() == 0) {
    ops::fail_shape(op, operands, "takes no scalars");
  }
  const Dim& inner = x.shape(x.rank() - 1);
  const Dim& other = y.shape(y.rank() == 1 ? 0 : y.rank() - 2);
  if (inner.is_constant() && other.is_constant() && inner != other) {
    ops::fail_shape(op, operands, "inner sizes differ");
  }
  // A vector is a row on the left and a column on the right; the axis it lacks leaves the result.
  const Tensor rows = x.rank() == 1 ? expand_dims(x, 0) : x;
  const Tensor columns = y.rank() == 1 ? expand_dims(y, 1) : y;
  const Dims row_batch(rows.shape().begin(), rows.shape().end() - 2);
  const Dims column_batch(columns.shape().begin(), columns.shape().end() - 2);
  Dims shape = ops::common_shape(op, operands, {row_batch, column_batch});
  Tensor result;
  if (columns.rank() == 2) {
    // One matrix on the right serves every row on the left: one large product.
    const Dim count = element_count(row_batch) * rows.shape(rows.rank() - 2);
    result = multiply(reshape(rows, {count, inner}), columns);
  } else {
    const auto batched = [&](const Tensor& t) {
      Dims target = shape;
      target.insert(target.end(), t.shape().end() - 2, t.shape().end());
      return ops::broadcast_towards(t, target);
    };
    result = multiply(batched(rows), batched(columns));
    shape.assign(result.shape().begin(), result.shape().end() - 2);
  }
  if (x.rank() > 1) {
    shape.push_back(rows.shape(rows.rank() - 2));
  }
  if (y.rank() > 1) {
    shape.push_back(columns.shape(columns.rank() - 1));
  }
  return reshape(result, shape);
}

}  // namespace

Tensor dot(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  if (x.is_literal() || y.is_literal() || x.tensor().rank() == 0 || y.tensor().rank() == 0) {
    return mul(x, y);
  }
  if (x.tensor().rank() > 2 || y.tensor().rank() > 2) {
    ops::fail_shape(dot_op, {x.tensor(), y.tensor()}, "takes ranks up to 2; use matmul");
  }
  return matrix_product(dot_op, x, y);
}

Tensor matmul(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  return matrix_product(OpRecord{.name = "matmul"}, x, y);
}

Tensor outer(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  if (x.tensor().rank() != 1 || y.tensor().rank() != 1) {
    ops::fail_shape(OpRecord{.name = "outer"}, {x.tensor(), y.tensor()}, "takes two vectors");
  }
  return expand_dims(x, 1) * expand_dims(y, 0);
}

}  // namespace kroton
