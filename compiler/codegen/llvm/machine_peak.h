// What this machine can do at most: what profiles compare with.
#pragma once
#include <cstdint>

namespace kroton {

struct MachinePeak {
  double flops = 0;      // f32, per second: fused multiply-adds in registers, each counted as two
  double bandwidth = 0;  // bytes per second: copying memory that no cache holds, read and written
};

// Measured on the first use for that number of threads, which takes a fraction of a second.
MachinePeak machine_peak(std::int64_t workers);

}  // namespace kroton
