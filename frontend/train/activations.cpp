// Activations.
#include <kroton/nn_layers.h>

#include <cmath>

namespace kroton::nn {

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

}  // namespace kroton::nn
