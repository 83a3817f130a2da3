// Values of compiled functions to the last bit: literals, remainders, signed zeros, extremes.
// Expected values are those of Python's and NumPy's arithmetic.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/tools/error_text.h"

namespace kt = kroton;
using kt::Array;
using kt::Tensor;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class T>
std::vector<T> elements(const Array& array) {
  return {array.data<T>().begin(), array.data<T>().end()};
}

// Equal bits, but any NaN for a NaN.
template <class T>
bool identical(T a, T b) {
  if (a != a || b != b) return a != a && b != b;
  return a == b && std::signbit(a) == std::signbit(b);
}

template <class T>
void check_identical(const Array& got, const std::vector<T>& want) {
  const std::vector<T> values = elements<T>(got);
  REQUIRE(values.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    CAPTURE(values[i]);
    CAPTURE(want[i]);
    CHECK(identical(values[i], want[i]));
  }
}

// The values of an operation of vectors, padded to several lengths, so that whole vectors, rests
// and single elements are computed.
template <class T>
void check_values(Tensor (*form)(const Tensor& x), const std::vector<T>& points,
                  const std::vector<T>& want) {
  const Tensor x = kt::vector("x", kt::dtype_of<T>);
  const auto f = kt::function({x}, form(x));
  for (const std::size_t copies : {1, 5}) {
    std::vector<T> all, expected;
    for (std::size_t k = 0; k < copies; ++k) {
      all.insert(all.end(), points.begin(), points.end());
      expected.insert(expected.end(), want.begin(), want.end());
    }
    check_identical<T>(f(Array::from(std::span<const T>(all))), expected);
  }
}

double scalar_of(const Tensor& y) {
  const Array value = kt::function({}, y)();
  return value.cast(kt::f64).item<double>();
}

}  // namespace

TEST_CASE("what consists of literals is as exact as the tensor it meets") {
  const Tensor x = kt::vector("x", kt::f64);
  const Tensor c = kt::vector("c", kt::boolean);
  const Tensor n = kt::size_of_dim(x.shape(0));
  const Tensor mask = x > 0;
  const auto at = [&](const Tensor& y) {
    const auto f = kt::function({x, c}, y * x, {.on_unused_input = kt::UnusedInput::ignore});
    return f(Array::from({1.0, 1.0, 1.0}), Array::from({true, false, true})).data<double>()[1];
  };
  CHECK(at(kt::sqrt(2.0)) == std::sqrt(2.0));
  CHECK(at(kt::where(c, 0.1, 0.2)) == 0.2);
  CHECK(at(kt::where(c, 1, 0.2)) == 0.2);
  CHECK(at(kt::full({x.shape(0)}, 0.1)) == 0.1);
  CHECK(at(kt::full({x.shape(0)}, 0.1) * 3 + 0.7) == 0.1 * 3 + 0.7);
  CHECK(at(kt::full({x.shape(0)}, 0.1)[0]) == 0.1);
  CHECK(at(kt::sum(kt::full({3}, 0.1)) / 3) == doctest::Approx(0.1).epsilon(1e-15));
  CHECK(at(kt::ifelse(kt::sum(x) > 0, 0.3, 0.1)) == 0.3);
  CHECK(at(1 / n) == 1.0 / 3);
  CHECK(at(n / 7) == 3.0 / 7);
  CHECK(at(kt::sqrt(2.0) * n) == std::sqrt(2.0) * 3);
  CHECK(at(kt::mean(c)) == 2.0 / 3);
  CHECK(at(kt::mean(kt::cast(c, kt::i32))) == 2.0 / 3);
  CHECK(at(kt::var(c)) == doctest::Approx(2.0 / 9).epsilon(1e-15));
  CHECK(at(kt::exp(-kt::abs(-1.5)) + kt::pow(0.1, 0.3)) ==
        doctest::Approx(std::exp(-1.5) + std::pow(0.1, 0.3)).epsilon(1e-15));
  CHECK(at(kt::concatenate({kt::full({1}, 0.1), x(kt::slice(0, 2))})) == 1);
  CHECK(at(kt::concatenate({x(kt::slice(0, 1)), kt::full({2}, 0.1)})) == 0.1);
  CHECK(at(kt::maximum(kt::full({3}, 0.1), x * 0)) == 0.1);
  CHECK(at(kt::cast(0.1, kt::f64)) == 0.1);
  CHECK(at(kt::cast(kt::sqrt(2.0), kt::f64)) == std::sqrt(2.0));
  // An explicit dtype stays.
  CHECK(at(kt::cast(0.1, kt::f32)) == static_cast<double>(0.1F));
  CHECK(at(kt::cast(kt::sqrt(2.0), kt::f32)) == static_cast<double>(std::sqrt(2.0F)));
  CHECK(at(kt::cast(n, kt::f32) / 7) == static_cast<double>(3.0F / 7.0F));
  // The gradient of a product with it too.
  const Tensor g = kt::grad(kt::sum(x * kt::sqrt(2.0)), x);
  CHECK(kt::function({x}, g)(Array::from({5.0})).item<double>() == std::sqrt(2.0));
}

TEST_CASE("quotients of integers are as exact as the tensor they meet") {
  const Tensor i = kt::scalar("i", kt::i64);
  const Tensor d = kt::scalar("d", kt::f64);
  const std::int64_t large = (std::int64_t{1} << 24) + 1;
  CHECK(kt::function({i, d}, i / d)(large, 1.0).item<double>() == 16777217.0);
  CHECK(kt::function({i, d}, (i / 3) * d)(std::int64_t{1}, 1.0).item<double>() == 1.0 / 3);
  CHECK(kt::function({i}, i / 3)(std::int64_t{1}).item<float>() == 1.0F / 3);
}

TEST_CASE("where nothing is met, floating literals are f32 and integers i64") {
  CHECK(kt::sqrt(2.0).dtype() == kt::f32);
  CHECK(kt::full({2}, 0.1).dtype() == kt::f32);
  CHECK(kt::full({2}, 1).dtype() == kt::i64);
  CHECK((kt::full({2}, 1) * 0.5).dtype() == kt::f32);
  CHECK(kt::function({}, kt::full({}, 0.1))().item<float>() == 0.1F);
  CHECK(kt::function({}, kt::sqrt(2.0))().item<float>() == std::sqrt(2.0F));
  CHECK(scalar_of(kt::full({}, 0.1) > 0.1) == 0);
  // Integers meet narrower ones without widening them.
  const Tensor i = kt::vector("i", kt::i32);
  const Tensor f = kt::vector("f");
  const Tensor b = kt::vector("b", kt::boolean);
  CHECK((i + kt::square(2)).dtype() == kt::i32);
  CHECK((i * kt::full({2}, 3)).dtype() == kt::i32);
  CHECK((f * kt::square(2)).dtype() == kt::f32);
  CHECK((b + kt::square(2)).dtype() == kt::i64);
  CHECK((i * kt::sqrt(2.0)).dtype() == kt::f32);
  CHECK((i + kt::sum(b)).dtype() == kt::i64);
  const auto g = kt::function({i}, i + kt::square(2));
  CHECK(elements<std::int32_t>(g(Array::from({std::int32_t{5}}))) == std::vector<std::int32_t>{9});
}

TEST_CASE("an update, a given and a cotangent take a weak value in their own dtype") {
  auto w = kt::shared(Array::from({1.0, 2.0}), "w");
  const Tensor x = kt::vector("x", kt::f64);
  const auto set = kt::function({}, {.updates = {{w, kt::full({2}, 0.1)}}});
  set();
  CHECK(elements<double>(w.get_value()) == std::vector<double>{0.1, 0.1});
  const auto given = kt::function({}, x * 1, {.givens = {{x, kt::full({2}, 0.3)}}});
  CHECK(elements<double>(given()) == std::vector<double>{0.3, 0.3});
  const auto v = kt::vjp({x * x}, {x}, {kt::full({2}, 0.1)});
  CHECK(elements<double>(kt::function({x}, v[0])(Array::from({1.0, 2.0}))) ==
        std::vector<double>{0.2, 0.4});
}

TEST_CASE("the mean of integers is exact before it is rounded") {
  const Tensor i = kt::vector("i", kt::i64);
  const Tensor k = kt::vector("k", kt::i32);
  const auto f = kt::function({i}, kt::mean(i));
  // Rounded to f32 one by one, both would be 16777216.
  CHECK(f(Array::from({std::int64_t{16777217}, std::int64_t{16777219}})).item<float>() ==
        16777218.0F);
  // The sum of i64 would wrap.
  const std::int64_t large = std::int64_t{1} << 62;
  CHECK(f(Array::from({large, large, large, large})).item<float>() == 0x1p62F);
  const auto g = kt::function({k}, kt::mean(k));
  CHECK(g(Array::from({std::int32_t{2147483647}, std::int32_t{2147483645}, std::int32_t{-1}}))
            .item<float>() == 1431655763.6666667F);
  CHECK(std::isnan(f(Array::zeros({0}, kt::i64)).item<float>()));
}

TEST_CASE("numbers above the range of i64") {
  const Tensor x = kt::scalar("x", kt::f64);
  const Tensor i = kt::scalar("i", kt::i64);
  const std::uint64_t large = std::numeric_limits<std::uint64_t>::max();
  CHECK(kt::function({x}, x * 1)(large).item<double>() == 0x1p64);
  CHECK(kt::function({x}, x * large)(1.0).item<double>() == 0x1p64);
  const auto f = kt::function({i}, i * 1, {.name = "f"});
  CHECK(error_text::value_error([&] { f(large); }) ==
        "f: 18446744073709551615 for i does not fit i64");
  CHECK(error_text::type_error([&] { return i * large; }).find("does not fit i64  [here]") !=
        std::string::npos);
}

TEST_CASE("floating remainders are exact") {
  const std::vector<float> x = {
      0.9F,    1e10F, 5,      -5,      5,     -5, -0.0F, 6,    -6,     6,
      -1e-20F, 1e30F, -1e30F, 3.4e38F, 1e38F, 7,  -7,    1.5F, -1.75F, static_cast<float>(inf),
      5};
  const auto i = static_cast<float>(inf);
  const std::vector<float> y = {0.1F,  3,     i,      i,       -i, -i, 3,     3,    3, -3, 1,
                                7e-3F, 7e-3F, 1e-45F, -3e-44F, -2, 2,  0.25F, 0.5F, 2, 0};
  const std::vector<float> rest = {0.09999996423721313F,
                                   1,
                                   5,
                                   i,
                                   -i,
                                   -5,
                                   0.0F,
                                   0.0F,
                                   0.0F,
                                   -0.0F,
                                   1,
                                   0.006301673129200935F,
                                   0.000698327086865902F,
                                   0.0F,
                                   -2.802596928649634e-44F,
                                   -1,
                                   1,
                                   0,
                                   0.25F,
                                   static_cast<float>(not_a_number),
                                   static_cast<float>(not_a_number)};
  const std::vector<float> whole = {8,
                                    3333333333.0F,
                                    0,
                                    -1,
                                    -1,
                                    0,
                                    -0.0F,
                                    2,
                                    -2,
                                    -2,
                                    -1,
                                    1.4285714059725366e+32F,
                                    -1.4285714059725366e+32F,
                                    i,
                                    -i,
                                    -4,
                                    -4,
                                    6,
                                    -4,
                                    static_cast<float>(not_a_number),
                                    i};
  const Tensor a = kt::vector("a");
  const Tensor b = kt::vector("b");
  const auto f = kt::function({a, b}, {a % b, kt::floor_div(a, b)});
  const auto [remainders, quotients] =
      f(Array::from(std::span<const float>(x)), Array::from(std::span<const float>(y)));
  check_identical<float>(remainders, rest);
  check_identical<float>(quotients, whole);

  const std::vector<double> dx = {0.9,           1e10, 1.7e308, 1.7e308, -1e300, 1e300,
                                  1.23456789e28, -7.5, 1e17,    1,       inf};
  const std::vector<double> dy = {0.1, 3, 5e-324, 3e-320, 7e-310, 0.3, 1e-3, 2, 3.7, 1e-310, 2};
  const Tensor c = kt::vector("c", kt::f64);
  const Tensor d = kt::vector("d", kt::f64);
  const auto g = kt::function({c, d}, {c % d, kt::floor_div(c, d)});
  const auto [wide_remainders, wide_quotients] =
      g(Array::from(std::span<const double>(dx)), Array::from(std::span<const double>(dy)));
  check_identical<double>(
      wide_remainders,
      {0.09999999999999998, 1, 0, 8.577e-321, 6.2662089022248e-310, 0.15321850028067768,
       0.0007314240241023924, 0.5, 2.6990355691885126, 3.5074317610433e-311, not_a_number});
  check_identical<double>(
      wide_quotients, {8, 3333333333.0, inf, inf, -inf, 3.3333333333333335e+300, 1.23456789e+31, -4,
                       2.7027027027027024e+16, inf, not_a_number});
}

TEST_CASE("signs of zeros") {
  check_values<double>([](const Tensor& x) { return 1 / (0 - x); }, {0.0, -0.0, 2},
                       {inf, inf, -0.5});
  check_values<double>([](const Tensor& x) { return x + 0; }, {0.0, -0.0, 2}, {0.0, 0.0, 2});
  check_values<double>([](const Tensor& x) { return x + -0.0; }, {0.0, -0.0, 2}, {0.0, -0.0, 2});
  check_values<double>([](const Tensor& x) { return x - 0; }, {0.0, -0.0, 2}, {0.0, -0.0, 2});
  check_values<double>([](const Tensor& x) { return x - -0.0; }, {0.0, -0.0, 2}, {0.0, 0.0, 2});
  check_values<double>([](const Tensor& x) { return -(x - 2); }, {2, 1}, {-0.0, 1});
  check_values<double>([](const Tensor& x) { return -x - 2; }, {-2, 1}, {0.0, -3});
  check_values<double>([](const Tensor& x) { return -x * 0; }, {2, -2}, {-0.0, 0.0});
  check_values<double>([](const Tensor& x) { return 0 * x; }, {2, -2, inf, not_a_number},
                       {0.0, -0.0, not_a_number, not_a_number});
  const Tensor x = kt::vector("x", kt::f64);
  const auto f = kt::function({x}, kt::sum(-x));
  check_identical<double>(f(Array::from({1.0, -1.0})), {0.0});
}

TEST_CASE("powers with literal exponents at special values") {
  const float i = static_cast<float>(inf);
  const float n = static_cast<float>(not_a_number);
  const std::vector<float> points = {-i, -0.0F, 0.0F, i, n, -1, 1.9e19F, 5.5e-20F, 4};
  check_values<float>([](const Tensor& x) { return kt::pow(x, 0.5); }, points,
                      {i, 0, 0, i, n, n, std::sqrt(1.9e19F), std::sqrt(5.5e-20F), 2});
  check_values<float>([](const Tensor& x) { return kt::pow(x, -0.5); }, points,
                      {0, i, i, 0, n, n, 1 / std::sqrt(1.9e19F), 1 / std::sqrt(5.5e-20F), 0.5F});
  const Tensor base = kt::vector("base");
  const auto f = kt::function({base}, kt::pow(base, -2));
  const Array got = f(Array::from(std::span<const float>(points)));
  for (std::size_t k = 0; k < points.size(); ++k) {
    CAPTURE(points[k]);
    const float want = static_cast<float>(std::pow(static_cast<double>(points[k]), -2.0));
    if (std::isfinite(want) && want != 0) {
      CHECK(got.data<float>()[k] == doctest::Approx(want).epsilon(3e-7));
    } else {
      CHECK(identical(got.data<float>()[k], want));
    }
  }
  check_values<float>([](const Tensor& x) { return kt::pow(x, 3); }, {-i, -0.0F, i, n, -2},
                      {-i, -0.0F, i, n, -8});
  check_values<float>([](const Tensor& x) { return kt::pow(x, -1); }, {-i, -0.0F, i, n, -2},
                      {-0.0F, -i, 0, n, -0.5F});
}

TEST_CASE("the sum of no copies is 0, whatever is copied") {
  const Tensor x = kt::scalar("x");
  const Tensor v = kt::vector("v");
  const auto f = kt::function({x, v}, kt::sum(kt::broadcast_to(x, {v.shape(0)})));
  CHECK(f(inf, Array::zeros({0})).item<float>() == 0);
  CHECK(f(not_a_number, Array::zeros({0})).item<float>() == 0);
  CHECK(f(inf, Array::zeros({3})).item<float>() == static_cast<float>(inf));
  CHECK(f(2, Array::zeros({3})).item<float>() == 6);
}

TEST_CASE("a number of steps whose values have no memory is an error of the scan") {
  const Tensor n = kt::scalar("n", kt::i64);
  const Tensor x = kt::vector("x");
  const Tensor all = kt::scan([&](const Tensor& state) { return kt::sin(state) + x; },
                              {.outputs_info = {kt::zeros_like(x)}, .n_steps = n});
  const auto f = kt::function({n, x}, all, {.name = "f"});
  const auto g = kt::function({n, x}, kt::grad(kt::sum(all[-1]), x), {.name = "g"});
  const Array row = Array::zeros({1000});
  const auto fails = [&](const auto& function, std::int64_t steps) {
    return error_text::value_error([&] { function(steps, row); });
  };
  const std::int64_t many = std::int64_t{1} << 40;
  CHECK(fails(f, many).find("f: scan: there is no memory for the values of all " +
                            std::to_string(many) + " steps, f32 (n, x.shape[0])") == 0);
  CHECK(fails(g, many).find("g: scan: there is no memory for the values of all ") == 0);
  // More than can be counted.
  const std::int64_t most = std::int64_t{1} << 60;
  const std::string uncountable = "more elements than 64 bits can count in (n, x.shape[0]) of scan";
  CHECK(fails(f, most).find("f: " + uncountable) == 0);
  CHECK(fails(g, most).find("g: more elements than 64 bits can count in ") == 0);
  CHECK(f(3, row).shape() == kt::Shape{3, 1000});
}

TEST_CASE("a value that is read twice by the next one: 40 of them compile as soon as any 40") {
  // A walk over such an expression that visits a node at each of its uses takes 2^40 steps.
  const Tensor x = kt::vector("x");
  const Array at = Array::from({0.0F, -0.5F, 0.001F});
  using Step = std::function<Tensor(const Tensor&)>;
  const Step steps[] = {
      [](const Tensor& y) { return y + y * y; },
      [](const Tensor& y) { return kt::where(y > 0, y * 0.5, y - y * y); },
      [](const Tensor& y) { return y / (1 + kt::abs(y)) + kt::square(y) * 0.25; },
      [](const Tensor& y) {
        return kt::cast(kt::cast(y, kt::f16) + kt::cast(y * 0.5, kt::f16), kt::f32) * 0.5;
      },
  };
  for (const Step& step : steps) {
    Tensor y = x;
    for (int k = 0; k < 40; ++k) y = step(y);
    const auto [total, all, slopes] =
        kt::function({x}, {kt::sum(y), y, kt::grad(kt::sum(y), x)})(at);
    const Tensor looped =
        kt::reduce([&](Tensor s) { return step(s); }, {.outputs_info = {x}, .n_steps = 40});
    const auto [want, want_slopes] = kt::function({x}, {looped, kt::grad(kt::sum(looped), x)})(at);
    CHECK(kt::all_close(all, want, 1e-4, 1e-12));
    CHECK(kt::all_close(total, Array(kt::function({x}, kt::sum(x))(want).item<float>()), 1e-4));
    CHECK(kt::all_close(slopes, want_slopes, 1e-4, 1e-12));
    CHECK(kt::array_equal(kt::function({x}, y, {.check = kt::Check::memory})(at), all));
  }
}
