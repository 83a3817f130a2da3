#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "compiler/loop/math.h"

namespace {

// The builder whose values are numbers: what the functions compute on this host. A value is a
// register's bits, as in the vector unit; a boolean is 0 or 1.
template <class T>
class HostBuilder {
 public:
  using Int = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  using Unsigned = std::make_unsigned_t<Int>;
  struct Value {
    Int i;
  };

  static Value of(T x) { return {std::bit_cast<Int>(x)}; }
  static T number(Value v) { return std::bit_cast<T>(v.i); }

  bool is_f64() const { return sizeof(T) == 8; }
  Value real(double c) { return of(static_cast<T>(c)); }
  Value integer(int64_t c) { return {static_cast<Int>(c)}; }

  Value add(Value a, Value b) { return of(number(a) + number(b)); }
  Value sub(Value a, Value b) { return of(number(a) - number(b)); }
  Value mul(Value a, Value b) { return of(number(a) * number(b)); }
  Value div(Value a, Value b) { return of(number(a) / number(b)); }
  Value neg(Value a) { return of(-number(a)); }
  Value sqrt(Value a) { return of(std::sqrt(number(a))); }
  Value abs(Value a) { return of(std::fabs(number(a))); }
  Value round_even(Value a) { return of(std::nearbyint(number(a))); }
  Value fma(Value a, Value b, Value c) { return of(std::fma(number(a), number(b), number(c))); }
  Value min(Value a, Value b) { return number(a) < number(b) ? a : b; }
  Value max(Value a, Value b) { return number(a) > number(b) ? a : b; }

  Value lt(Value a, Value b) { return {number(a) < number(b)}; }
  Value gt(Value a, Value b) { return {number(a) > number(b)}; }
  Value eq(Value a, Value b) { return {number(a) == number(b)}; }
  Value ne(Value a, Value b) { return {number(a) != number(b)}; }
  Value logical_and(Value a, Value b) { return {a.i & b.i}; }
  Value logical_or(Value a, Value b) { return {a.i | b.i}; }
  Value select(Value c, Value a, Value b) { return c.i ? a : b; }
  Value shortcut(Value c, Value quick, Value full) {
    if (c.i && number(quick) != number(full)) FAIL("a shortcut to another value");
    return full;
  }

  Value bits(Value a) { return a; }
  Value from_bits(Value a) { return a; }
  Value iadd(Value a, Value b) { return wrap(unsign(a) + unsign(b)); }
  Value isub(Value a, Value b) { return wrap(unsign(a) - unsign(b)); }
  Value iand(Value a, Value b) { return {a.i & b.i}; }
  Value ior(Value a, Value b) { return {a.i | b.i}; }
  Value ixor(Value a, Value b) { return {a.i ^ b.i}; }
  Value shl(Value a, int n) { return wrap(unsign(a) << n); }
  Value lshr(Value a, int n) { return wrap(unsign(a) >> n); }

 private:
  static Unsigned unsign(Value a) { return static_cast<Unsigned>(a.i); }
  static Value wrap(Unsigned u) { return {static_cast<Int>(u)}; }
};

namespace math = kroton::loop::math;

// The oracle's precision, and what an oracle no wider than f64 itself may add to the error.
using Exact = long double;
const double oracle_slack =
    std::numeric_limits<Exact>::digits > std::numeric_limits<double>::digits ? 0 : 1;

// Each function twice: ours over the host builder, and the exact one. The exact one runs in double
// for f32, which is wide enough, and in long double for f64.
#define KROTON_UNARY(name, formula)            \
  struct name##_case {                         \
    static constexpr const char* text = #name; \
    template <class T>                         \
    static T ours(T x) {                       \
      HostBuilder<T> b;                        \
      return b.number(math::name(b, b.of(x))); \
    }                                          \
    template <class E>                         \
    static E exact(E x) {                      \
      return formula;                          \
    }                                          \
  }
KROTON_UNARY(exp, std::exp(x));
KROTON_UNARY(expm1, std::expm1(x));
KROTON_UNARY(sigmoid, x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)));
KROTON_UNARY(tanh, std::tanh(x));
KROTON_UNARY(softplus, x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)));
KROTON_UNARY(log, std::log(x));
KROTON_UNARY(log1p, std::log1p(x));
KROTON_UNARY(sin, std::sin(x));
KROTON_UNARY(cos, std::cos(x));
KROTON_UNARY(erf, std::erf(x));
KROTON_UNARY(atan, std::atan(x));
KROTON_UNARY(asin, std::asin(x));
KROTON_UNARY(acos, std::acos(x));
#undef KROTON_UNARY

#define KROTON_BINARY(name)                             \
  struct name##_case {                                  \
    template <class T>                                  \
    static T ours(T x, T y) {                           \
      HostBuilder<T> b;                                 \
      return b.number(math::name(b, b.of(x), b.of(y))); \
    }                                                   \
    template <class E>                                  \
    static E exact(E x, E y) {                          \
      return std::name(x, y);                           \
    }                                                   \
  }
KROTON_BINARY(pow);
KROTON_BINARY(atan2);
#undef KROTON_BINARY

template <class T>
using Wider = std::conditional_t<sizeof(T) == 4, double, Exact>;

// Distance in units of T's spacing at the exact value; 0 for agreeing NaNs and infinities, huge
// for disagreeing ones. A computed infinity counts as the number that follows the largest one.
template <class T>
double ulps(T got, Wider<T> exact) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(exact) || std::isnan(got)) {
    return std::isnan(exact) && std::isnan(got) ? 0 : 1e30;
  }
  if (static_cast<T>(exact) == got) {
    if (got == 0 && exact == 0 && std::signbit(got) != std::signbit(exact)) return 1e30;
    if (std::isinf(got)) return 0;
  }
  const Wider<T> beyond = std::ldexp(Wider<T>{1}, Limits::max_exponent);
  auto finite = [&](Wider<T> v) { return std::isinf(v) ? std::copysign(beyond, v) : v; };
  int exponent = exact == 0 ? Limits::min_exponent : std::ilogb(finite(exact)) + 1;
  exponent = std::min(std::max(exponent, Limits::min_exponent), Limits::max_exponent);
  const Wider<T> unit = std::ldexp(Wider<T>{1}, exponent - Limits::digits);
  return static_cast<double>(std::fabs(finite(got) - finite(exact)) / unit);
}

template <class T>
std::vector<T> special_points() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> points;
  for (double c : {0.0,
                   0.25,
                   0.5,
                   0.7071067811865476,
                   1.0,
                   1.4142135623730951,
                   2.0,
                   3.0,
                   0.6931471805599453,
                   0.34657359027997264,
                   1.5707963267948966,
                   3.141592653589793,
                   9.0,
                   17.0,
                   88.0,
                   88.72283,
                   87.3365,
                   103.9,
                   104.0,
                   105.0,
                   709.0,
                   709.782712893384,
                   708.4,
                   744.4,
                   745.2,
                   746.0,
                   1000.0}) {
    points.push_back(static_cast<T>(c));
  }
  for (T c : {Limits::min(), Limits::denorm_min(), Limits::max(), Limits::epsilon(),
              Limits::infinity(), Limits::quiet_NaN()}) {
    points.push_back(c);
  }
  for (std::size_t i = 0, n = points.size(); i < n; ++i) {
    points.push_back(std::nextafter(points[i], T{-1}));
    points.push_back(std::nextafter(points[i], T{2000}));
  }
  for (std::size_t i = 0, n = points.size(); i < n; ++i) points.push_back(-points[i]);
  return points;
}

template <class T>
struct Worst {
  double error = 0;
  T at = 0;
};

// Half of the points are spread over all bit patterns, half evenly over [low, high].
template <class Case, class T>
Worst<T> worst_error(T low, T high, int count, T limit = std::numeric_limits<T>::infinity()) {
  using Bits = typename HostBuilder<T>::Unsigned;
  Worst<T> worst;
  auto look = [&](T x) {
    if (std::fabs(x) > limit) return;
    double error = ulps<T>(Case::template ours<T>(x), Case::template exact<Wider<T>>(x));
    if (error > worst.error) worst = {error, x};
  };
  for (T x : special_points<T>()) look(x);
  std::mt19937_64 random(7);
  std::uniform_real_distribution<T> uniform(low, high);
  for (int i = 0; i < count; i += 2) {
    look(std::bit_cast<T>(static_cast<Bits>(random())));
    look(uniform(random));
  }
  return worst;
}

template <class Case>
void check_both(double low, double high) {
  CAPTURE(Case::text);
  Worst<float> f32 =
      worst_error<Case, float>(static_cast<float>(low), static_cast<float>(high), 2'000'000);
  INFO("f32: " << f32.error << " ulp at " << f32.at);
  CHECK(f32.error <= 2);
  Worst<double> f64 = worst_error<Case, double>(low, high, 400'000);
  INFO("f64: " << f64.error << " ulp at " << f64.at);
  CHECK(f64.error <= 2 + oracle_slack);
}

// x near a multiple of pi / 2, where the reduced argument is all cancellation.
template <class Case, class T>
Worst<T> worst_error_near_zeros(T limit) {
  Worst<T> worst;
  const Wider<T> half_pi = std::acos(Wider<T>{-1}) / 2;
  const int count = 100'000;
  const double last = static_cast<double>(limit / half_pi) - 1;
  for (int i = 0; i < count; ++i) {
    // The first multiples one by one, then ever sparser up to the limit.
    const double k = i < 1000 ? i : std::floor(std::pow(last, static_cast<double>(i) / count));
    T x = static_cast<T>(static_cast<Wider<T>>(k) * half_pi);
    double error = ulps<T>(Case::template ours<T>(x), Case::template exact<Wider<T>>(x));
    if (error > worst.error) worst = {error, x};
  }
  return worst;
}

template <class Case, class T>
void check_trigonometric(T limit, int count, double bound) {
  CAPTURE(Case::text);
  for (T range : {T{10}, limit}) {
    Worst<T> even = worst_error<Case, T>(-range, range, count, limit);
    INFO(even.error << " ulp at " << even.at);
    CHECK(even.error <= bound);
  }
  Worst<T> near = worst_error_near_zeros<Case, T>(limit);
  INFO(near.error << " ulp at " << near.at);
  CHECK(near.error <= bound);

  // Beyond the limit: some value in [-1, 1]. Infinities have no sine.
  std::mt19937_64 random(3);
  T largest = 0;
  for (int i = 0; i < 100'000; ++i) {
    T x = std::bit_cast<T>(static_cast<typename HostBuilder<T>::Unsigned>(random()));
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(Case::template ours<T>(x)));
  }
  CHECK(largest <= 1);
  CHECK(largest > T{0.9});
  CHECK(std::isnan(Case::template ours<T>(std::numeric_limits<T>::infinity())));
}

template <class Case, class T>
struct WorstOfTwo {
  double error = 0;
  T x = 0, y = 0;

  void look(T at_x, T at_y) {
    double e = ulps<T>(Case::ours(at_x, at_y), Case::exact(Wider<T>{at_x}, Wider<T>{at_y}));
    if (e > error) {
      error = e;
      x = at_x;
      y = at_y;
    }
  }
};

template <class T>
WorstOfTwo<pow_case, T> worst_pow(int count) {
  using Bits = typename HostBuilder<T>::Unsigned;
  WorstOfTwo<pow_case, T> worst;
  std::mt19937_64 random(11);
  std::uniform_real_distribution<T> unit(0, 1);
  const T log_max = std::log(std::numeric_limits<T>::max());
  for (int i = 0; i < count; ++i) {
    T any = std::bit_cast<T>(static_cast<Bits>(random()));
    worst.look(any, std::bit_cast<T>(static_cast<Bits>(random())));
    // Results over the whole range, subnormal ones and overflow included, from an x of any size
    // and from one near 1, where y is large and the logarithm's error counts most.
    for (T x : {std::fabs(any), T{0.5} + unit(random)}) {
      if (x > 0 && std::isfinite(x) && x != 1) {
        worst.look(x, (2 * unit(random) - 1) * T{1.2} * log_max / std::log(x));
      }
    }
    T y = std::nearbyint(20 * unit(random) - 10);
    worst.look(-10 * unit(random), y);
    worst.look(10 * unit(random), y / 2);
  }
  return worst;
}

template <class T>
WorstOfTwo<atan2_case, T> worst_atan2(int count) {
  using Bits = typename HostBuilder<T>::Unsigned;
  WorstOfTwo<atan2_case, T> worst;
  std::mt19937_64 random(13);
  std::uniform_real_distribution<T> any_direction(-1, 1);
  for (int i = 0; i < count; ++i) {
    const T any = std::bit_cast<T>(static_cast<Bits>(random()));
    worst.look(any, std::bit_cast<T>(static_cast<Bits>(random())));
    worst.look(any, any * any_direction(random));
    worst.look(any_direction(random), any_direction(random));
  }
  return worst;
}

}  // namespace

TEST_CASE("math: exp, expm1, sigmoid, tanh, softplus within 2 ulp") {
  check_both<exp_case>(-110, 90);
  check_both<expm1_case>(-3, 3);
  check_both<sigmoid_case>(-110, 20);
  check_both<tanh_case>(-4, 4);
  check_both<softplus_case>(-20, 20);
}

TEST_CASE("math: log, log1p, erf within 2 ulp") {
  check_both<log_case>(0.25, 4);
  check_both<log1p_case>(-1, 4);
  check_both<erf_case>(-6, 6);
}

TEST_CASE("math: atan, asin, acos within 2 ulp") {
  check_both<atan_case>(-3, 3);
  check_both<asin_case>(-1, 1);
  check_both<acos_case>(-1, 1);
}

TEST_CASE("math: sin and cos within 2 ulp up to their limit") {
  check_trigonometric<sin_case, float>(0x1p17F, 500'000, 2);
  check_trigonometric<cos_case, float>(0x1p17F, 500'000, 2);
  check_trigonometric<sin_case, double>(0x1p46, 100'000, 2 + oracle_slack);
  check_trigonometric<cos_case, double>(0x1p46, 100'000, 2 + oracle_slack);
}

TEST_CASE("math: pow within 2 ulp") {
  const auto f32 = worst_pow<float>(200'000);
  INFO("f32: " << f32.error << " ulp at " << f32.x << ", " << f32.y);
  CHECK(f32.error <= 2);
  const auto f64 = worst_pow<double>(60'000);
  INFO("f64: " << f64.error << " ulp at " << f64.x << ", " << f64.y);
  CHECK(f64.error <= 2 + oracle_slack);
}

TEST_CASE("math: atan2 within 2 ulp") {
  const auto f32 = worst_atan2<float>(400'000);
  INFO("f32: " << f32.error << " ulp at " << f32.x << ", " << f32.y);
  CHECK(f32.error <= 2);
  const auto f64 = worst_atan2<double>(100'000);
  INFO("f64: " << f64.error << " ulp at " << f64.x << ", " << f64.y);
  CHECK(f64.error <= 2 + oracle_slack);
}

TEST_CASE_TEMPLATE("math: special cases of pow and atan2 are C's", T, float, double) {
  std::vector<T> points = special_points<T>();
  for (double c : {0.5, 1.5, 3.0, 5.0, 8388607.0, 8388609.0, 16777217.0, 4503599627370497.0,
                   9007199254740993.0}) {
    points.push_back(static_cast<T>(c));
    points.push_back(-static_cast<T>(c));
  }
  const auto check = [&](auto worst) {
    for (T x : points) {
      for (T y : points) worst.look(x, y);
    }
    INFO(worst.error << " ulp at " << worst.x << ", " << worst.y);
    CHECK(worst.error <= 2 + (sizeof(T) == 8 ? oracle_slack : 0));
  };
  check(WorstOfTwo<pow_case, T>());
  check(WorstOfTwo<atan2_case, T>());
}

TEST_CASE_TEMPLATE("math: zeros, infinities, NaN and subnormals", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const T tiny = std::numeric_limits<T>::denorm_min();
  CHECK(exp_case::ours(T{0}) == 1);
  CHECK(exp_case::ours(-inf) == 0);
  CHECK(exp_case::ours(inf) == inf);
  CHECK(expm1_case::ours(-inf) == -1);
  CHECK(tanh_case::ours(inf) == 1);
  CHECK(tanh_case::ours(-inf) == -1);
  CHECK(erf_case::ours(-inf) == -1);
  CHECK(sigmoid_case::ours(-inf) == 0);
  CHECK(sigmoid_case::ours(T{0}) == T{0.5});
  CHECK(sigmoid_case::ours(inf) == 1);
  CHECK(softplus_case::ours(inf) == inf);
  CHECK(softplus_case::ours(-inf) == 0);
  CHECK(log_case::ours(T{0}) == -inf);
  CHECK(log_case::ours(T{1}) == 0);
  CHECK(log_case::ours(inf) == inf);
  CHECK(std::isnan(log_case::ours(T{-1})));
  CHECK(log1p_case::ours(T{-1}) == -inf);
  CHECK(std::isnan(log1p_case::ours(T{-2})));
  for (T x : {T{0}, -T{0}, tiny, -tiny}) {
    for (T y : {expm1_case::ours(x), tanh_case::ours(x), log1p_case::ours(x), sin_case::ours(x)}) {
      CHECK(y == x);
      CHECK(std::signbit(y) == std::signbit(x));
    }
  }
  for (T y : {exp_case::ours(nan), expm1_case::ours(nan), sigmoid_case::ours(nan),
              tanh_case::ours(nan), softplus_case::ours(nan), log_case::ours(nan),
              log1p_case::ours(nan), sin_case::ours(nan), cos_case::ours(nan), erf_case::ours(nan),
              pow_case::ours(nan, T{2}), pow_case::ours(T{2}, nan)}) {
    CHECK(std::isnan(y));
  }
  CHECK(pow_case::ours(nan, T{0}) == 1);
  CHECK(pow_case::ours(T{1}, nan) == 1);
}

TEST_CASE("math: gradual underflow") {
  CHECK(exp_case::ours(-100.0F) == static_cast<float>(std::exp(-100.0)));
  CHECK(sigmoid_case::ours(-100.0F) == static_cast<float>(std::exp(-100.0)));
  CHECK(softplus_case::ours(-100.0F) == static_cast<float>(std::exp(-100.0)));
  CHECK(exp_case::ours(-740.0) == std::exp(-740.0));
  CHECK(pow_case::ours(2.0F, -149.0F) == 0x1p-149F);
  CHECK(pow_case::ours(2.0, -1074.0) == 0x1p-1074);
}
