// Numbers of steps that are given at the call: sizes that take their value from an input.
#pragma once
#include <optional>
#include <vector>

#include "compiler/ir/node.h"

namespace kroton {

// The number of steps that an integer scalar gives: a size in terms of the values of the inputs it
// is computed from, never below 0. TypeError or ShapeError unless it is an integer scalar,
// ValueError unless it is made of integer scalar inputs, numbers, sizes, +, - and *.
Dim count_of_steps(const Tensor& count, SourceLine line);

// That no count of steps which the outputs are made with is negative: each such count, and what it
// would be if sizes could be negative, must be equal. A count that is just one input is left out.
std::vector<SizeConstraint> constraints_on_counts(std::span<const Tensor> outputs);
// Whether a count of steps has that size for negative numbers too.
bool is_clamped_count(const Dim& size);

// The size variable whose value is that of the input, if a count of steps has asked for it.
std::optional<Dim> size_given_by(const Tensor& input);

}  // namespace kroton
