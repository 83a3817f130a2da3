// How `fuse` decides: vertices are placed one after the other, users before operands, each in a
// cluster of its readers or one of its own.
#pragma once
#include <functional>
#include <unordered_map>

#include "compiler/fusion/cluster_order.h"
#include "compiler/fusion/fusion.h"
#include "compiler/ops/records.h"

namespace kroton {

// A kernel's expression grows with its members, code generation grows faster than that, and a
// call's stack holds the values that have no room in registers.
inline constexpr std::size_t largest_cluster = 96;
inline constexpr std::size_t most_views = 640;
// The whole-array normalisations of this many elements run as one serial kernel.
inline constexpr std::int64_t small_domain = 4096;
// Work of one element that may be done again for every reader instead of being stored.
inline constexpr int cheap = 1;
// The same on a GPU, of what is as large as all that the readers go over: to store and to read that
// takes longer.
inline constexpr int cheaper_than_memory = 4;
// The same of what is made of what the readers read anyway: to compute it takes half as long as to
// store an element and to read it.
inline constexpr int cheaper_than_array = 40;

// What the clusters ask of one vertex.
struct Demand {
  std::vector<Index> points;   // distinct indices at which it is evaluated
  bool needs_storage = false;  // must lie in memory, perhaps behind views
  bool needs_order = false;    // must lie in memory itself, in row-major order
  bool conditional = false;  // not wherever the cluster is evaluated: an index may be out of range
  void add(const Index& point);  // unless it is there
};
using Demands = std::map<int, Demand>;  // by cluster

class Fuser {
 public:
  using Vertex = Graph::Vertex;

  Fuser(const Graph& graph, const FusionFor& machine)
      : graph_(graph),
        machine_(machine),
        guards_(find_guards(graph)),
        demands_(graph.size()),
        computed_(graph.size()),
        wanted_(graph.size(), false),
        order_(graph.topological_order()) {
    result_.stored.assign(graph.size(), false);
    note_places();
    for (Vertex v : graph.outputs) wanted_[v] = true;
    for (const Graph::Update& u : graph.updates) wanted_[u.value] = true;
  }
  Fusion run();

 private:
  // ---- Placing: fusion.cpp.

  // What is asked again and again of each vertex: its place in the order, and whether it may fail.
  void note_places();
  void place(Vertex v);
  // A scan or a call is a cluster with its results, whose readers have been placed before.
  void place_with_results(Vertex v, Cluster::Kind kind);
  bool must_store(Vertex v, const Demands& demands) const;
  void place_pointwise(Vertex v, Demands& demands);
  // Whether v may be computed again for each reader.
  bool is_cheap(Vertex v, const Demands& demands);
  // Whether that is about as many elements as the shape has.
  static bool goes_once_over(const Dims& domain, const Dims& shape);
  // v is computed wherever it is read.
  void inline_into(Vertex v, const Demands& demands);
  void place_reduce(Vertex v, Demands& demands);
  // Whether the cluster can compute a reduction that it reads at `point`; reshapes it if so.
  bool join_reduction(int c, const Index& point, const Dims& shape, const Dims& input,
                      const std::vector<bool>& removed);
  void place_contraction(Vertex v, Demands& demands);
  // v is computed in cluster c: stored if anyone else reads it.
  void finish(Vertex v, int c, Demands& demands);
  void store(Vertex v, int c, const Demands& demands);
  // Adds what v's evaluation reads to its operands' demands.
  void ask_operands(Vertex v);
  // Whether v's windows overlap little, so that what they see is copied, and some of that is
  // padding: the copy has it, and nothing with padding is stored.
  bool sees_padding(Vertex v) const;
  ContractionRoles roles_of(Vertex v) const;
  // Where in operand 0 an element of the contraction v finds one of its factors.
  // The conversion of that operand from a dtype that is only stored, if the product makes it: what
  // is converted is read, and converted where the product copies it. Both operands' may be the
  // same.
  std::optional<Vertex> conversion_of(Vertex v, std::size_t number) const;
  bool converts_operand(Vertex v, std::size_t number) const {
    return conversion_of(v, number).has_value();
  }
  Index place_of_operand(Vertex v, std::size_t number, const Cluster& cluster) const;
  // Whether evaluating the observable v at that index all over the cluster's domain looks at
  // whatever it checks: along such an axis it is at each place.
  bool checks_all(Vertex v, const Index& index, const Cluster& cluster) const;
  // Wherever loops of an op's own ask for an element.
  Index any_point(Vertex v) const;
  // A new, empty one.
  int new_cluster(Vertex hero, Cluster::Kind kind, const Dims& domain);
  // With v computed in c, every other reader of v comes after c: none of them may lead back to c.
  bool stays_acyclic(int c, const Demands& demands);
  void sort_clusters();

  // ---- Clusters that read the same become one: merge_readers.cpp.

  // Clusters that go over all elements of v and reduce the same axes or none, or of which one
  // reduces them to scalars and the other gives a result for each, become one: then v need not be
  // stored for the other.
  void merge_readers(Vertex v);
  // Of those the ones that `may` meet.
  void merge_readers(Vertex v, const std::function<bool(const Cluster&, const Cluster&)>& may);
  // Elementwise clusters that go over all elements of an argument, and whose results are all asked
  // for, so that none lies in memory longer for it, become one: then v is read once.
  void merge_wanted_readers(Vertex v);
  // Once all are placed: reductions of the same rows, or of whole arrays, that read v, which lies
  // in memory, become one and read it once.
  void merge_reductions(Vertex v);
  // Then those of the same rows, or columns, of which one needs the other's results for its own
  // rows: these are earlier stages of the same loops.
  void merge_stages(Vertex v);
  // Whether b may compute what a stores for it.
  bool may_be_earlier_stage(int a, int b);
  // Once all are placed: elementwise work that reads v, as a reduction of rows does, and what that
  // gives, is done with the reduction, which has the rows in registers. So is what reads only
  // elements that the reduction makes and stores.
  void join_elements(Vertex v);
  bool may_join_elements(int reduction, int c);
  bool reads_each(int c, const Demand& demand);
  static bool reduces_all(const Cluster& cluster);
  // Whether two clusters that read v may.
  bool may_merge(int a, int b, Vertex v);
  // The same axes and not all: the stages of both, however many, go over the same rows.
  static bool reduces_same_rows(const Cluster& x, const Cluster& y);
  // No product or reduction that is still to come could take the cluster in.
  bool is_free(int c);
  // Whether a check may stop the cluster's kernel, which then must not overwrite a state that the
  // other one may.
  bool may_fail(int c);
  // Moves what the vertex has of cluster b to cluster a, whose variables take the place of b's.
  using Renamed = std::vector<std::pair<loop::Variable, loop::Expr>>;
  static void move_demand(Demands& demands, int a, int b, const Renamed& renamed);
  // Whether the cluster's reductions need none of each other, nor positions, which are not reduced
  // in parts.
  bool is_one_pass(int c);
  // What b does becomes a part of a.
  void merge(int a, int b);

  // ---- What is computed of rows' results, before all of it is added up: row_results.cpp.

  // On a GPU that is done with the rows, by as many blocks as there are rows, and not by the few
  // that add up: a loss of each row is stored, in place of what it is made of.
  void compute_with_rows();
  // v, which the cluster computes for each element of what it adds up.
  void move_to_rows(Vertex v, int from);
  bool may_take_from_rows(int c, int from, Vertex v, const std::set<Vertex>& read);
  bool stores(int c, Vertex v);

  // ---- Whether to compute a value where it is read: worth_inlining.cpp.

  // Whether a product or rows of a reduction would read the view's operand against its order in
  // memory, a line for each element, and something else along it, so that the other order is no
  // better. A nest of elementwise work reads such operands in tiles, what is small lies in a cache,
  // and of rows shorter than a line the next element is in the same one.
  bool reads_across(Vertex v, const Demands& demands);
  // Whether the last of several axes is that of the variable.
  static bool runs_along(const Index& index, const loop::Variable& along);
  // Whether the view's operand has another of the cluster's axes in place of that one.
  bool reads_other_axis(Vertex v, const Index& point, const loop::Variable& along) const;
  // Whether the cluster stores, or reads of an operand other than v, elements along that axis.
  bool works_along(int c, Vertex v, const loop::Variable& along);
  static bool is_axis(const loop::Expr& e, const loop::Variable& v);
  // Whether results may be stored by the cluster. Those of write and branch are one op by itself.
  static bool takes_members(const Cluster& cluster);
  // Whether v reads what the result of `write` starts from. Where it is stored over that, what has
  // been added already would be read.
  bool reads_start(Vertex v, Vertex write) const;
  // Whether evaluating v inside cluster c repeats no costly work.
  bool worth_inlining(Vertex v, int c, const Demand& demand);
  // Whether v comes by elementwise steps from a reduction of the elements that the cluster goes
  // over, along the axes that v does not have: that joins the cluster, which then computes v once
  // for each of its rows or columns.
  bool comes_from_own(Vertex v, const Cluster& cluster, const std::vector<bool>& missing) const;
  // Products and reductions are written out many times, which is too much code for a block of
  // random words.
  static bool may_draw(const Cluster& cluster);
  // Whether v is made of random numbers, and of nothing else that is read for each element.
  bool is_drawn(Vertex v);
  bool find_drawn(Vertex v);
  bool is_literal(Vertex v) const { return graph_[v].op->kind == OpKind::leaf && graph_[v].op->at; }
  // What views of views of it v is.
  Vertex source_of(Vertex v) const;
  // Whether v's value comes by elementwise steps from a product or a reduction, and from none that
  // runs over the cluster's own rows.
  bool feeds_from_elsewhere(Vertex v, const Cluster& cluster) const;
  bool reduces_rows(Vertex v, const Cluster& cluster) const;
  std::vector<bool> removed_axes(Vertex v) const;
  // The operands that have to be read for each element: not literals, nor what is the same for
  // many.
  int costly_operands(Vertex v) const;
  // Whether the source of an operand of v has an axis less that is not of one element.
  bool is_smaller(Vertex source, Vertex v) const;

  Cluster& at(int c) { return result_.clusters[static_cast<std::size_t>(c)]; }

  const Graph& graph_;
  const FusionFor machine_;
  std::vector<Guard> guards_;  // by vertex
  Fusion result_;
  std::vector<Demands> demands_;       // by vertex
  std::map<Vertex, bool> drawn_;       // as far as is_drawn has been asked
  std::vector<Demands> computed_;      // by vertex: where it is evaluated, at which points
  std::vector<bool> wanted_;           // outputs and updates
  std::vector<std::size_t> size_of_;   // by cluster: members other than views
  std::vector<std::size_t> views_of_;  // by cluster: views among the members
  std::unordered_map<int, std::vector<Vertex>> members_of_;  // by cluster: those placed so far
  const std::vector<Vertex> order_;                          // operands before users
  std::vector<std::size_t> place_of_;                        // by vertex: in that order
  std::vector<bool> fails_;    // by vertex: whether a check is in what a kernel computes for it
  ClusterOrder runs_before_;   // by cluster: those that read its roots
  std::set<int> is_one_pass_;  // clusters made of several: no reduction joins them
  bool all_are_placed_ = false;
};

}  // namespace kroton
