// What the op `convolution` is made into: the gradients, which are convolutions again.
//
// Tensors as the op has them: x (batch, groups, in, spatial...), w (groups, out, in, window...),
// y (batch, groups, out, spatial...); or all of them without the axis of the groups.
#pragma once
#include <kroton/ops.h>

#include "compiler/ir/node.h"

namespace kroton::ops {

// How windows lie on each spatial axis.
struct Windows {
  std::vector<std::int64_t> strides, dilations;
  std::size_t axes() const { return strides.size(); }
};

Windows windows_of(const Attributes& attributes);
Attributes attributes_of(const Windows& windows);

// y[n, g, o, p] = sum over c, k of x[n, g, c, p * stride + k * dilation] * w[g, o, c, k].
Tensor convolution(const Tensor& x, const Tensor& w, const Windows& windows);

// The part of the gradient of `convolution` by its x that begins at `starts` and has `sizes`, given
// that of y: dx[n, g, c, p * stride + k * dilation] is the sum of g[n, g, o, p] * w[g, o, c, k].
// Starts are numbers where the stride is not 1.
Tensor input_gradient(const Tensor& g, const Tensor& w, const Windows& windows, const Dims& starts,
                      const Dims& sizes);

// The positions that a dilated window reaches over.
Dim reach(const Dim& window, std::int64_t dilation);
// x, if the window of spatial axis k reaches over no more than the `padded` positions there;
// otherwise ShapeError, of free sizes at the call, in the words of the user's function and
// operands.
Tensor with_room_for_window(const Tensor& x, const char* op, const std::vector<Tensor>& operands,
                            int k, const Dim& reach, const Dim& size, const Dim& padded);

// x[start .. start + size) along an axis, with zeros before its first element and past its last.
Tensor extended(const Tensor& x, int axis, const Dim& start, const Dim& size);

}  // namespace kroton::ops
