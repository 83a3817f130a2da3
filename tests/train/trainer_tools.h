// A small task and a Trainer for it.
#pragma once
#include <kroton/kroton.h>

#include <cmath>
#include <utility>
#include <vector>

namespace trainer_tools {

namespace kt = kroton;

// Points of three clouds, and which one each is of.
struct Clouds {
  kt::Array points = kt::Array::normal({300, 2}, 1, 0, 0.4);
  kt::Array labels = kt::Array::zeros({300}, kt::i64);
  Clouds() {
    for (std::int64_t k = 0; k < 300; ++k) {
      labels(k) = k % 3;
      points(k, 0) += 2 * std::cos(2.1 * static_cast<double>(k % 3));
      points(k, 1) += 2 * std::sin(2.1 * static_cast<double>(k % 3));
    }
  }
  kt::data::Dataset dataset() const { return kt::data::from_arrays(points, labels); }
};

struct Setup {
  kt::Tensor x = kt::tensor("x", {kt::dim("batch"), 2});
  kt::Tensor labels = kt::vector("labels", kt::i64);
  kt::Shared rate;
  kt::optim::Adam adam;
  kt::nn::Trainer trainer;
  explicit Setup(double with_rate = 0.01, double dropout = 0)
      : rate(kt::shared(with_rate, "rate")),
        adam({.rate = rate}),
        trainer(
            (kt::nn::seed(1), kt::nn::Sequential{kt::nn::Dense(16, {.activation = kt::nn::tanh}),
                                                 kt::nn::Dropout(dropout), kt::nn::Dense(3)}),
            x, labels, kt::nn::cross_entropy_of, adam,
            {.metrics = {{"accuracy", kt::nn::accuracy}}, .state = {rate}}) {}
  std::vector<kt::Array> values() const {
    std::vector<kt::Array> all;
    for (const kt::Shared& variable : trainer.state()) all.push_back(variable.get_value());
    return all;
  }
};

}  // namespace trainer_tools
