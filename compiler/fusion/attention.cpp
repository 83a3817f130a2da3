// Products, the softmax of their rows and products of that become one cluster. Neither the scores
// nor the weights are stored then: docs/decisions/0049-attention-on-gpus.md.
#include <algorithm>

#include "compiler/fusion/pair_clusters.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// Fewer rows of results, known to be few, are read once whatever is done.
constexpr std::int64_t few_rows = 16;

class AttentionClusters : PairClusters {
 public:
  using PairClusters::PairClusters;

  bool run(Vertex result) {
    const std::optional<PairRegion> region = find_attention(graph_, result);
    const std::optional<std::size_t> own = cluster_of(result);
    if (!region || !own) return false;
    const Dim& rows = graph_[region->products[0]].type.shape[region->row_axis];
    if (rows.is_constant() && rows.constant() < few_rows) return false;
    const std::optional<std::vector<Vertex>> kept = find_kept(*region, *own);
    if (!kept || !may_attend(*region, !kept->empty())) return false;
    const Fusion before = fusion_;
    if (join(*region, fusion_.clusters[*own].guard, *kept)) return true;
    fusion_ = before;
    return false;
  }

 private:
  static bool has(const Cluster& cluster, Vertex v) { return contains(cluster.members, v); }

  // What is stored of the region and read by others, one thing that is made of the weights or none.
  // Nothing if it is anything else.
  std::optional<std::vector<Vertex>> find_kept(const PairRegion& region, std::size_t own) const {
    std::vector<Vertex> kept;
    for (const auto* known : {&region.pairs, &region.rows}) {
      for (Vertex v : *known) {
        if (!fusion_.stored[v]) continue;
        for (Vertex user : graph_.users(v)) {
          const bool is_other = !region.has(user) && user != region.result;
          // At another place.
          if (is_other && has(fusion_.clusters[own], user)) return std::nullopt;
        }
        if (is_read_elsewhere(v, region, own)) kept.push_back(v);
      }
    }
    if (kept.size() > 1) return std::nullopt;
    for (Vertex v : kept) {
      if (!region.pairs.contains(v) || !depends_on(graph_, v, region.softmax.weights)) {
        return std::nullopt;
      }
    }
    return kept;
  }
  bool is_read_elsewhere(Vertex v, const PairRegion& region, std::size_t own) const {
    if (is_wanted(v)) return true;
    for (Vertex user : graph_.users(v)) {
      if (!region.has(user) && user != region.result) return true;
      // What others compute of what is stored is no cluster's of the region.
      for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
        const Cluster& cluster = fusion_.clusters[c];
        const bool is_region = std::any_of(cluster.roots.begin(), cluster.roots.end(),
                                           [&](Vertex root) { return region.has(root); });
        if (c != own && !is_region && has(cluster, user)) return true;
      }
    }
    return false;
  }

  bool join(const PairRegion& region, const Guard& guard, const std::vector<Vertex>& kept) {
    if (!dissolve(region, guard, kept)) return false;
    const std::size_t own = *cluster_of(region.result);
    Cluster& cluster = fusion_.clusters[own];
    make_attention(cluster, region);
    if (!kept.empty()) {
      cluster.kept = kept[0];
      cluster.roots.push_back(kept[0]);
    }
    return complete(own, region) && sort();
  }
};

}  // namespace

void join_attention(const Graph& graph, Fusion& fusion, const AttentionKernels& may) {
  for (Graph::Vertex v : graph.topological_order()) {
    if (graph[v].op->kind != OpKind::contraction) continue;
    if (!recompute_pairs(graph, fusion, may, v)) AttentionClusters(graph, fusion, may).run(v);
  }
  read_repeated(graph, fusion);
}

}  // namespace kroton
