// The part of canonicalize about parts of one tensor: the gradient of slices is a sum of parts
// inside zeros, which is the parts joined where they are next to each other.
#include <kroton/ops.h>

#include "compiler/ops/attribute_views.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

// Tensors joined along one axis, inside zeros.
struct Part {
  std::vector<Vertex> joined;
  int axis = 0;
  Dim start, end;
};

// The axis along which the part lies inside zeros; the others are full. None where it has steps, or
// is smaller along several.
std::optional<Part> part_of(const Graph& graph, Vertex v) {
  if (graph[v].op != &unslice_op || graph.use_count(v) != 1) return std::nullopt;
  const Vertex x = graph.operand(v, 0);
  const Attributes& attributes = graph[v].attributes;
  Part part;
  part.axis = -1;
  for (int axis = 0; axis < rank(graph, v); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    if (slice_steps(attributes)[at] != 1) return std::nullopt;
    if (shape(graph, x)[at] == shape(graph, v)[at] && attributes.dims[at].is_constant(0)) continue;
    if (part.axis >= 0) return std::nullopt;
    part.axis = axis;
    part.start = attributes.dims[at];
    part.end = part.start + shape(graph, x)[at];
  }
  if (part.axis < 0) return std::nullopt;
  const bool is_join = graph[x].op == &concatenate_op && graph.use_count(x) == 1 &&
                       graph[x].attributes.axes[0] == part.axis;
  part.joined = is_join ? graph.operands(x) : std::vector<Vertex>{x};
  return part;
}

// The terms of a sum, through additions that nothing else uses.
std::vector<Vertex> terms_of(const Graph& graph, Vertex sum) {
  std::vector<Vertex> terms;
  std::vector<Vertex> pending{sum};
  while (!pending.empty()) {
    const Vertex v = pending.back();
    pending.pop_back();
    const bool is_sum = v == sum || (graph[v].op == &add_op && graph.use_count(v) == 1);
    if (!is_sum) {
      terms.push_back(v);
      continue;
    }
    pending.push_back(graph.operand(v, 1));
    pending.push_back(graph.operand(v, 0));
  }
  return terms;
}

// Joins two parts that are next to each other, if there are such.
bool join_neighbours(std::vector<Part>& parts) {
  for (Part& left : parts) {
    for (auto right = parts.begin(); right != parts.end(); ++right) {
      if (&*right == &left || right->axis != left.axis || !(left.end == right->start)) continue;
      left.joined.insert(left.joined.end(), right->joined.begin(), right->joined.end());
      left.end = right->end;
      parts.erase(right);
      return true;
    }
  }
  return false;
}

Vertex place(Graph& graph, const Part& part, const Dims& shape_of_all, SourceLine line) {
  Attributes join;
  join.axes = {part.axis};
  const Vertex joined =
      part.joined.size() == 1 ? part.joined[0] : graph.add(concatenate_op, part.joined, join, line);
  if (shape(graph, joined) == shape_of_all) return joined;
  Attributes inside;
  inside.dims.assign(shape_of_all.size(), Dim(0));
  inside.dims[static_cast<std::size_t>(part.axis)] = part.start;
  inside.dims.insert(inside.dims.end(), shape_of_all.begin(), shape_of_all.end());
  set_slice_steps(inside, std::vector<std::int64_t>(shape_of_all.size(), 1));
  return graph.add(unslice_op, {joined}, std::move(inside), line);
}

// unslice(a) + unslice(b) + x -> concatenate(a, b) + x where the parts are next to each other.
Result sum_of_parts(Graph& graph, Vertex v) {
  // A term of a larger sum: that one sees all the terms, and only it, so that long sums take linear
  // time.
  const std::vector<Vertex> users = graph.users(v);
  if (graph.use_count(v) == 1 && users.size() == 1 && graph[users[0]].op == &add_op) {
    return std::nullopt;
  }
  std::vector<Vertex> terms;
  std::vector<Part> parts;
  for (const Vertex term : terms_of(graph, v)) {
    std::optional<Part> part = part_of(graph, term);
    if (part) {
      parts.push_back(std::move(*part));
    } else {
      terms.push_back(term);
    }
  }
  const std::size_t before = parts.size();
  while (join_neighbours(parts)) {
  }
  if (parts.size() == before) return std::nullopt;
  const SourceLine line = graph[v].line;
  const Dims all = shape(graph, v);
  for (const Part& part : parts) terms.push_back(place(graph, part, all, line));
  Vertex sum = terms[0];
  for (std::size_t k = 1; k < terms.size(); ++k) sum = graph.add(add_op, {sum, terms[k]}, {}, line);
  return sum;
}

}  // namespace

std::vector<Rule> join_rules() { return {{"add", sum_of_parts}}; }

}  // namespace kroton
