#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include <kroton/array.h>

#include <kroton/philox.h>

using namespace kroton;

// Source: kat_vectors of the Random123 library, "philox4x32 10".
TEST_CASE("philox: known answers") {
  CHECK(Philox::words({0, 0, 0, 0}, {0, 0}) ==
        Philox::Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox::words({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Philox::Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox::words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Philox::Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: seed, stream and block fill key and counter from the low word up") {
  CHECK(Philox::block(0x0000000200000001, 0x0000000400000003, 0x0000000600000005) ==
        Philox::words({5, 6, 3, 4}, {1, 2}));
}

TEST_CASE("philox: words as numbers from 0 to below 1") {
  CHECK(unit_float(0) == 0.0F);
  CHECK(unit_float(0xffffffff) == 1.0F - 0x1p-24F);
  CHECK(unit_double(0, 0) == 0.0);
  CHECK(unit_double(0xffffffff, 0xffffffff) == 1.0 - 0x1p-53);
  CHECK(unit_double(0, 0x80000000) == 0.5);
}

namespace {

struct Moments {
  double mean;
  double variance;
  double kurtosis;
};

Moments moments(const Array& array) {
  const Array values = array.cast(f64);
  const auto data = values.data<double>();
  const double count = static_cast<double>(data.size());
  const double mean = std::accumulate(data.begin(), data.end(), 0.0) / count;
  double second = 0;
  double fourth = 0;
  for (const double value : data) {
    const double square = (value - mean) * (value - mean);
    second += square / count;
    fourth += square * square / count;
  }
  return {mean, second, fourth / (second * second)};
}

}  // namespace

TEST_CASE("array: normal deviates have the moments asked for") {
  for (const DType dtype : {f32, f64}) {
    CAPTURE(name_of(dtype));
    const Moments m = moments(Array::normal({200000}, 7, 3, 2, dtype));
    // Five standard errors: 2/sqrt(n), 4*sqrt(2/n), sqrt(24/n).
    CHECK(m.mean == doctest::Approx(3).epsilon(0.008));
    CHECK(m.variance == doctest::Approx(4).epsilon(0.016));
    CHECK(m.kurtosis == doctest::Approx(3).epsilon(0.02));
  }
}

TEST_CASE("array: uniform deviates have the moments and the range asked for") {
  for (const DType dtype : {f32, f64}) {
    CAPTURE(name_of(dtype));
    const Array array = Array::uniform({200000}, 7, -1, 3, dtype);
    const Moments m = moments(array);
    CHECK(m.mean == doctest::Approx(1).epsilon(0.013));
    CHECK(m.variance == doctest::Approx(16.0 / 12).epsilon(0.01));
    const Array values = array.cast(f64);
    for (const double value : values.data<double>()) {
      REQUIRE(value >= -1);
      REQUIRE(value < 3);
    }
  }
}

TEST_CASE("array: uniform stays below its end where rounding would reach it") {
  const float high = std::nextafter(1.0F, 2.0F);
  const Array array = Array::uniform({1000}, 1, 1, high);
  for (const float value : array.data<float>()) {
    REQUIRE(value == 1.0F);
  }
}

TEST_CASE("array: random arrays are functions of seed and position") {
  for (const std::int64_t size : {0, 1, 3, 17}) {
    const Array part = Array::normal({size}, 5);
    const Array whole = Array::normal({100}, 5);
    for (std::int64_t i = 0; i < size; ++i) {
      const auto at = static_cast<std::size_t>(i);
      CHECK(part.data<float>()[at] == whole.data<float>()[at]);
    }
  }
  CHECK_FALSE(array_equal(Array::normal({17}, 5), Array::normal({17}, 6)));
  CHECK_FALSE(array_equal(Array::uniform({17}, 5), Array::uniform({17}, 6)));
}

TEST_CASE("array: random arrays refuse what they cannot make") {
  CHECK_THROWS_WITH_AS((void)Array::normal({3}, 1, 0, 1, i32),
                       "normal: expected a floating dtype, got i32", TypeError);
  CHECK_THROWS_WITH_AS((void)Array::normal({3}, 1, 0, -1), "normal: expected stddev >= 0, got -1.0",
                       ValueError);
  CHECK_THROWS_WITH_AS((void)Array::uniform({3}, 1, 2, 2),
                       "uniform: expected low < high, got low 2.0, high 2.0", ValueError);
}
