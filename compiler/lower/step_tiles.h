// Products in the steps of a scan, for blocks that keep what no step changes.
#pragma once
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/program.h"

namespace kroton {

// `scan`, lowered for blocks that wait for each other, with kernels of build_step_tiles for those
// products whose operand b no step writes: together with the kernel that makes something of their
// results element by element, if that alone reads them.
Scan with_step_tiles(const Scan& scan, const Program& program, BufferTable& buffers);

}  // namespace kroton
