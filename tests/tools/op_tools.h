// Helpers for tests on op records: inputs, evaluation and costs of samples.
#pragma once
#include <kroton/ops.h>

#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/samples.h"

namespace op_test {

using namespace kroton;  // NOLINT: tests

using Bindings = std::map<const Node*, ReferenceValue>;

struct Case {
  std::vector<Tensor> inputs;
  Tensor output;
  Bindings bindings;
};

// The op of the sample on inputs of the sample's sizes; with `free_sizes`, on inputs whose sizes
// other than 1 are free.
inline Case make_case(const Sample& sample, bool free_sizes = false) {
  Case result;
  for (const ReferenceValue& value : sample.inputs) {
    const std::string name = "x" + std::to_string(result.inputs.size());
    Dims shape;
    for (std::int64_t size : value.shape) {
      const std::string axis = name + "." + std::to_string(shape.size());
      shape.push_back(free_sizes && size != 1 ? Dim::fresh(axis) : Dim(size));
    }
    result.inputs.push_back(make_input(name, {value.dtype, shape}, {__FILE__, __LINE__}));
    result.bindings[&result.inputs.back().node()] = value;
  }
  result.output = sample.apply(result.inputs);
  return result;
}

inline ReferenceValue value_of(const Tensor& output, const Bindings& bindings = {}) {
  return evaluate(std::span(&output, 1), bindings).front();
}

// A scalar that depends on every element of y with a weight of its own.
inline Tensor cost_of(const Tensor& y, const ReferenceValue& value, int seed) {
  Array weights = Array::empty(Shape(value.shape), value.dtype);
  const ReferenceValue spread = ops::spread(value.dtype, value.shape, 0.5, 1.5, seed);
  for (std::size_t i = 0; i < spread.data.size(); ++i) {
    if (value.dtype == DType::f32) {
      weights.data<float>()[i] = static_cast<float>(spread.data[i]);
    } else {
      weights.data<double>()[i] = spread.data[i];
    }
  }
  return sum(y * weights);
}

inline bool equal(const Number& a, const Number& b) { return a == b || (a != a && b != b); }

}  // namespace op_test
