// Products of sparse and dense matrices, by loops over the stored elements of each row, or each
// column. Both ops have both orders of the pattern as operands, so that one is the gradient of the
// other whichever way it goes.
#include <algorithm>

#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/sparse_pattern.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using loop::Expr;

// Operands 0 and 1 are what is multiplied; then comes the pattern.
enum : std::uint8_t { row_pointers = 2, columns, column_pointers, rows, order, row_of_each };
constexpr int operand_count = 8;

// By rows, or by columns: a transposed matrix.
struct Way {
  explicit Way(bool is_transposed) : transposed(is_transposed) {}
  explicit Way(const Attributes& attributes) : Way(attributes.integers.at(0) != 0) {}
  Attributes attributes() const {
    Attributes result;
    result.integers = {transposed ? 1 : 0};
    return result;
  }
  Way other() const { return Way(!transposed); }
  int pointers() const { return transposed ? column_pointers : row_pointers; }
  int places() const { return transposed ? rows : columns; }

  bool transposed;
};

Dim rows_of(const TensorType& pointers) { return pointers.shape[0] - 1; }

Tensor product(const Tensor& like, const OpRecord& op, const Tensor& a, const Tensor& b, Way way) {
  Tensors inputs = like.node().inputs;
  inputs[0] = a;
  inputs[1] = b;
  return ops::apply(op, std::move(inputs), way.attributes());
}

// ---- Shapes. A dense operand is (size,), (size, k), or (batch, size, k); the values that go with
// it
// ---- are (nnz,), or (batch, nnz).

struct Layout {
  explicit Layout(const TensorType& dense) : batch(dense.rank() == 3 ? 1 : 0), rank(dense.rank()) {}
  Dims values(const Dims& dense, const Dim& nnz) const {
    Dims shape(dense.begin(), dense.begin() + batch);
    shape.push_back(nnz);
    return shape;
  }
  // The shape of `dense` with that many rows.
  Dims with_rows(Dims dense, const Dim& count) const {
    dense[static_cast<std::size_t>(batch)] = count;
    return dense;
  }
  std::size_t batch;  // how many axes stand before that of the rows
  int rank;
};

void require_numbers(TypeContext& context) {
  const TensorType &a = context.input(0), &b = context.input(1);
  if (a.dtype == DType::boolean || a.dtype != b.dtype) {
    context.fail_type("takes numbers of one dtype");
  }
}

// The size of the rows of a dense operand, which the matrix fixes.
void require_rows(TypeContext& context, int k, const Dim& expected) {
  const Dim& size = context.input(k).shape[Layout(context.input(k)).batch];
  context.require_equal(size, expected,
                        "dot: the dense operand has %0 where the sparse matrix, (" +
                            rows_of(context.input(row_pointers)).to_string() + ", " +
                            rows_of(context.input(column_pointers)).to_string() + "), takes %1",
                        {size, expected});
}

TensorType sparse_dot_type(TypeContext& context) {
  require_numbers(context);
  const Way way(context.attributes());
  const TensorType &values = context.input(0), &x = context.input(1);
  const Layout layout(x);
  if (x.rank() < 1 || x.rank() > 3 || values.shape.size() != layout.batch + 1) {
    context.fail_shape("takes values (batch, nnz) with matrices (batch, size, k)");
  }
  if (layout.batch == 1) context.equal(values.shape[0], x.shape[0], "sizes of the batch differ");
  context.equal(values.shape.back(), context.input(columns).shape[0],
                "the values are not as many as the stored elements");
  require_rows(context, 1, rows_of(context.input(way.other().pointers())));
  return {x.dtype, layout.with_rows(x.shape, rows_of(context.input(way.pointers())))};
}

TensorType sampled_dot_type(TypeContext& context) {
  require_numbers(context);
  const TensorType &x = context.input(0), &y = context.input(1);
  const Layout layout(x);
  if (x.rank() < 1 || x.rank() > 3 || x.rank() != y.rank()) {
    context.fail_shape("takes two matrices, vectors or batches of matrices");
  }
  require_rows(context, 0, rows_of(context.input(row_pointers)));
  require_rows(context, 1, rows_of(context.input(column_pointers)));
  for (std::size_t axis = 0; axis < x.shape.size(); ++axis) {
    if (axis == layout.batch) continue;
    context.equal(x.shape[axis], y.shape[axis],
                  ops::sizes_differ(static_cast<int>(axis), x.rank()));
  }
  return {x.dtype, layout.values(x.shape, context.input(columns).shape[0])};
}

// ---- Loops

Expr integer_at(WriteContext& context, int k, const Expr& position) {
  return loop::cast(context.input(k, {position}), DType::i64);
}

// The stored elements of row i, or column i: `body` gets each one's position in that order.
void for_each_stored(WriteContext& context, Way way, const Expr& i,
                     const std::function<void(const Expr& position)>& body) {
  const Expr first = integer_at(context, way.pointers(), i);
  const Expr last = integer_at(context, way.pointers(), i + loop::integer(1));
  // For estimates of the work: how many there are on average.
  const Dim all = context.input_type(columns).shape[0];
  const Dim count = ceil_div(all, maximum(rows_of(context.input_type(way.pointers())), 1));
  context.loop(last - first, count, [&](const Expr& k) { body(first + k); });
}

// Each element of the result from the stored elements of its row, or column.
void gather_products(WriteContext& context, Way way) {
  const Dims& shape = context.type().shape;
  const Layout layout(context.type());
  const auto behind = static_cast<std::ptrdiff_t>(layout.batch) + 1;
  const Expr zero = loop::whole_number(0, context.type().dtype);
  context.independent_nest(Dims(shape.begin(), shape.begin() + behind), [&](const Index& row) {
    const auto at = [&](const Expr& place, const Index& column) {
      Index index(row.begin(), row.end() - 1);
      index.push_back(place);
      index.insert(index.end(), column.begin(), column.end());
      return index;
    };
    const auto for_each_column = [&](const std::function<void(const Index& column)>& body) {
      const Dims width(shape.begin() + behind, shape.end());
      width.empty() ? body({}) : context.nest(width, body);
    };
    const Expr& i = row.back();
    for_each_column([&](const Index& column) { context.store(at(i, column), zero); });
    for_each_stored(context, way, i, [&](const Expr& position) {
      const Expr entry = way.transposed ? integer_at(context, order, position) : position;
      const Expr value = context.input(0, at(entry, {}));
      const Expr place = integer_at(context, way.places(), position);
      for_each_column([&](const Index& column) {
        context.store(at(i, column),
                      context.stored(at(i, column)) + value * context.input(1, at(place, column)));
      });
    });
  });
}

// Of a vector A^T x: the values are read in their order, not one here and one there, and the parts
// of the rows add to sums of their own, which lie in a cache. How many parts there are does not
// depend on the machine, so that the result does not.
void scatter_products(WriteContext& context, std::int64_t parts) {
  const Dim size = context.type().shape[0], all_rows = context.input_type(1).shape[0];
  const Dim rows_of_part = ceil_div(all_rows, parts);
  const WriteContext::Scratch sums = context.scratch(context.type().dtype, {parts, size});
  const Expr zero = loop::whole_number(0, context.type().dtype);
  context.independent_nest({parts}, [&](const Index& part) {
    context.nest({size}, [&](const Index& j) { context.store(sums, {part[0], j[0]}, zero); });
    const Expr first =
        loop::binary(loop::Op::min, part[0] * loop::size(rows_of_part), loop::size(all_rows));
    const Expr count =
        loop::binary(loop::Op::min, loop::size(all_rows) - first, loop::size(rows_of_part));
    context.loop(count, rows_of_part, [&](const Expr& k) {
      const Expr i = first + k;
      const Expr x = context.input(1, {i});
      for_each_stored(context, Way(false), i, [&](const Expr& position) {
        const Index there{part[0], integer_at(context, columns, position)};
        context.store(sums, there, context.stored(sums, there) + context.input(0, {position}) * x);
      });
    });
  });
  context.nest({size}, [&](const Index& j) {
    Expr sum = context.stored(sums, {loop::integer(0), j[0]});
    for (std::int64_t part = 1; part < parts; ++part) {
      sum = sum + context.stored(sums, {loop::integer(part), j[0]});
    }
    context.store(j, sum);
  });
}

void sparse_dot_write(WriteContext& context) {
  const Way way(context.attributes());
  if (way.transposed && context.type().rank() == 1 && !context.is_for_gpu()) {
    // So many that what it takes to add them up stays below the products.
    const std::int64_t nnz = context.input_type(columns).shape[0].constant();
    const std::int64_t size = context.type().shape[0].constant();
    scatter_products(context, std::clamp<std::int64_t>(nnz / (4 * size + 1), 1, 8));
  } else {
    gather_products(context, way);
  }
}

// ---- References

// `body` of each stored element: its position among the values, its row and its column in A or A^T.
void for_each_stored(
    const ReferenceContext& c, Way way,
    const std::function<void(std::size_t position, std::size_t row, std::size_t column)>& body) {
  const auto at = [&](int k, std::size_t i) {
    return static_cast<std::size_t>(
        static_cast<std::int64_t>(c.inputs[static_cast<std::size_t>(k)]->data[i]));
  };
  const std::size_t count = c.inputs[static_cast<std::size_t>(way.pointers())]->data.size() - 1;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t p = at(way.pointers(), i); p < at(way.pointers(), i + 1); ++p) {
      body(way.transposed ? at(order, p) : p, i, at(way.places(), p));
    }
  }
}

// The sizes of a dense operand as (batch, size, k).
struct Extents {
  explicit Extents(const ReferenceValue& dense) {
    const std::size_t rank = dense.shape.size();
    if (rank == 3) batch = static_cast<std::size_t>(dense.shape[0]);
    rows = static_cast<std::size_t>(dense.shape[rank == 3 ? 1 : 0]);
    if (rank > 1) width = static_cast<std::size_t>(dense.shape[rank - 1]);
  }
  std::size_t at(std::size_t b, std::size_t i, std::size_t k) const {
    return (b * rows + i) * width + k;
  }
  std::size_t batch = 1, rows = 0, width = 1;
};

void sparse_dot_reference(ReferenceContext& c) {
  const ReferenceValue &values = *c.inputs[0], &x = *c.inputs[1];
  const Extents from(x), to(c.output);
  const std::size_t nnz = c.inputs[columns]->data.size();
  std::vector<ops::CompensatedSum> sums(c.output.data.size());
  for (std::size_t b = 0; b < from.batch; ++b) {
    for_each_stored(c, Way(c.attributes), [&](std::size_t p, std::size_t i, std::size_t j) {
      for (std::size_t k = 0; k < from.width; ++k) {
        sums[to.at(b, i, k)].add(values.data[b * nnz + p] * x.data[from.at(b, j, k)]);
      }
    });
  }
  for (std::size_t i = 0; i < sums.size(); ++i) c.output.data[i] = sums[i].value();
}

void sampled_dot_reference(ReferenceContext& c) {
  const ReferenceValue &x = *c.inputs[0], &y = *c.inputs[1];
  const Extents left(x), right(y);
  const std::size_t nnz = c.inputs[columns]->data.size();
  for (std::size_t b = 0; b < left.batch; ++b) {
    for_each_stored(c, Way(false), [&](std::size_t p, std::size_t i, std::size_t j) {
      ops::CompensatedSum sum;
      for (std::size_t k = 0; k < left.width; ++k) {
        sum.add(x.data[left.at(b, i, k)] * y.data[right.at(b, j, k)]);
      }
      c.output.data[b * nnz + p] = sum.value();
    });
  }
}

// ---- Derivatives

Tensors sparse_dot_vjp(const Tensor& y, const Tensor& g) {
  const Way way(y.node().attributes);
  const Tensor &values = y.node().inputs[0], &x = y.node().inputs[1];
  Tensors result(operand_count);
  result[0] = way.transposed ? product(y, sampled_dot_op, x, g, Way(false))
                             : product(y, sampled_dot_op, g, x, Way(false));
  result[1] = product(y, sparse_dot_op, values, g, way.other());
  return result;
}

Tensors sampled_dot_vjp(const Tensor& z, const Tensor& g) {
  const Tensor &x = z.node().inputs[0], &y = z.node().inputs[1];
  Tensors result(operand_count);
  result[0] = product(z, sparse_dot_op, g, y, Way(false));
  result[1] = product(z, sparse_dot_op, g, x, Way(true));
  return result;
}

Tensor sampled_dot_expanded(std::span<const Tensor> inputs, const Attributes&) {
  const Layout layout(inputs[0].type());
  const auto axis = static_cast<int>(layout.batch);
  const Tensor products =
      take(inputs[0], inputs[row_of_each], axis) * take(inputs[1], inputs[columns], axis);
  return layout.rank == 1 ? products : cast(sum(products, -1), products.dtype());
}

// ---- Batch rules

// An operand (count, ...) of the rows, as one with the batch (count * batch,): `rank` is that
// without the rows, and what is missing up to `full` is added: a batch, then columns.
Tensor merged(const Tensor& x, std::size_t rank, std::size_t full, const Dim& count) {
  Dims shape(x.shape().begin() + 1, x.shape().end());
  if (rank == full) {
    shape[0] = count * shape[0];
  } else {
    shape.insert(shape.begin(), count);
  }
  while (shape.size() < full) shape.emplace_back(1);
  return reshape(x, shape);
}

Tensor batch_with_rows(const OpRecord& op, std::span<const Tensor> given,
                       const std::vector<bool>& mapped, const Attributes& attributes,
                       const Dim& count) {
  Tensors with(given.begin(), given.end());
  for (std::size_t k = 0; k < 2; ++k) {
    const bool is_values = k == 0 && &op == &sparse_dot_op;
    if (!mapped[k]) {
      with[k] = ops::broadcast_axes(given[k], ops::with_rows(count, given[k].shape()),
                                    ops::axes_from(1, given[k].rank()));
    }
    with[k] =
        merged(with[k], static_cast<std::size_t>(with[k].rank()) - 1, is_values ? 2 : 3, count);
  }
  const Tensor& dense = given[1];
  const int rank = dense.rank() - (mapped[1] ? 1 : 0);
  const Tensor y = ops::apply(op, std::move(with), attributes);
  // The shape of the result for one of the rows.
  Dims shape = y.shape();
  if (rank == 3) {
    shape[0] = dense.shape(mapped[1] ? 1 : 0);
  } else {
    shape.erase(shape.begin());
  }
  if (rank == 1 && &op == &sparse_dot_op) shape.pop_back();
  return reshape(y, ops::with_rows(count, shape));
}

bool has_one_pattern(const std::vector<bool>& mapped) {
  return std::none_of(mapped.begin() + 2, mapped.end(), [](bool m) { return m; });
}

// Rows of the dense operand alone are more of its columns.
Tensor sparse_dot_batch(std::span<const Tensor> given, const std::vector<bool>& mapped,
                        const Attributes& attributes, const Dim& count) {
  if (!has_one_pattern(mapped)) return Tensor();
  const int rank = given[1].rank() - 1;
  if (mapped[0] || rank == 3) {
    return batch_with_rows(sparse_dot_op, given, mapped, attributes, count);
  }
  Tensors with(given.begin(), given.end());
  const Tensor columns_last = ops::move_axis(given[1], 0, 1);  // (size, count), (size, count, k)
  const Dim size = columns_last.shape(0);
  if (rank == 1) {
    with[1] = columns_last;
    return transpose(ops::apply(sparse_dot_op, std::move(with), attributes));
  }
  const Dim width = columns_last.shape(2);
  with[1] = reshape(columns_last, {size, count * width});
  const Tensor y = ops::apply(sparse_dot_op, std::move(with), attributes);
  return ops::move_axis(reshape(y, {y.shape(0), count, width}), 1, 0);
}

Tensor sampled_dot_batch(std::span<const Tensor> given, const std::vector<bool>& mapped,
                         const Attributes& attributes, const Dim& count) {
  if (!has_one_pattern(mapped)) return Tensor();
  return batch_with_rows(sampled_dot_op, given, mapped, attributes, count);
}

// ---- Samples

using Pattern = std::shared_ptr<const ops::SparsePattern>;

// (5, 4): an empty row, a full row, columns in any order.
Pattern small_pattern() {
  return ops::SparsePattern::of_rows({5, 4}, {0, 2, 2, 6, 7, 8}, {3, 0, 0, 1, 2, 3, 1, 3});
}

// Of 17 rows and 9 columns, one has nearly all columns, one column has nothing.
Pattern larger_pattern() {
  std::vector<std::int64_t> pointers = {0}, places;
  for (std::int64_t i = 0; i < 17; ++i) {
    for (std::int64_t j = 0; j < 9; ++j) {
      if (j != 4 && (i == 3 || (i * 7 + j * 5) % 3 == 0)) places.push_back(j);
    }
    pointers.push_back(static_cast<std::int64_t>(places.size()));
  }
  return ops::SparsePattern::of_rows({17, 9}, pointers, places);
}

Pattern empty_pattern() { return ops::SparsePattern::of_rows({3, 2}, {0, 0, 0, 0}, {}); }

// The shape of a dense operand with that many rows; -1: no such axis.
ops::HostShape dense_shape(std::int64_t batch, std::int64_t size, std::int64_t width) {
  ops::HostShape shape = {size};
  if (width >= 0) shape.push_back(width);
  if (batch >= 0) shape.insert(shape.begin(), batch);
  return shape;
}

using Product = std::function<Tensor(const ops::SparsePattern&, std::span<const Tensor>)>;
// The shapes of both operands.
using Shapes = std::function<std::array<ops::HostShape, 2>(const ops::SparsePattern&,
                                                           std::int64_t batch, std::int64_t width)>;

std::vector<Sample> samples_of(const Shapes& shapes, const Product& product) {
  std::vector<Sample> samples;
  const auto add = [&](DType dtype, const Pattern& pattern, std::int64_t batch,
                       std::int64_t width) {
    const auto [a, b] = shapes(*pattern, batch, width);
    samples.push_back({{ops::spread(dtype, a, -2, 2, 1), ops::spread(dtype, b, -2, 2, 2)},
                       [=](std::span<const Tensor> in) { return product(*pattern, in); },
                       is_float(dtype)});
  };
  for (const DType dtype : ops::dtypes_of(ops::number)) {
    add(dtype, small_pattern(), -1, -1);
    add(dtype, small_pattern(), -1, 3);
  }
  add(DType::f32, larger_pattern(), -1, -1);
  add(DType::f32, larger_pattern(), 3, 5);
  add(DType::f32, empty_pattern(), 2, 3);
  add(DType::f64, larger_pattern(), -1, 17);
  add(DType::f64, small_pattern(), 2, 1);
  add(DType::f64, small_pattern(), -1, 0);
  add(DType::f64, empty_pattern(), -1, -1);
  return samples;
}

std::vector<Sample> sparse_dot_samples() {
  std::vector<Sample> samples;
  for (const bool transposed : {false, true}) {
    const auto shapes = [=](const ops::SparsePattern& p, std::int64_t batch, std::int64_t width) {
      ops::HostShape values = {p.nnz()};
      if (batch >= 0) values.insert(values.begin(), batch);
      return std::array{values, dense_shape(batch, p.shape[transposed ? 0 : 1], width)};
    };
    for (Sample& sample : samples_of(shapes, [=](const auto& p, std::span<const Tensor> in) {
           return ops::sparse_dot(p, in[0], in[1], transposed);
         })) {
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

std::vector<Sample> sampled_dot_samples() {
  return samples_of(
      [](const ops::SparsePattern& p, std::int64_t batch, std::int64_t width) {
        return std::array{dense_shape(batch, p.shape[0], width),
                          dense_shape(batch, p.shape[1], width)};
      },
      [](const auto& p, std::span<const Tensor> in) { return ops::sampled_dot(p, in[0], in[1]); });
}

}  // namespace

// y[b, i, k] = Σ over the stored elements (i, j): values[b, (i, j)] x[b, j, k], numbers; of A^T if
// attributes.integers[0] is 1: values (nnz,) with x (m,) or (m, k), or (b, nnz) with (b, m, k).
// Operands 2 to 7: a SparsePattern, constants.
// vjp: dvalues = sampled_dot(dy, x), dx = sparse_dot of the other order
constinit const OpRecord sparse_dot_op = {.name = "sparse_dot",
                                          .kind = OpKind::write,
                                          .arity = operand_count,
                                          .cost = 20,
                                          .adds = true,
                                          .linear = Linear::each,
                                          .infer = sparse_dot_type,
                                          .vjp = sparse_dot_vjp,
                                          .write = sparse_dot_write,
                                          .reference = sparse_dot_reference,
                                          .batch = sparse_dot_batch,
                                          .samples = sparse_dot_samples};

// z[b, (i, j)] = Σ over k: x[b, i, k] y[b, j, k] for the stored elements, numbers; of vectors and
// matrices without a batch, too. The other operands are those of sparse_dot.
// vjp: dx = sparse_dot(dz, y), dy = sparse_dot(dz, x) of A^T
constinit const OpRecord sampled_dot_op = {.name = "sampled_dot",
                                           .kind = OpKind::composite,
                                           .arity = operand_count,
                                           .cost = 20,
                                           .linear = Linear::each,
                                           .infer = sampled_dot_type,
                                           .vjp = sampled_dot_vjp,
                                           .expand = sampled_dot_expanded,
                                           .reference = sampled_dot_reference,
                                           .batch = sampled_dot_batch,
                                           .samples = sampled_dot_samples};

namespace ops {

namespace {

Tensors with_pattern(const SparsePattern& p, const Tensor& a, const Tensor& b) {
  return {a, b, p.row_pointers, p.columns, p.column_pointers, p.rows, p.order, p.row_of_each};
}

}  // namespace

Tensor sparse_dot(const SparsePattern& pattern, const Tensor& values, const Tensor& x,
                  bool transposed) {
  return apply(sparse_dot_op, with_pattern(pattern, values, x), Way(transposed).attributes());
}

Tensor sampled_dot(const SparsePattern& pattern, const Tensor& x, const Tensor& y) {
  return apply(sampled_dot_op, with_pattern(pattern, x, y), Way(false).attributes());
}

}  // namespace ops

}  // namespace kroton
