// The part of canonicalize about reductions: over axes of size 1, of reductions, of broadcasts.
#include <kroton/ops.h>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/rules.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

// ---- Reductions over attributes.axes

bool keeps_dtype(const Graph& graph, Vertex v) {
  return graph[graph.operand(v, 0)].type.dtype == graph[v].type.dtype;
}

Vertex add_reduction(Graph& graph, const OpRecord& op, Vertex x, std::vector<int> axes,
                     SourceLine line) {
  if (axes.empty()) return x;
  Attributes attributes;
  attributes.axes = std::move(axes);
  return graph.add(op, {x}, std::move(attributes), line);
}

// Axes of size 1 are dropped by a reshape; nothing is left of a reduction over such axes only.
Result reduction_of_unit_axes(Graph& graph, Vertex v) {
  if (!keeps_dtype(graph, v)) return std::nullopt;
  const Vertex x = graph.operand(v, 0);
  const std::vector<int>& reduced = graph[v].attributes.axes;
  Dims kept;
  std::vector<int> axes;
  for (int axis = 0; axis < rank(graph, x); ++axis) {
    const bool reduces = contains(reduced, axis);
    if (reduces && size_at(shape(graph, x), axis).is_constant(1)) continue;
    if (reduces) axes.push_back(static_cast<int>(kept.size()));
    kept.push_back(size_at(shape(graph, x), axis));
  }
  if (axes.size() == reduced.size() && !axes.empty()) return std::nullopt;
  const VertexData data = graph[v];
  const Vertex dropped = add_reshape(graph, x, kept, data.line);
  return add_reduction(graph, *data.op, dropped, axes, data.line);
}

// sum(sum(x, a), b) -> sum(x, a and b)
Result reduction_of_reduction(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != graph[v].op || graph.use_count(inner) > 1 || !keeps_dtype(graph, inner) ||
      !keeps_dtype(graph, v)) {
    return std::nullopt;
  }
  const Vertex x = graph.operand(inner, 0);
  std::vector<int> axes = graph[inner].attributes.axes;
  std::vector<int> left;  // the axes of x that the inner reduction leaves
  for (int axis = 0; axis < rank(graph, x); ++axis) {
    if (!contains(axes, axis)) left.push_back(axis);
  }
  for (const int axis : graph[v].attributes.axes) {
    axes.push_back(left[static_cast<std::size_t>(axis)]);
  }
  std::sort(axes.begin(), axes.end());
  const OpRecord& op = *graph[v].op;
  return add_reduction(graph, op, x, axes, graph[v].line);
}

// A reduction of a broadcast reduces what is repeated. Over axes that the broadcast added, a sum is
// a product with the number of copies, and the extreme of copies is the value.
Result reduction_of_broadcast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &broadcast_op || !keeps_dtype(graph, v)) return std::nullopt;
  const VertexData data = graph[v];
  const Vertex x = graph.operand(inner, 0);
  const std::vector<int>& reduced = data.attributes.axes;
  const std::vector<int> mapping = graph[inner].attributes.axes;

  std::vector<int> position;  // of the broadcast's axes in the result, -1 for reduced ones
  Dim copies = 1;
  int left = 0;
  for (int axis = 0; axis < rank(graph, inner); ++axis) {
    const bool reduces = contains(reduced, axis);
    position.push_back(reduces ? -1 : left++);
    if (reduces && !contains(mapping, axis)) copies = copies * size_at(shape(graph, inner), axis);
  }
  std::vector<int> axes;    // of x that are reduced
  std::vector<int> target;  // of the result, for those that are not
  for (std::size_t k = 0; k < mapping.size(); ++k) {
    const auto axis = static_cast<std::size_t>(mapping[k]);
    if (!(shape(graph, x)[k] == shape(graph, inner)[axis])) return std::nullopt;
    if (position[axis] < 0) {
      axes.push_back(static_cast<int>(k));
    } else {
      target.push_back(position[axis]);
    }
  }
  const bool sums = data.op->reduction == Reduction::sum;
  // No copies at all have no extreme.
  if (!sums && !provably_at_least(copies, 1)) return std::nullopt;

  Vertex result = add_reduction(graph, *data.op, x, axes, data.line);
  if (sums && !copies.is_constant(1)) {
    result = graph.build({result}, data.line, [&](std::span<const Tensor> operand) {
      // Of no copies the sum is 0, whatever is copied.
      const Tensor& copied = operand[0];
      if (copies.is_constant(0)) return zeros_like(copied);
      if (copies.is_constant()) return mul(copied, copies.constant());
      Tensor product = mul(copied, size_of_dim(copies, data.type.dtype));
      if (provably_at_least(copies, 1) || !is_float(data.type.dtype)) return product;
      return where(eq(size_of_dim(copies), 0), 0, product);
    });
  }
  if (shape(graph, result) == data.type.shape) return result;
  return add_broadcast(graph, result, data.type.shape, target, data.line);
}

// reshape(sum(x)) -> sum(reshape(x)), where the reshape drops axes of size 1, on to what x is.
Result reshape_of_reduction(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  const OpRecord& op = *graph[inner].op;
  if (op.kind != OpKind::reduce || graph.use_count(inner) > 1) return std::nullopt;
  const Vertex x = graph.operand(inner, 0);
  const std::vector<int>& reduced = graph[inner].attributes.axes;
  const Dims& target = shape(graph, v);
  Dims kept;
  std::vector<int> axes;
  std::size_t next = 0;  // in the target
  for (int axis = 0; axis < rank(graph, x); ++axis) {
    const Dim& size = size_at(shape(graph, x), axis);
    if (contains(reduced, axis)) {
      axes.push_back(static_cast<int>(kept.size()));
    } else if (next < target.size() && target[next] == size) {
      ++next;
    } else if (size.is_constant(1)) {
      continue;
    } else {
      return std::nullopt;
    }
    kept.push_back(size);
  }
  if (next != target.size() || kept.size() == shape(graph, x).size()) return std::nullopt;
  const SourceLine line = graph[inner].line;
  const Vertex dropped = add_reshape(graph, x, kept, graph[v].line);
  return add_reduction(graph, op, dropped, axes, line);
}

// The sum of products over the axes before the matrices is one product: those axes are merged into
// the inner one. The gradient of a parameter that every step of a loop multiplies with is such a
// sum.
Result sum_of_products(Graph& graph, Vertex v) {
  const Vertex dot = graph.operand(v, 0);
  if (graph[dot].op != &dot_op || graph.use_count(dot) > 1) return std::nullopt;
  const int matrices = rank(graph, dot) - 2;  // the axis they begin at
  if (matrices == 0 || graph[v].attributes.axes != ops::axes_from(0, matrices)) return std::nullopt;
  const DotView view(graph[dot].attributes);
  return graph.build(graph.operands(dot), graph[dot].line, [&](std::span<const Tensor> operands) {
    // (b..., inner, kept) -> (b * inner, kept)
    const auto merged = [&](const Tensor& x, bool inner_first) {
      const Tensor y = inner_first ? x : swapaxes(x, -1, -2);
      const Dim& kept = y.shape(matrices + 1);
      return reshape(y, {element_count({y.shape().begin(), y.shape().end() - 1}), kept});
    };
    return ops::apply(
        dot_op, {merged(operands[0], view.transposes_a), merged(operands[1], !view.transposes_b)},
        DotView(true, false).attributes());
  });
}

}  // namespace

std::vector<Rule> reduction_rules() {
  std::vector<Rule> rules = {{"reshape", reshape_of_reduction}};
  for (const char* op : {"sum", "prod", "max", "min", "all", "any"}) {
    rules.push_back({op, reduction_of_unit_axes});
    rules.push_back({op, reduction_of_reduction});
  }
  for (const char* op : {"sum", "max", "min", "all", "any"}) {
    rules.push_back({op, reduction_of_broadcast});
  }
  rules.push_back({"sum", sum_of_products});
  return rules;
}

}  // namespace kroton
