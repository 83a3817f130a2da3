// Compositions of reductions.
#include <kroton/cumulative.h>
#include <kroton/statistics.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ops/numbers.h"
#include "compiler/ops/pieces.h"

namespace kroton {

using ops::floating;

namespace {

using ops::inf;

Tensor constant(double value, const Tensor& like) { return Operand(value).tensor(like.dtype()); }

Tensor is_nan(const Tensor& x) { return ne(x, x); }

Dim count_along(const Tensor& x, const Axes& axes, const char* op) {
  Dim count = 1;
  for (const int axis : axes.resolve(x.rank(), op)) count = count * x.shape(axis);
  return count;
}

// total / (count - ddof), which is not below 0.
Tensor corrected(const Tensor& total, const Tensor& count, double ddof) {
  return total / maximum(cast(count, total.dtype()) - constant(ddof, total), 0);
}

// The root, with a derivative of 0 at 0.
Tensor root(const Tensor& x, const std::function<Tensor(const Tensor&)>& function) {
  const Tensor is_zero = eq(x, 0);
  return where(is_zero, 0, function(where(is_zero, 1, x)));
}

}  // namespace

Tensor var(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof) {
  const LineScope scope(x.line());
  if (is_only_stored(x.tensor().dtype())) {
    return ops::computed(x.tensor(), [&](const Tensor& t) { return var(t, axes, keepdims, ddof); });
  }
  const Tensor deviations = x.tensor() - mean(x, axes, true);
  return corrected(sum(square(deviations), axes, keepdims),
                   size_of_dim(count_along(deviations, axes, "var")), ddof);
}

Tensor stddev(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof) {
  const LineScope scope(x.line());
  return ops::computed(x.tensor(),
                       [&](const Tensor& t) { return sqrt(var(t, axes, keepdims, ddof)); });
}

Tensor ptp(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return max(x, axes, keepdims) - min(x, axes, keepdims);
}

Tensor vector_norm(const Operand& x, const Axes& axes, KeepDims keepdims, double order) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) {
    ops::fail_type(OpRecord{.name = "vector_norm"}, {tensor}, "takes floating point only");
  }
  if (std::isnan(order)) ops::fail_value("vector_norm", "the order is NaN");
  if (is_only_stored(tensor.dtype())) {
    return ops::computed(tensor,
                         [&](const Tensor& t) { return vector_norm(t, axes, keepdims, order); });
  }
  if (order == 0) return sum(cast(ne(tensor, 0), tensor.dtype()), axes, keepdims);
  if (order == 1) return sum(abs(tensor), axes, keepdims);
  if (order == 2) {
    return root(sum(square(tensor), axes, keepdims), [](const Tensor& s) { return sqrt(s); });
  }
  const Tensor size = abs(tensor);
  if (order == inf) return max(size, axes, keepdims);
  if (order == -inf) return min(size, axes, keepdims);
  const Tensor power = constant(order, tensor), inverse = constant(1 / order, tensor);
  if (order < 0) return pow(sum(pow(size, power), axes, keepdims), inverse);
  return root(sum(root(size, [&](const Tensor& s) { return pow(s, power); }), axes, keepdims),
              [&](const Tensor& s) { return pow(s, inverse); });
}

Tensor count_nonzero(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const Tensor counts = tensor.dtype() == DType::boolean ? tensor : ne(tensor, 0);
  return sum(cast(counts, DType::i64), axes, keepdims);
}

namespace {

Tensor position_over(const char* op, const Operand& x, const std::vector<int>& axes, bool keepdims,
                     Tensor (*position)(const Operand&, std::optional<int>, KeepDims)) {
  const Tensor tensor = x.tensor();
  const std::vector<int> reduced = Axes(axes).resolve(tensor.rank(), op);
  std::vector<int> order = ops::other_axes(tensor.rank(), reduced);
  Dims shape;
  for (const int axis : order) shape.push_back(tensor.shape(axis));
  shape.push_back(count_along(tensor, Axes(axes), op));
  order.insert(order.end(), reduced.begin(), reduced.end());
  const Tensor lines = reshape(order.empty() ? tensor : transpose(tensor, order), shape);
  const Tensor result = position(lines, -1, false);
  return keepdims ? ops::keep_axes(result, tensor.shape(), reduced) : result;
}

}  // namespace

Tensor argmax_over(const Operand& x, const std::vector<int>& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return position_over("argmax_over", x, axes, keepdims, argmax);
}

Tensor argmin_over(const Operand& x, const std::vector<int>& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return position_over("argmin_over", x, axes, keepdims, argmin);
}

Tensor average(const Operand& x, const Operand& weights, std::optional<int> axis,
               KeepDims keepdims) {
  const LineScope scope(x.line());
  std::vector<Tensor> both = ops::promoted(x, weights);
  for (Tensor& tensor : both) tensor = floating(tensor);
  const OpRecord op{.name = "average"};
  if (!axis) {
    both = ops::broadcast(op, both);
    return sum(both[0] * both[1], {}, keepdims) / sum(both[1], {}, keepdims);
  }
  const int along = ops::resolve_axis(*axis, both[0].rank(), "average");
  if (both[1].rank() == 1 && both[0].rank() > 1) {
    Dims shape(both[0].shape().size(), Dim(1));
    shape[static_cast<std::size_t>(along)] = both[1].shape(0);
    both[1] = reshape(both[1], shape);
  } else if (both[1].rank() != both[0].rank()) {
    ops::fail_shape(op, both, "the weights must have the shape of x, or be a vector");
  }
  both = ops::broadcast(op, both);
  return sum(both[0] * both[1], along, keepdims) / sum(both[1], along, keepdims);
}

namespace {

// Of variables in the rows of a matrix.
Tensor covariances(const char* op, const Operand& x, bool rowvar, double ddof) {
  Tensor rows = floating(x);
  if (rows.rank() > 2) {
    ops::fail_shape(OpRecord{.name = op}, {rows}, "takes a vector or a matrix");
  }
  if (rows.rank() < 2) {
    rows = reshape(rows, {1, element_count(rows.shape())});
  } else if (!rowvar) {
    rows = transpose(rows);
  }
  const Tensor deviations = rows - mean(rows, 1, true);
  return corrected(dot(deviations, transpose(deviations)), size_of_dim(rows.shape(1)), ddof);
}

Tensor of_rank(const Tensor& matrix, int rank) { return rank < 2 ? reshape(matrix, {}) : matrix; }

}  // namespace

Tensor cov(const Operand& x, bool rowvar, double ddof) {
  const LineScope scope(x.line());
  return of_rank(covariances("cov", x, rowvar, ddof), x.tensor().rank());
}

Tensor corrcoef(const Operand& x, bool rowvar) {
  const LineScope scope(x.line());
  const Tensor c = covariances("corrcoef", x, rowvar, 1);
  const Tensor row = iota(c.shape(), 0), column = iota(c.shape(), 1);
  const Tensor deviations = sqrt(sum(where(eq(row, column), c, 0), 1));
  const Tensor scaled = c / expand_dims(deviations, 1) / expand_dims(deviations, 0);
  return of_rank(clip(scaled, -1, 1), x.tensor().rank());
}

// ---- Of the elements that are not NaN

namespace {

Tensor without_nans(const Tensor& x, double value) {
  return is_float(x.dtype()) ? where(is_nan(x), constant(value, x), x) : x;
}

Tensor counted(const Tensor& x, const Axes& axes, bool keepdims, DType dtype) {
  return sum(cast(logical_not(is_nan(x)), dtype), axes, keepdims);
}

Tensor nan_variance(const Operand& x, const Axes& axes, bool keepdims, double ddof) {
  const Tensor tensor = floating(x);
  const Tensor deviations = where(is_nan(tensor), 0, tensor - nanmean(tensor, axes, true));
  const Tensor total = sum(square(deviations), axes, keepdims);
  const Tensor divisor = counted(tensor, axes, keepdims, tensor.dtype()) - constant(ddof, tensor);
  // As NumPy: NaN where too few elements are left.
  return where(gt(divisor, 0), total / divisor,
               constant(std::numeric_limits<double>::quiet_NaN(), tensor));
}

// The extreme of what is left; NaN where nothing is.
Tensor nan_extreme(const Operand& x, const Axes& axes, bool keepdims, double beaten,
                   Tensor (*extreme)(const Operand&, const Axes&, KeepDims)) {
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) return extreme(tensor, axes, keepdims);
  const Tensor found = extreme(without_nans(tensor, beaten), axes, keepdims);
  return where(all(is_nan(tensor), axes, keepdims),
               constant(std::numeric_limits<double>::quiet_NaN(), tensor), found);
}

}  // namespace

Tensor nansum(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return sum(without_nans(x.tensor(), 0), axes, keepdims);
}

Tensor nanprod(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return prod(without_nans(x.tensor(), 1), axes, keepdims);
}

Tensor nanmean(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (!is_float(tensor.dtype())) return mean(tensor, axes, keepdims);
  if (is_only_stored(tensor.dtype())) {
    return ops::computed(tensor, [&](const Tensor& t) { return nanmean(t, axes, keepdims); });
  }
  return sum(without_nans(tensor, 0), axes, keepdims) /
         counted(tensor, axes, keepdims, tensor.dtype());
}

Tensor nanvar(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof) {
  const LineScope scope(x.line());
  return ops::computed(x.tensor(),
                       [&](const Tensor& t) { return nan_variance(t, axes, keepdims, ddof); });
}

Tensor nanstd(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof) {
  const LineScope scope(x.line());
  return ops::computed(
      x.tensor(), [&](const Tensor& t) { return sqrt(nan_variance(t, axes, keepdims, ddof)); });
}

Tensor nanmax(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return nan_extreme(x, axes, keepdims, -inf, max);
}

Tensor nanmin(const Operand& x, const Axes& axes, KeepDims keepdims) {
  const LineScope scope(x.line());
  return nan_extreme(x, axes, keepdims, inf, min);
}

Tensor nanargmax(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  const LineScope scope(x.line());
  return argmax(without_nans(x.tensor(), -inf), axis, keepdims);
}

Tensor nanargmin(const Operand& x, std::optional<int> axis, KeepDims keepdims) {
  const LineScope scope(x.line());
  return argmin(without_nans(x.tensor(), inf), axis, keepdims);
}

Tensor nancumsum(const Operand& x, int axis) {
  const LineScope scope(x.line());
  return cumsum(without_nans(x.tensor(), 0), axis);
}

Tensor nancumprod(const Operand& x, int axis) {
  const LineScope scope(x.line());
  return cumprod(without_nans(x.tensor(), 1), axis);
}

}  // namespace kroton
