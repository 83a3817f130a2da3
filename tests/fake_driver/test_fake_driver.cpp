// The driver of the tests itself: it does what a driver does, and complains of what is not allowed.
#include <doctest/doctest.h>

#include <cstring>

#include "runtime/cuda/driver_api.h"
#include "tests/fake_driver/process.h"

using fake_driver::Process;
using namespace kroton::nvidia;  // NOLINT: the names of the driver

namespace {

constexpr int illegal_address = 700, misaligned_address = 716;

// Code as the NVRTC of the tests makes it.
const char* const image = R"(fake cubin 13 90 fill
extern "C" __global__ void fill(KROTON_GLOBAL(float) x, long long n) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < n) x[i] = 7.0f;
}
)";

// The driver with a context, a stream, 40 bytes of memory and a kernel.
struct Rig {
  const Process& process;
  DriverApi api;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUdeviceptr memory = 0;
  CUmodule module = nullptr;
  CUfunction fill = nullptr;

  explicit Rig(const Process& of) : process(of) {
    CHECK(api.cuInit(0) == 0);
    CHECK(api.cuDevicePrimaryCtxRetain(&context, 0) == 0);
    CHECK(api.cuCtxPushCurrent(context) == 0);
    CHECK(api.cuStreamCreate(&stream, stream_non_blocking) == 0);
    CHECK(api.cuMemAlloc(&memory, 40) == 0);
    CHECK(api.cuModuleLoadDataEx(&module, image, 0, nullptr, nullptr) == 0);
    CHECK(api.cuModuleGetFunction(&fill, module, "fill") == 0);
    CHECK(process->violations() == "");
  }

  CUresult launch(CUdeviceptr at, long long n) const {
    void* parameters[] = {&at, &n};
    return api.cuLaunchKernel(fill, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr);
  }
  bool complains(const std::string& part) const {
    const std::string said = process->violations();
    CAPTURE(said);
    CAPTURE(part);
    const bool found = said.find(part) != std::string::npos;
    CHECK(found);
    return found;
  }
};

}  // namespace

TEST_CASE("fake driver: work is done when somebody waits for it") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CHECK(rig.launch(rig.memory, 10) == 0);
  float have[10] = {};
  CHECK(rig.api.cuMemcpyDtoHAsync(have, rig.memory, sizeof have, rig.stream) == 0);
  CHECK(process->kernels() == 0);
  CHECK(have[9] == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
  CHECK(process->kernels() == 1);
  CHECK(have[9] == 7);
  // An event is waited for as far as it goes.
  CUevent event = nullptr;
  CHECK(rig.api.cuEventCreate(&event, event_disable_timing) == 0);
  CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuEventRecord(event, rig.stream) == 0);
  CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuEventSynchronize(event) == 0);
  CHECK(process->kernels() == 2);
}

TEST_CASE("fake driver: a captured graph runs when it is launched") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  CHECK(rig.api.cuStreamBeginCapture(rig.stream, capture_mode_relaxed) == 0);
  CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuStreamEndCapture(rig.stream, &graph) == 0);
  CHECK(rig.api.cuGraphInstantiate(&executable, graph, 0) == 0);
  CHECK(rig.api.cuGraphDestroy(graph) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
  CHECK(process->kernels() == 0);
  for (int i = 0; i < 2; ++i) CHECK(rig.api.cuGraphLaunch(executable, rig.stream) == 0);
  CHECK(rig.api.cuGraphExecDestroy(executable) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
  CHECK(process->kernels() == 2);
}

TEST_CASE("fake driver: complains of calls without a context and of captures that are waited for") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CHECK(rig.api.cuStreamBeginCapture(rig.stream, capture_mode_relaxed) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) != 0);
  rig.complains("a stream that is being captured");
  CUgraph graph = nullptr;
  CHECK(rig.api.cuStreamEndCapture(rig.stream, &graph) != 0);
  CUcontext popped = nullptr;
  CHECK(rig.api.cuCtxPopCurrent(&popped) == 0);
  CHECK(popped == rig.context);
  CHECK(rig.launch(rig.memory, 10) != 0);
  rig.complains("cuLaunchKernel without a current context");
}

TEST_CASE("fake driver: complains of host memory that changes under a copy") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  float mine[10] = {};
  CHECK(rig.api.cuMemcpyHtoDAsync(rig.memory, mine, sizeof mine, rig.stream) == 0);
  mine[3] = 1;
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
  rig.complains("has changed before they were copied");
  // A clearing or a copy of more than there is.
  CHECK(rig.api.cuMemsetD8Async(rig.memory, 0, 41, rig.stream) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == illegal_address);
  rig.complains("a clearing of 41 bytes");
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == illegal_address);
}

TEST_CASE("fake driver: complains of memory that is given back too early") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuMemFree(rig.memory) == 0);
  rig.complains("cuMemFree of 40 bytes");
  CHECK(rig.api.cuMemFree(rig.memory) != 0);
  rig.complains("cuMemFree of what is not allocated");
  CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == illegal_address);
  rig.complains("kernel fill: argument 0 is in no allocation");
}

TEST_CASE("fake driver: complains of accesses outside of memory") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CHECK(rig.launch(rig.memory, 11) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == illegal_address);
  rig.complains("element 10 of argument 0, which has 10 elements");
}

TEST_CASE("fake driver: complains of arguments that are not aligned") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  CHECK(rig.launch(rig.memory + 2, 1) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == misaligned_address);
  rig.complains("kernel fill: argument 0 is not aligned to its elements");
}

TEST_CASE("fake driver: fails where it is told to") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  process->fail_call("cuMemAlloc_v2", 2, 2);
  CUdeviceptr memory = 0;
  CHECK(rig.api.cuMemAlloc(&memory, 8) == 0);
  CHECK(rig.api.cuMemAlloc(&memory, 8) == 2);
  CHECK(rig.api.cuMemAlloc(&memory, 8) == 0);
  process->fail_kernel(2, 719);
  for (int i = 0; i < 3; ++i) CHECK(rig.launch(rig.memory, 10) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 719);
  CHECK(rig.api.cuMemAlloc(&memory, 8) == 719);
}

TEST_CASE("fake driver: a stream waits for another where an event says so") {
  for (const char* settings : {"", "order=eager"}) {
    const Process process(settings);
    if (!process) continue;
    const Rig rig(process);
    CUstream other = nullptr;
    CUevent event = nullptr;
    CHECK(rig.api.cuStreamCreate(&other, stream_non_blocking) == 0);
    CHECK(rig.api.cuEventCreate(&event, event_disable_timing) == 0);
    float before[10] = {}, after[10] = {};
    CHECK(rig.api.cuMemsetD8Async(rig.memory, 0, 40, rig.stream) == 0);
    CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
    // It waits for what the event stands for now, not for what it is recorded for afterwards.
    CHECK(rig.api.cuMemcpyDtoHAsync(before, rig.memory, sizeof before, other) == 0);
    CHECK(rig.api.cuEventRecord(event, other) == 0);
    CHECK(rig.api.cuStreamWaitEvent(rig.stream, event, 0) == 0);
    CHECK(rig.launch(rig.memory, 10) == 0);
    CHECK(rig.api.cuEventRecord(event, rig.stream) == 0);
    CHECK(rig.api.cuStreamWaitEvent(other, event, 0) == 0);
    CHECK(rig.api.cuMemcpyDtoHAsync(after, rig.memory, sizeof after, other) == 0);
    CHECK(rig.api.cuEventDestroy(event) == 0);
    CHECK(rig.api.cuStreamSynchronize(other) == 0);
    CHECK(before[9] == 0);
    CHECK(after[9] == 7);
  }
}

TEST_CASE("fake driver: knows whose memory an address is in") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  unsigned type = 0;
  int device = -1;
  CHECK(rig.api.cuPointerGetAttribute(&type, pointer_memory_type, rig.memory + 39) == 0);
  CHECK(type != memory_of_host);
  CHECK(rig.api.cuPointerGetAttribute(&device, pointer_device, rig.memory) == 0);
  CHECK(device == 0);
  CHECK(rig.api.cuPointerGetAttribute(&type, pointer_memory_type, rig.memory + 40) != 0);
  CHECK(rig.api.cuMemcpyDtoDAsync(rig.memory, rig.memory + 4, 8, rig.stream) == 0);
  rig.complains("a copy of memory onto itself");
  CHECK(rig.api.cuCtxSynchronize() == 0);
  CHECK(rig.api.cuMemFree(rig.memory) == 0);
  CHECK(rig.api.cuPointerGetAttribute(&type, pointer_memory_type, rig.memory) != 0);
}

TEST_CASE("fake driver: blocks that wait for each other are no more than are there at once") {
  const Process process;
  if (!process) return;
  const Rig rig(process);
  int blocks = 0, able = 0, processors = 0;
  CHECK(rig.api.cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, rig.fill, 32, 0) == 0);
  CHECK(rig.api.cuDeviceGetAttribute(&able, attribute_cooperative_launch, 0) == 0);
  CHECK(rig.api.cuDeviceGetAttribute(&processors, attribute_processors, 0) == 0);
  CHECK(able == 1);
  CUdeviceptr at = rig.memory;
  long long n = 10;
  void* parameters[] = {&at, &n};
  const auto launch = [&](int count) {
    return rig.api.cuLaunchCooperativeKernel(rig.fill, static_cast<unsigned>(count), 1, 1, 32, 1, 1,
                                             0, rig.stream, parameters);
  };
  CHECK(launch(blocks * processors) == 0);
  CHECK(rig.api.cuStreamSynchronize(rig.stream) == 0);
  CHECK(process->kernels() == 1);
  CHECK(process->violations() == "");
  CHECK(launch(blocks * processors + 1) == 720);
  rig.complains("cuLaunchCooperativeKernel of 5 blocks, 4 are there at once");
}
