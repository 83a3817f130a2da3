// Golden dumps for GPUs: loop IR with blocks and threads, and the CUDA C++ printed from it.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/cuda/prelude.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/golden.h"

using namespace kroton;  // NOLINT: tests

namespace {

std::string gpu_dump(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "golden", gpu_machine());
  std::string text = "== loop\n" + to_string(program);
  const codegen::CudaProgram cuda = codegen::emit_cuda(program);
  for (const codegen::CudaKernel& kernel : cuda.kernels) {
    text += "== " + kernel.name + ": " + to_string(kernel.blocks) + " blocks of " +
            std::to_string(kernel.threads) + " threads\n";
  }
  const std::size_t kernels =
      cuda.source.find(codegen::cuda_prelude) + codegen::cuda_prelude.size();
  return text + cuda.source.substr(kernels);
}

// Sizes are written in the order of their variables' creation: this one comes first, also when no
// function was compiled before.
[[maybe_unused]] const Dim& first_size = worker_count();

}  // namespace

TEST_CASE("golden: kernels for a GPU") {
  const Tensor x = matrix("x");
  const Tensor b = vector("b");
  check_golden("cuda_elementwise", gpu_dump({x, b}, {relu(x + b) * 2}));
  const Tensor rows = tensor("rows", {dim("n"), 100});
  check_golden("cuda_softmax", gpu_dump({rows}, {softmax(rows)}));
  const Tensor w = matrix("w");
  check_golden("cuda_product", gpu_dump({x, w, b}, {relu(dot(x, w) + b)}));
}
