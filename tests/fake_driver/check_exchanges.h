// Every exchange between devices, compared with what it should give.
#pragma once
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/parallel.h>

#include <algorithm>

namespace exchange_test {

using namespace kroton;  // NOLINT: tests

inline double at(const Array& x, std::int64_t i) {
  return x.cast(f64).data<double>()[static_cast<std::size_t>(i)];
}

// Every exchange, of what the devices hold.
inline void check_exchanges(const DeviceGroup& group) {
  const int n = group.size();
  const Tensor x = matrix("x");
  Array given = Array::zeros({n * n, 2});
  for (std::size_t i = 0; i < given.data<float>().size(); ++i) {
    given.data<float>()[i] = static_cast<float>(i * 7 % 11);
  }
  const std::int64_t part = 2 * n;
  const auto sum_at = [&](std::int64_t i) {
    double sum = 0;
    for (int k = 0; k < n; ++k) sum += at(given, k * part + i);
    return sum;
  };
  const auto f = parallel_function(
      group, {x},
      {all_reduce(x + 0, group), reduce_scatter(x, group), all_gather(x, group),
       broadcast(x, group, n - 1), reduce_to_root(x, group, n - 1),
       all_reduce(x, group, Combine::max), all_reduce(cast(x, i64), group, Combine::min)});
  for (int call = 0; call < 3; ++call) {
    const auto [reduced, scattered, gathered, sent, summed, largest, smallest] = f(given);
    for (int k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < part; ++i) {
        CHECK(at(reduced, k * part + i) == sum_at(i));
        CHECK(at(sent, k * part + i) == at(given, (n - 1) * part + i));
        CHECK(at(summed, k * part + i) == (k == n - 1 ? sum_at(i) : 0));
        double high = at(given, i), low = high;
        for (int other = 1; other < n; ++other) {
          high = std::max(high, at(given, other * part + i));
          low = std::min(low, at(given, other * part + i));
        }
        CHECK(at(largest, k * part + i) == high);
        CHECK(at(smallest, k * part + i) == low);
      }
      for (std::int64_t i = 0; i < n * part; ++i) {
        CHECK(at(gathered, k * n * part + i) == at(given, i));
      }
    }
    for (std::int64_t i = 0; i < part; ++i) CHECK(at(scattered, i) == sum_at(i));
  }
}

}  // namespace exchange_test
