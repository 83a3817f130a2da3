// Clusters of attention and its gradients that compute scores and weights again wherever they are
// needed, so that nothing that has a number for each pair of a row and a key is stored: the forward
// pass leaves two numbers of each row (docs/decisions/0054-gradients-of-attention.md).
#include <algorithm>

#include "compiler/fusion/pair_clusters.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

constexpr std::int64_t few_pairs = 16;

class RecomputedPairs : PairClusters {
 public:
  using PairClusters::PairClusters;

  bool run(Vertex result) {
    const std::optional<PairRegion> region = find_pairs(graph_, result);
    if (!region || !may_recompute(*region)) return false;
    const Fusion before = fusion_;
    // The gradients of keys and values share what they are made of.
    for (const bool shares : {true, false}) {
      if (recluster(*region, shares)) return true;
      fusion_ = before;
    }
    return false;
  }

 private:
  // ---- Whether the device has kernels for it.

  bool may_recompute(const PairRegion& region) const {
    const Dims& shape = graph_[region.products[0]].type.shape;
    for (const std::size_t axis : {region.row_axis, region.key_axis}) {
      if (shape[axis].is_constant() && shape[axis].constant() < few_pairs) return false;
    }
    const DType element = element_of(graph_.operand(region.products[0], 0));
    PairOperands operands{element, {}, {}};
    for (Vertex product : region.products) {
      const std::optional<std::int64_t> inner = inner_of(product, element);
      if (!inner) return false;
      operands.inner.push_back(*inner);
    }
    for (const auto* list : {&region.by_rows, &region.by_keys}) {
      for (const Cluster::OfPairs& one : *list) {
        const std::optional<std::int64_t> columns = columns_of(one, element);
        if (!columns) return false;
        operands.columns = {*columns};
        if (one.product != region.result && !may_.pairs(operands)) return false;
      }
    }
    return may_attend(region, false);
  }
  // Both in one kernel.
  bool may_share(const PairRegion& region) const {
    if (region.by_keys.size() != 2) return false;
    const DType element = element_of(graph_.operand(region.products[0], 0));
    PairOperands operands{element, {}, {}};
    for (const Cluster::OfPairs& one : region.by_keys) {
      operands.columns.push_back(*columns_of(one, element));
    }
    for (Vertex product : region.products) operands.inner.push_back(*inner_of(product, element));
    return may_.pairs(operands);
  }

  // ---- The clusters.

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
    std::vector<Vertex> stays = numbers_of_rows(region);
    if (region.dots) stays.push_back(*region.dots);
    if (!dissolve(region, guard, stays)) return false;

    for (const Cluster::OfPairs& one : products) {
      const std::size_t c = *cluster_of(one.product);
      Cluster& cluster = fusion_.clusters[c];
      if (one.product == region.result) {
        make_attention(cluster, region);
        cluster.of_rows = numbers_of_rows(region);
        for (Vertex row : cluster.of_rows) cluster.roots.push_back(row);
        if (region.dots) store_result(cluster, region);
      } else {
        cluster.kind = Cluster::Kind::pairs;
        cluster.heroes = {one};
      }
      if (!complete(c, region)) return false;
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
        is_wanted(softmax.sum) ||
        std::any_of(users.begin(), users.end(), [&](Vertex v) { return v != softmax.divisor; });
    if (is_needed && softmax.divisor != softmax.sum) numbers.push_back(softmax.sum);
    return numbers;
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
    const int given = *given_operand(graph_, region.products[1], region.result);
    dots.members = {*region.dots};
    for (Vertex v = graph_.operand(region.products[1], given); !fusion_.stored[v];
         v = graph_.operand(v, 0)) {
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
};

}  // namespace

bool recompute_pairs(const Graph& graph, Fusion& fusion, const AttentionKernels& may,
                     Graph::Vertex result) {
  return RecomputedPairs(graph, fusion, may).run(result);
}

}  // namespace kroton
