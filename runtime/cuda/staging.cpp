#include "runtime/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace kroton::nvidia {

// Memory and event of the current half, which nothing reads any more.
CUresult Staging::begin_half() {
  Half& half = halves_[current_];
  if (half.recorded) {
    const CUresult waited = driver().cuEventSynchronize(half.copied);
    if (waited != 0) return waited;
    half.recorded = false;
  }
  if (!half.copied) {
    const CUresult made = driver().cuEventCreate(&half.copied, event_disable_timing);
    if (made != 0) return made;
  }
  return half.memory ? 0 : driver().cuMemAllocHost(&half.memory, half_bytes);
}

CUresult Staging::leave_half(CUstream stream) {
  Half& half = halves_[current_];
  const CUresult recorded = driver().cuEventRecord(half.copied, stream);
  if (recorded != 0) return recorded;
  half.recorded = true;
  current_ = 1 - current_;
  used_ = 0;
  return 0;
}

CUresult Staging::upload(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  constexpr std::size_t line = 64;
  const char* source = static_cast<const char*>(from);
  while (bytes > 0) {
    if (used_ == half_bytes) {
      const CUresult left = leave_half(stream);
      if (left != 0) return left;
    }
    if (used_ == 0) {
      const CUresult begun = begin_half();
      if (begun != 0) return begun;
    }
    const std::size_t part = std::min(bytes, half_bytes - used_);
    char* const staged = static_cast<char*>(halves_[current_].memory) + used_;
    std::memcpy(staged, source, part);
    const CUresult queued = driver().cuMemcpyHtoDAsync(to, staged, part, stream);
    if (queued != 0) return queued;
    used_ += (part + line - 1) / line * line;
    to += part;
    source += part;
    bytes -= part;
  }
  return 0;
}

}  // namespace kroton::nvidia
