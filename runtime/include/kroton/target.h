// Where a compiled function runs, and where arrays lie.
#pragma once
#include <cstdint>
#include <string>

namespace kroton {

// A processor; made by cpu() and cuda().
struct Target {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int device = 0;  // cuda: its number
  // For measuring; results agree within the rounding of sums.
  bool graphs = true;    // cuda: launches are captured in a CUDA graph and replayed
  bool products = true;  // cuda: products are cuBLASLt's where it is there, else kernels of ours
  // cuda: products of f32 may round their operands to 11 bits (TF32, from compute capability 8.0
  // on), which is several times as fast: relative errors of 5e-4. Never unless asked for.
  bool tf32 = false;

  // Whether they are the same processor, however functions run there.
  friend bool operator==(const Target& a, const Target& b) {
    return a.kind == b.kind && (a.kind == Kind::cpu || a.device == b.device);
  }
};

// This machine's processor, with the threads of the process's pool; its memory is the host's.
inline Target cpu() { return {}; }

// The CUDA device of that number. Whoever asks for it, function() or Array::to(), throws a
// DeviceError that says what is missing where the driver (libcuda), NVRTC or the device is not
// there; nothing of them is needed to build or to start a program.
inline Target cuda(int device = 0) {
  Target target;
  target.kind = Target::Kind::cuda;
  target.device = device;
  return target;
}

// "cpu", "cuda:1".
std::string to_string(const Target& target);

// Waits until all that Kroton has asked of the device is done; nothing where that is cpu(). Calls
// and copies wait by themselves where somebody gets a result: this is for measuring times, and for
// memory that others use. DeviceError for work that has failed since the last wait, and for a
// device that is not there.
void synchronize(const Target& target = cuda());

}  // namespace kroton
