// Trainers of networks with several inputs and outputs.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/tools/error_text.h"
#include "tests/train/trainer_tools.h"

namespace test_trainer_lists {

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

namespace {

// Points and a number beside them; wanted are a number and a class.
struct Task {
  Array points = Array::normal({60, 2}, 1), beside = Array::normal({60, 1}, 2);
  Array prices = Array::zeros({60, 1}), kinds = Array::zeros({60}, i64);
  Task() {
    for (std::int64_t k = 0; k < 60; ++k) {
      const double sum = points(k, 0).item<double>() + 2 * beside(k, 0).item<double>();
      prices(k, 0) = sum;
      kinds(k) = sum > 0.5 ? std::int64_t{2} : sum > -0.5 ? std::int64_t{1} : std::int64_t{0};
    }
  }
  data::Dataset dataset() const { return data::from_arrays({points, beside}, {prices, kinds}); }
};

struct Net {
  nn::Dense left{4, {.activation = nn::tanh, .name = "left"}}, right{4, {.name = "right"}};
  nn::Dense price{1, {.name = "price"}}, kind{3, {.name = "kind"}};
  nn::Tensors operator()(const nn::Tensors& in) const {
    const Tensor both = concatenate({left(in[0]), right(in[1])}, 1);
    return {price(both), kind(both)};
  }
};

const Tensor points = tensor("points", {dim("batch"), 2}),
             beside = tensor("beside", {dim("batch"), 1});
const Tensor prices = tensor("prices", {dim("batch"), 1}),
             kinds = tensor("kinds", {dim("batch")}, i64);

nn::Trainer two_of(optim::Optimizer& by, const nn::TrainerOptions& options = {}) {
  nn::seed(5);
  return nn::Trainer(Net{}, {points, beside}, {prices, kinds},
                     {{.measure = nn::mean_squared_error, .name = "price"},
                      {.measure = nn::cross_entropy_of, .weight = 0.25, .name = "kind"}},
                     by, options);
}

}  // namespace

TEST_CASE("trainer of lists: a step is that of the sum of the losses") {
  const Task task;
  optim::Adam adam({.rate = 0.01}), by_hand({.rate = 0.01});
  nn::Trainer trainer = two_of(adam);
  nn::seed(5);
  const Net net;
  const nn::Recorder recorder;
  const nn::Tensors outputs = net({points, beside});
  const Tensor loss =
      nn::mean_squared_error(outputs[0], prices) + 0.25 * nn::cross_entropy(outputs[1], kinds);
  const auto step = function({points, beside, prices, kinds}, loss,
                             {.updates = by_hand.minimize(loss, recorder.parameters())});
  for (int k = 0; k < 5; ++k) {
    const nn::Measured got = trainer.train_minibatch({.x = task.points,
                                                      .labels = task.prices,
                                                      .more_x = {task.beside},
                                                      .more_labels = {task.kinds}});
    const double wanted = step(task.points, task.beside, task.prices, task.kinds).item<double>();
    CHECK(got.loss == doctest::Approx(wanted).epsilon(1e-5));
    CHECK(got.loss == doctest::Approx(got["price_loss"] + 0.25 * got["kind_loss"]).epsilon(1e-6));
  }
  const auto a = trainer.network().parameters(), b = recorder.parameters();
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    CHECK(all_close(a[k].get_value(), b[k].get_value(), 1e-5, 1e-6));
  }
}

TEST_CASE("trainer of lists: fits and tests and predicts all outputs") {
  const Task task;
  optim::Adam adam({.rate = 0.02});
  nn::Trainer trainer =
      two_of(adam, {.metrics = {{.name = "accuracy", .measure = nn::accuracy, .output = 1}}});
  const auto history = trainer.fit({task.points, task.beside}, {task.prices, task.kinds},
                                   {.epochs = 30, .batch = 7, .validation_split = 0.2});
  CHECK(history.back().train.loss < history.front().train.loss / 4);
  std::string names;
  for (const auto& [name, value] : history.back().values()) names += name + ' ';
  CHECK(names ==
        "loss price_loss kind_loss accuracy validation_loss validation_price_loss "
        "validation_kind_loss validation_accuracy ");
  // What is measured does not depend on the batches.
  const nn::Measured whole =
      trainer.evaluate({task.points, task.beside}, {task.prices, task.kinds});
  CHECK(whole.loss ==
        doctest::Approx(whole["price_loss"] + 0.25 * whole["kind_loss"]).epsilon(1e-6));
  for (const std::int64_t batch : {1, 7}) {
    const nn::Measured other = trainer.evaluate(task.dataset(), batch);
    for (const auto& [name, value] : whole.metrics) {
      INFO(name);
      CHECK(other[name] == doctest::Approx(value).epsilon(1e-5));
    }
    CHECK(other.loss == doctest::Approx(whole.loss).epsilon(1e-5));
  }
  const std::vector<Array> predicted = trainer.predict_all({task.points, task.beside}, 7);
  REQUIRE(predicted.size() == 2);
  CHECK(predicted[0].shape() == Shape({60, 1}));
  CHECK(predicted[1].shape() == Shape({60, 3}));
  CHECK(array_equal(predicted[1], trainer.predict_all(task.dataset(), 60)[1]));
  double right = 0;
  for (std::int64_t k = 0; k < 60; ++k) {
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < 3; ++c) {
      if (predicted[1](k, c).item<float>() > predicted[1](k, best).item<float>()) best = c;
    }
    right += best == task.kinds(k).item<std::int64_t>() ? 1 : 0;
  }
  CHECK(whole["accuracy"] == doctest::Approx(right / 60));
  CHECK(value_error([&] { trainer.predict({task.points, task.beside}); }) ==
        "predict: the network gives 2 outputs, which predict_all returns");
}

TEST_CASE("trainer of lists: several inputs of one output and a loss of all outputs") {
  const Task task;
  optim::Adam adam({.rate = 0.02});
  nn::seed(2);
  const nn::Dense of_both(1);
  nn::Trainer regression(
      [of_both](const nn::Tensors& in) { return of_both(concatenate({in[0], in[1]}, 1)); },
      {points, beside}, {prices}, {{.measure = nn::mean_squared_error}}, adam);
  const auto history =
      regression.fit({task.points, task.beside}, {task.prices}, {.epochs = 60, .batch = 10});
  CHECK(history.back()["loss"] < 0.05);
  CHECK(regression.predict({task.points, task.beside}, 7).shape() == Shape({60, 1}));

  // Three pictures by one network, and no labels.
  nn::seed(2);
  const nn::Sequential place{nn::Dense(8, {.activation = nn::tanh}), nn::Dense(2)};
  const Tensor other = tensor("other", {dim("batch"), 2}),
               third = tensor("third", {dim("batch"), 2});
  nn::Trainer triplets(
      [place](const nn::Tensors& in) {
        return nn::Tensors{place(in[0]), place(in[1]), place(in[2])};
      },
      {points, other, third}, {},
      {{.measure = [](const nn::Tensors& out,
                      const nn::Tensors&) { return nn::triplet(out[0], out[1], out[2]); }}},
      adam);
  Array near = task.points.copy();
  for (std::int64_t k = 0; k < 60; ++k) near(k, 0) += 0.1;
  const Array far = Array::normal({60, 2}, 8);
  CHECK(triplets.network().parameters().size() == 4);
  const auto learned = triplets.fit({task.points, near, far}, {}, {.epochs = 30, .batch = 9});
  CHECK(learned.back().train.loss < learned.front().train.loss);
  const double whole = triplets.evaluate({task.points, near, far}, {}).loss;
  CHECK(triplets.evaluate({task.points, near, far}, {}, 7).loss ==
        doctest::Approx(whole).epsilon(1e-5));
  // Lists of one and of none.
  nn::Trainer alone([place](const nn::Tensors& in) { return place(in[0]); }, {points}, {},
                    {{.measure = [](const nn::Tensors& out,
                                    const nn::Tensors&) { return mean(square(out[0])); }}},
                    adam);
  alone.fit({task.points}, {}, {.epochs = 1});
  CHECK(alone.evaluate({task.points}, {}, 7).loss ==
        doctest::Approx(alone.evaluate({task.points}, {}).loss).epsilon(1e-5));
  CHECK(triplets.predict_all({task.points, near, far})[2].shape() == Shape({60, 2}));
}

TEST_CASE("trainer of lists: errors") {
  const Task task;
  optim::Sgd sgd;
  using Losses = std::vector<nn::OutputLoss>;
  const auto make = [&](const nn::Tensors& labels, Losses losses,
                        std::vector<nn::Metric> metrics = {}) {
    nn::Trainer(Net{}, {points, beside}, labels, std::move(losses), sgd,
                {.metrics = std::move(metrics)});
  };
  const nn::OutputLoss mse{.measure = nn::mean_squared_error, .name = "a"};
  const nn::OutputLoss entropy{.measure = nn::cross_entropy_of, .name = "b"};
  const nn::OutputLoss of_all{
      .measure = [](const nn::Tensors& out, const nn::Tensors&) { return mean(out[0]); }};
  CHECK(value_error([&] { make({prices, kinds}, {mse}); }) ==
        "Trainer: there are 1 losses and 2 labels, expected one of each for each output  [here]");
  CHECK(value_error([&] { make({prices}, {mse}); }) ==
        "Trainer: the network  [here]: it gives 2 outputs, there are 1 labels");
  CHECK(value_error([&] { make({prices, kinds}, {mse, mse}); }) ==
        "Trainer: two measures are called a_loss  [here]");
  CHECK(value_error([&] { make({prices, kinds}, {mse, of_all}); }) ==
        "Trainer: the loss output2 is of all outputs: it is to be the only one  [here]");
  CHECK(value_error([&] {
          make({prices, kinds}, {mse, {.measure = nn::cross_entropy_of, .weight = -1}});
        }) ==
        "Trainer: the weight of the loss output2 is -1.0, expected a finite one of at least 0  "
        "[here]");
  CHECK(value_error([&] { make({prices, kinds}, {mse, {}}); }) ==
        "Trainer: the loss output2 is an empty function  [here]");
  CHECK(value_error([&] {
          make({prices, kinds}, {mse, entropy},
               {{.name = "accuracy", .measure = nn::accuracy, .output = 2}});
        }) == "Trainer: the metric accuracy is of output 2, there are labels of 2  [here]");
  CHECK(
      contains(shape_error([&] { make({kinds, prices}, {mse, entropy}); }),
               "Trainer: the loss a  [here]: mean_squared_error: takes two tensors of one shape"));
  CHECK(value_error([&] { make({prices, {}}, {mse, entropy}); }) ==
        "Trainer: the variables x and labels are not to be empty  [here]");

  nn::Trainer trainer = two_of(sgd);
  CHECK(value_error([&] { trainer.train_minibatch(task.points, task.prices); }) ==
        "Trainer: there are 2 inputs, the batch has 1");
  CHECK(value_error([&] {
          trainer.train_minibatch(
              {.x = task.points, .labels = task.prices, .more_x = {task.beside}});
        }) == "Trainer: there are 2 labels, the batch has 1");
  CHECK(shape_error([&] {
          trainer.train_minibatch({.x = task.points,
                                   .labels = task.prices,
                                   .more_x = {Array::zeros({3, 1})},
                                   .more_labels = {task.kinds}});
        }) ==
        "train_minibatch: x is (60, 2), more_x[0] is (3, 1): all have an example in each row");
  CHECK(
      shape_error(
          [&] { trainer.fit({task.points, Array::zeros({3, 1})}, {task.prices, task.kinds}); }) ==
      "fit  [here]: from_arrays: x are (60, 2) and (3, 1), labels are (60, 1) and (60,): all have "
      "an example in each row");
  CHECK(value_error([&] { (void)data::from_arrays(std::vector<Array>{}, {}); }) ==
        "from_arrays: there is no x");
  CHECK(value_error([&] {
          trainer.fit({task.points, task.beside}, {task.prices, task.kinds},
                      {.class_weights = {1, 1, 1}});
        }).starts_with("fit: class_weights are for networks of one output, this one has 2 labels"));
  // A label that is no class, and what is not finite, are found.
  Array wrong = task.kinds.copy();
  wrong(40) = 7;
  CHECK(value_error([&] {
          trainer.fit({task.points, task.beside}, {task.prices, wrong},
                      {.batch = 60, .shuffle = false});
        }).starts_with("epoch 1, batch 0: row 40 of the minibatch, example 40: train: "));
  Array bad = task.beside.copy();
  bad(3, 0) = std::nan("");
  CHECK(contains(value_error([&] {
                   trainer.fit({task.points, bad}, {task.prices, task.kinds}, {.shuffle = false});
                 }),
                 "is nan; more_x[0] of the minibatch holds nan in row 3, example 3"));
}

}  // namespace test_trainer_lists
