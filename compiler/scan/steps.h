// Numbers of steps that are given at the call: sizes that take their value from an input.
#pragma once
#include <map>
#include <vector>

#include "compiler/ir/node.h"

namespace kroton {

// The number of steps that an integer scalar gives: a size in terms of the values of the inputs it
// is computed from. TypeError or ShapeError unless it is an integer scalar, ValueError unless it is
// made of integer scalar inputs, numbers, sizes, +, - and *.
Dim count_of_steps(const Tensor& count, SourceLine line);

// What the sizes in the outputs say about numbers of steps: what each is, and that none is
// negative.
std::vector<SizeConstraint> constraints_on_counts(std::span<const Tensor> outputs);

// The size variables in the outputs that are values of inputs, by the identity of the input.
std::map<std::uint64_t, Dim> sizes_given_by_values(std::span<const Tensor> outputs);

}  // namespace kroton
