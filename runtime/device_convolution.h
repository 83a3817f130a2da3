// A convolution that a device's library may compute in place of a kernel.
#pragma once
#include <kroton/dtype.h>

#include <cstdint>
#include <vector>

namespace kroton {

// y[n, o, p] = sum over c, k of x[n, c, p * stride + k * dilation - before] * w[o, c, k], where x
// is 0 beyond its ends and o sees the channels c of its group only; or what x or w gets of the
// others: the sum of all products that its element has in y.
struct DeviceConvolution {
  enum class Wanted : std::uint8_t { y, w, x };
  struct Array {
    std::uint64_t address = 0;
    // (batch, channels, spatial...), of w (filters, channels of a group, window...); in elements.
    std::vector<std::int64_t> sizes, strides;
  };
  Wanted wanted = Wanted::y;
  DType dtype = DType::f32;     // or f64; that it is computed in
  DType operands = DType::f32;  // dtype, or one of 16 bits that is computed in f32
  DType result = DType::f32;    // dtype, or that of the operands
  bool tf32 = false;            // operands of f32 may be rounded to 11 bits
  bool flipped = false;         // w is turned around along every spatial axis
  std::int64_t groups = 1;
  std::vector<std::int64_t> stride, dilation, before, after;  // zeros before and behind x; by axis
  Array x, w, y;
  int algorithm = 0;  // of the library's for such a one, the first is its best guess
};

}  // namespace kroton
