// x[i] and x(items...): NumPy's basic indexing as slices, one integer tensor as take.
#include <kroton/index.h>

#include <algorithm>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {

namespace {

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

std::string describe(const Tensor& x) { return x.name() + " is " + to_string(x.type()); }

Dim not_negative(const Dim& dim) { return provably_at_least(dim, 0) ? dim : maximum(dim, 0); }

// Start, size and step of one axis of a slice node.
struct Range {
  Dim start = 0;
  Dim size;
  std::int64_t step = 1;
};

// A position counted from the start: negative constants count from the end.
Dim from_start(const Dim& position, const Dim& size) {
  return position.is_constant() && position.constant() < 0 ? size + position : position;
}

// NumPy's clamping. A start beyond the end needs none: the size is 0 then. The forms are chosen so
// that slices that fit together have equal sizes: x[1:] and x[:-1] are both max(n - 1, 0) long.
Range forward(const Slice& slice, const Dim& size) {
  Dim start = 0;
  Dim stop = size;
  if (const auto& position = slice.start.position()) {
    const bool from_end = position->is_constant() && position->constant() < 0;
    if (from_end && !slice.stop.position() && slice.step == 1) {
      const Dim count = minimum(size, 0 - *position);
      return {size - count, count, 1};
    }
    start = not_negative(from_start(*position, size));
  }
  if (const auto& position = slice.stop.position()) {
    stop = minimum(from_start(*position, size), size);
  }
  return {start, not_negative(ceil_div(stop - start, slice.step)), slice.step};
}

Range backward(const Slice& slice, const Dim& size) {
  Dim start = size - 1;
  Dim stop = -1;
  if (const auto& position = slice.start.position()) {
    start = minimum(from_start(*position, size), size - 1);
  }
  if (const auto& position = slice.stop.position()) {
    stop = maximum(from_start(*position, size), -1);
  }
  return {start, not_negative(ceil_div(start - stop, -slice.step)), slice.step};
}

// One element; a free size is checked at the call, by the type rule of slice.
Range single(const Tensor& x, int axis, std::int64_t position) {
  const Dim& size = x.shape(axis);
  if (size.is_constant() && (position < -size.constant() || position >= size.constant())) {
    ops::fail_value("index", "index " + std::to_string(position) + " is out of range on axis " +
                                 std::to_string(axis) + " of size " + size.to_string() + ": " +
                                 describe(x));
  }
  return {position < 0 ? size + position : Dim(position), 1, 1};
}

}  // namespace

Tensor index(const Tensor& x, std::span<const IndexItem> items) {
  if (items.empty()) {
    return x;
  }
  const LineScope scope(items[0].line());
  if (static_cast<int>(items.size()) > x.rank()) {
    ops::fail_shape(OpRecord{.name = "index"}, {x},
                    "there are " + std::to_string(items.size()) + " indices");
  }
  Dims starts, sizes, kept;
  std::vector<std::int64_t> steps;
  Tensor positions;
  int positions_axis = 0;
  for (int axis = 0; axis < x.rank(); ++axis) {
    Range range{0, x.shape(axis), 1};
    bool removed = false;
    if (at(axis) < items.size()) {
      const IndexItem::Value& item = items[at(axis)].value();
      if (const auto* slice = std::get_if<Slice>(&item)) {
        if (slice->step == 0) {
          ops::fail_value("index", "the step of a slice is 0: " + describe(x));
        }
        range = slice->step > 0 ? forward(*slice, x.shape(axis)) : backward(*slice, x.shape(axis));
      } else if (const auto* position = std::get_if<std::int64_t>(&item)) {
        range = single(x, axis, *position);
        removed = true;
      } else if (const auto* tensor = std::get_if<Tensor>(&item)) {
        if (positions) {
          ops::fail_value("index",
                          "there is more than one tensor among the indices of " + describe(x));
        }
        if (!is_integer(tensor->dtype())) {
          ops::fail_type(OpRecord{.name = "index"}, {x, *tensor}, "indices must be integers");
        }
        positions = *tensor;
        positions_axis = static_cast<int>(kept.size());
      }
    }
    starts.push_back(range.start);
    sizes.push_back(range.size);
    steps.push_back(range.step);
    if (!removed) {
      kept.push_back(range.size);
    }
  }
  const bool whole = sizes == x.shape() && starts == Dims(starts.size(), Dim(0)) &&
                     std::count(steps.begin(), steps.end(), 1) == x.rank();
  const Tensor cut = reshape(whole ? x : ops::strided_slice(x, starts, sizes, steps), kept);
  return positions ? take(cut, positions, positions_axis) : cut;
}

Tensor Tensor::operator[](const Operand& position) const {
  const LineScope scope(position.line(), "index");
  if (!position.is_literal()) {
    return (*this)(position.tensor());
  }
  double value = 0;
  literal_value(position.tensor(DType::i64), value);
  return (*this)(static_cast<std::int64_t>(value));
}

Tensor Tensor::operator()(const IndexItem& i) const {
  const IndexItem items[] = {i};
  return index(*this, items);
}

Tensor Tensor::operator()(const IndexItem& i, const IndexItem& j) const {
  const IndexItem items[] = {i, j};
  return index(*this, items);
}

Tensor Tensor::operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k) const {
  const IndexItem items[] = {i, j, k};
  return index(*this, items);
}

Tensor Tensor::operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k,
                          const IndexItem& l) const {
  const IndexItem items[] = {i, j, k, l};
  return index(*this, items);
}

Tensor Tensor::operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k,
                          const IndexItem& l, const IndexItem& m) const {
  const IndexItem items[] = {i, j, k, l, m};
  return index(*this, items);
}

}  // namespace kroton
