#include "runtime/device_copy.h"

#include <kroton/error.h>

#include "runtime/storage.h"

namespace kroton {
namespace {

std::int64_t bytes_of(const Array& value) {
  return value.size() * static_cast<std::int64_t>(size_of(value.dtype()));
}

}  // namespace

DeviceCopy::DeviceCopy(std::shared_ptr<Device> device, const Array& value)
    : device_(std::move(device)), memory_(device_, bytes_of(value)) {}

DeviceAddress DeviceCopy::bring_to_device(const Array& value, Device& stream) {
  if (!lost_.empty()) throw DeviceError(lost_);
  if (device_is_old_) {
    stream.upload(memory_.address(), value.raw(), memory_.bytes());
    device_is_old_ = false;
  }
  return memory_.address();
}

void DeviceCopy::bring_to_host(Array& value) {
  if (!host_is_old_.load(std::memory_order_acquire)) return;
  device_->check_usable();
  if (!lost_.empty()) throw DeviceError(lost_);
  const std::lock_guard lock(downloading_);
  if (!host_is_old_.load(std::memory_order_acquire)) return;
  detail::StreamOrder order(*device_);
  order.use(uses_, false);
  device_->download(value.raw(), memory_.address(), memory_.bytes());
  host_is_old_.store(false, std::memory_order_release);
}

void DeviceCopy::written_in_part(const std::string& reason) {
  ++writes_;
  if (host_is_old_.load(std::memory_order_acquire)) {
    lost_ = reason;
  } else {
    device_is_old_ = true;
  }
}

}  // namespace kroton
