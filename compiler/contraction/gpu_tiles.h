// A contraction as a kernel for GPUs.
#pragma once
#include <optional>

#include "compiler/base/machine.h"
#include "compiler/contraction/contraction.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// Elements that one row of a slice is longer than the tile: threads that write one column of it
// reach different banks, and rows stay aligned for loads of four.
constexpr int gpu_tile_padding = 4;

// A block's tile of results and a thread's part of it. Several axes of a role count as one.
struct GpuTilePlan {
  int rows = 64;
  int columns = 64;
  int depth = 16;  // inner elements per slice of the operands in shared memory
  int thread_rows = 4;
  int thread_columns = 4;
  // Slices of inner elements that a block goes over; 0: all. Then blocks share them out, and leave
  // partial sums.
  Dim slices_of_part = 0;
  Dim are_wanted = 1;  // or 0: no block runs; perhaps not known before the sizes are
  // Where the device's matrix units multiply: how the warps of a block share the tile, and the
  // dtype of the operands' elements in shared memory.
  std::optional<loop::MatrixTile> units = {};
  std::optional<DType> element = {};
  int threads() const;
  bool is_in_parts() const { return !slices_of_part.is_constant(0); }
  std::string to_string() const;
};

// One plan, or several of which the sizes decide when they are known. `all`: every plan that may be
// the best, each for all sizes.
std::vector<GpuTilePlan> plan_gpu_tiles(const Contraction& contraction, const Machine& machine,
                                        bool all = false);

// The plan where blocks that are there at once share the results of one step after the other: tiles
// so small, and inner elements in so many parts, that they fill a large device.
GpuTilePlan plan_waiting_tiles(const Contraction& contraction, const Machine& machine);

// A block computes a tile of results: its threads bring a slice of both operands to shared memory,
// a few inner elements deep, and each multiplies what its own few results need into registers, or
// its warps do by matrix units.
loop::Kernel build_gpu_tiles(const Contraction& contraction, const GpuTilePlan& plan,
                             const loop::NewBuffer& new_buffer);

// The plan for few results of many inner elements each: blocks share the inner elements of a tile.
// Nothing if it is known not to pay. `always`: for all sizes, in two parts at least; nothing if
// there is one slice only.
std::optional<GpuTilePlan> plan_gpu_parts(const Contraction& contraction, const GpuTilePlan& plan,
                                          bool always = false);
// A kernel that leaves each part's sums, and serial loops of one that adds them up in the order of
// the parts and stores the results.
struct GpuPartsKernels {
  loop::Kernel partial, combine;
};
GpuPartsKernels build_gpu_parts(const Contraction& contraction, const GpuTilePlan& parts,
                                const loop::NewBuffer& new_buffer);

}  // namespace kroton
