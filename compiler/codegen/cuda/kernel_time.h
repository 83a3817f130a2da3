// A model of how long kernels take on GPUs: the larger of moving their bytes and doing their
// operations, each at the rate that the threads under way allow, after what every launch costs. It
// knows a dozen numbers of a device, and none of its results has been measured: it is for ranking,
// and for finding what is far from the device's bounds.
#pragma once
#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/cuda/gpu_rates.h"
#include "compiler/codegen/cuda/size_values.h"

namespace kroton::codegen {

// What one run of a kernel is, at some sizes.
struct KernelFacts {
  double blocks = 0, threads = 0;
  double held = 0;    // words of arrays that a thread has in registers
  double shared = 0;  // bytes of a block's shared memory
  double work = 0, bytes = 0;
  // Sums that a thread has in registers: of a product, which is half as many operations.
  double sums = 1;
  double steps = 0;     // microseconds of steps that one block or each thread runs
  double waiting = 0;   // microseconds of blocks that wait for each other, with what they do
  double asked = 0;     // how often a block waits for what those before it have told
  double together = 1;  // elements that a thread loads at a time
  bool f64 = false;
  double matrix = 0;  // of the rate of matrix units for 16 bits; 0: not by them
  bool by_library = false;
};

KernelFacts facts_of(const loop::Kernel& kernel, const CudaKernel& emitted, bool by_library,
                     const SizeValues& at);
// KernelFacts::waiting on that device; 0 where blocks do not wait for each other.
double waiting_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                    const GpuRates& gpu);

// KernelFacts::steps on that device: of the longest chain of what waits for something else. 0 where
// a kernel runs no steps.
double steps_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                  const GpuRates& gpu);
// What no program for the steps of a scan could go below, in microseconds: each operation as soon
// as its operands are there, with a state that never goes through memory, and sums as trees. 0
// where a kernel runs no steps.
double least_steps_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                        const GpuRates& gpu);

// Operations a microsecond of the whole device, if all of it does nothing else.
double full_rate(const GpuRates& gpu, const KernelFacts& facts);

// What a launch of anything takes, in microseconds, and what that kernel does.
double launch_time(const GpuRates& gpu);
double kernel_time(const GpuRates& gpu, const KernelFacts& facts);

}  // namespace kroton::codegen
