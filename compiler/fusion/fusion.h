// Fusion: which vertices one kernel computes, and which values are stored.
// docs/decisions/0003-fusion.md gives the reasons.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "compiler/passes/guards.h"

namespace kroton {

// A kernel to be: the vertices it computes over one iteration space.
struct Cluster {
  enum class Kind : std::uint8_t {
    loops,        // elementwise work, with or without reductions over the reduced axes
    contraction,  // one product or convolution and the elementwise work on its result
    write,        // one op of kind write
    scan,         // a scan and its results
    call,         // a call and its results
    branch,       // one ifelse
    attention,    // a product, the softmax of its rows, and a product of that
    pairs         // products of what is made of products again; or a sum of one's rows (heroes)
  };
  Kind kind = Kind::loops;
  Dims domain;                            // one size per axis of the iteration space
  std::vector<loop::Variable> variables;  // one per axis
  std::vector<bool> reduced;              // axes that reductions of this cluster remove
  std::vector<Graph::Vertex> members;     // operands before users
  std::vector<Graph::Vertex> roots;       // the members that are stored
  Graph::Vertex hero = 0;  // contraction: its op; write, scan, call, branch: the op; attention: the
                           // last product
  // Attention: the first product, the scores that are made of it, their softmax.
  Graph::Vertex products = 0, scores = 0, weights = 0;
  std::optional<Graph::Vertex> kept = {};  // made of the weights, and stored for others
  // Of the rows of attention: the largest score, the sum of the exponentials, and what is stored of
  // them for others.
  Graph::Vertex largest = 0, sum = 0;
  std::vector<Graph::Vertex> of_rows = {};
  // Pairs: the products, which are over the same axes but the columns, and which operand of each
  // has a number for each pair. None: `hero`, a number of each row, is the sum over columns of the
  // rows of what `products` has of them times those of `scores`, a product that is stored in
  // `weights`.
  struct OfPairs {
    Graph::Vertex product;
    int weights;
  };
  std::vector<OfPairs> heroes = {};
  Guard guard;  // when it is needed

  bool reduces() const;
  Index full_point() const;   // all variables
  Index outer_point() const;  // the variables of the axes that are not reduced
  Dims outer_domain() const;  // the sizes of those axes
};

struct Fusion {
  std::vector<Cluster> clusters;  // a cluster comes after those it reads from
  std::vector<bool> stored;       // by vertex: it has a buffer (leaves, and roots of clusters)
  std::string to_string(const Graph& graph) const;
};

// Greedy, users before operands: a vertex joins the cluster of its users when that saves a store
// and a load and repeats no costly work; otherwise it is stored. Clusters stay acyclic. What a
// cluster stores is all needed under the same guard, which is the cluster's.
struct FusionFor {
  // A product converts both operands where it copies them, else only the right one, which is copied
  // whatever it is.
  bool converts_operands = false;
  // Memory is what kernels wait for, and columns are reduced as rows are.
  bool gpu = false;
};
Fusion fuse(const Graph& graph, const FusionFor& machine = {});

// Makes one cluster of each product whose rows' softmax is multiplied again: attention (see
// attention.cpp), and clusters of its gradients that compute the weights again
// (recompute_pairs.cpp). Where these allow it: which dtype all operands have where they lie, how
// many inner elements the first product and how many columns the last one has.
struct AttentionOperands {
  DType element;
  std::int64_t inner, columns;
  bool keeps_weights;  // others read them, so that they are stored
};
struct PairOperands {
  DType element;
  std::vector<std::int64_t> inner, columns;  // of the products, of what they go into
};
struct AttentionKernels {
  std::function<bool(const AttentionOperands&)> attention;
  std::function<bool(const PairOperands&)> pairs;
};
void join_attention(const Graph& graph, Fusion& fusion, const AttentionKernels& may);
// Parts of it.
bool recompute_pairs(const Graph& graph, Fusion& fusion, const AttentionKernels& may,
                     Graph::Vertex result);
// Clusters of attention read keys and values that several heads share where they lie,
// not a copy for each head.
void read_repeated(const Graph& graph, Fusion& fusion);

// Whose memory holds the elements of a scan's operand: its own, or that of what it regroups.
Graph::Vertex stored_source(const Graph& graph, Graph::Vertex v);

// The index at which `v` reads its operand at position k when `v` itself is evaluated at `point`:
// one entry per read. For pointwise vertices.
struct OperandRead {
  int position;
  Index index;
  bool conditional = false;  // not wherever v is evaluated: the index may be out of range elsewhere
};
std::vector<OperandRead> operand_reads(const Graph& graph, Graph::Vertex v, const Index& point);

// For each axis of `v`: whether what its evaluation checks depends on where along the axis it is.
// For vertices with points.
std::vector<bool> checked_axes(const Graph& graph, Graph::Vertex v);

bool same_index(const Index& a, const Index& b);

// Whether v is a reshape that changes more than axes of size 1: its operand must lie in memory,
// where the elements' order is what counts.
bool is_regrouping(const Graph& graph, Graph::Vertex v);

}  // namespace kroton
