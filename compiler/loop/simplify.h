// Loop-to-loop simplifications. They keep what a kernel computes, bit for bit.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// Removes loops of constant extent 1 (the variable becomes 0), loops and branches that do nothing,
// branches on constants and scalars that nothing reads, and simplifies index arithmetic with the
// ranges of the loops (index.h).
Kernel simplify(const Kernel& kernel);

// Merges a serial loop over i in A that holds nothing but a serial loop over j in B into one loop
// over A*B, wherever everything in it depends on i and j through i*B + j alone: elementwise kernels
// over whole arrays become one-dimensional.
Kernel collapse_loops(const Kernel& kernel);

}  // namespace kroton::loop
