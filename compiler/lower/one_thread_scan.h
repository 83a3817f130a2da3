// Scans of very small steps: one thread runs all of them.
#pragma once
#include <optional>

#include "compiler/lower/step_registers.h"

namespace kroton {

// All steps as one thread's, with every loop of a step written out and all arrays in registers:
// threads that share so little wait for each other longer than one takes for all of it. Nothing if
// a step is more than that, or has loops or places in arrays that only its values decide.
// `homes`: where the buffers of the steps are.
std::optional<loop::Block> steps_in_one_thread(const Scan& scan, const StepUses& uses,
                                               const Program& program, BufferTable& buffers,
                                               Homes homes);

}  // namespace kroton
