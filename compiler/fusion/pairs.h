// What is made of all pairs of a row and a key: products, what becomes of them element by element
// and with numbers of their rows, and the products of that. See pairs.cpp.
#pragma once
#include <set>

#include "compiler/fusion/fusion.h"
#include "compiler/fusion/softmax.h"

namespace kroton {

// An attention with everything that its scores and weights go into.
struct PairRegion {
  SoftmaxOfRows softmax;
  std::size_t row_axis = 0, key_axis = 0;  // of what has a number for each pair
  Graph::Vertex result = 0;                // the product whose first operand the weights go into
  std::vector<Graph::Vertex> products;     // that have a number for each pair; the scores' first
  std::set<Graph::Vertex> pairs, rows;     // what is made of these: for each pair, for each row
  // Products of what there is for each pair: over the keys, over the rows.
  std::vector<Cluster::OfPairs> by_rows, by_keys;
  // The sums over keys of a product of the weights and of the second product, if there are any:
  // what the result's rows multiplied by the second product's are.
  std::optional<Graph::Vertex> dots;

  bool has(Graph::Vertex v) const { return pairs.contains(v) || rows.contains(v); }
};

// Which operand of the second product is given for the result's rows, where the other one is the
// values that the result is made of. Nothing if neither is.
std::optional<int> given_operand(const Graph& graph, Graph::Vertex second, Graph::Vertex result);

// Nothing where anything else needs a number of each pair, or another one of each row.
std::optional<PairRegion> find_pairs(const Graph& graph, Graph::Vertex result);
// The region of the result alone: others may need numbers of it, too.
std::optional<PairRegion> find_attention(const Graph& graph, Graph::Vertex result);

}  // namespace kroton
