// A CUDA device: its start, and how it is used and lost.
#include "runtime/cuda/cuda_device.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/cudnn.h"

namespace kroton::nvidia {
CudaDevice::CudaDevice(int number, CUdevice device)
    : home_(*this), name_("cuda:" + std::to_string(number)), number_(number), device_(device) {
  char text[256] = {};
  check(driver().cuDeviceGetName(text, sizeof text - 1, device), "cuDeviceGetName");
  name_ += " (" + std::string(text) + ")";
  kind_ = properties_.model = text;
  int major = 0, minor = 0, version = 0;
  check(driver().cuDeviceGetAttribute(&major, attribute_capability_major, device),
        "compute capability");
  check(driver().cuDeviceGetAttribute(&minor, attribute_capability_minor, device),
        "compute capability");
  capability_ = major * 10 + minor;
  check(driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
  driver_ = version / 1000;
  kind_ += ", capability " + std::to_string(capability_) + ", driver " + std::to_string(version);
  ask_properties();
  check(driver().cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
  const char* waits = std::getenv("KROTON_CUDA_SYNC");
  waits_ = waits && *waits && std::string(waits) != "0";
  open_streams();
}

CudaDevice::CudaDevice(CudaDevice* home)
    : home_(*home),
      name_(home->name_),
      kind_(home->kind_),
      number_(home->number_),
      device_(home->device_),
      capability_(home->capability_),
      driver_(home->driver_),
      waits_(home->waits_),
      context_(home->context_) {
  open_streams();
}

void CudaDevice::open_streams() {
  const Use use(*this);
  check(driver().cuStreamCreate(&stream_, stream_non_blocking), "cuStreamCreate");
  check(driver().cuStreamCreate(&early_stream_, stream_non_blocking), "cuStreamCreate");
  check(driver().cuStreamCreate(&exchange_stream_, stream_non_blocking), "cuStreamCreate");
  check(driver().cuEventCreate(&order_, event_disable_timing), "cuEventCreate");
  void* memory = nullptr;
  check(driver().cuMemAllocHost(&memory, landing_bytes), "cuMemAllocHost");
  landing_ = static_cast<char*>(memory);
}

CudaDevice::~CudaDevice() = default;

// What the driver does not tell, of memory that is no card's for example, stays 0.
void CudaDevice::ask_properties() {
  const auto told = [this](int attribute) {
    int value = 0;
    return driver().cuDeviceGetAttribute(&value, attribute, device_) == 0 ? value : 0;
  };
  constexpr double per_khz = 1e-6;  // GHz
  properties_.processors = told(attribute_processors);
  properties_.clock = told(attribute_clock) * per_khz;
  properties_.f32_per_f64 = told(attribute_f32_per_f64);
  properties_.memory_clock = told(attribute_memory_clock) * per_khz;
  properties_.memory_bits = told(attribute_memory_bits);
  properties_.shared_memory = told(attribute_shared_memory);
}

CudaDevice::Context::Context(const CudaDevice& device) {
  device.check_usable();
  const CUresult result = driver().cuCtxPushCurrent(device.context_);
  if (result != 0) {
    throw DeviceError(device.name_ + ": cuCtxPushCurrent: " + error_text(result));
  }
}

CudaDevice::Context::~Context() {
  CUcontext popped = nullptr;
  driver().cuCtxPopCurrent(&popped);
}

void CudaDevice::check_usable() const {
  refuse_after_fork(name_);
  if (!home_.is_lost_.load(std::memory_order_acquire)) return;
  throw DeviceError(name_ + " cannot be used in this process any more: " + home_.lost_);
}

void CudaDevice::begin_call(const std::string& function) {
  const std::lock_guard lock(mutex);
  call_ = function;
  is_noted_ = false;
}

void CudaDevice::note_work() {
  if (call_.empty() || is_noted_) return;
  const std::lock_guard lock(home_.common_);
  std::vector<std::string>& calls = home_.in_flight_[this];
  if (std::ranges::find(calls, call_) == calls.end()) calls.push_back(call_);
  is_noted_ = true;
}

void CudaDevice::wait(const std::string& what) {
  check(driver().cuStreamSynchronize(stream_), what);
  const std::lock_guard lock(home_.common_);
  home_.in_flight_[this].clear();
  is_noted_ = false;
}

void CudaDevice::check(CUresult result, const std::string& what) {
  if (result == 0) return;
  if (!is_lasting(result)) throw DeviceError(name_ + ": " + what + ": " + error_text(result));
  home_.lose(result, what);
  check_usable();
}

void CudaDevice::lose(CUresult result, const std::string& what) {
  const std::lock_guard lock(common_);
  if (is_lost_) return;
  std::string calls;
  for (const auto& [stream, functions] : in_flight_) {
    for (const std::string& call : functions) calls += (calls.empty() ? "" : " or ") + call;
  }
  lost_ = (calls.empty() ? "the device failed, and no call of Kroton's was under way"
                         : "the device failed in a call of " + calls) +
          ": " + error_text(result) + " (noticed at: " + what + ")";
  is_lost_.store(true, std::memory_order_release);
}

}  // namespace kroton::nvidia
