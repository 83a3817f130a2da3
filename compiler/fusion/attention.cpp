// Clusters of products, the softmax of their rows and products of that become one. Neither the
// scores nor the weights are stored then: docs/decisions/0049-attention-on-gpus.md.
#include <algorithm>
#include <optional>

#include "compiler/fusion/fusion.h"
#include "compiler/fusion/softmax.h"
#include "compiler/loop/traverse.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// Fewer rows of results, known to be few, are read once whatever is done.
constexpr std::int64_t few_rows = 16;

class AttentionFinder {
 public:
  AttentionFinder(const Graph& graph, Fusion& fusion,
                  const std::function<bool(const AttentionOperands&)>& may)
      : graph_(graph), fusion_(fusion), may_(may) {
    for (Vertex v : graph.outputs) wanted_.insert(v);
    for (const Graph::Update& update : graph.updates) wanted_.insert(update.value);
  }

  void run() {
    for (std::size_t c = 0; c < fusion_.clusters.size();) {
      const std::optional<Found> found = find(c);
      if (!found) {
        ++c;
        continue;
      }
      join(c, *found);
      c = 0;  // clusters have moved
    }
  }

 private:
  // What an attention is made of. Scores, weights and what is multiplied are asked for at `index`.
  struct Found {
    std::size_t first, rows;  // clusters
    Vertex root;              // what the second stores of it
    bool keeps;               // for others, too
    Vertex products, scores, exponentials, sum, weights;
    Index index;
    std::size_t key_axis;
  };
  const Cluster& at(std::size_t c) const { return fusion_.clusters[c]; }
  static bool has(const Cluster& cluster, Vertex v) {
    return std::find(cluster.members.begin(), cluster.members.end(), v) != cluster.members.end();
  }
  // The one cluster that has the vertex among its members.
  std::optional<std::size_t> cluster_of(Vertex v) const {
    std::optional<std::size_t> found;
    for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
      if (!has(at(c), v)) continue;
      if (found) return std::nullopt;
      found = c;
    }
    return found;
  }
  bool is(Vertex v, const OpRecord& op) const { return graph_[v].op == &op; }
  // Whether v at that index can be computed of `target` at its own, which it needs, and of what is
  // stored or made of nothing by others than these clusters.
  class Reach {
   public:
    Reach(const AttentionFinder& finder, std::vector<const Cluster*> clusters, Vertex target,
          Index index)
        : finder_(finder),
          clusters_(std::move(clusters)),
          target_(target),
          index_(std::move(index)) {}
    bool computes(Vertex v, const Index& index) { return visit(v, index) && reached_; }

   private:
    bool visit(Vertex v, const Index& index) {
      if (v == target_) {
        reached_ = true;
        return same_index(index, index_);
      }
      const Graph& graph = finder_.graph_;
      const OpRecord& op = *graph[v].op;
      const bool is_member = std::any_of(clusters_.begin(), clusters_.end(),
                                         [&](const Cluster* c) { return has(*c, v); });
      const bool is_literal = op.kind == OpKind::leaf && op.at != nullptr;
      if (is_literal || (!is_member && finder_.fusion_.stored[v])) return true;
      if (op.regroups || op.observable || op.is_redrawn || !op.has_points()) return false;
      if (--most_ < 0) return false;
      const std::vector<Vertex> operands = graph.operands(v);
      for (const OperandRead& read : operand_reads(graph, v, index)) {
        if (!visit(operands[static_cast<std::size_t>(read.position)], read.index)) return false;
      }
      return true;
    }

    const AttentionFinder& finder_;
    const std::vector<const Cluster*> clusters_;
    const Vertex target_;
    const Index index_;
    bool reached_ = false;
    int most_ = 256;
  };

  // Whether no other cluster reads what this one stores there but that one, and nobody asks for it.
  bool feeds_only(Vertex root, std::size_t from, const Cluster& to) const {
    if (wanted_.contains(root)) return false;
    for (Vertex user : graph_.users(root)) {
      for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
        if (c != from && &at(c) != &to && has(at(c), user)) return false;
      }
      // What is in no cluster, the results of loops and calls, reads memory.
      if (!has(to, user)) return false;
    }
    return true;
  }

  bool reads(const Cluster& cluster, Vertex root) const {
    const std::vector<Vertex> users = graph_.users(root);
    return std::any_of(users.begin(), users.end(), [&](Vertex v) { return has(cluster, v); }) ||
           std::any_of(cluster.guard.begin(), cluster.guard.end(),
                       [&](const auto& step) { return step.condition == root; });
  }

  // The clusters between the two that wait for that root of the first. Nothing if the second one
  // waits for any of them.
  std::optional<std::set<std::size_t>> waiting(Vertex root, std::size_t first,
                                               std::size_t last) const {
    std::set<std::size_t> found;
    std::vector<Vertex> roots{root};
    const auto waits = [&](std::size_t c) {
      return std::any_of(roots.begin(), roots.end(), [&](Vertex v) { return reads(at(c), v); });
    };
    for (std::size_t c = first + 1; c < last; ++c) {
      if (!waits(c)) continue;
      found.insert(c);
      roots.insert(roots.end(), at(c).roots.begin(), at(c).roots.end());
    }
    roots.erase(roots.begin());
    return waits(last) ? std::nullopt : std::optional(found);
  }

  // The members that these roots of the cluster are computed from.
  std::set<Vertex> needed_for(const Cluster& cluster, const std::vector<Vertex>& roots) const {
    std::vector<Vertex> pending = roots;
    std::set<Vertex> needed(roots.begin(), roots.end());
    while (!pending.empty()) {
      const Vertex v = pending.back();
      pending.pop_back();
      for (Vertex operand : graph_.operands(v)) {
        if (has(cluster, operand) && needed.insert(operand).second) pending.push_back(operand);
      }
    }
    return needed;
  }
  static std::vector<Vertex> others(const Cluster& cluster, Vertex root) {
    std::vector<Vertex> result = cluster.roots;
    std::erase(result, root);
    return result;
  }
  std::ptrdiff_t reductions_in(const std::set<Vertex>& members) const {
    return std::count_if(members.begin(), members.end(),
                         [&](Vertex v) { return graph_[v].op->kind == OpKind::reduce; });
  }

  // In which dtype the product's operand lies where the cluster reads it.
  DType element_of(const Cluster& cluster, Vertex operand) const {
    while (has(cluster, operand) && graph_[operand].op->is_view) {
      operand = graph_.operand(operand, 0);
    }
    const bool is_converted = is(operand, cast_op) && has(cluster, operand);
    return graph_[is_converted ? graph_.operand(operand, 0) : operand].type.dtype;
  }

  struct Product {
    ContractionRoles roles;
    Factors factors;
  };
  // One axis of each role but the batch's, no windows.
  std::optional<Product> product(Vertex v, const Index& index, const loop::Variable& inner) const {
    const VertexData& data = graph_[v];
    Product result;
    result.roles = data.op->roles(data.attributes, graph_[graph_.operand(v, 0)].type.shape,
                                  graph_[graph_.operand(v, 1)].type.shape);
    const ContractionRoles& roles = result.roles;
    if (!roles.windows.empty() || roles.rows.size() != 1 || roles.columns.size() != 1 ||
        roles.inner.size() != 1 || data.type.dtype != DType::f32) {
      return std::nullopt;
    }
    result.factors = data.op->factors(data.attributes, index, {loop::variable(inner)});
    return result;
  }

  std::optional<Found> find(std::size_t position) const {
    const Cluster& last = at(position);
    if (last.kind != Cluster::Kind::contraction) return std::nullopt;
    const Vertex multiplied = graph_.operand(last.hero, 0);
    const std::optional<SoftmaxOfRows> softmax = softmax_behind(graph_, multiplied);
    if (!softmax) return std::nullopt;
    const auto& [scores, largest, difference, exponentials, sum, divisor, weights] = *softmax;
    const std::optional<std::size_t> rows = cluster_of(softmax->exponentials);
    if (!rows || at(*rows).kind != Cluster::Kind::loops || at(*rows).guard != last.guard ||
        &at(*rows) == &last) {
      return std::nullopt;
    }
    const Cluster& middle = at(*rows);
    // Rows of others may be computed there too, which have nothing to do with these.
    std::optional<Vertex> root;
    for (Vertex v : middle.roots) {
      const std::set<Vertex> needed = needed_for(middle, {v});
      if (needed.contains(softmax->weights)) {
        if (root || reductions_in(needed) != 2 || !needed.contains(largest) ||
            !needed.contains(softmax->sum)) {
          return std::nullopt;
        }
        root = v;
      }
    }
    if (!root) return std::nullopt;
    const bool keeps = !feeds_only(*root, *rows, last);
    if (keeps && !waiting(*root, *rows, position)) return std::nullopt;
    const std::set<Vertex> rest = needed_for(middle, others(middle, *root));
    if (rest.contains(largest) || rest.contains(softmax->sum) ||
        (!rest.empty() && reductions_in(rest) == 0)) {
      return std::nullopt;
    }

    // The one product that the scores are made of.
    const std::optional<std::size_t> first = first_of(scores, middle);
    if (!first || at(*first).guard != last.guard || at(*first).roots.size() != 1 ||
        !feeds_only(at(*first).roots[0], *first, middle)) {
      return std::nullopt;
    }
    const loop::Variable key = loop::fresh_variable("key");
    const std::optional<Product> second = product(last.hero, last.full_point(), key);
    if (!second) return std::nullopt;
    Found found{*first,
                *rows,
                *root,
                keeps,
                at(*first).hero,
                scores,
                softmax->exponentials,
                softmax->sum,
                softmax->weights,
                second->factors[0],
                0};
    const std::optional<Product> begin =
        product(found.products, found.index, loop::fresh_variable("k"));
    if (!begin || !has_roles(*begin, *second, found, last, key)) return std::nullopt;
    if (!is_computable(found, difference, largest, last)) return std::nullopt;
    if (!pays(found, *begin, *second, last)) return std::nullopt;
    return found;
  }

  // The cluster of the product that the scores come from.
  std::optional<std::size_t> first_of(Vertex scores, const Cluster& middle) const {
    std::vector<Vertex> pending{scores};
    std::set<Vertex> seen{scores};
    std::optional<std::size_t> first;
    while (!pending.empty()) {
      const Vertex v = pending.back();
      pending.pop_back();
      const bool is_product = graph_[v].op->kind == OpKind::contraction;
      const std::optional<std::size_t> c = cluster_of(v);
      if (c && at(*c).kind == Cluster::Kind::contraction) {
        if (first && *first != *c) return std::nullopt;
        first = c;
      }
      if (is_product || (!has(middle, v) && !c)) continue;
      for (Vertex operand : graph_.operands(v)) {
        const bool is_stored = fusion_.stored[operand] && !has(middle, operand) &&
                               graph_[operand].op->kind != OpKind::contraction;
        const std::optional<std::size_t> other = cluster_of(operand);
        const bool is_of_product = other && at(*other).kind == Cluster::Kind::contraction;
        if ((!is_stored || is_of_product) && seen.insert(operand).second) {
          pending.push_back(operand);
        }
      }
    }
    return first;
  }

  // Whether the products' rows are those of the result, their columns the keys, batches alike.
  bool has_roles(const Product& begin, const Product& second, Found& found, const Cluster& last,
                 const loop::Variable& key) const {
    const auto is_variable = [&](std::size_t axis, const loop::Variable& variable) {
      const loop::Expr& e = found.index[axis];
      return e->op == loop::Op::variable && e->variable == variable;
    };
    found.key_axis = begin.roles.columns[0];
    if (!is_variable(found.key_axis, key) ||
        !is_variable(begin.roles.rows[0], last.variables[second.roles.rows[0]])) {
      return false;
    }
    const std::vector<std::size_t>& batch = begin.roles.batch;
    return batch.size() == second.roles.batch.size() &&
           std::all_of(batch.begin(), batch.end(), [&](std::size_t axis) {
             return std::any_of(
                 second.roles.batch.begin(), second.roles.batch.end(),
                 [&](std::size_t other) { return is_variable(axis, last.variables[other]); });
           });
  }

  bool is_computable(const Found& found, Vertex difference, Vertex largest,
                     const Cluster& last) const {
    const std::vector<int> axes{static_cast<int>(found.key_axis)};
    if (graph_[largest].attributes.axes != axes || graph_[found.sum].attributes.axes != axes) {
      return false;
    }
    const Dims& shape = graph_[found.products].type.shape;
    for (Vertex v : {found.scores, found.exponentials, found.weights}) {
      if (graph_[v].type.shape != shape) return false;
    }
    Index of_row = found.index;
    of_row.erase(of_row.begin() + static_cast<std::ptrdiff_t>(found.key_axis));
    const std::vector<const Cluster*> all{&at(found.first), &at(found.rows), &last};
    const auto computes = [&](Vertex v, Vertex target, const Index& index) {
      return Reach(*this, all, target, index).computes(v, found.index);
    };
    const Vertex divisor = graph_.operand(
        found.weights, graph_.operand(found.weights, 0) == found.exponentials ? 1 : 0);
    return graph_[found.root].type.shape == shape &&
           computes(found.root, found.weights, found.index) &&
           computes(found.scores, found.products, found.index) &&
           computes(graph_.operand(difference, 1), largest, of_row) &&
           computes(divisor, found.sum, of_row) &&
           computes(graph_.operand(last.hero, 0), found.weights, found.index);
  }

  bool pays(const Found& found, const Product& begin, const Product& second,
            const Cluster& last) const {
    const Dim& rows = last.domain[second.roles.rows[0]];
    if (rows.is_constant() && rows.constant() < few_rows) return false;
    const Dim& inner = begin.roles.inner[0];
    const Dim& columns = last.domain[second.roles.columns[0]];
    if (!inner.is_constant() || !columns.is_constant()) return false;
    const Cluster& first = at(found.first);
    AttentionOperands operands{element_of(first, graph_.operand(found.products, 0)),
                               inner.constant(), columns.constant(), found.keeps};
    const bool are_alike =
        operands.element == element_of(first, graph_.operand(found.products, 1)) &&
        operands.element == element_of(last, graph_.operand(last.hero, 0)) &&
        operands.element == element_of(last, graph_.operand(last.hero, 1));
    return are_alike && may_(operands);
  }

  // The last of the three becomes the one.
  void join(std::size_t last, const Found& found) {
    Cluster joined = at(last);
    joined.kind = Cluster::Kind::attention;
    joined.products = found.products;
    joined.scores = found.scores;
    joined.weights = found.weights;
    Cluster& middle = fusion_.clusters[found.rows];
    const std::set<Vertex> of_rows = needed_for(middle, {found.root});
    const std::vector<Vertex> kept = others(middle, found.root);
    std::vector<Vertex> members;
    std::set<Vertex> known;
    for (const std::size_t c : {found.first, found.rows, last}) {
      for (Vertex v : at(c).members) {
        if ((c != found.rows || of_rows.contains(v)) && known.insert(v).second) {
          members.push_back(v);
        }
      }
    }
    joined.members = std::move(members);
    if (found.keeps) {
      joined.kept = found.root;
      joined.roots.push_back(found.root);
    } else {
      fusion_.stored[found.root] = false;
    }
    fusion_.stored[at(found.first).roots[0]] = false;
    if (!kept.empty()) {
      const std::set<Vertex> rest = needed_for(middle, kept);
      std::erase_if(middle.members, [&](Vertex v) { return !rest.contains(v); });
      middle.roots = kept;
    }
    const std::set<std::size_t> later =
        found.keeps ? *waiting(found.root, found.rows, last) : std::set<std::size_t>();
    fusion_.clusters[last] = std::move(joined);
    // Those that wait for the weights come behind it.
    std::vector<Cluster> ordered;
    const auto take = [&](std::size_t c) { ordered.push_back(std::move(fusion_.clusters[c])); };
    for (std::size_t c = 0; c < last; ++c) {
      const bool is_gone = c == found.first || (c == found.rows && kept.empty());
      if (!is_gone && !later.contains(c)) take(c);
    }
    take(last);
    for (const std::size_t c : later) take(c);
    for (std::size_t c = last + 1; c < fusion_.clusters.size(); ++c) take(c);
    fusion_.clusters = std::move(ordered);
  }

  const Graph& graph_;
  Fusion& fusion_;
  const std::function<bool(const AttentionOperands&)>& may_;
  std::set<Vertex> wanted_;
};

}  // namespace

void join_attention(const Graph& graph, Fusion& fusion, const AttentionKernels& may) {
  recompute_pairs(graph, fusion, may);
  AttentionFinder(graph, fusion, may.attention).run();
  read_repeated(graph, fusion);
}

}  // namespace kroton
