// Scatters on a GPU: what goes to the same row is brought together by sorting.
#pragma once
#include <vector>

#include "compiler/loop/schedule.h"

namespace kroton {

// Kernels that do what a kernel of serial loops does whose iterations add to rows that any of them
// may name (or multiply with, take the larger or smaller of, replace). Its rows are sorted, each
// with the number of its iteration, without changing the order within a row. Then the iterations
// lie in segments, one for each row, and running sums that begin anew with each segment
// (gpu_running.h) have the row's in the end. So neither many segments nor a long one leave threads
// idle, and the order of additions depends on the indices and sizes alone.
//
// The kernel comes first where iterations may be too few for that, each of both as the sizes are.
// Empty if the kernel is something else, or its iterations are known to be few. Some of the kernels
// have their schedule for a GPU: a block loop.
std::vector<loop::Kernel> in_segments(const loop::Kernel& kernel,
                                      const loop::NewBuffer& new_buffer);

}  // namespace kroton
