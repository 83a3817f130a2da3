// The order in which the streams of a device use its memory.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace kroton {

class Device;
class DeviceEvent;

// A place in a stream's work: behind all that it had got when the place was made.
struct DevicePlace {
  const Device* stream = nullptr;
  std::uint64_t number = 0;  // the later the larger, in one stream
  std::shared_ptr<DeviceEvent> event;
};

// How far the streams have come that use one piece of memory. What the device's own stream has done
// before there was any other is not noted: every other one begins behind it.
class MemoryUses {
 public:
  using Places = std::vector<std::shared_ptr<const DevicePlace>>;

  // What a use in that stream comes after: where others have written the memory and, for one that
  // writes, where they have read it.
  Places before(const Device& stream, bool writes) const;
  // A use that is over at that place.
  void note(const std::shared_ptr<const DevicePlace>& place, bool writes);
  // Whether no other stream has used the memory; whether that one is among those that have.
  bool are_of(const Device& stream) const;
  bool include(const Device& stream) const;

 private:
  struct Last {
    std::shared_ptr<const DevicePlace> use, write;  // a write is a use
  };
  mutable std::mutex mutex_;
  std::vector<Last> by_stream_;
};

}  // namespace kroton
