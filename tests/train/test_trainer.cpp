// The trainer: minibatches, data sets, what is measured, resumption, errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

TEST_CASE("trainer: fits and tests and predicts and the history says what the lines do") {
  const Clouds clouds;
  Setup s;
  std::ostringstream lines;
  const std::vector<nn::Epoch> history =
      s.trainer.fit(clouds.points, clouds.labels,
                    {.epochs = 12, .batch = 32, .validation_split = 0.2, .progress = &lines});
  REQUIRE(history.size() == 12);
  CHECK(s.trainer.steps() == 12 * 8);
  CHECK(s.trainer.examples() == 12 * 240);
  CHECK(history.back().steps == 12 * 8);
  CHECK(history.front().train.loss > history.back().train.loss);
  REQUIRE(history.back().validation.has_value());
  CHECK(history.back()["validation_accuracy"] > 0.95);
  CHECK(history.back()["validation_accuracy"] == (*history.back().validation)["accuracy"]);
  const std::string text = lines.str();
  CHECK(text.starts_with("epoch 1/12  loss "));
  CHECK(contains(text, "  validation: loss "));
  CHECK_FALSE(contains(text, "\r"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 12);
  const nn::Measured tested = s.trainer.evaluate(clouds.points, clouds.labels, 77);
  const nn::Measured in_one = s.trainer.test_minibatch(clouds.points, clouds.labels);
  CHECK(tested.loss == doctest::Approx(in_one.loss).epsilon(1e-5));
  CHECK(tested["accuracy"] == doctest::Approx(in_one["accuracy"]).epsilon(1e-5));
  const nn::Measured of_dataset = s.trainer.evaluate(clouds.dataset(), 77);
  CHECK(of_dataset.loss == tested.loss);
  const Array logits = s.trainer.predict(clouds.points, 77);
  CHECK(logits.shape() == Shape({300, 3}));
  CHECK(array_equal(logits, s.trainer.predict(clouds.dataset(), 77)));
  CHECK(all_close(logits, s.trainer.predict(clouds.points, 300), 1e-5, 1e-5));
  CHECK(s.trainer.predict(Array::zeros({0, 2})).shape() == Shape({0, 3}));
  CHECK(s.trainer.predict(Array::zeros({1, 2})).shape() == Shape({1, 3}));
}

TEST_CASE("trainer: the same seeds train the same network however many threads make batches") {
  const Clouds clouds;
  Setup first, second;
  const auto history = first.trainer.fit(clouds.points, clouds.labels, {.epochs = 2});
  const auto again = second.trainer.fit(
      data::mapped(clouds.dataset(), [](data::Batch&, data::Rows, std::uint64_t) {}),
      {.epochs = 2, .threads = 3, .ahead = 1});
  const auto a = first.trainer.state(), b = second.trainer.state();
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    INFO(a[k].name());
    CHECK(array_equal(a[k].get_value(), b[k].get_value()));
  }
  CHECK(history[1].train.loss == again[1].train.loss);
}

TEST_CASE("trainer: measures of a data set do not depend on its batches") {
  const Clouds clouds;
  Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  optim::Sgd sgd({.rate = 0.1});
  nn::seed(3);
  const auto macro_f1 = [](const Array& confusion) {
    double sum = 0;
    for (std::int64_t k = 0; k < 3; ++k) {
      double row = 0, column = 0;
      for (std::int64_t j = 0; j < 3; ++j) {
        row += confusion(k, j);
        column += confusion(j, k);
      }
      sum += row + column == 0 ? 0 : 2 * confusion(k, k) / (row + column);
    }
    return sum / 3;
  };
  nn::Trainer trainer(
      nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, sgd,
      {.metrics = {{"perplexity", nn::cross_entropy_of,
                    [](const Array& mean) { return std::exp(mean.item<double>()); }},
                   {"f1", nn::confusion_matrix, macro_f1},
                   {"top2", [](const Tensor& logits, const Tensor& classes) {
                      return nn::top_k_accuracy(logits, classes, 2);
                    }}}});
  const nn::Measured whole = trainer.evaluate(clouds.points, clouds.labels, 300);
  CHECK(whole["perplexity"] == doctest::Approx(std::exp(whole.loss)).epsilon(1e-6));
  CHECK(whole["f1"] > 0);
  CHECK(whole["top2"] > 0);
  for (const std::int64_t batch : {1, 17, 256}) {
    const nn::Measured other = trainer.evaluate(clouds.points, clouds.labels, batch);
    CHECK(other.loss == doctest::Approx(whole.loss).epsilon(1e-5));
    for (const char* name : {"perplexity", "f1", "top2"}) {
      INFO(name, " in batches of ", batch);
      CHECK(other[name] == doctest::Approx(whole[name]).epsilon(1e-5));
    }
  }
  CHECK(value_error([&] { (void)whole["accuracy"]; }) ==
        "nothing is called \"accuracy\" that was measured; there are loss, perplexity, f1, top2");
  const auto history = trainer.fit(clouds.points, clouds.labels, {.batch = 7});
  CHECK(history[0]["perplexity"] > 1);
}

TEST_CASE("trainer: class weights are those of the loss") {
  const Clouds clouds;
  const std::vector<double> weights = {1, 4, 0.5};
  Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  const auto make = [&](const nn::Measure& loss, optim::Optimizer& by) {
    nn::seed(7);
    return nn::Trainer(nn::Sequential{nn::Dense(3)}, x, labels, loss, by);
  };
  optim::Sgd first({.rate = 0.1}), second({.rate = 0.1});
  nn::Trainer by_options = make(nn::cross_entropy_of, first);
  nn::Trainer by_loss = make(
      [](const Tensor& logits, const Tensor& classes) {
        return nn::cross_entropy(
            logits, classes, {.class_weights = Operand(Array::from({1.0F, 4.0F, 0.5F})).tensor()});
      },
      second);
  by_options.fit(clouds.points, clouds.labels, {.epochs = 2, .class_weights = weights});
  by_loss.fit(clouds.points, clouds.labels, {.epochs = 2});
  const auto a = by_options.state(), b = by_loss.state();
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(all_close(a[k].get_value(), b[k].get_value(), 1e-5, 1e-6));
  }
  // The mean over an epoch is weighted, too: in a step that changes nothing that of all examples.
  optim::Sgd none({.rate = 0.0});
  nn::Trainer still = make(nn::cross_entropy_of, none);
  const auto loss_in_batches = [&](std::int64_t batch, const std::vector<double>& by) {
    return still.fit(clouds.points, clouds.labels,
                     {.batch = batch, .class_weights = by})[0]["loss"];
  };
  const double whole = loss_in_batches(300, weights);
  CHECK(loss_in_batches(7, weights) == doctest::Approx(whole).epsilon(1e-5));
  CHECK(loss_in_batches(1, weights) == doctest::Approx(whole).epsilon(1e-5));
  // A batch of which no label counts says nothing.
  CHECK(loss_in_batches(1, {0, 0, 1}) ==
        doctest::Approx(loss_in_batches(300, {0, 0, 1})).epsilon(1e-5));
  CHECK(
      value_error([&] { by_loss.fit(clouds.points, clouds.labels, {.class_weights = weights}); }) ==
      "fit: class_weights are for a loss that takes weights as a third argument, as "
      "cross_entropy_of does  [here]");
  Array wrong = clouds.labels.copy();
  wrong(2) = 3;
  CHECK(contains(
      value_error([&] {
        by_options.fit(clouds.points, wrong,
                       {.batch = 2, .shuffle = false, .class_weights = {1, 1, 1}});
      }),
      "epoch 1, batch 1: Trainer: there are 3 class_weights, and label 0 of the minibatch is 3"));
  CHECK(value_error([&] {
          by_options.fit(clouds.points, clouds.labels, {.class_weights = {1, -1, 1}});
        }) == "fit: a class weight is -1.0, expected finite ones of at least 0  [here]");
}

TEST_CASE("trainer: masks go to the network and count the labels") {
  // The mean over steps that are there is to be learned.
  const Array sequences = Array::normal({8, 5}, 1);
  Array mask = Array::ones({8, 5});
  for (std::int64_t row = 0; row < 8; ++row) {
    for (std::int64_t step = 1 + row % 5; step < 5; ++step) mask(row, step) = 0;
  }
  const Tensor x = matrix("x"), labels = matrix("labels"), there = matrix("mask");
  optim::Sgd sgd({.rate = 0.1});
  nn::Sequential net{[](const Tensor& in) { return expand_dims(in, 2); }, nn::Dense(1),
                     [there](const Tensor& in) { return in(all, all, 0) * there; }};
  nn::Trainer trainer(net, x, labels,
                      [there](const Tensor& output, const Tensor& wanted) {
                        return sum(square(output - wanted) * there) / sum(there);
                      },
                      sgd, {.mask = there});
  data::Dataset dataset = data::mapped(data::from_arrays(sequences, sequences),
                                       [&](data::Batch& batch, data::Rows rows, auto) {
                                         batch.mask = data::from_arrays(mask, mask).make(rows, 0).x;
                                       });
  const double whole = trainer.evaluate(dataset, 8).loss;
  CHECK(trainer.evaluate(dataset, 1).loss == doctest::Approx(whole).epsilon(1e-5));
  CHECK(trainer.evaluate(dataset, 3).loss == doctest::Approx(whole).epsilon(1e-5));
  const auto history = trainer.fit(dataset, {.epochs = 20, .batch = 4});
  CHECK(history.back().train.loss < history.front().train.loss);
  CHECK(trainer.predict(dataset, 3).shape() == Shape({8, 5}));
  CHECK(value_error([&] { trainer.train_minibatch(sequences, sequences); }) ==
        "Trainer: TrainerOptions::mask is for batches with a mask, this one has none");
  Setup s;
  CHECK(value_error([&] {
          s.trainer.train_minibatch({Array::zeros({2, 2}), Array::zeros({2}, i64), mask});
        }) ==
        "Trainer: the batch has a mask, for which there is no variable: TrainerOptions::mask");
}

TEST_CASE("trainer: a training goes on from the middle of an epoch with the same bits") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  const auto path = folder.file("training.safetensors");
  const nn::FitOptions options{.epochs = 4, .batch = 17, .validation_split = 0.1, .threads = 2};
  Setup whole(0.01, 0.3);
  whole.trainer.fit(clouds.dataset(), options);

  struct Interrupted {};
  Setup killed(0.01, 0.3);
  nn::FitOptions until = options;
  until.callbacks = {nn::ModelCheckpoint(path, {.every_batches = 3}),
                     nn::LambdaCallback({.on_batch_end = [](nn::FitState& fit, const auto&) {
                       if (fit.epoch == 2 && fit.batch == 10) throw Interrupted();
                     }})};
  CHECK_THROWS_AS(killed.trainer.fit(clouds.dataset(), until), Interrupted);

  Setup other(0.5, 0.3);
  nn::FitOptions rest = options;
  rest.start = other.trainer.resume(path);
  CHECK(rest.start.epoch == 2);
  CHECK(rest.start.batch == 9);
  CHECK(rest.start.batches == 16);
  CHECK(other.trainer.steps() == 16 + 9);
  const auto history = other.trainer.fit(clouds.dataset(), rest);
  CHECK(history.size() == 3);
  CHECK(history.front().number == 2);
  CHECK(other.trainer.steps() == whole.trainer.steps());
  CHECK(other.trainer.examples() == whole.trainer.examples());
  const auto a = whole.trainer.state(), b = other.trainer.state();
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    INFO(a[k].name());
    CHECK(array_equal(a[k].get_value(), b[k].get_value()));
  }

  nn::FitOptions wrong = rest;
  wrong.batch = 16;
  CHECK(value_error([&] { other.trainer.fit(clouds.dataset(), wrong); }) ==
        "fit: start is a place in epochs of 16 batches, these have 17  [here]");
  const auto plain = folder.file("plain.safetensors");
  save_checkpoint(plain, other.trainer.state());
  CHECK(contains(message_of<IoError>([&] { other.trainer.resume(plain); }),
                 "plain.safetensors: not a checkpoint of a Trainer: its text \"epoch\" is \"\""));
  CHECK(contains(message_of<IoError>([&] { other.trainer.resume(folder.file("none")); }),
                 "no such file"));
}

TEST_CASE("trainer: errors of what it is made of") {
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  optim::Sgd sgd;
  const nn::Sequential net{nn::Dense(3)};
  const auto make = [&](const nn::Measure& loss, std::vector<nn::Metric> metrics = {}) {
    nn::Trainer(net, x, labels, loss, sgd, {.metrics = std::move(metrics)});
  };
  CHECK(value_error([&] { make({}); }) == "Trainer: the loss is an empty function  [here]");
  CHECK(value_error([&] { make(std::function<Tensor(const Tensor&, const Tensor&)>()); }) ==
        "Trainer: the loss is an empty function  [here]");
  CHECK(value_error([&] { make([](const Tensor&, const Tensor&) { return Tensor(); }); }) ==
        "Trainer: the loss is an empty Tensor  [here]");
  CHECK(shape_error([&] {
          make([](const Tensor& output, const Tensor&) { return square(output); });
        }) == "Trainer: the loss is f32 (batch, 3), expected a scalar  [here]");
  CHECK(shape_error([&] { make(nn::mean_squared_error); }) ==
        "Trainer: the loss  [here]: mean_squared_error: takes two tensors of one shape: add is f32 "
        "(batch, 3), labels is i64 (labels.shape[0],)  [here]");
  CHECK(shape_error([&] { make(nn::cross_entropy_of, {{"counts", nn::confusion_matrix}}); }) ==
        "Trainer: the metric counts is i64 (3, 3), expected a scalar  [here]");
  CHECK(value_error([&] {
          make(nn::cross_entropy_of, {{"a", nn::accuracy}, {"a", nn::accuracy}});
        }) == "Trainer: two measures are called a  [here]");
  CHECK(value_error([&] { make(nn::cross_entropy_of, {{"loss", nn::accuracy}}); }) ==
        "Trainer: two measures are called loss  [here]");
  CHECK(value_error([&] { make(nn::cross_entropy_of, {{"a", {}}}); }) ==
        "Trainer: the metric a is an empty function  [here]");
  CHECK(value_error([&] { make(nn::cross_entropy_of, {{"", nn::accuracy}}); }) ==
        "Trainer: a metric has no name  [here]");
  // A loss that forgets the labels is a mistake, at the user's line.
  CHECK(value_error(
            [&] { make([](const Tensor& output, const Tensor&) { return mean(output); }); }) ==
        "function: input labels is not used by any output or update (on_unused_input = ignore "
        "allows it)  [here]");
  CHECK(value_error([&] { nn::Trainer(net, {}, labels, nn::cross_entropy_of, sgd); }) ==
        "Trainer: the variables x and labels are not to be empty  [here]");
}

TEST_CASE("trainer: errors of what it is given") {
  const Clouds clouds;
  Setup s;
  CHECK(shape_error([&] { s.trainer.fit(clouds.points, Array::zeros({3}, i64)); }) ==
        "fit  [here]: from_arrays: x is (300, 2), labels are (3,): both have an example in each "
        "row");
  const auto fit_error = [&](const nn::FitOptions& options) {
    return value_error([&] { s.trainer.fit(clouds.points, clouds.labels, options); });
  };
  CHECK(fit_error({.batch = 0}) == "fit: batch is 0, expected at least 1  [here]");
  CHECK(fit_error({.epochs = -1}) == "fit: epochs is -1, expected at least 0  [here]");
  CHECK(fit_error({.validation_split = 1}) ==
        "fit: validation_split is 1.0, expected one in [0, 1)  [here]");
  CHECK(fit_error({.validation_split = 0.001}) ==
        "fit: a validation_split of 0.001 of 300 examples leaves none to test on  [here]");
  CHECK(fit_error({.validation = clouds.dataset(), .validation_split = 0.1}) ==
        "fit: there are both validation examples and a validation_split  [here]");
  CHECK(fit_error({.validation = data::Dataset{}}) ==
        "fit: there are no examples to validate on  [here]");
  CHECK(fit_error({.threads = -1}) == "Loader: threads is -1  [here]");
  CHECK(fit_error({.start = {.epoch = 0}}) == "fit: start.epoch is 0, from 1  [here]");
  CHECK(fit_error({.start = {.epoch = 1, .batch = 11}}) == "Loader: batch 11 of 10  [here]");
  CHECK(fit_error({.batch = 301, .drop_last = true}) ==
        "fit: no batch is as large as batch  [here]");
  CHECK(fit_error({.callbacks = {std::shared_ptr<nn::EarlyStopping>()}}) ==
        "fit: a callback is an empty pointer  [here]");
  CHECK(value_error([&] { s.trainer.fit(Array::zeros({0, 2}), Array::zeros({0}, i64)); }) ==
        "fit: there are no examples to train on  [here]");
  CHECK(value_error([&] { s.trainer.evaluate(clouds.points, clouds.labels, 0); }) ==
        "evaluate: batch is 0, expected at least 1");
  CHECK(value_error([&] { s.trainer.predict(clouds.points, -3); }) ==
        "predict: batch is -3, expected at least 1");
  CHECK(value_error([&] { s.trainer.evaluate(Array::zeros({0, 2}), Array::zeros({0}, i64)); }) ==
        "evaluate: there are no examples");
  CHECK(value_error([&] {
          s.trainer.train_minibatch(Array::zeros({0, 2}), Array::zeros({0}, i64));
        }) == "Trainer: train_minibatch: a minibatch has no examples");
  CHECK(contains(type_error([&] { s.trainer.train_minibatch(clouds.points, Array::zeros({300})); }),
                 "labels is i64 (labels.shape[0],), the argument is f32 (300,)"));
  CHECK(contains(
      shape_error([&] { s.trainer.train_minibatch(clouds.points, Array::zeros({300, 1}, i64)); }),
      "labels is i64 (labels.shape[0],), the argument is i64 (300, 1)"));
  CHECK(s.trainer.steps() == 0);

  // A data set that makes other rows than it is asked for.
  data::Dataset few = clouds.dataset();
  few.make = [](data::Rows, std::uint64_t) {
    return data::Batch{Array::zeros({2, 2}), Array::zeros({2}, i64)};
  };
  CHECK(shape_error([&] { s.trainer.predict(few); }) ==
        "predict: of 256 examples the data set makes x (2, 2)");
  CHECK(value_error([&] { s.trainer.evaluate(data::Dataset{}); }) ==
        "evaluate: there are no examples");
  CHECK(shape_error([&] {
          s.trainer.fit(
              data::from_arrays(Array::zeros({2, 2}), Array::zeros({2}, i64)),
              {.epochs = 1,
               .validation = data::from_arrays(Array::zeros({3, 5}), Array::zeros({3}, i64))});
        }) ==
        "validation of epoch 1: evaluate: batch 0: test: x is f32 (batch, 2), the argument is "
        "f32 (3, 5)");
  // The end of an epoch is the beginning of the next one.
  const auto next = s.trainer.fit(clouds.points, clouds.labels,
                                  {.epochs = 2, .batch = 100, .start = {.epoch = 1, .batch = 3}});
  REQUIRE(next.size() == 1);
  CHECK(next[0].number == 2);

  // A label that is no class is found in its row.
  Array wrong = clouds.labels.copy();
  wrong(40) = 3;
  CHECK(value_error([&] {
          s.trainer.train_minibatch(clouds.points, wrong);
        }).starts_with("row 40 of the minibatch, whose label is 3: train: "));
  Array below = clouds.labels.copy();
  below(40) = -1;
  CHECK(contains(value_error([&] { s.trainer.train_minibatch(clouds.points, below); }),
                 "row 40 of the minibatch, whose label is -1: train: check: a label is negative"));
  CHECK(
      value_error([&] {
        s.trainer.evaluate(clouds.points, wrong, 32);
      }).starts_with("evaluate: batch 1: row 8 of the minibatch, example 40, whose label is 3: "));
  CHECK(contains(value_error([&] { s.trainer.fit(clouds.points, wrong, {.batch = 7}); }),
                 "of the minibatch, example 40, whose label is 3: train: "));
  CHECK(value_error([&] {
          s.trainer.fit(clouds.points, wrong, {.batch = 7, .shuffle = false});
        }).starts_with("epoch 1, batch 5: row 5 of the minibatch, example 40, whose label is 3"));
}

TEST_CASE("trainer: a loss that is not finite ends the training") {
  const Clouds clouds;
  Array bad = clouds.points.copy();
  bad(40, 0) = std::nan("");
  Setup s;
  CHECK(value_error([&] {
          s.trainer.fit(bad, clouds.labels, {.batch = 10, .shuffle = false});
        }).starts_with("epoch 1, batch 4: Trainer: the loss of step 5 is nan"));
  // With values looked at, the operation is named.
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  optim::Sgd sgd;
  nn::Trainer checked(nn::Sequential{nn::Dense(3)}, x, labels,
                      [](const Tensor& logits, const Tensor& classes) {
                        return nn::cross_entropy(logits, classes) + log(0 * sum(square(logits)));
                      },
                      sgd, {.check = Check::values});
  const std::string message =
      message_of<NotFiniteError>([&] { checked.fit(clouds.points, clouds.labels); });
  CHECK(
      message.starts_with("epoch 1, batch 0: step 1: train: log: the result, f32 (), at index 0 "
                          "is -inf though its operands are finite"));
}
