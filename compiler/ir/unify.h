// Unification of sizes: what the constraints of a graph say about its free sizes.
#pragma once
#include <map>

#include "compiler/ir/node.h"

namespace kroton {

// What each size variable (by identity) that a constraint binds becomes: a constant, an older
// variable, or a polynomial in unbound variables. Constants win. An equality of two polynomials
// that are no variables binds nothing. ShapeError with the constraint's message when sizes that
// cannot be equal must be: two constants, n and n + 1.
std::map<std::uint64_t, Dim> unify_sizes(std::span<const SizeConstraint> constraints);

}  // namespace kroton
