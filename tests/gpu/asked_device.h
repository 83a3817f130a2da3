// The first device, for questions that go to the driver itself.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/prelude.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nvrtc.h"

namespace gpu_questions {

namespace nvidia = kroton::nvidia;
using Clock = std::chrono::steady_clock;
using nvidia::CUdeviceptr;

inline void check(nvidia::CUresult result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string(what) + ": " + nvidia::error_text(result));
}

inline double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

class AskedDevice {
 public:
  // `small`: as much as an emulator can do.
  explicit AskedDevice(bool small) : is_small(small) {
    check(nvidia::driver().cuInit(0), "cuInit");
    check(nvidia::driver().cuDeviceGet(&device_, 0), "cuDeviceGet");
    check(nvidia::driver().cuDevicePrimaryCtxRetain(&context_, device_),
          "cuDevicePrimaryCtxRetain");
    check(nvidia::driver().cuCtxPushCurrent(context_), "cuCtxPushCurrent");
    check(nvidia::driver().cuStreamCreate(&stream_, nvidia::stream_non_blocking), "cuStreamCreate");
  }

  std::string name() const {
    char text[256] = {};
    check(nvidia::driver().cuDeviceGetName(text, sizeof text - 1, device_), "cuDeviceGetName");
    return text;
  }
  int attribute(int number) const {
    int value = 0;
    check(nvidia::driver().cuDeviceGetAttribute(&value, number, device_), "cuDeviceGetAttribute");
    return value;
  }
  int capability() const {
    return attribute(nvidia::attribute_capability_major) * 10 +
           attribute(nvidia::attribute_capability_minor);
  }
  static int driver_version() {
    int version = 0;
    check(nvidia::driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
    return version;
  }
  static const nvidia::Nvrtc& nvrtc() {
    return nvidia::Nvrtc::load(nvidia::Nvrtc::names(driver_version() / 1000));
  }

  // The kernels of a text, which comes behind Kroton's prelude.
  nvidia::CUmodule compiled(const std::string& text, const char* of) const {
    const std::string image =
        nvrtc().compile(std::string(kroton::codegen::cuda_prelude) + text, of, capability());
    nvidia::CUmodule module = nullptr;
    check(nvidia::driver().cuModuleLoadDataEx(&module, image.c_str(), 0, nullptr, nullptr),
          "cuModuleLoadDataEx");
    return module;
  }
  static nvidia::CUfunction function(nvidia::CUmodule module, const char* name) {
    nvidia::CUfunction found = nullptr;
    check(nvidia::driver().cuModuleGetFunction(&found, module, name), "cuModuleGetFunction");
    return found;
  }
  void launch(nvidia::CUfunction f, unsigned blocks, unsigned threads, void** arguments) const {
    check(nvidia::driver().cuLaunchKernel(f, blocks, 1, 1, threads, 1, 1, 0, stream_, arguments,
                                          nullptr),
          "cuLaunchKernel");
  }
  // A graph of so many launches, one behind the other.
  nvidia::CUgraph captured(nvidia::CUfunction f, void** arguments, int count) const {
    nvidia::CUgraph graph = nullptr;
    check(nvidia::driver().cuStreamBeginCapture(stream_, nvidia::capture_mode_relaxed),
          "cuStreamBeginCapture");
    for (int i = 0; i < count; ++i) launch(f, 1, 32, arguments);
    check(nvidia::driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
    return graph;
  }
  void wait() const { check(nvidia::driver().cuStreamSynchronize(stream_), "cuStreamSynchronize"); }
  // Microseconds of a launch, the best of some, all of them after one that does not count.
  double us_of(nvidia::CUfunction f, unsigned blocks, unsigned threads, void** arguments) const {
    double best = 0;
    for (int round = 0; round < (is_small ? 2 : 6); ++round) {
      wait();
      const auto start = Clock::now();
      launch(f, blocks, threads, arguments);
      wait();
      const double us = us_since(start);
      if (round == 1 || (round > 1 && us < best)) best = us;
    }
    return best;
  }
  static CUdeviceptr allocated(std::int64_t bytes) {
    CUdeviceptr address = 0;
    check(nvidia::driver().cuMemAlloc(&address, static_cast<std::size_t>(bytes)), "cuMemAlloc");
    return address;
  }
  static void free(CUdeviceptr address) { check(nvidia::driver().cuMemFree(address), "cuMemFree"); }
  template <class T>
  void upload(CUdeviceptr to, const std::vector<T>& from) const {
    check(nvidia::driver().cuMemcpyHtoDAsync(to, from.data(), sizeof(T) * from.size(), stream_),
          "cuMemcpyHtoDAsync");
    wait();
  }
  template <class T>
  void download(std::vector<T>& to, CUdeviceptr from) const {
    check(nvidia::driver().cuMemcpyDtoHAsync(to.data(), from, sizeof(T) * to.size(), stream_),
          "cuMemcpyDtoHAsync");
    wait();
  }
  nvidia::CUstream stream() const { return stream_; }

  const bool is_small;

 private:
  nvidia::CUdevice device_ = 0;
  nvidia::CUcontext context_ = nullptr;
  nvidia::CUstream stream_ = nullptr;
};

// The numbers of the model of times (tests/gpu_model), as a line of its table, too.
void ask_model(const AskedDevice& device);
// What the library of products does with NaN, with addresses of few zeros.
void ask_relu(const AskedDevice& device);
void ask_alignment(const AskedDevice& device);

}  // namespace gpu_questions
