// The CUDA devices of this machine: opened once, shared from then on, replaced in tests.
#include <kroton/error.h>

#include <map>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/nccl.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda/peer_exchange.h"

namespace kroton {
namespace nvidia {
namespace {

std::shared_ptr<Device> open_device(int number) {
  const DriverApi& api = driver();
  const CUresult started = api.cuInit(0);
  if (started != 0) {
    throw DeviceError("the CUDA driver (" + api.loaded.path() +
                      ") finds no device it can use: " + error_text(started));
  }
  int count = 0, version = 0;
  const CUresult counted = api.cuDeviceGetCount(&count);
  if (counted != 0) throw DeviceError("cuDeviceGetCount: " + error_text(counted));
  if (number < 0 || number >= count) {
    throw DeviceError("there is no CUDA device " + std::to_string(number) + ": this machine has " +
                      std::to_string(count) + (count == 1 ? " (number 0)" : ""));
  }
  const CUresult asked = api.cuDriverGetVersion(&version);
  if (asked != 0) throw DeviceError("cuDriverGetVersion: " + error_text(asked));
  Nvrtc::load(Nvrtc::names(version / 1000));
  CUdevice device = 0;
  const CUresult got = api.cuDeviceGet(&device, number);
  if (got != 0) throw DeviceError("cuDeviceGet: " + error_text(got));
  return std::make_shared<CudaDevice>(number, device);
}

struct Devices {
  std::mutex mutex;
  std::map<int, std::shared_ptr<Device>> opened;
  std::function<std::shared_ptr<Device>(int)> replacement;
};

Devices& devices() {
  // Never destroyed: what lives in static variables of the program may still use a device.
  static auto* all = new Devices;
  return *all;
}

}  // namespace
}  // namespace nvidia

std::shared_ptr<Device> machine_cuda_device(int number) {
  const std::string asked = "cuda(" + std::to_string(number) + ")";
  nvidia::refuse_after_fork(asked);
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  std::shared_ptr<Device>& device = all.opened[number];
  if (device) {
    device->check_usable();
    return device;
  }
  try {
    device = nvidia::open_device(number);
  } catch (const DeviceError& error) {
    throw DeviceError(asked + ": " + error.what());
  }
  return device;
}

std::shared_ptr<Device> cuda_device(int number) {
  nvidia::refuse_after_fork("cuda(" + std::to_string(number) + ")");
  std::function<std::shared_ptr<Device>(int)> replacement;
  {
    nvidia::Devices& all = nvidia::devices();
    const std::lock_guard lock(all.mutex);
    replacement = all.replacement;
  }
  return replacement ? replacement(number) : machine_cuda_device(number);
}

std::shared_ptr<GroupExchange> open_exchange(const std::vector<int>& devices, std::string& why) {
  {
    nvidia::Devices& all = nvidia::devices();
    const std::lock_guard lock(all.mutex);
    if (all.replacement) {
      why = "other devices are in the place of this machine's";
      return nullptr;
    }
  }
  try {
    const std::shared_ptr<Device> first = cuda_device(devices[0]);
    std::shared_ptr<GroupExchange> made;
    first->in_context([&] { made = nvidia::make_nccl(devices); });
    return made;
  } catch (const DeviceError& error) {
    why = error.what();
  }
  try {
    std::vector<std::shared_ptr<nvidia::CudaDevice>> all;
    for (const int number : devices) {
      all.push_back(std::dynamic_pointer_cast<nvidia::CudaDevice>(machine_cuda_device(number)));
    }
    std::string why_no_peers;
    std::shared_ptr<GroupExchange> made = nvidia::make_peer_exchange(all, why_no_peers);
    if (!made) why += "\n" + why_no_peers;
    return made;
  } catch (const DeviceError& error) {
    why += "\n" + std::string(error.what());
    return nullptr;
  }
}

void replace_cuda_devices(std::function<std::shared_ptr<Device>(int number)> open) {
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  all.replacement = std::move(open);
}

}  // namespace kroton
