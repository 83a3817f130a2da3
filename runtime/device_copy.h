// The copy of a shared variable's value on a device.
#pragma once
#include <kroton/array.h>

#include <atomic>

#include "runtime/device.h"

namespace kroton {

// Two places, the host's Array and the device's memory, and which of them hold the newest value:
// at least one does, unless an update has failed half-way. Whoever writes in one place makes the
// other old; whoever reads the other brings it up to date first. Apart from bring_to_host, and
// bring_to_device where the value is_on_device(), which readers may call at the same time, calls
// exclude each other by the variable's lock.
class DeviceCopy {
 public:
  // Room for the value; the host's is the newest. In the memory of a device, used by any of its
  // streams.
  DeviceCopy(std::shared_ptr<Device> device, const Array& value);

  const std::shared_ptr<Device>& device() const { return device_; }
  // The device's memory, holding the newest value: brought there in that stream, whose order with
  // others is the caller's business, as a write unless it is_on_device() already. DeviceError if
  // the value is lost.
  DeviceAddress bring_to_device(const Array& value, Device& stream);
  bool is_on_device() const { return !device_is_old_; }
  MemoryUses& uses() { return uses_; }
  // `value` holds the newest afterwards. DeviceError if that is lost.
  void bring_to_host(Array& value);
  void written_on_device() {
    ++writes_;
    host_is_old_.store(true, std::memory_order_release);
  }
  void written_on_host() {
    ++writes_;
    device_is_old_ = true;
    host_is_old_.store(false, std::memory_order_release);
    lost_.clear();
  }
  // An update on the device was begun and did not come to its end. The host's value counts, unless
  // it is an old one: then the newest is lost, and whoever asks for it gets `reason`.
  void written_in_part(const std::string& reason);
  // How often the value was written, in either place.
  std::uint64_t writes() const { return writes_; }

 private:
  std::shared_ptr<Device> device_;
  DeviceMemory memory_;
  MemoryUses uses_;
  bool device_is_old_ = true;
  std::uint64_t writes_ = 0;
  std::atomic<bool> host_is_old_{false};
  std::string lost_;  // why there is no newest value, or empty
  std::mutex downloading_;
};

}  // namespace kroton
