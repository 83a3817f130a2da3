// What layers have in common: checks of what they are called on, products that are counted.
#pragma once
#include <kroton/error.h>
#include <kroton/nn_layers.h>

#include <string>

#include "frontend/train/lines.h"

namespace kroton::nn {

[[noreturn]] void fail(const char* layer, const std::string& what, const SourceLine& line);
[[noreturn]] void fail_shape(const char* layer, const Tensor& x, const std::string& what,
                             const SourceLine& line);

// ShapeError unless x has as many axes as `least` to `most`, TypeError unless it is floating;
// `shape` says what is expected: "(batch, channels, ...)".
void check_input(const char* layer, const Tensor& x, int least, int most, const char* shape,
                 const SourceLine& line);
void check_floating(const char* layer, const Tensor& x, const SourceLine& line);
// ValueError unless it is in [0, 1).
void check_rate(const char* layer, const char* what, double rate, const SourceLine& line);

// Whether two sizes are known to differ.
bool differ(const Dim& a, const Dim& b);
bool differ(const Dims& a, const Dims& b);

// Whether an axis of size 1 meets one of free size, which operations would repeat it for.
bool may_repeat(const Dims& a, const Dims& b);
// x under this shape, of the same rank: where its sizes are not known to be those, a ShapeError of
// the call unless they are, axis by axis.
Tensor with_shape(const Tensor& x, const Dims& shape);

inline Tensor activated(const Activation& activation, const Tensor& x) {
  return activation ? activation(x) : x;
}
// A size as a number for initial values: 1 where it is free.
inline std::int64_t known(const Dim& size) { return size.is_constant() ? size.constant() : 1; }
inline std::size_t index_of(int axis) { return static_cast<std::size_t>(axis); }

Dim count_of(const Dims& sizes);
std::int64_t count_of(const std::vector<std::int64_t>& sizes);

// The product with a matrix along x's last axis, noted by the recorders.
Tensor times_matrix(const Tensor& x, const Tensor& matrix);

}  // namespace kroton::nn
