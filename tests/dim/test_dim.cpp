#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/type.h>

#include <chrono>
#include <cmath>
#include <map>
#include <thread>
#include <vector>

#include "compiler/dim/size_samples.h"

using kroton::ceil_div;
using kroton::Dim;
using kroton::DimAtom;
using kroton::DimAtomRef;
using kroton::floor_div;
using kroton::maximum;
using kroton::minimum;
using kroton::provably_at_least;

namespace {

std::int64_t at(const Dim& dim, const std::map<std::string, std::int64_t>& values) {
  return dim.evaluate([&](const DimAtom& atom) { return values.at(atom.name); });
}

}  // namespace

TEST_CASE("sizes have one form, however they are written") {
  const Dim a = Dim::named("a");
  const Dim b = Dim::named("b");
  CHECK((a + b) - b == a);
  CHECK(a + b == b + a);
  CHECK(a * b == b * a);
  CHECK((a + 1) * (a - 1) == a * a - 1);
  CHECK((a + b) * 2 == 2 * a + b * 2);
  CHECK((a - a).is_constant(0));
  CHECK((a * 0).is_constant(0));
  CHECK_FALSE(a == b);
  CHECK_FALSE(a == a + 1);
  CHECK_FALSE(a == Dim(1));
  CHECK_FALSE(Dim(2) == Dim(3));
  CHECK((a + b).hash() == (b + a).hash());
  CHECK(Dim(3).hash() == (a + 3 - a).hash());
}

TEST_CASE("equal names are one size, fresh sizes are their own") {
  CHECK(Dim::named("batch") == Dim::named("batch"));
  CHECK_FALSE(Dim::fresh("n") == Dim::fresh("n"));
  CHECK_FALSE(Dim::named("n") == Dim::fresh("n"));
  CHECK(Dim::named("n").as_variable()->name == "n");
  CHECK(Dim(3).as_variable() == nullptr);
  CHECK((Dim::named("n") + 1).as_variable() == nullptr);
  CHECK((Dim::named("n") * 2).as_variable() == nullptr);
  CHECK(floor_div(Dim::named("n"), 2).as_variable() == nullptr);
}

TEST_CASE("sizes that are divided again and again stay flat") {
  const Dim n = Dim::named("n");
  CHECK(floor_div(floor_div(n, 2), 2) == floor_div(n, 4));
  CHECK(floor_div(floor_div(n + 1, 2) + 1, 2) == floor_div(n + 3, 4));
  CHECK(floor_div(floor_div(n, 3) + n, 2) == floor_div(4 * n, 6));
  Dim size = n;
  for (int level = 0; level < 30; ++level) size = ceil_div(size, 2);
  CHECK(size.to_string() == "floor_div(n + 1073741823, 1073741824)");
  for (const std::int64_t value : {0, 1, 2, 3, 17, 1000}) {
    CHECK(at(floor_div(floor_div(n, 3) + n, 2), {{"n", value}}) == (value / 3 + value) / 2);
    CHECK(at(floor_div(ceil_div(n, 5) - 3, 2), {{"n", value}}) ==
          static_cast<std::int64_t>(std::floor(((value + 4) / 5 - 3) / 2.0)));
  }
  // What is left of a division bounds it.
  CHECK(provably_at_least(n, 3 * floor_div(n, 3)));
  CHECK(provably_at_least(3 * floor_div(n, 3) + 2, n));
  CHECK_FALSE(provably_at_least(3 * floor_div(n, 3) + 1, n));
  CHECK(provably_at_least(floor_div(n, 2), 2 * floor_div(n, 4)));
  CHECK(provably_at_least(2 * floor_div(n, 4) + 1, floor_div(n, 2)));
  CHECK_FALSE(provably_at_least(2 * floor_div(n, 4), floor_div(n, 2)));
  CHECK(provably_at_least(floor_div(n, 3), 4 * floor_div(n, 12)));
  CHECK(provably_at_least(n, floor_div(n, 2)));
  CHECK(provably_at_least(n, ceil_div(n, 2)));
  CHECK_FALSE(provably_at_least(n, ceil_div(n, 2) + 1));
  CHECK(provably_at_least(2 * ceil_div(n, 3) + 1, floor_div(n, 2)));
  CHECK_FALSE(provably_at_least(floor_div(n, 2), floor_div(n, 3) + 1));
}

TEST_CASE("sizes print as polynomials") {
  const Dim batch = Dim::named("print_batch");
  const Dim n = Dim::named("print_n");
  CHECK(Dim(0).to_string() == "0");
  CHECK(Dim(-3).to_string() == "-3");
  CHECK((1 + batch * 2).to_string() == "2*print_batch + 1");
  CHECK((3 - batch).to_string() == "-print_batch + 3");
  CHECK((n - batch - 1).to_string() == "-print_batch + print_n - 1");
  CHECK((n + batch * n * 4).to_string() == "4*print_batch*print_n + print_n");
  CHECK(floor_div(batch + 1, 2).to_string() == "floor_div(print_batch + 1, 2)");
  CHECK(minimum(batch, 3).to_string() == "min(print_batch, 3)");
  CHECK(maximum(n, batch).to_string() == "max(print_batch, print_n)");
  CHECK(kroton::to_string(kroton::Dims{batch, 784}) == "(print_batch, 784)");
  CHECK(kroton::to_string(kroton::Dims{3}) == "(3,)");
  CHECK(kroton::to_string(kroton::TensorType{kroton::f64, {}}) == "f64 ()");
}

TEST_CASE("floor division of sizes is exact where the polynomial divides") {
  const Dim n = Dim::named("n");
  const Dim m = Dim::named("m");
  CHECK(floor_div(7, 2) == Dim(3));
  CHECK(floor_div(-7, 2) == Dim(-4));
  CHECK(floor_div(6 * n, 3) == 2 * n);
  CHECK(floor_div(n * m, n) == m);
  CHECK(floor_div(n * m + n, n) == m + 1);
  CHECK(floor_div(n * n - 1, n + 1) == n - 1);
  CHECK(floor_div((n + m) * (n - m) * 3, n - m) == 3 * n + 3 * m);
  CHECK(floor_div(2 * n + 1, 2) == n);
  CHECK(floor_div(2 * n - 1, 2) == n - 1);
  CHECK(floor_div(n, 1) == n);
  CHECK(floor_div(3 * n + 5, 2) == n + 2 + floor_div(n + 1, 2));
  CHECK_FALSE(floor_div(n, 2) == floor_div(n + 1, 2));
  CHECK(floor_div(n, 2) == floor_div(n, 2));
  CHECK_THROWS_WITH_AS(
      floor_div(n, 0),
      doctest::Contains(
          "floor_div: expected a positive divisor of the size n, got 0  [test_dim.cpp:"),
      kroton::ValueError);
}

TEST_CASE("what divides the dividend but for a constant, and the divisor, is left out") {
  const Dim n = Dim::named("n"), m = Dim::named("m"), q = Dim::named("q");
  CHECK(floor_div(4 * m + 3, 4 * q) == floor_div(m, q));
  CHECK(floor_div(4 * m + 7, 4 * q) == floor_div(m + 1, q));
  CHECK(floor_div(4 * m - 1, 4 * q) == floor_div(m - 1, q));
  CHECK(floor_div(4 * m + 2, 6) == floor_div(2 * m + 1, 3));
  CHECK(floor_div(6 * m + 3, 4) == m + floor_div(m + 1, 2));
  CHECK(ceil_div(4 * n, 256) == ceil_div(n, 64));
  CHECK(floor_div(6 * m + 4 * n, 2 * q + 2) == floor_div(3 * m + 2 * n, q + 1));
  CHECK(floor_div(n * m, 2 * m) == floor_div(n, 2));
  CHECK(floor_div(4 * n * m + 6 * m, 8 * m * q) == floor_div(2 * n + 3, 4 * q));
  CHECK(floor_div(4 * n * m + 3, 4 * m) == n);
  CHECK(floor_div(1, 2 * n) == Dim(0));
  for (const std::int64_t c : {2, 4, 6}) {
    for (std::int64_t k = -9; k <= 9; ++k) {
      for (const std::int64_t d : {1, 2, 3, 12}) {
        const Dim by_size = floor_div(c * m + k, c * d * q);
        const Dim by_number = floor_div(c * m + k, 2 * d);
        for (std::int64_t value = 0; value <= 20; ++value) {
          const double dividend = static_cast<double>(c * value + k);
          for (const std::int64_t divisor : {1, 2, 5}) {
            CHECK(at(by_size, {{"m", value}, {"q", divisor}}) ==
                  static_cast<std::int64_t>(
                      std::floor(dividend / static_cast<double>(c * d * divisor))));
          }
          CHECK(at(by_number, {{"m", value}}) ==
                static_cast<std::int64_t>(std::floor(dividend / static_cast<double>(2 * d))));
        }
      }
    }
  }
}

TEST_CASE("ceiling division of sizes") {
  const Dim n = Dim::named("n");
  const Dim m = Dim::named("m");
  CHECK(ceil_div(7, 2) == Dim(4));
  CHECK(ceil_div(0, 2) == Dim(0));
  CHECK(ceil_div(16 * n, 16) == n);
  CHECK(ceil_div(n * m, m) == n);
  CHECK(ceil_div(n, 16) == floor_div(n - 1, 16) + 1);
  for (const std::int64_t value : {0, 1, 3, 16, 17}) {
    CHECK(at(ceil_div(n, 16), {{"n", value}}) == (value + 15) / 16);
    CHECK(at(ceil_div(n, m), {{"n", value}, {"m", 3}}) == (value + 2) / 3);
  }
}

TEST_CASE("minimum and maximum of sizes fold where the order is known") {
  const Dim n = Dim::named("n");
  const Dim m = Dim::named("m");
  CHECK(minimum(2, 3) == Dim(2));
  CHECK(maximum(2, 3) == Dim(3));
  CHECK(minimum(n, n) == n);
  CHECK(minimum(n, n + 3) == n);
  CHECK(maximum(n, n + m) == n + m);
  CHECK(maximum(n, 0) == n);
  CHECK(minimum(0, n) == Dim(0));
  CHECK(minimum(n, m) == minimum(m, n));
  CHECK_FALSE(minimum(n, m) == n);
  CHECK_FALSE(minimum(n, m) == maximum(n, m));
  CHECK(maximum(minimum(n, 3), 0) == minimum(n, 3));
  CHECK(at(minimum(n, 3), {{"n", 17}}) == 3);
  CHECK(at(minimum(n, 3), {{"n", 1}}) == 1);
  CHECK(at(maximum(n, m - 3), {{"n", 1}, {"m", 17}}) == 14);
}

TEST_CASE("provable order of sizes") {
  const Dim n = Dim::named("n");
  const Dim m = Dim::named("m");
  CHECK(provably_at_least(n, 0));
  CHECK(provably_at_least(n * m + 1, 1));
  CHECK(provably_at_least(n, minimum(n, 3)));
  CHECK(provably_at_least(maximum(n, m), m));
  CHECK(provably_at_least(floor_div(n, 2), 0));
  CHECK_FALSE(provably_at_least(n, 1));
  CHECK_FALSE(provably_at_least(n, m));
  CHECK_FALSE(provably_at_least(floor_div(n - 1, 2), 0));
}

TEST_CASE("variables of a size are replaced inside its operations too") {
  const Dim n = Dim::named("n");
  const Dim m = Dim::named("m");
  const DimAtomRef n_atom = n.as_variable();
  const auto set_n = [&](const Dim& value) {
    return [&n_atom, value](const DimAtomRef& atom) {
      return atom == n_atom ? std::optional<Dim>(value) : std::nullopt;
    };
  };
  CHECK((n * n + m).substitute(set_n(3)) == m + 9);
  CHECK(floor_div(n + 1, 2).substitute(set_n(2 * m + 1)) == m + 1);
  CHECK(minimum(n, m).substitute(set_n(m + 1)) == m);
  CHECK((m + 1).substitute(set_n(3)) == m + 1);
  std::vector<std::string> visited;
  maximum(floor_div(n, 2), m).visit_variables([&](const DimAtomRef& atom) {
    visited.push_back(atom->name);
  });
  CHECK(visited.size() == 2);
}

TEST_CASE("a size that does not fit in 64 bits is an error") {
  const Dim n = Dim::named("n");
  CHECK_THROWS_AS(Dim(INT64_MAX) + 1, kroton::ValueError);
  CHECK_THROWS_AS(Dim(INT64_MAX) * 2, kroton::ValueError);
  CHECK_THROWS_AS(at(n * n, {{"n", INT64_MAX}}), kroton::ValueError);
  CHECK_THROWS_AS(at(floor_div(n, Dim::named("m")), {{"n", 3}, {"m", 0}}), kroton::ValueError);
}

TEST_CASE("sizes that are joined and cut again and again have texts of bounded length") {
  const Dim n = Dim::named("n");
  Dim size = n;
  for (int k = 0; k < 200; ++k) {
    size = maximum(size - 2, 0) + 2 * minimum(size, 1);
  }
  const std::string text = size.to_string();
  CHECK(text.size() < 4000);
  CHECK(text.find("...") != std::string::npos);
  CHECK(at(size, {{"n", 17}}) == 17);
  CHECK(at(size, {{"n", 0}}) == 0);
  CHECK(maximum(n - 2, 0).to_string() == "max(0, n - 2)");
}

TEST_CASE("what is not known of the order of many sizes is given up soon") {
  const Dim n = Dim::named("n");
  Dim all;
  for (int k = 0; k < 300; ++k) all = all + minimum(n, k + 7) - minimum(n, k);
  const auto begin = std::chrono::steady_clock::now();
  for (int k = 0; k < 200; ++k) CHECK_FALSE(provably_at_least(all - k, 2 * n));
  const auto taken = std::chrono::steady_clock::now() - begin;
  CHECK(taken < std::chrono::seconds(5));
  CHECK(provably_at_least(minimum(n, 9) + 3, minimum(n, 9)));
}

TEST_CASE("sizes are interned from several threads at once") {
  std::vector<std::thread> threads;
  std::vector<Dim> results(4);
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&results, t] {
      for (int i = 0; i < 1000; ++i) {
        const Dim n = Dim::named("shared_by_threads");
        results[t] = floor_div(n + i % 7, 5) * minimum(n, i % 3 + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Dim& result : results) CHECK(result == results[0]);
}

TEST_CASE("sizes at random tell where one form is below another, never what is proved otherwise") {
  const Dim a = Dim::named("a");
  const Dim b = Dim::named("b");
  const std::vector<Dim> forms = {0,
                                  1,
                                  a,
                                  b,
                                  a + b,
                                  a * b,
                                  a * a * a * b * b * b,
                                  minimum(a, b),
                                  maximum(a, b),
                                  floor_div(a, 8192),
                                  64 * ceil_div(a, 64),
                                  64 * ceil_div(b, 64),
                                  floor_div(b, a + 1),
                                  minimum(a, 7) - minimum(a, 3)};
  for (const Dim& x : forms) {
    for (const Dim& y : forms) {
      if (!provably_at_least(x, y)) continue;
      CHECK_FALSE(kroton::SizeSamples(x).is_below_somewhere(kroton::SizeSamples(y)));
      CHECK(kroton::SizeSamples(x).sum() >= kroton::SizeSamples(y).sum());
    }
  }
  const auto is_told = [](const Dim& x, const Dim& y) {
    return kroton::SizeSamples(x).is_below_somewhere(kroton::SizeSamples(y));
  };
  int told = 0;
  for (int k = 0; k < 100; ++k) {
    const Dim n = Dim::fresh("n"), m = Dim::fresh("m");
    for (const Dim& unit : {Dim(1), Dim(64), Dim(8192)}) {
      told += is_told(ceil_div(n, unit), ceil_div(m, unit)) ? 1 : 0;
    }
    CHECK_FALSE(is_told(n, n));
    CHECK(is_told(n, n + 1));
  }
  CHECK(told > 250);  // of 300
}
