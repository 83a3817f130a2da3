// Answers of a machine's GPU to questions that documents leave open, and the numbers of the model
// of times (tests/gpu_model): what a launch costs alone and in a graph, what graphs cost, copies
// from page-locked memory and from any, whether a call gives the same bits twice, what the library
// of products does with NaN and with addresses of few zeros.
//   kroton_gpu_questions [--small] [PART...]      --small: as much as an emulator can do; parts:
//                        launches copies memory bits relu alignment. An answer that ends in an
//                        error that lasts takes no other part along if each is a process.
//   kroton_gpu_questions --compile CAPABILITY FILE...      only compiles texts for the cache; the
//                                                          first line of each is its name
#include <kroton/kroton.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/prelude.h"
#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nvrtc.h"

namespace kt = kroton;
using namespace kroton::nvidia;  // NOLINT: the driver

namespace {

using Clock = std::chrono::steady_clock;

bool is_small = false;

const char* const kernels = R"(
extern "C" __global__ void nothing(long long n) {}
extern "C" __global__ void copy(KROTON_GLOBAL(const float) from, KROTON_GLOBAL(float) to,
                                long long n) {
  for (long long i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) to[i] = from[i];
}
// Each load needs the one before it.
extern "C" __global__ void chase(KROTON_GLOBAL(int) next, long long steps) {
  int at = 0;
  for (long long i = 0; i < steps; ++i) at = next[at];
  if (at == -1) next[0] = 0;
}
)";

void check(CUresult result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string(what) + ": " + error_text(result));
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

class Questions {
 public:
  Questions() {
    check(driver().cuInit(0), "cuInit");
    CUdevice device = 0;
    check(driver().cuDeviceGet(&device, 0), "cuDeviceGet");
    char name[256] = {};
    check(driver().cuDeviceGetName(name, sizeof name - 1, device), "cuDeviceGetName");
    int major = 0, minor = 0, version = 0;
    check(driver().cuDeviceGetAttribute(&major, attribute_capability_major, device), "capability");
    check(driver().cuDeviceGetAttribute(&minor, attribute_capability_minor, device), "capability");
    check(driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
    std::printf("device: %s, compute capability %d.%d, driver %d.%d\n", name, major, minor,
                version / 1000, version % 1000 / 10);
    check(driver().cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
    check(driver().cuCtxPushCurrent(context_), "cuCtxPushCurrent");
    check(driver().cuStreamCreate(&stream_, stream_non_blocking), "cuStreamCreate");
    const Nvrtc& nvrtc = Nvrtc::load(Nvrtc::names(version / 1000));
    std::printf("NVRTC: %s, version %s\n", nvrtc.path().c_str(), nvrtc.version().c_str());
    const std::string image = nvrtc.compile(std::string(kt::codegen::cuda_prelude) + kernels,
                                            "questions", major * 10 + minor);
    check(driver().cuModuleLoadDataEx(&module_, image.c_str(), 0, nullptr, nullptr),
          "cuModuleLoadDataEx");
  }

  void launches() {
    const CUfunction nothing = function("nothing");
    const int count = is_small ? 10 : 10000;
    std::int64_t n = 1;
    void* arguments[] = {&n};
    const auto start_all = [&](int times) {
      for (int i = 0; i < times; ++i) launch(nothing, 1, 32, arguments);
    };
    start_all(10);
    wait();
    const auto start = Clock::now();
    start_all(count);
    const double queued = us_since(start);
    wait();
    std::printf("a launch: %.2f us of the host, %.2f us with its run\n", queued / count,
                us_since(start) / count);
    for (const int nodes : is_small ? std::vector{10} : std::vector{1000, 10000, 65000}) {
      CUgraph graph = nullptr;
      CUgraphExec ready = nullptr;
      check(driver().cuStreamBeginCapture(stream_, capture_mode_relaxed), "cuStreamBeginCapture");
      start_all(nodes);
      check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
      auto begin = Clock::now();
      check(driver().cuGraphInstantiate(&ready, graph, 0), "cuGraphInstantiate");
      const double made = us_since(begin);
      check(driver().cuGraphDestroy(graph), "cuGraphDestroy");
      check(driver().cuGraphLaunch(ready, stream_), "cuGraphLaunch");
      wait();
      begin = Clock::now();
      check(driver().cuGraphLaunch(ready, stream_), "cuGraphLaunch");
      const double launched = us_since(begin);
      wait();
      std::printf(
          "a graph of %d launches: %.0f us to instantiate, %.1f us of the host to start, %.2f us "
          "for each launch\n",
          nodes, made, launched, us_since(begin) / nodes);
      check(driver().cuGraphExecDestroy(ready), "cuGraphExecDestroy");
    }
  }

  void copies() {
    for (const std::int64_t bytes : is_small
                                        ? std::vector<std::int64_t>{4096}
                                        : std::vector<std::int64_t>{1 << 10, 1 << 20, 1 << 26}) {
      const CUdeviceptr there = allocated(bytes);
      std::vector<char> pageable(static_cast<std::size_t>(bytes), 1);
      void* pinned = nullptr;
      check(driver().cuMemAllocHost(&pinned, static_cast<std::size_t>(bytes)), "cuMemAllocHost");
      std::memset(pinned, 1, static_cast<std::size_t>(bytes));
      for (void* from : {static_cast<void*>(pageable.data()), pinned}) {
        const auto copy = [&] {
          check(driver().cuMemcpyHtoDAsync(there, from, static_cast<std::size_t>(bytes), stream_),
                "cuMemcpyHtoDAsync");
          wait();
        };
        copy();
        const int count = is_small ? 2 : 20;
        const auto start = Clock::now();
        for (int i = 0; i < count; ++i) copy();
        const double us = us_since(start) / count;
        std::printf("%lld bytes up from %s memory: %.1f us, %.1f GB/s\n",
                    static_cast<long long>(bytes), from == pinned ? "page-locked" : "pageable", us,
                    static_cast<double>(bytes) / us * 1e-3);
      }
      check(driver().cuMemFree(there), "cuMemFree");
    }
  }

  void memory() {
    std::int64_t n = is_small ? 1000 : 1 << 26;
    CUdeviceptr from = allocated(4 * n), to = allocated(4 * n);
    check(driver().cuMemsetD8Async(from, 0, static_cast<std::size_t>(4 * n), stream_), "clear");
    void* arguments[] = {&from, &to, &n};
    const CUfunction copy = function("copy");
    const unsigned blocks = is_small ? 2 : 4096;
    launch(copy, blocks, 256, arguments);
    wait();
    auto start = Clock::now();
    const int count = is_small ? 1 : 10;
    for (int i = 0; i < count; ++i) launch(copy, blocks, 256, arguments);
    wait();
    std::printf("model: bandwidth of a copy %.0f GB/s\n",
                static_cast<double>(8 * n) * count / us_since(start) * 1e-3);
    // A circle through memory that no cache holds.
    const std::int64_t places = is_small ? 64 : 1 << 26;
    std::vector<int> next(static_cast<std::size_t>(places));
    constexpr std::int64_t apart = 4099;  // odd: the circle goes through all places
    for (std::int64_t i = 0; i < places; ++i) {
      next[static_cast<std::size_t>(i)] = static_cast<int>((i + apart) % places);
    }
    CUdeviceptr circle = allocated(4 * places);
    check(driver().cuMemcpyHtoDAsync(circle, next.data(), static_cast<std::size_t>(4 * places),
                                     stream_),
          "cuMemcpyHtoDAsync");
    std::int64_t steps = is_small ? 10 : 100000;
    void* chased[] = {&circle, &steps};
    wait();
    start = Clock::now();
    launch(function("chase"), 1, 32, chased);
    wait();
    std::printf("model: latency of memory %.0f ns\n",
                us_since(start) * 1e3 / static_cast<double>(steps));
    for (const CUdeviceptr address : {from, to, circle}) check(driver().cuMemFree(address), "free");
  }

  // max(a*b, 0) by the library, with a NaN in one row of a.
  void relu() {
    const std::vector<float> d = product(256, 0, 0, relu_epilogue);
    if (d.empty()) {
      std::printf("the library's ReLU: it computes none\n");
      return;
    }
    const auto nans = std::count_if(d.begin(), d.end(), [](float x) { return std::isnan(x); });
    std::printf("the library's ReLU of NaN: %s (%lld of %d)\n", nans == side ? "NaN" : "NOT NaN",
                static_cast<long long>(nans), side);
  }

  // Matrices and biases that begin so many bytes behind a multiple of 256.
  void alignment() {
    for (const int offset : {0, 128, 64, 32, 16, 8, 4}) {
      const int promised = offset == 0 ? 256 : offset;
      std::printf("matrices at a multiple of %d bytes: ", promised);
      const std::vector<float> d = product(promised, offset, 0, 0);
      std::printf("%s\n", d.empty() ? "refused" : "computed");
    }
    for (const int offset : {16, 8, 4}) {  // the last may be the end of this process
      std::printf("a bias at a multiple of %d bytes: ", offset);
      const std::vector<float> d = product(256, 0, offset, epilogue_bias);
      std::printf("%s\n", d.empty() ? "refused" : "computed");
    }
  }

 private:
  static constexpr int side = 64;
  static constexpr std::uint32_t relu_epilogue = 2;

  // The product of two matrices of ones, the first element of the first of them NaN; all of them
  // begin `offset` bytes behind a multiple of 256. Empty if the library refuses.
  std::vector<float> product(int promised, int offset, int bias_offset, std::uint32_t epilogue) {
    int version = 0;
    check(driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
    const CublasLtApi api(CublasLtApi::names(version / 1000));
    const auto ask = [&](cublasStatus status, const char* what) {
      if (status != 0) {
        throw std::runtime_error(std::string(what) + ": " + api.cublasLtGetStatusString(status));
      }
    };
    cublasLtHandle handle = nullptr;
    cublasLtMatmulDesc operation = nullptr;
    cublasLtMatrixLayout layout = nullptr;
    cublasLtMatmulPreference preference = nullptr;
    ask(api.cublasLtCreate(&handle), "cublasLtCreate");
    ask(api.cublasLtMatmulDescCreate(&operation, compute_f32, type_f32), "desc");
    ask(api.cublasLtMatrixLayoutCreate(&layout, type_f32, side, side, side), "layout");
    ask(api.cublasLtMatmulPreferenceCreate(&preference), "preference");
    constexpr std::int64_t bytes = 4 * side * side, apart = bytes + 512;
    constexpr std::uint64_t workspace_bytes = 32 << 20;
    const CUdeviceptr all = allocated(4 * apart), workspace = allocated(workspace_bytes);
    std::vector<float> ones(side * side, 1.0F);
    const auto at = [&](int number, int shift) {
      return all + static_cast<CUdeviceptr>(number * apart + shift);
    };
    const auto upload = [&](CUdeviceptr to) {
      check(driver().cuMemcpyHtoDAsync(to, ones.data(), bytes, stream_), "cuMemcpyHtoDAsync");
      wait();
    };
    const CUdeviceptr a = at(0, offset), b = at(1, offset), d = at(2, offset);
    const CUdeviceptr bias = at(3, bias_offset);
    upload(b);
    upload(d);
    upload(bias);
    ones[0] = std::nanf("");
    upload(a);
    if (epilogue != 0) {
      ask(api.cublasLtMatmulDescSetAttribute(operation, desc_epilogue, &epilogue, sizeof epilogue),
          "epilogue");
    }
    if (epilogue == epilogue_bias) {
      ask(api.cublasLtMatmulDescSetAttribute(operation, desc_bias, &bias, sizeof bias), "bias");
    }
    ask(api.cublasLtMatmulPreferenceSetAttribute(preference, preference_workspace, &workspace_bytes,
                                                 sizeof workspace_bytes),
        "workspace");
    const auto alignment = static_cast<std::uint32_t>(promised);
    for (int k = 0; k < 4; ++k) {
      ask(api.cublasLtMatmulPreferenceSetAttribute(preference, preference_alignment + k, &alignment,
                                                   sizeof alignment),
          "alignment");
    }
    cublasLtMatmulHeuristicResult found{};
    int count = 0;
    if (api.cublasLtMatmulAlgoGetHeuristic(handle, operation, layout, layout, layout, layout,
                                           preference, 1, &found, &count) != 0 ||
        count == 0) {
      return {};
    }
    const float one = 1, zero = 0;
    const auto pointer = [](CUdeviceptr address) { return reinterpret_cast<void*>(address); };
    if (api.cublasLtMatmul(handle, operation, &one, pointer(a), layout, pointer(b), layout, &zero,
                           pointer(d), layout, pointer(d), layout, &found.algo, pointer(workspace),
                           workspace_bytes, stream_) != 0) {
      return {};
    }
    std::vector<float> result(side * side);
    check(driver().cuMemcpyDtoHAsync(result.data(), d, bytes, stream_), "cuMemcpyDtoHAsync");
    wait();
    check(driver().cuMemFree(all), "cuMemFree");
    check(driver().cuMemFree(workspace), "cuMemFree");
    return result;
  }

  CUfunction function(const char* name) const {
    CUfunction found = nullptr;
    check(driver().cuModuleGetFunction(&found, module_, name), "cuModuleGetFunction");
    return found;
  }
  void launch(CUfunction f, unsigned blocks, unsigned threads, void** arguments) const {
    check(driver().cuLaunchKernel(f, blocks, 1, 1, threads, 1, 1, 0, stream_, arguments, nullptr),
          "cuLaunchKernel");
  }
  void wait() const { check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize"); }
  static CUdeviceptr allocated(std::int64_t bytes) {
    CUdeviceptr address = 0;
    check(driver().cuMemAlloc(&address, static_cast<std::size_t>(bytes)), "cuMemAlloc");
    return address;
  }

  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  CUmodule module_ = nullptr;
};

// Sums of many numbers, products, sums of what lies anywhere: twice, and by graphs.
void same_bits() {
  const std::int64_t n = is_small ? 40 : 1000;
  const auto x = kt::matrix("x");
  const auto ids = kt::vector("ids", kt::i64);
  const auto y = kt::function({x, ids},
                              {kt::sum(kt::exp(x)), kt::sum(x, 0), kt::dot(x, x), kt::softmax(x),
                               kt::scatter_add(x, ids, {7, x.shape(1)})},
                              {.target = kt::cuda()});
  const kt::Array values = kt::Array::normal({n, n}, 1);
  kt::Array numbers = kt::Array::zeros({n}, kt::i64);
  for (std::int64_t i = 0; i < n; ++i) {
    numbers.data<std::int64_t>()[static_cast<std::size_t>(i)] = i * 3 % 7;
  }
  const std::vector<kt::Argument> arguments{values, numbers};
  const auto first = y.call(arguments);
  bool all = true;
  for (int call = 0; call < 4; ++call) {
    const auto again = y.call(arguments);
    for (std::size_t k = 0; k < first.size(); ++k) {
      all = all && kt::array_equal(first[k], again[k]);
    }
  }
  std::printf("the same bits in every call: %s\n", all ? "yes" : "NO");
}

int compile(int capability, int count, char** files) {
  int failures = 0;
  for (int k = 0; k < count; ++k) {
    std::ifstream file(files[k], std::ios::binary);
    std::string name;
    std::getline(file, name);
    const std::string source{std::istreambuf_iterator<char>(file), {}};
    try {
      Nvrtc::get().compile(source, name, capability);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ++failures;
    }
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], "--compile") == 0) {
    return compile(std::atoi(argv[2]), argc - 3, argv + 3);
  }
  // Lines are out when they are printed: who is ended in the middle has said what it knew.
  std::setvbuf(stdout, nullptr, _IOLBF, 1 << 12);
  std::vector<std::string> parts(argv + 1, argv + argc);
  is_small = std::erase(parts, "--small") > 0;
  try {
    Questions questions;
    const auto ask = [&](const char* part, const auto& question) {
      if (parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end()) question();
    };
    ask("launches", [&] { questions.launches(); });
    ask("copies", [&] { questions.copies(); });
    ask("memory", [&] { questions.memory(); });
    ask("bits", same_bits);
    ask("relu", [&] { questions.relu(); });
    ask("alignment", [&] { questions.alignment(); });
  } catch (const std::exception& error) {
    std::printf("no answer: %s\n", error.what());
    return 1;
  }
  return 0;
}
