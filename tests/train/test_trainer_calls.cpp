// A Trainer over several calls: epochs that go on, what is frozen, optimizers that end, masks
// beside class weights, data that does not fit.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>

#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

namespace {

// The clouds, noting the epochs and the first row of each batch that are asked for.
struct Watched {
  std::vector<std::uint64_t> epochs;
  std::vector<std::uint32_t> first_rows;
  data::Dataset dataset =
      data::mapped(Clouds().dataset(), [this](data::Batch&, data::Rows rows, std::uint64_t epoch) {
        epochs.push_back(epoch);
        first_rows.push_back(rows[0]);
      });
  nn::FitOptions options{.epochs = 1, .batch = 150, .threads = 0};
};

void check_same(const std::vector<Array>& a, const std::vector<Array>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) CHECK(array_equal(a[k], b[k]));
}

}  // namespace

TEST_CASE("trainer: epochs go on over the calls of fit") {
  Watched in_one, in_many;
  Setup one, many;
  in_one.options.epochs = 3;
  one.trainer.fit(in_one.dataset, in_one.options);
  for (int call = 0; call < 3; ++call) {
    const auto history = many.trainer.fit(in_many.dataset, in_many.options);
    REQUIRE(history.size() == 1);
    CHECK(history[0].number == 1);
  }
  CHECK(in_one.epochs == std::vector<std::uint64_t>{0, 0, 1, 1, 2, 2});
  CHECK(in_many.epochs == in_one.epochs);
  CHECK(in_many.first_rows == in_one.first_rows);
  check_same(one.values(), many.values());
  // A row at fault is named as the data set knows it in later calls, too.
  Array wrong = Clouds().labels.copy();
  wrong(40) = 3;
  CHECK(contains(value_error([&] { many.trainer.fit(Clouds().points, wrong, {.batch = 7}); }),
                 "of the minibatch, example 40, whose label is 3: train: "));
}

TEST_CASE("trainer: the count of epochs is part of a checkpoint") {
  const TemporaryDirectory folder;
  const auto path = folder.file("training.safetensors");
  Watched whole, before, after, between, later;
  Setup uninterrupted, killed, resumed;
  whole.options.epochs = 2;
  uninterrupted.trainer.fit(whole.dataset, whole.options);
  uninterrupted.trainer.fit(whole.dataset, whole.options);
  // The second call is killed in its second epoch.
  before.options.epochs = after.options.epochs = 2;
  killed.trainer.fit(before.dataset, before.options);
  struct Interrupted {};
  before.options.callbacks = {nn::ModelCheckpoint(path, {.every_batches = 1}),
                              nn::LambdaCallback({.on_batch_end = [](nn::FitState& fit, auto&) {
                                if (fit.epoch == 2 && fit.batch == 1) throw Interrupted();
                              }})};
  CHECK_THROWS_AS(killed.trainer.fit(before.dataset, before.options), Interrupted);
  after.options.start = resumed.trainer.resume(path);
  CHECK(after.options.start.epoch == 2);
  CHECK(after.options.start.batch == 1);
  resumed.trainer.fit(after.dataset, after.options);
  CHECK(after.epochs == std::vector<std::uint64_t>{3});
  CHECK(whole.epochs == std::vector<std::uint64_t>{0, 0, 1, 1, 2, 2, 3, 3});
  check_same(uninterrupted.values(), resumed.values());
  // Saved between calls.
  killed.trainer.resume(path);
  uninterrupted.trainer.save(path);
  CHECK(killed.trainer.resume(path).epoch == 1);
  killed.trainer.fit(between.dataset, between.options);
  CHECK(between.epochs == std::vector<std::uint64_t>{4, 4});
  uninterrupted.trainer.fit(later.dataset, later.options);
  check_same(uninterrupted.values(), killed.values());
}

TEST_CASE("trainer: what is frozen after it was made is an error") {
  const Clouds clouds;
  Setup s;
  const std::string first = s.trainer.network().parameters()[0].name();
  CHECK(first == "dense1.weight");
  const auto step = [&] { s.trainer.train_minibatch(clouds.points, clouds.labels); };
  s.trainer.network().set_trainable(first, false);
  CHECK(value_error(step).starts_with(
      "Trainer: the parameter dense1.weight has been frozen since the Trainer was made: make the "
      "Trainer after set_trainable  ["));
  CHECK(contains(value_error([&] { s.trainer.fit(clouds.points, clouds.labels); }),
                 "dense1.weight has been frozen"));
  CHECK(std::isfinite(s.trainer.evaluate(clouds.points, clouds.labels).loss));
  s.trainer.network().set_trainable(first, true);
  step();
  // Frozen before, and no longer.
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  const nn::Sequential net{nn::Dense(4), nn::Dense(3)};
  net(x);
  net.set_trainable("dense1", false);
  optim::Sgd sgd;
  nn::Trainer trainer(net, x, labels, nn::cross_entropy_of, sgd);
  const Array kept = net.state()[0].get_value();
  trainer.fit(clouds.points, clouds.labels);
  CHECK(array_equal(net.state()[0].get_value(), kept));
  net.set_trainable("dense1.bias", true);
  CHECK(value_error([&] {
          trainer.fit(clouds.points, clouds.labels);
        }).starts_with("Trainer: the parameter dense1.bias has been made trainable since"));
}

TEST_CASE("trainer: it goes on without its optimizer") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  auto adam = std::make_unique<optim::Adam>(optim::AdamOptions{.rate = 0.01});
  nn::Trainer trainer(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, *adam);
  const std::size_t count = trainer.state().size();
  CHECK(count == 2 + adam->state().size() + 1);
  adam.reset();
  trainer.fit(clouds.points, clouds.labels);
  CHECK(trainer.state().size() == count);
  trainer.save(folder.file("a.safetensors"));
  trainer.resume(folder.file("a.safetensors"));
  CHECK(value_error(
            [&] { trainer.fit(clouds.points, clouds.labels, {.class_weights = {1, 1, 2}}); }) ==
        "fit: the optimizer is no longer there, which the first fit with class_weights takes  "
        "[here]");
}

TEST_CASE("trainer: class weights look at labels that count") {
  // Two labels of each row, of which the second one may be padding.
  const Array points = Array::normal({6, 2, 2}, 1);
  Array classes = Array::zeros({6, 2}, i64), mask = Array::ones({6, 2});
  for (std::int64_t k = 0; k < 6; ++k) {
    classes(k, 0) = k % 3;
    classes(k, 1) = k % 2 == 0 ? std::int64_t{-1} : k % 3;
    mask(k, 1) = k % 2;
  }
  const Tensor x = tensor("x", {dim("batch"), 2, 2}), labels = matrix("labels", i64);
  const Tensor there = matrix("mask");
  optim::Sgd none({.rate = 0.0});
  nn::Trainer trainer(nn::Sequential{nn::Dense(3)}, x, labels,
                      [there](const Tensor& output, const Tensor& wanted, const Tensor& weights) {
                        return nn::cross_entropy(output, wanted,
                                                 {.mask = weights ? there * weights : there});
                      },
                      none, {.mask = there});
  const data::Dataset dataset = data::mapped(
      data::from_arrays(points, classes), [&](data::Batch& batch, data::Rows rows, auto) {
        batch.mask = data::from_arrays(mask, mask).make(rows, 0).x;
      });
  const auto loss = [&](std::int64_t batch, const std::vector<double>& weights) {
    return trainer.fit(dataset, {.batch = batch, .class_weights = weights})[0].train.loss;
  };
  CHECK(loss(6, {1, 1, 1}) == doctest::Approx(loss(6, {})).epsilon(1e-6));
  CHECK(loss(2, {1, 4, 0.5}) == doctest::Approx(loss(6, {1, 4, 0.5})).epsilon(1e-5));
  classes(1, 1) = -1;
  CHECK(contains(value_error([&] {
                   trainer.fit(data::mapped(data::from_arrays(points, classes),
                                            [&](data::Batch& batch, data::Rows rows, auto) {
                                              batch.mask =
                                                  data::from_arrays(mask, mask).make(rows, 0).x;
                                            }),
                               {.shuffle = false, .class_weights = {1, 1, 1}});
                 }),
                 "there are 3 class_weights, and label 3 of the minibatch is -1"));
  for (const std::vector<double>& wrong : {std::vector<double>{1, 1}, {1, 1, 1, 1}}) {
    CHECK(value_error([&] { trainer.fit(dataset, {.class_weights = wrong}); }) ==
          "fit: there are " + std::to_string(wrong.size()) +
              " class_weights, the network gives 3 classes  [here]");
  }
}

TEST_CASE("trainer: a data set that makes other rows than asked for") {
  data::Dataset few = Clouds().dataset();
  few.make = [](data::Rows, std::uint64_t) {
    return data::Batch{Array::zeros({2, 2}), Array::zeros({2}, i64)};
  };
  Setup s;
  CHECK(value_error([&] { s.trainer.fit(few, {.batch = 32}); }) ==
        "epoch 1, batch 0: the data set was asked for 32 examples and has made 2");
  CHECK(value_error([&] { s.trainer.evaluate(few, 32); }) ==
        "evaluate: batch 0: the data set was asked for 32 examples and has made 2");
  CHECK(s.trainer.steps() == 0);
  few.count = 2;
  s.trainer.fit(few, {.batch = 32});
}

TEST_CASE("trainer: data that is not finite is named") {
  const Clouds clouds;
  Array bad = clouds.points.copy();
  bad(43, 1) = std::nan("");
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  optim::Sgd sgd;
  nn::Trainer checked(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, sgd,
                      {.check = Check::values});
  CHECK(value_error([&] { checked.fit(bad, clouds.labels, {.batch = 10, .shuffle = false}); }) ==
        "epoch 1, batch 4: Trainer: the loss of step 5 is nan; x of the minibatch holds nan in row "
        "3, example 43");
  const Tensor y = tensor("y", {dim("batch"), 1});
  nn::Trainer plain(nn::Sequential{nn::Dense(1)}, x, y, nn::mean_squared_error, sgd);
  Array targets = Array::zeros({300, 1});
  targets(7, 0) = HUGE_VAL;
  CHECK(value_error([&] { plain.train_minibatch(clouds.points, targets); }) ==
        "Trainer: the loss of step 1 is inf; the labels of the minibatch hold inf in row 7");
}

namespace {

struct Net {
  nn::Dense first{8, {.activation = nn::tanh}}, second{3};
  Tensor operator()(const Tensor& x) const { return second(first(x)); }
};

}  // namespace

TEST_CASE("trainer: structs and lambdas and measures with defaults are taken as they are") {
  const Clouds clouds;
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  optim::Adam adam({.rate = 0.01});
  nn::Trainer of_struct(Net{}, x, labels, nn::cross_entropy, adam);
  CHECK(of_struct.network().parameters().size() == 4);
  const auto history = of_struct.fit(clouds.points, clouds.labels, {.epochs = 5});
  CHECK(history.back().train.loss < history.front().train.loss);
  const Net net;
  nn::Trainer of_lambda([net](const Tensor& in) { return net(in); }, x, labels, nn::focal, adam);
  CHECK(of_lambda.network().parameters().size() == 4);
  of_lambda.fit(clouds.points, clouds.labels);
  // Predicting would not be what was trained.
  CHECK(value_error([&] {
          nn::Trainer([](const Tensor& in) { return nn::Dense(3)(in); }, x, labels,
                      nn::cross_entropy_of, adam);
        }) ==
        "Trainer: the network makes new parameters when it is called again, as layer1.weight: "
        "layers are made once, outside of the function that calls them  [here]");
  const Tensor y = vector("y");
  nn::Trainer binary([dense = nn::Dense(1)](const Tensor& in) { return dense(in)(all, 0); }, x, y,
                     nn::huber, adam, {.metrics = {{"accuracy", nn::binary_accuracy}}});
  const Array given = Array::normal({16, 2}, 3), predicted = binary.predict(given);
  double right = 0;
  for (std::int64_t k = 0; k < 16; ++k) right += predicted(k).item<float>() > 0 ? 1 : 0;
  CHECK(binary.evaluate(given, Array::ones({16}))["accuracy"] == right / 16);
}
