// The softmax of rows where composite ops are taken apart.
#pragma once
#include <optional>

#include "compiler/ir/graph.h"

namespace kroton {

// weights = exponentials * divisor or exponentials / divisor, which is 1 / sum or the sum;
// exponentials = exp(difference), difference = scores - largest
struct SoftmaxOfRows {
  Graph::Vertex scores, largest, difference, exponentials, sum, divisor, weights;
};
// The softmax that v is, or is a multiple of, element by element.
std::optional<SoftmaxOfRows> softmax_behind(const Graph& graph, Graph::Vertex v);

// What views of views of it v is.
Graph::Vertex source_behind(const Graph& graph, Graph::Vertex v);
// Whether v is that number everywhere.
bool is_number(const Graph& graph, Graph::Vertex v, double value);
bool is_float_cast(const Graph& graph, Graph::Vertex v);
bool depends_on(const Graph& graph, Graph::Vertex v, Graph::Vertex on);

}  // namespace kroton
