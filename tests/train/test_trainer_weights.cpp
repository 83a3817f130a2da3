// Weights of examples, metrics under a mask, averages of the parameters.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

namespace {

// Each example as often as its weight says.
Array repeated(const Array& rows, const std::vector<int>& times) {
  std::vector<std::uint32_t> all;
  for (std::uint32_t k = 0; k < times.size(); ++k) all.insert(all.end(), times[k], k);
  return data::from_arrays(rows, rows).make(all, 0).x;
}

}  // namespace

TEST_CASE("trainer: an example of weight 2 counts as two") {
  const Clouds clouds;
  std::vector<int> times;
  Array weights = Array::zeros({300});
  for (int k = 0; k < 300; ++k) {
    times.push_back(k % 4);
    weights(k) = k % 4;
  }
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  const Tensor y = tensor("y", {dim("batch"), 2});
  const data::Dataset weighted = data::weighted(clouds.dataset(), weights);
  const data::Dataset more =
      data::from_arrays(repeated(clouds.points, times), repeated(clouds.labels, times));
  const auto fits = [&](const nn::Measure& loss, const Tensor& wanted,
                        const data::Dataset& of_weights, const data::Dataset& of_copies,
                        std::int64_t units) {
    optim::Sgd first({.rate = 0.1}), second({.rate = 0.1});
    const auto made = [&](optim::Optimizer& by) {
      nn::seed(7);
      return nn::Trainer(nn::Sequential{nn::Dense(units)}, x, wanted, loss, by);
    };
    nn::Trainer a = made(first), b = made(second);
    for (int step = 0; step < 3; ++step) {
      const double got = a.fit(of_weights, {.batch = 300, .shuffle = false})[0].train.loss;
      const double copies = b.fit(of_copies, {.batch = 1000, .shuffle = false})[0].train.loss;
      CHECK(got == doctest::Approx(copies).epsilon(1e-5));
    }
    for (std::size_t k = 0; k < 2; ++k) {
      CHECK(all_close(a.state()[k].get_value(), b.state()[k].get_value(), 1e-5, 1e-6));
    }
    // Testing counts them, too, whatever the batches.
    const double whole = b.evaluate(of_copies).loss;
    CHECK(a.evaluate(of_weights).loss == doctest::Approx(whole).epsilon(1e-4));
    CHECK(a.evaluate(of_weights, 7).loss == doctest::Approx(whole).epsilon(1e-4));
  };
  fits(nn::cross_entropy_of, labels, weighted, more, 3);
  fits(nn::cross_entropy, labels, weighted, more, 3);
  fits(nn::focal, labels, weighted, more, 3);
  const data::Dataset points =
      data::weighted(data::from_arrays(clouds.points, clouds.points), weights);
  const Array copies = repeated(clouds.points, times);
  for (const nn::Measure& loss : {nn::Measure(nn::mean_squared_error), nn::Measure(nn::huber),
                                  nn::Measure(nn::cosine_loss), nn::Measure(nn::log_cosh)}) {
    fits(loss, y, points, data::from_arrays(copies, copies), 2);
  }
}

TEST_CASE("trainer: weights of examples and of classes are multiplied") {
  const Clouds clouds;
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  Array weights = Array::uniform({300}, 3), both = weights.copy();
  const std::vector<double> of_classes = {1, 4, 0.5};
  for (std::int64_t k = 0; k < 300; ++k) {
    both(k) = weights(k).item<double>() * of_classes[static_cast<std::size_t>(k % 3)];
  }
  optim::Sgd none({.rate = 0.0});
  nn::seed(7);
  nn::Trainer trainer(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, none);
  const auto loss = [&](const Array& by, const std::vector<double>& classes, std::int64_t batch) {
    return trainer
        .fit(data::weighted(clouds.dataset(), by), {.batch = batch, .class_weights = classes})[0]
        .train.loss;
  };
  CHECK(loss(weights, of_classes, 300) == doctest::Approx(loss(both, {}, 300)).epsilon(1e-5));
  CHECK(loss(weights, of_classes, 7) == doctest::Approx(loss(both, {}, 300)).epsilon(1e-5));
  CHECK(loss(Array::zeros({300}), {}, 7) == 0);

  // Weights of each label of a row; those of examples are for all its labels.
  const Tensor rows = tensor("rows", {dim("batch"), 2, 2}), many = matrix("many", i64);
  nn::Trainer of_rows(nn::Sequential{nn::Dense(3)}, rows, many, nn::cross_entropy_of, none);
  const Array points = clouds.points.reshape({150, 2, 2}), kinds = clouds.labels.reshape({150, 2});
  const auto of_weights = [&](const Array& by) {
    return of_rows.evaluate(data::weighted(data::from_arrays(points, kinds), by), 7).loss;
  };
  Array half = Array::uniform({150}, 5), whole = Array::zeros({150, 2});
  for (std::int64_t k = 0; k < 150; ++k) {
    whole(k, 0) = half(k).item<double>();
    whole(k, 1) = half(k).item<double>();
  }
  CHECK(of_weights(half) == doctest::Approx(of_weights(whole)).epsilon(1e-6));

  // Errors.
  const auto step = [&](const Array& by) {
    trainer.train_minibatch({.x = clouds.points, .labels = clouds.labels, .weights = by});
  };
  CHECK(
      shape_error([&] { step(Array::ones({299})); }) ==
      "Trainer: the weights of the batch are (299,), expected the first axes of the labels, which "
      "are (300,)");
  CHECK(contains(shape_error([&] { step(Array::ones({300, 1})); }), "are (300, 1), expected"));
  Array below = Array::ones({300});
  below(3) = -1;
  CHECK(value_error([&] { step(below); }) ==
        "Trainer: a weight of the batch is -1.0, expected finite ones of at least 0");
  CHECK(shape_error([&] { (void)data::weighted(clouds.dataset(), Array::ones({3})); }) ==
        "weighted: weights are (3,), the data set has 300 examples");
  nn::Trainer plain(
      nn::Sequential{nn::Dense(3)}, x, labels,
      [](const Tensor& out, const Tensor& of) { return nn::cross_entropy(out, of); }, none);
  CHECK(
      value_error([&] {
        plain.train_minibatch(
            {.x = clouds.points, .labels = clouds.labels, .weights = Array::ones({300})});
      }) ==
      "Trainer: the batch has weights, which are for losses that take weights as a third argument, "
      "as cross_entropy_of does");
}

TEST_CASE("metrics: weights leave labels out whatever they are") {
  const Tensor logits = tensor("logits", {dim("n"), 4, 3}), labels = matrix("labels", i64);
  const Tensor mask = matrix("mask"), rows = vector("rows");
  const auto measures = [&](const Tensor& weights) {
    return std::vector<Tensor>{nn::accuracy(logits, labels, {.weights = weights}),
                               nn::top_k_accuracy(logits, labels, 2, {.weights = weights}),
                               nn::confusion_matrix(logits, labels, {.weights = weights})};
  };
  const auto f = function(std::vector<Tensor>{logits, labels, mask}, measures(mask));
  const auto of_rows = function(std::vector<Tensor>{logits, labels, rows}, measures(rows));
  const auto plain = function(std::vector<Tensor>{logits, labels}, measures({}));
  const Array scores = Array::normal({5, 4, 3}, 1);
  Array kinds = Array::zeros({5, 4}, i64), some = Array::ones({5, 4}), of_row = Array::ones({5});
  for (std::int64_t k = 0; k < 20; ++k) kinds(k / 4, k % 4) = k * 7 % 3;
  for (std::int64_t k = 0; k < 4; ++k) {
    kinds(4, k) = k - 2 + 9 * (k % 2);  // some are no classes
    some(4, k) = 0;
  }
  of_row(4) = 0;
  const auto first = [](const Array& all) {
    return data::from_arrays(all, all).make(std::vector<std::uint32_t>{0, 1, 2, 3}, 0).x;
  };
  const auto wanted = plain.call(std::vector<Argument>{first(scores), first(kinds)});
  const auto got = f.call(std::vector<Argument>{scores, kinds, some});
  const auto by_row = of_rows.call(std::vector<Argument>{scores, kinds, of_row});
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    INFO(k);
    CHECK(all_close(got[k], wanted[k], 1e-6, 1e-6));
    CHECK(all_close(by_row[k], wanted[k], 1e-6, 1e-6));
  }
  const auto none = f.call(std::vector<Argument>{scores, kinds, Array::zeros({5, 4})});
  CHECK(none[0].item<float>() == 0);
  CHECK(none[1].item<float>() == 0);

  const Tensor p = vector("p", f64), y = vector("y", f64), w = vector("w", f64);
  const auto r2 = function({p, y, w}, nn::r_squared(p, y, {.weights = w}));
  const auto without = function({p, y}, nn::r_squared(p, y));
  using List = std::vector<double>;
  CHECK(r2(List{1, 2, 4, NAN}, List{1, 2, 3, 5}, List{1, 1, 1, 0}).item<double>() ==
        doctest::Approx(without(List{1, 2, 4}, List{1, 2, 3}).item<double>()));
  CHECK(r2(List{1, 2, 4}, List{1, 2, 3}, List{1, 1, 2}).item<double>() ==
        doctest::Approx(without(List{1, 2, 4, 4}, List{1, 2, 3, 3}).item<double>()));
  const auto binary = function({p, y, w}, nn::binary_accuracy(p, y, {.weights = w}));
  CHECK(binary(List{1, -1, 1}, List{1, 1, 1}, List{1, 1, 2}).item<float>() ==
        doctest::Approx(0.75));
  CHECK(contains(shape_error([&] {
                   nn::top_k_accuracy(logits, labels, 2, {.weights = tensor("w", {3, 3, 3})});
                 }),
                 "top_k_accuracy: weights have the shape"));
}

TEST_CASE("trainer: averages of the parameters are used to test") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  const Tensor x = tensor("x", {dim("batch"), 2}), labels = vector("labels", i64);
  const auto made = [&](optim::Optimizer& by) {
    nn::seed(7);
    return nn::Trainer(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, by,
                       {.average_decay = 0.9});
  };
  optim::Sgd sgd({.rate = 0.5}), other_sgd({.rate = 0.5});
  nn::Trainer trainer = made(sgd);
  const std::vector<Shared> parameters = trainer.network().parameters();
  // By hand, after each step.
  std::vector<double> average;
  for (const float value : parameters[0].get_value().data<float>()) average.push_back(value);
  for (int step = 0; step < 8; ++step) {
    trainer.train_minibatch(clouds.points, clouds.labels);
    const Array now = parameters[0].get_value();
    for (std::size_t k = 0; k < average.size(); ++k) {
      average[k] = 0.9 * average[k] + 0.1 * now.data<float>()[k];
    }
  }
  const Array kept = trainer.averages().averages()[0].get_value();
  for (std::size_t k = 0; k < average.size(); ++k) {
    CHECK(kept.data<float>()[k] == doctest::Approx(average[k]).epsilon(1e-5));
  }
  const double of_averages = trainer.evaluate(clouds.points, clouds.labels).loss;
  const Array predicted = trainer.predict(clouds.points);
  trainer.use_averages(false);
  const double of_parameters = trainer.evaluate(clouds.points, clouds.labels).loss;
  CHECK(of_averages != of_parameters);
  trainer.averages().swap();
  CHECK(trainer.evaluate(clouds.points, clouds.labels).loss == doctest::Approx(of_averages));
  CHECK(all_close(trainer.predict(clouds.points), predicted, 1e-6, 1e-6));
  trainer.averages().swap();
  CHECK(trainer.evaluate(clouds.points, clouds.labels).loss == doctest::Approx(of_parameters));
  trainer.use_averages(true);
  CHECK(trainer.evaluate(clouds.points, clouds.labels).loss == doctest::Approx(of_averages));

  // They are part of a checkpoint.
  trainer.save(folder.file("a.safetensors"));
  nn::Trainer other = made(other_sgd);
  other.resume(folder.file("a.safetensors"));
  CHECK(other.evaluate(clouds.points, clouds.labels).loss == doctest::Approx(of_averages));
  const auto history =
      other.fit(clouds.points, clouds.labels, {.epochs = 2, .validation = clouds.dataset()});
  CHECK(history.back().validation->loss == doctest::Approx(other.evaluate(clouds.dataset()).loss));

  optim::Sgd none;
  nn::Trainer without(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, none);
  CHECK(value_error([&] { without.use_averages(true); }) ==
        "averages: the Trainer keeps none, TrainerOptions::average_decay asks for them");
  without.use_averages(false);
  CHECK(contains(value_error([&] {
                   nn::Trainer(nn::Sequential{nn::Dense(3)}, x, labels, nn::cross_entropy_of, none,
                               {.average_decay = 1.0});
                 }),
                 "decay is 1, not in [0, 1)"));
}
