// The loop around a training step.
#include <kroton/data.h>
#include <kroton/error.h>
#include <kroton/trainer.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <limits>

namespace kroton::nn {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void fail(const std::string& what) { throw ValueError("Trainer: " + what); }

std::int64_t examples_of(const char* what, const Array& x, const Array& labels) {
  if (x.shape().rank() == 0 || labels.shape().rank() == 0 || x.shape()[0] != labels.shape()[0]) {
    throw ShapeError(std::string(what) + ": x is " + to_string(x.shape()) + ", labels are " +
                     to_string(labels.shape()) + ": both have an example in each row");
  }
  return x.shape()[0];
}

// These rows of an array, one after the other.
Array rows_of(const Array& all, std::span<const std::uint32_t> rows, std::int64_t first = 0) {
  std::vector<std::int64_t> sizes(all.shape().begin(), all.shape().end());
  sizes[0] = static_cast<std::int64_t>(rows.size());
  Array result = Array::empty(Shape(sizes), all.dtype());
  const std::size_t bytes = result.size() == 0
                                ? 0
                                : static_cast<std::size_t>(result.size()) *
                                      static_cast<std::size_t>(size_of(all.dtype())) / rows.size();
  const auto* from = static_cast<const std::byte*>(all.raw());
  auto* to = static_cast<std::byte*>(result.raw());
  for (const std::uint32_t row : rows) {
    std::memcpy(to, from + (static_cast<std::size_t>(first) + row) * bytes, bytes);
    to += bytes;
  }
  return result;
}

// The mean of the batches' means, by how many examples they have.
class Mean {
 public:
  void add(const Measured& of_batch, std::size_t examples) {
    const auto n = static_cast<double>(examples);
    sum_.loss += of_batch.loss * n;
    sum_.metric += of_batch.metric * n;
    count_ += n;
  }
  Measured value() const { return {sum_.loss / count_, sum_.metric / count_}; }
  double count() const { return count_; }

 private:
  Measured sum_;
  double count_ = 0;
};

double number(const Array& value) { return value.cast(f64).item<double>(); }

std::string formatted(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string text_of(const Measured& measured, const std::string& metric_name, bool has_metric) {
  std::string text = formatted("loss %.4f", measured.loss);
  if (has_metric) text += "  " + metric_name + formatted(" %.4f", measured.metric);
  return text;
}

void check(const FitOptions& o) {
  if (o.epochs < 0) fail("epochs is " + std::to_string(o.epochs));
  if (o.batch < 1) fail("batch is " + std::to_string(o.batch));
  if (!(o.validation_split >= 0 && o.validation_split < 1)) {
    fail("validation_split is " + to_string(Array(o.validation_split)) +
         ", expected one in [0, 1)");
  }
  if (o.validation && o.validation_split > 0) {
    fail("there are both validation examples and a validation_split");
  }
  if (o.patience && *o.patience < 1) fail("patience is " + std::to_string(*o.patience));
}

}  // namespace

Tensor cross_entropy_of(const Tensor& logits, const Tensor& labels) {
  return cross_entropy(logits, labels);
}

namespace {

std::vector<Tensor> measures(const Measure& loss, const Measure& metric, const Tensor& output,
                             const Tensor& labels) {
  if (!loss) fail("the loss is an empty function");
  return {loss(output, labels), metric ? metric(output, labels) : Operand(0.0F).tensor()};
}

Function<2> training_step(const Sequential& net, const Tensor& x, const Tensor& labels,
                          const Measure& loss, optim::Optimizer& optimizer,
                          const TrainerOptions& options, const Location& at) {
  const std::vector<Tensor> values = measures(loss, options.metric, net.train(x), labels);
  return function({x, labels}, {values[0], values[1]},
                  {.updates = optimizer.minimize(values[0], net.parameters(), at),
                   .name = "train",
                   .target = options.target});
}

Function<2> test_step(const Sequential& net, const Tensor& x, const Tensor& labels,
                      const Measure& loss, const TrainerOptions& options) {
  const std::vector<Tensor> values = measures(loss, options.metric, net(x), labels);
  return function({x, labels}, {values[0], values[1]}, {.name = "test", .target = options.target});
}

}  // namespace

Trainer::Trainer(Sequential net, Tensor x, Tensor labels, const Measure& loss,
                 optim::Optimizer& optimizer, const TrainerOptions& options, const Location& at)
    : net_(std::move(net)),
      optimizer_(optimizer),
      train_(training_step(net_, x, labels, loss, optimizer, options, at)),
      test_(test_step(net_, x, labels, loss, options)),
      predict_(function({x}, net_(x), {.name = "predict", .target = options.target})),
      metric_name_(options.metric_name),
      has_metric_(static_cast<bool>(options.metric)) {}

Measured Trainer::train_minibatch(const Array& x, const Array& labels) {
  if (examples_of("train_minibatch", x, labels) == 0) fail("a minibatch has no examples");
  const auto [loss, metric] = train_(x, labels);
  ++steps_;
  const Measured measured{number(loss), number(metric)};
  if (!std::isfinite(measured.loss)) {
    fail("the loss of step " + std::to_string(steps_) + " is " + to_string(Array(measured.loss)));
  }
  return measured;
}

Measured Trainer::test_minibatch(const Array& x, const Array& labels) const {
  const auto [loss, metric] = test_(x, labels);
  return {number(loss), number(metric)};
}

Measured Trainer::evaluate(const Array& x, const Array& labels, std::int64_t batch) const {
  const std::int64_t count = examples_of("evaluate", x, labels);
  if (count == 0) fail("there are no examples to evaluate");
  Mean mean;
  for (const std::span<const std::uint32_t> rows : data::Batches(count, batch, 0)) {
    mean.add(test_minibatch(rows_of(x, rows), rows_of(labels, rows)), rows.size());
  }
  return mean.value();
}

Array Trainer::predict(const Array& x, std::int64_t batch) const {
  if (x.shape().rank() == 0 || x.shape()[0] == 0) return predict_(x);
  std::vector<Array> parts;
  for (const std::span<const std::uint32_t> rows : data::Batches(x.shape()[0], batch, 0)) {
    parts.push_back(predict_(rows_of(x, rows)));
  }
  std::vector<std::int64_t> sizes(parts[0].shape().begin(), parts[0].shape().end());
  if (sizes.empty() || sizes[0] != std::min(batch, x.shape()[0])) {
    throw ShapeError("predict: the network gives " + to_string(parts[0].shape()) +
                     ", which has no row for each example");
  }
  sizes[0] = x.shape()[0];
  Array all = Array::empty(Shape(sizes), parts[0].dtype());
  auto* to = static_cast<std::byte*>(all.raw());
  for (const Array& part : parts) {
    const auto bytes =
        static_cast<std::size_t>(part.size()) * static_cast<std::size_t>(size_of(part.dtype()));
    std::memcpy(to, part.raw(), bytes);
    to += bytes;
  }
  return all;
}

std::vector<Shared> Trainer::state() const {
  std::vector<Shared> all = net_.state();
  for (const Shared& variable : optimizer_.state()) all.push_back(variable);
  all.push_back(random_numbers().state());
  return all;
}

std::vector<Epoch> Trainer::fit(const Array& x, const Array& labels, const FitOptions& o) {
  check(o);
  const std::int64_t count = examples_of("fit", x, labels);
  const auto tested = static_cast<std::int64_t>(o.validation_split * static_cast<double>(count));
  const std::int64_t trained = count - tested;
  if (trained == 0) fail("there are no examples to train on");
  if (o.validation_split > 0 && tested == 0) {
    fail("a validation_split of " + to_string(Array(o.validation_split)) + " of " +
         std::to_string(count) + " examples leaves none to test on");
  }
  if (o.validation) examples_of("fit: validation", o.validation->first, o.validation->second);
  std::pair<Array, Array> validation;
  if (tested > 0) {
    std::vector<std::uint32_t> rows;
    for (std::int64_t k = 0; k < tested; ++k) rows.push_back(static_cast<std::uint32_t>(k));
    validation = {rows_of(x, rows, trained), rows_of(labels, rows, trained)};
  } else if (o.validation) {
    validation = *o.validation;
  }
  const bool validates = tested > 0 || o.validation.has_value();
  const bool redraws = o.progress == &std::cout && isatty(STDOUT_FILENO) != 0;

  std::vector<Epoch> history;
  double least = std::numeric_limits<double>::infinity();
  int since_least = 0;
  std::vector<std::pair<Shared, Array>> best;
  data::Batches batches(trained, o.batch, o.seed);
  for (int k = 1; k <= o.epochs; ++k) {
    const Clock::time_point start = Clock::now();
    Clock::time_point shown = start;
    Mean mean;
    const std::string head = "epoch " + std::to_string(k) + "/" + std::to_string(o.epochs) + "  ";
    for (const std::span<const std::uint32_t> rows : batches.next_epoch()) {
      mean.add(train_minibatch(rows_of(x, rows), rows_of(labels, rows)), rows.size());
      if (!redraws || seconds_since(shown) < 0.2) continue;
      shown = Clock::now();
      const double left = (static_cast<double>(trained) / mean.count() - 1) * seconds_since(start);
      *o.progress << '\r' << head << text_of(mean.value(), metric_name_, has_metric_)
                  << formatted("  %.0f s left  ", left) << std::flush;
    }
    Epoch epoch;
    epoch.number = k;
    epoch.train = mean.value();
    epoch.seconds = seconds_since(start);
    epoch.examples_per_second = mean.count() / epoch.seconds;
    if (validates) epoch.validation = evaluate(validation.first, validation.second);
    if (o.progress != nullptr) {
      *o.progress << (redraws ? "\r" : "") << head
                  << text_of(epoch.train, metric_name_, has_metric_);
      if (epoch.validation) {
        *o.progress << "  validation: " << text_of(*epoch.validation, metric_name_, has_metric_);
      }
      *o.progress << formatted("  %.0f examples/s", epoch.examples_per_second) << std::endl;
    }
    history.push_back(epoch);
    const double loss = epoch.validation ? epoch.validation->loss : epoch.train.loss;
    ++since_least;
    if (loss < least) {
      least = loss;
      since_least = 0;
      if (o.keep_best) {
        best.clear();
        for (const Shared& variable : state()) best.emplace_back(variable, variable.get_value());
      }
    }
    if (o.after_epoch && !o.after_epoch(epoch)) break;
    if (o.patience && since_least >= *o.patience) break;
  }
  for (auto& [variable, value] : best) variable.set_value(value);
  return history;
}

}  // namespace kroton::nn
