// Networks from layers. Everything here is written on tensors, shared variables and scans as a
// program of one's own would be; at any point a layer can be replaced by a function of tensors.
//
//     kt::nn::Sequential net{kt::nn::Conv2D(20, 5, {.activation = kt::nn::relu}),
//     kt::nn::MaxPool(2),
//                            kt::nn::Flatten(), kt::nn::Dense(100, {.activation = kt::nn::relu}),
//                            kt::nn::Dropout(0.5), kt::nn::Dense(10)};
//     const kt::Tensor loss = kt::nn::cross_entropy(net.train(x), labels);
//     const auto step = kt::function({x, labels}, loss,
//                                    {.updates = sgd.minimize(loss, net.parameters())});
//     const auto predict = kt::function({x}, net(x));
//
// A layer makes its parameters when it is first called, from the shape of what it is called on. A
// layer of one's own is anything that can be called with a Tensor and gives one: a lambda, or a
// struct with a call operator, whose members are layers. Copies of a layer share its parameters.
#pragma once
#include <kroton/convolution.h>
#include <kroton/normalization.h>
#include <kroton/ops.h>
#include <kroton/pooling.h>
#include <kroton/random.h>
#include <kroton/tensor.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace kroton::nn {

// ---- Initial values

// What a parameter starts from. `inputs` and `outputs` are how many numbers an element of the
// result is a sum of, and how many results an element of the input has a part in (fan in and out).
struct Fans {
  std::int64_t inputs = 1, outputs = 1;
};
using Initializer =
    std::function<Array(const Shape& shape, const Fans& fans, std::uint64_t seed, DType dtype)>;

Initializer zeros();
Initializer ones();
Initializer constant(double value);
Initializer normal(double stddev, double mean = 0);
Initializer uniform(double low, double high);
// Normal, drawn again where it lies more than two standard deviations from 0.
Initializer truncated_normal(double stddev);
// Glorot and Bengio (2010): variance 2 / (inputs + outputs). Keras's default.
Initializer glorot_uniform();
Initializer glorot_normal();
// He et al. (2015): variance 2 / inputs.
Initializer he_uniform();
Initializer he_normal();
// LeCun et al. (1998): variance 1 / inputs.
Initializer lecun_uniform();
Initializer lecun_normal();
// PyTorch's default of linear layers and convolutions: uniform between +-1 / sqrt(inputs).
Initializer torch_uniform();
// Orthonormal rows or columns, whichever are fewer, of the parameter as a matrix of its first axis
// by the others, times `gain`: Saxe et al. (2014).
Initializer orthogonal(double gain = 1);

// The seed of the parameters that this thread makes from now on, each in its turn, and of the
// random numbers of the layers that it calls. 0 unless set.
void seed(std::uint64_t value);
// Where these random numbers come from: its state is part of a checkpoint.
RandomStream& random_numbers();

// ---- Parameters

// A parameter, or a state that training keeps (a running mean).
struct Parameter {
  Shared value;  // named by its path: "conv1.weight"
  bool trainable = true;
  bool is_statistic = false;  // no optimizer changes it
};

// While one lives, it notes the parameters of the layers that this thread calls, each once.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  const std::vector<std::shared_ptr<Parameter>>& recorded() const { return recorded_; }
  // Of all recorders of this thread.
  static void note(const std::shared_ptr<Parameter>& parameter);
  // Whether one of them has noted a parameter of that name.
  static bool knows(const std::string& name);

 private:
  std::vector<std::shared_ptr<Parameter>> recorded_;
  Recorder* outer_;
};

// While one lives, the paths of parameters that this thread makes begin with "name.".
class Scope {
 public:
  explicit Scope(const std::string& name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::size_t length_;
};

// While one lives, layers that this thread calls are those of training: dropout drops, batch
// normalisation takes the statistics of the batch and its function updates the running ones.
class Training {
 public:
  explicit Training(bool on = true);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;
  static bool is_on();

 private:
  bool before_;
};

// The parameters of one layer, made when they are first asked for. Copies are the same ones. Where
// another layer of the network has a parameter of that name, the path gets a number:
// "block1.weight", "block1.2.weight".
class Parameters {
 public:
  Parameters() : made_(std::make_shared<Made>()) {}
  // That of this name, noted by the recorders. ShapeError if it has been made with another shape,
  // and for sizes that are not known.
  Shared get(const std::string& name, const Dims& shape, const Initializer& initial,
             const Fans& fans = {}, DType dtype = f32, bool is_statistic = false) const;

 private:
  struct Made {
    std::optional<std::string> path;  // in front of their names
    std::map<std::string, std::shared_ptr<Parameter>> parameters;
  };
  std::shared_ptr<Made> made_;
};

// ---- Layers. Errors name the line where a layer was made.

using Location = std::source_location;

using Activation = std::function<Tensor(const Tensor&)>;  // empty: none

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
  template <class F>
    requires std::is_invocable_r_v<Tensor, F&, const Tensor&> &&
                 (!std::same_as<std::remove_cvref_t<F>, Layer>)
  Layer(F layer)
      : kind_(kind_of(layer)), name_(name_of(layer)), call_(std::move(layer)) {}  // NOLINT
  Tensor operator()(const Tensor& x) const { return call_(x); }
  const std::string& kind() const { return kind_; }
  const std::string& name() const { return name_; }  // empty: its kind and number

 private:
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
  explicit GlobalAveragePool(Layout layout = Layout::channels_first) : layout_(layout) {}
  Tensor operator()(const Tensor& x) const { return global_avg_pool(x, layout_); }

 private:
  Layout layout_;
};

// (batch, ...) -> (batch, the product of the others)
class Flatten {
 public:
  static constexpr const char* kind = "flatten";
  Tensor operator()(const Tensor& x) const { return flatten(x, 1); }
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

// Each row's own statistics over the last axis, with scale and shift: Ba et al. (2016).
class LayerNormalization {
 public:
  static constexpr const char* kind = "layer_norm";
  explicit LayerNormalization(double epsilon = 1e-5, std::string name = {},
                              const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return name_; }

 private:
  double epsilon_;
  std::string name_;
  Parameters parameters_;
  SourceLine line_;
};

// Row `index` of a table (count, width) for each index: integers (...) -> (..., width).
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

// ---- Recurrent layers: x (batch, steps, features) -> the last state (batch, units), or with
// `sequences` the states of all steps (batch, steps, units).
struct RecurrentOptions {
  bool sequences = false;
  bool backwards = false;  // from the last step to the first; the states stand in that order
  Initializer weight = glorot_uniform();
  Initializer recurrent = orthogonal();
  std::string name = {};
};
// h' = tanh(x weight + h recurrent + bias)
class SimpleRnn {
 public:
  static constexpr const char* kind = "rnn";
  explicit SimpleRnn(std::int64_t units, RecurrentOptions options = {},
                     const Location& at = Location::current());
  // Steps for which mask (batch, steps) is not 0; in the others the state stays.
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t units_;
  RecurrentOptions options_;
  Parameters parameters_;
  SourceLine line_;
};
// i, f, g, o = the four parts, in this order (PyTorch's), of x weight + h recurrent + bias;
// c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'). The bias of f starts from 1.
class Lstm {
 public:
  static constexpr const char* kind = "lstm";
  explicit Lstm(std::int64_t units, RecurrentOptions options = {},
                const Location& at = Location::current());
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t units_;
  RecurrentOptions options_;
  Parameters parameters_;
  SourceLine line_;
};
// r, z, n = the three parts, in this order (PyTorch's): r and z are sigmoids of x weight + bias + h
// recurrent + recurrent_bias, n = tanh(x weight + bias + r (h recurrent + recurrent_bias));
// h' = (1 - z) n + z h.
class Gru {
 public:
  static constexpr const char* kind = "gru";
  explicit Gru(std::int64_t units, RecurrentOptions options = {},
               const Location& at = Location::current());
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t units_;
  RecurrentOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// ---- Attention

// Of every position of x (batch, positions, width) to those of `memory` (batch, others, width), x
// itself unless given: Vaswani et al. (2017), with `heads` that divide the width. `causal`: only to
// positions up to its own.
struct AttentionOptions {
  bool causal = false;
  Initializer weight = glorot_uniform();
  std::string name = {};
};
class MultiHeadAttention {
 public:
  static constexpr const char* kind = "attention";
  explicit MultiHeadAttention(std::int64_t heads, AttentionOptions options = {},
                              const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const { return (*this)(x, x); }
  // Where mask, which broadcasts to (batch, heads, positions, others), is 0 nothing is seen.
  Tensor operator()(const Tensor& x, const Tensor& memory, const Tensor& mask = {}) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t heads_;
  AttentionOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// x + attention(norm(x)), then that + dense(gelu(dense(norm))): the block of GPT-2, norms first.
class TransformerBlock {
 public:
  static constexpr const char* kind = "block";
  TransformerBlock(std::int64_t heads, std::int64_t hidden, AttentionOptions options = {},
                   double dropout = 0, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return name_; }

 private:
  std::int64_t hidden_;
  std::string name_;
  MultiHeadAttention attention_;
  LayerNormalization first_, second_;
  Dense wide_;
  Parameters parameters_;
  SourceLine line_;
  Dropout dropout_;
};

// ---- Networks

// Layers one after the other. Parameters are named after the layer: its own name, or its kind and
// number, as "conv1.weight". It is a layer, too.
class Sequential {
 public:
  static constexpr const char* kind = "net";
  Sequential(std::initializer_list<Layer> layers, std::string name = {});
  explicit Sequential(std::vector<Layer> layers, std::string name = {});
  Tensor operator()(const Tensor& x) const;
  // The same while training.
  Tensor train(const Tensor& x) const;
  const std::string& name() const { return name_; }

  // The parameters that training changes, in the order of the layers. ValueError before the first
  // call, which makes them.
  std::vector<Shared> parameters() const;
  // These, those that are frozen, and running statistics: what a checkpoint holds.
  std::vector<Shared> state() const;
  // How many numbers the parameters have, frozen ones included.
  std::int64_t parameter_count() const;
  // Whether training changes the parameter of this path, or all below it ("conv1"). ValueError if
  // there are none.
  void set_trainable(const std::string& path, bool trainable) const;
  // A table of the layers as they were called last: the shapes that they give, their parameters.
  std::string summary() const;

 private:
  struct Call {
    std::string name, shape;
    std::int64_t parameters = 0;
  };
  struct Made {
    std::vector<std::shared_ptr<Parameter>> parameters;
    std::vector<Call> calls;
  };
  std::vector<Layer> layers_;
  std::vector<std::string> names_;
  std::string name_;
  std::shared_ptr<Made> made_;
};

// Two directions of one recurrent layer, made by `make` with `backwards` off and on; the last axes
// are joined.
template <class Recurrent>
Layer bidirectional(std::int64_t units, RecurrentOptions options = {});
extern template Layer bidirectional<SimpleRnn>(std::int64_t, RecurrentOptions);
extern template Layer bidirectional<Lstm>(std::int64_t, RecurrentOptions);
extern template Layer bidirectional<Gru>(std::int64_t, RecurrentOptions);

// ---- Losses: means over the examples, scalars. ShapeError for two tensors of different shapes.

struct CrossEntropyOptions {
  double label_smoothing = 0;  // this part of the probability is shared by all classes
  Tensor class_weights = {};   // (classes): the mean is weighted by them
  std::optional<std::int64_t> ignored_label = {};
  Tensor mask = {};  // of the labels' shape, 0 or 1, or weights
};
// -log softmax(logits)[label]; logits (..., classes), labels integers (...) from 0, else ValueError
// at the call. 0 where no label counts.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options = {});
// The same for probabilities as labels: (..., classes).
Tensor soft_cross_entropy(const Tensor& logits, const Tensor& probabilities);
// -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), without overflow.
Tensor binary_cross_entropy(const Tensor& logits, const Tensor& labels);
Tensor mean_squared_error(const Tensor& x, const Tensor& y);
Tensor mean_absolute_error(const Tensor& x, const Tensor& y);
// Quadratic within `delta`, linear beyond.
Tensor huber(const Tensor& x, const Tensor& y, double delta = 1);
Tensor hinge(const Tensor& x, const Tensor& y);  // max(0, 1 - y x), y of -1 and 1
// The sum over the last axis of p log(p / q), given log q and p.
Tensor kl_divergence(const Tensor& log_q, const Tensor& p);
Tensor cosine_loss(const Tensor& x, const Tensor& y, double epsilon = 1e-8);  // 1 - cosine
Tensor triplet(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
               double margin = 1);  // of Euclidean distances along the last axis

// Sums over parameters, to be added to a loss.
Tensor l1(const std::vector<Shared>& parameters);
Tensor l2(const std::vector<Shared>& parameters);

// ---- Metrics: f32 scalars

// The part of the labels, integers (...), that logits (..., classes) are largest at.
Tensor accuracy(const Tensor& logits, const Tensor& labels);
// That are among the k largest.
Tensor top_k_accuracy(const Tensor& logits, const Tensor& labels, std::int64_t k);
// Counts (true class, predicted class), i64.
Tensor confusion_matrix(const Tensor& logits, const Tensor& labels);
// Of each class, from a confusion matrix: f32 (classes); 0 where there is nothing to divide by.
Tensor precision(const Tensor& confusion);
Tensor recall(const Tensor& confusion);
Tensor f1_score(const Tensor& confusion);
Tensor perplexity(const Tensor& loss);  // exp(loss)
Tensor r_squared(const Tensor& predicted, const Tensor& y);

}  // namespace kroton::nn
