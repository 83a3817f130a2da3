#include "compiler/ops/samples.h"

#include <cmath>

#include "compiler/loop/scalar.h"

namespace kroton::ops {

namespace {

std::int64_t count_of(const HostShape& shape) {
  std::int64_t count = 1;
  for (std::int64_t size : shape) {
    count *= size;
  }
  return count;
}

}  // namespace

ReferenceValue values(DType dtype, const HostShape& shape, std::vector<Number> data) {
  return {dtype, shape, std::move(data)};
}

ReferenceValue spread(DType dtype, const HostShape& shape, double low, double high, int seed) {
  ReferenceValue result{dtype, shape, {}};
  for (std::int64_t i = 0; i < count_of(shape); ++i) {
    // Multiples of an irrational number, modulo 1, fill the unit interval evenly.
    const double position =
        static_cast<double>(i + 1) * 0.6180339887498949 + seed * 0.7548776662466927;
    double value = low + (high - low) * (position - std::floor(position));
    if (dtype == DType::boolean) {
      value = value > (low + high) / 2 ? 1 : 0;
    } else if (is_integer(dtype)) {
      value = std::floor(value + 0.5);
    } else {
      value = loop::scalar_from_real(value, dtype).real;
    }
    result.data.push_back(value);
  }
  return result;
}

std::vector<Sample> unary_samples(const UnarySamples& how) {
  const std::vector<HostShape> shapes = {{}, {0}, {1}, {3}, {17}, {3, 17}, {2, 0, 3}, {3, 1, 5}};
  std::vector<Sample> samples;
  for (DType dtype : how.dtypes) {
    for (const HostShape& shape : shapes) {
      samples.push_back({{spread(dtype, shape, how.low, how.high)},
                         [f = how.function](std::span<const Tensor> x) { return f(x[0]); },
                         how.differentiable && is_float(dtype)});
    }
  }
  if (!how.special.empty()) {
    const auto count = static_cast<std::int64_t>(how.special.size());
    samples.push_back({{values(DType::f64, {count}, {how.special.begin(), how.special.end()})},
                       [f = how.function](std::span<const Tensor> x) { return f(x[0]); },
                       how.differentiable});
  }
  return samples;
}

Sample kink_sample(const std::vector<std::vector<double>>& inputs, Apply apply, Apply smooth) {
  Sample sample{{}, std::move(apply), false, std::move(smooth)};
  for (const std::vector<double>& data : inputs) {
    const auto count = static_cast<std::int64_t>(data.size());
    sample.inputs.push_back(values(DType::f64, {count}, {data.begin(), data.end()}));
  }
  return sample;
}

std::vector<Sample> binary_samples(const BinarySamples& how) {
  const std::vector<std::pair<HostShape, HostShape>> shapes = {
      {{}, {}},         {{0}, {0}},       {{1}, {1}},          {{3}, {3}},
      {{17}, {17}},     {{3, 17}, {17}},  {{17}, {3, 1}},      {{3, 17}, {}},
      {{3, 1}, {1, 5}}, {{0, 3}, {1, 3}}, {{2, 1, 5}, {3, 1}}, {{1, 17}, {3, 17}}};
  std::vector<Sample> samples;
  for (DType dtype : how.dtypes) {
    for (const auto& [x, y] : shapes) {
      samples.push_back(
          {{spread(dtype, x, how.low_x, how.high_x, 1), spread(dtype, y, how.low_y, how.high_y, 2)},
           [f = how.function](std::span<const Tensor> in) { return f(in[0], in[1]); },
           how.differentiable && is_float(dtype)});
    }
  }
  return samples;
}

void add_samples(std::vector<Sample>& samples, const std::vector<HostShape>& shapes,
                 const Apply& apply, bool differentiable) {
  for (DType dtype : dtypes_of(floating)) {
    for (const HostShape& shape : shapes) {
      samples.push_back({{spread(dtype, shape, -2, 2)}, apply, differentiable});
    }
  }
}

}  // namespace kroton::ops
