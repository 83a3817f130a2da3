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

}  // namespace kroton::loop
