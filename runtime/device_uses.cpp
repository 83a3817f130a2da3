#include "runtime/device_uses.h"

#include <algorithm>

namespace kroton {

MemoryUses::Places MemoryUses::before(const Device& stream, bool writes) const {
  Places places;
  const std::lock_guard lock(mutex_);
  for (const Last& last : by_stream_) {
    if (last.use->stream == &stream) continue;
    const auto& place = writes ? last.use : last.write;
    if (place) places.push_back(place);
  }
  return places;
}

void MemoryUses::note(const std::shared_ptr<const DevicePlace>& place, bool writes) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(
      by_stream_, [&](const Last& last) { return last.use->stream == place->stream; });
  Last& last = found == by_stream_.end() ? by_stream_.emplace_back() : *found;
  last.use = place;
  if (writes) last.write = place;
}

bool MemoryUses::are_of(const Device& stream) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(by_stream_,
                             [&](const Last& last) { return last.use->stream == &stream; });
}

bool MemoryUses::include(const Device& stream) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(by_stream_,
                             [&](const Last& last) { return last.use->stream == &stream; });
}

}  // namespace kroton
