// The functions of a network, its loss and its optimizer, and calls of them on batches.
#include <kroton/error.h>
#include <kroton/trainer.h>
#include <kroton/variables.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "frontend/train/lines.h"
#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

namespace {

[[noreturn]] void fail(const std::string& what) { throw ValueError("Trainer: " + what); }

double number(const Array& value) { return value.item<double>(); }

double sum_of(const Array& values) {
  const Array all = values.cast(f64).contiguous();
  const std::span<const double> elements = all.data<double>();
  return std::accumulate(elements.begin(), elements.end(), 0.0);
}

// How many examples a batch has.
std::int64_t examples_of(const char* what, const data::Batch& batch) {
  const Shape &x = batch.x.shape(), &labels = batch.labels.shape();
  if (x.rank() == 0 || labels.rank() == 0 || x[0] != labels[0]) {
    throw ShapeError(std::string(what) + ": x is " + to_string(x) + ", labels are " +
                     to_string(labels) + ": both have an example in each row");
  }
  if (x[0] == 0) fail(std::string(what) + ": a minibatch has no examples");
  return x[0];
}

// How many labels a batch has that count.
double weight_of(const data::Batch& batch) {
  if (batch.mask && batch.mask->shape() == batch.labels.shape()) return sum_of(*batch.mask);
  return static_cast<double>(batch.labels.size());
}

// One example as a batch of its own.
Array row_of(const Array& all, std::int64_t row) {
  std::vector<std::int64_t> sizes(all.shape().begin(), all.shape().end());
  sizes[0] = 1;
  return all.row(row).contiguous().reshape(Shape(sizes));
}

// A weight for each label, 0 where a mask of their shape is, whatever the label.
Array weights_of(const data::Batch& batch, const std::vector<double>& of_classes) {
  const Array& labels = batch.labels;
  if (is_float(labels.dtype())) {
    throw TypeError("class_weights are for labels that are integers, these are " +
                    std::string(name_of(labels.dtype())));
  }
  Array weights = Array::zeros(labels.shape());
  std::optional<Array> mask;
  if (batch.mask && batch.mask->shape() == labels.shape()) {
    mask = batch.mask->cast(f64).contiguous();
  }
  const Array classes = labels.cast(i64).contiguous();
  const auto from = classes.data<std::int64_t>();
  const auto to = weights.data<float>();
  for (std::size_t k = 0; k < from.size(); ++k) {
    if (mask && mask->data<double>()[k] == 0) continue;
    if (from[k] < 0 || from[k] >= static_cast<std::int64_t>(of_classes.size())) {
      fail("there are " + std::to_string(of_classes.size()) + " class_weights, and label " +
           std::to_string(k) + " of the minibatch is " + std::to_string(from[k]));
    }
    to[k] = static_cast<float>(of_classes[static_cast<std::size_t>(from[k])]);
  }
  return weights;
}

void check_metrics(const std::vector<Metric>& metrics, const std::string& place) {
  std::set<std::string> names = {"loss"};
  for (const Metric& metric : metrics) {
    if (metric.name.empty()) fail("a metric has no name" + place);
    if (!names.insert(metric.name).second) fail("two measures are called " + metric.name + place);
    if (!metric.measure) fail("the metric " + metric.name + " is an empty function" + place);
  }
}

}  // namespace

void check_batch_size(const char* what, std::int64_t batch) {
  if (batch >= 1) return;
  throw ValueError(std::string(what) + ": batch is " + std::to_string(batch) +
                   ", expected at least 1");
}

Tensor cross_entropy_of(const Tensor& logits, const Tensor& labels, const Tensor& weights) {
  const LineScope scope(logits.line(), "cross_entropy");
  return cross_entropy(logits, labels, {.mask = weights});
}

// ---- Totals

void Totals::add(const std::vector<Array>& results, double loss_weight, double weight) {
  // A loss of labels of which none counts is 0.
  if (loss_weight > 0) loss_ += number(results[0]) * loss_weight;
  loss_weight_ += loss_weight;
  weight_ += weight;
  for (std::size_t k = 0; k < of_metrics_.size(); ++k) {
    const Array value = results[k + 1].cast(f64);
    const bool is_mean = value.rank() == 0;
    if (is_mean && weight == 0) continue;
    Array& total = of_metrics_[k];
    const bool is_first = total.shape() != value.shape();
    if (is_first && total.size() > 0) {
      throw ShapeError("Trainer: the metric " + (*metrics_)[k].name + " is " +
                       to_string(total.shape()) + " of one batch and " + to_string(value.shape()) +
                       " of another: they cannot be summed");
    }
    if (is_first) total = Array::zeros(value.shape(), f64);
    const auto from = value.data<double>();
    const auto to = total.data<double>();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += is_mean ? from[i] * weight : from[i];
  }
}

Measured Totals::values() const {
  Measured measured;
  measured.loss = loss_weight_ > 0 ? loss_ / loss_weight_ : 0;
  for (std::size_t k = 0; k < of_metrics_.size(); ++k) {
    const Metric& metric = (*metrics_)[k];
    Array total = of_metrics_[k].copy();
    if (total.rank() == 0) total = Array(total.item<double>() / weight_);
    if (total.rank() == 1 && total.size() == 0) total = Array(0.0);  // no label counted
    measured.metrics.emplace_back(metric.name,
                                  metric.finish ? metric.finish(total) : total.item<double>());
  }
  return measured;
}

// ---- The functions

Trainer::Parts::Parts(Sequential network, Tensor input, Tensor targets, const Measure& of_loss,
                      optim::Optimizer& steps_by, TrainerOptions given, const Location& here)
    : net(std::move(network)),
      x(std::move(input)),
      labels(std::move(targets)),
      loss(of_loss),
      optimizer(&steps_by),
      optimizer_lives(steps_by.lifetime()),
      options(std::move(given)),
      at(here) {
  if (!x || !labels) fail("the variables x and labels are not to be empty" + place());
  if (!loss) fail("the loss is an empty function" + place());
  check_metrics(options.metrics, place());
  train_step = training_step(steps_by, {});
  optimizer_state = steps_by.state();
  trained = net.parameters();
  tested = test_step();
  predicted = prediction();
  if (const std::vector<Shared> now = net.parameters(); now.size() > trained.size()) {
    fail("the network makes new parameters when it is called again, as " +
         now[trained.size()].name() +
         ": layers are made once, outside of the function that calls them" + place());
  }
}

std::string Trainer::Parts::place() const { return "  [" + to_string(line_of(at)) + "]"; }

std::vector<Tensor> Trainer::Parts::measures(const Tensor& output, const Tensor& weights) const {
  const auto measured = [&](const std::string& what, const Measure& measure, const Tensor& by,
                            bool may_be_array) {
    // Errors of the measure know the lines of the network, not who asked for it.
    const Tensor value = with_prefix([&] { return measure(output, labels, by); },
                                     [&] { return "Trainer: " + what + place() + ": "; });
    if (!value) fail(what + " is an empty Tensor" + place());
    if (value.rank() > 0 && !may_be_array) {
      throw ShapeError("Trainer: " + what + " is " + to_string(value.type()) +
                       ", expected a scalar" + place());
    }
    return value;
  };
  std::vector<Tensor> all = {measured("the loss", loss, weights, false)};
  for (const Metric& metric : options.metrics) {
    all.push_back(measured("the metric " + metric.name, metric.measure, {},
                           static_cast<bool>(metric.finish)));
  }
  return all;
}

StepFunction Trainer::Parts::training_step(optim::Optimizer& by, const Tensor& weights) const {
  const std::vector<Tensor> values =
      measures(with_prefix([&] { return net.train(x); },
                           [&] { return "Trainer: the network" + place() + ": "; }),
               weights);
  std::vector<Tensor> inputs = {x, labels};
  if (options.mask) inputs.push_back(options.mask);
  if (weights) inputs.push_back(weights);
  return function(inputs, values,
                  {.updates = by.minimize(values[0], net.parameters(), at),
                   .name = "train",
                   .target = options.target,
                   .check = options.check},
                  at);
}

StepFunction Trainer::Parts::test_step() const {
  std::vector<Tensor> inputs = {x, labels};
  if (options.mask) inputs.push_back(options.mask);
  return function(inputs, measures(net(x), {}), {.name = "test", .target = options.target}, at);
}

Function<1> Trainer::Parts::prediction() {
  const Tensor output = net(x);
  const bool are_classes = !is_float(labels.dtype()) && output.rank() == labels.rank() + 1 &&
                           output.shape(-1).is_constant();
  if (are_classes) classes = output.shape(-1).constant();
  std::vector<Tensor> inputs = {x};
  if (options.mask) inputs.push_back(options.mask);
  // The mask may be the loss's alone.
  return function(
      inputs, output,
      {.name = "predict", .target = options.target, .on_unused_input = UnusedInput::ignore}, at);
}

void Trainer::Parts::weigh(std::size_t count) {
  if (classes && static_cast<std::int64_t>(count) != *classes) {
    throw ValueError("fit: there are " + std::to_string(count) +
                     " class_weights, the network gives " + std::to_string(*classes) + " classes");
  }
  if (weighted_step) return;
  if (optimizer_lives.expired()) {
    throw ValueError(
        "fit: the optimizer is no longer there, which the first fit with "
        "class_weights takes");
  }
  weighted_step = training_step(*optimizer, tensor("weights", labels.shape(), f32, at));
  optimizer_state = optimizer->state();
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
  fail("the parameter " + (is_frozen ? frozen : freed)->name() + " has been " +
       (is_frozen ? "frozen" : "made trainable") +
       " since the Trainer was made: make the Trainer after set_trainable" + place());
}

// ---- Batches

namespace {

void check_mask(bool wanted, bool given) {
  if (wanted && !given) fail("TrainerOptions::mask is for batches with a mask, this one has none");
  if (!wanted && given) {
    fail("the batch has a mask, for which there is no variable: TrainerOptions::mask");
  }
}

std::vector<Argument> arguments_of(const data::Batch& batch, bool has_mask) {
  check_mask(has_mask, batch.mask.has_value());
  std::vector<Argument> arguments = {batch.x, batch.labels};
  if (has_mask) arguments.emplace_back(*batch.mask);
  return arguments;
}

}  // namespace

std::string Trainer::Parts::row_at_fault(const data::Batch& batch, const Numbers& numbers) const {
  for (std::int64_t row = 0; row < batch.x.shape()[0]; ++row) {
    data::Batch alone{row_of(batch.x, row), row_of(batch.labels, row)};
    if (batch.mask) alone.mask = row_of(*batch.mask, row);
    try {
      (*tested).call(arguments_of(alone, static_cast<bool>(options.mask)));
    } catch (const ValueError&) {
      std::string text = "row " + std::to_string(row) + " of the minibatch";
      if (numbers) text += ", example " + std::to_string(numbers(row));
      if (alone.labels.size() == 1) {
        text += ", whose label is " + to_string(alone.labels.reshape({}));
      }
      return text + ": ";
    } catch (const Error&) {
      return "";
    }
  }
  return "";
}

std::string Trainer::Parts::not_finite_in(const data::Batch& batch, const Numbers& numbers) {
  const auto found_in = [&](const std::string& what, const Array& given) -> std::string {
    if (!is_float(given.dtype()) || given.size() == 0) return "";
    const Array all = given.cast(f64).contiguous();
    const std::span<const double> values = all.data<double>();
    // What a mask of its first axes hides does not count.
    std::optional<Array> mask;
    std::size_t of_each = 1;
    if (batch.mask && batch.mask->rank() <= all.rank() &&
        std::equal(batch.mask->shape().begin(), batch.mask->shape().end(), all.shape().begin())) {
      mask = batch.mask->cast(f64).contiguous();
      of_each = values.size() / static_cast<std::size_t>(mask->size());
    }
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (std::isfinite(values[k]) || (mask && mask->data<double>()[k / of_each] == 0)) continue;
      const auto rows = static_cast<std::size_t>(all.shape()[0]);
      const auto row = static_cast<std::int64_t>(k / (values.size() / rows));
      return "; " + what + " of the minibatch " + (what == "x" ? "holds " : "hold ") +
             to_string(Array(values[k])) + " in row " + std::to_string(row) +
             (numbers ? ", example " + std::to_string(numbers(row)) : "");
    }
    return "";
  };
  return found_in("x", batch.x) + found_in("the labels", batch.labels);
}

Measured Trainer::Parts::train(const data::Batch& batch, const std::vector<double>& class_weights,
                               Totals* epoch, const Numbers& numbers) {
  check_trained();
  const std::int64_t count = examples_of("train_minibatch", batch);
  std::vector<Argument> arguments = arguments_of(batch, static_cast<bool>(options.mask));
  double loss_weight = weight_of(batch);
  const double weight = loss_weight;
  if (!class_weights.empty()) {
    const Array of_labels = weights_of(batch, class_weights);
    loss_weight = sum_of(of_labels);
    arguments.emplace_back(Array(of_labels));
  }
  const StepFunction& step = class_weights.empty() ? *train_step : *weighted_step;
  const auto number_of_step = [&] { return "step " + std::to_string(steps + 1) + ": "; };
  std::vector<Array> results;
  try {
    results = step.call(arguments);
  } catch (const ValueError& error) {
    throw ValueError(row_at_fault(batch, numbers) + error.what());
  } catch (const NotFiniteError& error) {
    throw NotFiniteError(number_of_step() + error.what() + not_finite_in(batch, numbers));
  }
  ++steps;
  examples += count;
  if (const double value = number(results[0]); !std::isfinite(value)) {
    const std::string of_data = not_finite_in(batch, numbers);
    fail("the loss of step " + std::to_string(steps) + " is " + to_string(Array(value)) +
         (!of_data.empty() ? of_data
                           : "; with .check = kt::Check::values the first operation that gives no "
                             "finite number is named"));
  }
  Totals own(options.metrics);
  own.add(results, loss_weight, weight);
  if (epoch != nullptr) epoch->add(results, loss_weight, weight);
  return own.values();
}

void Trainer::Parts::test(const data::Batch& batch, Totals& totals, const Numbers& numbers) const {
  examples_of("test_minibatch", batch);
  const std::vector<Argument> arguments = arguments_of(batch, static_cast<bool>(options.mask));
  std::vector<Array> results;
  try {
    results = (*tested).call(arguments);
  } catch (const ValueError& error) {
    throw ValueError(row_at_fault(batch, numbers) + error.what());
  }
  const double weight = weight_of(batch);
  totals.add(results, weight, weight);
}

Array Trainer::Parts::predict(const Array& of, const std::optional<Array>& mask) const {
  check_mask(static_cast<bool>(options.mask), mask.has_value());
  std::vector<Argument> arguments = {of};
  if (mask) arguments.emplace_back(*mask);
  return (*predicted).call(arguments);
}

Trainer::Trainer(Sequential net, Tensor x, Tensor labels, const Measure& loss,
                 optim::Optimizer& optimizer, const TrainerOptions& options, const Location& at)
    : parts_(std::make_unique<Parts>(std::move(net), std::move(x), std::move(labels), loss,
                                     optimizer, options, at)) {}
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

Measured Trainer::train_minibatch(const Array& x, const Array& labels) {
  return train_minibatch(data::Batch{x, labels});
}
Measured Trainer::train_minibatch(const data::Batch& batch) { return parts_->train(batch); }

Measured Trainer::test_minibatch(const Array& x, const Array& labels) const {
  return test_minibatch(data::Batch{x, labels});
}
Measured Trainer::test_minibatch(const data::Batch& batch) const {
  Totals totals(parts_->options.metrics);
  parts_->test(batch, totals);
  return totals.values();
}

}  // namespace kroton::nn
