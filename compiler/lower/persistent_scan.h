// Scans on a GPU whose steps are parts of one kernel.
#pragma once
#include <optional>
#include <string>

#include "compiler/lower/kernel_context.h"
#include "compiler/lower/program.h"

namespace kroton {

struct PersistentScan {
  std::optional<loop::Kernel> kernel;  // none if a step is too much for it
  // 1 where the kernel is to run, 0 where each step is to start kernels of its own; perhaps not
  // known before the sizes are.
  Dim is_wanted;
  std::string why_not;  // where the kernel does not run at some sizes, for people
};

// `scan`: its steps lowered for blocks that wait for each other (Machine::waiting_blocks). The
// blocks of each kernel of a step are dealt out to as many as are on the device at once, which wait
// for each other between the kernels: where that costs less than to start them, on devices that
// can. `is_wanted`: 1 where none of the other forms runs. `keeps`: with products whose blocks have
// the same tile in every step (step_tiles.h), where there are as many blocks as tiles; nothing
// without such products.
PersistentScan waiting_scan(const Scan& scan, std::int64_t launches, const Dim& is_wanted,
                            bool keeps, const Program& program, BufferTable& buffers);

// `scan`: its steps lowered for one block (Machine::one_block), in loops as scans of their own have
// them. `launches`: kernels that a step starts else. Two forms:
//   - every thread has an element of every state, and runs all steps for it: where no step reads
//     what another thread has written,
//   - one block runs all steps, with barriers between the loops of a step: where a step is done by
//     one block in the time that it takes to start its kernels.
PersistentScan persistent_scan(const Scan& scan, std::int64_t launches, const Program& program,
                               BufferTable& buffers);

}  // namespace kroton
