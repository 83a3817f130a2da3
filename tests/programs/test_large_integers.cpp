// Integers that a double does not hold, compiled and by the reference interpreter.
#include <doctest/doctest.h>

#include <limits>

#include "tests/tools/compiled_tools.h"

namespace test_large_integers {

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t above = (std::int64_t{1} << 53) + 1;  // the first that no double holds

const std::int64_t first[] = {above,  above + 1,   -above, highest,
                              lowest, highest - 1, 7,      -above - 2};
const std::int64_t second[] = {above + 1, 3, 5, highest - 2, -1, 2, above, above};

// The values by the interpreter and, where these differ, what differs in those of the compiled
// code.
std::vector<std::int64_t> values(const Tensor& y, const std::vector<Tensor>& inputs,
                                 const std::vector<Array>& arrays) {
  const Problem problem{inputs, {y}, arrays};
  check_agrees(problem);
  const Array result = to_array(expected(problem)[0]).cast(i64);
  return {result.data<std::int64_t>().begin(), result.data<std::int64_t>().end()};
}

}  // namespace

TEST_CASE("large integers: elementwise operations are exact") {
  const Tensor x = vector("x", i64), y = vector("y", i64);
  const std::vector<Array> arrays{Array::from(std::span(first)), Array::from(std::span(second))};
  const auto check = [&](const Tensor& z, auto function) {
    const std::vector<std::int64_t> have = values(z, {x, y}, arrays);
    REQUIRE(have.size() == std::size(first));
    for (std::size_t i = 0; i < have.size(); ++i) {
      CAPTURE(i);
      CHECK(have[i] == static_cast<std::int64_t>(function(first[i], second[i])));
    }
  };
  const auto wrapped = [](auto f) {
    return [f](std::int64_t a, std::int64_t b) {
      return f(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b));
    };
  };
  const auto floored = [](std::int64_t a, std::int64_t b) {
    if (b == -1) return static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(a));
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
  };
  check(x + y, wrapped(std::plus<>()));
  check(x - y, wrapped(std::minus<>()));
  check(x * y, wrapped(std::multiplies<>()));
  check(floor_div(x, y), floored);
  check(x % y, [&](std::int64_t a, std::int64_t b) { return b == -1 ? 0 : a - floored(a, b) * b; });
  check(x < y, std::less<>());
  check(x <= y, std::less_equal<>());
  check(eq(x, y - 1), [](std::int64_t a, std::int64_t b) { return a == b - 1; });
  check(maximum(x, y), [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
  check(minimum(x, y), [](std::int64_t a, std::int64_t b) { return std::min(a, b); });
  check(where(x < y, x, y), [](std::int64_t a, std::int64_t b) { return std::min(a, b); });
  check(-x, [](std::int64_t a, std::int64_t) { return 0 - static_cast<std::uint64_t>(a); });
  check(cast(x, i32), [](std::int64_t a, std::int64_t) { return static_cast<std::int32_t>(a); });
  check(cast(x, f64), [](std::int64_t a, std::int64_t) {
    return a > highest - 512 ? highest : static_cast<std::int64_t>(static_cast<double>(a));
  });
}

TEST_CASE("large integers: reductions and gathers are exact") {
  const std::int64_t numbers[] = {above, 2, above + 4, -3};
  const Tensor x = vector("x", i64), k = vector("k", i64);
  const auto one = [&](const Tensor& y) {
    return values(y, {x}, {Array::from(std::span(numbers))}).at(0);
  };
  CHECK(one(sum(x)) == 2 * above + 3);
  CHECK(one(prod(x)) == static_cast<std::int64_t>(static_cast<std::uint64_t>(above) * 2 *
                                                  static_cast<std::uint64_t>(above + 4) *
                                                  static_cast<std::uint64_t>(-3)));
  CHECK(one(max(x)) == above + 4);
  CHECK(one(min(x + above)) == above - 3);
  CHECK(one(argmax(where(x < above, above + 3, x))) == 2);
  CHECK(values(take(x, k), {x, k},
               {Array::from(std::span(numbers)), Array::from<std::int64_t>({2, 0, -4})}) ==
        std::vector<std::int64_t>{above + 4, above, above});
  CHECK(values(scatter_add(x, k, {2}), {x, k},
               {Array::from(std::span(numbers)), Array::from<std::int64_t>({0, 1, 0, 1})}) ==
        std::vector<std::int64_t>{2 * above + 4, -1});
}

TEST_CASE("large integers: constants are folded exactly") {
  const Tensor x = vector("x", i64);
  const Tensor folded = Operand(Array(above)).tensor() * 3 + Operand(Array(highest)).tensor();
  const Tensor table = Operand(Array::from(std::span(first))).tensor() + 1;
  CHECK(values(x + folded, {x}, {Array::from<std::int64_t>({1})}) ==
        std::vector{static_cast<std::int64_t>(static_cast<std::uint64_t>(above) * 3 +
                                              static_cast<std::uint64_t>(highest) + 1)});
  CHECK(values(x + table, {x}, {Array::from<std::int64_t>({1, 0, 0, 0, 0, 0, 0, 0})}).at(0) ==
        above + 2);
}

}  // namespace test_large_integers
