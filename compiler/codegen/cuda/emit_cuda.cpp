#include "compiler/codegen/cuda/emit_cuda.h"

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/codegen/cuda/prelude.h"

namespace kroton::codegen {

CudaProgram emit_cuda(const Program& program) {
  CudaProgram result;
  result.source = "// " + program.name + "\n" + std::string(cuda_prelude);
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    result.kernels.push_back(KernelPrinter(program, kernel).run(result.source));
  });
  return result;
}

}  // namespace kroton::codegen
