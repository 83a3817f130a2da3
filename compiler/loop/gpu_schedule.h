// Schedules for GPUs: which iterations become blocks, which threads.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// Turns a kernel of serial loops into one block loop with thread loops in it. The outermost
// independent loops are either spread over all threads of the grid (elementwise work, short rows,
// column sums) or one iteration a block, whose threads then share the loops inside (rows, chunks).
// What depends on its order runs in one thread, or in one thread per column where columns do not
// meet. The order of accumulations depends on the kernel alone, not on the device.
Kernel schedule_for_gpu(const Kernel& kernel);

}  // namespace kroton::loop
