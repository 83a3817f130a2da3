// Parameters of layers: what they start from, how they are named, who notes them.
#pragma once
#include <kroton/random.h>
#include <kroton/tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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

// While one lives, it notes the parameters of the layers that this thread calls, each once, and the
// multiplications that the layers' products take.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  const std::vector<std::shared_ptr<Parameter>>& recorded() const { return recorded_; }
  // Of these the variables that training changes, for an optimizer.
  std::vector<Shared> parameters() const;
  // Of the forward direction of all calls: of matrix products and convolutions, each with an
  // addition. It depends on free sizes.
  const Dim& multiply_adds() const { return multiply_adds_; }
  // Of all recorders of this thread.
  static void note(const std::shared_ptr<Parameter>& parameter);
  // Whether one of them has noted a parameter of that name.
  static bool knows(const std::string& name);
  // Adds to all recorders of this thread: for layers of one's own, which call kt::dot themselves.
  static void note_multiply_adds(const Dim& count);

 private:
  std::vector<std::shared_ptr<Parameter>> recorded_;
  Dim multiply_adds_;
  Recorder* outer_;
};

// While one lives, the paths of parameters that this thread makes begin with "name.".
class Scope {
 public:
  explicit Scope(const std::string& name);
  // The scope of a layer of that name: none where it is empty or the innermost scope has that name
  // already, as in a Sequential.
  static Scope of_layer(const std::string& name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::size_t length_;  // of the path before
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

// The parameters of one layer, made when they are first asked for. Copies are the same ones. A
// layer's own name is part of the path, once: the scope of a Sequential has it already. Where
// another layer of the network has a parameter of that name, the path gets a number:
// "block1.weight", "block1.2.weight".
class Parameters {
 public:
  explicit Parameters(std::string layer_name = {}) : made_(std::make_shared<Made>()) {
    made_->layer_name = std::move(layer_name);
  }
  // That of this name, noted by the recorders. ShapeError if it has been made with another shape,
  // for sizes that are not known, and where the initial value has another shape; ValueError for an
  // empty initializer.
  Shared get(const std::string& name, const Dims& shape, const Initializer& initial,
             const Fans& fans = {}, DType dtype = f32, bool is_statistic = false) const;
  // That of this name, if it has been made.
  std::optional<Shared> find(const std::string& name) const;

 private:
  struct Made {
    std::string layer_name;
    std::optional<std::string> path;  // in front of their names
    std::map<std::string, std::shared_ptr<Parameter>> parameters;
  };
  std::shared_ptr<Made> made_;
};

}  // namespace kroton::nn
