// A Trainer on whole data sets, and its state in files.
#include <kroton/checkpoint.h>
#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>

#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

// ---- Data sets

void check_rows(const data::Batch& batch, std::int64_t asked) {
  if (batch.x.rank() == 0 || batch.x.shape()[0] == asked) return;  // no rows: the call says so
  throw ValueError("the data set was asked for " + std::to_string(asked) +
                   " examples and has made " + std::to_string(batch.x.shape()[0]));
}

Measured Trainer::evaluate(const data::Dataset& examples, std::int64_t batch,
                           std::optional<int> threads) const {
  check_batch_size("evaluate", batch);
  if (examples.count == 0) throw ValueError("evaluate: there are no examples");
  data::Loader loader(examples, {.batch = batch, .shuffle = false, .threads = threads});
  loader.start(0);
  Totals totals(parts_->options.metrics);
  std::int64_t number = 0;
  while (const std::optional<data::Batch> next = loader.next()) {
    const auto numbers = [&](std::int64_t row) { return number * batch + row; };
    with_prefix(
        [&] {
          check_rows(*next, std::min(batch, examples.count - number * batch));
          parts_->test(*next, totals, numbers);
        },
        [&] { return "evaluate: batch " + std::to_string(number) + ": "; });
    ++number;
  }
  return totals.values();
}

Measured Trainer::evaluate(const Array& x, const Array& labels, std::int64_t batch) const {
  return evaluate(data::from_arrays(x.contiguous(), labels.contiguous()), batch, 0);
}

Array Trainer::predict(const data::Dataset& examples, std::int64_t batch,
                       std::optional<int> threads) const {
  check_batch_size("predict", batch);
  if (!examples.make) throw ValueError("predict: the data set makes no batches");
  if (examples.count == 0) {
    const data::Batch none = examples.make({}, 0);
    return parts_->predict(none.x, none.mask);
  }
  data::Loader loader(examples, {.batch = batch, .shuffle = false, .threads = threads});
  loader.start(0);
  Array all;
  std::vector<std::int64_t> sizes;
  std::byte* to = nullptr;
  std::int64_t done = 0;
  while (const std::optional<data::Batch> next = loader.next()) {
    const Array part = parts_->predict(next->x, next->mask);
    const Shape& shape = part.shape();
    const std::int64_t rows = std::min(batch, examples.count - done);
    if (next->x.rank() == 0 || next->x.shape()[0] != rows) {
      throw ShapeError("predict: of " + std::to_string(rows) + " examples the data set makes x " +
                       to_string(next->x.shape()));
    }
    done += rows;
    const bool has_rows = shape.rank() > 0 && shape[0] == rows;
    if (!has_rows || (to != nullptr && !std::equal(shape.begin() + 1, shape.end(),
                                                   sizes.begin() + 1, sizes.end()))) {
      throw ShapeError("predict: of x " + to_string(next->x.shape()) + " the network gives " +
                       to_string(shape) +
                       (has_rows ? ", of another batch rows of another shape"
                                 : ", which has no row for each example"));
    }
    if (to == nullptr) {
      sizes.assign(shape.begin(), shape.end());
      sizes[0] = examples.count;
      all = Array::empty(Shape(sizes), part.dtype());
      to = static_cast<std::byte*>(all.raw());
    }
    if (part.nbytes() == 0) continue;
    std::memcpy(to, part.raw(), static_cast<std::size_t>(part.nbytes()));
    to += part.nbytes();
  }
  return all;
}

Array Trainer::predict(const Array& x, std::int64_t batch) const {
  if (x.rank() == 0) return parts_->predict(x, {});
  const Array rows = x.contiguous();
  // There are no labels, and nobody looks at them.
  return predict(data::from_arrays(rows, Array::empty({x.shape()[0], 0})), batch, 0);
}

// ---- State

std::int64_t Trainer::steps() const { return parts_->steps; }
std::int64_t Trainer::examples() const { return parts_->examples; }

const Sequential& Trainer::network() const { return parts_->net; }

std::vector<Shared> Trainer::state() const {
  std::vector<Shared> all = parts_->net.state();
  for (const Shared& variable : parts_->optimizer_state) all.push_back(variable);
  all.push_back(random_numbers().state());
  for (const Shared& variable : parts_->options.state) all.push_back(variable);
  return all;
}

void Trainer::save(const std::filesystem::path& path, const Place& place) const {
  save_checkpoint(path, state(),
                  {{"epoch", std::to_string(place.epoch)},
                   {"batch", std::to_string(place.batch)},
                   {"batches", std::to_string(place.batches)},
                   {"steps", std::to_string(parts_->steps)},
                   {"examples", std::to_string(parts_->examples)},
                   {"epochs_before", std::to_string(parts_->epochs_before)},
                   {"epochs_seen", std::to_string(parts_->epochs_seen)}});
}

Place Trainer::resume(const std::filesystem::path& path) {
  // The texts are read before anything is set.
  const std::map<std::string, std::string> texts = read_safetensors_metadata(path);
  const auto whole = [&](const char* name) {
    const auto found = texts.find(name);
    std::int64_t value = 0;
    const std::string text = found == texts.end() ? "" : found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      throw IoError(path.string() + ": not a checkpoint of a Trainer: its text \"" + name +
                    "\" is \"" + text + "\", expected a whole number");
    }
    return value;
  };
  const Place place{static_cast<int>(whole("epoch")), whole("batch"), whole("batches")};
  const std::int64_t steps = whole("steps"), examples = whole("examples");
  // Files of a time before they were counted have no such texts.
  const std::int64_t before = texts.contains("epochs_before") ? whole("epochs_before") : 0;
  const std::int64_t seen = texts.contains("epochs_seen") ? whole("epochs_seen") : place.epoch - 1;
  load_checkpoint(path, state());
  parts_->epochs_before = before;
  parts_->epochs_seen = seen;
  parts_->steps = steps;
  parts_->examples = examples;
  return place;
}

}  // namespace kroton::nn
