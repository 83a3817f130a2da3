// The part of canonicalize about where elements are, not what is done to them. Views move towards
// the leaves, past elementwise operations, where they meet and merge; broadcasts move the other
// way, so that work is done before elements are repeated.
#include <kroton/ops.h>

#include <algorithm>
#include <functional>

#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/scan_op.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

Vertex add_transpose(Graph& graph, Vertex x, std::vector<int> axes, SourceLine line) {
  Attributes attributes;
  attributes.axes = std::move(axes);
  return add_view(graph, transpose_op, x, std::move(attributes), line);
}

// Whether a view of the vertex may move before it: it is elementwise and has no other use, and so
// have few vertices below it. The limit keeps views of views of long chains from moving through
// the whole chain each.
bool lets_views_through(const Graph& graph, Vertex v) {
  constexpr std::size_t limit = 32;
  std::vector<Vertex> moved;
  const auto add = [&](Vertex x) {
    if (graph[x].op->kind == OpKind::elementwise && graph.use_count(x) == 1) moved.push_back(x);
  };
  add(v);
  if (moved.empty()) return false;
  for (std::size_t next = 0; next < moved.size() && moved.size() <= limit; ++next) {
    for (const Vertex operand : graph.operands(moved[next])) add(operand);
  }
  return moved.size() <= limit;
}

// f(view(a), view(b), ...) for view(f(a, b, ...)).
template <class View>
Vertex push_through(Graph& graph, Vertex elementwise, const View& view) {
  std::vector<Vertex> operands = graph.operands(elementwise);
  for (Vertex& operand : operands) operand = view(operand);
  return graph.add(*graph[elementwise].op, operands, graph[elementwise].attributes,
                   graph[elementwise].line);
}

// ---- broadcast: attributes.dims is the shape, attributes.axes[i] the result's axis of axis i

Result broadcast_nothing(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  return graph[x].type == graph[v].type ? Result(x) : std::nullopt;
}

Result broadcast_of_broadcast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &broadcast_op) return std::nullopt;
  std::vector<int> axes;
  for (const int axis : graph[inner].attributes.axes) {
    axes.push_back(graph[v].attributes.axes[static_cast<std::size_t>(axis)]);
  }
  return add_broadcast(graph, graph.operand(inner, 0), shape(graph, v), axes, graph[v].line);
}

// An axis of size 1 that is repeated goes away before.
Result broadcast_of_unit_axes(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  const std::vector<int>& mapping = graph[v].attributes.axes;
  Dims kept;
  std::vector<int> axes;
  for (std::size_t axis = 0; axis < mapping.size(); ++axis) {
    const Dim& size = shape(graph, x)[axis];
    if (size.is_constant(1) && !size_at(shape(graph, v), mapping[axis]).is_constant(1)) continue;
    kept.push_back(size);
    axes.push_back(mapping[axis]);
  }
  if (axes.size() == mapping.size()) return std::nullopt;
  const Vertex dropped = add_reshape(graph, x, kept, graph[v].line);
  return add_broadcast(graph, dropped, shape(graph, v), axes, graph[v].line);
}

// f(broadcast(a), broadcast(b), literal) -> broadcast(f(a, b, literal)) when a and b are repeated
// in the same way. Of literals alone f is a scalar.
Result elementwise_of_broadcasts(Graph& graph, Vertex v) {
  const std::vector<Vertex> operands = graph.operands(v);
  std::optional<Vertex> model;  // a broadcast operand that is no literal
  for (const Vertex operand : operands) {
    if (uniform_literal(graph, operand)) continue;
    if (graph[operand].op != &broadcast_op) return std::nullopt;
    if (!model) model = operand;
    if (graph[operand].attributes.axes != graph[*model].attributes.axes ||
        shape(graph, graph.operand(operand, 0)) != shape(graph, graph.operand(*model, 0))) {
      return std::nullopt;
    }
  }
  const VertexData data = graph[v];
  if (!model && data.type.rank() == 0) return std::nullopt;
  const Dims small = model ? shape(graph, graph.operand(*model, 0)) : Dims();
  std::vector<Vertex> arguments;
  for (const Vertex operand : operands) {
    if (const std::optional<Vertex> literal = uniform_literal(graph, operand)) {
      arguments.push_back(add_repeated(graph, *literal, small, graph[v].line));
    } else {
      arguments.push_back(graph.operand(operand, 0));
    }
  }
  const std::vector<int> axes = model ? graph[*model].attributes.axes : std::vector<int>();
  const Vertex before = graph.add(*data.op, arguments, data.attributes, data.line);
  return add_broadcast(graph, before, data.type.shape, axes, data.line);
}

// ---- reshape: attributes.dims is the shape

Result reshape_nothing(Graph& graph, Vertex v) { return broadcast_nothing(graph, v); }

Result reshape_of_reshape(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &reshape_op) return std::nullopt;
  return add_reshape(graph, graph.operand(inner, 0), shape(graph, v), graph[v].line);
}

Result reshape_of_literal(Graph& graph, Vertex v) {
  const std::optional<Vertex> literal = uniform_literal(graph, graph.operand(v, 0));
  if (!literal) return std::nullopt;
  return add_repeated(graph, *literal, shape(graph, v), graph[v].line);
}

// A reshape that only adds or removes axes of size 1 is done before a broadcast.
Result reshape_of_broadcast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &broadcast_op) return std::nullopt;
  const auto mapping = unit_mapping(shape(graph, inner), shape(graph, v));
  if (!mapping) return std::nullopt;
  const Vertex x = graph.operand(inner, 0);
  Dims kept;
  std::vector<int> axes;
  for (std::size_t axis = 0; axis < shape(graph, x).size(); ++axis) {
    const int target = graph[inner].attributes.axes[axis];
    const int moved = (*mapping)[static_cast<std::size_t>(target)];
    if (moved < 0) continue;  // size 1 in the broadcast, and so in x
    kept.push_back(shape(graph, x)[axis]);
    axes.push_back(moved);
  }
  const Vertex reshaped = add_reshape(graph, x, kept, graph[v].line);
  return add_broadcast(graph, reshaped, shape(graph, v), axes, graph[v].line);
}

// Axes of size 1 leave before an elementwise operation; they may have come just before it. Axes
// that are added stay where they are: a broadcast that repeats them takes them away again.
Result reshape_of_elementwise(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (rank(graph, v) >= rank(graph, inner) || !unit_mapping(shape(graph, inner), shape(graph, v)) ||
      !lets_views_through(graph, inner)) {
    return std::nullopt;
  }
  const Dims target = shape(graph, v);
  const SourceLine line = graph[v].line;
  return push_through(graph, inner, [&](Vertex x) { return add_reshape(graph, x, target, line); });
}

// ---- transpose: attributes.axes is the permutation

// The order of the axes that are not of size 1 stays: a reshape.
Result transpose_of_unit_axes(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  int previous = -1;
  for (const int axis : graph[v].attributes.axes) {
    if (size_at(shape(graph, x), axis).is_constant(1)) continue;
    if (axis < previous) return std::nullopt;
    previous = axis;
  }
  return add_reshape(graph, x, shape(graph, v), graph[v].line);
}

Result transpose_of_transpose(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &transpose_op) return std::nullopt;
  std::vector<int> axes;
  for (const int axis : graph[v].attributes.axes) {
    axes.push_back(graph[inner].attributes.axes[static_cast<std::size_t>(axis)]);
  }
  return add_transpose(graph, graph.operand(inner, 0), axes, graph[v].line);
}

Result transpose_of_broadcast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &broadcast_op) return std::nullopt;
  const std::vector<int>& permutation = graph[v].attributes.axes;
  std::vector<int> axes;
  for (const int axis : graph[inner].attributes.axes) {
    const auto position = std::find(permutation.begin(), permutation.end(), axis);
    axes.push_back(static_cast<int>(position - permutation.begin()));
  }
  if (!std::is_sorted(axes.begin(), axes.end())) return std::nullopt;
  return add_broadcast(graph, graph.operand(inner, 0), shape(graph, v), axes, graph[v].line);
}

// ---- slice: element i of an axis is element start + i * step of the operand's

Dims starts(const Graph& graph, Vertex slice) {
  const Dims& dims = graph[slice].attributes.dims;
  return {dims.begin(), dims.begin() + rank(graph, slice)};
}

Vertex add_slice(Graph& graph, Vertex x, const Dims& starts, const Dims& sizes,
                 const std::vector<std::int64_t>& steps, SourceLine line) {
  return graph.build({x}, line, [&](std::span<const Tensor> operand) {
    return ops::strided_slice(operand[0], starts, sizes, steps);
  });
}

Result slice_of_all(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  if (!(graph[x].type == graph[v].type)) return std::nullopt;
  const Dims from = starts(graph, v);
  const std::vector<std::int64_t>& steps = slice_steps(graph[v].attributes);
  for (std::size_t axis = 0; axis < from.size(); ++axis) {
    // A step says nothing when there is but one element.
    const bool one = shape(graph, v)[axis].is_constant(1);
    if (!from[axis].is_constant(0) || (steps[axis] != 1 && !one)) return std::nullopt;
  }
  return x;
}

// The slice v of one row, that of a loop's state after the last step.
Vertex sliced_last(Graph& graph, Vertex v, Vertex loop, int state) {
  const ScanView view(graph[loop].attributes);
  const TensorType rows = graph[graph.operand(v, 0)].type;
  Attributes last;
  last.dtype = rows.dtype;
  last.dims.assign(rows.shape.begin() + 1, rows.shape.end());
  set_last(last, state, view.states);
  const SourceLine line = graph[v].line;
  Dims row = rows.shape;
  row[0] = 1;
  const Vertex value =
      add_reshape(graph, graph.add(scan_last_op, {loop}, std::move(last), line), row, line);
  Dims from = starts(graph, v), sizes = shape(graph, v);
  from[0] = 0;
  return add_slice(graph, value, from, sizes, slice_steps(graph[v].attributes), line);
}

// The last row of the states of all steps: the state after the last step. With it alone wanted, the
// others are not stored.
Result last_of_stack(Graph& graph, Vertex v) {
  const Vertex stack = graph.operand(v, 0);
  if (graph[stack].op != &scan_stack_op) return std::nullopt;
  const Attributes& attributes = graph[stack].attributes;
  const Vertex loop = graph.operand(stack, 0);
  const ScanView view(graph[loop].attributes);
  const std::vector<Tensor>& next = graph[loop].attributes.body->results;
  const bool backwards = is_backwards(attributes);
  if (!shape(graph, v)[0].is_constant(1) ||
      !(starts(graph, v)[0] == (backwards ? Dim(0) : view.count - Dim(1)))) {
    return std::nullopt;
  }
  const auto state = std::find_if(next.begin(), next.end(), [&](const Tensor& t) {
    return same(t, attributes.body->results[0]);
  });
  if (state == next.end()) return std::nullopt;
  return sliced_last(graph, v, loop, static_cast<int>(state - next.begin()));
}

// A state of a loop of which a tensor shows the values after all steps.
struct ShownState {
  Vertex loop = 0;
  int state = 0;
};

int number_of(const std::vector<Tensor>& results, const std::function<bool(const Tensor&)>& is) {
  const auto found = std::find_if(results.begin(), results.end(), is);
  return found == results.end() ? -1 : static_cast<int>(found - results.begin());
}

// Of the rows of a loop, or of those of a loop in each of its steps, regrouped (checkpoint.cpp).
std::optional<ShownState> shown_state(const Graph& graph, Vertex v) {
  const bool regrouped = graph[v].op == &reshape_op;
  const Vertex stack = regrouped ? graph.operand(v, 0) : v;
  if (graph[stack].op != &scan_stack_op || is_backwards(graph[stack].attributes)) {
    return std::nullopt;
  }
  const Vertex loop = graph.operand(stack, 0);
  const std::vector<Tensor>& next = graph[loop].attributes.body->results;
  const Tensor& shown = graph[stack].attributes.body->results[0];
  int state = -1;
  if (!regrouped) {
    state = number_of(next, [&](const Tensor& t) { return same(t, shown); });
  } else {
    const Dims& from = shape(graph, stack);
    const Node& inner = shown.node();
    if (&inner.op != &scan_stack_op || is_backwards(inner.attributes) || from.size() < 2) {
      return std::nullopt;
    }
    Dims merged(from.begin() + 1, from.end());
    merged[0] = from[0] * from[1];
    if (!(merged == shape(graph, v))) return std::nullopt;
    const Node& run = inner.inputs[0].node();
    const int of_run = number_of(run.attributes.body->results, [&](const Tensor& t) {
      return same(t, inner.attributes.body->results[0]);
    });
    state = number_of(next, [&](const Tensor& t) {
      return &t.node().op == &scan_last_op && &t.node().inputs[0].node() == &run &&
             result_number(t.node().attributes) == of_run;
    });
  }
  if (state < 0) return std::nullopt;
  return ShownState{loop, state};
}

// The last of all rows, where the steps are divided among loops that go on from each other.
Result last_of_joined_stacks(Graph& graph, Vertex v) {
  const Vertex x = graph.operand(v, 0);
  const bool joined = graph[x].op == &concatenate_op && graph[x].attributes.axes[0] == 0;
  if (!joined && graph[x].op != &reshape_op) return std::nullopt;
  if (!shape(graph, v)[0].is_constant(1) || !(starts(graph, v)[0] == shape(graph, x)[0] - Dim(1))) {
    return std::nullopt;
  }
  const std::vector<Vertex> parts = joined ? graph.operands(x) : std::vector<Vertex>{x};
  const std::optional<ShownState> last = shown_state(graph, parts.back());
  if (!last) return std::nullopt;
  // A loop that may make no step begins with what the one before ends with.
  ShownState now = *last;
  for (std::size_t k = parts.size() - 1; k > 0; --k) {
    if (provably_at_least(ScanView(graph[now.loop].attributes).count, 1)) break;
    const Vertex initial = graph.operand(now.loop, now.state);
    const std::optional<ShownState> before = shown_state(graph, parts[k - 1]);
    if (!before || graph[initial].op != &scan_last_op ||
        graph.operand(initial, 0) != before->loop ||
        result_number(graph[initial].attributes) != before->state) {
      return std::nullopt;
    }
    now = *before;
  }
  return sliced_last(graph, v, last->loop, last->state);
}

Result slice_of_slice(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &slice_op) return std::nullopt;
  Dims from = starts(graph, inner);
  std::vector<std::int64_t> steps = slice_steps(graph[inner].attributes);
  const Dims offsets = starts(graph, v);
  for (std::size_t axis = 0; axis < from.size(); ++axis) {
    from[axis] = from[axis] + offsets[axis] * Dim(steps[axis]);
    steps[axis] *= slice_steps(graph[v].attributes)[axis];
  }
  return add_slice(graph, graph.operand(inner, 0), from, shape(graph, v), steps, graph[v].line);
}

Result slice_of_broadcast(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (graph[inner].op != &broadcast_op) return std::nullopt;
  const Vertex x = graph.operand(inner, 0);
  const std::vector<int> axes = graph[inner].attributes.axes;
  Dims from;
  Dims sizes;
  std::vector<std::int64_t> steps;
  for (std::size_t k = 0; k < axes.size(); ++k) {
    const auto axis = static_cast<std::size_t>(axes[k]);
    if (!(shape(graph, x)[k] == shape(graph, inner)[axis])) return std::nullopt;
    from.push_back(starts(graph, v)[axis]);
    sizes.push_back(shape(graph, v)[axis]);
    steps.push_back(slice_steps(graph[v].attributes)[axis]);
  }
  const Dims target = shape(graph, v);
  const SourceLine line = graph[v].line;
  const Vertex part = axes.empty() ? x : add_slice(graph, x, from, sizes, steps, line);
  return add_broadcast(graph, part, target, axes, line);
}

Result slice_of_elementwise(Graph& graph, Vertex v) {
  const Vertex inner = graph.operand(v, 0);
  if (!lets_views_through(graph, inner)) return std::nullopt;
  const Attributes attributes = graph[v].attributes;
  const SourceLine line = graph[v].line;
  return push_through(graph, inner,
                      [&](Vertex x) { return add_view(graph, slice_op, x, attributes, line); });
}

}  // namespace

std::vector<Rule> view_rules() {
  std::vector<Rule> rules = {
      {"broadcast", broadcast_nothing},
      {"broadcast", broadcast_of_broadcast},
      {"broadcast", broadcast_of_unit_axes},
      {"reshape", reshape_nothing},
      {"reshape", reshape_of_reshape},
      {"reshape", reshape_of_literal},
      {"reshape", reshape_of_broadcast},
      {"reshape", reshape_of_elementwise},
      {"transpose", transpose_of_unit_axes},
      {"transpose", transpose_of_transpose},
      {"transpose", transpose_of_broadcast},
      {"slice", slice_of_all},
      {"slice", last_of_stack},
      {"slice", last_of_joined_stacks},
      {"slice", slice_of_slice},
      {"slice", slice_of_broadcast},
      {"slice", slice_of_elementwise},
  };
  for (const OpRecord* record : all_ops()) {
    if (record->kind == OpKind::elementwise) {
      rules.push_back({record->name, elementwise_of_broadcasts});
    }
  }
  return rules;
}

}  // namespace kroton
