// The numbers of the model of times. What they are of: compiler/codegen/cuda/gpu_rates.h.
#include <algorithm>

#include "tests/gpu/asked_device.h"

namespace gpu_questions {
namespace {

using nvidia::CUfunction;

const char* const kernels = R"(
extern "C" __global__ void copy(KROTON_GLOBAL(const float) from, KROTON_GLOBAL(float) to,
                                long long n, long long rounds) {
  for (long long round = 0; round < rounds; ++round)
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) to[i] = from[i];
}
// Each load needs the one before it.
extern "C" __global__ void chase(KROTON_GLOBAL(int) next, long long steps) {
  int at = 0;
  for (long long i = 0; i < steps; ++i) at = next[at];
  if (at == -1) next[0] = 0;
}
// Eight sums that do not wait for each other.
__device__ inline float next_of(float s) { return fmaf(s, 0.999f, 0.001f); }
__device__ inline double next_of(double s) { return fma(s, 0.999, 0.001); }
template <class T> __device__ inline T eight_sums(long long steps) {
  T s[8];
  for (int k = 0; k < 8; ++k) s[k] = (T)(threadIdx.x + k);
  for (long long i = 0; i < steps; ++i)
    for (int k = 0; k < 8; ++k) s[k] = next_of(s[k]);
  T sum = 0;
  for (int k = 0; k < 8; ++k) sum = sum + s[k];
  return sum;
}
extern "C" __global__ void rate_f32(KROTON_GLOBAL(float) out, long long steps) {
  const float sum = eight_sums<float>(steps);
  if (sum == -1.0f) out[0] = sum;
}
extern "C" __global__ void rate_f64(KROTON_GLOBAL(double) out, long long steps) {
  const double sum = eight_sums<double>(steps);
  if (sum == -1.0) out[0] = sum;
}
// Each operation needs the one before it.
extern "C" __global__ void chain(KROTON_GLOBAL(float) out, long long steps) {
  float s = (float)threadIdx.x;
  for (long long i = 0; i < steps; ++i) s = next_of(s);
  if (s == -1.0f) out[0] = s;
}
// What the threads of a block take for a loop that they share and the barrier behind it.
extern "C" __global__ void phases(KROTON_GLOBAL(float) out, long long steps) {
  for (long long i = 0; i < steps; ++i) {
    out[threadIdx.x] = out[256 + (threadIdx.x + 32) % 256] * 0.999f;
    __syncthreads();
    out[threadIdx.x + 256] = out[threadIdx.x];
    __syncthreads();
  }
}
extern "C" __global__ void nothing(long long n) {}
// Barriers of all blocks.
extern "C" __global__ void meetings(unsigned* arrivals, long long steps) {
  for (long long i = 0; i < steps; ++i) {
    KROTON_MEET(arrivals);
  }
}
)";

// Eight tiles a warp that do not wait for each other: 2,048 products of 16 bits each.
const char* const matrix_kernel = R"(
extern "C" __global__ void rate_matrix(KROTON_GLOBAL(float) out, long long steps) {
  float sums[8][4] = {};
  const unsigned a[4] = {threadIdx.x, 0, 0, 0}, b[2] = {0, 0};
  for (long long i = 0; i < steps; ++i)
    for (int k = 0; k < 8; ++k) KtUnits_bf16::multiply(sums[k], a, b);
  float sum = 0;
  for (int k = 0; k < 8; ++k) sum = sum + sums[k][0] + sums[k][3];
  if (sum == -1.0f) out[0] = sum;
}
)";

// Microseconds from one kernel of a graph to the next.
double launch_in_graph(const AskedDevice& device, CUfunction nothing) {
  std::int64_t n = 1;
  void* arguments[] = {&n};
  const int nodes = device.is_small ? 10 : 2000;
  nvidia::CUgraph graph = device.captured(nothing, arguments, nodes);
  nvidia::CUgraphExec ready = nullptr;
  check(nvidia::driver().cuGraphInstantiate(&ready, graph, 0), "cuGraphInstantiate");
  check(nvidia::driver().cuGraphDestroy(graph), "cuGraphDestroy");
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    const auto start = Clock::now();
    check(nvidia::driver().cuGraphLaunch(ready, device.stream()), "cuGraphLaunch");
    device.wait();
    const double us = us_since(start) / nodes;
    if (round == 1 || (round > 1 && us < best)) best = us;
  }
  check(nvidia::driver().cuGraphExecDestroy(ready), "cuGraphExecDestroy");
  return best;
}

// Microseconds of a barrier of a block on each processor; 0 where the device has none.
double meeting(const AskedDevice& device, CUfunction meetings) {
  if (device.attribute(nvidia::attribute_cooperative_launch) == 0) return 0;
  const auto blocks = static_cast<unsigned>(device.attribute(nvidia::attribute_processors));
  CUdeviceptr arrivals = AskedDevice::allocated(4);
  device.upload(arrivals, std::vector<std::uint32_t>{0});
  std::int64_t steps = device.is_small ? 5 : 2000;
  void* arguments[] = {&arrivals, &steps};
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    device.wait();
    const auto start = Clock::now();
    check(nvidia::driver().cuLaunchCooperativeKernel(meetings, blocks, 1, 1, 256, 1, 1, 0,
                                                     device.stream(), arguments),
          "cuLaunchCooperativeKernel");
    device.wait();
    const double us = us_since(start) / static_cast<double>(steps);
    if (round == 1 || (round > 1 && us < best)) best = us;
  }
  AskedDevice::free(arrivals);
  return best;
}

}  // namespace

void ask_model(const AskedDevice& device) {
  const nvidia::CUmodule module = device.compiled(kernels, "model");
  const auto of = [&](const char* name) { return AskedDevice::function(module, name); };
  const bool small = device.is_small;
  const double processors = device.attribute(nvidia::attribute_processors);
  const double clock = device.attribute(nvidia::attribute_clock) * 1e-6;  // GHz
  std::printf("model: %.0f processors of %.2f GHz at most, %.1f MB of cache\n", processors, clock,
              device.attribute(nvidia::attribute_cache_bytes) * 1e-6);

  std::int64_t n = small ? 1000 : 1 << 26, rounds = 1;
  CUdeviceptr from = AskedDevice::allocated(4 * n), to = AskedDevice::allocated(4 * n);
  check(nvidia::driver().cuMemsetD8Async(from, 0, static_cast<std::size_t>(4 * n), device.stream()),
        "clear");
  void* copied[] = {&from, &to, &n, &rounds};
  const unsigned blocks = small ? 2 : static_cast<unsigned>(processors) * 16;
  const double bandwidth =
      static_cast<double>(8 * n) / device.us_of(of("copy"), blocks, 256, copied) * 1e-3;
  std::printf("model: bandwidth of a copy %.0f GB/s\n", bandwidth);
  n = small ? 500 : 1 << 20;
  rounds = small ? 2 : 50;
  std::printf(
      "model: bandwidth in the cache %.0f GB/s\n",
      static_cast<double>(8 * n * rounds) / device.us_of(of("copy"), blocks, 256, copied) * 1e-3);

  // A circle through memory that no cache holds.
  const std::int64_t places = small ? 64 : 1 << 26;
  std::vector<int> next(static_cast<std::size_t>(places));
  constexpr std::int64_t apart = 4099;  // odd: the circle goes through all places
  for (std::int64_t i = 0; i < places; ++i) {
    next[static_cast<std::size_t>(i)] = static_cast<int>((i + apart) % places);
  }
  CUdeviceptr circle = AskedDevice::allocated(4 * places);
  device.upload(circle, next);
  std::int64_t steps = small ? 10 : 100000;
  void* chased[] = {&circle, &steps};
  device.wait();
  const auto start = Clock::now();
  device.launch(of("chase"), 1, 32, chased);
  device.wait();
  const double latency = us_since(start) * 1e3 / static_cast<double>(steps);
  std::printf("model: latency of memory %.0f ns\n", latency);

  // Per processor and cycle of the highest clock.
  steps = small ? 5 : 20000;
  void* computed[] = {&to, &steps};
  const auto lanes = [&](const char* name) {
    const double all = static_cast<double>(blocks) * 256 * 8 * static_cast<double>(steps);
    return all / device.us_of(of(name), blocks, 256, computed) * 1e-3 / processors / clock;
  };
  const double f32 = lanes("rate_f32"), f64 = lanes("rate_f64");
  std::printf("model: %.1f f32 and %.2f f64 multiplications with additions a cycle\n", f32, f64);
  const auto cycles = [&](const char* name, double of_each) {
    steps = small ? 5 : 100000;
    const double us = device.us_of(of(name), 1, 256, computed);
    return us * 1e3 * clock / static_cast<double>(steps) / of_each;
  };
  const double operation = cycles("chain", 1), phase = cycles("phases", 2);
  std::printf("model: %.1f cycles for an operation, %.0f for a loop of a block and its barrier\n",
              operation, phase);
  const double launch = launch_in_graph(device, of("nothing"));
  std::printf("model: %.2f us from one kernel of a graph to the next\n", launch);
  const double together = meeting(device, of("meetings"));
  std::printf("model: %.2f us for a barrier of all blocks\n", together);
  double matrix = 0;
  if (device.capability() >= 80) {
    const nvidia::CUmodule units =
        device.compiled(std::string(kroton::codegen::matrix_prelude) + matrix_kernel, "matrix");
    steps = small ? 2 : 5000;
    const double all = static_cast<double>(blocks) * 8 * 8 * 2048 * static_cast<double>(steps);
    matrix = all /
             device.us_of(AskedDevice::function(units, "rate_matrix"), blocks, 256, computed) *
             1e-3 / processors / clock;
    std::printf("model: %.0f products of bf16 a cycle by matrix units\n", matrix);
  }
  std::printf("model: {\"%s\", %.0f, %.2f, %.0f, %.4f, %.0f, %.0f, %.2f, %.2f, %d, %d, %.0f}\n",
              device.name().c_str(), processors, clock, f32, f64 / std::max(f32, 1e-9), bandwidth,
              latency, launch, together, device.attribute(nvidia::attribute_shared_memory),
              device.capability(), matrix);
  for (const CUdeviceptr address : {from, to, circle}) AskedDevice::free(address);
}

}  // namespace gpu_questions
