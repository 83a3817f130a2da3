// Layers that normalise, as compositions.
#include <kroton/normalization.h>

#include "compiler/ir/at.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

int channel_axis(const char* name, const Tensor& x, Layout layout) {
  if (x.rank() < 2) {
    ops::fail_shape(OpRecord{.name = name}, {x}, "takes x (batch, channels, ...)");
  }
  return layout == Layout::channels_last ? x.rank() - 1 : 1;
}

void check_epsilon(const char* name, double epsilon) {
  if (!(epsilon >= 0)) ops::fail_value(name, "epsilon is " + std::to_string(epsilon));
}

// One number for each channel, at the axis of the channels.
Tensor of_channels(const char* name, const Tensor& x, const Tensor& numbers, int axis) {
  if (numbers.rank() != 1 || ((numbers.shape()[0] - x.shape()[at(axis)]).is_constant() &&
                              numbers.shape()[0] != x.shape()[at(axis)])) {
    ops::fail_shape(OpRecord{.name = name}, {x, numbers},
                    "scale, shift and statistics have one number for each channel");
  }
  Dims shape(x.shape().size(), Dim(1));
  shape[at(axis)] = numbers.shape()[0];
  return reshape(numbers, shape);
}

// All in their common dtype, floating.
std::vector<Tensor> in_common_dtype(const char* name, std::vector<Tensor> given) {
  std::vector<Tensor> result = ops::promoted(std::move(given));
  if (!is_float(result[0].dtype())) {
    ops::fail_type(OpRecord{.name = name}, result, "takes floating point only");
  }
  return result;
}

Tensor normalized(const Tensor& x, const Tensor& mean, const Tensor& variance, double epsilon) {
  return (x - mean) / sqrt(variance + epsilon);
}

}  // namespace

BatchNorm batch_norm(const Operand& x, const Operand& scale, const Operand& shift,
                     const NormOptions& options) {
  const LineScope scope(x.line());
  constexpr const char* name = "batch_norm";
  check_epsilon(name, options.epsilon);
  const std::vector<Tensor> given =
      in_common_dtype(name, {x.tensor(), scale.tensor(), shift.tensor()});
  const DType dtype = given[0].dtype();
  if (is_only_stored(dtype)) {
    BatchNorm result =
        batch_norm(cast(given[0], info_of(dtype).computed_in), given[1], given[2], options);
    result.y = cast(result.y, dtype);
    return result;
  }
  const int axis = channel_axis(name, given[0], options.layout);
  const Axes others(ops::other_axes(given[0].rank(), {axis}));
  const Tensor mean = kroton::mean(given[0], others, true);
  const Tensor deviation = given[0] - mean;
  const Tensor variance = kroton::mean(square(deviation), others, true);
  BatchNorm result;
  const Dim& channels = given[0].shape()[at(axis)];
  result.mean = reshape(mean, {channels});
  result.variance = reshape(variance, {channels});
  result.count = 1;
  for (int k = 0; k < given[0].rank(); ++k) {
    if (k != axis) result.count = result.count * given[0].shape(k);
  }
  // One factor for each channel: no sum of the gradients waits for it. Of no elements it is finite,
  // and the gradients by scale and shift are 0.
  const Tensor known = provably_at_least(result.count, 1)
                           ? variance
                           : where(gt(size_of_dim(result.count), 0), variance, 0);
  const Tensor factor =
      of_channels(name, given[0], given[1], axis) * (1 / sqrt(known + options.epsilon));
  result.y = deviation * factor + of_channels(name, given[0], given[2], axis);
  return result;
}

Tensor batch_norm_inference(const Operand& x, const Operand& scale, const Operand& shift,
                            const Operand& mean, const Operand& variance,
                            const NormOptions& options) {
  const LineScope scope(x.line());
  constexpr const char* name = "batch_norm_inference";
  check_epsilon(name, options.epsilon);
  const std::vector<Tensor> given = in_common_dtype(
      name, {x.tensor(), scale.tensor(), shift.tensor(), mean.tensor(), variance.tensor()});
  if (is_only_stored(given[0].dtype())) {
    return ops::computed(given[0], [&](const Tensor& t) {
      return batch_norm_inference(t, given[1], given[2], given[3], given[4], options);
    });
  }
  const int axis = channel_axis(name, given[0], options.layout);
  const auto channels = [&](std::size_t k) { return of_channels(name, given[0], given[k], axis); };
  return normalized(given[0], channels(3), channels(4), options.epsilon) * channels(1) +
         channels(2);
}

RunningStatistics running_statistics(const Operand& running_mean, const Operand& running_variance,
                                     const BatchNorm& batch, double momentum) {
  const LineScope scope(running_mean.line());
  const Tensor mean = running_mean.tensor(), variance = running_variance.tensor();
  const Tensor count = size_of_dim(batch.count);
  const Tensor number = cast(count, batch.variance.dtype());
  const Tensor corrected = batch.variance * (number / maximum(number - 1, 1));
  // No elements say nothing.
  const auto moved = [&](const Tensor& running, const Tensor& now) {
    const Tensor next = running + momentum * (cast(stop_gradient(now), running.dtype()) - running);
    return batch.count.is_constant() && !batch.count.is_constant(0)
               ? next
               : where(gt(count, 0), next, running);
  };
  return {moved(mean, batch.mean), moved(variance, corrected)};
}

Tensor layer_norm(const Operand& x, const Operand& scale, const Operand& shift, double epsilon) {
  const LineScope scope(x.line());
  constexpr const char* name = "layer_norm";
  check_epsilon(name, epsilon);
  const std::vector<Tensor> given =
      in_common_dtype(name, {x.tensor(), scale.tensor(), shift.tensor()});
  if (is_only_stored(given[0].dtype())) {
    return ops::computed(
        given[0], [&](const Tensor& t) { return layer_norm(t, given[1], given[2], epsilon); });
  }
  const int rank = given[0].rank(), normal = given[1].rank();
  bool fits = normal >= 1 && normal <= rank && given[2].rank() == normal;
  for (int k = 1; fits && k <= normal; ++k) {
    for (const std::size_t which : {1, 2}) {
      const Dim difference = given[0].shape(rank - k) - given[which].shape(normal - k);
      fits = fits && (!difference.is_constant() || difference.is_constant(0));
    }
  }
  if (!fits) {
    ops::fail_shape(OpRecord{.name = name}, given, "scale and shift have the last sizes of x");
  }
  const Axes axes(ops::axes_from(rank - normal, normal));
  const Tensor deviation = given[0] - mean(given[0], axes, true);
  return deviation * (1 / sqrt(mean(square(deviation), axes, true) + epsilon)) * given[1] +
         given[2];
}

Tensor group_norm(const Operand& x, std::int64_t groups, const Operand& scale, const Operand& shift,
                  const NormOptions& options) {
  const LineScope scope(x.line());
  constexpr const char* name = "group_norm";
  check_epsilon(name, options.epsilon);
  const std::vector<Tensor> given =
      in_common_dtype(name, {x.tensor(), scale.tensor(), shift.tensor()});
  if (is_only_stored(given[0].dtype())) {
    return ops::computed(given[0], [&](const Tensor& t) {
      return group_norm(t, groups, given[1], given[2], options);
    });
  }
  const int axis = channel_axis(name, given[0], options.layout);
  const Dim& channels = given[0].shape()[at(axis)];
  if (groups < 1) ops::fail_value(name, "groups is " + std::to_string(groups));
  if (channels.is_constant() && channels.constant() % groups != 0) {
    ops::fail_shape(OpRecord{.name = name}, given,
                    channels.to_string() + " channels cannot be divided into " +
                        std::to_string(groups) + " groups");
  }
  const Tensor split = reshape(
      given[0],
      ops::replace_axis(given[0].shape(), axis, {Dim(groups), floor_div(channels, groups)}));
  const Axes axes(ops::other_axes(split.rank(), {0, axis}));
  const Tensor deviation = split - mean(split, axes, true);
  const Tensor y = deviation * (1 / sqrt(mean(square(deviation), axes, true) + options.epsilon));
  return reshape(y, given[0].shape()) * of_channels(name, given[0], given[1], axis) +
         of_channels(name, given[0], given[2], axis);
}

Tensor local_response_norm(const Operand& x, const LocalResponseOptions& options) {
  const LineScope scope(x.line());
  constexpr const char* name = "local_response_norm";
  const std::vector<Tensor> given = in_common_dtype(name, {x.tensor()});
  const Tensor& picture = given[0];
  if (is_only_stored(picture.dtype())) {
    return ops::computed(picture, [&](const Tensor& t) { return local_response_norm(t, options); });
  }
  const int axis = channel_axis(name, picture, options.layout);
  if (options.size < 1) ops::fail_value(name, "size is " + std::to_string(options.size));
  std::vector<std::pair<Dim, Dim>> widths(picture.shape().size());
  widths[at(axis)] = {options.size / 2, (options.size - 1) / 2};
  const Tensor squares = pad(square(picture), widths);
  Tensor total;
  for (std::int64_t k = 0; k < options.size; ++k) {
    Dims starts(picture.shape().size(), Dim(0));
    starts[at(axis)] = k;
    const Tensor part = ops::strided_slice(squares, starts, picture.shape(),
                                           std::vector<std::int64_t>(starts.size(), 1));
    total = total ? total + part : part;
  }
  const double share = options.alpha / static_cast<double>(options.size);
  return picture / pow(total * share + options.k, options.beta);
}

}  // namespace kroton
