// Layers that bring values to a mean of 0 and a variance of 1.
#include <kroton/error.h>
#include <kroton/nn_normalization.h>
#include <kroton/ops.h>

#include <cmath>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

void check_epsilon(const char* layer, double epsilon, const SourceLine& line) {
  if (!(epsilon >= 0) || std::isinf(epsilon)) {
    fail(layer, "epsilon is " + to_string(Array(epsilon)), line);
  }
}

const Dim& channels_of(const Tensor& x, Layout layout) {
  return x.shape()[layout == Layout::channels_last ? index_of(x.rank() - 1) : 1];
}

Tensor by_groups(const char* layer, const Tensor& x, std::int64_t groups, const GroupNormOptions& o,
                 const Parameters& parameters, const SourceLine& line) {
  const Dims channels = {channels_of(x, o.layout)};
  if (!channels[0].is_constant() || channels[0].constant() % groups != 0) {
    fail_shape(layer, x,
               std::to_string(groups) + " groups do not divide the " + channels[0].to_string() +
                   " channels",
               line);
  }
  const auto get = [&](const char* name, const Initializer& initial) -> Tensor {
    if (o.affine) return parameters.get(name, channels, initial, {}, x.dtype());
    return full(channels, Array(name == std::string("scale") ? 1.0 : 0.0).cast(x.dtype()));
  };
  const Tensor scale = get("scale", ones()), shift = get("shift", zeros());
  return group_norm(x, groups, scale, shift, {o.epsilon, o.layout});
}

}  // namespace

BatchNormalization::BatchNormalization(BatchNormOptions options, const Location& at)
    : options_(std::move(options)), parameters_(options_.name), line_(line_of(at)) {
  check_epsilon("BatchNormalization", options_.epsilon, line_);
  if (!(options_.momentum >= 0 && options_.momentum <= 1)) {
    fail("BatchNormalization",
         "momentum is " + to_string(Array(options_.momentum)) + ", expected one in [0, 1]", line_);
  }
}

Tensor BatchNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "BatchNormalization");
  check_input("BatchNormalization", x, 2, Shape::max_rank, "(batch, channels, ...)", line_);
  const Dims shape = {channels_of(x, options_.layout)};
  const auto get = [&](const char* name, const Initializer& initial, bool is_statistic) {
    return parameters_.get(name, shape, initial, {}, x.dtype(), is_statistic);
  };
  const Shared scale = get("scale", ones(), false), shift = get("shift", zeros(), false);
  const Shared mean = get("running_mean", zeros(), true);
  const Shared variance = get("running_variance", ones(), true);
  const NormOptions norm{options_.epsilon, options_.layout};
  if (!Training::is_on()) return batch_norm_inference(x, scale, shift, mean, variance, norm);
  const BatchNorm batch = batch_norm(x, scale, shift, norm);
  const RunningStatistics running = running_statistics(mean, variance, batch, options_.momentum);
  return with_update(with_update(batch.y, mean, running.mean), variance, running.variance);
}

LayerNormalization::LayerNormalization(double epsilon, std::string name, const Location& at)
    : LayerNormalization(LayerNormOptions{.epsilon = epsilon, .name = std::move(name)}, at) {}

LayerNormalization::LayerNormalization(LayerNormOptions options, const Location& at)
    : options_(std::move(options)), parameters_(options_.name), line_(line_of(at)) {
  check_epsilon("LayerNormalization", options_.epsilon, line_);
  if (options_.axes < 1) {
    fail("LayerNormalization", "axes is " + std::to_string(options_.axes), line_);
  }
}

Tensor LayerNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "LayerNormalization");
  const std::string expected =
      options_.axes == 1 ? "(..., features)"
                         : "with " + std::to_string(options_.axes) + " axes of features at least";
  check_input("LayerNormalization", x, options_.axes, Shape::max_rank, expected.c_str(), line_);
  const Dims shape(x.shape().end() - options_.axes, x.shape().end());
  const Tensor scale = parameters_.get("scale", shape, ones(), {}, x.dtype());
  const Tensor shift = parameters_.get("shift", shape, zeros(), {}, x.dtype());
  return layer_norm(x, scale, shift, options_.epsilon);
}

GroupNormalization::GroupNormalization(std::int64_t groups, GroupNormOptions options,
                                       const Location& at)
    : groups_(groups),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  check_epsilon("GroupNormalization", options_.epsilon, line_);
  if (groups < 1) fail("GroupNormalization", "groups is " + std::to_string(groups), line_);
}

Tensor GroupNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "GroupNormalization");
  check_input("GroupNormalization", x, 2, Shape::max_rank, "(batch, channels, ...)", line_);
  return by_groups("GroupNormalization", x, groups_, options_, parameters_, line_);
}

InstanceNormalization::InstanceNormalization(GroupNormOptions options, const Location& at)
    : options_(std::move(options)), parameters_(options_.name), line_(line_of(at)) {
  check_epsilon("InstanceNormalization", options_.epsilon, line_);
}

Tensor InstanceNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "InstanceNormalization");
  check_input("InstanceNormalization", x, 3, Shape::max_rank, "(batch, channels, spatial...)",
              line_);
  const Dim& channels = channels_of(x, options_.layout);
  if (!channels.is_constant()) {
    fail_shape("InstanceNormalization", x, "the number of channels must be known", line_);
  }
  return by_groups("InstanceNormalization", x, std::max<std::int64_t>(channels.constant(), 1),
                   options_, parameters_, line_);
}

}  // namespace kroton::nn
