// Layers that bring values to a mean of 0 and a variance of 1.
#pragma once
#include <kroton/nn_layers.h>
#include <kroton/normalization.h>

#include <string>

namespace kroton::nn {

// While training with the batch's statistics, whose running averages the function updates; after
// it with those. scale and shift (channels): Ioffe and Szegedy (2015).
struct BatchNormOptions {
  double momentum = 0.1;  // the batch's part in the running statistics (Keras: 0.01)
  double epsilon = 1e-5;
  Layout layout = Layout::channels_first;
  std::string name = {};
};
class BatchNormalization {
 public:
  static constexpr const char* kind = "batch_norm";
  explicit BatchNormalization(BatchNormOptions options = {},
                              const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  BatchNormOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// Each row's own statistics over the last axis, or the last `axes`, with scale and shift of their
// sizes: Ba et al. (2016).
struct LayerNormOptions {
  int axes = 1;
  double epsilon = 1e-5;
  std::string name = {};
};
class LayerNormalization {
 public:
  static constexpr const char* kind = "layer_norm";
  explicit LayerNormalization(double epsilon = 1e-5, std::string name = {},
                              const Location& at = Location::current());
  explicit LayerNormalization(LayerNormOptions options, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  LayerNormOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// Each picture's own statistics over each of `groups` groups of its channels, which they divide,
// and all positions; scale and shift (channels): Wu and He (2018).
struct GroupNormOptions {
  double epsilon = 1e-5;
  Layout layout = Layout::channels_first;
  bool affine = true;  // with scale and shift
  std::string name = {};
};
class GroupNormalization {
 public:
  static constexpr const char* kind = "group_norm";
  explicit GroupNormalization(std::int64_t groups, GroupNormOptions options = {},
                              const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t groups_;
  GroupNormOptions options_;
  Parameters parameters_;
  SourceLine line_;
};
// A group for each channel: Ulyanov et al. (2016).
class InstanceNormalization {
 public:
  static constexpr const char* kind = "instance_norm";
  explicit InstanceNormalization(GroupNormOptions options = {},
                                 const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  GroupNormOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

}  // namespace kroton::nn
