// What the tests of graphs and passes share: graphs of expressions, their values, short texts.
#pragma once
#include <kroton/ops.h>
#include <kroton/variables.h>

#include "compiler/ir/graph.h"
#include "compiler/ir/reference.h"

namespace graph_test {

// The graph of the outputs, with every input they reach as a parameter, in order of first use.
kroton::Graph graph_of(const std::vector<kroton::Tensor>& outputs, bool unify = true);

// How many vertices that an output or update reaches have that op.
int count(const kroton::Graph& graph, std::string_view op);

// An output as an expression: "add(x, broadcast{axes=[1] dims=(3, 4)}(b))". Literals are numbers,
// repeated or not; attributes of other leaves are left out.
std::string text(const kroton::Graph& graph, std::size_t output = 0);

// Values for the graph's inputs: every free size is `size`; real numbers around 0 from `seed`,
// integers and booleans small enough to be an index.
std::vector<kroton::ReferenceValue> random_inputs(const kroton::Graph& graph, std::int64_t size,
                                                  std::uint64_t seed);

// The outputs, by the reference interpreter.
std::vector<kroton::ReferenceValue> values(const kroton::Graph& graph,
                                           const std::vector<kroton::ReferenceValue>& inputs);

// Checks that the values agree within the tolerance, relative to max(1, |value|). What was not
// finite in `before` may be anything.
void check_close(const std::vector<kroton::ReferenceValue>& before,
                 const std::vector<kroton::ReferenceValue>& after, double tolerance);

}  // namespace graph_test
