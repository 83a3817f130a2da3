// Makers of samples: deterministic values, away from the kinks of the op at hand by the choice of
// their range.
#pragma once
#include <kroton/ops.h>

#include "compiler/ops/draw.h"

namespace kroton::ops {

using HostShape = std::vector<std::int64_t>;
using Apply = std::function<Tensor(std::span<const Tensor>)>;

// Values spread over [low, high] without repetition (floating), or over its integers. Different
// seeds give different values. f32 values are representable. Booleans are mixed.
ReferenceValue spread(DType dtype, const HostShape& shape, double low, double high, int seed = 1);
// The given values.
ReferenceValue values(DType dtype, const HostShape& shape, std::vector<Number> data);

// What a family of samples is made of.
struct UnarySamples {
  Tensor (*function)(const Operand&);
  double low = -2, high = 2;
  std::vector<DType> dtypes = dtypes_of(floating);
  bool differentiable = true;
  std::vector<double> special =
      {};  // further values, in f64: zeros, and where the result saturates
};
// Shapes (), (0,), (1,), (3,), (17,), (3, 1, 5), ... in each dtype.
std::vector<Sample> unary_samples(const UnarySamples& how);

struct BinarySamples {
  Tensor (*function)(const Operand&, const Operand&);
  double low_x = -2, high_x = 2;
  double low_y = -2, high_y = 2;
  std::vector<DType> dtypes = dtypes_of(floating);
  bool differentiable = true;
};
// Equal shapes, and shapes that broadcast either operand, in each dtype.
std::vector<Sample> binary_samples(const BinarySamples& how);

// A sample at kinks, of f64 vectors: the op is differentiated as `smooth`.
Sample kink_sample(const std::vector<std::vector<double>>& inputs, Apply apply, Apply smooth);

// One sample on values spread over [-2, 2] for each shape, in f32 and f64.
void add_samples(std::vector<Sample>& samples, const std::vector<HostShape>& shapes,
                 const Apply& apply, bool differentiable = true);

}  // namespace kroton::ops
