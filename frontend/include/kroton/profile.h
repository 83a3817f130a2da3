// Where the time of a compiled function goes.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace kroton {

// One kernel, all calls together.
struct KernelProfile {
  std::string name;        // "k0_dot_add_relu"
  std::string source;      // the user's lines it computes: "model.cpp:17 model.cpp:18"
  int depth = 0;           // in how many loops and branches it is
  std::int64_t calls = 0;  // in a loop: one per iteration
  double seconds = 0;      // elapsed, whatever the number of threads; on a GPU by its own clock
  // What a model of the GPU says that these calls take, in seconds. It has not been measured. None
  // on the CPU, and on devices that are not known.
  std::optional<double> predicted;
  double flops = 0;         // floating-point additions, multiplications, divisions, square roots,
                            // minima and maxima; a fused multiply-add counts as two. On a GPU, and
                            // so are bytes: the compiler's estimate
  double bytes = 0;         // of its operands and results, each element once
  double flop_share = 0;    // flops per second, of the machine's peak: between 0 and 1, or more by
                            // the matrix units of a GPU
  double memory_share = 0;  // bytes per second, of the machine's memory bandwidth; above 1 where
                            // the data comes from a cache
};

// Copies between the host's memory and a device's, all calls together.
struct CopyProfile {
  std::int64_t count = 0;  // several that come one behind the other are one
  double seconds = 0;      // on the device, until the next of its work could begin
  double bytes = 0;
};

// What a function compiled with FunctionOptions::profile has measured since it was made.
struct Profile {
  std::string name;    // the function's
  std::string device;  // "cuda:0 (NVIDIA H200)"; empty on the CPU
  std::string model;   // what the predictions are of; empty: there are none
  std::int64_t calls = 0;
  double seconds = 0;                  // in compiled code, the measuring included
  std::vector<KernelProfile> kernels;  // in program order
  CopyProfile to_device, to_host;      // of arguments, results, shared variables, and conditions
  // What the shares are of, measured on this machine with as many threads as calls have: f32
  // multiply-adds in registers, and copying memory that no cache holds. Of a GPU they are those of
  // the model, and 0 where there is none.
  double peak_flops = 0;      // per second
  double peak_bandwidth = 0;  // bytes per second
};

// As a table, the kernels that take the most time first.
std::string to_string(const Profile& profile);
std::ostream& operator<<(std::ostream& stream, const Profile& profile);

}  // namespace kroton
