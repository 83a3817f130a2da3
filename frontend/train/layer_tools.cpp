#include "frontend/train/layer_tools.h"

#include <kroton/ops.h>

namespace kroton::nn {

void fail(const char* layer, const std::string& what, const SourceLine& line) {
  throw ValueError(std::string(layer) + ": " + what + "  [" + to_string(line) + "]");
}

void fail_shape(const char* layer, const Tensor& x, const std::string& what,
                const SourceLine& line) {
  throw ShapeError(std::string(layer) + ": " + what + ": " + x.name() + " is " +
                   to_string(x.type()) + "  [" + to_string(line) + "]");
}

void check_floating(const char* layer, const Tensor& x, const SourceLine& line) {
  if (is_float(x.dtype())) return;
  throw TypeError(std::string(layer) + ": takes floating x: " + x.name() + " is " +
                  to_string(x.type()) + "  [" + to_string(line) + "]");
}

void check_input(const char* layer, const Tensor& x, int least, int most, const char* shape,
                 const SourceLine& line) {
  if (x.rank() < least || x.rank() > most) {
    fail_shape(layer, x, std::string("takes x ") + shape, line);
  }
  check_floating(layer, x, line);
}

void check_rate(const char* layer, const char* what, double rate, const SourceLine& line) {
  if (rate >= 0 && rate < 1) return;
  fail(layer, std::string(what) + " is " + to_string(Array(rate)) + ", expected one in [0, 1)",
       line);
}

bool differ(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  return difference.is_constant() && !difference.is_constant(0);
}

bool differ(const Dims& a, const Dims& b) {
  if (a.size() != b.size()) return true;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (differ(a[k], b[k])) return true;
  }
  return false;
}

bool may_repeat(const Dims& a, const Dims& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k].is_constant(1) != b[k].is_constant(1)) return true;
  }
  return false;
}

Tensor with_shape(const Tensor& x, const Dims& shape) {
  if (x.shape() == shape) return x;
  // An operation compares the sizes of two operands; those of an axis that it would repeat are
  // compared by their number of elements.
  Dims compared = shape;
  for (std::size_t k = 0; k < shape.size(); ++k) {
    const Dim& own = x.shape()[k];
    if (shape[k].is_constant(1) != own.is_constant(1)) compared[k] = own;
  }
  return reshape(where(full(compared, true), x, x), shape);
}

Dim count_of(const Dims& sizes) {
  Dim count = 1;
  for (const Dim& size : sizes) count = count * size;
  return count;
}

std::int64_t count_of(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

Tensor times_matrix(const Tensor& x, const Tensor& matrix) {
  Recorder::note_multiply_adds(count_of(x.shape()) * matrix.shape(1));
  return x.rank() > 2 ? matmul(x, matrix) : dot(x, matrix);
}

}  // namespace kroton::nn
