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

DevicePool::Piece DevicePool::allocate(std::int64_t bytes, const Device& stream) {
  const std::int64_t size = rounded(bytes);
  device_.check_usable();  // before the lock: in a forked child nobody may be there to release it
  const std::lock_guard lock(mutex_);
  std::vector<Piece>& kept = kept_[size];
  const auto take = [&](std::vector<Piece>::iterator found) {
    Piece piece = std::move(*found);
    kept.erase(found);
    kept_bytes_ -= size;
    used_bytes_ += size;
    return piece;
  };
  // Of those that wait for nobody the one that was used last; of those that others have used as
  // well the one that they have let go of first.
  const auto own = std::find_if(kept.rbegin(), kept.rend(),
                                [&](const Piece& piece) { return piece.uses->are_of(stream); });
  if (own != kept.rend()) return take(std::prev(own.base()));
  const auto common =
      std::ranges::find_if(kept, [&](const Piece& piece) { return piece.uses->include(stream); });
  if (common != kept.end()) return take(common);
  Piece piece{0, std::make_unique<MemoryUses>()};
  try {
    piece.address = device_.allocate(size);
  } catch (const DeviceError&) {
    if (!kept.empty()) return take(kept.begin());
    if (kept_bytes_ == 0) throw;
    free_kept();
    piece.address = device_.allocate(size);
  }
  used_bytes_ += size;
  return piece;
}

void DevicePool::give_back(Piece piece, std::int64_t bytes, bool at_once) noexcept {
  constexpr std::int64_t always_kept = std::int64_t{64} << 20;
  const std::int64_t size = rounded(bytes);
  const std::uint64_t address = piece.address;
  try {
    device_.check_usable();
    const std::lock_guard lock(mutex_);
    used_bytes_ -= size;
    if (!at_once) {
      kept_[size].push_back(std::move(piece));
      kept_bytes_ += size;
      if (kept_bytes_ > std::max(always_kept, used_bytes_)) free_kept();
      return;
    }
  } catch (...) {  // no memory for the list, or no device: then this does nothing
  }
  device_.free(address);
}

void DevicePool::free_kept() noexcept {
  for (const auto& [size, pieces] : kept_) {
    for (const Piece& piece : pieces) device_.free(piece.address);
  }
  kept_.clear();
  kept_bytes_ = 0;
}

}  // namespace kroton
