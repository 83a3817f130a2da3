// What is made of a sort: the largest elements, quantiles.
#include <kroton/sort.h>

#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"

namespace kroton {

using ops::run_of;

namespace {

// x, along whose axis there is that position.
Tensor with_position(const char* op, const Tensor& x, std::int64_t position, int axis) {
  const Dim& size = x.shape(axis);
  const std::int64_t least = position < 0 ? -position : position + 1;
  if (size.is_constant() && size.constant() < least) {
    ops::fail_value(op, "position " + std::to_string(position) + " is out of range for axis " +
                            std::to_string(axis) + " of size " + size.to_string());
  }
  return ops::size_check(x, op, {x}, size, least,
                         "position " + std::to_string(position) + " is out of range for axis " +
                             std::to_string(axis) + ", whose size is %0");
}

}  // namespace

namespace {

// x, along whose axis there are k elements at least.
Tensor with_elements(const char* op, const Tensor& x, const Dim& k, int axis) {
  if (k.is_constant() && k.constant() < 0) ops::fail_value(op, "k is " + k.to_string());
  return ops::size_check(x, op, {x}, x.shape(axis), k,
                         "axis " + std::to_string(axis) + " has %0 elements, fewer than k, %1");
}

// The k first positions of a sort.
Tensor first_positions(const Tensor& x, const Dim& k, int axis, bool largest) {
  // A few of many are found without sorting the others.
  constexpr std::int64_t few = 48, of_each = 4;
  const Dim& size = x.shape(axis);
  const bool are_few = k.is_constant() && k.constant() > 0 && k.constant() <= few &&
                       (!size.is_constant() || size.constant() >= of_each * k.constant());
  if (!are_few) return run_of(argsort(x, axis, largest), axis, 0, k);
  Attributes attributes;
  attributes.integers = {largest ? 1 : 0, k.constant()};
  const int last = x.rank() - 1;
  const Tensor positions =
      ops::apply(argtopk_op, {ops::move_axis(x, axis, last)}, std::move(attributes));
  return ops::move_axis(positions, last, axis);
}

}  // namespace

std::pair<Tensor, Tensor> topk(const Operand& x, const Dim& k, int axis, bool largest) {
  const LineScope scope(x.line());
  const int along = ops::axis_of("topk", x.tensor(), axis);
  const Tensor enough = with_elements("topk", x.tensor(), k, along);
  const Tensor positions = first_positions(enough, k, along, largest);
  return {ops::take_along(enough, positions, along), positions};
}

Tensor argtopk(const Operand& x, const Dim& k, int axis, bool largest) {
  const LineScope scope(x.line());
  const int along = ops::axis_of("argtopk", x.tensor(), axis);
  return first_positions(with_elements("argtopk", x.tensor(), k, along), k, along, largest);
}

Tensor partition(const Operand& x, std::int64_t kth, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const int along = ops::axis_of("partition", tensor, axis);
  return sort(with_position("partition", tensor, kth, along), along);
}

Tensor argpartition(const Operand& x, std::int64_t kth, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const int along = ops::axis_of("argpartition", tensor, axis);
  return argsort(with_position("argpartition", tensor, kth, along), along);
}

// ---- Quantiles

namespace {

// What quantiles are taken of: sorted along the first axis, which has an element; how many of them
// count in each line; and whether a NaN among the others makes the result NaN.
struct SortedLines {
  Tensor sorted;  // (n, ...)
  Tensor count;   // (...), f64: of elements that are not NaN; none: all of them
  Dims kept;      // the result's shape with the reduced axes, behind those of q
  bool keepdims = false;

  Dims shape() const { return Dims(sorted.shape().begin() + 1, sorted.shape().end()); }
  Tensor finished(const Tensor& result, const Dims& front) const {
    if (!keepdims) return result;
    Dims full = front;
    full.insert(full.end(), kept.begin(), kept.end());
    return reshape(result, full);
  }
  Tensor row(const Dim& position) const { return reshape(run_of(sorted, 0, position, 1), shape()); }
};

SortedLines sorted_lines(const char* op, const Operand& x, std::optional<int> axis, bool keepdims,
                         bool leaves_nans_out) {
  Tensor tensor = ops::floating(x);
  SortedLines result;
  result.keepdims = keepdims;
  result.kept = Dims(at(tensor.rank()), Dim(1));
  int along = 0;
  if (axis) {
    along = ops::axis_of(op, tensor, *axis);
    result.kept = ops::with_ones(tensor.shape(), {along});
  } else {
    tensor = flatten(tensor);
  }
  tensor = ops::size_check(tensor, op, {tensor}, tensor.shape(along), 1,
                           "axis " + std::to_string(along) + " has no elements");
  result.sorted = ops::move_axis(sort(tensor, along), along, 0);
  if (leaves_nans_out) {
    result.count = sum(cast(eq(tensor, tensor), DType::f64), along);
  }
  return result;
}

Tensor nan_like(const Tensor& x) {
  return Operand(std::numeric_limits<double>::quiet_NaN()).tensor(x.dtype());
}

// a + (b - a) t, from the nearer end.
Tensor between(const Tensor& a, const Tensor& b, const Tensor& t) {
  const Tensor infinite = Operand(std::numeric_limits<double>::infinity()).tensor(a.dtype());
  const Tensor way = b - a;
  const Tensor inside = where(lt(t, 0.5), a + way * t, b - way * (1 - t));
  return where(eq(a, b) & eq(abs(a), infinite), a, inside);
}

// The elements at these positions, (k,) + lines or (k, 1, ...), of a line each, or the same of all.
Tensor elements(const SortedLines& lines, const Tensor& positions) {
  const Tensor whole = cast(positions, DType::i64);
  if (lines.count) return ops::take_along(lines.sorted, whole, 0);
  return take(lines.sorted, flatten(whole), 0);
}

Tensor quantile_of(const char* op, const SortedLines& lines, const Operand& q, double most,
                   QuantileMethod method) {
  const Tensor given = q.is_literal() ? q.tensor(DType::f64) : q.tensor();
  if (!is_float(given.dtype())) {
    ops::fail_type(OpRecord{.name = op}, {lines.sorted, given}, "q must be floating point");
  }
  const Tensor shares = flatten(stop_gradient(cast(given, DType::f64))) / most;
  Dims column{shares.shape(0)};
  column.resize(at(lines.sorted.rank()), Dim(1));
  const Tensor share = reshape(shares, column);
  const Tensor last =
      (lines.count ? expand_dims(lines.count, 0) : size_of_dim(lines.sorted.shape(0), DType::f64)) -
      1;
  const Tensor fits = ge(share, 0) & le(share, 1) & ge(last, 0);
  const Tensor place = where(fits, share * last, 0);
  const Tensor low = floor(place), high = ceil(place);
  const Tensor t = place - low;
  Tensor value;
  switch (method) {
    case QuantileMethod::linear:
    case QuantileMethod::midpoint: {
      const Tensor way = method == QuantileMethod::linear ? t : where(eq(t, 0), t, 0.5);
      value = between(elements(lines, low), elements(lines, high), cast(way, lines.sorted.dtype()));
      break;
    }
    case QuantileMethod::lower:
      value = elements(lines, low);
      break;
    case QuantileMethod::higher:
      value = elements(lines, high);
      break;
    case QuantileMethod::nearest: {
      const Tensor up = gt(t, 0.5) | (eq(t, 0.5) & eq(low % 2, 1));
      value = elements(lines, where(up, high, low));
      break;
    }
  }
  Tensor known = fits;
  if (!lines.count) {
    const Tensor largest = run_of(lines.sorted, 0, lines.sorted.shape(0) - 1, 1);
    known = known & eq(largest, largest);
  }
  value = where(known, value, nan_like(value));
  Dims front = given.shape(), shape = lines.shape();
  shape.insert(shape.begin(), front.begin(), front.end());
  return lines.finished(reshape(value, shape), front);
}

}  // namespace

Tensor quantile(const Operand& x, const Operand& q, std::optional<int> axis, KeepDims keepdims,
                QuantileMethod method) {
  const LineScope scope(x.line());
  return quantile_of("quantile", sorted_lines("quantile", x, axis, keepdims, false), q, 1, method);
}

Tensor percentile(const Operand& x, const Operand& q, std::optional<int> axis, KeepDims keepdims,
                  QuantileMethod method) {
  const LineScope scope(x.line());
  return quantile_of("percentile", sorted_lines("percentile", x, axis, keepdims, false), q, 100,
                     method);
}

Tensor nanquantile(const Operand& x, const Operand& q, std::optional<int> axis, KeepDims keepdims) {
  const LineScope scope(x.line());
  return quantile_of("nanquantile", sorted_lines("nanquantile", x, axis, keepdims, true), q, 1,
                     QuantileMethod::linear);
}

Tensor median(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  const LineScope scope(x.line());
  const SortedLines lines = sorted_lines("median", x, axis, keepdims, false);
  const Dim& n = lines.sorted.shape(0);
  const Dim low = floor_div(n - 1, 2), high = floor_div(n, 2);
  const Tensor middle = low == high ? lines.row(low) : (lines.row(low) + lines.row(high)) * 0.5;
  const Tensor largest = lines.row(n - 1);
  return lines.finished(where(eq(largest, largest), middle, nan_like(middle)), {});
}

Tensor nanmedian(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  const LineScope scope(x.line());
  const SortedLines lines = sorted_lines("nanmedian", x, axis, keepdims, true);
  const Tensor last = expand_dims(lines.count, 0) - 1;
  const Tensor place = where(ge(last, 0), last * 0.5, 0);
  const Tensor middle = (elements(lines, floor(place)) + elements(lines, ceil(place))) * 0.5;
  const Tensor known = where(ge(last, 0), middle, nan_like(middle));
  return lines.finished(reshape(known, lines.shape()), {});
}

}  // namespace kroton
