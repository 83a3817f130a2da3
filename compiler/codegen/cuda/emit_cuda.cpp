#include "compiler/codegen/cuda/emit_cuda.h"

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/codegen/cuda/prelude.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

CudaProgram emit_cuda(const Program& program) {
  CudaProgram result;
  result.source = "// " + program.name + "\n" + std::string(cuda_prelude);
  bool has_matrices = false;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      has_matrices = has_matrices || std::holds_alternative<loop::Copy>(s) ||
                     std::holds_alternative<loop::Multiply>(s);
    });
  });
  if (has_matrices) result.source += matrix_prelude;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    result.kernels.push_back(
        KernelPrinter(program, loop::place_values(loop::with_arithmetic(kernel)))
            .run(result.source));
  });
  return result;
}

}  // namespace kroton::codegen
