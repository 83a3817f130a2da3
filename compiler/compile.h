// The whole way of a function from graph to machine code.
#pragma once
#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/graph.h"

namespace kroton {

struct Compilation {
  Program program;
  std::shared_ptr<codegen::CompiledProgram> code;
};

// Runs the graph passes, lowers, emits and links. `name` becomes the entry's symbol. Dumps and
// times go to stderr as KROTON_DUMP and KROTON_TIME ask (docs/pipeline.md).
Compilation compile(Graph& graph, const std::string& name);

struct CudaCompilation {
  Program program;
  codegen::CudaProgram kernels;
};

// The same for CUDA, as far as the text of its kernels.
CudaCompilation compile_for_cuda(Graph& graph, const std::string& name);

}  // namespace kroton
