// Views and joins of other ops: order, repetition, parts.
#include <kroton/rearrange.h>

#include <algorithm>
#include <numeric>

#include "compiler/ir/at.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"

namespace kroton {

using ops::run_of;
using Tensors = std::vector<Tensor>;

namespace {

// Of an operation that takes that rank and above.
Tensor of_rank(const char* op, const Operand& x, int least) {
  const Tensor tensor = x.tensor();
  if (tensor.rank() < least) {
    ops::fail_shape(OpRecord{.name = op}, {tensor},
                    "takes " + std::to_string(least) + " axes or more");
  }
  return tensor;
}

Tensor flipped(const Tensor& x, const std::vector<int>& axes) {
  Dims starts(at(x.rank()), Dim(0));
  std::vector<std::int64_t> steps(at(x.rank()), 1);
  for (const int axis : axes) {
    starts[at(axis)] = x.shape(axis) - 1;
    steps[at(axis)] = -1;
  }
  return ops::strided_slice(x, starts, x.shape(), steps);
}

Tensor with_rank(const Tensor& x, int rank) {
  const Dim one = 1;
  if (x.rank() >= rank) return x;
  if (x.rank() == 0) return reshape(x, Dims(at(rank), one));
  if (rank == 2) return reshape(x, {one, x.shape(0)});
  if (x.rank() == 1) return reshape(x, {one, x.shape(0), one});
  return reshape(x, {x.shape(0), x.shape(1), one});
}

void require_sections(const char* op, std::int64_t sections) {
  if (sections < 1) ops::fail_value(op, "the number of sections is " + std::to_string(sections));
}

}  // namespace

Tensor flip(const Operand& x, const Axes& axes) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  return flipped(tensor, axes.resolve(tensor.rank(), "flip"));
}

Tensor fliplr(const Operand& x) {
  const LineScope scope(x.line());
  return flipped(of_rank("fliplr", x, 2), {1});
}

Tensor flipud(const Operand& x) {
  const LineScope scope(x.line());
  return flipped(of_rank("flipud", x, 1), {0});
}

Tensor rot90(const Operand& x, int k, std::pair<int, int> axes) {
  const LineScope scope(x.line());
  const Tensor tensor = of_rank("rot90", x, 2);
  const int first = ops::resolve_axis(axes.first, tensor.rank(), "rot90");
  const int second = ops::resolve_axis(axes.second, tensor.rank(), "rot90");
  if (first == second) ops::fail_value("rot90", "both axes are axis " + std::to_string(first));
  switch ((k % 4 + 4) % 4) {
    case 1:
      return swapaxes(flipped(tensor, {second}), first, second);
    case 2:
      return flipped(tensor, {first, second});
    case 3:
      return flipped(swapaxes(tensor, first, second), {second});
    default:
      return tensor;
  }
}

Tensor repeat(const Operand& x, const Dim& count, std::optional<int> axis) {
  const LineScope scope(x.line());
  if (count.is_constant() && count.constant() < 0) {
    ops::fail_value("repeat", "the count is " + count.to_string());
  }
  const Tensor tensor = axis ? of_rank("repeat", x, 1) : flatten(x);
  const int along = ops::resolve_axis(axis.value_or(0), tensor.rank(), "repeat");
  Dims each = tensor.shape();
  each.insert(each.begin() + along + 1, count);
  Dims shape = tensor.shape();
  shape[at(along)] = shape[at(along)] * count;
  return reshape(broadcast_to(expand_dims(tensor, along + 1), each), shape);
}

Tensor repeat(const Operand& x, const std::vector<std::int64_t>& counts, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = of_rank("repeat", x, 1);
  const int along = ops::resolve_axis(axis, tensor.rank(), "repeat");
  std::vector<std::int64_t> positions;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0) ops::fail_value("repeat", "a count is " + std::to_string(counts[i]));
    positions.insert(positions.end(), static_cast<std::size_t>(counts[i]),
                     static_cast<std::int64_t>(i));
  }
  const Dim& size = tensor.shape(along);
  const Dim given = static_cast<std::int64_t>(counts.size());
  if (size.is_constant() && size != given) {
    ops::fail_value("repeat", "there are " + given.to_string() + " counts for axis " +
                                  std::to_string(along) + " of size " + size.to_string());
  }
  Tensor counted = tensor;
  for (const auto& [more, fewer] : {std::pair(given, size), std::pair(size, given)}) {
    counted = ops::size_check(counted, "repeat", {tensor}, more, fewer,
                              "there are " + given.to_string() + " counts for axis " +
                                  std::to_string(along) + " of another size");
  }
  return take(counted, Operand(Array::from(positions)), along);
}

Tensor tile(const Operand& x, const Dims& repetitions) {
  const LineScope scope(x.line());
  Tensor tensor = x.tensor();
  const int rank = std::max(tensor.rank(), static_cast<int>(repetitions.size()));
  Dims sizes(at(rank - tensor.rank()), Dim(1)), counts(at(rank) - repetitions.size(), Dim(1));
  sizes.insert(sizes.end(), tensor.shape().begin(), tensor.shape().end());
  counts.insert(counts.end(), repetitions.begin(), repetitions.end());
  Dims apart, each, shape;
  for (int axis = 0; axis < rank; ++axis) {
    const Dim &size = sizes[at(axis)], &count = counts[at(axis)];
    if (count.is_constant() && count.constant() < 0) {
      ops::fail_value("tile", "a count is " + count.to_string());
    }
    apart.insert(apart.end(), {Dim(1), size});
    each.insert(each.end(), {count, size});
    shape.push_back(count * size);
  }
  return reshape(broadcast_to(reshape(tensor, apart), each), shape);
}

Tensor moveaxis(const Operand& x, int source, int destination) {
  return moveaxis(x, std::vector<int>{source}, std::vector<int>{destination});
}

Tensor moveaxis(const Operand& x, const std::vector<int>& source,
                const std::vector<int>& destination) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (source.size() != destination.size()) {
    ops::fail_value("moveaxis", std::to_string(source.size()) + " axes are to be moved to " +
                                    std::to_string(destination.size()) + " places");
  }
  std::vector<std::pair<int, int>> moves;  // to, from
  for (std::size_t k = 0; k < source.size(); ++k) {
    moves.emplace_back(ops::resolve_axis(destination[k], tensor.rank(), "moveaxis"),
                       ops::resolve_axis(source[k], tensor.rank(), "moveaxis"));
  }
  std::sort(moves.begin(), moves.end());
  std::vector<int> moved;
  for (std::size_t k = 0; k < moves.size(); ++k) {
    const auto [to, from] = moves[k];
    if ((k > 0 && moves[k - 1].first == to) ||
        std::find(moved.begin(), moved.end(), from) != moved.end()) {
      ops::fail_value("moveaxis", "an axis is named twice");
    }
    moved.push_back(from);
  }
  std::vector<int> axes = ops::other_axes(tensor.rank(), moved);
  for (const auto& [to, from] : moves) axes.insert(axes.begin() + to, from);
  return axes.empty() ? tensor : transpose(tensor, axes);
}

Tensor atleast_1d(const Operand& x) {
  const LineScope scope(x.line());
  return with_rank(x.tensor(), 1);
}

Tensor atleast_2d(const Operand& x) {
  const LineScope scope(x.line());
  return with_rank(x.tensor(), 2);
}

Tensor atleast_3d(const Operand& x) {
  const LineScope scope(x.line());
  return with_rank(x.tensor(), 3);
}

// ---- Parts and their joins

Tensors split(const Operand& x, std::int64_t sections, int axis) {
  const LineScope scope(x.line());
  require_sections("split", sections);
  const Tensor tensor = of_rank("split", x, 1);
  const int along = ops::resolve_axis(axis, tensor.rank(), "split");
  const Dim& size = tensor.shape(along);
  if (size.is_constant() && size.constant() % sections != 0) {
    ops::fail_value("split", "axis " + std::to_string(along) + " of size " + size.to_string() +
                                 " has no " + std::to_string(sections) +
                                 " parts of equal size; array_split makes unequal ones");
  }
  // The reshape holds a free size to that.
  const Dim each = floor_div(size, sections);
  Dims apart = ops::replace_axis(tensor.shape(), along, {sections, each});
  const Tensor parts = reshape(tensor, apart);
  Dims shape = tensor.shape();
  shape[at(along)] = each;
  Tensors result;
  for (std::int64_t k = 0; k < sections; ++k) {
    result.push_back(reshape(run_of(parts, along, k, 1), shape));
  }
  return result;
}

Tensors split(const Operand& x, const std::vector<std::int64_t>& positions, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = of_rank("split", x, 1);
  const int along = ops::resolve_axis(axis, tensor.rank(), "split");
  const Dim& size = tensor.shape(along);
  const auto clamped = [&](std::int64_t position) {
    return position < 0 ? maximum(size + Dim(position), 0) : minimum(position, size);
  };
  Tensors result;
  Dim first = 0;
  for (std::size_t k = 0; k <= positions.size(); ++k) {
    const Dim last = k < positions.size() ? clamped(positions[k]) : size;
    const Dim count = last - first;
    result.push_back(run_of(tensor, along, first, ops::not_negative(count)));
    first = last;
  }
  return result;
}

Tensors array_split(const Operand& x, std::int64_t sections, int axis) {
  const LineScope scope(x.line());
  require_sections("array_split", sections);
  const Tensor tensor = of_rank("array_split", x, 1);
  const int along = ops::resolve_axis(axis, tensor.rank(), "array_split");
  const Dim& size = tensor.shape(along);
  const Dim each = floor_div(size, sections), longer = size - each * Dim(sections);
  Tensors result;
  for (std::int64_t k = 0; k < sections; ++k) {
    const Dim before = minimum(longer, k);
    const Dim more = minimum(longer, k + 1) - before;
    result.push_back(run_of(tensor, along, each * Dim(k) + before, each + more));
  }
  return result;
}

namespace {

Tensor joined(const char* op, const Tensors& tensors, int rank, int axis) {
  if (tensors.empty()) ops::fail_value(op, "there are no tensors");
  Tensors parts;
  for (const Tensor& tensor : tensors) parts.push_back(with_rank(Operand(tensor).tensor(), rank));
  return concatenate(parts, parts[0].rank() == 1 ? 0 : axis);
}

}  // namespace

Tensor hstack(const Tensors& tensors, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return joined("hstack", tensors, 1, 1);
}

Tensor vstack(const Tensors& tensors, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return joined("vstack", tensors, 2, 0);
}

Tensor dstack(const Tensors& tensors, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  return joined("dstack", tensors, 3, 2);
}

Tensor column_stack(const Tensors& tensors, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Tensors columns;
  for (const Tensor& tensor : tensors) {
    const Tensor given = Operand(tensor).tensor();
    columns.push_back(given.rank() >= 2 ? given : expand_dims(with_rank(given, 1), 1));
  }
  return joined("column_stack", columns, 2, 1);
}

}  // namespace kroton
