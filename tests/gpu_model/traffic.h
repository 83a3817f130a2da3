// What the accesses of kernels ask of a GPU's memory, counted in the emulator as the text has them:
// a warp's accesses at one place of the text are one request.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tests/gpu_emulator/kernels.h"

namespace gpu_model {

// Of one kernel, or of one kind of access in it.
struct Requests {
  std::int64_t requests = 0, lanes = 0;
  std::int64_t units = 0;  // sectors of 32 bytes; of shared memory wavefronts of 32 banks
  std::int64_t ideal = 0;  // the fewest that hold what is asked for
  double excess() const { return ideal == 0 ? 1 : static_cast<double>(units) / ideal; }
};

struct KernelTraffic {
  std::string name;
  std::int64_t blocks = 0, threads = 0;
  Requests loads, stores, shared_loads, shared_stores;
};

// Counts what kernels do while it lives, launch by launch.
class Traffic final : public gpu_emulator::Watcher {
 public:
  void begin_kernel(const std::string& name, std::int64_t blocks, std::int64_t threads) override;
  void touch(std::int64_t array, int line, bool writes, unsigned thread, std::uint64_t place,
             int bytes) override;
  void end_block() override;
  const std::vector<KernelTraffic>& kernels() const { return kernels_; }

 private:
  struct Access {
    std::uint64_t place;
    int bytes;
  };
  using Lanes = std::vector<std::vector<Access>>;  // of a warp, each lane's in order
  static void count(const Lanes& lanes, bool shared, Requests& into);

  std::vector<KernelTraffic> kernels_;
  // Of the block in progress, by array, line, direction and warp.
  std::map<std::tuple<std::int64_t, int, bool, unsigned>, Lanes> block_;
};

// A table, a kernel a line; equal lines that follow each other once.
std::string to_string(const std::vector<KernelTraffic>& kernels);

}  // namespace gpu_model
