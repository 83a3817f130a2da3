// The simple layers.
#include <kroton/error.h>
#include <kroton/nn_layers.h>
#include <kroton/ops.h>

#include <cmath>

#include "frontend/train/layer_tools.h"
#include "frontend/train/loss_tools.h"

namespace kroton::nn {

void Layer::fail_empty(const Location& at) { fail("Layer", "the function is empty", line_of(at)); }

// ---- Dense

Dense::Dense(std::int64_t units, DenseOptions options, const Location& at)
    : units_(units), options_(std::move(options)), parameters_(options_.name), line_(line_of(at)) {
  if (units < 1) fail("Dense", "units is " + std::to_string(units), line_);
}

Tensor Dense::operator()(const Tensor& x) const {
  const LineScope scope(line_, "Dense");
  check_input("Dense", x, 1, Shape::max_rank, "(..., features)", line_);
  const Dim inputs = x.shape(-1);
  const Tensor weight = parameters_.get("weight", {inputs, units_}, options_.weight,
                                        {known(inputs), units_}, x.dtype());
  Tensor y = times_matrix(x, weight);
  if (options_.use_bias) {
    y = y + parameters_.get("bias", {units_}, options_.bias, {known(inputs), units_}, x.dtype());
  }
  return activated(options_.activation, y);
}

// ---- Shapes

Flatten::Flatten(const Location& at) : line_(line_of(at)) {}
Tensor Flatten::operator()(const Tensor& x) const {
  const LineScope scope(line_, "Flatten");
  if (x.rank() < 1) fail_shape("Flatten", x, "takes x (batch, ...)", line_);
  if (x.rank() == 1) return expand_dims(x, 1);
  return flatten(x, 1);
}

Reshape::Reshape(Dims shape, const Location& at) : shape_(std::move(shape)), line_(line_of(at)) {}
Tensor Reshape::operator()(const Tensor& x) const {
  const LineScope scope(line_, "Reshape");
  if (x.rank() < 1) fail_shape("Reshape", x, "takes x (batch, ...)", line_);
  Dims shape = {x.shape(0)};
  shape.insert(shape.end(), shape_.begin(), shape_.end());
  return reshape(x, shape);
}

// ---- Noise

Dropout::Dropout(double rate, DropoutOptions options, const Location& at)
    : rate_(rate), options_(options), line_(line_of(at)) {
  check_rate("Dropout", "rate", rate, line_);
}

Tensor Dropout::operator()(const Tensor& x) const {
  const LineScope scope(line_, "Dropout");
  check_floating("Dropout", x, line_);
  if (!Training::is_on() || rate_ == 0) return x;
  Dims shape = x.shape();
  if (options_.spatial) {
    for (std::size_t axis = 2; axis < shape.size(); ++axis) shape[axis] = 1;
  }
  const Tensor kept = random_numbers().bernoulli(shape, 1 - rate_);
  return where(kept, x / (1 - rate_), 0);
}

AlphaDropout::AlphaDropout(double rate, const Location& at) : rate_(rate), line_(line_of(at)) {
  check_rate("AlphaDropout", "rate", rate, line_);
}

Tensor AlphaDropout::operator()(const Tensor& x) const {
  const LineScope scope(line_, "AlphaDropout");
  check_floating("AlphaDropout", x, line_);
  if (!Training::is_on() || rate_ == 0) return x;
  constexpr double lowest = -1.7580993408473766;  // of selu: -scale * alpha
  const double kept = 1 - rate_;
  const double scale = 1 / std::sqrt(kept + lowest * lowest * kept * rate_);
  const Tensor is_kept = random_numbers().bernoulli(x.shape(), kept);
  return scale * where(is_kept, x, lowest) - scale * lowest * rate_;
}

GaussianNoise::GaussianNoise(double stddev, const Location& at)
    : stddev_(stddev), line_(line_of(at)) {
  if (!(stddev >= 0) || std::isinf(stddev)) {
    fail("GaussianNoise", "stddev is " + to_string(Array(stddev)), line_);
  }
}

Tensor GaussianNoise::operator()(const Tensor& x) const {
  const LineScope scope(line_, "GaussianNoise");
  check_floating("GaussianNoise", x, line_);
  if (!Training::is_on() || stddev_ == 0) return x;
  return x + random_numbers().normal(x.shape(), 0, stddev_, x.dtype());
}

// ---- Embedding

Embedding::Embedding(std::int64_t count, std::int64_t width, Initializer weight, std::string name,
                     const Location& at)
    : count_(count),
      width_(width),
      weight_(std::move(weight)),
      name_(std::move(name)),
      parameters_(name_),
      line_(line_of(at)) {
  if (count < 1 || width < 1) {
    fail("Embedding", std::to_string(count) + " rows of " + std::to_string(width) + " numbers",
         line_);
  }
}

Shared Embedding::table() const {
  const LineScope scope(line_, "Embedding");
  return parameters_.get("weight", {count_, width_}, weight_, {1, width_});
}

Tensor Embedding::operator()(const Tensor& indices) const {
  const LineScope scope(line_, "Embedding");
  if (indices.dtype() != i64 && indices.dtype() != i32) {
    throw TypeError("Embedding: takes integers: " + indices.name() + " is " +
                    to_string(indices.type()) + "  [" + to_string(line_) + "]");
  }
  // A negative index does not count from the end.
  return take(table(), as_index("an index", indices), 0);
}

}  // namespace kroton::nn
