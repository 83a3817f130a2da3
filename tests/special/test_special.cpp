// Elementwise and special functions: gradients against PyTorch's, derivatives at special points,
// errors, loops and branches.
#include <doctest/doctest.h>
#include <kroton/elementwise.h>
#include <kroton/kroton.h>
#include <kroton/special.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "compiler/ops/special_reference.h"
#include "tests/tools/error_text.h"
#include "tests/tools/places.h"

namespace test_special {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

using Function = std::function<Tensor(const Tensor&, const Tensor&)>;

const std::map<std::string, Function> functions = {
    {"celu", [](auto& x, auto&) { return celu(x); }},
    {"celu half", [](auto& x, auto&) { return celu(x, 0.5); }},
    {"hard_swish", [](auto& x, auto&) { return hard_swish(x); }},
    {"hardtanh", [](auto& x, auto&) { return hardtanh(x); }},
    {"hardtanh 2", [](auto& x, auto&) { return hardtanh(x, -2, 0.5); }},
    {"hardshrink", [](auto& x, auto&) { return hardshrink(x); }},
    {"softshrink", [](auto& x, auto&) { return softshrink(x); }},
    {"tanhshrink", [](auto& x, auto&) { return tanhshrink(x); }},
    {"logsigmoid", [](auto& x, auto&) { return logsigmoid(x); }},
    {"threshold", [](auto& x, auto&) { return threshold(x, 0.5, -7); }},
    {"tan", [](auto& x, auto&) { return tan(x); }},
    {"sinh", [](auto& x, auto&) { return sinh(x); }},
    {"cosh", [](auto& x, auto&) { return cosh(x); }},
    {"asinh", [](auto& x, auto&) { return asinh(x); }},
    {"exp2", [](auto& x, auto&) { return exp2(x); }},
    {"expm1", [](auto& x, auto&) { return expm1(x); }},
    {"frac", [](auto& x, auto&) { return frac(x); }},
    {"rsqrt", [](auto& x, auto&) { return rsqrt(x); }},
    {"log2", [](auto& x, auto&) { return log2(x); }},
    {"log10", [](auto& x, auto&) { return log10(x); }},
    {"acosh", [](auto& x, auto&) { return acosh(x); }},
    {"atanh", [](auto& x, auto&) { return atanh(x); }},
    {"sinc", [](auto& x, auto&) { return sinc(x); }},
    {"erfc", [](auto& x, auto&) { return erfc(x); }},
    {"erfcx", [](auto& x, auto&) { return erfcx(x); }},
    {"erfinv", [](auto& x, auto&) { return erfinv(x); }},
    {"ndtr", [](auto& x, auto&) { return ndtr(x); }},
    {"log_ndtr", [](auto& x, auto&) { return log_ndtr(x); }},
    {"ndtri", [](auto& x, auto&) { return ndtri(x); }},
    {"gammaln", [](auto& x, auto&) { return gammaln(x); }},
    {"digamma", [](auto& x, auto&) { return digamma(x); }},
    {"i0", [](auto& x, auto&) { return i0(x); }},
    {"i1", [](auto& x, auto&) { return i1(x); }},
    {"i0e", [](auto& x, auto&) { return i0e(x); }},
    {"i1e", [](auto& x, auto&) { return i1e(x); }},
    {"polygamma 1", [](auto& x, auto&) { return polygamma(1, x); }},
    {"polygamma 2", [](auto& x, auto&) { return polygamma(2, x); }},
    {"polygamma 3", [](auto& x, auto&) { return polygamma(3, x); }},
    {"hypot", [](auto& x, auto& y) { return hypot(x, y); }},
    {"logaddexp", [](auto& x, auto& y) { return logaddexp(x, y); }},
    {"logaddexp2", [](auto& x, auto& y) { return logaddexp2(x, y); }},
    {"xlogy", [](auto& x, auto& y) { return xlogy(x, y); }},
    {"xlog1py", [](auto& x, auto& y) { return xlog1py(x, y); }},
    {"copysign", [](auto& x, auto& y) { return copysign(x, y); }},
    {"fmod", [](auto& x, auto& y) { return fmod(x, y); }},
    {"remainder", [](auto& x, auto& y) { return remainder(x, y); }},
    {"fmax", [](auto& x, auto& y) { return fmax(x, y); }},
    {"fmin", [](auto& x, auto& y) { return fmin(x, y); }}};

struct Block {
  std::string name;
  std::size_t operands = 1;
  std::vector<std::vector<double>> lines;
};

std::vector<Block> read_blocks() {
  std::ifstream file(places::source_dir() + "/tests/special/gradient_values.txt");
  REQUIRE(file.good());
  std::vector<Block> blocks;
  for (std::string text; std::getline(file, text);) {
    std::istringstream in(text);
    std::vector<double> numbers;
    for (std::string word; in >> word;) numbers.push_back(std::strtod(word.c_str(), nullptr));
    const bool is_name =
        std::isalpha(text[0]) != 0 && !text.starts_with("inf") && !text.starts_with("nan");
    if (is_name) {
      const std::size_t space = text.rfind(' ');
      blocks.push_back(
          {text.substr(0, space), static_cast<std::size_t>(std::stoi(text.substr(space))), {}});
    } else {
      blocks.back().lines.push_back(numbers);
    }
  }
  return blocks;
}

Array column(const Block& block, std::size_t k) {
  const auto count = static_cast<std::int64_t>(block.lines.size());
  Array result = Array::zeros({count}, f64);
  for (std::int64_t i = 0; i < count; ++i) {
    result.data<double>()[i] = block.lines[static_cast<std::size_t>(i)].at(k);
  }
  return result;
}

std::string differences(const Block& block, std::size_t k, const Array& got) {
  std::ostringstream text;
  for (std::size_t i = 0; i < block.lines.size(); ++i) {
    const double expected = block.lines[i].at(k);
    const double value = got.data<double>()[static_cast<std::int64_t>(i)];
    if (std::isnan(expected) && std::isnan(value)) continue;
    if (value == expected) continue;
    if (std::abs(value - expected) <= 1e-9 * std::abs(expected) + 1e-12) continue;
    text << "column " << k << " at " << block.lines[i][0] << ", " << block.lines[i][1] << ": "
         << value << ", expected " << expected << "\n";
  }
  return text.str();
}

double derivative(int order, double at, const std::function<Tensor(const Tensor&)>& f) {
  const Tensor x = scalar("x", f64);
  Tensor y = f(x);
  for (int k = 0; k < order; ++k) y = grad(y, x);
  return function({x}, y)(at).item<double>();
}

const Tensor i = vector("i", i64);
const Tensor v = vector("v", f64);

}  // namespace

TEST_CASE("special: values and gradients are PyTorch's") {
  int count = 0;
  for (const Block& block : read_blocks()) {
    CAPTURE(block.name);
    ++count;
    const Tensor x = vector("x", f64), y = vector("y", f64);
    const Tensor value = functions.at(block.name)(x, y);
    std::vector<Tensor> outputs = {value};
    outputs.push_back(grad(sum(value), x));
    if (block.operands == 2) outputs.push_back(grad(sum(value), y, {.allow_unused = true}));
    const Array first = column(block, 0);
    const std::vector<Array> got = block.operands == 1
                                       ? function({x}, outputs)(first)
                                       : function({x, y}, outputs)(first, column(block, 1));
    for (std::size_t k = 0; k < got.size(); ++k) {
      CHECK(differences(block, block.operands + k, got[k]) == "");
    }
  }
  CHECK(count == static_cast<int>(functions.size()));
}

TEST_CASE("special: derivatives of all orders where a formula is 0 / 0") {
  constexpr double pi = 3.141592653589793;
  const auto of_sinc = [](const Tensor& x) { return sinc(x); };
  CHECK(derivative(1, 0, of_sinc) == 0);
  CHECK(derivative(2, 0, of_sinc) == doctest::Approx(-pi * pi / 3));
  CHECK(derivative(3, 0, of_sinc) == 0);
  CHECK(derivative(4, 0, of_sinc) == doctest::Approx(pi * pi * pi * pi / 5));
  CHECK(derivative(2, 1, of_sinc) == doctest::Approx(2.0));
  const auto of_j1 = [](const Tensor& x) { return j1(x); };
  CHECK(derivative(1, 0, of_j1) == doctest::Approx(0.5));
  CHECK(derivative(3, 0, of_j1) == doctest::Approx(-0.375));
  CHECK(derivative(5, 0, of_j1) == doctest::Approx(0.3125));
  const auto of_i1 = [](const Tensor& x) { return i1(x); };
  CHECK(derivative(1, 0, of_i1) == doctest::Approx(0.5));
  CHECK(derivative(3, 0, of_i1) == doctest::Approx(0.375));
  CHECK(derivative(2, 0, [](const Tensor& x) { return logaddexp(x, x * x); }) ==
        doctest::Approx(1.25));
  // Of x log(y) once by each, which is 1 / y, also for x = 0.
  const Tensor x = scalar("x", f64), y = scalar("y", f64);
  const Tensor mixed = grad(grad(xlogy(x, y), y), x);
  CHECK(function({x, y}, mixed)(0.0, 4.0).item<double>() == 0.25);
}

TEST_CASE("special: the derivatives of digamma and beta are polygammas") {
  const auto near = [](double x) { return doctest::Approx(x).epsilon(1e-12); };
  CHECK(derivative(1, 2.5, [](const Tensor& x) { return gammaln(x); }) == near(0.7031566406452432));
  CHECK(derivative(2, 2.5, [](const Tensor& x) { return gammaln(x); }) == near(0.4903577561002348));
  CHECK(derivative(3, 2.5, [](const Tensor& x) { return gammaln(x); }) ==
        near(-0.23620405164172739));
  CHECK(derivative(1, 2.0, [](const Tensor& x) { return beta(x, x); }) ==
        near(2.0 * (1.0 / 6) * (0.42278433509846714 - 1.2561176684318005)));
  CHECK(derivative(1, 2.0, [](const Tensor& x) { return gammainc(3, x); }) ==
        near(2 * std::exp(-2.0)));
  CHECK(derivative(1, 2.0, [](const Tensor& x) { return zeta(3, x); }) ==
        near(-3 * 0.08232323371113819));
}

TEST_CASE("special: errors name the function, what it takes, and the line") {
  CHECK(type_error([] { return erfc(i); }) ==
        "erfc: takes floating point only: i is i64 (i.shape[0],)  [here]");
  CHECK(type_error([] { return bitwise_and(v, 1); }).starts_with("bitwise_and: "));
  CHECK(type_error([] { return gcd(v, i); }).starts_with("gcd: takes integers only: "));
  CHECK(type_error([] { return lcm(v, i); }).starts_with("lcm: takes integers only: "));
  CHECK(type_error([] { return beta(i, i); }).starts_with("beta: takes floating point only: "));
  CHECK(type_error([] {
          return polygamma(2, i);
        }).starts_with("polygamma: takes floating point only: "));
  for (const auto& [name, f] : std::map<std::string, Tensor (*)(const Operand&)>{
           {"frac", frac}, {"deg2rad", deg2rad}, {"logsigmoid", logsigmoid}, {"trunc", trunc}}) {
    CAPTURE(name);
    const Tensor wrong = name == "trunc" ? vector("b", boolean) : i;
    CHECK(type_error([&, g = f] { return g(wrong); }).starts_with(name + ": takes floating"));
  }
  CHECK(value_error([] { return integer_power(i, -2); }) ==
        "integer_power: an integer to the power of -2 is no integer: make x floating, cast(x, f32)"
        "  [here]");
  CHECK(value_error([] { return polygamma(-1, v); }) ==
        "polygamma: n must be from 0 to 100, got -1  [here]");
  CHECK(value_error([] { return polygamma(101, v); }).starts_with("polygamma: n must be"));
  CHECK(value_error([] { return hardtanh(v, 1, 1); }).starts_with("hardtanh: low must be below"));
  CHECK(value_error([] { return celu(v, 0); }).starts_with("celu: alpha must be"));
  const auto twice = [](const Tensor& y) { return grad(sum(grad(sum(y), v)), v); };
  CHECK(value_error([&] { return twice(zeta(v, 2.0)); }) ==
        "zeta: there is no gradient with respect to s of second order  [here]");
  CHECK(value_error([&] {
          return twice(gammainc(v, 2.0));
        }).starts_with("gammainc: there is no gradient with respect to a of second order"));
  CHECK(value_error([&] {
          return twice(betainc(2.0, v, 0.5));
        }).starts_with("betainc: there is no gradient with respect to b of second order"));
  CHECK_NOTHROW(twice(zeta(2.0, v)));
  CHECK_NOTHROW(twice(gammaincc(2.0, v)));
  CHECK_NOTHROW(twice(betaincinv(2.0, 3.0, v)));
}

TEST_CASE("special: betainc where a parameter is huge or tiny") {
  // With b x = y, betainc(a, b, x) of a huge b is gammainc(a, y): 1 - 1 / e, erf(1), 1 - 5 / (2 e).
  const Tensor a = vector("a", f64), b = vector("b", f64), x = vector("x", f64);
  const Array value = function({a, b, x}, betainc(a, b, x))(
      Array::from({1.0, 0.5, 3.0, 3.0, 1e-5, 1.0}),
      Array::from({1e300, 1e300, 1e300, 1e150, 1e300, 1e-300}),
      Array::from({1e-300, 1e-300, 1e-300, 1e-150, 1e-300, 0.7}));
  const Array want = Array::from({0.6321205588285577, 0.8427007929497149, 0.08030139707139418,
                                  0.08030139707139418, 0.9999978061382085, 0.0});
  CHECK(all_close(value, want, 1e-10, 0));
}

TEST_CASE("special: inverses at the ends of their domains") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const Tensor a = vector("a", f64), p = vector("p", f64);
  const Array shapes = Array::from({2.0, 2.0, 2.0, 2.0, 0.0, -1.0, inf, 1e-300, 2.0});
  const Array shares = Array::from({0.0, 1.0, -0.1, 1.1, 0.5, 0.5, 0.5, 0.5, std::nan("")});
  const double n = std::nan("");
  const auto has = [&](const Tensor& y, const Array& want) {
    CHECK(array_equal(function({a, p}, y)(shapes, shares), want, true));
  };
  has(gammaincinv(a, p), Array::from({0.0, inf, n, n, n, n, n, 0.0, n}));
  has(gammainccinv(a, p), Array::from({inf, 0.0, n, n, n, n, n, 0.0, n}));
  has(betaincinv(a, 3.0, p), Array::from({0.0, 1.0, n, n, n, n, n, 0.0, n}));
  has(betaincinv(a + 2000, 1001.0, p), Array::from({n, n, n, n, n, n, n, n, n}));
  // Both ways.
  const auto there = function({a, p}, gammainc(a, gammaincinv(a, p)));
  const auto back = function({a, p}, betainc(a, 0.2, betaincinv(a, 0.2, p)));
  const Array many = Array::from({0.01, 0.4, 3.0, 900.0}),
              some = Array::from({0.9, 1e-9, 0.4, 0.7});
  CHECK(all_close(there(many, some), some, 1e-12, 0));
  CHECK(all_close(back(many, some), some, 1e-11, 0));
}

TEST_CASE("special: gradients of inverses are those of the functions, the other way round") {
  const Tensor a = vector("a", f64), b = vector("b", f64), p = vector("p", f64);
  const Array of_a = Array::from({0.3, 1.0, 4.0, 30.0, 200.0}),
              of_b = Array::from({2.0, 0.4, 3.0, 7.0, 90.0}),
              shares = Array::from({0.1, 0.5, 0.9, 0.02, 0.6});
  // x(a, p) with F(a, x(a, p)) = p: its derivatives by a and b are 0, that by p is 1.
  const auto check = [&](const Tensor& share, const std::vector<Tensor>& none) {
    std::vector<Tensor> gradients = grad(sum(share), none);
    gradients.push_back(grad(sum(share), p));
    const auto f = function({a, b, p}, gradients, {.on_unused_input = UnusedInput::ignore});
    const std::vector<Array> values = f(of_a, of_b, shares);
    for (std::size_t k = 0; k + 1 < values.size(); ++k) {
      CHECK(all_close(values[k], Array::zeros({5}, f64), 0, 1e-10));
    }
    CHECK(all_close(values.back(), Array::ones({5}, f64), 1e-12, 0));
  };
  check(gammainc(a, gammaincinv(a, p)), {a});
  check(gammaincc(a, gammainccinv(a, p)), {a});
  check(betainc(a, b, betaincinv(a, b, p)), {a, b});
}

TEST_CASE("special: functions of integers and booleans") {
  const Array booleans = Array::from({true, true, false});
  const Tensor b = vector("b", boolean), c = vector("c", boolean);
  CHECK(bitwise_xor(b, c).dtype() == boolean);
  CHECK(array_equal(function({b}, bitwise_not(b))(booleans), Array::from({false, false, true})));
  CHECK(bitwise_and(i, 6).dtype() == i64);
  CHECK(array_equal(function({i}, bitwise_and(i, 6))(Array::from<std::int64_t>({13, -1})),
                    Array::from<std::int64_t>({4, 6})));
  CHECK(bitwise_or(i, vector("j", i32)).dtype() == i64);
  const Array some = Array::from<std::int64_t>({13, -1, 4});
  CHECK(array_equal(function({i}, ((i & 5) | 16) ^ 1)(some),
                    Array::from<std::int64_t>({20, 20, 21})));
  CHECK(array_equal(function({i}, ~i)(some), Array::from<std::int64_t>({-14, 0, -5})));
  CHECK((i & b).dtype() == i64);
  CHECK((b & c).dtype() == boolean);
  CHECK(array_equal(function({i}, pow(i, 2))(some), Array::from<std::int64_t>({169, 1, 16})));
  const Array numbers = Array::from<std::int64_t>({3, -2, 0});
  CHECK(array_equal(function({i}, integer_power(i, 5))(numbers),
                    Array::from<std::int64_t>({243, -32, 0})));
  CHECK(array_equal(function({i}, integer_power(i, 0))(numbers),
                    Array::from<std::int64_t>({1, 1, 1})));
  CHECK(array_equal(function({i}, integer_power(2, i + 2))(numbers),
                    Array::from<std::int64_t>({32, 1, 4})));
  CHECK(same(trunc(i), i));
  CHECK(same(nan_to_num(i), i));
  CHECK(array_equal(function({i}, isfinite(i))(numbers), Array::from({true, true, true})));
  CHECK(array_equal(function({i}, isinf(i))(numbers), Array::from({false, false, false})));
  CHECK(float_power(i, 0.5).dtype() == f64);
}

TEST_CASE("special: nan_to_num puts in place what it is told, with no gradient there") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor y = nan_to_num(v, 7, 8, -9);
  const auto both = function({v}, {y, grad(sum(y), v)})(Array::from({nan, inf, -inf, 2.5}));
  CHECK(array_equal(both[0], Array::from({7.0, 8.0, -9.0, 2.5})));
  CHECK(array_equal(both[1], Array::from({0.0, 0.0, 0.0, 1.0})));
}

TEST_CASE("special: smoothstep and heaviside") {
  const Tensor y = smoothstep(1, 3, v);
  const auto both =
      function({v}, {y, grad(sum(y), v)})(Array::from({0.0, 1.0, 2.0, 2.5, 3.0, 9.0}));
  CHECK(array_equal(both[0], Array::from({0.0, 0.0, 0.5, 0.84375, 1.0, 1.0})));
  CHECK(array_equal(both[1], Array::from({0.0, 0.0, 0.75, 0.5625, 0.0, 0.0})));
  const Tensor w = vector("w", f64);
  const Tensor step = heaviside(v, w) * 3;
  const auto slopes =
      function({v, w}, {step, grad(sum(step), w), grad(sum(step), v, {.allow_unused = true})})(
          Array::from({-1.0, 0.0, 2.0}), Array::from({0.5, 0.5, 0.5}));
  CHECK(array_equal(slopes[0], Array::from({0.0, 1.5, 3.0})));
  CHECK(array_equal(slopes[1], Array::from({0.0, 3.0, 0.0})));
  CHECK(array_equal(slopes[2], Array::from({0.0, 0.0, 0.0})));
}

TEST_CASE("special: in loops, branches, and with rows of free length") {
  const Tensor x = tensor("x", {dim("n"), 3}, f64);
  const Tensor direct = gammaln(x) + erfinv(tanh(x) / 2) + j0(x) + gammainc(2.5, x);
  const Tensor looped = map(
      [](Tensor row) {
        return ifelse(sum(row) > -1e9,
                      gammaln(row) + erfinv(tanh(row) / 2) + j0(row) + gammainc(2.5, row), row);
      },
      {x});
  const auto f = function({x}, {direct, looped, grad(sum(direct), x), grad(sum(looped), x)});
  for (const std::int64_t rows : {0, 1, 7}) {
    const auto got = f(Array::uniform({rows, 3}, 4, 0.5, 6, f64));
    for (std::size_t k = 0; k < 4; k += 2) {
      REQUIRE(got[k].size() == rows * 3);
      for (std::int64_t n = 0; n < rows * 3; ++n) {
        CHECK(got[k].data<double>()[n] ==
              doctest::Approx(got[k + 1].data<double>()[n]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("special: the reference of Bessel's K is right for small and large arguments") {
  const auto check = [](int order, double x, double value) {
    CAPTURE(x);
    CHECK(kroton::ops::reference::bessel_k(order, x, true) ==
          doctest::Approx(value).epsilon(1e-14));
  };
  // mpmath's: besselk(order, x) * exp(x).
  check(0, 1e7, 0.000396332724806442258);
  check(1, 1e7, 0.000396332744623078003);
  check(0, 199, 0.0887894333051931177);
  check(0, 201, 0.0883471399200341002);
  check(1, 201, 0.0885666369297365252);
}

}  // namespace test_special
