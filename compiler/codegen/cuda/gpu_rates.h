// How fast a GPU is: what the model of times (kernel_time.h) knows of it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace kroton::codegen {

struct GpuRates {
  std::string name;
  double processors = 0;
  double clock = 0;      // GHz
  double lanes = 0;      // f32 operations that a processor begins each cycle
  double f64_rate = 0;   // of that
  double bandwidth = 0;  // GB/s, as copies reach it
  double latency = 0;    // ns from a load of memory to its value
  double launch = 0;     // us from one kernel of a graph to the next
  double meeting = 0;    // us that a barrier of a grid takes, of a block on each processor
  double shared = 0;     // bytes of shared memory that the blocks of a processor have together
  int capability = 80;
  // Products of 16 bits that are added in f32 a cycle, of a processor's matrix units; half of that
  // in TF32.
  double matrix = 0;
  // Cycles from the operands of an operation to its value: of f32 and integers, of f64, of the
  // units for functions; of a value from one thread of a warp to another, from shared memory, from
  // the first cache; and of a barrier of a block whose threads come at the same time.
  double operation = 4, operation_f64 = 8, function = 20;
  double shuffle = 23, shared_latency = 29, first_cache = 38, block_barrier = 20;
};

// T4, A100, H100, RTX 4090; from what their vendor and measurements by others say.
const std::vector<GpuRates>& known_gpus();

// Those of a device: known ones by the name and the number of processors; of others, what a known
// one of the same kind has, at the numbers that the driver tells, and the name says so. Nothing
// where it does not tell them.
std::optional<GpuRates> rates_of(const DeviceProperties& told, int capability);

}  // namespace kroton::codegen
