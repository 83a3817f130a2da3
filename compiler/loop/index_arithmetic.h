// Index arithmetic of a kernel, simplified with the ranges of its loops.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// `block` with every i64 index expression brought into the form sum of atom*size, so that what a
// reshape takes apart and puts together again vanishes: with j in [0, 28),
//   floor_div(i*28 + j, 28) -> i     mod(i*28 + j, 28) -> j
//   floor_div(x, n)*n + mod(x, n) -> x
// and checks and comparisons that the ranges decide are gone. Relies on two facts: index
// expressions do not overflow, and nothing runs over an axis whose size is 0. Arithmetic on loaded
// integers is left alone.
Block simplify_indices(const Block& block);

// The values that an index takes.
struct IndexRange {
  Dim low, high;  // inclusive
};
// The range of an index whose variables run from 0 to below these sizes; nothing if it is not
// arithmetic of them and of sizes, or a factor's sign is not known. What a loop without iterations
// would give is not looked at.
std::optional<IndexRange> range_of(const Expr& index,
                                   const std::vector<std::pair<Variable, Dim>>& bounds);

// a - b where that is a size, whatever the variables are.
std::optional<Dim> difference(const Expr& a, const Expr& b);

}  // namespace kroton::loop
