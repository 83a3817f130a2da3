// Schedules: loop-to-loop passes that decide how a kernel's loops run. They keep what it computes,
// up to the order of floating accumulations, which they fix.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// Turns serial loops into vector loops for registers of `lanes_bytes` bytes: in every loop nest the
// innermost loop that can be one, else the loop around it (column sums). A loop can when its
// iterations do not depend on each other but through accumulators, its stores are contiguous, at
// least half of its varying loads are, and neither inner extents nor branches differ between lanes.
// Lanes: `lanes_bytes` over the widest element computed with. Loops of constant extent below 4
// stay.
Kernel vectorize(const Kernel& kernel, int lanes_bytes);

// Makes the kernel's outermost loop parallel if its iterations are independent of each other. A
// one-dimensional loop is cut into chunks of a fixed size first, so that nothing depends on the
// number of workers.
Kernel parallelize(const Kernel& kernel);

}  // namespace kroton::loop
