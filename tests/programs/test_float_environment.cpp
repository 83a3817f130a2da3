// Compiled functions in the floating-point environment of their caller, whatever the threads.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <array>
#include <atomic>
#include <cfenv>
#include <vector>

#include "runtime/float_environment.h"
#include "runtime/pool.h"

#if defined(__x86_64__)

namespace kt = kroton;

namespace {

constexpr std::uint64_t flush_to_zero = 0x8040;  // results and operands

// The environment of this thread, and the one of before at the end.
class Environment {
 public:
  explicit Environment(int rounding, bool flush = false) : before_(kroton_get_float_environment()) {
    std::fesetround(rounding);
    kroton_float_environment now = kroton_get_float_environment();
    if (flush) now.control |= flush_to_zero;
    now.flags = 0;
    kroton_set_float_environment(now);
  }
  ~Environment() { kroton_set_float_environment(before_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  kroton_float_environment before_;
};

// The size of the pool, for a while.
class Threads {
 public:
  explicit Threads(std::int64_t count) : before_(kt::Pool::global().workers()) {
    kt::Pool::global().set_threads(count);
  }
  ~Threads() { kt::Pool::global().set_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  std::int64_t before_;
};

constexpr std::int64_t size = 300000;  // worth several threads

}  // namespace

TEST_CASE("float environment: subnormal numbers are flushed on all threads or on none") {
  auto x = kt::vector("x");
  const auto f = kt::function({x}, {x * 0.25F, kt::exp(x * 0 - 88.0F)});
  const kt::Array small = kt::Array::full({size}, 2e-38F);
  const volatile float number = 2e-38F;
  const kt::Array quarters = kt::Array::full({size}, number * 0.25F);
  REQUIRE(quarters.data<float>()[0] > 0);
  for (const std::int64_t threads : {1, 2, 5}) {
    const Threads pool(threads);
    for (const bool flush : {false, true, false}) {
      CAPTURE(threads);
      CAPTURE(flush);
      for (int call = 0; call < 3; ++call) {
        // Compared elsewhere: where operands are flushed too, they are all equal.
        const auto [quarter, power] = [&] {
          const Environment environment(FE_TONEAREST, flush);
          return f(small);
        }();
        CHECK(kt::array_equal(quarter, flush ? kt::Array::zeros({size}) : quarters));
        CHECK(kt::array_equal(power, kt::Array::full({size}, power.data<float>()[0])));
        CHECK((power.data<float>()[0] == 0) == flush);
      }
    }
  }
}

TEST_CASE("float environment: rounding is the caller's on all threads") {
  auto x = kt::vector("x");
  auto m = kt::matrix("m");
  const auto f = kt::function(
      {x, m}, {x / 3.0F, kt::sum(x / 3.0F), kt::dot(m, kt::transpose(m)), kt::sum(kt::exp(x), 0)});
  const kt::Array ones = kt::Array::ones({size});
  const kt::Array matrix = kt::Array::normal({200, 150}, 1);
  for (const int rounding : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST}) {
    std::vector<std::array<kt::Array, 4>> results;
    for (const std::int64_t threads : {1, 2, 5}) {
      const Threads pool(threads);
      const Environment environment(rounding);
      for (int call = 0; call < 2; ++call) results.push_back(f(ones, matrix));
      CHECK(std::fegetround() == rounding);
    }
    CAPTURE(rounding);
    const float third =
        rounding == FE_UPWARD || rounding == FE_TONEAREST ? 0.33333334F : 0.3333333F;
    CHECK(kt::array_equal(results[0][0], kt::Array::full({size}, third)));
    for (const auto& result : results) {
      for (std::size_t k = 0; k < result.size(); ++k) {
        CHECK(kt::array_equal(result[k], results[0][k]));
      }
    }
  }
}

TEST_CASE("float environment: a flag that any thread raises is the caller's, and no other") {
  auto x = kt::vector("x");
  const auto f = kt::function({x}, x * x);
  for (const std::int64_t threads : {1, 3}) {
    const Threads pool(threads);
    // One element overflows, in the range of any of the threads.
    for (const std::int64_t at : {std::int64_t{0}, size / 2, size - 1}) {
      kt::Array values = kt::Array::ones({size});
      for (const bool large : {false, true}) {
        values.data<float>()[at] = large ? 1e30F : 1.0F;
        const Environment environment(FE_TONEAREST);
        f(values);
        CHECK((std::fetestexcept(FE_OVERFLOW) != 0) == large);
        CHECK(std::fetestexcept(FE_DIVBYZERO | FE_INVALID) == 0);
      }
    }
  }
}

TEST_CASE("float environment: traps are the caller's on all threads, and their handler runs") {
  const Threads pool(3);
  const Environment environment(FE_TONEAREST);
  ::feenableexcept(FE_OVERFLOW);
  std::atomic<int> trapping{0};
  kt::Pool::global().parallel_for(
      [](void* env, std::int64_t, std::int64_t, std::int64_t) -> std::int32_t {
        if (::fegetexcept() == FE_OVERFLOW) ++*static_cast<std::atomic<int>*>(env);
        return 0;
      },
      &trapping, 3);
  CHECK(trapping == 3);
}

TEST_CASE("float environment: compiling does not depend on it, and leaves it as it was") {
  const auto make = [] {
    auto x = kt::tensor("x", {3});
    const kt::Tensor constants =
        kt::Array::from({1.0F, 0.0F, 3.0F}) / kt::Array::from({3.0F, 0.0F, 7.0F});
    return kt::function({x}, x + kt::log(constants) * 0.1F + (x * 0.3F) * 0.7F);
  };
  const kt::Array one = kt::Array::ones({3});
  const kt::Array expected = make()(one);
  for (const int rounding : {FE_UPWARD, FE_TOWARDZERO}) {
    const auto f = [&] {
      const Environment environment(rounding, true);
      ::feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
      const kroton_float_environment before = kroton_get_float_environment();
      auto made = make();
      const kroton_float_environment after = kroton_get_float_environment();
      CHECK(before.control == after.control);
      // Building expressions may round, and is the caller's.
      constexpr std::uint64_t others = FE_ALL_EXCEPT & ~FE_INEXACT;
      CHECK((after.flags & others) == 0);
      return made;
    }();
    CHECK(kt::array_equal(f(one), expected, /*equal_nan=*/true));
  }
}

#endif
