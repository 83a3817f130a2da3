// Differences, integrals, interpolation, and products of vectors. Names and meanings are NumPy's
// (SciPy's for cumulative_trapezoid). All are compositions that fuse, with gradients of any order.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// x[i+1] - x[i] along the axis, n times: an axis that is n elements shorter, or has none. Booleans:
// whether both differ. ValueError for n < 0.
Tensor diff(const Operand& x, int n = 1, int axis = -1);
// The derivative along the axis by central differences, at the ends by one-sided ones; points are
// `spacing` apart (a scalar), or at the ascending coordinates of a vector. Floating point; integers
// give f32. ShapeError for fewer than 2 elements.
Tensor gradient(const Operand& x, const Operand& spacing = 1, int axis = -1);
// The integral along the axis by the trapezoidal rule, of points that are `spacing` apart or at the
// coordinates of a vector.
Tensor trapezoid(const Operand& y, const Operand& spacing = 1, int axis = -1);
// The same up to each point but the first: an axis that is one element shorter.
Tensor cumulative_trapezoid(const Operand& y, const Operand& spacing = 1, int axis = -1);
// The piecewise linear function through the points (xp[i], fp[i]) at x; xp ascending. Below xp[0]
// and above the last: fp's first and last element, or `left` and `right`. A NaN gives NaN. Floating
// point (TypeError), xp and fp vectors of one size, at least 1 (ShapeError). Gradients by x, xp,
// fp.
Tensor interp(const Operand& x, const Operand& xp, const Operand& fp,
              const std::optional<double>& left = std::nullopt,
              const std::optional<double>& right = std::nullopt);
// The vector product; the axis has 3 elements (ShapeError), other axes broadcast.
Tensor cross(const Operand& a, const Operand& b, int axis = -1);

// Which part of the result is given, for vectors of n and m elements: all n + m - 1; max(n, m) from
// the middle; max(n, m) - min(n, m) + 1, where both overlap wholly.
enum class ConvolveMode : std::uint8_t { full, same, valid };
// The sums over k of a[i - k] v[k], and of a[i + k] v[k]. Vectors, floating point (TypeError,
// ShapeError); none without elements.
Tensor convolve(const Operand& a, const Operand& v, ConvolveMode mode = ConvolveMode::full);
Tensor correlate(const Operand& a, const Operand& v, ConvolveMode mode = ConvolveMode::valid);

}  // namespace kroton
