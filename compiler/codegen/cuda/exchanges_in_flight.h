// Exchanges between devices that a call has started and not waited for.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "runtime/device.h"

namespace kroton::codegen {

// An exchange (runtime/communicator.h) runs in a stream of its own. What it reads and writes is
// remembered by address, and what is started on the device waits for it only where it touches that.
class ExchangesInFlight {
 public:
  struct Memory {
    DeviceAddress begin = 0, end = 0;
  };

  explicit ExchangesInFlight(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  bool empty() const { return in_flight_.empty(); }
  // The device's stream of exchanges has got one that touches these.
  void add(const Memory& in, const Memory& out);
  // Waits for those that touch that memory, and for those before them.
  void settle(const Memory& touched);
  void settle_all();
  // Those of a call that has failed.
  void forget() { in_flight_.clear(); }

 private:
  struct InFlight {
    std::unique_ptr<DeviceEvent> done;
    std::array<Memory, 2> touched;
  };
  void settle_first(std::size_t count);

  std::shared_ptr<Device> device_;
  std::vector<InFlight> in_flight_;  // in their order
  std::vector<std::unique_ptr<DeviceEvent>> spare_events_;
};

}  // namespace kroton::codegen
