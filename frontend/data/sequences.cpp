// Data sets of sequences: windows of a long one, and many of different lengths.
#include <kroton/error.h>
#include <kroton/text.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "frontend/data/tokens.h"

namespace kroton::data {

namespace {

using Lists = std::vector<std::vector<std::int64_t>>;

void check_row(const char* function, std::int64_t row, std::int64_t count) {
  if (row < count) return;
  throw ValueError(std::string(function) + ": row " + std::to_string(row) +
                   " is out of range for " + std::to_string(count) + " examples");
}

struct Kept {
  Lists sequences;
  std::vector<std::int64_t> labels;  // one each, or
  Lists token_labels;                // one for each token
  bool by_token;
  SequenceOptions options;
};

// The lists of some rows beside each other.
Array filled_up(const Lists& lists, Rows rows, std::int64_t steps, std::int64_t padding) {
  Array result = Array::full({static_cast<std::int64_t>(rows.size()), steps}, padding, i64);
  std::int64_t* to = result.data<std::int64_t>().data();
  for (const std::uint32_t row : rows) {
    std::ranges::copy(lists[row], to);
    to += steps;
  }
  return result;
}

Batch batch_of(const Kept& kept, Rows rows) {
  std::int64_t steps = 0;
  for (const std::uint32_t row : rows) {
    check_row("sequences", row, static_cast<std::int64_t>(kept.sequences.size()));
    steps = std::max(steps, static_cast<std::int64_t>(kept.sequences[row].size()));
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  Batch batch;
  batch.x = filled_up(kept.sequences, rows, steps, kept.options.padding);
  Array mask = Array::zeros({count, steps}, f32);
  float* to = mask.data<float>().data();
  for (const std::uint32_t row : rows) {
    std::fill_n(to, kept.sequences[row].size(), 1.0F);
    to += steps;
  }
  batch.mask = std::move(mask);
  if (kept.by_token) {
    batch.labels = filled_up(kept.token_labels, rows, steps, kept.options.label_padding);
    return batch;
  }
  batch.labels = Array::empty({count}, i64);
  std::int64_t* label = batch.labels.data<std::int64_t>().data();
  for (const std::uint32_t row : rows) *label++ = kept.labels[row];
  return batch;
}

Dataset data_set_of(Kept&& given) {
  const std::int64_t longest = given.options.longest;
  if (longest < 0) throw ValueError("sequences: longest is " + std::to_string(longest));
  Dataset result;
  result.is_in_memory = true;
  result.count = static_cast<std::int64_t>(given.sequences.size());
  for (Lists* lists : {&given.sequences, &given.token_labels}) {
    for (auto& list : *lists) {
      if (longest > 0 && list.size() > static_cast<std::size_t>(longest)) {
        list.resize(static_cast<std::size_t>(longest));
      }
    }
  }
  for (const auto& sequence : given.sequences) {
    result.lengths.push_back(static_cast<std::int64_t>(sequence.size()));
  }
  result.make = [kept = std::make_shared<const Kept>(std::move(given))](Rows rows, std::uint64_t) {
    return batch_of(*kept, rows);
  };
  return result;
}

void check_count(std::size_t sequences, std::size_t labels) {
  if (sequences == labels) return;
  throw ShapeError("sequences: " + std::to_string(sequences) + " sequences and labels of " +
                   std::to_string(labels));
}

}  // namespace

Dataset windows(const Array& tokens, std::int64_t length, const WindowOptions& options) {
  if (tokens.rank() != 1) {
    throw ShapeError("windows: expected tokens (n), got " + to_string(tokens.shape()));
  }
  if (length < 1) throw ValueError("windows: length is " + std::to_string(length));
  if (options.stride < 0) throw ValueError("windows: stride is " + std::to_string(options.stride));
  const Array all = as_tokens("windows", tokens);
  if (all.size() <= length) {
    throw ValueError("windows: a window of " + std::to_string(length) +
                     " tokens and the one that follows do not fit in " +
                     std::to_string(all.size()) + " tokens");
  }
  const std::int64_t stride = options.stride == 0 ? length : options.stride;
  Dataset result;
  result.is_in_memory = true;
  result.count = (all.size() - 1 - length) / stride + 1;
  result.make = [all, length, stride, count = result.count](Rows rows, std::uint64_t) {
    const Shape shape{static_cast<std::int64_t>(rows.size()), length};
    Batch batch{Array::empty(shape, i64), Array::empty(shape, i64)};
    std::int64_t* x = batch.x.data<std::int64_t>().data();
    std::int64_t* labels = batch.labels.data<std::int64_t>().data();
    for (const std::uint32_t row : rows) {
      check_row("windows", row, count);
      const std::int64_t* from = all.data<std::int64_t>().data() + row * stride;
      x = std::copy_n(from, length, x);
      labels = std::copy_n(from + 1, length, labels);
    }
    return batch;
  };
  return result;
}

Dataset sequences(std::vector<std::vector<std::int64_t>> sequences,
                  std::vector<std::int64_t> labels, const SequenceOptions& options) {
  check_count(sequences.size(), labels.size());
  return data_set_of({std::move(sequences), std::move(labels), {}, false, options});
}

Dataset sequences(std::vector<std::vector<std::int64_t>> sequences,
                  std::vector<std::vector<std::int64_t>> labels, const SequenceOptions& options) {
  check_count(sequences.size(), labels.size());
  for (std::size_t k = 0; k < sequences.size(); ++k) {
    if (sequences[k].size() == labels[k].size()) continue;
    throw ShapeError("sequences: sequence " + std::to_string(k) + " has " +
                     std::to_string(sequences[k].size()) + " tokens and " +
                     std::to_string(labels[k].size()) + " labels");
  }
  return data_set_of({std::move(sequences), {}, std::move(labels), true, options});
}

}  // namespace kroton::data
