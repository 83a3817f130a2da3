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

bool is_tiny(const Dim& size) { return size.is_constant() && size.constant() <= tiny; }

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
  if (!is_thin && !is_small) return std::nullopt;

  return graph.build(operands, data.line, [&](std::span<const Tensor> inputs) {
    const Tensor x = transpose_x ? swapaxes(inputs[0], -1, -2) : inputs[0];
    const Tensor y = transpose_y ? swapaxes(inputs[1], -1, -2) : inputs[1];
    if (k.is_constant(1)) return x * y;
    if (n.is_constant(1)) return expand_dims(sum(x * swapaxes(y, -1, -2), -1), -1);
    if (m.is_constant(1)) return expand_dims(sum(swapaxes(x, -1, -2) * y, -2), -2);
    return sum(expand_dims(x, 2) * expand_dims(y, 0), 1);
  });
}

}  // namespace

bool reduce_small_dots(Graph& graph) {
  static const auto& rules = *new std::vector<Rule>{{"dot", reduce_small_dot}};  // never destroyed
  return rewrite(graph, "small_dots", rules);
}

}  // namespace kroton
