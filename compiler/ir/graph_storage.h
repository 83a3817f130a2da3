// The adjacency list of a Graph, for the files that walk its edges. Boost.Graph's headers take
// longer to compile than most files that use a Graph.
#pragma once
#include <boost/graph/adjacency_list.hpp>

#include "compiler/ir/graph.h"

namespace kroton {

struct EdgeData {
  int position = 0;  // which operand of the target
};

struct Graph::Storage
    : boost::adjacency_list<boost::vecS, boost::vecS, boost::bidirectionalS, VertexData, EdgeData> {
};

}  // namespace kroton
