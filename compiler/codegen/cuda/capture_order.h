// What in a graph has to come behind what: by the memory that it reads and writes.
#pragma once
#include <map>
#include <span>
#include <vector>

#include "runtime/device.h"

namespace kroton::codegen {

// Work that is captured one after the other comes behind those of the work before that wrote what
// it touches, and behind those that read what it writes; nothing else keeps it waiting. Memory that
// several buffers have in turns is memory like any other.
class CaptureOrder {
 public:
  using Place = Device::CapturedPlace;
  struct Range {
    DeviceAddress begin = 0, end = 0;  // nothing if they are the same
    bool writes = false;
  };
  static Range range(DeviceAddress begin, std::int64_t bytes, bool writes) {
    return {begin, begin + static_cast<DeviceAddress>(bytes), writes};
  }

  // What work that touches these has to wait for, each once.
  std::vector<Place> before(std::span<const Range> ranges);
  // That work was captured and ends at these places.
  void add(std::span<const Range> ranges, std::span<const Place> places);

 private:
  // Memory from its address up to `end` whose last writer and readers since are the same.
  struct Piece {
    DeviceAddress end = 0;
    std::vector<Place> written, read;
  };
  using Pieces = std::map<DeviceAddress, Piece>;

  // More that read the same at a time wait for one of those before: a writer has to wait for all.
  static constexpr std::size_t most_readers = 16;

  // Cuts the piece that an address is inside of.
  void cut(DeviceAddress at);
  // Calls `action` for the pieces of a range, which is cut out of them; those that nothing has
  // touched yet are made.
  template <class Action>
  void for_each_piece(const Range& range, const Action& action);

  Pieces pieces_;
};

}  // namespace kroton::codegen
