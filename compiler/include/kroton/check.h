// Conditions that a call holds its values to, and constants.
#pragma once
#include <kroton/ops.h>

#include <string>

namespace kroton {

// x. A call that computes it ends with a ValueError, before anything is updated, if the boolean
// `condition`, of any shape, does not hold at some element:
//
//   auto root = kt::sqrt(kt::check(x >= 0, x, "x must not be negative"));
//   // ValueError: f: check: x must not be negative: it does not hold at index 2  [model.cpp:5]
//
// The message has the index of the first element at which it does not hold; several threads that
// find one at the same time agree on one of them. What no output or update needs is not checked,
// as it is not computed; nor is what an ifelse does not take, nor any condition of an x without
// elements. The gradient passes through to x. TypeError unless the condition is boolean; a NaN
// fails every comparison but `ne`.
Tensor check(const Operand& condition, const Operand& x, const std::string& message);

// The array's elements, copied, as an expression that no call changes. Operators take an Array as
// it stands; this is for functions that take tensors. Rank 0 gives a literal with the array's
// dtype.
Tensor constant(const Array& values,
                const Operand::Location& location = Operand::Location::current());

}  // namespace kroton
