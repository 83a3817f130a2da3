// Networks of convolutions. peers/networks.py has the same ones, with weights in the same order.
#include <cmath>
#include <stdexcept>

#include "classes/programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

// The layers that the networks are made of, and the weights that they have been given.
class Network {
 public:
  T picture(const kt::Shape& shape) { return in_.data(shape); }

  // Windows of `window` elements along each spatial axis.
  T convolution(const T& x, std::int64_t filters, int window,
                const kt::ConvolutionOptions& options = {}) {
    kt::Shape shape = {filters, x.shape(1).constant() / options.groups};
    while (shape.rank() < x.rank()) shape.push_back(window);
    const T w = weights(shape, shape.element_count() / filters);
    return x.rank() == 5 ? kt::conv3d(x, w, options) : kt::conv2d(x, w, options);
  }

  T biased_convolution(const T& x, std::int64_t filters, int window,
                       const kt::ConvolutionOptions& options = {}) {
    const T y = convolution(x, filters, window, options);
    kt::Dims along(static_cast<std::size_t>(x.rank()) - 1, 1);
    along[0] = filters;
    return y + kt::reshape(constants({filters}, 0), along);
  }

  // Twice as high and as wide.
  T transposed_convolution(const T& x, std::int64_t filters) {
    const std::int64_t channels = x.shape(1).constant();
    const T y =
        kt::conv_transpose2d(x, weights({channels, filters, 2, 2}, 4 * channels), {.stride = 2});
    return y + kt::reshape(constants({filters}, 0), {filters, 1, 1});
  }

  T normalized(const T& x) {
    const kt::Shape channels = {x.shape(1).constant()};
    const T scale = constants(channels, 1), shift = constants(channels, 0);
    return kt::batch_norm(x, scale, shift).y;
  }

  T dense(const T& x, std::int64_t outputs) {
    const T w = weights({x.shape(1).constant(), outputs}, x.shape(1).constant());
    return kt::dot(x, w) + constants({outputs}, 0);
  }

  Program forward(const T& y) const { return in_.gives({y}); }

  // A step of gradient descent.
  Program training(const T& loss) const {
    return in_.gives({loss}, {.updates = descent("sgd", loss, parameters_)});
  }

  Program classifying(const T& logits, std::int64_t batch) {
    const T labels = in_.labels({batch}, logits.shape(1).constant());
    return training(kt::mean(kt::softmax_cross_entropy(logits, labels)));
  }

  // The result is held against pictures of its shape.
  Program imitating(const T& y, const kt::Shape& shape) {
    return training(kt::mean(kt::square(y - in_.data(shape))));
  }

 private:
  // Values stay of the same size from layer to layer.
  T weights(const kt::Shape& shape, std::int64_t inputs) {
    return kept(in_.weights(shape, std::sqrt(24.0 / static_cast<double>(inputs))));
  }
  T constants(const kt::Shape& shape, double value) {
    return kept(kt::shared(kt::Array::full(shape, value)));
  }
  T kept(const kt::Shared& parameter) {
    parameters_.push_back(parameter);
    return parameter;
  }

  Inputs in_;
  std::vector<kt::Shared> parameters_;
};

T flattened(const T& x) { return kt::flatten(x, 1); }

// Convolution, relu and pooling, twice.
T pooled_twice(Network& net, const T& x, std::int64_t first, std::int64_t second) {
  const T once = kt::max_pool(kt::relu(net.biased_convolution(x, first, 5)), 2);
  return flattened(kt::max_pool(kt::relu(net.biased_convolution(once, second, 5)), 2));
}

Program cifar(std::int64_t batch) {
  Network net;
  const T x = pooled_twice(net, net.picture({batch, 3, 32, 32}), 20, 40);
  const T hidden = kt::relu(net.dense(kt::relu(net.dense(x, 1000)), 1000));
  return net.classifying(net.dense(hidden, 10), batch);
}

Program mnist(std::int64_t batch) {
  Network net;
  const T x = pooled_twice(net, net.picture({batch, 1, 28, 28}), 32, 64);
  return net.classifying(net.dense(kt::relu(net.dense(x, 512)), 10), batch);
}

T relu6(const T& x) { return kt::clip(x, 0, 6); }

// Three of MobileNetV2's inverted residuals.
Program mobilenet_block(std::int64_t batch) {
  Network net;
  T x = net.picture({batch, 24, 56, 56});
  for (int k = 0; k < 3; ++k) {
    const T wide = relu6(net.normalized(net.convolution(x, 144, 1)));
    const T deep =
        relu6(net.normalized(net.convolution(wide, 144, 3, {.padding = 1, .groups = 144})));
    x = x + net.normalized(net.convolution(deep, 24, 1));
  }
  return net.imitating(x, {batch, 24, 56, 56});
}

// One way down and up again.
Program unet_pair(std::int64_t batch) {
  Network net;
  const auto layer = [&](const T& x, std::int64_t filters) {
    return kt::relu(net.biased_convolution(x, filters, 3, {.padding = 1}));
  };
  const T fine = layer(net.picture({batch, 3, 64, 64}), 32);
  const T coarse = layer(kt::max_pool(fine, 2), 64);
  const T joined = kt::concatenate({fine, net.transposed_convolution(coarse, 32)}, 1);
  return net.imitating(layer(joined, 32), {batch, 32, 64, 64});
}

Program volume(std::int64_t batch) {
  Network net;
  T x = net.picture({batch, 1, 16, 16, 16});
  for (const std::int64_t filters : {16, 32, 64}) {
    x = kt::max_pool(kt::relu(net.biased_convolution(x, filters, 3, {.padding = 1})), 2);
  }
  return net.classifying(net.dense(flattened(x), 10), batch);
}

Program vgg(const std::string& what, std::int64_t batch) {
  Network net;
  T x = net.picture({batch, 3, 224, 224});
  for (const auto& [filters, count] :
       std::vector<std::pair<std::int64_t, int>>{{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}) {
    for (int k = 0; k < count; ++k) {
      x = kt::relu(net.biased_convolution(x, filters, 3, {.padding = 1}));
    }
    x = kt::max_pool(x, 2);
  }
  x = flattened(x);
  for (int k = 0; k < 2; ++k) x = kt::relu(net.dense(x, 4096));
  const T logits = net.dense(x, 1000);
  return what == "forward" ? net.forward(logits) : net.classifying(logits, batch);
}

// A residual of two convolutions, or of three where results have four times the channels.
T residual(Network& net, const T& x, bool bottleneck, std::int64_t width, std::int64_t stride) {
  const std::int64_t outputs = bottleneck ? 4 * width : width;
  T y = x;
  if (bottleneck) y = kt::relu(net.normalized(net.convolution(y, width, 1)));
  y = kt::relu(net.normalized(net.convolution(y, width, 3, {.stride = stride, .padding = 1})));
  y = net.normalized(bottleneck ? net.convolution(y, outputs, 1)
                                : net.convolution(y, outputs, 3, {.padding = 1}));
  const bool same = stride == 1 && x.shape(1).is_constant(outputs);
  const T around = same ? x : net.normalized(net.convolution(x, outputs, 1, {.stride = stride}));
  return kt::relu(y + around);
}

Program resnet(int depth, std::int64_t batch) {
  const bool bottleneck = depth == 50;
  const std::vector<int> counts = bottleneck ? std::vector{3, 4, 6, 3} : std::vector{2, 2, 2, 2};
  Network net;
  T x = net.picture({batch, 3, 224, 224});
  x = kt::relu(net.normalized(net.convolution(x, 64, 7, {.stride = 2, .padding = 3})));
  x = kt::max_pool(x, 3, {.stride = 2, .padding = 1});
  for (int stage = 0; stage < 4; ++stage) {
    for (int k = 0; k < counts[static_cast<std::size_t>(stage)]; ++k) {
      x = residual(net, x, bottleneck, 64 << stage, stage > 0 && k == 0 ? 2 : 1);
    }
  }
  return net.classifying(net.dense(kt::global_avg_pool(x), 1000), batch);
}

}  // namespace

Program network(const Parts& parts) {
  const std::string& what = parts.at(1);
  const std::int64_t batch = std::stol(parts.at(2));
  if (parts[0] == "vgg") return vgg(what, batch);
  if (parts[0] == "resnet") return resnet(std::stoi(what), batch);
  if (what == "cifar") return cifar(batch);
  if (what == "mnist") return mnist(batch);
  if (what == "mobilenet_block") return mobilenet_block(batch);
  if (what == "unet_pair") return unet_pair(batch);
  if (what == "volume") return volume(batch);
  throw std::runtime_error("no such network: " + what);
}

// The second loss is that of what a step has made of the weights; each further step would only add
// to what rounding has made of the losses.
Case network_case(const Parts& parts) { return program_case(network(parts), 2); }

}  // namespace bench
