// A contraction as a kernel for GPUs.
#pragma once
#include "compiler/base/machine.h"
#include "compiler/contraction/contraction.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// A block's tile of results and a thread's part of it. Several axes of a role count as one.
struct GpuTilePlan {
  int rows = 64;
  int columns = 64;
  int depth = 16;  // inner elements per slice of the operands in shared memory
  int thread_rows = 4;
  int thread_columns = 4;
  int threads() const { return rows / thread_rows * (columns / thread_columns); }
  std::string to_string() const;
};

GpuTilePlan plan_gpu_tiles(const Contraction& contraction);

// A block computes a tile of results: its threads bring a slice of both operands to shared memory,
// a few inner elements deep, and each multiplies what its own few results need into registers.
loop::Kernel build_gpu_tiles(const Contraction& contraction, const GpuTilePlan& plan,
                             const loop::NewBuffer& new_buffer);

}  // namespace kroton
