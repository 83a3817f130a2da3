// Updates that change few elements of a shared variable.
#include <kroton/ops.h>

#include <algorithm>

#include "compiler/ops/records.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

// A scatter_add in an update, and what it is multiplied with on the way.
struct Term {
  Vertex scatter = 0;
  bool negative = false;
  std::vector<Vertex> factors, divisors;  // scalars
};

// The scalar that all elements of a vertex are.
std::optional<Vertex> repeated_scalar(const Graph& graph, Vertex v) {
  if (graph[v].type.shape.empty()) return v;
  if (!graph.is_op(v, broadcast_op)) return std::nullopt;
  const Vertex source = graph.operand(v, 0);
  return graph[source].type.shape.empty() ? std::optional(source) : std::nullopt;
}

// The new value of a state as its old value and scatters, if that is what it is.
class SparseUpdate {
 public:
  SparseUpdate(const Graph& graph, const Graph::Update& update) : graph_(graph), update_(update) {
    applies_ = collect(update.value, {}) && old_value_ && !terms_.empty();
  }

  // Whether the new value is of this kind.
  bool applies() const { return applies_; }

  Vertex build(Graph& graph) const {
    std::vector<Vertex> operands{*old_value_};
    for (const Term& term : terms_) {
      for (const Vertex v : graph.operands(term.scatter)) operands.push_back(v);
      operands.insert(operands.end(), term.factors.begin(), term.factors.end());
      operands.insert(operands.end(), term.divisors.begin(), term.divisors.end());
    }
    const int axis = graph[terms_.front().scatter].attributes.axes[0];
    return graph.build(operands, graph[update_.value].line, [&](std::span<const Tensor> inputs) {
      std::vector<Tensor> values, indices;
      std::size_t next = 1;
      for (const Term& term : terms_) {
        Tensor value = inputs[next], index = inputs[next + 1];
        next += 2;
        std::optional<Tensor> scale;
        for (std::size_t k = 0; k < term.factors.size(); ++k, ++next) {
          scale = scale ? *scale * inputs[next] : inputs[next];
        }
        if (term.negative) scale = scale ? -*scale : Operand(-1).tensor(value.dtype());
        if (scale) value = value * *scale;
        for (std::size_t k = 0; k < term.divisors.size(); ++k, ++next) {
          value = value / inputs[next];
        }
        if (terms_.size() > 1) {
          const Dims rows{element_count(index.shape())};
          value = reshape(value, with_count(value.shape(), axis, index.rank(), rows[0]));
          index = reshape(cast(index, DType::i64), rows);
        }
        values.push_back(value);
        indices.push_back(index);
      }
      if (terms_.size() == 1) return add_at(inputs[0], values[0], indices[0], axis);
      return add_at(inputs[0], concatenate(values, axis), concatenate(indices, 0), axis);
    });
  }

 private:
  // The shape with one axis of size `count` in the place of `axes` ones from `axis` on.
  static Dims with_count(const Dims& shape, int axis, int axes, const Dim& count) {
    Dims result(shape.begin(), shape.begin() + axis);
    result.push_back(count);
    result.insert(result.end(), shape.begin() + axis + axes, shape.end());
    return result;
  }

  // Whether the vertex is a sum of such parts, with `path` as what it is multiplied with.
  bool collect(Vertex v, const Term& path) {
    const VertexData& data = graph_[v];
    if (data.op->kind == OpKind::leaf) {
      const bool is_plain = !path.negative && path.factors.empty() && path.divisors.empty();
      if (data.attributes.state != update_.state || old_value_ || !is_plain) return false;
      old_value_ = v;
      return true;
    }
    if (graph_.use_count(v) != 1 || !is_float(data.type.dtype)) return false;
    const std::vector<Vertex> operands = graph_.operands(v);
    Term rest = path;
    if (data.op == &scatter_add_op) {
      const auto& axes = data.attributes.axes;
      if (!terms_.empty() && graph_[terms_.front().scatter].attributes.axes != axes) return false;
      rest.scatter = v;
      terms_.push_back(std::move(rest));
      return true;
    }
    if (data.op == &neg_op) {
      rest.negative = !rest.negative;
      return collect(operands[0], rest);
    }
    if (data.op == &add_op || data.op == &sub_op) {
      // Operands of other shapes would be repeated.
      for (const Vertex operand : operands) {
        if (graph_[operand].type != data.type) return false;
      }
      if (!collect(operands[0], path)) return false;
      if (data.op == &sub_op) rest.negative = !rest.negative;
      return collect(operands[1], rest);
    }
    if (data.op == &mul_op) {
      for (const int k : {0, 1}) {
        const auto scalar = repeated_scalar(graph_, operands[static_cast<std::size_t>(k)]);
        if (!scalar) continue;
        rest.factors.push_back(*scalar);
        return collect(operands[static_cast<std::size_t>(1 - k)], rest);
      }
    }
    if (data.op == &div_op) {
      const auto scalar = repeated_scalar(graph_, operands[1]);
      if (!scalar) return false;
      rest.divisors.push_back(*scalar);
      return collect(operands[0], rest);
    }
    return false;
  }

  const Graph& graph_;
  const Graph::Update& update_;
  std::vector<Term> terms_;
  std::optional<Vertex> old_value_;
  bool applies_ = false;
};

}  // namespace

bool scatter_into_states(Graph& graph) {
  bool changed = false;
  for (const Graph::Update& update : std::vector(graph.updates)) {
    const SparseUpdate sparse(graph, update);
    if (!sparse.applies()) continue;
    graph.replace(update.value, sparse.build(graph));
    changed = true;
  }
  return changed;
}

}  // namespace kroton
