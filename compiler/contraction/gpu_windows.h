// A convolution as a kernel for GPUs: a product of matrices of which neither is in memory.
#pragma once
#include <optional>

#include "compiler/contraction/gpu_tiles.h"

namespace kroton {

// Neighbouring threads that read what lies along the inner axes: a sector of f32.
constexpr int gpu_window_lanes = 8;
inline int int_of(std::int64_t value) { return static_cast<int>(value); }

// A block's tile as of any contraction (gpu_tiles.h), and the order in which it goes over the inner
// axes. A slice has `taken` positions of one of them and all of some short ones, so that where its
// elements lie beside the slice's first one is known, and no thread divides anything.
struct GpuWindowPlan {
  GpuTilePlan tile;
  AxisList outer;  // one position of each in a slice
  Axis cut;        // `taken` of its positions in a slice
  AxisList whole;  // all positions
  std::int64_t taken = 1;
  // Neighbouring threads read what neighbouring columns need: those are positions of windows. Else
  // what lies along the inner axes.
  bool columns_are_positions = true;
  Dim slices() const;
  std::string to_string() const;
};

// Of a convolution, rows are its filters. `columns_are_positions`: of windows over a picture; else
// they are the places of windows, as in the gradient by filters. Nothing for what build_gpu_tiles
// computes as well.
std::optional<GpuWindowPlan> plan_gpu_windows(const Contraction& contraction,
                                              bool columns_are_positions);

loop::Kernel build_gpu_windows(const Contraction& contraction, const GpuWindowPlan& plan,
                               const loop::NewBuffer& new_buffer);
// Where blocks share the slices; nothing if it is known not to pay. `always`: as plan_gpu_parts.
std::optional<GpuWindowPlan> plan_gpu_window_parts(const Contraction& contraction,
                                                   const GpuWindowPlan& plan, bool always = false);
GpuPartsKernels build_gpu_window_parts(const Contraction& contraction, const GpuWindowPlan& parts,
                                       const loop::NewBuffer& new_buffer);

}  // namespace kroton
