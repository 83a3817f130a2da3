#include "frontend/train/loss_tools.h"

#include <kroton/check.h>
#include <kroton/error.h>

#include <string_view>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

// "[model.cpp:12]", where the loss is called.
std::string place() {
  const auto line = LineScope::current();
  return line ? "  [" + to_string(*line) + "]" : "";
}

std::string described(const Tensor& x) { return x.name() + " is " + to_string(x.type()); }

}  // namespace

SourceLine line_of_call(const Operand& x) {
  const SourceLine line = x.line();
  // A std::function, or a Measure of a Trainer.
  const std::string_view file = line.file;
  const bool is_in_library = file.find("/c++/") != file.npos || file.ends_with("kroton/trainer.h");
  return is_in_library && !x.is_literal() && !x.is_empty() ? x.tensor().line() : line;
}

void fail_value(const char* name, const std::string& what) {
  throw ValueError(std::string(name) + ": " + what + place());
}

void check_same_shape(const char* name, const Tensor& x, const Tensor& y) {
  if (!differ(x.shape(), y.shape())) return;
  throw ShapeError(std::string(name) + ": takes two tensors of one shape: " + described(x) + ", " +
                   described(y) + place());
}

Tensor of_same_shape(const Tensor& x, const Tensor& y) {
  return may_repeat(x.shape(), y.shape()) ? with_shape(y, x.shape()) : y;
}

void check_shape(const char* name, const char* what, const Tensor& x, const Dims& shape) {
  if (!differ(x.shape(), shape)) return;
  throw ShapeError(std::string(name) + ": " + what + " are " + to_string(shape) + ": " +
                   described(x) + place());
}

void check_floating(const char* name, const char* what, const Tensor& x) {
  if (is_float(x.dtype())) return;
  throw TypeError(std::string(name) + ": takes floating " + what + ": " + described(x) + place());
}

void check_integers(const char* name, const char* what, const Tensor& x) {
  if (is_integer(x.dtype())) return;
  throw TypeError(std::string(name) + ": takes integers as " + what + ": " + described(x) +
                  place());
}

void check_classes(const char* name, const Tensor& logits, const Tensor& labels) {
  check_floating(name, "logits", logits);
  check_integers(name, "labels", labels);
  bool fits = logits.rank() == labels.rank() + 1;
  for (int axis = 0; fits && axis < labels.rank(); ++axis) {
    fits = !differ(logits.shape(axis), labels.shape(axis));
  }
  if (fits) return;
  throw ShapeError(std::string(name) + ": takes logits (..., classes) and labels (...): " +
                   described(logits) + ", " + described(labels) + place());
}

Rows rows_of(const Tensor& logits, const Tensor& labels) {
  if (labels.rank() == 1) return {logits, labels};
  const Dims shape(logits.shape().begin(), logits.shape().end() - 1);
  return {reshape(logits, {-1, logits.shape(-1)}), flatten(with_shape(labels, shape))};
}

Tensor as_index(const char* what, const Tensor& numbers) {
  return check(ge(numbers, 0), numbers, std::string(what) + " is negative");
}

Tensor checked(const char* what, const Tensor& numbers, const Dim& size) {
  return take(arange(size, numbers.dtype()), as_index(what, numbers));
}

namespace {

// Whether weights have the shape of x or of its first axes.
bool are_weights_of(const Tensor& weights, const Tensor& x) {
  bool fits = weights.rank() <= x.rank();
  for (int axis = 0; fits && axis < weights.rank(); ++axis) {
    fits = !differ(weights.shape(axis), x.shape(axis));
  }
  return fits;
}

// Weights of the first axes of x with as many axes as x, the further ones of size 1.
Tensor beside(const Tensor& x, const Tensor& weights) {
  const Dims sizes(x.shape().begin(), x.shape().begin() + weights.rank());
  Tensor each = with_shape(weights, sizes);
  while (each.rank() < x.rank()) each = expand_dims(each, each.rank());
  return each;
}

}  // namespace

Tensor where_counted(const Tensor& x, const Tensor& weights, double otherwise) {
  if (!weights || !are_weights_of(weights, x)) return x;
  return where(ne(beside(x, weights), 0), x, otherwise);
}

Tensor weights_for(const char* name, const Tensor& weights, const Tensor& labels) {
  if (!are_weights_of(weights, labels)) {
    throw ShapeError(std::string(name) + ": weights have the shape " + to_string(labels.shape()) +
                     " of the labels, or that of its first axes: " + described(weights) + place());
  }
  const Tensor each = beside(labels, weights);
  return weights.rank() < labels.rank() ? broadcast_to(each, labels.shape()) : each;
}

Tensor weighted_mean(const char* name, const Tensor& losses, const Tensor& weights) {
  if (!weights) return mean(losses);
  if (!are_weights_of(weights, losses)) {
    throw ShapeError(std::string(name) + ": weights have the shape " + to_string(losses.shape()) +
                     " of the losses, or that of its first axes: " + described(weights) + place());
  }
  Tensor each = cast(beside(losses, weights), losses.dtype());
  if (weights.rank() < losses.rank()) each = broadcast_to(each, losses.shape());
  const Tensor total = sum(each), is_any = ne(total, 0);
  const Tensor counted = where(ne(each, 0), losses, 0) * each;
  return where(is_any, sum(counted) / where(is_any, total, 1), 0);
}

}  // namespace kroton::nn
