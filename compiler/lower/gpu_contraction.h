// The kernels of a contraction on a GPU.
#pragma once
#include "compiler/contraction/contraction.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {

// What the columns of a contraction are.
enum class GpuWindows : std::uint8_t {
  none,        // it has no windows
  of_picture,  // positions of windows over a picture
  of_gradient  // places of windows, as in a gradient by filters
};

// As the model of the device chooses them: one kernel that a library may replace, or those that
// share out the inner elements, or several of which the sizes decide. With `candidates`, other ways
// to the same results behind them; it gets the number of the way that each kernel is part of, or
// nothing where there is one way only.
std::vector<loop::Kernel> gpu_contraction(const Contraction& contraction, GpuWindows windows,
                                          const Machine& machine, BufferTable& buffers,
                                          std::vector<int>* candidates);

}  // namespace kroton
