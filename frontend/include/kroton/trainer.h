// Training and testing of a network, on minibatches that the program has (train_minibatch,
// test_minibatch) or on whole arrays (fit, evaluate, predict).
//
//     kt::optim::Adam adam({.rate = 1e-3});
//     kt::nn::Trainer trainer(net, images, labels, kt::nn::cross_entropy_of, adam,
//                             {.metric = kt::nn::accuracy, .metric_name = "accuracy"});
//     const auto history = trainer.fit(x, y, {.epochs = 5, .batch = 128, .validation_split = 0.1});
//     const auto [loss, metric] = trainer.evaluate(x_test, y_test);
#pragma once
#include <kroton/function.h>
#include <kroton/nn.h>
#include <kroton/optimizer.h>

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kroton::nn {

// A loss or a metric: a scalar of what the network gives and of the labels.
using Measure = std::function<Tensor(const Tensor& output, const Tensor& labels)>;
// cross_entropy without options.
Tensor cross_entropy_of(const Tensor& logits, const Tensor& labels);

// Means over examples; the metric is 0 where there is none.
struct Measured {
  double loss = 0;
  double metric = 0;
};

struct Epoch {
  int number = 0;  // from 1
  Measured train;  // during the epoch, with dropout and the like
  std::optional<Measured> validation = {};
  double seconds = 0;
  double examples_per_second = 0;
};

struct FitOptions {
  int epochs = 1;
  std::int64_t batch = 32;
  // The last part of the examples is not trained on but tested after each epoch; or these are.
  double validation_split = 0;
  std::optional<std::pair<Array, Array>> validation = {};
  std::uint64_t seed = 1;  // of the order of the examples, another one in each epoch
  // Stops when the validation loss (without one that of training) has not been less for so many
  // epochs, and with `keep_best` brings back the state of the epoch where it was least.
  std::optional<int> patience = {};
  bool keep_best = false;
  // Called after each epoch; false ends the training.
  std::function<bool(const Epoch&)> after_epoch = {};
  // A line for each epoch, on a terminal redrawn meanwhile; null: none.
  std::ostream* progress = nullptr;
};

struct TrainerOptions {
  Measure metric = {};
  std::string metric_name = "metric";
  Target target = cpu();
};

class Trainer {
 public:
  // `x` and `labels` are variables whose first axis is the batch. The network is called on x for
  // training and for predicting; the optimizer's steps lower the loss. Errors are those of calling
  // the network, of the loss and of the optimizer.
  Trainer(Sequential net, Tensor x, Tensor labels, const Measure& loss, optim::Optimizer& optimizer,
          const TrainerOptions& options = {}, const Location& at = Location::current());

  // One step. ValueError, which names the step, for a loss that is not finite: the parameters are
  // then not to be used.
  Measured train_minibatch(const Array& x, const Array& labels);
  Measured test_minibatch(const Array& x, const Array& labels) const;

  // ShapeError where x and labels differ in their number of examples, ValueError for options out of
  // range, and for no examples.
  std::vector<Epoch> fit(const Array& x, const Array& labels, const FitOptions& options = {});
  Measured evaluate(const Array& x, const Array& labels, std::int64_t batch = 256) const;
  // What the network gives, for all examples.
  Array predict(const Array& x, std::int64_t batch = 256) const;

  std::int64_t steps() const { return steps_; }  // taken so far
  // All that training changes: the network's state, the optimizer's, that of the random numbers.
  std::vector<Shared> state() const;

 private:
  Sequential net_;
  optim::Optimizer& optimizer_;
  Function<2> train_, test_;
  Function<1> predict_;
  std::string metric_name_;
  bool has_metric_;
  std::int64_t steps_ = 0;
};

}  // namespace kroton::nn
