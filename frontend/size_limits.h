// Sizes at which a value has more elements than 64 bits can count.
#pragma once
#include "compiler/ir/graph.h"

namespace kroton::detail {

// A shape, or a single size, that a function computes with, perhaps without storing it, and what
// has it.
struct CountedShape {
  Dims shape;
  std::string what;  // "broadcast  [model.cpp:7]"
};

// Those of the graph's values, and of the values in the bodies of its loops, whose elements may be
// too many to count, each once. ValueError, with `name`, for one that always has too many.
std::vector<CountedShape> shapes_to_count(const Graph& graph, const std::string& name);

// ValueError, with `name`, the sizes and what has them, unless the elements can be counted where
// `value_of` gives the values of the size variables.
void check_count(const CountedShape& counted, const std::string& name,
                 const std::function<std::int64_t(const DimAtom&)>& value_of);

}  // namespace kroton::detail
