// Statistics beside sum, mean, var, max and argmax (ops.h). Names and meanings are NumPy's. `axes`:
// all by default; they leave the shape unless `keepdims`. ValueError for an axis out of range or
// named twice. All are compositions that fuse. Quantiles and histograms: sort.h.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// The squared deviations from the mean, added up and divided by count - ddof: ddof = 1 is the
// unbiased estimate. NaN or infinite where count <= ddof. The gradient of stddev where all elements
// are equal is NaN.
Tensor var(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof);
Tensor stddev(const Operand& x, const Axes& axes, KeepDims keepdims, double ddof);
// The largest element less the smallest; gradients as those of max and min.
Tensor ptp(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// (sum of |x|^order)^(1 / order), with order 2 also that of Frobenius over the axes of matrices;
// infinity: the largest |x|, -infinity the smallest, 0: how many are not 0. Floating point only
// (TypeError). ValueError for an order that is NaN. The gradient where the result is 0 is 0.
Tensor vector_norm(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false,
                   double order = 2);
// How many elements are not 0, or true (i64).
Tensor count_nonzero(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The position (i64) of the first largest (smallest) element in the flattened axes, as argmax over
// one axis.
Tensor argmax_over(const Operand& x, const std::vector<int>& axes, KeepDims keepdims = false);
Tensor argmin_over(const Operand& x, const std::vector<int>& axes, KeepDims keepdims = false);

// sum(x * weights) / sum(weights), over all or along one axis; weights have x's shape, or for one
// axis a vector of its size. NaN where the weights add up to 0.
Tensor average(const Operand& x, const Operand& weights, std::optional<int> axis = std::nullopt,
               KeepDims keepdims = false);
// The covariances of variables, the rows of x (v, n) or with rowvar = false its columns: (v, v);
// for a vector, its variance. The divisor is n - ddof. Floating point; integers give f32.
Tensor cov(const Operand& x, bool rowvar = true, double ddof = 1);
// Those divided by the deviations, within [-1, 1]; NaN for a variable that is constant.
Tensor corrcoef(const Operand& x, bool rowvar = true);

// ---- Of the elements that are not NaN. Over none: sum 0, product 1, all else NaN. Of integers: as
// ---- the reduction without nan. Gradients of NaNs are 0.

Tensor nansum(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor nanprod(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor nanmean(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor nanvar(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false, double ddof = 0);
Tensor nanstd(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false, double ddof = 0);
Tensor nanmax(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor nanmin(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The position of the first largest (smallest) element that is no NaN; where all are, 0.
Tensor nanargmax(const Operand& x, std::optional<int> axis = std::nullopt,
                 KeepDims keepdims = false);
Tensor nanargmin(const Operand& x, std::optional<int> axis = std::nullopt,
                 KeepDims keepdims = false);
// Running sum and product in which NaNs count as 0 and 1.
Tensor nancumsum(const Operand& x, int axis);
Tensor nancumprod(const Operand& x, int axis);

}  // namespace kroton
