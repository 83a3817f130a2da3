// A Trainer on one batch: its arguments, what is measured of it, what is wrong with it.
#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

namespace {

double number(const Array& value) { return value.item<double>(); }

double sum_of(const Array& values) {
  const Array all = values.cast(f64).contiguous();
  const std::span<const double> elements = all.data<double>();
  return std::accumulate(elements.begin(), elements.end(), 0.0);
}

// Whether it has the first axes of another shape.
bool begins(const Shape& first, const Shape& whole) {
  return first.rank() <= whole.rank() && std::equal(first.begin(), first.end(), whole.begin());
}

const Array& labels_of(const data::Batch& batch, std::size_t output) {
  return output == 0 ? batch.labels : batch.more_labels[output - 1];
}

// How many labels count.
double count_of(const data::Batch& batch, const Array& labels) {
  if (!batch.mask || batch.mask->rank() == 0 || !begins(batch.mask->shape(), labels.shape())) {
    return static_cast<double>(labels.size());
  }
  if (batch.mask->size() == 0) return 0;
  return sum_of(*batch.mask) * static_cast<double>(labels.size() / batch.mask->size());
}

// One example as a batch of its own.
Array row_of(const Array& all, std::int64_t row) {
  std::vector<std::int64_t> sizes(all.shape().begin(), all.shape().end());
  sizes[0] = 1;
  return all.row(row).contiguous().reshape(Shape(sizes));
}

// The weights of a batch, checked against its labels.
Array given_weights(const Array& weights, const Shape& labels) {
  if (weights.rank() == 0 || !begins(weights.shape(), labels)) {
    throw ShapeError("Trainer: the weights of the batch are " + to_string(weights.shape()) +
                     ", expected the first axes of the labels, which are " + to_string(labels));
  }
  Array values = weights.cast(f32).contiguous();
  for (const float weight : values.data<float>()) {
    if (weight >= 0 && std::isfinite(weight)) continue;
    fail_trainer("a weight of the batch is " + to_string(Array(weight)) +
                 ", expected finite ones of at least 0");
  }
  return values;
}

// The same for each label of a shape that begins with theirs.
Array for_each_label(const Array& weights, const Shape& labels) {
  if (weights.shape() == labels) return weights.copy();
  Array result = Array::empty(labels, f32);
  if (result.size() == 0) return result;
  const auto from = weights.data<float>();
  const auto to = result.data<float>();
  const std::size_t each = to.size() / from.size();
  for (std::size_t k = 0; k < to.size(); ++k) to[k] = from[k / each];
  return result;
}

// Times the weights of the classes, 0 where a mask is, whatever the label.
void weigh_classes(Array& weights, const Array& labels, const std::vector<double>& of_classes,
                   const std::optional<Array>& mask) {
  const Array classes = labels.cast(i64).contiguous();
  const auto from = classes.data<std::int64_t>();
  const auto to = weights.data<float>();
  for (std::size_t k = 0; k < from.size(); ++k) {
    if (mask && mask->data<double>()[k] == 0) continue;
    if (from[k] < 0 || from[k] >= static_cast<std::int64_t>(of_classes.size())) {
      fail_trainer("there are " + std::to_string(of_classes.size()) + " class_weights, and label " +
                   std::to_string(k) + " of the minibatch is " + std::to_string(from[k]));
    }
    to[k] *= static_cast<float>(of_classes[static_cast<std::size_t>(from[k])]);
  }
}

// A weight for each label: of the batch, of its class. Labels that are integers have one each;
// others as many as the batch gives.
Array weights_of_labels(const data::Batch& batch, const Array& labels,
                        const std::vector<double>& of_classes) {
  Array weights = batch.weights ? given_weights(*batch.weights, labels.shape())
                                : Array::ones({labels.shape()[0]}, f32);
  if (!is_float(labels.dtype())) weights = for_each_label(weights, labels.shape());
  std::optional<Array> mask;
  if (batch.mask && batch.mask->shape() == weights.shape()) {
    mask = batch.mask->cast(f64).contiguous();
    weights = weights.copy();
    for (std::size_t k = 0; k < weights.data<float>().size(); ++k) {
      if (mask->data<double>()[k] == 0) weights.data<float>()[k] = 0;
    }
  }
  if (of_classes.empty()) return weights;
  if (is_float(labels.dtype())) {
    throw TypeError("class_weights are for labels that are integers, these are " +
                    std::string(name_of(labels.dtype())));
  }
  weigh_classes(weights, labels, of_classes, mask);
  return weights;
}

}  // namespace

// ---- Totals

void Totals::Mean::add(double value, double by) {
  // A mean over labels of which none counts says nothing, whatever it is.
  if (by > 0) sum += value * by;
  weight += by;
}

void Totals::add(const std::vector<Array>& results, const Weights& weights) {
  const std::size_t first = of_losses_.size() == 1 ? 0 : 1;
  for (std::size_t k = 0; k < of_losses_.size(); ++k) {
    of_losses_[k].add(number(results[first + k]), weights.of_losses[k]);
  }
  for (std::size_t k = 0; k < of_metrics_.size(); ++k) {
    const Array value = results[first + of_losses_.size() + k].cast(f64);
    const bool is_mean = value.rank() == 0;
    const double weight = weights.of_metrics[k];
    Total& total = of_metrics_[k];
    total.weight += weight;
    if (is_mean && weight == 0) continue;
    const bool is_first = total.sum.shape() != value.shape();
    if (is_first && total.sum.size() > 0) {
      throw ShapeError("Trainer: the metric " + (*metrics_)[k].name + " is " +
                       to_string(total.sum.shape()) + " of one batch and " +
                       to_string(value.shape()) + " of another: they cannot be summed");
    }
    if (is_first) total.sum = Array::zeros(value.shape(), f64);
    const auto from = value.data<double>();
    const auto to = total.sum.data<double>();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += is_mean ? from[i] * weight : from[i];
  }
}

Measured Totals::values() const {
  Measured measured;
  const bool is_one = of_losses_.size() == 1;
  for (std::size_t k = 0; k < of_losses_.size(); ++k) {
    const double value = of_losses_[k].value();
    measured.loss += is_one ? value : (*losses_)[k].weight * value;
    if (!is_one) measured.metrics.emplace_back((*losses_)[k].name + "_loss", value);
  }
  for (std::size_t k = 0; k < of_metrics_.size(); ++k) {
    const Metric& metric = (*metrics_)[k];
    Array total = of_metrics_[k].sum.copy();
    if (total.rank() == 0) total = Array(total.item<double>() / of_metrics_[k].weight);
    if (total.rank() == 1 && total.size() == 0) total = Array(0.0);  // no label counted
    measured.metrics.emplace_back(metric.name,
                                  metric.finish ? metric.finish(total) : total.item<double>());
  }
  return measured;
}

// ---- Arguments

std::int64_t Trainer::Parts::examples_of(const char* what, const data::Batch& batch) const {
  if (labels.empty()) {
    if (batch.x.rank() == 0) {
      throw ShapeError(std::string(what) + ": x is a scalar, expected an example in each row");
    }
  } else if (batch.x.rank() == 0 || batch.labels.rank() == 0 ||
             batch.x.shape()[0] != batch.labels.shape()[0]) {
    throw ShapeError(std::string(what) + ": x is " + to_string(batch.x.shape()) + ", labels are " +
                     to_string(batch.labels.shape()) + ": both have an example in each row");
  }
  for (const auto& [name, list] :
       {std::pair("more_x", &batch.more_x), std::pair("more_labels", &batch.more_labels)}) {
    for (std::size_t k = 0; k < list->size(); ++k) {
      const Shape& shape = (*list)[k].shape();
      if (shape.rank() > 0 && shape[0] == batch.x.shape()[0]) continue;
      throw ShapeError(std::string(what) + ": x is " + to_string(batch.x.shape()) + ", " + name +
                       "[" + std::to_string(k) + "] is " + to_string(shape) +
                       ": all have an example in each row");
    }
  }
  if (batch.x.shape()[0] == 0) fail_trainer(std::string(what) + ": a minibatch has no examples");
  return batch.x.shape()[0];
}

std::vector<Argument> Trainer::Parts::arguments_of(const data::Batch& batch,
                                                   bool with_labels) const {
  const auto check_count = [](const char* what, std::size_t wanted, std::size_t given) {
    if (wanted == given) return;
    fail_trainer(std::string("there are ") + std::to_string(wanted) + what + ", the batch has " +
                 std::to_string(given));
  };
  check_count(" inputs", x.size(), batch.more_x.size() + 1);
  std::vector<Argument> arguments = {batch.x};
  for (const Array& more : batch.more_x) arguments.emplace_back(more);
  if (with_labels && !labels.empty()) {
    check_count(" labels", labels.size(), batch.more_labels.size() + 1);
    arguments.emplace_back(batch.labels);
    for (const Array& more : batch.more_labels) arguments.emplace_back(more);
  }
  if (options.mask && !batch.mask) {
    fail_trainer("TrainerOptions::mask is for batches with a mask, this one has none");
  }
  if (!options.mask && batch.mask) {
    fail_trainer("the batch has a mask, for which there is no variable: TrainerOptions::mask");
  }
  if (batch.mask) arguments.emplace_back(*batch.mask);
  return arguments;
}

std::vector<Array> Trainer::Parts::weights_of(const data::Batch& batch,
                                              const std::vector<double>& of_classes) const {
  std::vector<Array> all;
  if (!batch.weights && of_classes.empty()) return all;
  if (!takes_weights()) {
    fail_trainer(
        "the batch has weights, which are for losses that take weights as a third argument, as "
        "cross_entropy_of does");
  }
  for (std::size_t k = 0; k < losses.size(); ++k) {
    all.push_back(weights_of_labels(batch, labels_of(batch, k), of_classes));
  }
  return all;
}

Totals::Weights Trainer::Parts::counts_of(const data::Batch& batch,
                                          const std::vector<Array>& weights) const {
  const auto of = [&](const Measure& measure, std::size_t output) {
    return measure.is_of_all() ? static_cast<double>(batch.x.shape()[0])
                               : count_of(batch, labels_of(batch, output));
  };
  Totals::Weights counts;
  for (std::size_t k = 0; k < losses.size(); ++k) {
    counts.of_losses.push_back(weights.empty() ? of(losses[k].measure, k) : sum_of(weights[k]));
  }
  for (const Metric& metric : options.metrics) {
    counts.of_metrics.push_back(of(metric.measure, static_cast<std::size_t>(metric.output)));
  }
  return counts;
}

// ---- What is wrong

std::string Trainer::Parts::row_at_fault(const data::Batch& batch, const Numbers& numbers) {
  for (std::int64_t row = 0; row < batch.x.shape()[0]; ++row) {
    data::Batch alone{.x = row_of(batch.x, row)};
    if (!labels.empty()) alone.labels = row_of(batch.labels, row);
    for (const Array& more : batch.more_x) alone.more_x.push_back(row_of(more, row));
    for (const Array& more : batch.more_labels) alone.more_labels.push_back(row_of(more, row));
    if (batch.mask) alone.mask = row_of(*batch.mask, row);
    try {
      test_for({}).call(arguments_of(alone));
    } catch (const ValueError&) {
      std::string text = "row " + std::to_string(row) + " of the minibatch";
      if (numbers) text += ", example " + std::to_string(numbers(row));
      if (labels.size() == 1 && alone.labels.size() == 1) {
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
    if (batch.mask && begins(batch.mask->shape(), all.shape())) {
      mask = batch.mask->cast(f64).contiguous();
      of_each = values.size() / static_cast<std::size_t>(mask->size());
    }
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (std::isfinite(values[k]) || (mask && mask->data<double>()[k / of_each] == 0)) continue;
      const auto rows = static_cast<std::size_t>(all.shape()[0]);
      const auto row = static_cast<std::int64_t>(k / (values.size() / rows));
      return "; " + what + " " + to_string(Array(values[k])) + " in row " + std::to_string(row) +
             (numbers ? ", example " + std::to_string(numbers(row)) : "");
    }
    return "";
  };
  std::string text = found_in("x of the minibatch holds", batch.x);
  for (std::size_t k = 0; k < batch.more_x.size(); ++k) {
    text += found_in("more_x[" + std::to_string(k) + "] of the minibatch holds", batch.more_x[k]);
  }
  text += found_in("the labels of the minibatch hold", batch.labels);
  for (std::size_t k = 0; k < batch.more_labels.size(); ++k) {
    text += found_in("more_labels[" + std::to_string(k) + "] of the minibatch holds",
                     batch.more_labels[k]);
  }
  return text;
}

// ---- Calls

namespace {

std::vector<int> add_weights(std::vector<Argument>& arguments, const std::vector<Array>& weights) {
  std::vector<int> ranks;
  for (const Array& each : weights) {
    ranks.push_back(each.rank());
    arguments.emplace_back(each);
  }
  return ranks;
}

}  // namespace

Measured Trainer::Parts::train(const data::Batch& batch, const std::vector<double>& class_weights,
                               Totals* epoch, const Numbers& numbers) {
  check_trained();
  const std::int64_t count = examples_of("train_minibatch", batch);
  std::vector<Argument> arguments = arguments_of(batch);
  const std::vector<Array> weights = weights_of(batch, class_weights);
  if (options.devices && !weights.empty()) {
    fail_trainer(
        "the labels have weights, and the batch is shared by devices, whose parts count by their "
        "rows");
  }
  const TrainingStep& step = step_for(add_weights(arguments, weights));
  std::vector<Array> results;
  try {
    results = step(arguments);
  } catch (const ValueError& error) {
    throw ValueError(row_at_fault(batch, numbers) + error.what());
  } catch (const NotFiniteError& error) {
    throw NotFiniteError("step " + std::to_string(steps + 1) + ": " + error.what() +
                         not_finite_in(batch, numbers));
  }
  ++steps;
  examples += count;
  if (const double value = number(results[0]); !std::isfinite(value)) {
    const std::string of_data = not_finite_in(batch, numbers);
    fail_trainer("the loss of step " + std::to_string(steps) + " is " + to_string(Array(value)) +
                 (!of_data.empty()
                      ? of_data
                      : "; with .check = kt::Check::values the first operation that gives no "
                        "finite number is named"));
  }
  const Totals::Weights counts = counts_of(batch, weights);
  Totals own = totals();
  own.add(results, counts);
  if (epoch != nullptr) epoch->add(results, counts);
  return own.values();
}

void Trainer::Parts::test(const data::Batch& batch, Totals& totals, const Numbers& numbers) {
  examples_of("test_minibatch", batch);
  std::vector<Argument> arguments = arguments_of(batch);
  const std::vector<Array> weights = weights_of(batch, {});
  const StepFunction& step = test_for(add_weights(arguments, weights));
  std::vector<Array> results;
  try {
    results = step.call(arguments);
  } catch (const ValueError& error) {
    throw ValueError(row_at_fault(batch, numbers) + error.what());
  }
  totals.add(results, counts_of(batch, weights));
}

std::vector<Array> Trainer::Parts::predict(const data::Batch& batch) const {
  return predictions.at(use_averages).call(arguments_of(batch, false));
}

Measured Trainer::train_minibatch(const Array& x, const Array& labels) {
  return train_minibatch(data::Batch{x, labels});
}
Measured Trainer::train_minibatch(const data::Batch& batch) { return parts_->train(batch); }

Measured Trainer::test_minibatch(const Array& x, const Array& labels) const {
  return test_minibatch(data::Batch{x, labels});
}
Measured Trainer::test_minibatch(const data::Batch& batch) const {
  Totals totals = parts_->totals();
  parts_->test(batch, totals);
  return totals.values();
}

}  // namespace kroton::nn
