// The trainer: minibatches, whole arrays, validation, early stopping, errors.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

// Points of three clouds, and which one each is of.
struct Clouds {
  Array points = Array::normal({300, 2}, 1, 0, 0.4);
  Array labels = Array::zeros({300}, i64);
  Clouds() {
    for (std::size_t k = 0; k < 300; ++k) {
      labels.data<std::int64_t>()[k] = static_cast<std::int64_t>(k % 3);
      points.data<float>()[2 * k] +=
          static_cast<float>(2 * std::cos(2.1 * static_cast<double>(k % 3)));
      points.data<float>()[2 * k + 1] +=
          static_cast<float>(2 * std::sin(2.1 * static_cast<double>(k % 3)));
    }
  }
};

struct Setup {
  Tensor x = tensor("x", {dim("batch"), 2});
  Tensor labels = vector("labels", i64);
  optim::Adam adam;
  nn::Trainer trainer;
  explicit Setup(double rate = 0.01)
      : adam({.rate = rate}),
        trainer(
            (nn::seed(1), nn::Sequential{nn::Dense(16, {.activation = nn::tanh}), nn::Dense(3)}), x,
            labels, nn::cross_entropy_of, adam,
            {.metric = nn::accuracy, .metric_name = "accuracy"}) {}
};

}  // namespace

TEST_CASE("trainer: fits, tests and predicts, and the history says what the lines do") {
  const Clouds clouds;
  Setup s;
  std::ostringstream lines;
  const std::vector<nn::Epoch> history =
      s.trainer.fit(clouds.points, clouds.labels,
                    {.epochs = 12, .batch = 32, .validation_split = 0.2, .progress = &lines});
  REQUIRE(history.size() == 12);
  CHECK(s.trainer.steps() == 12 * 8);
  CHECK(history.front().train.loss > history.back().train.loss);
  REQUIRE(history.back().validation.has_value());
  CHECK(history.back().validation->metric > 0.95);
  const std::string text = lines.str();
  CHECK(text.starts_with("epoch 1/12  loss "));
  CHECK(text.find("  validation: loss ") != std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 12);
  const nn::Measured tested = s.trainer.evaluate(clouds.points, clouds.labels, 77);
  const nn::Measured in_one = s.trainer.test_minibatch(clouds.points, clouds.labels);
  CHECK(tested.loss == doctest::Approx(in_one.loss).epsilon(1e-5));
  CHECK(tested.metric == doctest::Approx(in_one.metric).epsilon(1e-5));
  const Array logits = s.trainer.predict(clouds.points, 77);
  CHECK(logits.shape() == Shape({300, 3}));
  CHECK(all_close(logits, s.trainer.predict(clouds.points, 300), 1e-5, 1e-5));
}

TEST_CASE("trainer: the same seeds train the same network") {
  const Clouds clouds;
  Setup first, second;
  for (Setup* s : {&first, &second}) s->trainer.fit(clouds.points, clouds.labels, {.epochs = 2});
  const auto a = first.trainer.state(), b = second.trainer.state();
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k + 1 < a.size(); ++k) {
    CHECK(array_equal(a[k].get_value(), b[k].get_value()));
  }
}

TEST_CASE("trainer: early stopping brings the best state back") {
  const Clouds clouds;
  Setup s(3.0);  // far too fast: the loss goes up and down
  const std::vector<nn::Epoch> history =
      s.trainer.fit(clouds.points, clouds.labels,
                    {.epochs = 60, .validation_split = 0.2, .patience = 3, .keep_best = true});
  CHECK(history.size() < 60);
  double least = history[0].validation->loss;
  for (const nn::Epoch& epoch : history) least = std::min(least, epoch.validation->loss);
  Array last = Array::zeros({60, 2}), of_last = Array::zeros({60}, i64);
  for (std::size_t k = 0; k < 60; ++k) {
    of_last.data<std::int64_t>()[k] = clouds.labels.data<std::int64_t>()[240 + k];
    for (std::size_t j = 0; j < 2; ++j) {
      last.data<float>()[2 * k + j] = clouds.points.data<float>()[2 * (240 + k) + j];
    }
  }
  CHECK(s.trainer.evaluate(last, of_last).loss == doctest::Approx(least).epsilon(1e-5));
  int called = 0;
  s.trainer.fit(clouds.points, clouds.labels, {.epochs = 9, .after_epoch = [&](const nn::Epoch& e) {
                                                 ++called;
                                                 return e.number < 2;
                                               }});
  CHECK(called == 2);
}

TEST_CASE("trainer: errors") {
  const Clouds clouds;
  Setup s;
  CHECK(shape_error([&] { s.trainer.fit(clouds.points, Array::zeros({3}, i64)); }) ==
        "fit: x is (300, 2), labels are (3,): both have an example in each row");
  CHECK(value_error([&] { s.trainer.fit(clouds.points, clouds.labels, {.batch = 0}); }) ==
        "Trainer: batch is 0");
  CHECK(value_error([&] {
          s.trainer.fit(clouds.points, clouds.labels, {.validation_split = 1});
        }) == "Trainer: validation_split is 1.0, expected one in [0, 1)");
  CHECK(value_error([&] { s.trainer.fit(Array::zeros({0, 2}), Array::zeros({0}, i64)); }) ==
        "Trainer: there are no examples to train on");
  Array wrong = clouds.labels.copy();
  wrong.data<std::int64_t>()[5] = 3;
  CHECK(value_error([&] {
          s.trainer.fit(clouds.points, wrong, {.batch = 300});
        }).starts_with("train: "));
  Array bad = clouds.points.copy();
  bad.data<float>()[0] = std::nanf("");
  CHECK(value_error([&] { s.trainer.train_minibatch(bad, clouds.labels); }) ==
        "Trainer: the loss of step 1 is nan");
}
