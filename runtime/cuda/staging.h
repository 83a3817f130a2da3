// The way of the host's memory to a device.
#pragma once
#include <array>

#include "runtime/cuda/driver_api.h"

namespace kroton::nvidia {

// A ring of page-locked memory. A copy that the driver makes later, straight from the caller's
// memory, would still read it when the caller has got it back; what is copied here first is the
// caller's no more. Two halves take turns: while one is on its way, the other is filled.
class Staging {
 public:
  static constexpr std::size_t half_bytes = std::size_t{4} << 20;

  // Queues the copy; `from` may be changed at once. In the context of the stream.
  CUresult upload(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream);

 private:
  struct Half {
    void* memory = nullptr;
    CUevent copied = nullptr;  // recorded behind the last copy from it
    bool recorded = false;
  };
  CUresult begin_half();
  CUresult leave_half(CUstream stream);

  std::array<Half, 2> halves_;
  std::size_t current_ = 0;
  std::size_t used_ = 0;  // of the current half
};

}  // namespace kroton::nvidia
