// Layers for signals, pictures and volumes: convolutions, pools, padding, other sizes. x is (batch,
// channels, spatial...), or with channels last (batch, spatial..., channels).
#pragma once
#include <kroton/convolution.h>
#include <kroton/nn_layers.h>
#include <kroton/pooling.h>

#include <string>

namespace kroton::nn {

// y = activation(conv(x, weight) + bias), x (batch, channels, spatial...) or with channels last:
// weight (filters, channels / groups, window...), bias (filters).
struct ConvOptions {
  Activation activation = {};
  PerAxis stride = 1;
  Padding padding = Padding::valid;
  PerAxis dilation = 1;
  std::int64_t groups = 1;
  Layout layout = Layout::channels_first;
  bool use_bias = true;
  Initializer weight = glorot_uniform();
  Initializer bias = zeros();
  std::string name = {};
};
template <int axes>
class Conv {
 public:
  static constexpr const char* kind = "conv";
  Conv(std::int64_t filters, PerAxis window, ConvOptions options = {},
       const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t filters_;
  PerAxis window_;
  ConvOptions options_;
  Parameters parameters_;
  SourceLine line_;
};
using Conv1D = Conv<1>;
using Conv2D = Conv<2>;
using Conv3D = Conv<3>;

// The transposed convolution: weight (channels, filters / groups, window...).
template <int axes>
class ConvTranspose {
 public:
  static constexpr const char* kind = "conv_transpose";
  ConvTranspose(std::int64_t filters, PerAxis window, ConvOptions options = {},
                const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t filters_;
  PerAxis window_;
  ConvOptions options_;
  Parameters parameters_;
  SourceLine line_;
};
using ConvTranspose1D = ConvTranspose<1>;
using ConvTranspose2D = ConvTranspose<2>;
using ConvTranspose3D = ConvTranspose<3>;

// One filter for each channel, `multiplier` results of each; `groups` of the options is not read.
class DepthwiseConv2D {
 public:
  static constexpr const char* kind = "depthwise_conv";
  explicit DepthwiseConv2D(PerAxis window, ConvOptions options = {}, std::int64_t multiplier = 1,
                           const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  PerAxis window_;
  ConvOptions options_;
  std::int64_t multiplier_;
  Parameters parameters_;
  SourceLine line_;
};

class DepthwiseConv1D {
 public:
  static constexpr const char* kind = "depthwise_conv";
  explicit DepthwiseConv1D(PerAxis window, ConvOptions options = {}, std::int64_t multiplier = 1,
                           const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  PerAxis window_;
  ConvOptions options_;
  std::int64_t multiplier_;
  Parameters parameters_;
  SourceLine line_;
};

// A filter for each channel, `multiplier` results of each, then `filters` sums of these at each
// position: depthwise_weight (channels * multiplier, 1, window...), weight (filters, channels *
// multiplier, 1, 1), bias (filters). Chollet (2017); as there and in Keras nothing is between the
// two unless `between` is given.
struct SeparableConvOptions {
  Activation activation = {};
  Activation between = {};
  PerAxis stride = 1;
  Padding padding = Padding::valid;
  PerAxis dilation = 1;
  std::int64_t multiplier = 1;
  Layout layout = Layout::channels_first;
  bool use_bias = true;
  Initializer depthwise_weight = glorot_uniform();
  Initializer weight = glorot_uniform();
  Initializer bias = zeros();
  std::string name = {};
};
class SeparableConv2D {
 public:
  static constexpr const char* kind = "separable_conv";
  SeparableConv2D(std::int64_t filters, PerAxis window, SeparableConvOptions options = {},
                  const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t filters_;
  PerAxis window_;
  SeparableConvOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

class MaxPool {
 public:
  static constexpr const char* kind = "max_pool";
  explicit MaxPool(PerAxis window, MaxPoolOptions options = {},
                   const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  PerAxis window_;
  MaxPoolOptions options_;
  SourceLine line_;
};
class AveragePool {
 public:
  static constexpr const char* kind = "avg_pool";
  explicit AveragePool(PerAxis window, AveragePoolOptions options = {},
                       const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  PerAxis window_;
  AveragePoolOptions options_;
  SourceLine line_;
};
// The mean (the largest element) over all positions: (batch, channels).
class GlobalAveragePool {
 public:
  static constexpr const char* kind = "global_avg_pool";
  explicit GlobalAveragePool(Layout layout = Layout::channels_first,
                             const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  Layout layout_;
  SourceLine line_;
};
class GlobalMaxPool {
 public:
  static constexpr const char* kind = "global_max_pool";
  explicit GlobalMaxPool(Layout layout = Layout::channels_first,
                         const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  Layout layout_;
  SourceLine line_;
};

// Zeros around the picture: ZeroPadding(1), ZeroPadding({{0, 1}, {0, 1}}) with {before, after} for
// each spatial axis. ValueError unless the widths are given.
class ZeroPadding {
 public:
  static constexpr const char* kind = "zero_padding";
  explicit ZeroPadding(Padding widths, Layout layout = Layout::channels_first,
                       const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  Padding widths_;
  Layout layout_;
  SourceLine line_;
};
// `factors` times the elements along each spatial axis; the options are those of kt::upsample:
// by default each element is repeated.
class Upsample {
 public:
  static constexpr const char* kind = "upsample";
  explicit Upsample(PerAxis factors, ResizeOptions options = {},
                    const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  PerAxis factors_;
  ResizeOptions options_;
  SourceLine line_;
};

}  // namespace kroton::nn
