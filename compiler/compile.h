// The whole way of a function from graph to machine code.
#pragma once
#include <optional>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/executable.h"
#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/graph.h"
#include "compiler/lower/lower.h"
#include "runtime/device.h"

namespace kroton {

struct Compilation {
  Program program;
  std::shared_ptr<codegen::CompiledProgram> code;
};

// Runs the graph passes, lowers, and emits, or takes the object from the on-disk cache, and links.
// `name` becomes the entry's symbol; with `profile` the entry calls context->profile. Dumps and
// times go to stderr as KROTON_DUMP and KROTON_TIME ask (docs/pipeline.md).
Compilation compile(Graph& graph, const std::string& name, bool profile = false,
                    const LoweringOptions& options = Checks::from_environment());

// The first part of that: the graph passes and lowering, for any processor.
Program make_program(Graph& graph, const std::string& name, const codegen::CpuTarget& target,
                     const LoweringOptions& options = Checks::from_environment());

struct CudaCompilation {
  Program program;
  codegen::CudaProgram kernels;
};

// The same for CUDA, as far as the text of its kernels.
CudaCompilation compile_for_cuda(Graph& graph, const std::string& name,
                                 const LoweringOptions& options = Checks::from_environment(),
                                 const Machine& machine = gpu_machine());

// Where and how a function runs.
struct ExecutionOptions {
  std::shared_ptr<Device> device;                     // null: on this processor
  bool graphs = true, products = true, tf32 = false;  // of a device: DeviceProgram::How
  bool own_stream = false;
  std::optional<void*> follows = {};
  bool profile = false;  // calls may be measured
  LoweringOptions lowering = {};
};
// One of the above, ready to run. `program` becomes what it runs and must live as long.
std::unique_ptr<Executable> make_executable(Graph& graph, const std::string& name,
                                            const ExecutionOptions& options, Program& program);

}  // namespace kroton
