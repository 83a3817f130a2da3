// What a Trainer consists of, for its own files.
#pragma once
#include <kroton/error.h>
#include <kroton/trainer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kroton::nn {

using StepFunction = Function<dynamic_outputs>;
// A step of training, on one device or on several.
using TrainingStep = std::function<std::vector<Array>(std::span<const Argument>)>;

// What batches have given so far, on the way to the values of a data set.
class Totals {
 public:
  Totals(const std::vector<OutputLoss>& losses, const std::vector<Metric>& metrics)
      : losses_(&losses),
        metrics_(&metrics),
        of_losses_(losses.size()),
        of_metrics_(metrics.size()) {}
  // How many labels the loss of each output counts as, and the other means of each output.
  struct Weights {
    std::vector<double> of_losses, of_metrics;
  };
  // Of one batch: what is lowered, of several losses each one, then the metrics.
  void add(const std::vector<Array>& results, const Weights& weights);
  Measured values() const;

 private:
  struct Mean {
    double sum = 0, weight = 0;
    void add(double value, double by);
    double value() const { return weight > 0 ? sum / weight : 0; }
  };
  struct Total {
    Array sum;  // f64: of means by their weights
    double weight = 0;
  };
  const std::vector<OutputLoss>* losses_;
  const std::vector<Metric>* metrics_;
  std::vector<Mean> of_losses_;
  std::vector<Total> of_metrics_;
};

// What a network of several inputs or outputs is called on, and what it gives.
struct ListsOfTensors {
  Tensors inputs, outputs;
};

struct Trainer::Parts {
  // `lists`: what the network, which is called on the first input, takes the inputs from and leaves
  // the outputs in; null for one of a Tensor.
  Parts(Sequential network, std::shared_ptr<ListsOfTensors> lists, Tensors inputs, Tensors targets,
        std::vector<OutputLoss> of_losses, optim::Optimizer& steps_by, TrainerOptions given,
        const Location& at);

  // What the network gives, while training or not.
  Tensors outputs_of(bool training) const;
  // What a loss and the metrics give, and a function of them. `weights`: of each output's labels,
  // or none.
  std::vector<Tensor> measures(const Tensors& outputs, const Tensors& weights) const;
  std::vector<Tensor> variables(bool with_labels, const Tensors& weights) const;
  TrainingStep training_step(optim::Optimizer& optimizer, const Tensors& weights);
  // What is measured of one device's rows, made that of all rows; the same where there is one.
  std::vector<Tensor> of_all_devices(std::vector<Tensor> values) const;
  // ValueError for devices that do not go with the other options.
  void check_devices() const;
  StepFunction test_step(bool averaged, const Tensors& weights) const;
  StepFunction prediction(bool averaged);
  std::vector<Given> givens(bool averaged) const;
  // Variables for weights of so many axes of each output's labels.
  Tensors weight_variables(const std::vector<int>& ranks) const;
  // The steps for weights of these ranks, none or one for each output; made when they are asked for
  // first.
  const TrainingStep& step_for(const std::vector<int>& ranks);
  const StepFunction& test_for(const std::vector<int>& ranks);
  // Makes the step that takes weights of labels, for so many classes.
  void weigh(std::size_t classes);
  // ValueError where set_trainable has changed what the steps train.
  void check_trained() const;
  // ValueError for losses, labels and metrics that do not fit; names those that have no name.
  void check_losses();
  bool takes_weights() const;
  // The names of what is measured beside "loss".
  std::vector<std::string> names() const;
  Totals totals() const { return {losses, options.metrics}; }

  // The number that row of a batch has in the data set.
  using Numbers = std::function<std::int64_t(std::int64_t row)>;

  // The arguments of a step on a batch: x, labels, mask. ValueError for another number of them than
  // there are variables, and for a mask that is not wanted or not there.
  std::vector<Argument> arguments_of(const data::Batch& batch, bool with_labels = true) const;
  // How many examples a batch has.
  std::int64_t examples_of(const char* what, const data::Batch& batch) const;
  // The weights of each output's labels: of the batch, of their classes; none without either.
  std::vector<Array> weights_of(const data::Batch& batch,
                                const std::vector<double>& of_classes) const;
  Totals::Weights counts_of(const data::Batch& batch, const std::vector<Array>& weights) const;

  // One step on a batch, and what it gave, which is added to `epoch`, too.
  Measured train(const data::Batch& batch, const std::vector<double>& class_weights = {},
                 Totals* epoch = nullptr, const Numbers& numbers = {});
  void test(const data::Batch& batch, Totals& totals, const Numbers& numbers = {});
  std::vector<Array> predict(const data::Batch& batch) const;
  // "row 5 of the minibatch, whose label is 10: " of the first example that is an error alone, or
  // "".
  std::string row_at_fault(const data::Batch& batch, const Numbers& numbers);
  // "; x of the minibatch holds nan in row 5, example 40", or "" where all that counts is finite.
  static std::string not_finite_in(const data::Batch& batch, const Numbers& numbers);
  // "  [model.cpp:17]", where the Trainer was made.
  std::string place() const;

  Sequential net;
  std::shared_ptr<ListsOfTensors> lists;
  Tensors x, labels;
  std::vector<OutputLoss> losses;
  optim::Optimizer* optimizer;  // while the next one is not empty
  std::weak_ptr<const void> optimizer_lives;
  std::vector<Shared> optimizer_state, trained;
  TrainerOptions options;
  Location at;
  std::optional<optim::MovingAverage> average;
  bool use_averages = false;
  // By the ranks of the weights; of tests also by whether the averages are used.
  std::map<std::vector<int>, TrainingStep> steps_for;
  std::map<std::pair<bool, std::vector<int>>, StepFunction> tests_for;
  std::map<bool, StepFunction> predictions;
  std::mutex making;                    // one of the functions above: tests run on several threads
  std::optional<std::int64_t> classes;  // that the network tells apart, where that is known
  double compiling = 0;  // how many seconds training steps took that were made when asked for
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

// ValueError for batches of a data set of `count` that have fewer examples than devices.
void check_batches(const FitOptions& options, const TrainerOptions& trainer, std::int64_t count);
// ValueError where a batch has another number of rows than the data set was asked for.
void check_rows(const data::Batch& batch, std::int64_t asked);
void check_batch_size(const char* what, std::int64_t batch);
[[noreturn]] void fail_trainer(const std::string& what);  // ValueError "Trainer: ..."

}  // namespace kroton::nn
