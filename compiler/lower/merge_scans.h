// Scans of small steps become kernels.
#pragma once
#include "compiler/lower/kernel_context.h"

namespace kroton {

// The steps with every Scan whose kernels run on one thread anyway replaced by one kernel: a serial
// loop over the bodies, with states of few elements held in registers. For CPUs. Parts of buffers
// must be placed; the parts that the new kernels need are added to the Program.
std::vector<Step> merge_scans(const std::vector<Step>& steps, Program& program,
                              BufferTable& buffers);

}  // namespace kroton
