// Rows whose length the call tells are sorted by a network, by rank or by digits: at every length.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

TEST_CASE("rows of a free length are sorted at the ends of all their ways") {
  for (const DType dtype : {DType::f32, DType::i64}) {
    const Tensor x = matrix("x", dtype);
    const auto order = function({x}, {sort(x), argsort(x, -1, true)});
    for (const std::int64_t size : {0, 1, 2, 16, 17, 33, 97, 257, 513, 4096, 4097}) {
      for (const std::int64_t rows : {3, 17}) {
        CAPTURE(size);
        CAPTURE(rows);
        // Many equal ones.
        const Array values = Array::uniform({rows, size}, 3, -99, 99).cast(DType::i64).cast(dtype);
        const auto [sorted, places] = order(values);
        bool is_right = true;
        for (std::int64_t i = 0; i < rows; ++i) {
          std::vector<std::int64_t> expected(static_cast<std::size_t>(size));
          for (std::int64_t k = 0; k < size; ++k) expected[static_cast<std::size_t>(k)] = k;
          std::vector<double> row;
          for (std::int64_t k = 0; k < size; ++k) row.push_back(values(i, k));
          const auto at = [&](std::int64_t k) { return row[static_cast<std::size_t>(k)]; };
          std::stable_sort(expected.begin(), expected.end(),
                           [&](std::int64_t a, std::int64_t b) { return at(a) > at(b); });
          std::vector<double> ascending = row;
          std::sort(ascending.begin(), ascending.end());
          for (std::int64_t k = 0; k < size; ++k) {
            is_right = is_right && sorted(i, k) == ascending[static_cast<std::size_t>(k)] &&
                       places(i, k) == static_cast<double>(expected[static_cast<std::size_t>(k)]);
          }
        }
        CHECK(is_right);
      }
    }
  }
}
