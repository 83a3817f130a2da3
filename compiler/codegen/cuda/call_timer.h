// What parts of a call take on a device.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "compiler/codegen/executable.h"
#include "runtime/device.h"

namespace kroton::codegen {

// By an event before each part and one behind it. Nobody waits for a part by itself, so that the
// device has the next one when it is done with one, if the host is fast enough.
class CallTimer {
 public:
  explicit CallTimer(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  // `start` asks for the part; its time is added when settle() has come. Parts are in no other one.
  void measure(MeasuredTime& time, const std::function<void()>& start);
  // Waits for all that was measured.
  void settle();
  // Those of a call that has failed.
  void forget() { pending_.clear(); }

 private:
  static constexpr std::size_t most_pending = 1024;  // loops may have any number of parts
  struct Events {
    std::unique_ptr<DeviceEvent> begin, end;
  };

  std::shared_ptr<Device> device_;
  std::vector<MeasuredTime*> pending_;
  std::vector<Events> events_;  // of these, in their order, and spare ones
};

}  // namespace kroton::codegen
