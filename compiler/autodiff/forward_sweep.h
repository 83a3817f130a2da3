// The forward sweep over expressions as they are written: tangents flow from what is changed to
// what is computed of it. jvp (forward.cpp) is made of it and of the simplification that comes
// before; tangents of loops, whose steps are simplified when they are made, of the sweep alone.
//
// Almost every rule follows from what a record says anyway. An elementwise op gives a tangent what
// its `derivatives` give a cotangent, summed over the operands; an op that is linear in all
// operands is applied to the tangents, one that is linear in each of them to one at a time. Of
// other ops the vjp is transposed: it is linear in the cotangent, so that its own derivative by the
// cotangent, along the tangents, is the tangent of the result. Only a loop has a rule of its own,
// and what would cost more otherwise.
#pragma once
#include <kroton/tensor.h>

#include <utility>
#include <vector>

namespace kroton {

using Tangents = std::vector<std::pair<Tensor, Tensor>>;  // expression, tangent

// The tangents of `roots`, an empty Tensor where none arrives. A seed at an expression adds to what
// arrives there from other seeds.
std::vector<Tensor> forward_sweep(const Tangents& seeds, std::span<const Tensor> roots);

// Whether any of the expressions is computed from one of `leaves`.
bool depends_on(std::span<const Tensor> expressions, std::span<const Tensor> leaves);

}  // namespace kroton
