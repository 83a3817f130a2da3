// Layers for signals, pictures and volumes.
#include <kroton/error.h>
#include <kroton/nn_convolution.h>

#include <algorithm>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

// "Conv2D", for messages.
std::string named(const char* layer, int axes) { return layer + std::to_string(axes) + "D"; }

// One number for each channel, at the axis of the channels.
Tensor of_channels(const Tensor& numbers, int rank, Layout layout) {
  Dims shape(index_of(rank), Dim(1));
  shape[layout == Layout::channels_last ? index_of(rank - 1) : 1] = numbers.shape(0);
  return reshape(numbers, shape);
}

const Dim& channels_of(const char* layer, const Tensor& x, int axes, Layout layout,
                       const SourceLine& line) {
  if (x.rank() != axes + 2) {
    fail_shape(layer, x, "takes x of rank " + std::to_string(axes + 2), line);
  }
  check_floating(layer, x, line);
  return x.shape()[layout == Layout::channels_last ? index_of(x.rank() - 1) : 1];
}

std::int64_t known_channels(const char* layer, const Tensor& x, int axes, Layout layout,
                            const SourceLine& line) {
  const Dim& channels = channels_of(layer, x, axes, layout, line);
  if (!channels.is_constant()) {
    fail_shape(layer, x, "the number of channels must be known", line);
  }
  return channels.constant();
}

void check_groups(const char* layer, std::int64_t filters, std::int64_t groups,
                  const SourceLine& line) {
  if (groups < 1 || filters % groups != 0) {
    fail(layer,
         "groups is " + std::to_string(groups) + ", which does not divide " +
             std::to_string(filters) + " filters",
         line);
  }
}

// Each element of the result is a sum of as many products as a filter has weights.
Tensor convolved(int axes, const Tensor& x, const Tensor& w, const ConvolutionOptions& options) {
  const Tensor y = axes == 1   ? conv1d(x, w, options)
                   : axes == 2 ? conv2d(x, w, options)
                               : conv3d(x, w, options);
  const Dims of_filter(w.shape().begin() + 1, w.shape().end());
  Recorder::note_multiply_adds(count_of(y.shape()) * count_of(of_filter));
  return y;
}

// Each element of x goes to as many sums.
Tensor transposed(int axes, const Tensor& x, const Tensor& w, const ConvTransposeOptions& options) {
  const Dims of_filter(w.shape().begin() + 1, w.shape().end());
  Recorder::note_multiply_adds(count_of(x.shape()) * count_of(of_filter));
  if (axes == 1) return conv_transpose1d(x, w, options);
  return axes == 2 ? conv_transpose2d(x, w, options) : conv_transpose3d(x, w, options);
}

// A filter for each channel, `multiplier` of them, without bias.
Tensor depthwise(const char* layer, int axes, const Tensor& x, const PerAxis& window,
                 const ConvOptions& o, std::int64_t multiplier, const Parameters& parameters,
                 const char* name, const SourceLine& line) {
  const std::vector<std::int64_t> sizes = window.resolve(axes, layer, "window");
  const std::int64_t channels = known_channels(layer, x, axes, o.layout, line);
  const Fans fans{count_of(sizes), multiplier * count_of(sizes)};
  Dims shape = {channels * multiplier, 1};
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  const Tensor weight = parameters.get(name, shape, o.weight, fans, x.dtype());
  return convolved(axes, x, weight, {o.stride, o.padding, o.dilation, channels, o.layout, false});
}

Tensor depthwise_layer(const char* layer, int axes, const Tensor& x, const PerAxis& window,
                       const ConvOptions& o, std::int64_t multiplier, const Parameters& parameters,
                       const SourceLine& line) {
  Tensor y = depthwise(layer, axes, x, window, o, multiplier, parameters, "weight", line);
  if (o.use_bias) {
    const Dim filters = y.shape(o.layout == Layout::channels_last ? -1 : 1);
    y = y +
        of_channels(parameters.get("bias", {filters}, o.bias, {}, x.dtype()), y.rank(), o.layout);
  }
  return activated(o.activation, y);
}

void check_multiplier(const char* layer, std::int64_t multiplier, const SourceLine& line) {
  if (multiplier < 1) fail(layer, "multiplier is " + std::to_string(multiplier), line);
}

}  // namespace

// ---- Convolutions

template <int axes>
Conv<axes>::Conv(std::int64_t filters, PerAxis window, ConvOptions options, const Location& at)
    : filters_(filters),
      window_(std::move(window)),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  const std::string layer = named("Conv", axes);
  if (filters < 1) fail(layer.c_str(), "filters is " + std::to_string(filters), line_);
  check_groups(layer.c_str(), filters, options_.groups, line_);
}

template <int axes>
Tensor Conv<axes>::operator()(const Tensor& x) const {
  const std::string layer = named("Conv", axes);
  const LineScope scope(line_, layer);
  const ConvOptions& o = options_;
  const std::vector<std::int64_t> window = window_.resolve(axes, layer.c_str(), "window");
  const Dim channels = floor_div(channels_of(layer.c_str(), x, axes, o.layout, line_), o.groups);
  Dims shape = {filters_, channels};
  shape.insert(shape.end(), window.begin(), window.end());
  const Fans fans{known(channels) * count_of(window), filters_ / o.groups * count_of(window)};
  const Tensor weight = parameters_.get("weight", shape, o.weight, fans, x.dtype());
  Tensor y =
      convolved(axes, x, weight, {o.stride, o.padding, o.dilation, o.groups, o.layout, false});
  if (o.use_bias) {
    y = y + of_channels(parameters_.get("bias", {filters_}, o.bias, fans, x.dtype()), y.rank(),
                        o.layout);
  }
  return activated(o.activation, y);
}

template class Conv<1>;
template class Conv<2>;
template class Conv<3>;

template <int axes>
ConvTranspose<axes>::ConvTranspose(std::int64_t filters, PerAxis window, ConvOptions options,
                                   const Location& at)
    : filters_(filters),
      window_(std::move(window)),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  const std::string layer = named("ConvTranspose", axes);
  if (filters < 1) fail(layer.c_str(), "filters is " + std::to_string(filters), line_);
  check_groups(layer.c_str(), filters, options_.groups, line_);
}

template <int axes>
Tensor ConvTranspose<axes>::operator()(const Tensor& x) const {
  const std::string layer = named("ConvTranspose", axes);
  const LineScope scope(line_, layer);
  const ConvOptions& o = options_;
  const std::vector<std::int64_t> window = window_.resolve(axes, layer.c_str(), "window");
  const Dim& channels = channels_of(layer.c_str(), x, axes, o.layout, line_);
  Dims shape = {channels, filters_ / o.groups};
  shape.insert(shape.end(), window.begin(), window.end());
  const Fans fans{filters_ / o.groups * count_of(window), known(channels) * count_of(window)};
  const Tensor weight = parameters_.get("weight", shape, o.weight, fans, x.dtype());
  Tensor y =
      transposed(axes, x, weight, {o.stride, o.padding, 0, o.dilation, o.groups, o.layout, false});
  if (o.use_bias) {
    y = y + of_channels(parameters_.get("bias", {filters_}, o.bias, fans, x.dtype()), y.rank(),
                        o.layout);
  }
  return activated(o.activation, y);
}

template class ConvTranspose<1>;
template class ConvTranspose<2>;
template class ConvTranspose<3>;

// ---- Filters for single channels

DepthwiseConv1D::DepthwiseConv1D(PerAxis window, ConvOptions options, std::int64_t multiplier,
                                 const Location& at)
    : window_(std::move(window)),
      options_(std::move(options)),
      multiplier_(multiplier),
      parameters_(options_.name),
      line_(line_of(at)) {
  check_multiplier("DepthwiseConv1D", multiplier, line_);
}
Tensor DepthwiseConv1D::operator()(const Tensor& x) const {
  const LineScope scope(line_, "DepthwiseConv1D");
  return depthwise_layer("DepthwiseConv1D", 1, x, window_, options_, multiplier_, parameters_,
                         line_);
}

DepthwiseConv2D::DepthwiseConv2D(PerAxis window, ConvOptions options, std::int64_t multiplier,
                                 const Location& at)
    : window_(std::move(window)),
      options_(std::move(options)),
      multiplier_(multiplier),
      parameters_(options_.name),
      line_(line_of(at)) {
  check_multiplier("DepthwiseConv2D", multiplier, line_);
}
Tensor DepthwiseConv2D::operator()(const Tensor& x) const {
  const LineScope scope(line_, "DepthwiseConv2D");
  return depthwise_layer("DepthwiseConv2D", 2, x, window_, options_, multiplier_, parameters_,
                         line_);
}

SeparableConv2D::SeparableConv2D(std::int64_t filters, PerAxis window, SeparableConvOptions options,
                                 const Location& at)
    : filters_(filters),
      window_(std::move(window)),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  if (filters < 1) fail("SeparableConv2D", "filters is " + std::to_string(filters), line_);
  check_multiplier("SeparableConv2D", options_.multiplier, line_);
}
Tensor SeparableConv2D::operator()(const Tensor& x) const {
  const LineScope scope(line_, "SeparableConv2D");
  const SeparableConvOptions& o = options_;
  const ConvOptions first{.stride = o.stride,
                          .padding = o.padding,
                          .dilation = o.dilation,
                          .layout = o.layout,
                          .weight = o.depthwise_weight};
  const Tensor each =
      activated(o.between, depthwise("SeparableConv2D", 2, x, window_, first, o.multiplier,
                                     parameters_, "depthwise_weight", line_));
  const Dim channels = each.shape(o.layout == Layout::channels_last ? -1 : 1);
  const Fans fans{known(channels), filters_};
  Tensor y = convolved(
      2, each, parameters_.get("weight", {filters_, channels, 1, 1}, o.weight, fans, x.dtype()),
      {.layout = o.layout});
  if (o.use_bias) {
    y = y + of_channels(parameters_.get("bias", {filters_}, o.bias, fans, x.dtype()), 4, o.layout);
  }
  return activated(o.activation, y);
}

}  // namespace kroton::nn
