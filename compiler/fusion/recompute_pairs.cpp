// Clusters of attention and its gradients that compute scores and weights again wherever they are
// needed, so that nothing that has a number for each pair of a row and a key is stored: the forward
// pass leaves two numbers of each row (docs/decisions/0054-gradients-of-attention.md).
#include <algorithm>
#include <map>
#include <queue>

#include "compiler/fusion/pairs.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

constexpr std::int64_t few_pairs = 16;

bool contains(const std::vector<Vertex>& list, Vertex v) {
  return std::find(list.begin(), list.end(), v) != list.end();
}

class PairClusters {
 public:
  PairClusters(const Graph& graph, Fusion& fusion, const AttentionKernels& may)
      : graph_(graph), fusion_(fusion), may_(may) {}

  void run() {
    for (Vertex v : graph_.topological_order()) {
      if (graph_[v].op->kind != OpKind::contraction) continue;
      const std::optional<PairRegion> region = find_pairs(graph_, v);
      if (!region || !may_recompute(*region)) continue;
      const Fusion before = fusion_;
      // The gradients of keys and values share what they are made of.
      if (recluster(*region, true)) continue;
      fusion_ = before;
      if (!recluster(*region, false)) fusion_ = before;
    }
  }

 private:
  ContractionRoles roles_of(Vertex v) const {
    return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                               graph_[graph_.operand(v, 1)].type.shape);
  }

  // ---- Whether the device has kernels for it.

  // In which dtype the elements lie that the product reads.
  DType element_of(Vertex operand) const {
    while (!fusion_.stored[operand] &&
           (graph_[operand].op->is_view || is_float_cast(graph_, operand))) {
      operand = graph_.operand(operand, 0);
    }
    return graph_[operand].type.dtype;
  }
  DType rounded_to(Vertex weights) const {
    const bool is_cast = is_float_cast(graph_, weights);
    const DType from = graph_[is_cast ? graph_.operand(weights, 0) : weights].type.dtype;
    return is_only_stored(from) ? from : graph_[weights].type.dtype;
  }
  std::optional<std::int64_t> columns_of(const Cluster::OfPairs& one) const {
    const ContractionRoles roles = roles_of(one.product);
    const std::size_t axis = one.weights == 0 ? roles.columns[0] : roles.rows[0];
    const Dim& size = graph_[one.product].type.shape[axis];
    return size.is_constant() ? std::optional(size.constant()) : std::nullopt;
  }

  bool may_recompute(const PairRegion& region) const {
    const Dims& shape = graph_[region.products[0]].type.shape;
    for (const std::size_t axis : {region.row_axis, region.key_axis}) {
      if (shape[axis].is_constant() && shape[axis].constant() < few_pairs) return false;
    }
    const DType element = element_of(graph_.operand(region.products[0], 0));
    PairOperands operands{element, {}, {}};
    for (Vertex product : region.products) {
      const Dim inner = roles_of(product).inner[0];
      if (!inner.is_constant() || element_of(graph_.operand(product, 0)) != element ||
          element_of(graph_.operand(product, 1)) != element) {
        return false;
      }
      operands.inner.push_back(inner.constant());
    }
    for (const auto* list : {&region.by_rows, &region.by_keys}) {
      for (const Cluster::OfPairs& one : *list) {
        const std::optional<std::int64_t> columns = columns_of(one);
        if (!columns || rounded_to(graph_.operand(one.product, one.weights)) != element ||
            element_of(graph_.operand(one.product, 1 - one.weights)) != element) {
          return false;
        }
        operands.columns = {*columns};
        if (one.product != region.result && !may_.pairs(operands)) return false;
      }
    }
    return may_.attention({element, operands.inner[0], *columns_of({region.result, 0}), false});
  }
  // Both in one kernel.
  bool may_share(const PairRegion& region) const {
    if (region.by_keys.size() != 2) return false;
    const Cluster::OfPairs &a = region.by_keys[0], &b = region.by_keys[1];
    PairOperands operands{
        element_of(graph_.operand(a.product, 1 - a.weights)), {}, {*columns_of(a), *columns_of(b)}};
    for (Vertex product : region.products) {
      operands.inner.push_back(roles_of(product).inner[0].constant());
    }
    return may_.pairs(operands);
  }

  // ---- The clusters.

  // The one that the product is in. Nothing if what it makes of the product is not known to be.
  std::optional<std::size_t> cluster_of(Vertex product) const {
    for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
      const Cluster& cluster = fusion_.clusters[c];
      if (cluster.kind == Cluster::Kind::contraction && cluster.hero == product) return c;
    }
    return std::nullopt;
  }

  bool recluster(const PairRegion& region, bool shares) {
    std::vector<Cluster::OfPairs> products = region.by_rows;
    products.insert(products.end(), region.by_keys.begin(), region.by_keys.end());
    std::optional<std::size_t> own = cluster_of(region.result);
    if (!own) return false;
    const Guard guard = fusion_.clusters[*own].guard;
    for (const Cluster::OfPairs& one : products) {
      const std::optional<std::size_t> c = cluster_of(one.product);
      if (!c || fusion_.clusters[*c].guard != guard) return false;
    }
    if (!dissolve(region, guard)) return false;

    for (const Cluster::OfPairs& one : products) {
      Cluster& cluster = fusion_.clusters[*cluster_of(one.product)];
      if (one.product == region.result) {
        cluster.kind = Cluster::Kind::attention;
        cluster.products = region.products[0];
        cluster.scores = region.softmax.scores;
        cluster.weights = region.softmax.weights;
        cluster.largest = region.softmax.largest;
        cluster.sum = region.softmax.sum;
        cluster.of_rows = numbers_of_rows(region);
        for (Vertex row : cluster.of_rows) cluster.roots.push_back(row);
        if (region.dots) store_result(cluster, region);
      } else {
        cluster.kind = Cluster::Kind::pairs;
        cluster.heroes = {one};
      }
      if (!complete(cluster, region)) return false;
    }
    if (region.dots && !add_dots(region, guard)) return false;
    if (shares && !share(region)) return false;
    return sort();
  }

  // What the forward pass leaves of each row. A reciprocal is worked out once, and the sum is
  // stored where anything else needs it.
  std::vector<Vertex> numbers_of_rows(const PairRegion& region) const {
    const SoftmaxOfRows& softmax = region.softmax;
    std::vector<Vertex> numbers{softmax.largest, softmax.divisor};
    const std::vector<Vertex> users = graph_.users(softmax.sum);
    const bool is_needed =
        contains(graph_.outputs, softmax.sum) ||
        std::any_of(graph_.updates.begin(), graph_.updates.end(),
                    [&](const auto& update) { return update.value == softmax.sum; }) ||
        std::any_of(users.begin(), users.end(), [&](Vertex v) { return v != softmax.divisor; });
    if (is_needed && softmax.divisor != softmax.sum) numbers.push_back(softmax.sum);
    return numbers;
  }

  // Nothing of the region is stored but what the products' clusters and the rows need. Clusters
  // that stored it end, or keep what else they do.
  bool dissolve(const PairRegion& region, const Guard& guard) {
    const auto is_known = [&](Vertex v) {
      return region.pairs.contains(v) || region.rows.contains(v);
    };
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
      if (cluster.kind != Cluster::Kind::loops || !keep_rest(cluster, is_known)) return false;
      left.push_back(std::move(cluster));
    }
    fusion_.clusters = std::move(left);
    for (const auto* known : {&region.pairs, &region.rows}) {
      for (Vertex v : *known) fusion_.stored[v] = false;
    }
    for (Vertex v : numbers_of_rows(region)) fusion_.stored[v] = true;
    if (region.dots) fusion_.stored[*region.dots] = true;
    return true;
  }

  // What the cluster's roots that are left are made of; nothing of the region may be.
  template <class IsKnown>
  bool keep_rest(Cluster& cluster, const IsKnown& is_known) const {
    std::vector<Vertex> pending = cluster.roots;
    std::set<Vertex> needed(pending.begin(), pending.end());
    while (!pending.empty()) {
      const Vertex v = pending.back();
      pending.pop_back();
      for (Vertex operand : graph_.operands(v)) {
        if (is_known(operand)) return false;
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

  // Adds what the members read and nobody stores.
  bool complete(Cluster& cluster, const PairRegion& region) const {
    std::set<Vertex> members(cluster.members.begin(), cluster.members.end());
    std::vector<Vertex> pending = cluster.members;
    for (Vertex root : cluster.roots) {
      if (members.insert(root).second) pending.push_back(root);
    }
    while (!pending.empty()) {
      const Vertex v = pending.back();
      pending.pop_back();
      for (Vertex operand : graph_.operands(v)) {
        const OpRecord& op = *graph_[operand].op;
        const bool is_literal = op.kind == OpKind::leaf && op.at != nullptr;
        if (is_literal || fusion_.stored[operand] || members.contains(operand)) continue;
        const bool is_own = contains(region.products, operand) ||
                            (cluster.kind == Cluster::Kind::attention && operand == cluster.sum);
        if (!is_own && !may_compute(operand)) return false;
        members.insert(operand);
        pending.push_back(operand);
      }
    }
    cluster.members.assign(members.begin(), members.end());
    const std::vector<Vertex> order = graph_.topological_order();
    std::vector<std::size_t> place(graph_.size());
    for (std::size_t k = 0; k < order.size(); ++k) place[order[k]] = k;
    std::sort(cluster.members.begin(), cluster.members.end(),
              [&](Vertex a, Vertex b) { return place[a] < place[b]; });
    return true;
  }
  bool may_compute(Vertex v) const {
    const OpRecord& op = *graph_[v].op;
    if (op.regroups) return fusion_.stored[graph_.operand(v, 0)];
    return (op.kind == OpKind::elementwise || op.kind == OpKind::pointwise) && op.has_points() &&
           !op.observable && !op.is_redrawn;
  }

  // The result, rounded as what it is multiplied by.
  Vertex result_of(const PairRegion& region) const {
    if (fusion_.stored[region.result]) return region.result;
    const DType element = element_of(graph_.operand(region.products[1], 0));
    for (Vertex user : graph_.users(region.result)) {
      if (is_float_cast(graph_, user) && graph_[user].type.dtype == element) return user;
    }
    return region.result;
  }
  // The sums of rows read it.
  void store_result(Cluster& cluster, const PairRegion& region) {
    const Vertex result = result_of(region);
    if (fusion_.stored[result]) return;
    fusion_.stored[result] = true;
    cluster.roots.push_back(result);
  }

  // Of the result's rows and what the second product has of them.
  bool add_dots(const PairRegion& region, const Guard& guard) {
    Cluster dots;
    dots.kind = Cluster::Kind::pairs;
    dots.guard = guard;
    dots.hero = *region.dots;
    dots.products = region.products[1];
    dots.weights = result_of(region);
    dots.scores = region.result;
    dots.roots = {*region.dots};
    std::vector<Vertex> pending{graph_.operand(region.products[1], 0)};
    dots.members = {*region.dots};
    for (Vertex v = pending[0]; !fusion_.stored[v]; v = graph_.operand(v, 0)) {
      const bool is_read_through = is_float_cast(graph_, v) || graph_[v].op->is_view;
      if (!is_read_through) return false;
      dots.members.push_back(v);
    }
    std::reverse(dots.members.begin(), dots.members.end());
    fusion_.clusters.push_back(std::move(dots));
    return true;
  }

  // The second of two products over rows becomes a part of the first's cluster.
  bool share(const PairRegion& region) {
    if (!may_share(region)) return false;
    std::vector<std::size_t> places;
    for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
      const Cluster& cluster = fusion_.clusters[c];
      if (cluster.kind == Cluster::Kind::pairs && !cluster.heroes.empty() &&
          (cluster.hero == region.by_keys[0].product ||
           cluster.hero == region.by_keys[1].product)) {
        places.push_back(c);
      }
    }
    Cluster& a = fusion_.clusters[places[0]];
    const Cluster& b = fusion_.clusters[places[1]];
    const auto needs = [&](const Cluster& reader, const Cluster& other) {
      return std::any_of(reader.roots.begin(), reader.roots.end(),
                         [&](Vertex root) { return depends_on(graph_, root, other.hero); });
    };
    if (needs(a, b) || needs(b, a)) return false;
    a.heroes.push_back(b.heroes[0]);
    a.roots.insert(a.roots.end(), b.roots.begin(), b.roots.end());
    for (Vertex v : b.members) {
      if (!contains(a.members, v)) a.members.push_back(v);
    }
    fusion_.clusters.erase(fusion_.clusters.begin() + static_cast<std::ptrdiff_t>(places[1]));
    return true;
  }

  // Clusters behind those they read from, else as they were. Whether there is such an order.
  bool sort() {
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

  const Graph& graph_;
  Fusion& fusion_;
  const AttentionKernels& may_;
};

}  // namespace

void recompute_pairs(const Graph& graph, Fusion& fusion, const AttentionKernels& may) {
  PairClusters(graph, fusion, may).run();
}

}  // namespace kroton
