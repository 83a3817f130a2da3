#include "compiler/fusion/pair_clusters.h"

#include <algorithm>
#include <map>
#include <queue>

#include "compiler/loop/traverse.h"
#include "compiler/ops/records.h"

namespace kroton {

using Vertex = Graph::Vertex;

PairClusters::PairClusters(const Graph& graph, Fusion& fusion, const AttentionKernels& may)
    : graph_(graph), fusion_(fusion), may_(may) {
  for (Vertex v : graph.outputs) wanted_.insert(v);
  for (const Graph::Update& update : graph.updates) wanted_.insert(update.value);
}

ContractionRoles PairClusters::roles_of(Vertex v) const {
  return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                             graph_[graph_.operand(v, 1)].type.shape);
}

DType PairClusters::element_of(Vertex operand) const {
  while (!fusion_.stored[operand] &&
         (graph_[operand].op->is_view || is_float_cast(graph_, operand))) {
    operand = graph_.operand(operand, 0);
  }
  return graph_[operand].type.dtype;
}

DType PairClusters::rounded_to(Vertex weights) const {
  const bool is_cast = is_float_cast(graph_, weights);
  const DType from = graph_[is_cast ? graph_.operand(weights, 0) : weights].type.dtype;
  return is_only_stored(from) ? from : graph_[weights].type.dtype;
}

std::optional<std::int64_t> PairClusters::inner_of(Vertex product, DType element) const {
  const Dim inner = roles_of(product).inner[0];
  const bool is_alike = element_of(graph_.operand(product, 0)) == element &&
                        element_of(graph_.operand(product, 1)) == element;
  return is_alike && inner.is_constant() ? std::optional(inner.constant()) : std::nullopt;
}

std::optional<std::int64_t> PairClusters::columns_of(const Cluster::OfPairs& one,
                                                     DType element) const {
  const ContractionRoles roles = roles_of(one.product);
  const std::size_t axis = one.weights == 0 ? roles.columns[0] : roles.rows[0];
  const Dim& size = graph_[one.product].type.shape[axis];
  const bool is_alike = rounded_to(graph_.operand(one.product, one.weights)) == element &&
                        element_of(graph_.operand(one.product, 1 - one.weights)) == element;
  return is_alike && size.is_constant() ? std::optional(size.constant()) : std::nullopt;
}

bool PairClusters::may_attend(const PairRegion& region, bool keeps_weights) const {
  const DType element = element_of(graph_.operand(region.products[0], 0));
  const std::optional<std::int64_t> inner = inner_of(region.products[0], element),
                                    columns = columns_of({region.result, 0}, element);
  return inner && columns && may_.attention({element, *inner, *columns, keeps_weights});
}

std::optional<std::size_t> PairClusters::cluster_of(Vertex product) const {
  for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
    const Cluster& cluster = fusion_.clusters[c];
    if (cluster.kind == Cluster::Kind::contraction && cluster.hero == product) return c;
  }
  return std::nullopt;
}

bool PairClusters::dissolve(const PairRegion& region, const Guard& guard,
                            const std::vector<Vertex>& stays) {
  const auto is_known = [&](Vertex v) { return region.has(v); };
  std::vector<Cluster> left;
  for (Cluster& cluster : fusion_.clusters) {
    const bool stores = std::any_of(cluster.roots.begin(), cluster.roots.end(), is_known);
    if (!stores) {
      left.push_back(std::move(cluster));
      continue;
    }
    if (cluster.guard != guard) return false;
    std::erase_if(cluster.roots, is_known);
    if (cluster.roots.empty()) continue;
    if (cluster.kind != Cluster::Kind::loops || !keep_rest(cluster, region)) return false;
    left.push_back(std::move(cluster));
  }
  fusion_.clusters = std::move(left);
  for (const auto* known : {&region.pairs, &region.rows}) {
    for (Vertex v : *known) fusion_.stored[v] = false;
  }
  for (Vertex v : stays) fusion_.stored[v] = true;
  return true;
}

// What the cluster's roots that are left are made of; nothing of the region may be.
bool PairClusters::keep_rest(Cluster& cluster, const PairRegion& region) const {
  std::vector<Vertex> pending = cluster.roots;
  std::set<Vertex> needed(pending.begin(), pending.end());
  while (!pending.empty()) {
    const Vertex v = pending.back();
    pending.pop_back();
    for (Vertex operand : graph_.operands(v)) {
      if (region.has(operand)) return false;
      if (contains(cluster.members, operand) && needed.insert(operand).second) {
        pending.push_back(operand);
      }
    }
  }
  std::erase_if(cluster.members, [&](Vertex v) { return !needed.contains(v); });
  return !cluster.reduces() || std::any_of(needed.begin(), needed.end(), [&](Vertex v) {
    return graph_[v].op->kind == OpKind::reduce;
  });
}

void PairClusters::make_attention(Cluster& cluster, const PairRegion& region) {
  cluster.kind = Cluster::Kind::attention;
  cluster.products = region.products[0];
  cluster.scores = region.softmax.scores;
  cluster.weights = region.softmax.weights;
  cluster.largest = region.softmax.largest;
  cluster.sum = region.softmax.sum;
}

bool PairClusters::complete(std::size_t cluster, const PairRegion& region) {
  Cluster& completed = fusion_.clusters[cluster];
  for (Vertex root : completed.roots) {
    if (!contains(completed.members, root)) completed.members.push_back(root);
  }
  return add_operands(cluster, region);
}

bool PairClusters::add_operands(std::size_t cluster, const PairRegion& region) {
  const Cluster of = fusion_.clusters[cluster];
  std::vector<Vertex> pending = of.members;
  std::set<Vertex> members(pending.begin(), pending.end());
  while (!pending.empty()) {
    const Vertex v = pending.back();
    pending.pop_back();
    for (Vertex operand : graph_.operands(v)) {
      const OpRecord& op = *graph_[operand].op;
      const bool is_literal = op.kind == OpKind::leaf && op.at != nullptr;
      if (is_literal || fusion_.stored[operand] || members.contains(operand)) continue;
      const bool is_own =
          contains(region.products, operand) ||
          (of.kind == Cluster::Kind::attention && (operand == of.sum || operand == of.largest));
      if (!is_own && !may_compute(operand)) {
        const Vertex apart = op.regroups ? graph_.operand(operand, 0) : operand;
        if (!store_apart(apart, of.guard, region)) return false;
        if (apart == operand) continue;
      }
      members.insert(operand);
      pending.push_back(operand);
    }
  }
  std::vector<Vertex>& result = fusion_.clusters[cluster].members;
  result.clear();
  for (Vertex v : graph_.topological_order()) {
    if (members.contains(v)) result.push_back(v);
  }
  return true;
}

bool PairClusters::may_compute(Vertex v) const {
  const OpRecord& op = *graph_[v].op;
  if (is_regrouping(graph_, v)) return fusion_.stored[graph_.operand(v, 0)];
  return (op.kind == OpKind::elementwise || op.kind == OpKind::pointwise) && op.has_points() &&
         !op.observable && !op.is_redrawn;
}

bool PairClusters::store_apart(Vertex v, const Guard& guard, const PairRegion& region) {
  const OpRecord& op = *graph_[v].op;
  const bool reduces = op.kind == OpKind::reduce;
  const bool is_pointwise =
      (op.kind == OpKind::elementwise || op.kind == OpKind::pointwise) && op.has_points();
  if (region.has(v) || (!reduces && !is_pointwise)) return false;
  Cluster cluster;
  cluster.hero = v;
  cluster.guard = guard;
  cluster.domain = graph_[reduces ? graph_.operand(v, 0) : v].type.shape;
  for (std::size_t axis = 0; axis < cluster.domain.size(); ++axis) {
    cluster.variables.push_back(loop::fresh_variable("i"));
  }
  cluster.reduced.assign(cluster.domain.size(), false);
  if (reduces) {
    for (const int axis : graph_[v].attributes.axes) {
      cluster.reduced[static_cast<std::size_t>(axis)] = true;
    }
  }
  cluster.members = cluster.roots = {v};
  fusion_.clusters.push_back(std::move(cluster));
  fusion_.stored[v] = true;
  return add_operands(fusion_.clusters.size() - 1, region);
}

bool PairClusters::sort() {
  const std::size_t count = fusion_.clusters.size();
  std::map<Vertex, std::size_t> stored_by;
  for (std::size_t c = 0; c < count; ++c) {
    for (Vertex root : fusion_.clusters[c].roots) stored_by[root] = c;
  }
  std::vector<std::set<std::size_t>> behind(count);
  std::vector<std::size_t> waits(count, 0);
  for (std::size_t c = 0; c < count; ++c) {
    const Cluster& cluster = fusion_.clusters[c];
    std::set<std::size_t> before;
    const auto read = [&](Vertex v) {
      const auto at = stored_by.find(v);
      if (at != stored_by.end() && at->second != c) before.insert(at->second);
    };
    for (Vertex v : cluster.members) {
      if (v == cluster.hero && cluster.heroes.empty() && cluster.kind == Cluster::Kind::pairs) {
        read(cluster.weights);
        continue;
      }
      for (Vertex operand : graph_.operands(v)) {
        if (!contains(cluster.members, operand)) read(operand);
      }
    }
    for (const auto& step : cluster.guard) read(step.condition);
    for (const std::size_t b : before) behind[b].insert(c);
    waits[c] = before.size();
  }
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t c = 0; c < count; ++c) {
    if (waits[c] == 0) ready.push(c);
  }
  std::vector<Cluster> sorted;
  while (!ready.empty()) {
    const std::size_t c = ready.top();
    ready.pop();
    for (const std::size_t after : behind[c]) {
      if (--waits[after] == 0) ready.push(after);
    }
    sorted.push_back(fusion_.clusters[c]);
  }
  if (sorted.size() != count) return false;
  fusion_.clusters = std::move(sorted);
  return true;
}

}  // namespace kroton
