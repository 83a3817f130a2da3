// Layers without a memory of steps.
#include <kroton/error.h>
#include <kroton/nn.h>

#include <cmath>

#include "frontend/train/lines.h"

namespace kroton::nn {

namespace {

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

[[noreturn]] void fail(const char* layer, const std::string& what, const SourceLine& line) {
  throw ValueError(std::string(layer) + ": " + what + "  [" + to_string(line) + "]");
}
[[noreturn]] void fail_shape(const char* layer, const Tensor& x, const std::string& what,
                             const SourceLine& line) {
  throw ShapeError(std::string(layer) + ": " + what + ": " + x.name() + " is " +
                   to_string(x.type()) + "  [" + to_string(line) + "]");
}

Tensor activated(const Activation& activation, const Tensor& x) {
  return activation ? activation(x) : x;
}

std::int64_t known(const Dim& size) { return size.is_constant() ? size.constant() : 1; }

std::int64_t count_of(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

// One number for each channel, at the axis of the channels.
Tensor of_channels(const Tensor& numbers, int rank, Layout layout) {
  Dims shape(at(rank), Dim(1));
  shape[layout == Layout::channels_last ? at(rank - 1) : 1] = numbers.shape(0);
  return reshape(numbers, shape);
}

const Dim& channels_of(const char* layer, const Tensor& x, int axes, Layout layout,
                       const SourceLine& line) {
  if (x.rank() != axes + 2) {
    fail_shape(layer, x, "takes x of rank " + std::to_string(axes + 2), line);
  }
  return x.shape()[layout == Layout::channels_last ? at(x.rank() - 1) : 1];
}

Tensor convolved(int axes, const Tensor& x, const Tensor& w, const ConvolutionOptions& options) {
  if (axes == 1) return conv1d(x, w, options);
  return axes == 2 ? conv2d(x, w, options) : conv3d(x, w, options);
}

Tensor transposed(int axes, const Tensor& x, const Tensor& w, const ConvTransposeOptions& options) {
  if (axes == 1) return conv_transpose1d(x, w, options);
  return axes == 2 ? conv_transpose2d(x, w, options) : conv_transpose3d(x, w, options);
}

}  // namespace

// ---- Activations

Tensor relu(const Tensor& x) { return kroton::relu(x); }
Tensor relu6(const Tensor& x) { return clip(x, 0, 6); }
Tensor leaky_relu(const Tensor& x) { return where(gt(x, 0), x, 0.01 * x); }
Tensor elu(const Tensor& x) { return where(gt(x, 0), x, expm1(minimum(x, 0))); }
Tensor selu(const Tensor& x) {
  constexpr double scale = 1.0507009873554805, alpha = 1.6732632423543772;
  return scale * where(gt(x, 0), x, alpha * expm1(minimum(x, 0)));
}
Tensor gelu(const Tensor& x) { return 0.5 * x * (1 + erf(x * std::sqrt(0.5))); }
Tensor gelu_tanh(const Tensor& x) {
  constexpr double root = 0.7978845608028654;  // of 2 / pi
  return 0.5 * x * (1 + kroton::tanh(root * (x + 0.044715 * x * x * x)));
}
Tensor silu(const Tensor& x) { return x * kroton::sigmoid(x); }
Tensor mish(const Tensor& x) { return x * kroton::tanh(kroton::softplus(x)); }
Tensor hard_sigmoid(const Tensor& x) { return clip(x / 6 + 0.5, 0, 1); }
Tensor softsign(const Tensor& x) { return x / (1 + abs(x)); }
Tensor tanh(const Tensor& x) { return kroton::tanh(x); }
Tensor sigmoid(const Tensor& x) { return kroton::sigmoid(x); }
Tensor softplus(const Tensor& x) { return kroton::softplus(x); }
Tensor softmax(const Tensor& x) { return kroton::softmax(x, -1); }

// ---- Dense

Dense::Dense(std::int64_t units, DenseOptions options, const Location& at)
    : units_(units), options_(std::move(options)), line_(line_of(at)) {
  if (units < 1) fail("Dense", "units is " + std::to_string(units), line_);
}

Tensor Dense::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  if (x.rank() < 1) fail_shape("Dense", x, "takes x (..., features)", line_);
  const Dim inputs = x.shape(-1);
  const Tensor weight = parameters_.get("weight", {inputs, units_}, options_.weight,
                                        {known(inputs), units_}, x.dtype());
  Tensor y = x.rank() > 2 ? matmul(x, weight) : dot(x, weight);
  if (options_.use_bias) {
    y = y + parameters_.get("bias", {units_}, options_.bias, {known(inputs), units_}, x.dtype());
  }
  return activated(options_.activation, y);
}

// ---- Convolutions

template <int axes>
Conv<axes>::Conv(std::int64_t filters, PerAxis window, ConvOptions options, const Location& at)
    : filters_(filters),
      window_(std::move(window)),
      options_(std::move(options)),
      line_(line_of(at)) {
  if (filters < 1) fail("Conv", "filters is " + std::to_string(filters), line_);
}

template <int axes>
Tensor Conv<axes>::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  const ConvOptions& o = options_;
  const std::vector<std::int64_t> window = window_.resolve(axes, "Conv", "window");
  const Dim channels =
      floor_div(channels_of("Conv", x, axes, o.layout, line_), std::max<std::int64_t>(o.groups, 1));
  Dims shape = {filters_, channels};
  shape.insert(shape.end(), window.begin(), window.end());
  const Fans fans{known(channels) * count_of(window),
                  filters_ / std::max<std::int64_t>(o.groups, 1) * count_of(window)};
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
      line_(line_of(at)) {
  if (filters < 1) fail("ConvTranspose", "filters is " + std::to_string(filters), line_);
}

template <int axes>
Tensor ConvTranspose<axes>::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  const ConvOptions& o = options_;
  const std::vector<std::int64_t> window = window_.resolve(axes, "ConvTranspose", "window");
  const Dim& channels = channels_of("ConvTranspose", x, axes, o.layout, line_);
  const std::int64_t groups = std::max<std::int64_t>(o.groups, 1);
  Dims shape = {channels, filters_ / groups};
  shape.insert(shape.end(), window.begin(), window.end());
  const Fans fans{filters_ / groups * count_of(window), known(channels) * count_of(window)};
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

DepthwiseConv2D::DepthwiseConv2D(PerAxis window, ConvOptions options, std::int64_t multiplier,
                                 const Location& at)
    : window_(std::move(window)),
      options_(std::move(options)),
      multiplier_(multiplier),
      line_(line_of(at)) {
  if (multiplier < 1) fail("DepthwiseConv2D", "multiplier is " + std::to_string(multiplier), line_);
}

Tensor DepthwiseConv2D::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  const ConvOptions& o = options_;
  const std::vector<std::int64_t> window = window_.resolve(2, "DepthwiseConv2D", "window");
  const Dim& channels = channels_of("DepthwiseConv2D", x, 2, o.layout, line_);
  if (!channels.is_constant()) {
    fail_shape("DepthwiseConv2D", x, "the number of channels must be known", line_);
  }
  const std::int64_t filters = channels.constant() * multiplier_;
  const Fans fans{count_of(window), multiplier_ * count_of(window)};
  const Tensor weight =
      parameters_.get("weight", {filters, 1, window[0], window[1]}, o.weight, fans, x.dtype());
  Tensor y =
      conv2d(x, weight, {o.stride, o.padding, o.dilation, channels.constant(), o.layout, false});
  if (o.use_bias) {
    y = y + of_channels(parameters_.get("bias", {filters}, o.bias, fans, x.dtype()), y.rank(),
                        o.layout);
  }
  return activated(o.activation, y);
}

// ---- Pools and shapes

MaxPool::MaxPool(PerAxis window, MaxPoolOptions options, const Location& at)
    : window_(std::move(window)), options_(std::move(options)), line_(line_of(at)) {}
Tensor MaxPool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  return max_pool(x, window_, options_);
}

AveragePool::AveragePool(PerAxis window, AveragePoolOptions options, const Location& at)
    : window_(std::move(window)), options_(std::move(options)), line_(line_of(at)) {}
Tensor AveragePool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  return avg_pool(x, window_, options_);
}

Reshape::Reshape(Dims shape, const Location& at) : shape_(std::move(shape)), line_(line_of(at)) {}
Tensor Reshape::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  if (x.rank() < 1) fail_shape("Reshape", x, "takes x (batch, ...)", line_);
  Dims shape = {x.shape(0)};
  shape.insert(shape.end(), shape_.begin(), shape_.end());
  return reshape(x, shape);
}

// ---- Dropout

Dropout::Dropout(double rate, DropoutOptions options, const Location& at)
    : rate_(rate), options_(options), line_(line_of(at)) {
  if (!(rate >= 0 && rate < 1)) {
    fail("Dropout", "rate is " + to_string(Array(rate)) + ", expected one in [0, 1)", line_);
  }
}

Tensor Dropout::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  if (!Training::is_on() || rate_ == 0) return x;
  Dims shape = x.shape();
  if (options_.spatial) {
    for (std::size_t axis = 2; axis < shape.size(); ++axis) shape[axis] = 1;
  }
  const Tensor kept = random_numbers().bernoulli(shape, 1 - rate_);
  return where(kept, x / (1 - rate_), 0);
}

// ---- Normalisation

BatchNormalization::BatchNormalization(BatchNormOptions options, const Location& at)
    : options_(std::move(options)), line_(line_of(at)) {}

Tensor BatchNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  if (x.rank() < 2) fail_shape("BatchNormalization", x, "takes x (batch, channels, ...)", line_);
  const bool last = options_.layout == Layout::channels_last;
  const Dims shape = {x.shape()[last ? at(x.rank() - 1) : 1]};
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
    : epsilon_(epsilon), name_(std::move(name)), line_(line_of(at)) {}

Tensor LayerNormalization::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  if (x.rank() < 1) fail_shape("LayerNormalization", x, "takes x (..., features)", line_);
  const Dims shape = {x.shape(-1)};
  return layer_norm(x, parameters_.get("scale", shape, ones(), {}, x.dtype()),
                    parameters_.get("shift", shape, zeros(), {}, x.dtype()), epsilon_);
}

// ---- Embedding

Embedding::Embedding(std::int64_t count, std::int64_t width, Initializer weight, std::string name,
                     const Location& at)
    : count_(count),
      width_(width),
      weight_(std::move(weight)),
      name_(std::move(name)),
      line_(line_of(at)) {
  if (count < 1 || width < 1) {
    fail("Embedding", std::to_string(count) + " rows of " + std::to_string(width) + " numbers",
         line_);
  }
}

Shared Embedding::table() const {
  return parameters_.get("weight", {count_, width_}, weight_, {1, width_});
}

Tensor Embedding::operator()(const Tensor& indices) const {
  const LineScope scope(line_, "");
  return take(table(), indices, 0);
}

// ---- Attention

MultiHeadAttention::MultiHeadAttention(std::int64_t heads, AttentionOptions options,
                                       const Location& at)
    : heads_(heads), options_(std::move(options)), line_(line_of(at)) {
  if (heads < 1) fail("MultiHeadAttention", "heads is " + std::to_string(heads), line_);
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& memory,
                                      const Tensor& mask) const {
  const LineScope scope(line_, "");
  if (x.rank() != 3 || memory.rank() != 3) {
    fail_shape("MultiHeadAttention", x, "takes x (batch, positions, width)", line_);
  }
  const Dim width = x.shape(2);
  if (!width.is_constant() || width.constant() % heads_ != 0) {
    fail_shape("MultiHeadAttention", x, std::to_string(heads_) + " heads cannot share the width",
               line_);
  }
  const std::int64_t each = width.constant() / heads_;
  const auto projected = [&](const char* name, const Tensor& input) {
    const Dim inputs = input.shape(2);
    const Fans fans{known(inputs), width.constant()};
    return matmul(input, parameters_.get(std::string(name) + "_weight", {inputs, width},
                                         options_.weight, fans, x.dtype())) +
           parameters_.get(std::string(name) + "_bias", {width}, zeros(), fans, x.dtype());
  };
  // (batch, heads, positions, each)
  const auto by_heads = [&](const Tensor& t) {
    return transpose(reshape(t, {t.shape(0), t.shape(1), heads_, each}), {0, 2, 1, 3});
  };
  const Tensor query = by_heads(projected("query", x));
  const Tensor key = by_heads(projected("key", memory));
  const Tensor value = by_heads(projected("value", memory));
  Tensor scores = matmul(query, swapaxes(key, 2, 3)) * (1 / std::sqrt(static_cast<double>(each)));
  // Finite, so that a place that sees nothing sees all alike, and not NaN.
  constexpr double nowhere = -1e30;
  if (options_.causal) {
    const Dims square = {x.shape(1), memory.shape(1)};
    scores = where(le(iota(square, 1), iota(square, 0)), scores, nowhere);
  }
  if (mask) scores = where(ne(mask, 0), scores, nowhere);
  const Tensor seen = transpose(matmul(kroton::softmax(scores, -1), value), {0, 2, 1, 3});
  return projected("out", reshape(seen, {x.shape(0), x.shape(1), width}));
}

TransformerBlock::TransformerBlock(std::int64_t heads, std::int64_t hidden,
                                   AttentionOptions options, double dropout, const Location& at)
    : hidden_(hidden),
      name_(options.name),
      attention_(heads, options, at),
      first_(1e-5, {}, at),
      second_(1e-5, {}, at),
      wide_(hidden, {.activation = gelu, .weight = options.weight}, at),
      line_(line_of(at)),
      dropout_(dropout, {}, at) {}

Tensor TransformerBlock::operator()(const Tensor& x) const {
  const LineScope scope(line_, "");
  const auto part = [&](const char* name, const auto& layer, const Tensor& input) {
    const Scope path(name);
    return layer(input);
  };
  const Tensor middle = x + dropout_(part("attention", attention_, part("norm1", first_, x)));
  const Tensor wide = part("dense1", wide_, part("norm2", second_, middle));
  const Dim width = x.shape(2);
  const Scope path("dense2");
  const Tensor narrow = matmul(wide, parameters_.get("weight", {hidden_, width}, glorot_uniform(),
                                                     {hidden_, known(width)}, x.dtype())) +
                        parameters_.get("bias", {width}, zeros(), {}, x.dtype());
  return middle + dropout_(narrow);
}

}  // namespace kroton::nn
