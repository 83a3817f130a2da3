// A Device that runs CUDA C++ on the CPU, for tests: the source is compiled by the system's C++
// compiler behind the text of shim/cuda.h. Races, divergent barriers and accesses outside a buffer
// are DeviceErrors that name the kernel.
#pragma once
#include <kroton/error.h>

#include "runtime/device.h"

namespace gpu_emulator {

// One device of its own; with `products`, it has a library of matrix products.
std::shared_ptr<kroton::Device> make_device(bool products = false);

// While one lives, kt::cuda() is an emulated device; this machine's own where the environment has
// KROTON_TEST_GPU, as tests/gpu/run sets it. With `products`, and in every test where the
// environment has KROTON_TEST_GPU_PRODUCTS, products are a library's; else kernels of ours compute
// them, also where the machine has the library.
class TestCuda {
 public:
  explicit TestCuda(bool products = false);
  ~TestCuda();
  TestCuda(const TestCuda&) = delete;
  TestCuda& operator=(const TestCuda&) = delete;
  bool is_emulated() const { return emulated_; }

 private:
  bool emulated_;
};

// What the emulated devices of this process have done so far.
struct Counts {
  int compilations = 0;   // runs of the compiler; a text compiled before is used again
  int launches = 0;       // of kernels, those of graphs included
  int graphs = 0;         // captured
  int graph_updates = 0;  // of one captured before, to other addresses
  int graph_launches = 0;
  int products = 0;  // by the library
  int uploads = 0;
  int downloads = 0;
  int allocations = 0;  // alive
};
const Counts& counts();

}  // namespace gpu_emulator
