// Samples of ops whose code is long: the sizes that each op is tested at, and one broadcast, where
// others have every shape in every dtype. Compilers of kernels take them all at once.
#pragma once
#include "compiler/ops/samples.h"

namespace kroton::ops {

inline std::vector<Sample> few_unary_samples(const UnarySamples& how) {
  std::vector<Sample> samples;
  const DType last = how.dtypes.back();
  for (const HostShape& shape : {HostShape{0}, {1}, {3}, {17}, {3, 5}}) {
    const DType dtype = shape.size() > 1 ? how.dtypes.front() : last;
    samples.push_back({{spread(dtype, shape, how.low, how.high)},
                       [f = how.function](std::span<const Tensor> x) { return f(x[0]); },
                       how.differentiable && is_float(dtype)});
  }
  return samples;
}

// One that is differentiated, of an op that takes long to compile.
inline Sample differentiable_sample(Tensor (*function)(const Operand&), double low, double high) {
  return {{spread(DType::f64, {3}, low, high)},
          [=](std::span<const Tensor> x) { return function(x[0]); }};
}

inline std::vector<Sample> few_binary_samples(const BinarySamples& how) {
  std::vector<Sample> samples;
  const DType last = how.dtypes.back();
  const std::vector<std::pair<HostShape, HostShape>> shapes = {
      {{0}, {0}}, {{1}, {1}}, {{3}, {}}, {{17}, {17}}, {{3, 1}, {5}}};
  for (const auto& [x, y] : shapes) {
    const DType dtype = x.size() > 1 ? how.dtypes.front() : last;
    samples.push_back(
        {{spread(dtype, x, how.low_x, how.high_x, 1), spread(dtype, y, how.low_y, how.high_y, 2)},
         [f = how.function](std::span<const Tensor> in) { return f(in[0], in[1]); },
         how.differentiable && is_float(dtype)});
  }
  return samples;
}

}  // namespace kroton::ops
