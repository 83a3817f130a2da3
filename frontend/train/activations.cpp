// Activations.
#include <kroton/nn_layers.h>

#include <cmath>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

// Errors name the activation, and the line of the layer that has it; else that of x.
struct Named : LineScope {
  Named(const Tensor& x, const char* activation)
      : LineScope(LineScope::current().value_or(x ? x.line() : SourceLine{}), activation) {
    check_floating(activation, x, *current());
  }
};

}  // namespace

Tensor relu(const Tensor& x) {
  const Named scope(x, "relu");
  return kroton::relu(x);
}
Tensor relu6(const Tensor& x) {
  const Named scope(x, "relu6");
  return clip(x, 0, 6);
}
Tensor leaky_relu(const Tensor& x) {
  const Named scope(x, "leaky_relu");
  return where(gt(x, 0), x, 0.01 * x);
}
Tensor elu(const Tensor& x) {
  const Named scope(x, "elu");
  return where(gt(x, 0), x, expm1(minimum(x, 0)));
}
Tensor selu(const Tensor& x) {
  const Named scope(x, "selu");
  constexpr double scale = 1.0507009873554805, alpha = 1.6732632423543772;
  return scale * where(gt(x, 0), x, alpha * expm1(minimum(x, 0)));
}
Tensor gelu(const Tensor& x) {
  const Named scope(x, "gelu");
  return 0.5 * x * (1 + erf(x * std::sqrt(0.5)));
}
Tensor gelu_tanh(const Tensor& x) {
  const Named scope(x, "gelu_tanh");
  constexpr double root = 0.7978845608028654;  // of 2 / pi
  return 0.5 * x * (1 + kroton::tanh(root * (x + 0.044715 * x * x * x)));
}
Tensor silu(const Tensor& x) {
  const Named scope(x, "silu");
  return x * kroton::sigmoid(x);
}
Tensor mish(const Tensor& x) {
  const Named scope(x, "mish");
  return x * kroton::tanh(kroton::softplus(x));
}
Tensor hard_sigmoid(const Tensor& x) {
  const Named scope(x, "hard_sigmoid");
  return clip(x / 6 + 0.5, 0, 1);
}
Tensor softsign(const Tensor& x) {
  const Named scope(x, "softsign");
  return x / (1 + abs(x));
}
Tensor tanh(const Tensor& x) {
  const Named scope(x, "tanh");
  return kroton::tanh(x);
}
Tensor sigmoid(const Tensor& x) {
  const Named scope(x, "sigmoid");
  return kroton::sigmoid(x);
}
Tensor softplus(const Tensor& x) {
  const Named scope(x, "softplus");
  return kroton::softplus(x);
}
Tensor softmax(const Tensor& x) {
  const Named scope(x, "softmax");
  return kroton::softmax(x, -1);
}

}  // namespace kroton::nn
