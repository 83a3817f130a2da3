// Training steps of whole networks among the canonical functions.
#include "tests/gpu_model/networks.h"

#include <kroton/kroton.h>

namespace gpu_model {
namespace {

using namespace kroton;  // NOLINT: tests

// Products of what is stored in 16 bits, and all else in f32.
Tensor dense(const Tensor& x, const Shared& w, const Shared& b) {
  return cast(matmul(cast(x, bf16), cast(w, bf16)), f32) + b;
}

Shared weights(const char* name, const Shape& shape) { return shared(Array::zeros(shape), name); }

Case picture_classifier() {
  const Tensor pictures = tensor("pictures", {dim("batch"), 3, 32, 32});
  const Tensor labels = tensor("labels", {dim("batch")}, i64);
  const nn::Sequential net{nn::Conv2D(32, 3, {.activation = nn::relu, .padding = 1}),
                           nn::BatchNormalization(),
                           nn::Conv2D(64, 3, {.activation = nn::relu, .stride = 2, .padding = 1}),
                           nn::BatchNormalization(),
                           nn::MaxPool(2),
                           nn::Flatten(),
                           nn::Dense(10)};
  const Tensor loss = nn::cross_entropy(net.train(pictures), labels);
  Case result{"CIFAR-10 step, Adam", {pictures, labels}, {loss}, {}};
  optim::Adam adam({.rate = 1e-3});
  for (const auto& [variable, value] : adam.minimize(loss, net.parameters())) {
    result.updates.emplace_back(variable, value);
  }
  result.sizes = {{{"batch", 128}}};
  result.is_step = true;
  return result;
}

Case transformer_block() {
  constexpr std::int64_t width = 512, heads = 8, hidden = 2048;
  const Tensor x = tensor("x", {dim("batch"), dim("length"), width}),
               target = tensor("target", {dim("batch"), dim("length"), width});
  const Shared qkv = weights("qkv", {width, 3 * width}), qkv_b = weights("qkv_b", {3 * width}),
               out = weights("out", {width, width}), out_b = weights("out_b", {width}),
               up = weights("up", {width, hidden}), up_b = weights("up_b", {hidden}),
               down = weights("down", {hidden, width}), down_b = weights("down_b", {width}),
               scale = weights("scale", {width}), shift = weights("shift", {width});
  const auto norm = [&](const Tensor& y) {
    const Tensor centred = y - mean(y, -1, true);
    return centred * rsqrt(mean(square(centred), -1, true) + 1e-5) * scale + shift;
  };
  const Dim batch = x.shape(0), length = x.shape(1);
  const Tensor qkv_of_x = dense(norm(x), qkv, qkv_b);
  const auto part = [&](std::int64_t k) {
    const Tensor one =
        cast(qkv_of_x(kroton::all, kroton::all, slice(k * width, (k + 1) * width)), bf16);
    return transpose(reshape(one, {batch, length, heads, width / heads}), {0, 2, 1, 3});
  };
  const Tensor q = part(0), k = part(1), v = part(2);
  const Tensor seen = matmul(softmax(matmul(q, swapaxes(k, 2, 3)) * 0.125, -1), v);
  const Tensor attended =
      x + dense(reshape(transpose(seen, {0, 2, 1, 3}), {batch, length, width}), out, out_b);
  const Tensor y = attended + dense(nn::gelu(dense(norm(attended), up, up_b)), down, down_b);
  const Tensor loss = mean(square(y - target));
  Case result{"transformer step, bf16, Adam", {x, target}, {loss}, {}};
  optim::Adam adam({.rate = 1e-3});
  for (const auto& [variable, value] :
       adam.minimize(loss, {qkv, qkv_b, out, out_b, up, up_b, down, down_b, scale, shift})) {
    result.updates.emplace_back(variable, value);
  }
  result.sizes = {{{"batch", 8}, {"length", 256}}};
  result.is_step = true;
  return result;
}

}  // namespace

void add_networks(std::vector<Case>& list) {
  list.push_back(picture_classifier());
  list.push_back(transformer_block());
}

}  // namespace gpu_model
