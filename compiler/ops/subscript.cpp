// x[i] and x(items...), and x with these elements replaced: NumPy's basic indexing as slices,
// integer tensors as take along one axis that stands for all of theirs.
#include <kroton/indexing.h>

#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {

using ops::not_negative;

namespace {

std::string describe(const Tensor& x) { return x.name() + " is " + to_string(x.type()); }

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

namespace {

// What the items are, axis by axis.
struct Selection {
  std::string op;
  Tensor x;
  Dims starts = {}, sizes = {};          // of all axes
  std::vector<std::int64_t> steps = {};  // of all axes
  Dims kept = {};                        // the sizes of the axes that no integer removes
  std::vector<int> tensor_axes = {};     // among those kept
  std::vector<int> source_axes = {};     // the same, among all
  std::vector<Tensor> tensors = {};
  // Where the axes of the indices stand in the result: in place of the first one, or in front where
  // the indices, integers among them, are apart from each other.
  int place = 0;

  bool is_whole() const {
    return sizes == x.shape() && starts == Dims(starts.size(), Dim(0)) &&
           std::count(steps.begin(), steps.end(), 1) == x.rank();
  }
};

void require_positions(const Selection& selection, const Tensor& indices) {
  const OpRecord op{.name = selection.op};
  if (indices.dtype() == DType::boolean) {
    ops::fail_type(
        op, {selection.x, indices},
        "a boolean tensor selects a number of elements that is known only after the call "
        "has counted them; use where(mask, a, b), or sums of it");
  }
  if (!is_integer(indices.dtype())) {
    ops::fail_type(op, {selection.x, indices}, "indices must be integers");
  }
}

Selection select(const Tensor& x, std::span<const IndexItem> items, const std::string& op) {
  Selection result{.op = op, .x = x};
  if (static_cast<int>(items.size()) > x.rank()) {
    ops::fail_shape(OpRecord{.name = op}, {x},
                    "there are " + std::to_string(items.size()) + " indices");
  }
  std::vector<int> indexed;  // the axes with an integer or a tensor
  int before = -1;           // axes kept before the first of these
  for (int axis = 0; axis < x.rank(); ++axis) {
    Range range{0, x.shape(axis), 1};
    bool removed = false;
    if (at(axis) < items.size()) {
      const IndexItem::Value& item = items[at(axis)].value();
      if (const auto* slice = std::get_if<Slice>(&item)) {
        if (slice->step == 0) {
          ops::fail_value(op, "the step of a slice is 0: " + describe(x));
        }
        range = slice->step > 0 ? forward(*slice, x.shape(axis)) : backward(*slice, x.shape(axis));
      } else if (const auto* position = std::get_if<std::int64_t>(&item)) {
        range = single(x, axis, *position);
        removed = true;
      } else if (const auto* tensor = std::get_if<Tensor>(&item)) {
        require_positions(result, *tensor);
        result.tensors.push_back(*tensor);
        result.tensor_axes.push_back(static_cast<int>(result.kept.size()));
        result.source_axes.push_back(axis);
      }
      if (removed || std::holds_alternative<Tensor>(item)) {
        indexed.push_back(axis);
        if (before < 0) before = static_cast<int>(result.kept.size());
      }
    }
    result.starts.push_back(range.start);
    result.sizes.push_back(range.size);
    result.steps.push_back(range.step);
    if (!removed) {
      result.kept.push_back(range.size);
    }
  }
  const bool together =
      !indexed.empty() && indexed.back() - indexed.front() + 1 == static_cast<int>(indexed.size());
  result.place = together ? before : 0;
  return result;
}

// The elements that integers and slices leave.
Tensor cut(const Selection& s) {
  return reshape(s.is_whole() ? s.x : ops::strided_slice(s.x, s.starts, s.sizes, s.steps), s.kept);
}

// How the tensors among the indices are one: their axes stand together, as one, and each index is a
// position along that.
struct Merged {
  std::vector<int> order;  // of the axes, so that they stand together
  Dims apart;              // the shape in that order
  Dims shape;              // with one axis in place of these
  int axis = 0;            // which
  Tensor indices;

  bool is_plain() const { return std::is_sorted(order.begin(), order.end()) && shape == apart; }
  Tensor from(const Tensor& t) const {
    return is_plain() ? t : reshape(transpose(t, order), shape);
  }
  Tensor back(const Tensor& t) const {
    if (is_plain()) return t;
    std::vector<int> inverse(order.size());
    for (std::size_t k = 0; k < order.size(); ++k) inverse[at(order[k])] = static_cast<int>(k);
    return transpose(reshape(t, apart), inverse);
  }
};

Merged merge(const Selection& s) {
  Merged result;
  const int rank = static_cast<int>(s.kept.size());
  const std::vector<int>& axes = s.tensor_axes;
  result.order = ops::other_axes(rank, axes);
  result.axis = axes.back() - axes.front() + 1 == static_cast<int>(axes.size()) ? axes.front() : 0;
  result.order.insert(result.order.begin() + result.axis, axes.begin(), axes.end());
  for (const int axis : result.order) result.apart.push_back(s.kept[at(axis)]);
  Dim count = 1;
  for (const int axis : axes) count = count * s.kept[at(axis)];
  result.shape = result.apart;
  result.shape.erase(result.shape.begin() + result.axis,
                     result.shape.begin() + result.axis + static_cast<int>(axes.size()));
  result.shape.insert(result.shape.begin() + result.axis, count);
  if (axes.size() == 1) {
    result.indices = s.tensors[0];
    return result;
  }
  const std::vector<Tensor> all = ops::broadcast(OpRecord{.name = s.op}, s.tensors);
  for (std::size_t k = 0; k < all.size(); ++k) {
    const Dim& size = s.kept[at(axes[k])];
    const Tensor checked = ops::checked_indices(all[k], size, s.source_axes[k], s.op);
    result.indices = k == 0 ? checked : result.indices * size_of_dim(size) + checked;
  }
  return result;
}

// t with the `count` axes from `from` on at `to`.
Tensor with_axes_at(const Tensor& t, int from, int count, int to) {
  if (from == to) return t;
  std::vector<int> moved = ops::axes_from(from, count);
  std::vector<int> axes = ops::other_axes(t.rank(), moved);
  axes.insert(axes.begin() + to, moved.begin(), moved.end());
  return transpose(t, axes);
}

// How a tensor is brought into the elements of another one, all of them and at indices.
struct Bring {
  const char* name;
  Tensor (*whole)(const Tensor& elements, const Tensor& v);
  Tensor (*at_indices)(const Operand& x, const Operand& v, const Operand& indices, int axis);
};

// x with the elements of the slices in place of its own.
Tensor placed(const Selection& s, const Tensor& elements) {
  if (s.is_whole()) return reshape(elements, s.x.shape());
  const auto inside_zeros = [&](const Tensor& t) {
    return ops::unslice(t, s.starts, s.x.shape(), s.steps);
  };
  const Tensor there = full(s.sizes, Operand(true).tensor(DType::boolean));
  return where(inside_zeros(there), inside_zeros(reshape(elements, s.sizes)), s.x);
}

// The value repeated to the shape of the elements that it is brought into.
Tensor repeated(const Selection& s, const Tensor& value, const Dims& shape) {
  const OpRecord op{.name = s.op};
  if (ops::common_shape(op, {s.x, value}, {shape, value.shape()}).size() != shape.size()) {
    ops::fail_shape(op, {s.x, value}, "the values do not broadcast to " + to_string(shape));
  }
  const Tensor result = ops::broadcast_towards(value, shape);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const Dim& size = result.shape()[axis];
    if (shape[axis].is_constant() && size.is_constant() && shape[axis] != size) {
      ops::fail_shape(op, {s.x, value}, "the values do not broadcast to " + to_string(shape));
    }
  }
  return broadcast_to(result, shape);
}

Tensor brought(const Tensor& x, std::span<const IndexItem> items, const Operand& v,
               const Bring& how) {
  const LineScope scope(items[0].line(), how.name);
  const Selection s = select(x, items, how.name);
  const Tensor value = v.tensor(x.dtype());
  if (value.dtype() != x.dtype()) {
    ops::fail_type(OpRecord{.name = how.name}, {x, value}, "x and the values must have one dtype");
  }
  if (x.dtype() == DType::boolean && how.at_indices != set_at) {
    ops::fail_type(OpRecord{.name = how.name}, {x, value}, "takes numbers only");
  }
  const Tensor elements = cut(s);
  if (s.tensors.empty()) {
    return placed(s, how.whole(elements, repeated(s, value, s.kept)));
  }
  const Merged merged = merge(s);
  const int index_axes = merged.indices.rank();
  Dims shape = merged.shape;
  shape.erase(shape.begin() + merged.axis);
  shape.insert(shape.begin() + s.place, merged.indices.shape().begin(),
               merged.indices.shape().end());
  const Tensor values = with_axes_at(repeated(s, value, shape), s.place, index_axes, merged.axis);
  return placed(
      s, merged.back(how.at_indices(merged.from(elements), values, merged.indices, merged.axis)));
}

}  // namespace

Tensor index(const Tensor& x, std::span<const IndexItem> items) {
  if (items.empty()) {
    return x;
  }
  const LineScope scope(items[0].line());
  const Selection s = select(x, items, "index");
  const Tensor elements = cut(s);
  if (s.tensors.empty()) return elements;
  const Merged merged = merge(s);
  const Tensor taken = take(merged.from(elements), merged.indices, merged.axis);
  return with_axes_at(taken, merged.axis, merged.indices.rank(), s.place);
}

Tensor ElementsOf::set(const Operand& v) const {
  return brought(x_, items_, v, {"set", [](const Tensor&, const Tensor& b) { return b; }, set_at});
}

Tensor ElementsOf::add(const Operand& v) const {
  return brought(x_, items_, v,
                 {"add", [](const Tensor& a, const Tensor& b) { return a + b; }, add_at});
}

Tensor ElementsOf::mul(const Operand& v) const {
  return brought(x_, items_, v,
                 {"mul", [](const Tensor& a, const Tensor& b) { return a * b; }, mul_at});
}

Tensor ElementsOf::max(const Operand& v) const {
  return brought(x_, items_, v,
                 {"max", [](const Tensor& a, const Tensor& b) { return maximum(a, b); }, max_at});
}

Tensor ElementsOf::min(const Operand& v) const {
  return brought(x_, items_, v,
                 {"min", [](const Tensor& a, const Tensor& b) { return minimum(a, b); }, min_at});
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
