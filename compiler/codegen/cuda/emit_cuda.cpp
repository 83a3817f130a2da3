#include "compiler/codegen/cuda/emit_cuda.h"

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/codegen/cuda/prelude.h"
#include "compiler/loop/elementary.h"

namespace kroton::codegen {

CudaProgram emit_cuda(const Program& program) {
  CudaProgram result;
  result.source = "// " + program.name + "\n" + std::string(cuda_prelude);
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    result.kernels.push_back(
        KernelPrinter(program, loop::place_values(loop::with_arithmetic(kernel)))
            .run(result.source));
  });
  return result;
}

}  // namespace kroton::codegen
