// libcuda.so.1 of the tests: see control.h.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/fake_driver/control.h"
#include "tests/fake_driver/machine.h"
#include "tests/gpu_emulator/kernels.h"

namespace kroton::nvidia {

struct CUctx_st {
  int device = 0;
  CUresult failed = 0;  // what it never recovers from
};
struct CUstream_st {
  CUcontext context = nullptr;
  std::deque<fake_driver::Work> queue;
  std::uint64_t queued = 0, done = 0;
  bool capturing = false, invalidated = false;
  std::vector<fake_driver::Work> captured;
};
struct CUevent_st {
  CUstream stream = nullptr;  // null: not recorded
  std::uint64_t position = 0;
};
struct CUfunc_st {
  CUmodule module = nullptr;
  const gpu_emulator::Kernel* kernel = nullptr;
};
struct CUmod_st {
  CUcontext context = nullptr;
  gpu_emulator::Kernels* kernels = nullptr;
  std::map<std::string, CUfunc_st> functions;
  bool unloaded = false;
};
struct CUgraph_st {
  std::vector<fake_driver::Work> nodes;
  bool destroyed = false;
};
struct CUgraphExec_st {
  CUcontext context = nullptr;
  std::vector<fake_driver::Work> nodes;
  bool destroyed = false;
};

}  // namespace kroton::nvidia

namespace fake_driver {

using namespace kroton::nvidia;  // NOLINT: the names of the driver

namespace {

struct Allocation {
  std::size_t bytes = 0;
  void* shadow = nullptr;
  CUcontext context = nullptr;
  bool freed = false;
};
struct Injection {
  int left = 0;
  CUresult code = 0;
};

// Handles and memory are kept when they are given back, so that their use is found out.
struct Machine {
  std::recursive_mutex mutex;
  pid_t process = 0;  // that called cuInit
  std::map<int, std::unique_ptr<CUctx_st>> contexts;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::vector<std::unique_ptr<CUevent_st>> events;
  std::vector<std::unique_ptr<CUmod_st>> modules;
  std::vector<std::unique_ptr<CUgraph_st>> graphs;
  std::vector<std::unique_ptr<CUgraphExec_st>> executables;
  std::map<CUdeviceptr, Allocation> allocations;
  std::map<std::string, int> calls;
  std::map<std::string, std::vector<Injection>> injections;
  std::string violations;
  CUcontext working = nullptr;  // whose work runs
  Injection next_kernel;
  int kernels = 0, products = 0, allocated = 0;
};

Machine& machine() {
  static auto* all = new Machine;
  return *all;
}

// A process that ends with something to complain about has failed.
struct LastWord {
  ~LastWord() {
    const std::string& violations = machine().violations;
    if (violations.empty()) return;
    std::fprintf(stderr, "the driver of the tests: %s", violations.c_str());
    _exit(3);
  }
} last_word;

thread_local std::vector<CUcontext> current_contexts;

CUcontext current_context() { return current_contexts.empty() ? nullptr : current_contexts.back(); }

template <class T>
T* keep(std::vector<std::unique_ptr<T>>& list) {
  return list.emplace_back(std::make_unique<T>()).get();
}

enum class Needs : std::uint8_t { nothing, driver, context };

// One call of the driver: counted, and refused where a driver would refuse it.
class Call {
 public:
  explicit Call(const char* function, Needs needs = Needs::context)
      : lock_(machine().mutex), result(judge(function, needs)) {}

 private:
  static CUresult judge(const std::string& function, Needs needs) {
    Machine& m = machine();
    ++m.calls[function];
    for (Injection& injection : m.injections[function]) {
      if (injection.left > 0 && --injection.left == 0) return injection.code;
    }
    if (needs == Needs::nothing) return 0;
    if (m.process == 0) {
      complain(function + " before cuInit");
      return not_initialized;
    }
    if (m.process != getpid()) {
      complain(function + " in a process forked after cuInit");
      return not_initialized;
    }
    if (needs == Needs::driver) return 0;
    if (!current_context()) {
      complain(function + " without a current context");
      return invalid_context;
    }
    return current_context()->failed;
  }

  std::lock_guard<std::recursive_mutex> lock_;

 public:
  const CUresult result;
};

bool belongs(const char* function, CUcontext context) {
  if (context == current_context()) return true;
  complain(std::string(function) + " of another context than the current one");
  return false;
}

// Runs what waits in the stream up to a position. The first failure is its context's for good.
CUresult finish(CUstream stream, std::uint64_t position) {
  Machine& m = machine();
  while (stream->done < position) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    if (stream->context->failed != 0) continue;
    m.working = stream->context;
    stream->context->failed = work();
    m.working = nullptr;
  }
  return stream->context->failed;
}

void finish_all(CUcontext context) {
  for (const auto& stream : machine().streams) {
    if (stream->context == context) finish(stream.get(), stream->queued);
  }
}

bool is_idle(CUcontext context) {
  for (const auto& stream : machine().streams) {
    if (stream->context == context && !stream->queue.empty()) return false;
  }
  return true;
}

// The live allocation of the working context that an address is in, or behind by no byte.
const std::pair<const CUdeviceptr, Allocation>* holder(CUdeviceptr address) {
  Machine& m = machine();
  auto after = m.allocations.upper_bound(address);
  if (after == m.allocations.begin()) return nullptr;
  const auto& found = *--after;
  const Allocation& allocation = found.second;
  const bool inside = address <= found.first + allocation.bytes;
  return inside && !allocation.freed && allocation.context == m.working ? &found : nullptr;
}

std::uint64_t digest(const void* data, std::size_t bytes) {
  std::uint64_t hash = 1469598103934665603U;
  for (std::size_t k = 0; k < bytes; ++k) {
    hash = (hash ^ static_cast<const unsigned char*>(data)[k]) * 1099511628211U;
  }
  return hash;
}

std::string bytes_at(std::size_t bytes, CUdeviceptr address) {
  std::ostringstream text;
  text << bytes << " bytes at 0x" << std::hex << address;
  return text.str();
}

// A copy or a clearing whose device memory is not there.
CUresult stray(const std::string& what, std::size_t bytes, CUdeviceptr address) {
  complain(what + " of " + bytes_at(bytes, address) + ", which is not inside an allocation");
  return illegal_address;
}

// Runs one kernel in the emulator. `values`: of its parameters.
CUresult run_kernel(CUfunction function, unsigned blocks, unsigned threads,
                    const std::vector<std::uint64_t>& values) {
  Machine& m = machine();
  ++m.kernels;
  if (m.next_kernel.left > 0 && --m.next_kernel.left == 0) return m.next_kernel.code;
  const gpu_emulator::Kernel& kernel = *function->kernel;
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
  const std::string failure = gpu_emulator::run(kernel, blocks, threads, arguments);
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

const char* name_of(CUresult code) {
  switch (code) {
    case 0:
      return "CUDA_SUCCESS";
    case invalid_value:
      return "CUDA_ERROR_INVALID_VALUE";
    case out_of_memory:
      return "CUDA_ERROR_OUT_OF_MEMORY";
    case not_initialized:
      return "CUDA_ERROR_NOT_INITIALIZED";
    case no_device:
      return "CUDA_ERROR_NO_DEVICE";
    case invalid_device:
      return "CUDA_ERROR_INVALID_DEVICE";
    case invalid_image:
      return "CUDA_ERROR_INVALID_IMAGE";
    case invalid_context:
      return "CUDA_ERROR_INVALID_CONTEXT";
    case no_binary:
      return "CUDA_ERROR_NO_BINARY_FOR_GPU";
    case invalid_ptx:
      return "CUDA_ERROR_INVALID_PTX";
    case unsupported_ptx:
      return "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
    case invalid_handle:
      return "CUDA_ERROR_INVALID_HANDLE";
    case illegal_state:
      return "CUDA_ERROR_ILLEGAL_STATE";
    case not_found:
      return "CUDA_ERROR_NOT_FOUND";
    case illegal_address:
      return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case misaligned_address:
      return "CUDA_ERROR_MISALIGNED_ADDRESS";
    case 719:
      return "CUDA_ERROR_LAUNCH_FAILED";
    case capture_unsupported:
      return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    case capture_invalidated:
      return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
    default:
      return "CUDA_ERROR_UNKNOWN";
  }
}

// ---- What tests ask for.

std::string take_violations() {
  const std::lock_guard lock(machine().mutex);
  return std::exchange(machine().violations, {});
}
void fail_call(const std::string& function, int n, int code) {
  const std::lock_guard lock(machine().mutex);
  machine().injections[function].push_back({n, code});
}
void fail_kernel(int n, int code) {
  const std::lock_guard lock(machine().mutex);
  machine().next_kernel = {n, code};
}
int calls(const std::string& function) {
  const std::lock_guard lock(machine().mutex);
  return machine().calls[function];
}
int kernels() { return machine().kernels; }
int products() { return machine().products; }
int allocations() { return machine().allocated; }

}  // namespace

std::string setting(const std::string& key, const std::string& otherwise) {
  const char* all = std::getenv("KROTON_FAKE_DRIVER");
  std::istringstream in(all ? all : "");
  std::string entry;
  while (in >> entry) {
    if (entry.starts_with(key + "=")) return entry.substr(key.size() + 1);
  }
  return otherwise;
}

int setting(const std::string& key, int otherwise) {
  return std::stoi(setting(key, std::to_string(otherwise)));
}

void complain(const std::string& text) { machine().violations += text + "\n"; }

bool is_current(CUstream stream) { return current_context() == stream->context; }

void enqueue(CUstream stream, Work work) {
  const std::lock_guard lock(machine().mutex);
  if (stream->capturing) {
    stream->captured.push_back(std::move(work));
    return;
  }
  stream->queue.push_back(std::move(work));
  ++stream->queued;
}

void* memory(std::uint64_t address, std::int64_t bytes) {
  const auto* found = holder(address);
  if (!found || address + static_cast<std::uint64_t>(bytes) > found->first + found->second.bytes) {
    return nullptr;
  }
  return reinterpret_cast<void*>(address);
}

void count_product() { ++machine().products; }

}  // namespace fake_driver

using namespace fake_driver;  // NOLINT: this is its interface

FAKE_DRIVER_EXPORT const Control* fake_driver_control() {
  static const Control control{take_violations, fail_call, fail_kernel, calls,
                               kernels,         products,  allocations};
  return &control;
}

// ---- The driver's functions. Each is declared as in the header that Kroton calls it by.

#define DRIVER_FUNCTION(name) FAKE_DRIVER_EXPORT CUresult name

DRIVER_FUNCTION(cuInit)(unsigned /*flags*/) {
  const Call call("cuInit", Needs::nothing);
  if (call.result != 0) return call.result;
  if (setting("devices", 1) == 0) return no_device;
  Machine& m = machine();
  if (m.process == 0) m.process = getpid();
  if (m.process != getpid()) {
    complain("cuInit in a process forked after cuInit");
    return not_initialized;
  }
  return 0;
}

DRIVER_FUNCTION(cuDriverGetVersion)(int* version) {
  const Call call("cuDriverGetVersion", Needs::nothing);
  *version = setting("version", 13000);
  return call.result;
}

DRIVER_FUNCTION(cuGetErrorName)(CUresult code, const char** name) {
  *name = name_of(code);
  return 0;
}

DRIVER_FUNCTION(cuGetErrorString)(CUresult code, const char** text) {
  *text = code == illegal_address ? "an illegal memory access was encountered"
          : code == out_of_memory ? "out of memory"
                                  : "the test driver says so";
  return 0;
}

DRIVER_FUNCTION(cuDeviceGetCount)(int* count) {
  const Call call("cuDeviceGetCount", Needs::driver);
  *count = setting("devices", 1);
  return call.result;
}

DRIVER_FUNCTION(cuDeviceGet)(CUdevice* device, int number) {
  const Call call("cuDeviceGet", Needs::driver);
  if (call.result != 0) return call.result;
  if (number < 0 || number >= setting("devices", 1)) return invalid_device;
  *device = number;
  return 0;
}

DRIVER_FUNCTION(cuDeviceGetName)(char* name, int length, CUdevice /*device*/) {
  const Call call("cuDeviceGetName", Needs::driver);
  std::snprintf(name, static_cast<std::size_t>(length), "test GPU");
  return call.result;
}

DRIVER_FUNCTION(cuDeviceGetAttribute)(int* value, int attribute, CUdevice /*device*/) {
  const Call call("cuDeviceGetAttribute", Needs::driver);
  if (call.result != 0) return call.result;
  const int capability = setting("capability", 90);
  if (attribute == attribute_capability_major) {
    *value = capability / 10;
  } else if (attribute == attribute_capability_minor) {
    *value = capability % 10;
  } else {
    return invalid_value;
  }
  return 0;
}

DRIVER_FUNCTION(cuDevicePrimaryCtxRetain)(CUcontext* context, CUdevice device) {
  const Call call("cuDevicePrimaryCtxRetain", Needs::driver);
  if (call.result != 0) return call.result;
  std::unique_ptr<CUctx_st>& primary = machine().contexts[device];
  if (!primary) primary = std::make_unique<CUctx_st>(CUctx_st{device, 0});
  *context = primary.get();
  return 0;
}

DRIVER_FUNCTION(cuCtxSetCurrent)(CUcontext context) {
  const Call call("cuCtxSetCurrent", Needs::driver);
  if (call.result != 0) return call.result;
  if (!current_contexts.empty()) current_contexts.pop_back();
  if (context) current_contexts.push_back(context);
  return 0;
}

DRIVER_FUNCTION(cuCtxGetCurrent)(CUcontext* context) {
  const Call call("cuCtxGetCurrent", Needs::driver);
  *context = current_context();
  return call.result;
}

DRIVER_FUNCTION(cuCtxPushCurrent_v2)(CUcontext context) {
  const Call call("cuCtxPushCurrent_v2", Needs::driver);
  if (call.result != 0) return call.result;
  current_contexts.push_back(context);
  return 0;
}

DRIVER_FUNCTION(cuCtxPopCurrent_v2)(CUcontext* context) {
  const Call call("cuCtxPopCurrent_v2", Needs::driver);
  if (call.result != 0) return call.result;
  if (current_contexts.empty()) return invalid_context;
  if (context) *context = current_context();
  current_contexts.pop_back();
  return 0;
}

DRIVER_FUNCTION(cuStreamCreate)(CUstream* stream, unsigned /*flags*/) {
  const Call call("cuStreamCreate");
  if (call.result != 0) return call.result;
  *stream = keep(machine().streams);
  (*stream)->context = current_context();
  return 0;
}

DRIVER_FUNCTION(cuStreamSynchronize)(CUstream stream) {
  const Call call("cuStreamSynchronize");
  if (call.result != 0) return call.result;
  if (!belongs("cuStreamSynchronize", stream->context)) return invalid_handle;
  if (stream->capturing) {
    complain("cuStreamSynchronize of a stream that is being captured");
    stream->invalidated = true;
    return capture_unsupported;
  }
  return finish(stream, stream->queued);
}

DRIVER_FUNCTION(cuEventCreate)(CUevent* event, unsigned /*flags*/) {
  const Call call("cuEventCreate");
  if (call.result != 0) return call.result;
  *event = keep(machine().events);
  return 0;
}

DRIVER_FUNCTION(cuEventRecord)(CUevent event, CUstream stream) {
  const Call call("cuEventRecord");
  if (call.result != 0) return call.result;
  if (!belongs("cuEventRecord", stream->context)) return invalid_handle;
  if (stream->capturing) {
    complain("cuEventRecord in a stream that is being captured");
    return capture_unsupported;
  }
  event->stream = stream;
  event->position = stream->queued;
  return 0;
}

DRIVER_FUNCTION(cuEventSynchronize)(CUevent event) {
  const Call call("cuEventSynchronize");
  if (call.result != 0) return call.result;
  return event->stream ? finish(event->stream, event->position) : 0;
}

DRIVER_FUNCTION(cuMemAlloc_v2)(CUdeviceptr* address, std::size_t bytes) {
  const Call call("cuMemAlloc_v2");
  if (call.result != 0) return call.result;
  if (bytes == 0) {
    complain("cuMemAlloc of 0 bytes");
    return invalid_value;
  }
  constexpr std::size_t alignment = 256;
  const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, size);
  void* shadow = std::calloc(size, gpu_emulator::log_bytes);
  if (!data || !shadow) return out_of_memory;
  std::memset(data, 0xa5, size);  // what was there before means nothing
  *address = reinterpret_cast<CUdeviceptr>(data);
  machine().allocations[*address] = {bytes, shadow, current_context(), false};
  ++machine().allocated;
  return 0;
}

DRIVER_FUNCTION(cuMemFree_v2)(CUdeviceptr address) {
  const Call call("cuMemFree_v2");
  if (call.result != 0) return call.result;
  const auto found = machine().allocations.find(address);
  if (found == machine().allocations.end() || found->second.freed) {
    complain("cuMemFree of what is not allocated");
    return invalid_value;
  }
  if (!belongs("cuMemFree", found->second.context)) return invalid_value;
  if (!is_idle(found->second.context)) {
    complain("cuMemFree of " + bytes_at(found->second.bytes, address) + " while work is queued");
    finish_all(found->second.context);
  }
  std::memset(reinterpret_cast<void*>(address), 0xa5, found->second.bytes);
  found->second.freed = true;
  --machine().allocated;
  return 0;
}

DRIVER_FUNCTION(cuMemAllocHost_v2)(void** memory, std::size_t bytes) {
  const Call call("cuMemAllocHost_v2");
  if (call.result != 0) return call.result;
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *memory ? 0 : out_of_memory;
}

DRIVER_FUNCTION(cuMemcpyHtoDAsync_v2)
(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyHtoDAsync_v2");
  if (call.result != 0) return call.result;
  if (!belongs("cuMemcpyHtoDAsync", stream->context)) return invalid_handle;
  if (stream->capturing) complain("a copy from the host's memory in a graph");
  enqueue(stream, [=, before = digest(from, bytes)] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a copy to the device", bytes, to);
    if (digest(from, bytes) != before) {
      complain("the host's memory that " + std::to_string(bytes) +
               " bytes are copied from has changed before they were copied");
    }
    std::memcpy(target, from, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuMemcpyDtoHAsync_v2)
(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyDtoHAsync_v2");
  if (call.result != 0) return call.result;
  if (!belongs("cuMemcpyDtoHAsync", stream->context)) return invalid_handle;
  if (stream->capturing) complain("a copy to the host's memory in a graph");
  enqueue(stream, [=] {
    const void* source = memory(from, static_cast<std::int64_t>(bytes));
    if (!source) return stray("a copy from the device", bytes, from);
    std::memcpy(to, source, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuMemsetD8Async)
(CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream) {
  const Call call("cuMemsetD8Async");
  if (call.result != 0) return call.result;
  if (!belongs("cuMemsetD8Async", stream->context)) return invalid_handle;
  enqueue(stream, [=] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a clearing", bytes, to);
    std::memset(target, value, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuModuleLoadDataEx)
(CUmodule* module, const void* text, unsigned count, int* options, void** values) {
  const Call call("cuModuleLoadDataEx");
  if (call.result != 0) return call.result;
  Image image;
  if (!read_image(static_cast<const char*>(text), image)) return invalid_image;
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
  if (!belongs("cuLaunchKernel", stream->context) ||
      !belongs("the kernel's module", function->module->context)) {
    return invalid_handle;
  }
  if (function->module->unloaded) {
    complain("cuLaunchKernel of a kernel whose module is unloaded");
    return invalid_handle;
  }
  if (grid_x < 1 || grid_x > 0x7fffffff || grid_y != 1 || grid_z != 1 || block_x < 1 ||
      block_x > 1024 || block_y != 1 || block_z != 1) {
    complain("cuLaunchKernel: a grid of " + std::to_string(grid_x) + " blocks of " +
             std::to_string(block_x) + " threads");
    return invalid_value;
  }
  std::vector<std::uint64_t> given;
  for (std::size_t k = 0; k < function->kernel->parameters.size(); ++k) {
    const std::int64_t size = function->kernel->parameters[k];
    std::memcpy(&given.emplace_back(0), parameters[k],
                static_cast<std::size_t>(size < 0 ? -size : 8));
  }
  enqueue(stream,
          [=, all = std::move(given)] { return run_kernel(function, grid_x, block_x, all); });
  return 0;
}

DRIVER_FUNCTION(cuStreamBeginCapture_v2)(CUstream stream, int mode) {
  const Call call("cuStreamBeginCapture_v2");
  if (call.result != 0) return call.result;
  if (stream->capturing || !belongs("cuStreamBeginCapture", stream->context)) return illegal_state;
  if (mode != capture_mode_relaxed) complain("a capture that forbids other threads' calls");
  stream->capturing = true;
  stream->invalidated = false;
  stream->captured.clear();
  return 0;
}

DRIVER_FUNCTION(cuStreamEndCapture)(CUstream stream, CUgraph* graph) {
  const Call call("cuStreamEndCapture");
  if (call.result != 0) {
    stream->capturing = false;  // it ends, however it ends
    return call.result;
  }
  if (!stream->capturing) {
    complain("cuStreamEndCapture of a stream that is not being captured");
    return illegal_state;
  }
  stream->capturing = false;
  *graph = nullptr;
  if (stream->invalidated) return capture_invalidated;
  *graph = keep(machine().graphs);
  (*graph)->nodes = std::move(stream->captured);
  return 0;
}

DRIVER_FUNCTION(cuGraphInstantiateWithFlags)
(CUgraphExec* executable, CUgraph graph, unsigned long long /*flags*/) {
  const Call call("cuGraphInstantiateWithFlags");
  if (call.result != 0) return call.result;
  if (!graph || graph->destroyed) {
    complain("cuGraphInstantiate of no graph");
    return invalid_handle;
  }
  *executable = keep(machine().executables);
  (*executable)->context = current_context();
  (*executable)->nodes = graph->nodes;
  return 0;
}

DRIVER_FUNCTION(cuGraphDestroy)(CUgraph graph) {
  const Call call("cuGraphDestroy");
  if (call.result != 0) return call.result;
  if (!graph || std::exchange(graph->destroyed, true)) {
    complain("cuGraphDestroy of no graph");
    return invalid_handle;
  }
  return 0;
}

DRIVER_FUNCTION(cuGraphLaunch)(CUgraphExec executable, CUstream stream) {
  const Call call("cuGraphLaunch");
  if (call.result != 0) return call.result;
  if (executable->destroyed || stream->capturing ||
      !belongs("cuGraphLaunch", executable->context)) {
    complain("cuGraphLaunch of a graph that is destroyed, or into one");
    return invalid_handle;
  }
  for (const Work& work : executable->nodes) enqueue(stream, work);
  return 0;
}

DRIVER_FUNCTION(cuGraphExecDestroy)(CUgraphExec executable) {
  const Call call("cuGraphExecDestroy");
  if (call.result != 0) return call.result;
  if (std::exchange(executable->destroyed, true)) complain("cuGraphExecDestroy twice");
  return 0;
}

// What Kroton calls is what is defined here.
#define SAME(member, name) \
  static_assert(std::is_same_v<decltype(kroton::nvidia::DriverApi::member), decltype(&(name))>)
SAME(cuInit, cuInit);
SAME(cuDriverGetVersion, cuDriverGetVersion);
SAME(cuGetErrorName, cuGetErrorName);
SAME(cuGetErrorString, cuGetErrorString);
SAME(cuDeviceGetCount, cuDeviceGetCount);
SAME(cuDeviceGet, cuDeviceGet);
SAME(cuDeviceGetName, cuDeviceGetName);
SAME(cuDeviceGetAttribute, cuDeviceGetAttribute);
SAME(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain);
SAME(cuCtxPushCurrent, cuCtxPushCurrent_v2);
SAME(cuCtxPopCurrent, cuCtxPopCurrent_v2);
SAME(cuStreamCreate, cuStreamCreate);
SAME(cuStreamSynchronize, cuStreamSynchronize);
SAME(cuEventCreate, cuEventCreate);
SAME(cuEventRecord, cuEventRecord);
SAME(cuEventSynchronize, cuEventSynchronize);
SAME(cuMemAllocHost, cuMemAllocHost_v2);
SAME(cuMemAlloc, cuMemAlloc_v2);
SAME(cuMemFree, cuMemFree_v2);
SAME(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2);
SAME(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2);
SAME(cuMemsetD8Async, cuMemsetD8Async);
SAME(cuModuleLoadDataEx, cuModuleLoadDataEx);
SAME(cuModuleUnload, cuModuleUnload);
SAME(cuModuleGetFunction, cuModuleGetFunction);
SAME(cuLaunchKernel, cuLaunchKernel);
SAME(cuStreamBeginCapture, cuStreamBeginCapture_v2);
SAME(cuStreamEndCapture, cuStreamEndCapture);
SAME(cuGraphInstantiate, cuGraphInstantiateWithFlags);
SAME(cuGraphDestroy, cuGraphDestroy);
SAME(cuGraphLaunch, cuGraphLaunch);
SAME(cuGraphExecDestroy, cuGraphExecDestroy);
