// Where a compiled function runs.
#pragma once
#include <cstdint>

namespace kroton {

// A processor to compile for; made by cpu() and cuda().
struct Target {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int device = 0;  // cuda: its number
  // For measuring; results agree within the rounding of sums.
  bool graphs = true;    // cuda: launches are captured in a CUDA graph and replayed
  bool products = true;  // cuda: products are cuBLASLt's where it is there, else kernels of ours
};

// This machine's processor, with the threads of the process's pool.
inline Target cpu() { return {}; }

// The CUDA device of that number. function() throws a DeviceError that says what is missing where
// the driver (libcuda), NVRTC or the device is not there; nothing of them is needed to build or
// to start a program.
inline Target cuda(int device = 0) {
  Target target;
  target.kind = Target::Kind::cuda;
  target.device = device;
  return target;
}

}  // namespace kroton
