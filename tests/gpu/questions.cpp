// Answers of a machine's GPU to questions that documents leave open, and the numbers of the model
// of times (tests/gpu_model): what is on the machine, what a launch costs alone and in a graph,
// what graphs cost, copies from page-locked memory and from any, whether a call gives the same bits
// twice, how precise products are, what several devices tell each other, what the library of
// products does with NaN and with addresses of few zeros.
//   kroton_gpu_questions [--small] [PART...]      --small: as much as an emulator can do; parts:
//                        start launches copies model bits precision devices relu alignment. An
//                        answer that ends in an error that lasts takes no other part along if each
//                        is a process. start fails where nothing else can succeed.
//   kroton_gpu_questions --compile CAPABILITY FILE...      only compiles texts for the cache; the
//                                                          first line of each is its name
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/library.h"
#include "tests/gpu/asked_device.h"

namespace kt = kroton;
using namespace gpu_questions;   // NOLINT: the program's own
using namespace kroton::nvidia;  // NOLINT: the driver

namespace {

bool is_small = false;

// ---- What is here

// A library's path, and its version as a function of it says.
void say_library(const char* what, const std::vector<std::string>& names, const char* function) {
  const std::optional<Library> library = [&]() -> std::optional<Library> {
    try {
      return std::optional<Library>(std::in_place, what, names);
    } catch (const kt::DeviceError&) {
      return std::nullopt;
    }
  }();
  if (!library) {
    std::printf("%s: not here\n", what);
    return;
  }
  std::string version = "unknown";
  try {
    if (std::strcmp(function, "ncclGetVersion") == 0) {
      int (*ask)(int*) = nullptr;
      library->find(ask, function);
      int number = 0;
      if (ask(&number) == 0) version = std::to_string(number);
    } else {
      std::size_t (*ask)() = nullptr;
      library->find(ask, function);
      version = std::to_string(ask());
    }
  } catch (const kt::DeviceError&) {
    // One without that function.
  }
  std::printf("%s: %s, version %s\n", what, library->path().c_str(), version.c_str());
}

// What everything else needs, from the bottom up: who fails says where.
void start(const AskedDevice& device) {
  const int version = AskedDevice::driver_version();
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  std::printf("device: %s, compute capability %d.%d, driver %d.%d (%s), %d %s\n",
              device.name().c_str(), device.capability() / 10, device.capability() % 10,
              version / 1000, version % 1000 / 10, driver().loaded.path().c_str(), count,
              count == 1 ? "device" : "devices");
  const Nvrtc& nvrtc = AskedDevice::nvrtc();
  std::printf("NVRTC: %s, version %s\n", nvrtc.path().c_str(), nvrtc.version().c_str());
  if (std::atoi(nvrtc.version().c_str()) > version / 1000) {
    std::printf(
        "the driver is older than this NVRTC, whose code it may refuse: put one of its own "
        "version, from the package nvidia-cuda-nvrtc-cu%d, into KROTON_CUDA_LIBRARIES\n",
        version / 1000);
  }
  say_library("cuBLASLt", CublasLtApi::names(version / 1000), "cublasLtGetVersion");
  say_library("cuDNN", {"libcudnn.so.9"}, "cudnnGetVersion");
  say_library("NCCL", {"libnccl.so.2", "libnccl.so"}, "ncclGetVersion");
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x + 1, {.name = "first", .target = kt::cuda()});
  const kt::Array values = kt::Array::arange(0, 1000, 1, kt::f32);
  for (int call = 1; call <= 3; ++call) {  // plain, captured, replayed
    const kt::Array got = f(values);
    for (std::size_t k = 0; k < 1000; ++k) {
      const float expected = 2 * static_cast<float>(k) + 1;
      if (got.data<float>()[k] == expected) continue;
      throw std::runtime_error("call " + std::to_string(call) + " of the first kernel: element " +
                               std::to_string(k) + " is " + std::to_string(got.data<float>()[k]) +
                               ", expected " + std::to_string(expected));
    }
  }
  std::printf("a first kernel, alone and in a graph: right\n");
}

// ---- What it costs

const char* const nothing_text = R"(
extern "C" __global__ void nothing(long long n) {}
)";

void launches(const AskedDevice& device) {
  const CUfunction nothing =
      AskedDevice::function(device.compiled(nothing_text, "launches"), "nothing");
  const int count = is_small ? 10 : 10000;
  std::int64_t n = 1;
  void* arguments[] = {&n};
  const auto start_all = [&](int times) {
    for (int i = 0; i < times; ++i) device.launch(nothing, 1, 32, arguments);
  };
  start_all(10);
  device.wait();
  const auto start = Clock::now();
  start_all(count);
  const double queued = us_since(start);
  device.wait();
  std::printf("a launch: %.2f us of the host, %.2f us with its run\n", queued / count,
              us_since(start) / count);
  for (const int nodes : is_small ? std::vector{10} : std::vector{1000, 10000, 65000}) {
    CUgraph graph = device.captured(nothing, arguments, nodes);
    CUgraphExec ready = nullptr;
    auto begin = Clock::now();
    check(driver().cuGraphInstantiate(&ready, graph, 0), "cuGraphInstantiate");
    const double made = us_since(begin);
    void* failed_node = nullptr;
    int why = 0;
    begin = Clock::now();
    check(driver().cuGraphExecUpdate(ready, graph, &failed_node, &why), "cuGraphExecUpdate");
    const double updated = us_since(begin);
    check(driver().cuGraphDestroy(graph), "cuGraphDestroy");
    check(driver().cuGraphLaunch(ready, device.stream()), "cuGraphLaunch");
    device.wait();
    begin = Clock::now();
    check(driver().cuGraphLaunch(ready, device.stream()), "cuGraphLaunch");
    const double launched = us_since(begin);
    device.wait();
    std::printf(
        "a graph of %d launches: %.0f us to instantiate, %.0f us to update, %.1f us of the host to "
        "start, %.2f us for each launch\n",
        nodes, made, updated, launched, us_since(begin) / nodes);
    check(driver().cuGraphExecDestroy(ready), "cuGraphExecDestroy");
  }
}

void copies(const AskedDevice& device) {
  for (const std::int64_t bytes : is_small ? std::vector<std::int64_t>{4096}
                                           : std::vector<std::int64_t>{1 << 10, 1 << 20, 1 << 26}) {
    const auto size = static_cast<std::size_t>(bytes);
    const CUdeviceptr there = AskedDevice::allocated(bytes);
    std::vector<char> pageable(size, 1);
    void* pinned = nullptr;
    check(driver().cuMemAllocHost(&pinned, size), "cuMemAllocHost");
    std::memset(pinned, 1, size);
    for (void* here : {static_cast<void*>(pageable.data()), pinned}) {
      for (const bool up : {true, false}) {
        const auto copy = [&] {
          check(up ? driver().cuMemcpyHtoDAsync(there, here, size, device.stream())
                   : driver().cuMemcpyDtoHAsync(here, there, size, device.stream()),
                "a copy");
          device.wait();
        };
        copy();
        const int count = is_small ? 2 : 20;
        const auto start = Clock::now();
        for (int i = 0; i < count; ++i) copy();
        const double us = us_since(start) / count;
        std::printf("%lld bytes %s %s memory: %.1f us, %.1f GB/s\n", static_cast<long long>(bytes),
                    up ? "up from" : "down to", here == pinned ? "page-locked" : "pageable", us,
                    static_cast<double>(bytes) / us * 1e-3);
      }
    }
    AskedDevice::free(there);
  }
}

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

// The largest errors of products of numbers around 0, against f64, as parts of what is typical.
void precision() {
  const std::int64_t n = is_small ? 24 : 512;
  const kt::Array a = kt::Array::normal({n, n}, 1), b = kt::Array::normal({n, n}, 2);
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  const auto exact = kt::function({x, y}, kt::dot(kt::cast(x, kt::f64), kt::cast(y, kt::f64)));
  const kt::Array expected = exact(a, b);
  const auto say = [&](const char* what, const kt::Tensor& product, bool library, bool tf32) {
    kt::Target target = kt::cuda();
    target.products = library;
    target.tf32 = tf32;
    const auto f = kt::function({x, y}, kt::cast(product, kt::f64), {.target = target});
    const kt::Array got = f(a, b);
    double largest = 0;
    for (std::size_t k = 0; k < expected.data<double>().size(); ++k) {
      largest = std::max(largest, std::abs(got.data<double>()[k] - expected.data<double>()[k]));
    }
    std::printf("precision of a product %s: %.1e\n", what,
                largest / std::sqrt(static_cast<double>(n)));
  };
  const auto narrow = [&](kt::DType dtype) {
    return kt::dot(kt::cast(kt::cast(x, dtype), kt::f32), kt::cast(kt::cast(y, dtype), kt::f32));
  };
  say("of f32 by the library", kt::dot(x, y), true, false);
  say("of f32 by kernels", kt::dot(x, y), false, false);
  say("in TF32 by the library", kt::dot(x, y), true, true);
  say("in TF32 by kernels", kt::dot(x, y), false, true);
  say("of bf16", narrow(kt::bf16), false, false);
  say("of f16", narrow(kt::f16), false, false);
}

// Sums over all devices of the machine.
void several_devices() {
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  count = std::min(count, 8);
  if (count < 2) {
    std::printf("several devices: there is one\n");
    return;
  }
  int can = 0;
  check(driver().cuDeviceCanAccessPeer(&can, 1, 0), "cuDeviceCanAccessPeer");
  const kt::Array from = kt::Array::zeros({is_small ? 40 : 1 << 24}, kt::f32, kt::cuda(0));
  kt::Array to = from.to(kt::cuda(1));
  kt::synchronize(kt::cuda(1));
  const auto copying = Clock::now();
  to.assign(from);
  kt::synchronize(kt::cuda(1));
  std::printf("several devices: a copy from one to the next, %s: %.1f GB/s\n",
              can != 0 ? "straight" : "by the host's memory",
              static_cast<double>(from.nbytes()) / us_since(copying) * 1e-3);
  const kt::DeviceGroup group = kt::devices(kt::cuda(), count);
  for (const std::int64_t large : {1000, 16'000'000}) {
    const std::int64_t n = is_small ? 40 : large;
    const auto here = kt::shared(kt::Array::ones({n}), "here");
    const auto sum = kt::shared(kt::Array::zeros({n}), "sum");
    const auto f = kt::parallel_function(
        group, {}, kt::ParallelOptions{.updates = {{sum, kt::all_reduce(here, group)}}});
    f();
    f();
    const int calls = is_small ? 2 : 20;
    for (int k = 0; k < count; ++k) kt::synchronize(kt::cuda(k));
    const auto begin = Clock::now();
    for (int k = 0; k < calls; ++k) f();
    for (int k = 0; k < count; ++k) kt::synchronize(kt::cuda(k));
    const double us = us_since(begin) / calls;
    const bool right =
        kt::array_equal(sum.get_value(), kt::Array::full({n}, static_cast<double>(count), kt::f32));
    std::printf("several devices: a sum of %lld numbers over %d: %s, %.0f us\n",
                static_cast<long long>(n), count, right ? "right" : "WRONG", us);
  }
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
    const AskedDevice device(is_small);
    const auto ask = [&](const char* part, const auto& question) {
      if (parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end()) question();
    };
    ask("start", [&] { start(device); });
    ask("launches", [&] { launches(device); });
    ask("copies", [&] { copies(device); });
    ask("model", [&] { ask_model(device); });
    ask("bits", same_bits);
    ask("precision", precision);
    ask("devices", several_devices);
    ask("relu", [&] { ask_relu(device); });
    ask("alignment", [&] { ask_alignment(device); });
  } catch (const std::exception& error) {
    std::printf("no answer: %s\n", error.what());
    return 1;
  }
  return 0;
}
