// A model of how long kernels take on GPUs: the larger of moving their bytes and doing their
// operations, each at the rate that the threads under way allow, after what every launch costs. It
// knows a dozen numbers of a device and none of it has been measured: it is for ranking, and for
// finding what is far from the device's bounds.
#pragma once
#include <string>
#include <vector>

#include "tests/gpu_model/canonical.h"

namespace gpu_model {

struct Gpu {
  std::string name;
  double processors = 0;
  double clock = 0;      // GHz
  double lanes = 0;      // f32 operations that a processor begins each cycle
  double f64_rate = 0;   // of that
  double bandwidth = 0;  // GB/s, as copies reach it
  double latency = 0;    // ns from a load of memory to its value
  double launch = 0;     // us from one kernel of a graph to the next
  double threads = 0;    // of a processor, at the occupancy that kernels usually have
  int capability = 80;
  // Products of 16 bits that are added in f32 a cycle, of a processor's matrix units; half of that
  // in TF32.
  double matrix = 0;
};

// T4, A100, H100, RTX 4090; from what their vendor and measurements by others say.
const std::vector<Gpu>& gpus();

struct Times {
  std::int64_t kernels = 0;   // texts of which some are started at these sizes
  std::int64_t launches = 0;  // of them, and of library products
  std::int64_t products = 0;  // by a library
  double microseconds = 0;
  // What no program could go below: one launch, the inputs read and the outputs written once, or
  // the operations of the kernels at the device's full rate.
  double bound = 0;
  std::string slowest;  // the kernel that most of it is spent in
};

// All of a function, whose arguments are on the device.
Times predicted(const kroton::Program& program, const Sizes& sizes, const Gpu& gpu);

}  // namespace gpu_model
