// Keys and values that several heads share, repeated for each: whoever multiplies them a tile at a
// time reads them where they lie.
#include <algorithm>

#include "compiler/fusion/fusion.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

class RepeatedOperands {
 public:
  RepeatedOperands(const Graph& graph, Fusion& fusion) : graph_(graph), fusion_(fusion) {
    for (Vertex v : graph.outputs) wanted_.insert(v);
    for (const Graph::Update& update : graph.updates) wanted_.insert(update.value);
  }

  void run() {
    for (std::size_t c = 0; c < fusion_.clusters.size(); ++c) {
      Cluster& cluster = fusion_.clusters[c];
      if (cluster.kind == Cluster::Kind::attention || cluster.kind == Cluster::Kind::pairs) {
        read_in(cluster);
      }
    }
    for (const Vertex copied : copied_) {
      if (!is_read(copied)) drop(copied);
    }
  }

 private:
  static bool contains(const std::vector<Vertex>& list, Vertex v) {
    return std::find(list.begin(), list.end(), v) != list.end();
  }

  void read_in(Cluster& cluster) {
    for (const Vertex member : std::vector<Vertex>(cluster.members)) {
      if (graph_[member].op->kind != OpKind::contraction) continue;
      for (Vertex v : graph_.operands(member)) {
        while (contains(cluster.members, v) &&
               (graph_[v].op->is_view || graph_[v].op == &cast_op)) {
          v = graph_.operand(v, 0);
        }
        const Cluster* copy = contains(cluster.members, v) ? nullptr : copy_of(v);
        if (copy == nullptr) continue;
        cluster.members.insert(cluster.members.begin(), copy->members.begin(), copy->members.end());
        copied_.insert(v);
      }
    }
  }

  // The cluster that does nothing but repeat the elements of what is stored.
  const Cluster* copy_of(Vertex v) const {
    if (graph_[v].op != &broadcast_op || wanted_.contains(v)) return nullptr;
    for (const Cluster& cluster : fusion_.clusters) {
      if (cluster.kind != Cluster::Kind::loops || cluster.roots != std::vector{v}) continue;
      const bool repeats =
          std::all_of(cluster.members.begin(), cluster.members.end(),
                      [&](Vertex m) { return graph_[m].op->is_view && !graph_[m].op->observable; });
      return repeats ? &cluster : nullptr;
    }
    return nullptr;
  }

  // Whether anything reads what the copy stores.
  bool is_read(Vertex v) const {
    for (Vertex user : graph_.users(v)) {
      bool is_placed = false;
      for (const Cluster& cluster : fusion_.clusters) {
        if (!contains(cluster.members, user)) continue;
        is_placed = true;
        if (!contains(cluster.members, v)) return true;
      }
      if (!is_placed) return true;
    }
    return false;
  }

  void drop(Vertex v) {
    std::erase_if(fusion_.clusters, [&](const Cluster& cluster) {
      return cluster.kind == Cluster::Kind::loops && cluster.roots == std::vector{v};
    });
    fusion_.stored[v] = false;
  }

  const Graph& graph_;
  Fusion& fusion_;
  std::set<Vertex> wanted_;
  std::set<Vertex> copied_;
};

}  // namespace

void read_repeated(const Graph& graph, Fusion& fusion) { RepeatedOperands(graph, fusion).run(); }

}  // namespace kroton
