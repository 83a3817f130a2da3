// Indexing: x[i], x(kt::all, 0), x(kt::slice(1, kt::end, 2)), x(ids). Semantics are NumPy's.
#pragma once
#include <kroton/ops.h>

#include <concepts>
#include <optional>
#include <variant>

namespace kroton {

// A bound of a slice that is left open: the first or the last element of the walk.
struct End {};
inline constexpr End end;

// One bound: kt::end, or a position. A negative constant counts from the end of the axis; a
// symbolic position (x.shape(0) - 1) counts from its start. Positions outside are clamped.
class SliceBound {
 public:
  SliceBound(End) {}                                        // NOLINT
  SliceBound(const Dim& position) : position_(position) {}  // NOLINT
  template <std::integral T>
  SliceBound(T position) : position_(Dim(static_cast<std::int64_t>(position))) {}  // NOLINT
  const std::optional<Dim>& position() const { return position_; }

 private:
  std::optional<Dim> position_;
};

// The elements start, start + step, ... before stop, as NumPy's start:stop:step.
struct Slice {
  SliceBound start = end;
  SliceBound stop = end;
  std::int64_t step = 1;  // not 0; negative walks backwards
};

// `kt::slice(1, 5)`; `kt::slice(1, kt::end, 2)`; `kt::slice(kt::end, kt::end, -1)` reverses.
inline Slice slice(const SliceBound& start, const SliceBound& stop, std::int64_t step = 1) {
  return {start, stop, step};
}

// The type of kt::all, whose bare name stands for a whole axis.
using WholeAxis = Tensor(const Operand&, const Axes&, KeepDims);

// What one axis of x(...) is indexed with: an integer (removes the axis), kt::all, kt::slice(...),
// or an integer tensor. Its constructors note the user's line.
class IndexItem {
 public:
  using Location = Operand::Location;
  using Value = std::variant<WholeAxis*, Slice, std::int64_t, Tensor>;
  IndexItem(WholeAxis* whole, const Location& location = Location::current())  // NOLINT
      : value_(whole), line_{location.file_name(), location.line()} {}
  IndexItem(const Slice& slice, const Location& location = Location::current())  // NOLINT
      : value_(slice), line_{location.file_name(), location.line()} {}
  template <std::integral T>
  IndexItem(T position, const Location& location = Location::current())  // NOLINT
      : value_(static_cast<std::int64_t>(position)), line_{location.file_name(), location.line()} {}
  IndexItem(const Tensor& positions, const Location& location = Location::current())  // NOLINT
      : value_(positions), line_{location.file_name(), location.line()} {}

  const Value& value() const { return value_; }
  SourceLine line() const { return LineScope::current().value_or(line_); }

 private:
  Value value_;
  SourceLine line_;
};

// x(items...): one item per axis, the rest taken whole. Several tensors are broadcast to one shape
// and taken together: x(i, j) has the elements x[i[k], j[k]]. The axes of the indices stand where
// the first one is; where a slice stands between two of them (an integer counts as one as soon as
// there is a tensor), in front. An integer outside [-size, size) is a ValueError when the size is
// known, else an error of the call. ShapeError for more items than axes or for tensors that do not
// broadcast, TypeError for a tensor that is not of integers, ValueError for a step of 0.
Tensor index(const Tensor& x, std::span<const IndexItem> items);

}  // namespace kroton
