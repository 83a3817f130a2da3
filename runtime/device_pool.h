// Memory of a device for arrays that come and go.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

namespace kroton {

class Device;

// The driver waits for all work before it takes memory back, so what is given back is kept here for
// the next array of about that size. That needs no waiting: all of Kroton's work on a device is in
// one stream, and what uses the memory next comes after what used it last. Sizes are rounded up by
// an eighth at most. What is kept is never more than what is in use, apart from the first 64 MiB.
//
// Nothing is freed at the end of its life: a device outlives what is made in it.
class DevicePool {
 public:
  explicit DevicePool(Device& device) : device_(device) {}
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  // At least one byte. DeviceError if there is no room even after all that is kept has been freed.
  std::uint64_t allocate(std::int64_t bytes);
  // `at_once`: somebody else than Kroton may still be using it; the driver waits for them.
  void give_back(std::uint64_t address, std::int64_t bytes, bool at_once) noexcept;

  static std::int64_t rounded(std::int64_t bytes);

 private:
  void free_kept() noexcept;

  Device& device_;
  std::map<std::int64_t, std::vector<std::uint64_t>> kept_;  // addresses by rounded size
  std::int64_t kept_bytes_ = 0, used_bytes_ = 0;
};

}  // namespace kroton
