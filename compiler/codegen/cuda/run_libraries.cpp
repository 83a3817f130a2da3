// Kernels of a Program that the device's libraries compute in their place.
#include <kroton/error.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "compiler/base/dump.h"
#include "compiler/codegen/cuda/run_program.h"
#include "compiler/contraction/library_convolution.h"

namespace kroton::codegen {

// By that algorithm, or the first where the library has fewer for the addresses of this call; but
// what is timed is that one or none.
bool DeviceProgram::run_by_library(int algorithm,
                                   const std::function<bool(int algorithm)>& run) const {
  if (run(algorithm)) return true;
  if (algorithm == 0) return false;
  if (is_timing_) throw DeviceError("the library has fewer algorithms for it");
  return run(0);
}

// False for one that the library does not compute; products of nothing are never given to it.
bool DeviceProgram::run_product(const PlacedProduct& placed, int algorithm) {
  const LibraryProduct& p = *placed.product;
  if (p.convolution) return run_convolution(placed, algorithm);
  DeviceProduct call;
  call.dtype = p.dtype;
  call.operands = p.a.buffer->dtype;
  call.result = p.result.buffer->dtype;
  call.tf32 = how_.tf32;
  call.rows = values_.of(p.rows);
  call.columns = values_.of(p.columns);
  call.inner = values_.of(p.inner);
  call.batch = values_.of(p.batch);
  if (std::min({call.rows, call.columns, call.inner, call.batch}) == 0) return false;
  const auto address = [&](int position) {
    return address_of(buffers_[static_cast<std::size_t>(position)]);
  };
  const auto matrix = [&](const LibraryProduct::Matrix& m, int position) -> DeviceProduct::Matrix {
    return {address(position), values_.of(m.leading), values_.of(m.batch_stride), m.transposed};
  };
  call.a = matrix(p.a, placed.a);
  call.b = matrix(p.b, placed.b);
  call.d = matrix(p.result, placed.result);
  if (placed.c >= 0) {
    call.c = call.d;
    call.c.address = address(placed.c);
  }
  if (placed.bias >= 0) call.bias = address(placed.bias);
  call.alpha = p.alpha;
  call.beta = p.beta;
  return run_by_library(algorithm, [&](int which) {
    call.algorithm = which;
    return device_->product(call);
  });
}

bool DeviceProgram::run_convolution(const PlacedProduct& placed, int algorithm) {
  const LibraryConvolution& c = *placed.product->convolution;
  DeviceConvolution call;
  using Wanted = DeviceConvolution::Wanted;
  call.wanted = c.wanted;
  call.dtype = c.dtype;
  call.operands = placed.product->a.buffer->dtype;
  call.result = placed.product->result.buffer->dtype;
  call.tf32 = how_.tf32;
  call.flipped = c.flipped;
  call.groups = values_.of(c.groups);
  call.stride = c.stride;
  call.dilation = c.dilation;
  bool is_empty = false;
  const auto array = [&](const LibraryConvolution::Array& of, int position) {
    DeviceConvolution::Array made{address_of(buffers_[static_cast<std::size_t>(position)]), {}, {}};
    for (const Dim& size : of.sizes) {
      made.sizes.push_back(values_.of(size));
      is_empty = is_empty || made.sizes.back() == 0;
    }
    for (std::size_t k = 0; k < of.strides.size(); ++k) {
      const std::int64_t stride = values_.of(of.strides[k]);
      made.strides.push_back(made.sizes[k] == 1 ? std::max<std::int64_t>(stride, 1) : stride);
    }
    return made;
  };
  // a is in the filters' place, b in the picture's.
  const int y_known = c.wanted == Wanted::w ? placed.a : placed.b;
  call.x = array(c.x, c.wanted == Wanted::x ? placed.result : placed.b);
  call.w = array(c.w, c.wanted == Wanted::w ? placed.result : placed.a);
  call.y = array(c.y, c.wanted == Wanted::y ? placed.result : y_known);
  if (is_empty) return false;
  for (std::size_t k = 0; k < c.stride.size(); ++k) {
    call.before.push_back(values_.of(c.before[k]));
    call.after.push_back(values_.of(c.after[k]));
    // What no window reaches is not seen.
    if (call.after[k] < 0 && c.wanted != Wanted::x) {
      call.x.sizes[k + 2] += std::exchange(call.after[k], 0);
    }
    if (call.before[k] < 0 || call.after[k] < 0 || call.x.sizes[k + 2] <= 0) return false;
  }
  std::string why_not;
  const bool is_run = run_by_library(algorithm, [&](int which) {
    call.algorithm = which;
    return device_->convolution(call, why_not);
  });
  if (is_run) return true;
  if (dumps("cuda") && refusals_.insert(why_not).second) {
    std::fprintf(stderr, "== a convolution of %s by a kernel\n%s\n", program_.name.c_str(),
                 why_not.c_str());
  }
  return false;
}

}  // namespace kroton::codegen
