// Counts of elements: by their values, and in bins.
#include <kroton/sort.h>

#include "compiler/ops/indices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// The sum of the weights at each of `size` positions, which are in range.
Tensor counted(const Tensor& positions, const Tensor& weights, const Dim& size) {
  const Tensor each = broadcast_to(weights, positions.shape());
  return scatter_add(flatten(each), flatten(positions), {size});
}

Tensor counts_of(const Operand& x, const Dim& size, const Tensor& weights) {
  const Tensor given = x.tensor();
  if (!is_integer(given.dtype())) {
    ops::fail_type(OpRecord{.name = "bincount"}, {given}, "takes integers");
  }
  return counted(ops::checked_positions(given, size, 0, "bincount"), weights, size);
}

Tensor one() { return Operand(1).tensor(DType::i64); }

struct Bins {
  Tensor x;
  Tensor low, high;  // scalars
  Dim count;
  Tensor edges() const {
    const Tensor place = iota({count + 1}, 0, x.dtype());
    const Tensor number = size_of_dim(count, x.dtype());
    return where(eq(place, number), high, low + place * ((high - low) / number));
  }
};

Bins bins_of(const char* op, const Operand& x, std::int64_t bins, const Operand* low,
             const Operand* high) {
  if (bins < 1) ops::fail_value(op, "the number of bins is " + std::to_string(bins));
  Bins result;
  result.count = bins;
  result.x = x.tensor();
  if (!is_float(result.x.dtype())) result.x = cast(result.x, DType::f64);
  const auto bound = [&](const Operand* given,
                         Tensor (*extreme)(const Operand&, const Axes&, KeepDims)) {
    if (given == nullptr) return extreme(result.x, {}, false);
    const Tensor tensor = given->tensor(result.x.dtype());
    if (tensor.rank() != 0) {
      ops::fail_shape(OpRecord{.name = op}, {result.x, tensor}, "the ends must be scalars");
    }
    return cast(tensor, result.x.dtype());
  };
  const Tensor first = bound(low, min), last = bound(high, max);
  // One value alone has a bin around it.
  const Tensor widening = where(eq(first, last), Operand(0.5).tensor(first.dtype()),
                                Operand(0.0).tensor(first.dtype()));
  result.low = first - widening;
  result.high = last + widening;
  return result;
}

// Which bin an element is in by division; the neighbour where the edges say so.
Tensor uniform_histogram(const Bins& bins) {
  const Tensor x = flatten(bins.x);
  const Tensor edges = bins.edges();
  const Tensor number = size_of_dim(bins.count, x.dtype());
  const Tensor last = size_of_dim(bins.count) - 1;
  const Tensor inside = ge(x, bins.low) & le(x, bins.high);
  const Tensor share = (x - bins.low) / (bins.high - bins.low) * number;
  Tensor bin = minimum(cast(where(inside, share, 0), DType::i64), last);
  bin = bin - cast(lt(x, take(edges, bin)) & gt(bin, 0), DType::i64);
  bin = bin + cast(ge(x, take(edges, bin + 1)) & lt(bin, last), DType::i64);
  return counted(bin, cast(inside, DType::i64), bins.count);
}

}  // namespace

Tensor digitize(const Operand& x, const Operand& bins, bool right) {
  const LineScope scope(x.line());
  return searchsorted(bins, x, !right);
}

Tensor bincount(const Operand& x, const Dim& size) {
  const LineScope scope(x.line());
  return counts_of(x, size, one());
}

Tensor bincount(const Operand& x, const Dim& size, const Operand& weights) {
  const LineScope scope(x.line());
  return counts_of(x, size, ops::widened(weights));
}

Tensor histogram(const Operand& x, const Tensor& edges) {
  const LineScope scope(x.line());
  const Tensors both = ops::promoted(Tensors{x.tensor(), Operand(edges).tensor()});
  if (edges.rank() != 1) {
    ops::fail_shape(OpRecord{.name = "histogram"}, both, "the edges must be a vector");
  }
  const Tensor ends =
      ops::size_check(both[1], "histogram", both, both[1].shape(0), 2, "%0 edges make no bin");
  const Dim count = ends.shape(0) - 1;
  const Tensor last = size_of_dim(count);
  const Tensor found = searchsorted(ends, both[0], true);
  const Tensor is_end = eq(both[0], take(ends, last));
  const Tensor inside = gt(found, 0) & (le(found, last) | is_end) & eq(both[0], both[0]);
  const Tensor bin = minimum(maximum(found - 1, 0), last - 1);
  return counted(bin, cast(inside, DType::i64), count);
}

Tensor histogram(const Operand& x, std::int64_t bins, const Operand& low, const Operand& high) {
  const LineScope scope(x.line());
  return uniform_histogram(bins_of("histogram", x, bins, &low, &high));
}

Tensor histogram(const Operand& x, std::int64_t bins) {
  const LineScope scope(x.line());
  return uniform_histogram(bins_of("histogram", x, bins, nullptr, nullptr));
}

Tensor histogram_bin_edges(const Operand& x, std::int64_t bins) {
  const LineScope scope(x.line());
  return bins_of("histogram_bin_edges", x, bins, nullptr, nullptr).edges();
}

}  // namespace kroton
