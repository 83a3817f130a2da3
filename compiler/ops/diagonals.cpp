// Diagonals, triangles, and sequences of numbers.
#include <kroton/rearrange.h>

#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/pieces.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// How far each element of the last two axes is to the right of the diagonal.
Tensor to_the_right(const Dims& shape) {
  const int rank = static_cast<int>(shape.size());
  return iota(shape, rank - 1) - iota(shape, rank - 2);
}

Tensor matrices(const char* op, const Operand& x) {
  const Tensor tensor = x.tensor();
  if (tensor.rank() < 2) {
    ops::fail_shape(OpRecord{.name = op}, {tensor}, "takes matrices, of two axes or more");
  }
  return tensor;
}

// The diagonal of the last two axes: rows and columns are cut to its length, of which it is where
// both have one number.
Tensor last_diagonal(const Tensor& x, std::int64_t k) {
  const int rank = x.rank();
  const Dim row = std::max<std::int64_t>(-k, 0), column = std::max<std::int64_t>(k, 0);
  const Dim length =
      ops::not_negative(minimum(x.shape(rank - 2) - row, x.shape(rank - 1) - column));
  Dims starts(at(rank), Dim(0)), sizes = x.shape();
  starts[at(rank - 2)] = row;
  starts[at(rank - 1)] = column;
  sizes[at(rank - 2)] = sizes[at(rank - 1)] = length;
  const Tensor square =
      ops::strided_slice(x, starts, sizes, std::vector<std::int64_t>(at(rank), 1));
  Dims places = sizes;
  places[at(rank - 1)] = 1;
  const Tensor found = ops::take_along(square, iota(places, rank - 2), rank - 1);
  sizes.pop_back();
  return reshape(found, sizes);
}

}  // namespace

Tensor diagonal(const Operand& x, std::int64_t k, int axis1, int axis2) {
  const LineScope scope(x.line());
  const Tensor tensor = matrices("diagonal", x);
  const int rows = ops::resolve_axis(axis1, tensor.rank(), "diagonal");
  const int columns = ops::resolve_axis(axis2, tensor.rank(), "diagonal");
  if (rows == columns) ops::fail_value("diagonal", "both axes are axis " + std::to_string(rows));
  std::vector<int> axes = ops::other_axes(tensor.rank(), {rows, columns});
  axes.insert(axes.end(), {rows, columns});
  return last_diagonal(transpose(tensor, axes), k);
}

Tensor diag(const Operand& x, std::int64_t k) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (tensor.rank() == 2) return last_diagonal(tensor, k);
  if (tensor.rank() != 1) {
    ops::fail_shape(OpRecord{.name = "diag"}, {tensor}, "takes a vector or a matrix");
  }
  const Dim beside = k < 0 ? -k : k;
  const Dim size = tensor.shape(0) + beside;
  const Tensor along = expand_dims(pad(tensor, {{0, beside}}), k < 0 ? 0 : 1);
  return where(eq(to_the_right({size, size}), k), along, zeros({}, tensor.dtype()));
}

Tensor trace(const Operand& x, std::int64_t k, int axis1, int axis2) {
  const LineScope scope(x.line());
  return sum(diagonal(matrices("trace", x), k, axis1, axis2), -1);
}

Tensor tril(const Operand& x, std::int64_t k) {
  const LineScope scope(x.line());
  const Tensor tensor = matrices("tril", x);
  return where(le(to_the_right(tensor.shape()), k), tensor, zeros({}, tensor.dtype()));
}

Tensor triu(const Operand& x, std::int64_t k) {
  const LineScope scope(x.line());
  const Tensor tensor = matrices("triu", x);
  return where(ge(to_the_right(tensor.shape()), k), tensor, zeros({}, tensor.dtype()));
}

Tensor tri(const Dim& n, std::optional<Dim> m, std::int64_t k, DType dtype,
           const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return cast(le(to_the_right({n, m.value_or(n)}), k), dtype);
}

Tensor eye(const Dim& n, std::optional<Dim> m, std::int64_t k, DType dtype,
           const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return cast(eq(to_the_right({n, m.value_or(n)}), k), dtype);
}

Tensor identity(const Dim& n, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return eye(n, n, 0, dtype);
}

// ---- Sequences

namespace {

// Both as floating scalars of one dtype.
Tensors ends(const char* op, const Operand& start, const Operand& stop) {
  Tensors both = ops::promoted(start, stop);
  for (Tensor& edge : both) {
    if (edge.rank() != 0) ops::fail_shape(OpRecord{.name = op}, both, "takes scalars");
  }
  if (!is_float(both[0].dtype())) {
    for (Tensor& edge : both) edge = cast(edge, DType::f32);
  }
  return both;
}

Tensor spaced(const Tensors& both, const Dim& count, bool endpoint) {
  const Tensor place = iota({count}, 0, both[0].dtype());
  const Dim steps = endpoint ? count - 1 : count;
  const Tensor step = (both[1] - both[0]) / size_of_dim(maximum(steps, 1), both[0].dtype());
  const Tensor even = both[0] + place * step;
  if (!endpoint || count.is_constant(1)) return even;
  const Tensor last = size_of_dim(maximum(steps, 1), both[0].dtype());
  return where(eq(place, last), both[1], even);
}

}  // namespace

Tensor linspace(const Operand& start, const Operand& stop, const Dim& count, bool endpoint) {
  const LineScope scope(start.line());
  return spaced(ends("linspace", start, stop), count, endpoint);
}

Tensor logspace(const Operand& start, const Operand& stop, const Dim& count, bool endpoint,
                const Operand& base) {
  const LineScope scope(start.line());
  const Tensor exponents = spaced(ends("logspace", start, stop), count, endpoint);
  return pow(base.tensor(exponents.dtype()), exponents);
}

Tensor geomspace(const Operand& start, const Operand& stop, const Dim& count, bool endpoint) {
  const LineScope scope(start.line());
  Tensors both = ends("geomspace", start, stop);
  const Tensors given = both;
  for (Tensor& edge : both) edge = log(edge);
  const Tensor numbers = exp(spaced(both, count, endpoint));
  const Tensor place = iota({count}, 0);
  const Tensor exact = where(eq(place, 0), given[0], numbers);
  return endpoint ? where(eq(place, size_of_dim(count) - 1) & gt(place, 0), given[1], exact)
                  : exact;
}

Tensors meshgrid(const Tensors& vectors, bool in_order, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Dims shape;
  for (const Tensor& vector : vectors) {
    const Tensor given = Operand(vector).tensor();
    if (given.rank() != 1) {
      ops::fail_shape(OpRecord{.name = "meshgrid"}, {given}, "takes vectors");
    }
    shape.push_back(given.shape(0));
  }
  const auto axis_of = [&](std::size_t k) {
    return in_order || k > 1 || shape.size() < 2 ? k : 1 - k;
  };
  Dims placed(shape.size());
  for (std::size_t k = 0; k < shape.size(); ++k) placed[axis_of(k)] = shape[k];
  Tensors result;
  for (std::size_t k = 0; k < vectors.size(); ++k) {
    Dims along(shape.size(), Dim(1));
    along[axis_of(k)] = shape[k];
    result.push_back(broadcast_to(reshape(vectors[k], along), placed));
  }
  return result;
}

}  // namespace kroton
