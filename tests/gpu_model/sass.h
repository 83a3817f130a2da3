// What NVIDIA's compiler makes of kernels: registers, memory, and facts about the instructions.
// Needs NVRTC and cuobjdump, no GPU.
#pragma once
#include <string>
#include <vector>

#include "compiler/codegen/cuda/emit_cuda.h"

namespace gpu_model {

// Of one kernel.
struct Code {
  std::string name;
  int threads = 0;  // of a block
  int registers = 0, shared_bytes = 0;
  int stack_bytes = 0;  // arrays that are no registers, and spilled ones
  int spills = 0;       // loads and stores of local memory
  int spills_in_loops = 0;
  int spills_in_inner_loops = 0;  // those that have no loop inside
  int calls_in_loops = 0;         // of subroutines: divisions of 64 bits and the like
  int load_bytes = 0, store_bytes = 0, shared_load_bytes = 0;  // of the widest instruction; 0: none
  int loads_in_flight = 0;    // global ones issued before the first instruction that needs one
  int loop_instructions = 0;  // of the longest innermost loop
  // Of matrix units: products, loads of their operands; copies that nobody waits for.
  int unit_products = 0, unit_loads = 0, copies = 0;
  int warps = 0;  // that fit on a processor of that generation at once
};

// "" or what is missing here: NVRTC of the version that the tables are of, or cuobjdump, which is
// looked for in $KROTON_CUDA_TOOLS, in the PATH, in the bin folder of $CUDA_HOME and of
// /usr/local/cuda.
std::string what_sass_lacks();

// The kernels of the programs, compiled for sm_<capability>.
std::vector<Code> compiled(const std::vector<kroton::codegen::CudaProgram>& programs,
                           int capability);

// The parser, for its own test: facts about the text that cuobjdump -sass prints of one kernel.
Code facts_of(const std::string& instructions);
// Warps that fit on a processor.
int resident_warps(int capability, int threads, int registers, int shared_bytes);

}  // namespace gpu_model
