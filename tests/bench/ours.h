// The cases of this project, as programs against its public header.
#pragma once

#include <kroton/kroton.h>

#include "bench.h"

namespace bench {

Case gemm_case(const Parts& parts);         // gemm/f32/TN/MxNxK
Case mlp_case(const Parts& parts);          // mlp/BATCH
Case call_case(const Parts& parts);         // call/add, call/logistic25
Case elementwise_case(const Parts& parts);  // elementwise/mix/COUNT/given
Case rows_case(const Parts& parts);         // softmax/ROWSxCOLUMNS, layernorm/..., sum/rows/...
Case scan_case(const Parts& parts);         // scan/sum/forward
Case lstm_case(const Parts& parts);         // lstm/state, lstm/VxHxBxT
Case compile_case(const Parts& parts);      // compile/logistic, mlp, ..., chainN
Case memory_case(const Parts& parts);       // memory/mlp/arena
Case class_case(const Parts& parts);        // classes/FAMILY/WHAT/SIZES, classes/compile/...
Case conv_case(const Parts& parts);         // conv/LAYER/forward, input, filter
Case network_case(const Parts& parts);      // cnn/cifar/BATCH, vgg/forward/..., resnet/50/...
Case published_case(const Parts& parts);    // published/gmm/value/1000x10x25, ...
Case train_case(const Parts& parts);        // train/cifar, train/cifar/first

// A training step with its arguments, for the cases that run it and those that compile it.
struct Step {
  std::vector<kroton::Tensor> inputs;
  kroton::Tensor loss;
  kroton::FunctionOptions options;
  std::vector<kroton::Array> arguments;
};
Step logistic_step();
Step mlp_step(std::int64_t batch);
Step lstm_step();

// Elements of `element`, as an Array.
inline kroton::Array filled(const kroton::Shape& shape, std::size_t seed, double scale = 1,
                            kroton::DType dtype = kroton::f32) {
  kroton::Array array = kroton::Array::empty(shape, dtype);
  const auto fill = [&](auto elements) {
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i] = static_cast<typename decltype(elements)::value_type>(element(i, seed, scale));
    }
  };
  if (dtype == kroton::f64) {
    fill(array.data<double>());
  } else {
    fill(array.data<float>());
  }
  return array;
}

// i * 7 modulo `classes`.
inline kroton::Array class_numbers(const kroton::Shape& shape, std::int64_t classes) {
  kroton::Array array = kroton::Array::empty(shape, kroton::i64);
  auto elements = array.data<std::int64_t>();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<std::int64_t>(i * 7) % classes;
  }
  return array;
}

// The function of a step, called with its arguments; its values are the losses of three calls.
inline Case training_case(Step step) {
  const auto train = kroton::function(step.inputs, step.loss, std::move(step.options));
  const auto arguments = std::make_shared<std::vector<kroton::Array>>(std::move(step.arguments));
  const auto call = [train, arguments] {
    const std::vector<kroton::Argument> views(arguments->begin(), arguments->end());
    return train.call(views).item<double>();
  };
  return {[call] { call(); }, [call] { return std::vector<double>{call(), call(), call()}; }};
}

}  // namespace bench
