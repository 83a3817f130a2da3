// Rules about convolutions and what is put around pictures.
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/convolution.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

Vertex add_part(Graph& graph, Vertex x, Dims starts, const Dims& sizes,
                std::vector<std::int64_t> steps, SourceLine line) {
  Attributes attributes;
  attributes.dims = std::move(starts);
  attributes.dims.insert(attributes.dims.end(), sizes.begin(), sizes.end());
  set_slice_steps(attributes, std::move(steps));
  return add_view(graph, slice_op, x, std::move(attributes), line);
}

// A part of a convolution is the convolution of what its windows see, with those of the filters:
// the gradient by a picture is not computed for its padding.
Result slice_of_convolution(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &convolution_op || graph.use_count(inner) != 1) return std::nullopt;
  const Attributes part = graph[v].attributes;
  const Dims wanted = shape(graph, v);
  const std::vector<std::int64_t> steps = slice_steps(part);
  const SourceLine line = graph[v].line;
  if (std::any_of(steps.begin(), steps.end(), [](std::int64_t step) { return step < 1; })) {
    return std::nullopt;
  }
  const Vertex x = graph.operand(inner, 0), w = graph.operand(inner, 1);
  ops::Windows windows = ops::windows_of(graph[inner].attributes);
  Dims x_starts(wanted.size()), x_sizes = shape(graph, x);
  Dims w_starts(wanted.size()), w_sizes = shape(graph, w);
  std::vector<std::int64_t> x_steps(wanted.size(), 1), w_steps(wanted.size(), 1);
  // The batch, the groups if there are several, the filters; then positions.
  const std::size_t front = wanted.size() - windows.axes();
  x_starts[0] = part.dims[0], x_sizes[0] = wanted[0], x_steps[0] = steps[0];
  if (front == 3) {
    x_starts[1] = w_starts[0] = part.dims[1];
    x_sizes[1] = w_sizes[0] = wanted[1];
    x_steps[1] = w_steps[0] = steps[1];
  }
  w_starts[front - 2] = part.dims[front - 1];
  w_sizes[front - 2] = wanted[front - 1];
  w_steps[front - 2] = steps[front - 1];
  for (std::size_t k = 0; k < windows.axes(); ++k) {
    const std::size_t axis = front + k;
    x_starts[axis] = part.dims[axis] * Dim(windows.strides[k]);
    windows.strides[k] *= steps[axis];
    x_sizes[axis] = (wanted[axis] - Dim(1)) * Dim(windows.strides[k]) +
                    ops::reach(w_sizes[axis], windows.dilations[k]);
    // No positions see less than a window, but not less than nothing.
    if (!provably_at_least(x_sizes[axis], 0)) return std::nullopt;
  }
  return graph.add(convolution_op,
                   {add_part(graph, x, x_starts, x_sizes, x_steps, line),
                    add_part(graph, w, w_starts, w_sizes, w_steps, line)},
                   ops::attributes_of(windows), line);
}

// A part of something inside zeros is a part of it inside fewer.
Result slice_of_unslice(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &unslice_op || graph.use_count(inner) != 1) return std::nullopt;
  const Attributes part = graph[v].attributes, placed = graph[inner].attributes;
  const Dims wanted = shape(graph, v), whole = shape(graph, inner);
  const Vertex x = graph.operand(inner, 0);
  Dims sizes = shape(graph, x), starts(wanted.size()), places(wanted.size());
  std::vector<std::int64_t> steps = slice_steps(placed);
  for (std::size_t axis = 0; axis < wanted.size(); ++axis) {
    const Dim &from = part.dims[axis], &at = placed.dims[axis];
    const bool is_all =
        from.is_constant(0) && wanted[axis] == whole[axis] && slice_steps(part)[axis] == 1;
    if (is_all) {
      places[axis] = at;
      continue;
    }
    if (slice_steps(part)[axis] != 1 || steps[axis] != 1) return std::nullopt;
    const Dim before = at - from, after = from + wanted[axis] - at - sizes[axis];
    if (!before.is_constant() || !after.is_constant()) return std::nullopt;
    const Dim skipped = maximum(Dim(0) - before, 0);
    const Dim kept = sizes[axis] - skipped - maximum(Dim(0) - after, 0);
    if (!provably_at_least(kept, 0)) return std::nullopt;
    starts[axis] = skipped;
    sizes[axis] = kept;
    places[axis] = maximum(before, 0);
    // Nothing of x is left: it is not at a place of the result.
    if (kept.is_constant(0)) return std::nullopt;
  }
  const SourceLine line = graph[v].line;
  const Vertex left =
      add_part(graph, x, starts, sizes, std::vector<std::int64_t>(sizes.size(), 1), line);
  if (sizes == wanted) return left;
  Attributes attributes;
  attributes.dims = places;
  attributes.dims.insert(attributes.dims.end(), wanted.begin(), wanted.end());
  set_slice_steps(attributes, std::move(steps));
  return graph.add(unslice_op, {left}, std::move(attributes), line);
}

}  // namespace

std::vector<Rule> window_rules() {
  return {{"slice", slice_of_convolution}, {"slice", slice_of_unslice}};
}

}  // namespace kroton
