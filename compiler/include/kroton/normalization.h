// Layers that bring values to a mean of 0 and a variance of 1. Floating point only; dtypes are
// promoted. Statistics are taken without correction (divided by the number of elements), except
// where it says so.
#pragma once
#include <kroton/convolution.h>

#include <optional>
#include <vector>

namespace kroton {

struct NormOptions {
  double epsilon = 1e-5;                   // added to the variance
  Layout layout = Layout::channels_first;  // channels are axis 1 or the last one
};

struct BatchNorm {
  Tensor y;               // of x's shape
  Tensor mean, variance;  // of the batch, (channels,)
  Dim count;              // elements that each channel's statistics are of
};

// (x - mean) / sqrt(variance + epsilon) * scale + shift with the statistics of each channel over
// all other axes. x (batch, channels, ...) of rank 2 at least; scale and shift (channels,).
BatchNorm batch_norm(const Operand& x, const Operand& scale, const Operand& shift,
                     const NormOptions& options = {});
// The same with given statistics, (channels,): after training.
Tensor batch_norm_inference(const Operand& x, const Operand& scale, const Operand& shift,
                            const Operand& mean, const Operand& variance,
                            const NormOptions& options = {});
// What a running mean and variance become after a batch: running + momentum * (of the batch -
// running), where the batch's variance is corrected: divided by the number of elements less 1 (by 1
// where there is one). A batch without elements changes nothing. They are for the `updates` of a function; no gradient passes through them.
struct RunningStatistics {
  Tensor mean, variance;
};
RunningStatistics running_statistics(const Operand& running_mean, const Operand& running_variance,
                                     const BatchNorm& batch, double momentum = 0.1);

// Each row's own statistics: over the last axes, as many as `scale` and `shift` have, whose shapes
// are theirs.
Tensor layer_norm(const Operand& x, const Operand& scale, const Operand& shift,
                  double epsilon = 1e-5);
// The statistics of each picture's `groups` groups of channels, over the group and all spatial
// axes; scale and shift (channels,). ShapeError unless groups divide the channels.
Tensor group_norm(const Operand& x, std::int64_t groups, const Operand& scale, const Operand& shift,
                  const NormOptions& options = {});

struct LocalResponseOptions {
  std::int64_t size = 5;  // channels around each, itself included
  double alpha = 1e-4, beta = 0.75, k = 1;
  Layout layout = Layout::channels_first;
};

// x / (k + alpha / size * sum of squares over `size` channels around each)^beta; past the first and
// the last channel there are zeros.
Tensor local_response_norm(const Operand& x, const LocalResponseOptions& options = {});

}  // namespace kroton
