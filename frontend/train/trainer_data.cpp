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
  Totals totals = parts_->totals();
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
  if (parts_->labels.empty()) return evaluate(std::vector<Array>{x}, {}, batch);
  return evaluate(data::from_arrays(x.contiguous(), labels.contiguous()), batch, 0);
}

Measured Trainer::evaluate(const std::vector<Array>& x, const std::vector<Array>& labels,
                           std::int64_t batch) const {
  return evaluate(data::from_arrays(x, labels), batch, 0);
}

namespace {

// The rows that one output has for batch after batch.
class OutputRows {
 public:
  explicit OutputRows(std::int64_t count) : count_(count) {}
  // `of`: what the network was called on, of so many rows.
  void add(const Array& part, const Shape& of, std::int64_t rows) {
    const Shape& shape = part.shape();
    const bool has_rows = shape.rank() > 0 && shape[0] == rows;
    if (!has_rows || (to_ != nullptr && !std::equal(shape.begin() + 1, shape.end(),
                                                    sizes_.begin() + 1, sizes_.end()))) {
      throw ShapeError("predict: of x " + to_string(of) + " the network gives " + to_string(shape) +
                       (has_rows ? ", of another batch rows of another shape"
                                 : ", which has no row for each example"));
    }
    if (to_ == nullptr) {
      sizes_.assign(shape.begin(), shape.end());
      sizes_[0] = count_;
      all_ = Array::empty(Shape(sizes_), part.dtype());
      to_ = static_cast<std::byte*>(all_.raw());
    }
    if (part.nbytes() == 0) return;
    std::memcpy(to_, part.raw(), static_cast<std::size_t>(part.nbytes()));
    to_ += part.nbytes();
  }
  const Array& all() const { return all_; }

 private:
  std::int64_t count_;
  Array all_;
  std::vector<std::int64_t> sizes_;
  std::byte* to_ = nullptr;
};

Array only(std::vector<Array> outputs) {
  if (outputs.size() == 1) return std::move(outputs[0]);
  throw ValueError("predict: the network gives " + std::to_string(outputs.size()) +
                   " outputs, which predict_all returns");
}

// There are no labels, and nobody looks at them.
data::Dataset without_labels(const std::vector<Array>& x) { return data::from_arrays(x, {}); }

}  // namespace

std::vector<Array> Trainer::predict_all(const data::Dataset& examples, std::int64_t batch,
                                        std::optional<int> threads) const {
  check_batch_size("predict", batch);
  if (!examples.make) throw ValueError("predict: the data set makes no batches");
  if (examples.count == 0) return parts_->predict(examples.make({}, 0));
  data::Loader loader(examples, {.batch = batch, .shuffle = false, .threads = threads});
  loader.start(0);
  std::vector<OutputRows> outputs;
  std::int64_t done = 0;
  while (const std::optional<data::Batch> next = loader.next()) {
    const std::vector<Array> parts = parts_->predict(*next);
    const Shape& x = next->x.shape();
    const std::int64_t rows = std::min(batch, examples.count - done);
    if (x.rank() == 0 || x[0] != rows) {
      throw ShapeError("predict: of " + std::to_string(rows) + " examples the data set makes x " +
                       to_string(x));
    }
    done += rows;
    outputs.resize(parts.size(), OutputRows(examples.count));
    for (std::size_t k = 0; k < parts.size(); ++k) outputs[k].add(parts[k], x, rows);
  }
  std::vector<Array> all;
  for (const OutputRows& output : outputs) all.push_back(output.all());
  return all;
}

std::vector<Array> Trainer::predict_all(const std::vector<Array>& x, std::int64_t batch) const {
  return predict_all(without_labels(x), batch, 0);
}

Array Trainer::predict(const data::Dataset& examples, std::int64_t batch,
                       std::optional<int> threads) const {
  return only(predict_all(examples, batch, threads));
}

Array Trainer::predict(const Array& x, std::int64_t batch) const {
  if (x.rank() == 0) return only(parts_->predict({.x = x}));
  return only(predict_all(without_labels({x}), batch, 0));
}

Array Trainer::predict(const std::vector<Array>& x, std::int64_t batch) const {
  return only(predict_all(without_labels(x), batch, 0));
}

// ---- State

std::int64_t Trainer::steps() const { return parts_->steps; }
std::int64_t Trainer::examples() const { return parts_->examples; }

const Sequential& Trainer::network() const { return parts_->net; }

std::vector<Shared> Trainer::state() const {
  std::vector<Shared> all = parts_->net.state();
  if (parts_->average) {
    for (const Shared& variable : parts_->average->averages()) all.push_back(variable);
  }
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
