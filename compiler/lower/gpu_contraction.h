// The kernels of a contraction on a GPU.
#pragma once
#include <functional>

#include "compiler/contraction/library_convolution.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {

// What the columns of a contraction are.
enum class GpuWindows : std::uint8_t {
  none,        // it has no windows
  of_picture,  // positions of windows over a picture
  of_gradient  // places of windows, as in a gradient by filters
};

struct GpuContractionOptions {
  GpuWindows windows = GpuWindows::none;
  std::vector<int>* candidates = nullptr;
  // Of windows, where there is a library for convolutions that may compute them.
  std::optional<WindowAxes> axes = {};
  // As LoweringOptions::products.
  std::function<bool()> products = {};
};

// As the model of the device chooses them: one kernel that a library may replace, perhaps with one
// behind it for what the library does not do, or those that share out the inner elements, or
// several of which the sizes decide. With `candidates`, other ways to the same results behind them;
// it gets the number of the way that each kernel is part of, or nothing where there is one way
// only.
std::vector<loop::Kernel> gpu_contraction(const Contraction& contraction,
                                          const GpuContractionOptions& options,
                                          const Machine& machine, BufferTable& buffers);

}  // namespace kroton
