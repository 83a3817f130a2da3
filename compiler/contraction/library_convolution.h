// Convolutions that a device's library may compute in place of a kernel.
#pragma once
#include <memory>
#include <optional>

#include "compiler/contraction/library_product.h"
#include "runtime/device_convolution.h"

namespace kroton {

// What is known of a contraction with windows beside its operands (Contraction::a are the filters,
// b the picture): which axis is what. With `is_gradient` the windows are those of a gradient by
// filters: the result's positions are the places of the filters that are wanted, the channels are
// the pictures' batch, and so on.
struct WindowAxes {
  bool is_gradient = false;
  std::optional<Axis> group;
  Axis batch, filter, channel;
  struct Spatial {
    Axis position, place;
    std::int64_t stride = 1, dilation = 1;
    // Of the picture that is seen, this part lies in memory, the rest is 0.
    Dim first, size;
  };
  std::vector<Spatial> spatial;
};

// In the terms of runtime/device_convolution.h.
struct LibraryConvolution {
  DeviceConvolution::Wanted wanted = DeviceConvolution::Wanted::y;
  bool flipped = false;  // filters are turned around along every spatial axis
  DType dtype = DType::f32;
  struct Array {
    Dims sizes, strides;  // (batch, channels, spatial...)
  };
  Dim groups = 1;
  std::vector<std::int64_t> stride, dilation;
  Dims before, after;
  Array x, w, y;
};

// What the contraction computes, if that is a convolution, a gradient of one by its filters, or by
// its picture where the stride is 1; its operands lie in buffers, filters in one of the layouts
// that a library knows, and the result is stored as it is, or rounded to the operands' dtype. Null
// for anything else. The product's matrices hold the buffers: a what is in the filters' place, b
// what is in the picture's.
std::shared_ptr<const LibraryProduct> library_convolution(const Contraction& contraction,
                                                          const WindowAxes& axes);

}  // namespace kroton
