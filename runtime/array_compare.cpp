#include <kroton/array.h>

#include <algorithm>
#include <cmath>

#include "runtime/storage.h"
#include "runtime/visit.h"

namespace kroton {

namespace {

template <class T>
bool is_nan(T value) {
  if constexpr (is_floating_element<T>) {
    return value != value;
  } else {
    return false;
  }
}

}  // namespace

bool array_equal(const Array& a, const Array& b, bool equal_nan) {
  detail::require_host(a, "array_equal");
  detail::require_host(b, "array_equal");
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) {
    return false;
  }
  const Array left = a.contiguous();
  const Array right = b.contiguous();
  return visit_dtype(a.dtype(), [&]<class T>(std::type_identity<T>) {
    return std::ranges::equal(left.data<T>(), right.data<T>(), [&](T x, T y) {
      return x == y || (equal_nan && is_nan(x) && is_nan(y));
    });
  });
}

bool all_close(const Array& a, const Array& b, double rtol, double atol, bool equal_nan) {
  detail::require_host(a, "all_close");
  detail::require_host(b, "all_close");
  if (a.shape() != b.shape()) {
    return false;
  }
  const Array left = a.contiguous().cast(f64);
  const Array right = b.contiguous().cast(f64);
  return std::ranges::equal(left.data<double>(), right.data<double>(), [&](double x, double y) {
    if (std::isnan(x) || std::isnan(y)) {
      return equal_nan && std::isnan(x) && std::isnan(y);
    }
    if (std::isinf(x) || std::isinf(y)) {
      return x == y;
    }
    return std::fabs(x - y) <= atol + rtol * std::fabs(y);
  });
}

}  // namespace kroton
