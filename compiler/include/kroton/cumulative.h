// Running operations along an axis beside cumsum. y[i] is made of x[0], ..., x[i], or with
// `reverse` of x[i], ..., x[n-1]. Elements are taken one after the other, in order. Names and
// meanings are NumPy's (PyTorch's, where NumPy has none).
#pragma once
#include <kroton/ops.h>

namespace kroton {

// The running product. Booleans and i32 are multiplied as i64. Gradients of any order are exact
// with zeros among the factors.
Tensor cumprod(const Operand& x, int axis, bool reverse = false);
// The largest (smallest) element so far; a NaN stays. Numbers only (TypeError). The gradient goes
// to the element that has been taken, of equal ones the first on the way.
Tensor cummax(const Operand& x, int axis, bool reverse = false);
Tensor cummin(const Operand& x, int axis, bool reverse = false);
// log(exp(x[0]) + ... + exp(x[i])), without overflow, accurate whatever the elements' order.
// Floating point only. The gradient where the result is infinite is 0 or NaN.
Tensor logcumsumexp(const Operand& x, int axis, bool reverse = false);
// y[0] = b[0], y[i] = a[i] * y[i-1] + b[i]: moving averages, discounted sums, filters of first
// order. With `reverse` it begins at the other end: y[n-1] = b[n-1], y[i] = a[i] * y[i+1] + b[i].
// The first a is not used. dtypes are promoted, shapes broadcast. Numbers only (TypeError).
// Gradients of any order.
Tensor linear_recurrence(const Operand& a, const Operand& b, int axis, bool reverse = false);

}  // namespace kroton
