// Products in the steps of a scan, for blocks that keep what no step changes.
#pragma once
#include "compiler/loop/gpu_schedule.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/program.h"
#include "compiler/lower/rehome.h"

namespace kroton {

struct StepTiles {
  Scan scan;
  Homes homes;              // of what the steps leave for each other, by turns
  loop::ApartMemory apart;  // wholes of buffers
  Dim are_wanted = 1;       // or 0: the contributions would be too many
  bool found = false;       // any of those products
};

// `scan`, lowered for blocks that wait for each other, with other kernels for those products whose
// operand b no step writes:
//   - of build_step_parts, where the kernel before makes operand a element by element: the same
//     block goes on with what it has made,
//   - else of build_step_tiles: together with the kernel behind, if that makes something of the
//     results element by element.
StepTiles with_step_tiles(const Scan& scan, const Program& program, BufferTable& buffers);

}  // namespace kroton
