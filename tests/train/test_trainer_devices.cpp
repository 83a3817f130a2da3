// Trainers whose batches are shared by several devices: parts of the CPU.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <cstring>

#include "tests/tools/error_text.h"
#include "tests/train/trainer_tools.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests
using trainer_tools::Clouds;

namespace {

// A Trainer for the clouds, on one device or on several.
struct DevicesSetup {
  Tensor x = tensor("x", {dim("batch"), 2});
  Tensor labels = vector("labels", i64);
  optim::Adam adam{{.rate = 0.02}};
  nn::Trainer trainer;

  explicit DevicesSetup(int devices, nn::Sequential net = plain(), nn::TrainerOptions options = {})
      : trainer(std::move(net), x, labels, nn::cross_entropy_of, adam,
                with(devices, std::move(options))) {}

  static nn::Sequential plain() {
    nn::seed(1);
    return {nn::Dense(16, {.activation = nn::tanh}), nn::Dense(3)};
  }
  static nn::TrainerOptions with(int devices, nn::TrainerOptions options) {
    // How many of each class are taken for it, a count that batches add up.
    const auto right = [](const Tensor& output, const Tensor& classes) {
      return sum(cast(eq(expand_dims(classes, 1), arange(3)), f32) *
                     expand_dims(cast(eq(argmax(output, 1), classes), f32), 1),
                 0);
    };
    options.metrics = {{"accuracy", nn::accuracy}, {"right", right, [](const Array& total) {
                                                      return total.data<double>()[0] +
                                                             total.data<double>()[2];
                                                    }}};
    if (devices > 0) options.devices = kroton::devices(cpu(), devices);
    return options;
  }
  std::vector<Array> values() const {
    std::vector<Array> all;
    for (const Shared& variable : trainer.state()) all.push_back(variable.get_value());
    return all;
  }
};

double largest_difference_of(const std::vector<Array>& a, const std::vector<Array>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Array x = a[k].cast(f64), y = b[k].cast(f64);
    REQUIRE(x.shape() == y.shape());
    for (std::size_t i = 0; i < x.data<double>().size(); ++i) {
      largest = std::max(largest, std::abs(x.data<double>()[i] - y.data<double>()[i]));
    }
  }
  return largest;
}

bool are_same_bits(const std::vector<Array>& a, const std::vector<Array>& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!array_equal(a[k], b[k])) return false;
  }
  return a.size() == b.size();
}

}  // namespace

TEST_CASE("trainer of devices: the numbers of one device and the same bits every time") {
  const Clouds clouds;
  // 32 rows a batch and 12 in the last: uneven parts on 3 and 5 devices.
  const nn::FitOptions options{.epochs = 3, .batch = 32, .validation_split = 0.2};
  DevicesSetup one(0);
  const std::vector<nn::Epoch> expected = one.trainer.fit(clouds.points, clouds.labels, options);
  CHECK(expected.back().train["accuracy"] > 0.9);
  for (const int n : {1, 2, 3, 5}) {
    CAPTURE(n);
    DevicesSetup several(n), again(n);
    const std::vector<nn::Epoch> history =
        several.trainer.fit(clouds.points, clouds.labels, options);
    again.trainer.fit(clouds.points, clouds.labels, options);
    CHECK(are_same_bits(several.values(), again.values()));
    CHECK(largest_difference_of(one.values(), several.values()) < 1e-4);
    for (std::size_t k = 0; k < history.size(); ++k) {
      CHECK(history[k]["loss"] == doctest::Approx(expected[k]["loss"]).epsilon(1e-5));
      CHECK(history[k]["validation_loss"] ==
            doctest::Approx(expected[k]["validation_loss"]).epsilon(1e-5));
      CHECK(history[k]["accuracy"] == doctest::Approx(expected[k]["accuracy"]));
      CHECK(history[k]["right"] == expected[k]["right"]);
    }
    CHECK(several.trainer.predict(clouds.points).shape() == Shape({300, 3}));
  }
}

TEST_CASE("trainer of devices: running means and averages and dropout and a checkpoint") {
  const Clouds clouds;
  const auto net = [](double dropout) {
    nn::seed(2);
    return nn::Sequential{nn::Dense(8), nn::BatchNormalization(), nn::Dropout(dropout),
                          nn::Dense(3)};
  };
  const nn::FitOptions options{.epochs = 2, .batch = 50};
  DevicesSetup first(2, net(0.3), {.average_decay = 0.9}),
      second(2, net(0.3), {.average_decay = 0.9});
  first.trainer.fit(clouds.points, clouds.labels, options);
  second.trainer.fit(clouds.points, clouds.labels, options);
  CHECK(are_same_bits(first.values(), second.values()));
  CHECK(first.trainer.evaluate(clouds.points, clouds.labels)["accuracy"] > 0.5);
  // What a normalisation keeps is that of all rows.
  DevicesSetup whole(0, net(0)), parts(2, net(0));
  const Array few = Array::from({{1.0F, 2.0F}, {3.0F, -4.0F}, {-5.0F, 6.0F}, {0.5F, 1.0F}});
  const Array classes = Array::from(std::vector<std::int64_t>{0, 1, 2, 0});
  whole.trainer.train_minibatch(few, classes);
  parts.trainer.train_minibatch(few, classes);
  std::size_t means = 0;
  const std::vector<Shared> of_whole = whole.trainer.state(), of_parts = parts.trainer.state();
  for (std::size_t k = 0; k < of_whole.size(); ++k) {
    if (of_whole[k].name().find("mean") == std::string::npos) continue;
    ++means;
    CHECK(all_close(of_whole[k].get_value(), of_parts[k].get_value(), 1e-5, 1e-6));
  }
  CHECK(means > 0);
}

TEST_CASE("trainer of devices: lists of outputs") {
  const Clouds clouds;
  const auto train = [&](int n) {
    nn::seed(3);
    const Tensor x = tensor("x", {dim("batch"), 2});
    const Tensor kinds = vector("kinds", i64), sizes = vector("sizes");
    optim::Sgd sgd({.rate = 0.1});
    nn::Dense hidden(8, {.activation = nn::tanh}), kind(3), length(1);
    nn::TrainerOptions options;
    if (n > 0) options.devices = devices(cpu(), n);
    nn::Trainer trainer(
        [=](const std::vector<Tensor>& in) {
          const Tensor h = hidden(in[0]);
          return std::vector<Tensor>{kind(h), squeeze(length(h), 1)};
        },
        {x}, {kinds, sizes},
        {{.measure = nn::cross_entropy_of, .name = "kind"},
         {.measure = nn::mean_squared_error, .weight = 0.5, .name = "size"}},
        sgd, options);
    const Array lengths = Array::normal({300}, 4);
    const auto history =
        trainer.fit({clouds.points}, {clouds.labels, lengths}, {.epochs = 2, .batch = 40});
    return std::pair(history.back().train.loss, history.back().train["size_loss"]);
  };
  const auto [loss, size] = train(0);
  const auto [loss_of_two, size_of_two] = train(2);
  CHECK(loss_of_two == doctest::Approx(loss).epsilon(1e-5));
  CHECK(size_of_two == doctest::Approx(size).epsilon(1e-5));
}

TEST_CASE("trainer of devices: errors") {
  const Clouds clouds;
  DevicesSetup three(3);
  CHECK(
      contains(value_error([&] { three.trainer.fit(clouds.points, clouds.labels, {.batch = 2}); }),
               "fit: a batch has 2 examples, fewer than the 3 devices that share it"));
  CHECK(
      contains(value_error([&] { three.trainer.fit(clouds.points, clouds.labels, {.batch = 23}); }),
               "the last batch of an epoch has 1 example, fewer than the 3 devices"));
  CHECK(three.trainer.fit(clouds.points, clouds.labels, {.batch = 23, .drop_last = true}).size() ==
        1);
  CHECK(contains(value_error([&] {
                   three.trainer.train_minibatch(Array::ones({2, 2}), Array::zeros({2}, i64));
                 }),
                 "x has 2 rows, fewer than the 3 devices"));
  CHECK(contains(value_error([&] {
                   three.trainer.fit(clouds.points, clouds.labels, {.class_weights = {1, 1, 2}});
                 }),
                 "class_weights are not for batches that devices share"));
  CHECK(contains(value_error([&] {
                   three.trainer.train_minibatch(data::Batch{.x = Array::ones({4, 2}),
                                                             .labels = Array::zeros({4}, i64),
                                                             .weights = Array::ones({4})});
                 }),
                 "the labels have weights, and the batch is shared by devices"));
  // A label that is no class: nothing changes on any device, and the row is named.
  const std::vector<Array> before = three.values();
  Array wrong = Array::zeros({6}, i64);
  wrong(4) = 7;
  CHECK(contains(value_error([&] { three.trainer.train_minibatch(Array::ones({6, 2}), wrong); }),
                 "row 4 of the minibatch, whose label is 7"));
  CHECK(are_same_bits(before, three.values()));
  const auto with_mask = [&] {
    DevicesSetup setup(2, DevicesSetup::plain(), {.mask = vector("mask")});
  };
  CHECK(contains(value_error(with_mask), "there are both devices and a mask"));
  const auto elsewhere = [&] { DevicesSetup setup(2, DevicesSetup::plain(), {.target = cuda(1)}); };
  CHECK(contains(value_error(elsewhere), "target is cuda:1, and the first of the devices is cpu"));
}
