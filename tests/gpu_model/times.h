// How long functions take on GPUs by the model of the compiler's (kernel_time.h), and what no
// program for them could go below.
#pragma once
#include <string>

#include "compiler/codegen/cuda/gpu_rates.h"
#include "tests/gpu_model/canonical.h"

namespace gpu_model {

using Gpu = kroton::codegen::GpuRates;

struct Times {
  std::int64_t kernels = 0;   // texts of which some are started at these sizes
  std::int64_t launches = 0;  // of them, and of library products
  std::int64_t products = 0;  // by a library
  double microseconds = 0;
  // What no program could go below: one launch, the inputs read and the outputs written once, or
  // the operations of the kernels at the device's full rate, or the steps of scans, each as long as
  // its longest chain of operations that wait for each other.
  double bound = 0;
  std::string slowest;  // the kernel that most of it is spent in
};

// All of a function, whose arguments are on the device; `moved`: see Case.
Times predicted(const kroton::Program& program, const Sizes& sizes, const Gpu& gpu,
                double moved = 0);

}  // namespace gpu_model
