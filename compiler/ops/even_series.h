// Derivatives of all orders at a point where a formula is 0 / 0.
#pragma once
#include <kroton/ops.h>

#include <functional>
#include <vector>

namespace kroton::ops {

// c0 + c1 x^2 + c2 x^4 + ... where |x| < limit, elsewhere the formula, which is the same function
// but loses its digits near 0. It is never given an x near 0, so that its derivatives are numbers
// where they are not taken.
inline Tensor even_series(const Tensor& x, double limit, const std::vector<double>& coefficients,
                          const std::function<Tensor(const Tensor&)>& formula) {
  const Tensor near = abs(x) < limit;
  const Tensor inside = where(near, x, 0);
  const Tensor square = inside * inside;
  Tensor sum = full_like(x, coefficients.back());
  for (std::size_t k = coefficients.size() - 1; k-- > 0;) sum = sum * square + coefficients[k];
  return where(near, sum, formula(where(near, limit, x)));
}

}  // namespace kroton::ops
