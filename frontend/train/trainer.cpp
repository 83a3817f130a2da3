// The functions of a network, its losses and its optimizer.
#include <kroton/error.h>
#include <kroton/parallel.h>
#include <kroton/trainer.h>
#include <kroton/variables.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "frontend/train/lines.h"
#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

void fail_trainer(const std::string& what) { throw ValueError("Trainer: " + what); }

void check_batch_size(const char* what, std::int64_t batch) {
  if (batch >= 1) return;
  throw ValueError(std::string(what) + ": batch is " + std::to_string(batch) +
                   ", expected at least 1");
}

Tensor cross_entropy_of(const Tensor& logits, const Tensor& labels, const Tensor& weights) {
  const LineScope scope(logits.line(), "cross_entropy");
  return cross_entropy(logits, labels, {.mask = weights});
}

Tensor Measure::of_all(const Tensors& outputs, const Tensors& labels) const {
  if (!of_all_) fail_trainer("the measure is of one output");
  return of_all_(outputs, labels);
}

// ---- What a Trainer is made of

Trainer::Parts::Parts(Sequential network, std::shared_ptr<ListsOfTensors> of_network,
                      Tensors inputs, Tensors targets, std::vector<OutputLoss> of_losses,
                      optim::Optimizer& steps_by, TrainerOptions given, const Location& here)
    : net(std::move(network)),
      lists(std::move(of_network)),
      x(std::move(inputs)),
      labels(std::move(targets)),
      losses(std::move(of_losses)),
      optimizer(&steps_by),
      optimizer_lives(steps_by.lifetime()),
      options(std::move(given)),
      at(here) {
  const auto is_empty = [](const Tensor& t) { return !t; };
  if (x.empty() || std::ranges::any_of(x, is_empty) || std::ranges::any_of(labels, is_empty)) {
    fail_trainer("the variables x and labels are not to be empty" + place());
  }
  check_losses();
  check_devices();
  step_for({});
  trained = net.parameters();
  use_averages = average.has_value();
  test_for({});
  predictions.emplace(use_averages, prediction(use_averages));
  if (const std::vector<Shared> now = net.parameters(); now.size() > trained.size()) {
    fail_trainer("the network makes new parameters when it is called again, as " +
                 now[trained.size()].name() +
                 ": layers are made once, outside of the function that calls them" + place());
  }
}

std::string Trainer::Parts::place() const { return "  [" + to_string(line_of(at)) + "]"; }

void Trainer::Parts::check_losses() {
  const bool are_of_all = losses.size() == 1 && losses[0].measure.is_of_all();
  if (!are_of_all && losses.size() != labels.size()) {
    fail_trainer("there are " + std::to_string(losses.size()) + " losses and " +
                 std::to_string(labels.size()) + " labels, expected one of each for each output" +
                 place());
  }
  std::set<std::string> names = {"loss"};
  const auto take = [&](const std::string& name) {
    if (!names.insert(name).second) fail_trainer("two measures are called " + name + place());
  };
  for (std::size_t k = 0; k < losses.size(); ++k) {
    OutputLoss& loss = losses[k];
    if (loss.name.empty()) loss.name = "output" + std::to_string(k + 1);
    const std::string what = losses.size() == 1 ? "the loss" : "the loss " + loss.name;
    if (!loss.measure) fail_trainer(what + " is an empty function" + place());
    if (losses.size() > 1 && loss.measure.is_of_all()) {
      fail_trainer(what + " is of all outputs: it is to be the only one" + place());
    }
    if (!(loss.weight >= 0) || std::isinf(loss.weight)) {
      fail_trainer("the weight of " + what + " is " + to_string(Array(loss.weight)) +
                   ", expected a finite one of at least 0" + place());
    }
    if (losses.size() > 1) take(loss.name + "_loss");
  }
  for (const Metric& metric : options.metrics) {
    if (metric.name.empty()) fail_trainer("a metric has no name" + place());
    take(metric.name);
    if (!metric.measure)
      fail_trainer("the metric " + metric.name + " is an empty function" + place());
    const auto count = static_cast<int>(labels.size());
    if (!metric.measure.is_of_all() && (metric.output < 0 || metric.output >= count)) {
      fail_trainer("the metric " + metric.name + " is of output " + std::to_string(metric.output) +
                   ", there are labels of " + std::to_string(count) + place());
    }
  }
}

bool Trainer::Parts::takes_weights() const {
  return std::ranges::all_of(losses, [](const OutputLoss& l) { return l.measure.takes_weights(); });
}

std::vector<std::string> Trainer::Parts::names() const {
  std::vector<std::string> all;
  for (const OutputLoss& loss : losses) {
    if (losses.size() > 1) all.push_back(loss.name + "_loss");
  }
  for (const Metric& metric : options.metrics) all.push_back(metric.name);
  return all;
}

// ---- Expressions

Tensors Trainer::Parts::outputs_of(bool training) const {
  return with_prefix(
      [&]() -> Tensors {
        if (lists) lists->inputs = x;
        const Tensor output = training ? net.train(x[0]) : net(x[0]);
        if (!lists) return {output};
        if (!losses[0].measure.is_of_all() && lists->outputs.size() != labels.size()) {
          throw ValueError("it gives " + std::to_string(lists->outputs.size()) +
                           " outputs, there are " + std::to_string(labels.size()) + " labels");
        }
        return lists->outputs;
      },
      [&] { return "Trainer: the network" + place() + ": "; });
}

std::vector<Tensor> Trainer::Parts::measures(const Tensors& outputs, const Tensors& weights) const {
  const auto measured = [&](const std::string& what, const Measure& measure, std::size_t output,
                            const Tensor& by, bool may_be_array) {
    // Errors of the measure know the lines of the network, not who asked for it.
    const Tensor value = with_prefix(
        [&] {
          return measure.is_of_all() ? measure.of_all(outputs, labels)
                                     : measure(outputs[output], labels[output], by);
        },
        [&] { return "Trainer: " + what + place() + ": "; });
    if (!value) fail_trainer(what + " is an empty Tensor" + place());
    if (value.rank() > 0 && !may_be_array) {
      throw ShapeError("Trainer: " + what + " is " + to_string(value.type()) +
                       ", expected a scalar" + place());
    }
    return value;
  };
  std::vector<Tensor> all;
  Tensor sum;
  for (std::size_t k = 0; k < losses.size(); ++k) {
    const OutputLoss& loss = losses[k];
    const Tensor value = measured(losses.size() == 1 ? "the loss" : "the loss " + loss.name,
                                  loss.measure, k, weights.empty() ? Tensor() : weights[k], false);
    const Tensor part = loss.weight == 1 ? value : loss.weight * value;
    sum = sum ? sum + part : part;
    if (losses.size() > 1) all.push_back(value);
  }
  all.insert(all.begin(), sum);
  for (const Metric& metric : options.metrics) {
    all.push_back(measured("the metric " + metric.name, metric.measure,
                           static_cast<std::size_t>(metric.output), {},
                           static_cast<bool>(metric.finish)));
  }
  return all;
}

std::vector<Tensor> Trainer::Parts::variables(bool with_labels, const Tensors& weights) const {
  std::vector<Tensor> all = x;
  if (with_labels) all.insert(all.end(), labels.begin(), labels.end());
  if (options.mask) all.push_back(options.mask);
  all.insert(all.end(), weights.begin(), weights.end());
  return all;
}

Tensors Trainer::Parts::weight_variables(const std::vector<int>& ranks) const {
  Tensors all;
  for (std::size_t k = 0; k < ranks.size(); ++k) {
    const Dims& shape = labels[k].shape();
    all.push_back(tensor(ranks.size() == 1 ? "weights" : "weights" + std::to_string(k + 1),
                         Dims(shape.begin(), shape.begin() + ranks[k]), f32, at));
  }
  return all;
}

// ---- Functions

TrainingStep Trainer::Parts::training_step(optim::Optimizer& by, const Tensors& weights) {
  const std::vector<Tensor> values = of_all_devices(measures(outputs_of(true), weights));
  std::vector<Update> updates = by.minimize(values[0], net.parameters(), at);
  if (options.average_decay) {
    if (!average) {
      average = with_prefix(
          [&] { return optim::MovingAverage(net.parameters(), *options.average_decay); },
          [&] { return "Trainer: average_decay" + place() + ": "; });
    }
    updates = average->updates(updates, at);
  }
  const std::vector<Tensor> inputs = variables(true, weights);
  if (options.devices) {
    const ParallelFunction<dynamic_outputs> step = parallel_function(
        *options.devices, inputs, values,
        {.updates = updates, .same = values, .name = "train", .check = options.check}, at);
    return [step](std::span<const Argument> arguments) { return step.call(arguments); };
  }
  const StepFunction step = function(inputs, values,
                                     {.updates = updates,
                                      .name = "train",
                                      .target = options.target,
                                      .check = options.check,
                                      .own_stream = options.own_streams},
                                     at);
  return [step](std::span<const Argument> arguments) { return step.call(arguments); };
}

std::vector<Given> Trainer::Parts::givens(bool averaged) const {
  std::vector<Given> all;
  if (!averaged) return all;
  for (std::size_t k = 0; k < trained.size(); ++k) {
    all.push_back({trained[k], average->averages()[k]});
  }
  return all;
}

StepFunction Trainer::Parts::test_step(bool averaged, const Tensors& weights) const {
  return function(variables(true, weights), measures(outputs_of(false), weights),
                  {.givens = givens(averaged),
                   .name = "test",
                   .target = options.target,
                   .own_stream = options.own_streams},
                  at);
}

StepFunction Trainer::Parts::prediction(bool averaged) {
  const Tensors outputs = outputs_of(false);
  if (outputs.size() == 1 && labels.size() == 1) {
    const Tensor& output = outputs[0];
    const bool are_classes = !is_float(labels[0].dtype()) &&
                             output.rank() == labels[0].rank() + 1 &&
                             output.shape(-1).is_constant();
    if (are_classes) classes = output.shape(-1).constant();
  }
  // The mask may be the loss's alone.
  return function(variables(false, {}), outputs,
                  {.givens = givens(averaged),
                   .name = "predict",
                   .target = options.target,
                   .on_unused_input = UnusedInput::ignore,
                   .own_stream = options.own_streams},
                  at);
}

const TrainingStep& Trainer::Parts::step_for(const std::vector<int>& ranks) {
  const std::lock_guard lock(making);
  if (const auto found = steps_for.find(ranks); found != steps_for.end()) return found->second;
  if (optimizer_lives.expired()) {
    fail_trainer("the optimizer is no longer there, which the first step with weights takes" +
                 place());
  }
  const auto began = std::chrono::steady_clock::now();
  TrainingStep step = training_step(*optimizer, weight_variables(ranks));
  compiling += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  optimizer_state = optimizer->state();
  return steps_for.emplace(ranks, std::move(step)).first->second;
}

const StepFunction& Trainer::Parts::test_for(const std::vector<int>& ranks) {
  const std::lock_guard lock(making);
  const std::pair<bool, std::vector<int>> key(use_averages, ranks);
  if (const auto found = tests_for.find(key); found != tests_for.end()) return found->second;
  return tests_for.emplace(key, test_step(use_averages, weight_variables(ranks))).first->second;
}

void Trainer::Parts::weigh(std::size_t count) {
  if (options.devices) {
    throw ValueError(
        "fit: class_weights are not for batches that devices share, whose parts count by their "
        "rows");
  }
  if (labels.size() != 1) {
    throw ValueError("fit: class_weights are for networks of one output, this one has " +
                     std::to_string(labels.size()) +
                     " labels: losses of a function of its own take weights");
  }
  if (classes && static_cast<std::int64_t>(count) != *classes) {
    throw ValueError("fit: there are " + std::to_string(count) +
                     " class_weights, the network gives " + std::to_string(*classes) + " classes");
  }
  const std::vector<int> ranks = {labels[0].rank()};
  if (!steps_for.contains(ranks) && optimizer_lives.expired()) {
    throw ValueError(
        "fit: the optimizer is no longer there, which the first fit with "
        "class_weights takes");
  }
  step_for(ranks);
}

void Trainer::Parts::check_trained() const {
  const std::vector<Shared> now = net.parameters();
  const auto is_same = [](const Shared& a, const Shared& b) { return a.state() == b.state(); };
  if (std::ranges::equal(now, trained, is_same)) return;
  const auto missing = [&](const std::vector<Shared>& all, const std::vector<Shared>& from) {
    return std::ranges::find_if(all, [&](const Shared& one) {
      return std::ranges::none_of(from, [&](const Shared& other) { return is_same(one, other); });
    });
  };
  const auto frozen = missing(trained, now), freed = missing(now, trained);
  const bool is_frozen = frozen != trained.end();
  if (!is_frozen && freed == now.end()) return;
  fail_trainer("the parameter " + (is_frozen ? frozen : freed)->name() + " has been " +
               (is_frozen ? "frozen" : "made trainable") +
               " since the Trainer was made: make the Trainer after set_trainable" + place());
}

// ---- Trainer

namespace {

// A network of lists as one of its first input.
Sequential in_lists(std::function<Tensors(const Tensors&)> net,
                    const std::shared_ptr<ListsOfTensors>& lists, const Location& at) {
  const auto call = [net = std::move(net), lists](const Tensor&) {
    lists->outputs = net(lists->inputs);
    if (lists->outputs.empty()) throw ValueError("it gives no output");
    return lists->outputs[0];
  };
  return Sequential(std::vector<Layer>{Layer(call, at)});
}

}  // namespace

Trainer::Trainer(Sequential net, Tensor x, Tensor labels, const Measure& loss,
                 optim::Optimizer& optimizer, const TrainerOptions& options, const Location& at)
    : parts_(std::make_unique<Parts>(
          std::move(net), nullptr, Tensors{std::move(x)}, Tensors{std::move(labels)},
          std::vector<OutputLoss>{{.measure = loss}}, optimizer, options, at)) {}
Trainer::Trainer(ListNetwork net, Tensors x, Tensors labels, std::vector<OutputLoss> losses,
                 optim::Optimizer& optimizer, const TrainerOptions& options, const Location& at,
                 OfLists) {
  const auto lists = std::make_shared<ListsOfTensors>();
  parts_ = std::make_unique<Parts>(in_lists(std::move(net), lists, at), lists, std::move(x),
                                   std::move(labels), std::move(losses), optimizer, options, at);
}
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

optim::MovingAverage& Trainer::averages() {
  if (!parts_->average) {
    throw ValueError(
        "averages: the Trainer keeps none, TrainerOptions::average_decay asks for them");
  }
  return *parts_->average;
}

void Trainer::use_averages(bool use) {
  if (use) averages();
  parts_->use_averages = use;
  parts_->test_for({});
  if (!parts_->predictions.contains(use)) {
    parts_->predictions.emplace(use, parts_->prediction(use));
  }
}

}  // namespace kroton::nn
