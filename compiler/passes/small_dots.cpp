#include <kroton/index.h>
#include <kroton/ops.h>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/convolution.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

// What a product of two small matrices may have at most in each direction to be computed element by
// element, as in a filter's step: rows that fill no vector are better in scalars.
constexpr std::int64_t tiny = 3;

// What a matrix may have at most in each direction for the rows that it transforms, many, to be
// computed by columns: a transformation of points fills whole vectors so, one row of it fills none.
constexpr std::int64_t narrow = 4;
constexpr std::int64_t most_rows_of_tiles = 16;  // that are no more than a few vectors

bool is_at_most(const Dim& size, std::int64_t bound) {
  return size.is_constant() && size.constant() <= bound;
}

bool is_tiny(const Dim& size) { return is_at_most(size, tiny); }

// The product of (m, k) and (k, n) with each column of the result as a sum of multiples of x's.
Tensor by_columns(const Tensor& x, const Tensor& y, std::int64_t k, std::int64_t n) {
  std::vector<Tensor> columns;
  for (std::int64_t j = 0; j < n; ++j) {
    Tensor column = x(all, 0) * y(0, j);
    for (std::int64_t i = 1; i < k; ++i) column = column + x(all, i) * y(i, j);
    columns.push_back(std::move(column));
  }
  return stack(columns, 1);
}

// The product of (b..., m, k) and (b..., k, n) where one of m, n, k is known to be 1: nothing is
// used twice, so that a tiled product has nothing to gain, and as a reduction it fuses with what
// makes its operands. The same where all three are tiny and there is no batch to compute at once.
std::optional<Vertex> reduce_small_dot(Graph& graph, Vertex v) {
  const VertexData data = graph[v];
  const std::vector<Vertex> operands = graph.operands(v);
  const auto rank = data.type.shape.size();
  const auto [transpose_x, transpose_y] = DotView(data.attributes);
  const Dim& m = data.type.shape[rank - 2];
  const Dim& n = data.type.shape[rank - 1];
  const Dim k = graph[operands[0]].type.shape[transpose_x ? rank - 2 : rank - 1];
  const bool is_thin = m.is_constant(1) || n.is_constant(1) || k.is_constant(1);
  const bool is_small = rank == 2 && is_tiny(m) && is_tiny(n) && is_tiny(k);
  const bool is_narrow = rank == 2 && is_at_most(n, narrow) && is_at_most(k, narrow) &&
                         !is_at_most(m, most_rows_of_tiles) && !is_at_most(n, 0) &&
                         !is_at_most(k, 0);
  if (!is_thin && !is_small && !is_narrow) return std::nullopt;

  return graph.build(operands, data.line, [&](std::span<const Tensor> inputs) {
    const Tensor x = transpose_x ? swapaxes(inputs[0], -1, -2) : inputs[0];
    const Tensor y = transpose_y ? swapaxes(inputs[1], -1, -2) : inputs[1];
    if (k.is_constant(1)) return x * y;
    if (n.is_constant(1)) return expand_dims(sum(x * swapaxes(y, -1, -2), -1), -1);
    if (m.is_constant(1)) return expand_dims(sum(swapaxes(x, -1, -2) * y, -2), -2);
    if (is_narrow) return by_columns(x, y, k.constant(), n.constant());
    return sum(expand_dims(x, 2) * expand_dims(y, 0), 1);
  });
}

// Products that an element of a convolution is the sum of, written out: those of a channel with its
// own window. And positions of a result, each of which is a sum of its own: places of a window.
constexpr std::int64_t most_terms = 32, most_positions = 32;

std::int64_t known_product(const Dims& sizes, std::size_t first, std::size_t last) {
  std::int64_t product = 1;
  for (std::size_t axis = first; axis < last; ++axis) {
    if (!sizes[axis].is_constant()) return -1;
    product *= sizes[axis].constant();
  }
  return product;
}

// A convolution of each channel with a window of its own has nothing that is used twice: filters
// that share a picture, or pictures that share filters. So it is a sum of products of slices, which
// fuses with what is around it; and its gradient by the filters a reduction for each place of the
// window.
std::optional<Vertex> reduce_small_convolution(Graph& graph, Vertex v) {
  const VertexData data = graph[v];
  const std::vector<Vertex> operands = graph.operands(v);
  const ops::Windows windows = ops::windows_of(data.attributes);
  const Dims w_shape = graph[operands[1]].type.shape, y_shape = data.type.shape;
  const std::size_t rank = w_shape.size(), front = rank - windows.axes();
  if (!w_shape[front - 2].is_constant(1)) return std::nullopt;
  const std::int64_t terms = known_product(w_shape, front - 1, rank);
  const std::int64_t positions = known_product(y_shape, front, rank);
  const bool has_few_terms = terms > 0 && terms <= most_terms;
  const bool has_few_positions =
      y_shape[0].is_constant(1) && positions > 0 && positions <= most_positions && !has_few_terms;
  if (!has_few_terms && !has_few_positions) return std::nullopt;

  // The sizes from that axis on, which are known.
  const auto known_sizes = [](const Dims& sizes, std::size_t first) {
    ops::Position known;
    for (std::size_t axis = first; axis < sizes.size(); ++axis) {
      known.push_back(sizes[axis].constant());
    }
    return known;
  };
  return graph.build(operands, data.line, [&](std::span<const Tensor> inputs) {
    const Tensor &x = inputs[0], &w = inputs[1];
    const Dims spatial(y_shape.begin() + static_cast<std::ptrdiff_t>(front), y_shape.end());
    std::vector<std::int64_t> ones(rank, 1);
    if (has_few_terms) {
      Tensor sum;
      ops::for_each_position(known_sizes(w_shape, front - 1), [&](const ops::Position& place) {
        // x at (batch, groups, channel, positions), w at (1, groups, 1, 1...).
        Dims starts(rank, Dim(0)), sizes = x.shape(), w_starts(rank, Dim(0)), w_sizes = w_shape;
        std::vector<std::int64_t> steps = ones;
        starts[front - 1] = w_starts[front - 1] = Dim(place[0]);
        sizes[front - 1] = w_sizes[front - 1] = Dim(1);
        for (std::size_t k = 0; k < windows.axes(); ++k) {
          starts[front + k] = Dim(place[k + 1] * windows.dilations[k]);
          steps[front + k] = windows.strides[k];
          sizes[front + k] = spatial[k];
          w_starts[front + k] = Dim(place[k + 1]);
          w_sizes[front + k] = Dim(1);
        }
        Tensor factor = ops::strided_slice(w, w_starts, w_sizes, ones);
        if (front == 2) factor = reshape(factor, Dims(rank, Dim(1)));
        if (front == 3) {
          Dims shape(rank, Dim(1));
          shape[1] = w_shape[0];
          factor = reshape(factor, shape);
        }
        const Tensor term = ops::strided_slice(x, starts, sizes, steps) * factor;
        sum = sum ? sum + term : term;
      });
      return sum;
    }
    std::vector<Tensor> sums;
    ops::for_each_position(known_sizes(y_shape, front), [&](const ops::Position& place) {
      Dims starts(rank, Dim(0)), sizes = x.shape();
      std::vector<std::int64_t> steps = ones;
      for (std::size_t k = 0; k < windows.axes(); ++k) {
        starts[front + k] = Dim(place[k] * windows.strides[k]);
        steps[front + k] = windows.dilations[k];
        sizes[front + k] = w_shape[front + k];
      }
      // (1, groups, channels, window...) and (groups, 1, channels, window...).
      const Tensor seen = ops::strided_slice(x, starts, sizes, steps);
      Dims inner(w_shape.begin() + static_cast<std::ptrdiff_t>(front) - 1, w_shape.end());
      if (front == 3) inner.insert(inner.begin(), w_shape[0]);
      std::vector<int> axes;
      for (std::size_t axis = front == 3 ? 1 : 0; axis < inner.size(); ++axis) {
        axes.push_back(static_cast<int>(axis));
      }
      sums.push_back(kroton::sum(reshape(seen, inner) * reshape(w, inner), Axes(axes)));
    });
    return reshape(stack(sums, front == 3 ? 1 : 0), y_shape);
  });
}

}  // namespace

bool reduce_small_dots(Graph& graph) {
  static const auto& rules = *new std::vector<Rule>{
      {"dot", reduce_small_dot}, {"convolution", reduce_small_convolution}};  // never destroyed
  return rewrite(graph, "small_dots", rules);
}

}  // namespace kroton
