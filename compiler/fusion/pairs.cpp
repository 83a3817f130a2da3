// Finds what attention and its gradients make of pairs
// (docs/decisions/0054-gradients-of-attention.md).
#include "compiler/fusion/pairs.h"

#include <algorithm>
#include <map>

#include "compiler/loop/traverse.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

class PairFinder {
 public:
  PairFinder(const Graph& graph, Vertex result) : graph_(graph) {
    region_.result = result;
    for (Vertex v : graph.outputs) wanted_.insert(v);
    for (const Graph::Update& update : graph.updates) wanted_.insert(update.value);
  }

  std::optional<PairRegion> run() {
    if (!find_axes() || !close()) return std::nullopt;
    if (const std::optional<Vertex> second = second_product()) {
      region_.products.push_back(*second);
      if (!close()) return std::nullopt;
    }
    if (region_.by_rows.size() + region_.by_keys.size() < 2) return std::nullopt;
    return is_complete() ? std::optional(region_) : std::nullopt;
  }

  // Nothing but what the result is made of.
  std::optional<PairRegion> run_forward() {
    if (!find_axes()) return std::nullopt;
    within_ = needed_for_result();
    if (!close() || region_.by_rows.size() != 1 || !region_.by_keys.empty()) return std::nullopt;
    return is_complete() ? std::optional(region_) : std::nullopt;
  }

 private:
  bool is_pointwise(Vertex v) const {
    const OpRecord& op = *graph_[v].op;
    return (op.kind == OpKind::elementwise || op.kind == OpKind::pointwise) && op.has_points() &&
           !op.observable && !op.is_redrawn && !op.regroups;
  }

  ContractionRoles roles_of(Vertex v) const {
    return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                               graph_[graph_.operand(v, 1)].type.shape);
  }
  bool is_simple_product(Vertex v) const {
    if (graph_[v].op->kind != OpKind::contraction || graph_[v].type.dtype != DType::f32) {
      return false;
    }
    const ContractionRoles roles = roles_of(v);
    return roles.windows.empty() && roles.rows.size() == 1 && roles.columns.size() == 1 &&
           roles.inner.size() == 1;
  }

  // The product of pairs that v is computed from element by element. Nothing if there are several.
  std::optional<Vertex> product_behind(Vertex v) const {
    std::optional<Vertex> found;
    std::vector<Vertex> pending{v};
    std::set<Vertex> seen{v};
    while (!pending.empty()) {
      const Vertex next = pending.back();
      pending.pop_back();
      if (graph_[next].type.shape != *shape_) continue;
      if (graph_[next].op->kind == OpKind::contraction) {
        if (found) return std::nullopt;
        found = next;
      }
      if (!is_pointwise(next)) continue;
      for (Vertex operand : graph_.operands(next)) {
        if (seen.insert(operand).second) pending.push_back(operand);
      }
    }
    return found && is_simple_product(*found) && !wanted_.contains(*found) ? found : std::nullopt;
  }

  bool find_axes() {
    const std::optional<SoftmaxOfRows> found =
        softmax_behind(graph_, graph_.operand(region_.result, 0));
    if (!found) return false;
    const SoftmaxOfRows& softmax = region_.softmax = *found;
    shape_ = &graph_[softmax.scores].type.shape;
    const std::vector<int>& axes = graph_[softmax.largest].attributes.axes;
    if (axes.size() != 1 || graph_[softmax.sum].attributes.axes != axes ||
        !is_simple_product(region_.result)) {
      return false;
    }
    const std::optional<Vertex> product = product_behind(softmax.scores);
    if (!product) return false;
    region_.products = {*product};
    region_.key_axis = static_cast<std::size_t>(axes[0]);
    const ContractionRoles roles = roles_of(*product);
    if (roles.rows[0] != region_.key_axis && roles.columns[0] != region_.key_axis) return false;
    region_.row_axis = roles.rows[0] == region_.key_axis ? roles.columns[0] : roles.rows[0];
    for (std::size_t axis = 0; axis < shape_->size(); ++axis) {
      // What is read of an axis of one element is element 0.
      const bool is_one = (*shape_)[axis].is_constant(1) && axis != region_.key_axis;
      point_.push_back(is_one ? loop::integer(0) : loop::variable(loop::fresh_variable("pair")));
    }
    of_row_ = point_;
    of_row_.erase(of_row_.begin() + static_cast<std::ptrdiff_t>(region_.key_axis));
    return true;
  }

  std::set<Vertex> needed_for_result() const {
    std::set<Vertex> needed{region_.result};
    std::vector<Vertex> pending{region_.result};
    while (!pending.empty()) {
      const Vertex v = pending.back();
      pending.pop_back();
      for (Vertex operand : graph_.operands(v)) {
        if (needed.insert(operand).second) pending.push_back(operand);
      }
    }
    return needed;
  }

  // All that is made of the products, up to what is a product again.
  bool close() {
    region_.pairs.clear();
    region_.rows.clear();
    region_.by_rows.clear();
    region_.by_keys.clear();
    reduced_.clear();
    const std::set<Vertex> products(region_.products.begin(), region_.products.end());
    for (Vertex v : graph_.topological_order()) {
      if (products.contains(v)) {
        region_.pairs.insert(v);
        continue;
      }
      if (within_ && !within_->contains(v)) continue;
      const std::vector<Vertex> operands = graph_.operands(v);
      const bool is_made =
          std::any_of(operands.begin(), operands.end(), [&](Vertex o) { return region_.has(o); });
      if (is_made && !place(v)) return false;
    }
    if (within_) return true;
    const auto ends = [&](Vertex v) { return wanted_.contains(v) && !is_reduced(v); };
    return std::none_of(region_.pairs.begin(), region_.pairs.end(), ends) &&
           std::none_of(region_.rows.begin(), region_.rows.end(), ends);
  }

  bool is_reduced(Vertex v) const {
    return std::find(reduced_.begin(), reduced_.end(), v) != reduced_.end();
  }

  bool place(Vertex v) {
    const VertexData& data = graph_[v];
    if (data.op->kind == OpKind::reduce) {
      if (!region_.pairs.contains(graph_.operand(v, 0)) ||
          data.attributes.axes != std::vector{static_cast<int>(region_.key_axis)}) {
        return false;
      }
      reduced_.push_back(v);
      region_.rows.insert(v);
      return true;
    }
    if (data.op->kind == OpKind::contraction) return place_product(v);
    if (!is_pointwise(v)) return false;
    if (data.type.shape == *shape_ && reads_known(v, point_)) {
      region_.pairs.insert(v);
      return true;
    }
    Dims of_rows = *shape_;
    of_rows.erase(of_rows.begin() + static_cast<std::ptrdiff_t>(region_.key_axis));
    if (data.type.shape == of_rows && reads_known(v, of_row_)) {
      region_.rows.insert(v);
      return true;
    }
    return false;
  }

  // Whether at that index v reads what is known where it should.
  bool reads_known(Vertex v, const Index& index) const {
    const std::vector<Vertex> operands = graph_.operands(v);
    for (const OperandRead& read : operand_reads(graph_, v, index)) {
      const Vertex operand = operands[static_cast<std::size_t>(read.position)];
      const bool of_pair = region_.pairs.contains(operand);
      if (of_pair && !(index.size() == point_.size() && same_index(read.index, point_))) {
        return false;
      }
      if (!of_pair && region_.rows.contains(operand) && !same_index(read.index, of_row_)) {
        return false;
      }
    }
    return true;
  }

  // A product of what is known for each pair and something else.
  bool place_product(Vertex v) {
    const int weights = region_.pairs.contains(graph_.operand(v, 0)) ? 0 : 1;
    if (!region_.pairs.contains(graph_.operand(v, weights)) ||
        region_.has(graph_.operand(v, 1 - weights)) || !is_simple_product(v)) {
      return false;
    }
    const ContractionRoles roles = roles_of(v);
    const loop::Variable inner = loop::fresh_variable("inner");
    Index full;
    for (std::size_t axis = 0; axis < graph_[v].type.shape.size(); ++axis) {
      full.push_back(loop::variable(loop::fresh_variable("i")));
    }
    const Index pair = graph_[v].op->factors(
        graph_[v].attributes, full, {loop::variable(inner)})[static_cast<std::size_t>(weights)];
    const std::size_t outer = weights == 0 ? roles.rows[0] : roles.columns[0];
    const bool over_keys = pair[region_.key_axis] == loop::variable(inner);
    const std::size_t inner_axis = over_keys ? region_.key_axis : region_.row_axis;
    const std::size_t outer_axis = over_keys ? region_.row_axis : region_.key_axis;
    if (pair[inner_axis] != loop::variable(inner) || pair[outer_axis] != full[outer] ||
        roles.batch.size() + 2 != shape_->size()) {
      return false;
    }
    for (std::size_t axis = 0; axis < pair.size(); ++axis) {
      if (axis == inner_axis || axis == outer_axis || (*shape_)[axis].is_constant(1)) continue;
      const bool is_batch = std::any_of(roles.batch.begin(), roles.batch.end(),
                                        [&](std::size_t b) { return full[b] == pair[axis]; });
      if (!is_batch) return false;
    }
    (over_keys ? region_.by_rows : region_.by_keys).push_back({v, weights});
    return true;
  }

  // The other product that what is made of the scores is multiplied by or added to: of rows with
  // the values that the result is made of.
  std::optional<Vertex> second_product() const {
    for (Vertex v : region_.pairs) {
      if (v == region_.products[0]) continue;
      for (Vertex operand : graph_.operands(v)) {
        if (region_.has(operand)) continue;
        const std::optional<Vertex> found = product_behind(operand);
        if (found && given_operand(graph_, *found, region_.result)) return found;
      }
    }
    return std::nullopt;
  }

  bool is_complete() {
    const bool has_result =
        std::any_of(region_.by_rows.begin(), region_.by_rows.end(),
                    [&](const auto& one) { return one.product == region_.result; });
    const SoftmaxOfRows& softmax = region_.softmax;
    if (!has_result || !is_reduced(softmax.largest) || !is_reduced(softmax.sum) ||
        !is_made_of(softmax.scores, region_.products[0]) ||
        !is_made_of(graph_.operand(region_.result, 0), softmax.weights)) {
      return false;
    }
    for (Vertex v : reduced_) {
      if (v == softmax.largest || v == softmax.sum) continue;
      if (region_.dots || !is_dots(v)) return false;
      region_.dots = v;
    }
    return true;
  }

  // Whether nothing else that is known is needed for it.
  bool is_made_of(Vertex v, Vertex what) const {
    if (v == what || !region_.has(v)) return true;
    if (!region_.pairs.contains(v) || graph_[v].op->kind == OpKind::contraction) return false;
    const std::vector<Vertex> operands = graph_.operands(v);
    return std::all_of(operands.begin(), operands.end(),
                       [&](Vertex o) { return is_made_of(o, what); });
  }

  // What is multiplied, up to roundings; `where` with zeros is a factor of its condition.
  using Multiplied = std::multiset<std::pair<int, Vertex>>;
  void add_factors(Vertex v, Multiplied& to) const {
    const auto has = [&](Vertex one) {
      return std::find(region_.products.begin(), region_.products.end(), one) !=
             region_.products.end();
    };
    if (v == region_.softmax.weights || has(v)) {
      to.insert({0, v});
    } else if (graph_.is_op(v, mul_op)) {
      add_factors(graph_.operand(v, 0), to);
      add_factors(graph_.operand(v, 1), to);
    } else if (graph_.is_op(v, div_op)) {
      add_factors(graph_.operand(v, 0), to);
      to.insert({3, graph_.operand(v, 1)});
    } else if (is_float_cast(graph_, v)) {
      add_factors(graph_.operand(v, 0), to);
    } else if (graph_.is_op(v, where_op) && is_number(graph_, graph_.operand(v, 2), 0)) {
      add_factors(graph_.operand(v, 1), to);
      to.insert({1, graph_.operand(v, 0)});
    } else if (graph_.is_op(v, where_op) && is_number(graph_, graph_.operand(v, 1), 0)) {
      add_factors(graph_.operand(v, 2), to);
      to.insert({2, graph_.operand(v, 0)});
    } else {
      to.insert({0, v});
    }
  }

  // Σ over keys: multiplied(row, key) * Σ over columns: given(row, column) * values(key, column),
  // where the result is Σ over keys: multiplied * values.
  bool is_dots(Vertex v) const {
    if (region_.products.size() != 2 || !graph_.is_op(v, sum_op)) return false;
    Multiplied here, of_result;
    add_factors(graph_.operand(v, 0), here);
    add_factors(graph_.operand(region_.result, 0), of_result);
    of_result.insert({0, region_.products[1]});
    if (here != of_result) return false;
    const auto factors = [&](Vertex of, const Index& index, const loop::Expr& inner) {
      return graph_[of].op->factors(graph_[of].attributes, index, {inner});
    };
    Index full;
    for (std::size_t axis = 0; axis < graph_[region_.result].type.shape.size(); ++axis) {
      full.push_back(loop::variable(loop::fresh_variable("i")));
    }
    const loop::Expr key = loop::variable(loop::fresh_variable("key"));
    const Factors result = factors(region_.result, full, key);
    const int given = *given_operand(graph_, region_.products[1], region_.result);
    const Factors second =
        factors(region_.products[1], result[0], full[roles_of(region_.result).columns[0]]);
    return same_index(second[static_cast<std::size_t>(1 - given)], result[1]);
  }

  const Graph& graph_;
  PairRegion region_;
  std::set<Vertex> wanted_;
  std::optional<std::set<Vertex>> within_;  // what else is made of the products does not matter
  const Dims* shape_ = nullptr;             // of what has a number for each pair
  Index point_, of_row_;
  std::vector<Vertex> reduced_;
};

}  // namespace

std::optional<int> given_operand(const Graph& graph, Graph::Vertex second, Graph::Vertex result) {
  for (const int given : {0, 1}) {
    if (graph.operand(second, 1 - given) == graph.operand(result, 1)) return given;
  }
  return std::nullopt;
}

std::optional<PairRegion> find_pairs(const Graph& graph, Graph::Vertex result) {
  return PairFinder(graph, result).run();
}
std::optional<PairRegion> find_attention(const Graph& graph, Graph::Vertex result) {
  return PairFinder(graph, result).run_forward();
}

}  // namespace kroton
