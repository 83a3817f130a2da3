// The loop of a training, and what is measured in it.
#include <kroton/error.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "frontend/train/lines.h"
#include "frontend/train/progress.h"
#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

double value_called(const NamedValues& values, std::string_view name) {
  const auto found = std::ranges::find(values, name, &NamedValues::value_type::first);
  if (found != values.end()) return found->second;
  std::string names;
  for (const auto& [known, value] : values) names += (names.empty() ? "" : ", ") + known;
  throw ValueError("nothing is called \"" + std::string(name) + "\" that was measured; there are " +
                   names);
}

NamedValues values_of(const Measured& measured, const std::string& prefix) {
  NamedValues values = {{prefix + "loss", measured.loss}};
  for (const auto& [name, value] : measured.metrics) values.emplace_back(prefix + name, value);
  return values;
}

// What an epoch measures, in the order of Epoch::values().
std::vector<std::string> names_of(const std::vector<std::string>& beside_loss, bool validates) {
  std::vector<std::string> names;
  for (const char* prefix : {"", "validation_"}) {
    if (*prefix != '\0' && !validates) continue;
    names.push_back(std::string(prefix) + "loss");
    for (const std::string& name : beside_loss) names.push_back(prefix + name);
  }
  return names;
}

void check(const FitOptions& o, bool takes_weights) {
  const auto fail = [](const std::string& what) { throw ValueError("fit: " + what); };
  if (o.epochs < 0) fail("epochs is " + std::to_string(o.epochs) + ", expected at least 0");
  check_batch_size("fit", o.batch);
  if (!(o.validation_split >= 0 && o.validation_split < 1)) {
    fail("validation_split is " + to_string(Array(o.validation_split)) +
         ", expected one in [0, 1)");
  }
  if (o.validation && o.validation_split > 0) {
    fail("there are both validation examples and a validation_split");
  }
  if (o.validation && o.validation->count == 0) fail("there are no examples to validate on");
  if (o.start.epoch < 1) fail("start.epoch is " + std::to_string(o.start.epoch) + ", from 1");
  if (!o.class_weights.empty() && !takes_weights) {
    fail(
        "class_weights are for a loss that takes weights as a third argument, as "
        "cross_entropy_of does");
  }
  for (const double weight : o.class_weights) {
    if (weight >= 0 && std::isfinite(weight)) continue;
    fail("a class weight is " + to_string(Array(weight)) + ", expected finite ones of at least 0");
  }
  for (const AnyCallback& callback : o.callbacks) {
    if (!callback.get()) fail("a callback is an empty pointer");
  }
}

std::vector<std::uint32_t> numbers_from(std::int64_t first, std::int64_t end) {
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(end - first));
  std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
  return rows;
}

// What is trained on, and what is tested after each epoch.
std::pair<data::Dataset, std::optional<data::Dataset>> parts_of(const data::Dataset& examples,
                                                                const FitOptions& o) {
  const std::int64_t count = examples.count;
  if (count == 0) throw ValueError("fit: there are no examples to train on");
  if (o.validation_split == 0) return {examples, o.validation};
  const auto tested = static_cast<std::int64_t>(o.validation_split * static_cast<double>(count));
  if (tested == 0) {
    throw ValueError("fit: a validation_split of " + to_string(Array(o.validation_split)) + " of " +
                     std::to_string(count) + " examples leaves none to test on");
  }
  return {data::subset(examples, numbers_from(0, count - tested)),
          data::subset(examples, numbers_from(count - tested, count))};
}

// Which example of the data set a row of the batch under way is, for messages; empty where batches
// are of one length, in an order that is the Loader's own.
std::function<std::int64_t(std::int64_t)> numbers_of(std::int64_t count, const FitOptions& o,
                                                     const FitState& state,
                                                     std::int64_t epochs_before) {
  if (o.by_length) return {};
  return [=, &o, &state](std::int64_t row) {
    data::Batches batches(count, o.batch, o.seed);
    if (o.shuffle) batches.epoch(static_cast<std::uint64_t>(epochs_before + state.epoch - 1));
    return std::int64_t{batches.batch(state.batch)[static_cast<std::size_t>(row)]};
  };
}

}  // namespace

double Measured::operator[](std::string_view name) const {
  return value_called(values_of(*this, ""), name);
}

NamedValues Epoch::values() const {
  NamedValues all = values_of(train, "");
  if (validation) {
    for (auto& value : values_of(*validation, "validation_")) all.push_back(std::move(value));
  }
  return all;
}

double Epoch::operator[](std::string_view name) const { return value_called(values(), name); }

Place FitState::place() const {
  if (batch < batches) return {epoch, batch, batches};
  return {epoch + 1, 0, batches};
}

std::vector<Epoch> Trainer::fit(const Array& x, const Array& labels, const FitOptions& o,
                                const Location& at) {
  // fit({x}, {}) means lists of one and of none.
  if (parts_->labels.empty()) return fit(std::vector<Array>{x}, {}, o, at);
  const data::Dataset examples =
      with_prefix([&] { return data::from_arrays(x.contiguous(), labels.contiguous()); },
                  [&] { return "fit  [" + to_string(line_of(at)) + "]: "; });
  return fit(examples, o, at);
}

std::vector<Epoch> Trainer::fit(const std::vector<Array>& x, const std::vector<Array>& labels,
                                const FitOptions& o, const Location& at) {
  const data::Dataset examples =
      with_prefix([&] { return data::from_arrays(x, labels); },
                  [&] { return "fit  [" + to_string(line_of(at)) + "]: "; });
  return fit(examples, o, at);
}

std::vector<Epoch> Trainer::fit(const data::Dataset& examples, const FitOptions& o,
                                const Location& at) {
  const std::string place = "  [" + to_string(line_of(at)) + "]";
  const auto checked = [&](const auto& body) {
    try {
      return body();
    } catch (const ValueError& error) {
      throw ValueError(error.what() + place);
    }
  };
  const auto [trained, tested] = checked([&] {
    check(o, parts_->takes_weights());
    auto parts = parts_of(examples, o);
    check_batches(o, parts_->options, parts.first.count);
    return parts;
  });
  data::Loader loader = checked([&, &of = trained] {
    return data::Loader(of, {.batch = o.batch,
                             .shuffle = o.shuffle,
                             .seed = o.seed,
                             .drop_last = o.drop_last,
                             .by_length = o.by_length,
                             .threads = o.threads,
                             .ahead = o.ahead});
  });
  checked([&] {
    if (loader.batches() == 0) throw ValueError("fit: no batch is as large as batch");
    if (o.start.batches == 0 || o.start.batches == loader.batches()) return;
    throw ValueError("fit: start is a place in epochs of " + std::to_string(o.start.batches) +
                     " batches, these have " + std::to_string(loader.batches()));
  });
  parts_->check_trained();
  if (!o.class_weights.empty()) checked([&] { parts_->weigh(o.class_weights.size()); });
  // A call that begins at the beginning comes after the one before; another one goes on with it.
  if (o.start.epoch == 1 && o.start.batch == 0) {
    parts_->epochs_before += parts_->epochs_seen;
    parts_->epochs_seen = 0;
  }
  const std::int64_t before_all = parts_->epochs_before;

  std::vector<std::shared_ptr<Callback>> callbacks;
  if (o.progress != nullptr) callbacks.push_back(std::make_shared<ProgressLine>(*o.progress));
  for (const AnyCallback& callback : o.callbacks) callbacks.push_back(callback.get());
  FitState state{.trainer = *this,
                 .options = o,
                 .batches = loader.batches(),
                 .examples = loader.count(),
                 .names = names_of(parts_->names(), tested.has_value())};
  for (const auto& callback : callbacks) callback->on_train_begin(state);

  // After the last batch of an epoch comes the first one of the next.
  const Place start = o.start.batch == loader.batches() ? Place{o.start.epoch + 1} : o.start;
  for (int epoch = start.epoch; epoch <= o.epochs && !state.stop; ++epoch) {
    state.epoch = epoch;
    state.batch = state.first_batch = epoch == start.epoch ? start.batch : 0;
    state.seconds = state.waiting = 0;
    Totals totals = parts_->totals();
    state.so_far = [&] { return totals.values(); };
    for (const auto& callback : callbacks) callback->on_epoch_begin(state);
    if (state.stop) break;
    const std::int64_t before = parts_->examples;
    const Clock::time_point began = Clock::now();
    // A step that weights ask for is compiled on the way, which is no training.
    const double compiled = parts_->compiling;
    const auto seconds = [&] { return seconds_since(began) - (parts_->compiling - compiled); };
    checked([&] {
      loader.start(static_cast<std::uint64_t>(before_all + epoch - 1), state.first_batch);
    });
    const Parts::Numbers numbers = numbers_of(trained.count, o, state, before_all);
    while (!state.stop) {
      const std::optional<data::Batch> batch = loader.next();
      if (!batch) break;
      const Measured of_batch = with_prefix(
          [&, &of = trained] {
            check_rows(*batch, std::min(o.batch, of.count - state.batch * o.batch));
            parts_->epochs_seen = epoch;
            return parts_->train(*batch, o.class_weights, &totals, numbers);
          },
          [&] {
            return "epoch " + std::to_string(epoch) + ", batch " + std::to_string(state.batch) +
                   ": ";
          });
      ++state.batch;
      state.seconds = seconds();
      state.waiting = loader.seconds_waited();
      for (const auto& callback : callbacks) callback->on_batch_end(state, of_batch);
    }
    Epoch& done = state.history.emplace_back();
    done.number = epoch;
    done.train = totals.values();
    done.steps = parts_->steps;
    done.seconds = seconds();
    done.examples_per_second =
        static_cast<double>(parts_->examples - before) / std::max(done.seconds, 1e-9);
    done.waiting = state.waiting / std::max(done.seconds, 1e-9);
    if (tested) {
      done.validation =
          with_prefix([&, &of = *tested] { return evaluate(of, o.batch, o.threads); },
                      [&] { return "validation of epoch " + std::to_string(epoch) + ": "; });
    }
    for (const auto& callback : callbacks) callback->on_epoch_end(state);
    state.so_far = {};
  }
  for (const auto& callback : callbacks) callback->on_train_end(state);
  return std::move(state.history);
}

}  // namespace kroton::nn
