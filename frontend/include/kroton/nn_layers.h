// What a layer is, activations, and the simple layers. Errors begin with the layer's name and end
// with the line where it was made. Layers with parameters take floating x (TypeError).
#pragma once
#include <kroton/nn_parameters.h>
#include <kroton/ops.h>

#include <concepts>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

namespace kroton::nn {

using Location = std::source_location;

using Activation = std::function<Tensor(const Tensor&)>;  // empty: none

// Of floating x (TypeError). Errors end with the line of the layer that has them, else that of x.
Tensor relu(const Tensor& x);
Tensor relu6(const Tensor& x);         // min(max(x, 0), 6)
Tensor leaky_relu(const Tensor& x);    // 0.01 x below 0
Tensor elu(const Tensor& x);           // exp(x) - 1 below 0
Tensor selu(const Tensor& x);          // Klambauer et al. (2017)
Tensor gelu(const Tensor& x);          // x times the normal distribution
Tensor gelu_tanh(const Tensor& x);     // the same, approximated by tanh
Tensor silu(const Tensor& x);          // x sigmoid(x)
Tensor mish(const Tensor& x);          // x tanh(softplus(x))
Tensor hard_sigmoid(const Tensor& x);  // x / 6 + 1/2 within [0, 1]
Tensor softsign(const Tensor& x);      // x / (1 + |x|)
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor softplus(const Tensor& x);
Tensor softmax(const Tensor& x);  // along the last axis

// Any layer. `kind` names it in paths and summaries: "conv" becomes "conv1", "conv2", ...
class Layer {
 public:
  // ValueError for an empty std::function or a null pointer.
  template <class F>
    requires std::is_invocable_r_v<Tensor, F&, const Tensor&> &&
                 (!std::same_as<std::remove_cvref_t<F>, Layer>)
  Layer(F layer, const Location& at = Location::current())  // NOLINT: any of them is a layer
      : kind_(kind_of(layer)), name_(name_of(layer)) {
    if constexpr (std::is_pointer_v<F> || requires { layer.target_type(); }) {
      if (layer == nullptr) fail_empty(at);
    }
    call_ = std::move(layer);
  }
  Tensor operator()(const Tensor& x) const { return call_(x); }
  const std::string& kind() const { return kind_; }
  const std::string& name() const { return name_; }  // empty: its kind and number

 private:
  [[noreturn]] static void fail_empty(const Location& at);
  template <class F>
  static std::string kind_of(const F&) {
    if constexpr (requires { F::kind; }) return F::kind;
    return "layer";
  }
  template <class F>
  static std::string name_of(const F& layer) {
    if constexpr (requires { std::string(layer.name()); }) return layer.name();
    return "";
  }
  std::string kind_, name_;
  std::function<Tensor(const Tensor&)> call_;
};

// y = activation(x weight + bias) along the last axis: weight (in, units), bias (units).
struct DenseOptions {
  Activation activation = {};
  bool use_bias = true;
  Initializer weight = glorot_uniform();
  Initializer bias = zeros();
  std::string name = {};
};
class Dense {
 public:
  static constexpr const char* kind = "dense";
  explicit Dense(std::int64_t units, DenseOptions options = {},
                 const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t units_;
  DenseOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// (batch, ...) -> (batch, the product of the others)
class Flatten {
 public:
  static constexpr const char* kind = "flatten";
  explicit Flatten(const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  SourceLine line_;
};
// (batch, ...) -> (batch, shape...)
class Reshape {
 public:
  static constexpr const char* kind = "reshape";
  explicit Reshape(Dims shape, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  Dims shape_;
  SourceLine line_;
};

// While training, each element (with `spatial` each channel of a picture, channels first) is 0 with
// probability `rate`, and divided by 1 - rate otherwise: Srivastava et al. (2014).
struct DropoutOptions {
  bool spatial = false;
};
class Dropout {
 public:
  static constexpr const char* kind = "dropout";
  explicit Dropout(double rate, DropoutOptions options = {},
                   const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  double rate_;
  DropoutOptions options_;
  SourceLine line_;
};
// The same for selu: what is dropped becomes selu's lower limit, and all is scaled so that a mean
// of 0 and a variance of 1 stay: Klambauer et al. (2017).
class AlphaDropout {
 public:
  static constexpr const char* kind = "alpha_dropout";
  explicit AlphaDropout(double rate, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  double rate_;
  SourceLine line_;
};
// While training, x + normal numbers of this standard deviation.
class GaussianNoise {
 public:
  static constexpr const char* kind = "noise";
  explicit GaussianNoise(double stddev, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;

 private:
  double stddev_;
  SourceLine line_;
};

// Row `index` of a table (count, width) for each index: integers (...) -> (..., width). An index
// that is negative or not below `count` is a ValueError of the call.
class Embedding {
 public:
  static constexpr const char* kind = "embedding";
  Embedding(std::int64_t count, std::int64_t width, Initializer weight = normal(1),
            std::string name = {}, const Location& at = Location::current());
  Tensor operator()(const Tensor& indices) const;
  Shared table() const;
  const std::string& name() const { return name_; }

 private:
  std::int64_t count_, width_;
  Initializer weight_;
  std::string name_;
  Parameters parameters_;
  SourceLine line_;
};

}  // namespace kroton::nn
