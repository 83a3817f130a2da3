// Numbers of steps that are given at the call: sizes that take their value from an input.
#pragma once
#include <optional>

#include "compiler/ir/node.h"

namespace kroton {

// The number of steps that an integer scalar gives: a size in terms of the values of the inputs it
// is computed from, never below 0. TypeError or ShapeError unless it is an integer scalar,
// ValueError unless it is made of integer scalar inputs, numbers, sizes, +, - and *.
Dim count_of_steps(const Tensor& count, SourceLine line);

// The size variable whose value is that of the input, if a count of steps has asked for it.
std::optional<Dim> size_given_by(const Tensor& input);

}  // namespace kroton
