// Memory of a device for arrays that come and go.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/device_uses.h"

namespace kroton {

class Device;

// The driver waits for all work before it takes memory back, so what is given back is kept here for
// the next array of about that size. That needs no waiting of the host: memory goes to an array of
// a stream that has used it, and what uses it next there comes after that, and after what others
// have done with it. Only where the device has no more does one stream get what another alone has
// used. Sizes are rounded up by an eighth at most. What is kept is never more than what is in use,
// apart from the first 64 MiB.
//
// Nothing is freed at the end of its life: a device outlives what is made in it.
class DevicePool {
 public:
  struct Piece {
    std::uint64_t address = 0;
    std::unique_ptr<MemoryUses> uses;
  };

  explicit DevicePool(Device& device) : device_(device) {}
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  // At least one byte, to be used in that stream first of all. DeviceError if there is no room even
  // after all that is kept has been freed.
  Piece allocate(std::int64_t bytes, const Device& stream);
  // `at_once`: somebody else than Kroton may still be using it; the driver waits for them.
  void give_back(Piece piece, std::int64_t bytes, bool at_once) noexcept;

  static std::int64_t rounded(std::int64_t bytes);

 private:
  void free_kept() noexcept;

  Device& device_;
  std::mutex mutex_;
  std::map<std::int64_t, std::vector<Piece>> kept_;  // by rounded size
  std::int64_t kept_bytes_ = 0, used_bytes_ = 0;
};

}  // namespace kroton
