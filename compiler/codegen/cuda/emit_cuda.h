// A Program as one CUDA C++ translation unit: its kernels, for NVRTC, for the emulator of the
// tests. No CUDA header: the text needs none either.
#pragma once
#include <string>
#include <vector>

#include "compiler/codegen/cuda/index_width.h"
#include "compiler/lower/program.h"

namespace kroton::codegen {

// How the host starts one kernel of the Program. The kernel is
//   extern "C" __global__ void NAME(T* buffer..., kt_index size..., unsigned long long division...,
//                                   kroton_error* error)
// with one pointer per entry of `buffers`, the values of Program::sizes in their order, those of
// `derived_sizes`, and division_by() each of `divisors`. kt_index is int, or long long
// (with_wide_indices) where the indices do not fit. `error` is device memory laid out as in
// runtime/abi.h; the first error wins by a compare-and-swap of code. A kernel whose blocks wait for
// each other has `unsigned* arrivals` before it: a word of its own, 0 at first. One whose blocks
// wait for those before them has `unsigned long long* words` there, memory of its own: a line in
// which its blocks take their numbers, and `words` of 64 bits, all 0 at first.
struct CudaKernel {
  std::string name;  // in the text; kernels that differ in their buffers alone have one function
  std::vector<loop::BufferRef> buffers;
  std::vector<Dim> derived_sizes;  // quotients, minima, maxima of sizes that it needs
  std::vector<Dim> divisors;
  KernelIndices indices;
  loop::Expr blocks;      // of the grid, i64 arithmetic of sizes; 0: nothing to start
  int threads = 1;        // of a block
  bool together = false;  // its blocks wait for each other
  bool in_order = false;  // they wait for those before them
  Dim words = 0;          // in which they store what is waited for
  int text = -1;          // of CudaProgram::candidates; -1: the source
};

struct CudaProgram {
  std::string source;
  // Those of the kernels of which the host decides whether they are needed (Step::choice), one for
  // each candidate, to be compiled when it is.
  std::vector<std::string> candidates;
  std::vector<CudaKernel> kernels;  // in the order of for_each_kernel
};

// The Program must have been lowered for a GPU. Helper functions that the kernels need are in the
// text, so that it compiles without any include.
CudaProgram emit_cuda(const Program& program);

}  // namespace kroton::codegen
