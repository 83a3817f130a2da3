// What a Trainer consists of, for its own files.
#pragma once
#include <kroton/error.h>
#include <kroton/trainer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kroton::nn {

using StepFunction = Function<dynamic_outputs>;

// What batches have given so far, on the way to the values of a data set.
class Totals {
 public:
  explicit Totals(const std::vector<Metric>& metrics)
      : metrics_(&metrics), of_metrics_(metrics.size()) {}
  // Of one batch: the loss, then the metrics. The loss counts as so many labels as `loss_weight`,
  // the other means as `weight`.
  void add(const std::vector<Array>& results, double loss_weight, double weight);
  Measured values() const;

 private:
  const std::vector<Metric>* metrics_;
  double loss_ = 0, loss_weight_ = 0, weight_ = 0;
  std::vector<Array> of_metrics_;  // f64: sums, of means by their weights
};

struct Trainer::Parts {
  Parts(Sequential network, Tensor input, Tensor targets, const Measure& of_loss,
        optim::Optimizer& steps_by, TrainerOptions given, const Location& at);

  // What a loss and the metrics give, and a function of them.
  std::vector<Tensor> measures(const Tensor& output, const Tensor& weights) const;
  StepFunction training_step(optim::Optimizer& optimizer, const Tensor& weights) const;
  StepFunction test_step() const;
  Function<1> prediction();
  // Makes the step that takes weights of labels, for so many classes.
  void weigh(std::size_t classes);
  // ValueError where set_trainable has changed what the steps train.
  void check_trained() const;

  // The number that row of a batch has in the data set.
  using Numbers = std::function<std::int64_t(std::int64_t row)>;

  // One step on a batch, and what it gave, which is added to `epoch`, too.
  Measured train(const data::Batch& batch, const std::vector<double>& class_weights = {},
                 Totals* epoch = nullptr, const Numbers& numbers = {});
  void test(const data::Batch& batch, Totals& totals, const Numbers& numbers = {}) const;
  Array predict(const Array& x, const std::optional<Array>& mask) const;
  // "row 5 of the minibatch, whose label is 10: " of the first example that is an error alone, or
  // "".
  std::string row_at_fault(const data::Batch& batch, const Numbers& numbers) const;
  // "; x of the minibatch holds nan in row 5, example 40", or "" where all that counts is finite.
  static std::string not_finite_in(const data::Batch& batch, const Numbers& numbers);
  // "  [model.cpp:17]", where the Trainer was made.
  std::string place() const;

  Sequential net;
  Tensor x, labels;
  Measure loss;
  optim::Optimizer* optimizer;  // while the next one is not empty
  std::weak_ptr<const void> optimizer_lives;
  std::vector<Shared> optimizer_state, trained;
  TrainerOptions options;
  Location at;
  std::optional<StepFunction> train_step, weighted_step, tested;
  std::optional<Function<1>> predicted;
  std::optional<std::int64_t> classes;  // that the network tells apart, where that is known
  std::int64_t steps = 0, examples = 0;
  // Of earlier calls of fit, and the number of the one that this call, or the last one, is in.
  std::int64_t epochs_before = 0, epochs_seen = 0;
};

// Calls `body`; a Kroton error that it throws is thrown again, of its kind, with text in front.
template <class Body, class Prefix>
auto with_prefix(const Body& body, const Prefix& prefix) {
  try {
    return body();
  } catch (const ValueError& error) {
    throw ValueError(prefix() + error.what());
  } catch (const ShapeError& error) {
    throw ShapeError(prefix() + error.what());
  } catch (const TypeError& error) {
    throw TypeError(prefix() + error.what());
  } catch (const NotFiniteError& error) {
    throw NotFiniteError(prefix() + error.what());
  }
}

// ValueError where a batch has another number of rows than the data set was asked for.
void check_rows(const data::Batch& batch, std::int64_t asked);
void check_batch_size(const char* what, std::int64_t batch);

}  // namespace kroton::nn
