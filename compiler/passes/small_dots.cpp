#include <kroton/index.h>
#include <kroton/ops.h>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
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

}  // namespace

bool reduce_small_dots(Graph& graph) {
  static const auto& rules = *new std::vector<Rule>{{"dot", reduce_small_dot}};  // never destroyed
  return rewrite(graph, "small_dots", rules);
}

}  // namespace kroton
