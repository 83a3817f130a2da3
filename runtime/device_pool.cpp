#include "runtime/device_pool.h"

#include <kroton/error.h>

#include <algorithm>
#include <bit>

#include "runtime/device.h"

namespace kroton {

std::int64_t DevicePool::rounded(std::int64_t bytes) {
  constexpr std::int64_t least = 512;
  const auto power =
      static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(std::max(bytes, least))));
  const std::int64_t step = std::max(least, power / 8);
  return (std::max<std::int64_t>(bytes, 1) + step - 1) / step * step;
}

std::uint64_t DevicePool::allocate(std::int64_t bytes) {
  const std::int64_t size = rounded(bytes);
  device_.check_usable();
  const std::lock_guard lock(device_.mutex);
  std::uint64_t address = 0;
  const auto kept = kept_.find(size);
  if (kept != kept_.end() && !kept->second.empty()) {
    address = kept->second.back();
    kept->second.pop_back();
    kept_bytes_ -= size;
  } else {
    try {
      address = device_.allocate(size);
    } catch (const DeviceError&) {
      if (kept_bytes_ == 0) throw;
      free_kept();
      address = device_.allocate(size);
    }
  }
  used_bytes_ += size;
  return address;
}

void DevicePool::give_back(std::uint64_t address, std::int64_t bytes, bool at_once) noexcept {
  constexpr std::int64_t always_kept = std::int64_t{64} << 20;
  const std::int64_t size = rounded(bytes);
  try {
    device_.check_usable();  // before the lock: in a forked child nobody may be there to release it
    const std::lock_guard lock(device_.mutex);
    used_bytes_ -= size;
    if (at_once) {
      device_.free(address);
      return;
    }
    kept_[size].push_back(address);
    kept_bytes_ += size;
    if (kept_bytes_ > std::max(always_kept, used_bytes_)) free_kept();
  } catch (...) {  // no memory for the list, or no device: then this does nothing
    device_.free(address);
  }
}

void DevicePool::free_kept() noexcept {
  for (const auto& [size, addresses] : kept_) {
    for (const std::uint64_t address : addresses) device_.free(address);
  }
  kept_.clear();
  kept_bytes_ = 0;
}

}  // namespace kroton
