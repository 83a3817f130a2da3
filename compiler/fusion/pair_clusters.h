// Clusters of what there is for all pairs of a row and a key, in place of those that `fuse` made of
// it: what those of attention (attention.cpp) and of its gradients (recompute_pairs.cpp) have in
// common.
#pragma once
#include <algorithm>

#include "compiler/fusion/pairs.h"

namespace kroton {

class PairClusters {
 public:
  PairClusters(const Graph& graph, Fusion& fusion, const AttentionKernels& may);

 protected:
  using Vertex = Graph::Vertex;

  ContractionRoles roles_of(Vertex v) const;
  bool is_wanted(Vertex v) const { return wanted_.contains(v); }

  // ---- Whether the device has kernels for it.

  // In which dtype the elements lie that the product reads.
  DType element_of(Vertex operand) const;
  // The inner elements of a product of two operands that lie in this dtype.
  std::optional<std::int64_t> inner_of(Vertex product, DType element) const;
  // The columns of a product of what there is for each pair and of an operand that lies in it.
  std::optional<std::int64_t> columns_of(const Cluster::OfPairs& one, DType element) const;
  bool may_attend(const PairRegion& region, bool keeps_weights) const;

  // ---- The clusters.

  // The one that the product is in. Nothing if what it makes of the product is not known to be.
  std::optional<std::size_t> cluster_of(Vertex product) const;
  // Nothing of the region is stored but what stays. Clusters that stored it end, or keep what else
  // they do.
  bool dissolve(const PairRegion& region, const Guard& guard, const std::vector<Vertex>& stays);
  // The result's cluster becomes one of attention.
  static void make_attention(Cluster& cluster, const PairRegion& region);
  // Adds what the cluster's members read and nobody stores. What no kernel of pairs computes, and
  // is made of no pair, gets a cluster of its own: a reduced mask, say, or what is looked up.
  bool complete(std::size_t cluster, const PairRegion& region);
  // Clusters behind those they read from, else as they were. Whether there is such an order.
  bool sort();

  static bool contains(const std::vector<Vertex>& list, Vertex v) {
    return std::find(list.begin(), list.end(), v) != list.end();
  }

  const Graph& graph_;
  Fusion& fusion_;
  const AttentionKernels& may_;

 private:
  DType rounded_to(Vertex weights) const;
  bool keep_rest(Cluster& cluster, const PairRegion& region) const;
  bool may_compute(Vertex v) const;
  bool add_operands(std::size_t cluster, const PairRegion& region);
  bool store_apart(Vertex v, const Guard& guard, const PairRegion& region);

  std::set<Vertex> wanted_;
};

}  // namespace kroton
