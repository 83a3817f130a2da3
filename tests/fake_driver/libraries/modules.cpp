// The driver of the tests: modules of kernels, and their launch in the emulator.
#include <array>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "tests/fake_driver/libraries/driver.h"

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

// Runs one kernel in the emulator. `values`: of its parameters.
CUresult run_kernel(CUfunction function, unsigned blocks, unsigned threads,
                    const std::vector<std::uint64_t>& values, bool together) {
  Machine& m = machine();
  ++m.kernels;
  if (m.next_kernel.left > 0 && --m.next_kernel.left == 0) return m.next_kernel.code;
  const gpu_emulator::Kernel& kernel = *function->kernel;
  if (kernel.entry == nullptr) return 0;  // code for a device
  if (function->module->unloaded) {
    complain("kernel " + kernel.name + " runs after its module was unloaded");
    return illegal_address;
  }
  std::vector<gpu_emulator::Argument> arguments;
  for (std::size_t k = 0; k < values.size(); ++k) {
    gpu_emulator::Argument& argument = arguments.emplace_back();
    argument.value = values[k];
    if (kernel.parameters[k] < 0) continue;
    argument.bytes = 0;
    if (values[k] == 0) continue;
    const std::string which = "kernel " + kernel.name + ": argument " + std::to_string(k);
    if (values[k] % static_cast<std::uint64_t>(kernel.parameters[k]) != 0) {
      complain(which + " is not aligned to its elements");
      return misaligned_address;
    }
    const auto* found = holder(values[k]);
    if (!found) {
      complain(which + " is in no allocation");
      return illegal_address;
    }
    const std::uint64_t offset = values[k] - found->first;
    argument.bytes = static_cast<std::int64_t>(found->second.bytes - offset);
    argument.shadow = static_cast<char*>(found->second.shadow) + offset * gpu_emulator::log_bytes;
  }
  const std::string failure = gpu_emulator::run(kernel, blocks, threads, arguments, together);
  if (failure.empty()) return 0;
  complain(failure);
  return illegal_address;
}

struct Image {
  bool is_cubin = false;
  int major = 0, architecture = 0;
  std::string name, source;
};

// What the NVRTC of the tests makes: a line about it, a name, the source.
bool read_image(const std::string& text, Image& image) {
  std::istringstream in(text);
  std::string fake, kind;
  in >> fake >> kind >> image.major >> image.architecture >> image.name;
  if (!in || fake != "fake") return false;
  image.is_cubin = kind == "cubin";
  in.get();
  image.source.assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

// Queues a launch, or refuses it.
CUresult launch(const char* caller, CUfunction function, const std::array<unsigned, 3>& grid,
                const std::array<unsigned, 3>& block, CUstream stream, void** parameters,
                bool together) {
  stream = resolved(stream);
  if (!belongs(caller, stream->context) ||
      !belongs("the kernel's module", function->module->context)) {
    return invalid_handle;
  }
  if (function->module->unloaded) {
    complain(std::string(caller) + " of a kernel whose module is unloaded");
    return invalid_handle;
  }
  if (grid[0] < 1 || grid[0] > 0x7fffffff || grid[1] != 1 || grid[2] != 1 || block[0] < 1 ||
      block[0] > 1024 || block[1] != 1 || block[2] != 1) {
    complain(std::string(caller) + ": a grid of " + std::to_string(grid[0]) + " blocks of " +
             std::to_string(block[0]) + " threads");
    return invalid_value;
  }
  std::vector<std::uint64_t> given;
  for (std::size_t k = 0; k < function->kernel->parameters.size(); ++k) {
    const std::int64_t size = function->kernel->parameters[k];
    std::memcpy(&given.emplace_back(0), parameters[k],
                static_cast<std::size_t>(size < 0 ? -size : 8));
  }
  const unsigned blocks = grid[0], threads = block[0];
  enqueue(stream, [=, all = std::move(given)] {
    return run_kernel(function, blocks, threads, all, together);
  });
  return 0;
}

}  // namespace

DRIVER_FUNCTION(cuModuleLoadDataEx)
(CUmodule* module, const void* text, unsigned count, int* options, void** values) {
  const Call call("cuModuleLoadDataEx");
  if (call.result != 0) return call.result;
  Image image;
  if (!read_image(static_cast<const char*>(text), image)) {
    if (setting("code", "own") != "any") return invalid_image;
    *module = keep(machine().modules);
    (*module)->context = current_context();
    return 0;
  }
  const int driver = setting("version", 13000) / 1000;
  if (image.is_cubin && image.major > driver) return invalid_image;
  if (image.is_cubin && image.architecture != setting("capability", 90)) return no_binary;
  if (!image.is_cubin && image.major > driver) {
    constexpr int error_log = 5, error_log_bytes = 6;
    char* log = nullptr;
    std::size_t bytes = 0;
    for (unsigned k = 0; k < count; ++k) {
      if (options[k] == error_log) log = static_cast<char*>(values[k]);
      if (options[k] == error_log_bytes) bytes = reinterpret_cast<std::size_t>(values[k]);
    }
    if (log) std::snprintf(log, bytes, "test driver: PTX of version %d", image.major);
    return unsupported_ptx;
  }
  gpu_emulator::Kernels* kernels = nullptr;
  try {
    kernels = &gpu_emulator::compiled(image.source, image.name);
  } catch (const std::runtime_error& error) {
    complain(error.what());
    return invalid_image;
  }
  *module = keep(machine().modules);
  (*module)->context = current_context();
  (*module)->kernels = kernels;
  return 0;
}

DRIVER_FUNCTION(cuModuleUnload)(CUmodule module) {
  const Call call("cuModuleUnload");
  if (call.result != 0) return call.result;
  if (!belongs("cuModuleUnload", module->context)) return invalid_handle;
  if (std::exchange(module->unloaded, true)) complain("cuModuleUnload twice");
  if (!is_idle(module->context)) {
    complain("cuModuleUnload while work is queued");
    finish_all(module->context);
  }
  return 0;
}

DRIVER_FUNCTION(cuModuleGetFunction)(CUfunction* function, CUmodule module, const char* name) {
  const Call call("cuModuleGetFunction");
  if (call.result != 0) return call.result;
  if (module->kernels == nullptr) {
    static auto* const any = new gpu_emulator::Kernels;
    gpu_emulator::Kernel& kernel = (*any)[name];
    kernel.name = name;
    *function = &module->functions[name];
    **function = {module, &kernel};
    return 0;
  }
  const auto found = module->kernels->find(name);
  if (found == module->kernels->end()) return not_found;
  *function = &module->functions[name];
  **function = {module, &found->second};
  return 0;
}

DRIVER_FUNCTION(cuLaunchKernel)
(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
 unsigned block_y, unsigned block_z, unsigned /*shared_bytes*/, CUstream stream, void** parameters,
 void** /*extra*/) {
  const Call call("cuLaunchKernel");
  if (call.result != 0) return call.result;
  return launch("cuLaunchKernel", function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                stream, parameters, false);
}

DRIVER_FUNCTION(cuLaunchCooperativeKernel)
(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
 unsigned block_y, unsigned block_z, unsigned /*shared_bytes*/, CUstream stream,
 void** parameters) {
  const Call call("cuLaunchCooperativeKernel");
  if (call.result != 0) return call.result;
  if (setting("together", 1) == 0) {
    complain("cuLaunchCooperativeKernel on a device that has no such launches");
    return not_supported;
  }
  if (grid_x > static_cast<unsigned>(processors * blocks_of_processor)) {
    complain("cuLaunchCooperativeKernel of " + std::to_string(grid_x) + " blocks, " +
             std::to_string(processors * blocks_of_processor) + " are there at once");
    return too_large_together;
  }
  return launch("cuLaunchCooperativeKernel", function, {grid_x, grid_y, grid_z},
                {block_x, block_y, block_z}, stream, parameters, true);
}

DRIVER_FUNCTION(cuOccupancyMaxActiveBlocksPerMultiprocessor)
(int* blocks, CUfunction function, int threads, std::size_t /*shared_bytes*/) {
  const Call call("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  if (call.result != 0) return call.result;
  if (function->module->unloaded) {
    complain("cuOccupancyMaxActiveBlocksPerMultiprocessor of a kernel whose module is unloaded");
    return invalid_handle;
  }
  *blocks = threads <= 1024 ? blocks_of_processor : 0;
  return 0;
}

SAME(cuModuleLoadDataEx, cuModuleLoadDataEx);
SAME(cuModuleUnload, cuModuleUnload);
SAME(cuModuleGetFunction, cuModuleGetFunction);
SAME(cuLaunchKernel, cuLaunchKernel);
SAME(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel);
SAME(cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxActiveBlocksPerMultiprocessor);
