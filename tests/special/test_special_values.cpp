// Elementwise and special functions, compiled, against mpmath's values within bounds in ulp.
//
// With KROTON_SPECIAL_VALUES=FILE, a file that values.py wrote with more points, the first test
// prints the table of docs/special_functions.md.
#include <doctest/doctest.h>
#include <kroton/elementwise.h>
#include <kroton/kroton.h>
#include <kroton/special.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "tests/tools/places.h"

namespace test_special_values {

using namespace kroton;  // NOLINT: tests

namespace {

using OfOne = Tensor (*)(const Operand&);
using OfTwo = Tensor (*)(const Operand&, const Operand&);
using OfThree = Tensor (*)(const Operand&, const Operand&, const Operand&);

const std::map<std::string, OfOne> of_one = {
    {"tan", tan},
    {"sinh", sinh},
    {"cosh", cosh},
    {"asinh", asinh},
    {"acosh", acosh},
    {"atanh", atanh},
    {"exp2", exp2},
    {"log2", log2},
    {"log10", log10},
    {"cbrt", cbrt},
    {"rsqrt", rsqrt},
    {"log1mexp", log1mexp},
    {"sinc", sinc},
    {"logsigmoid", logsigmoid},
    {"erfc", erfc},
    {"erfcx", erfcx},
    {"erfinv", erfinv},
    {"erfcinv", erfcinv},
    {"ndtr", ndtr},
    {"log_ndtr", log_ndtr},
    {"ndtri", ndtri},
    {"gammaln", gammaln},
    {"gamma", gamma},
    {"digamma", digamma},
    {"trigamma", trigamma},
    {"polygamma3", [](const Operand& x) { return polygamma(3, x); }},
    {"zeta", zeta},
    {"j0", j0},
    {"j1", j1},
    {"y0", y0},
    {"y1", y1},
    {"i0", i0},
    {"i1", i1},
    {"i0e", i0e},
    {"i1e", i1e},
    {"k0", k0},
    {"k1", k1},
    {"k0e", k0e},
    {"k1e", k1e},
    {"exp1", exp1},
    {"expi", expi}};

const std::map<std::string, OfTwo> of_two = {
    {"hypot", hypot},
    {"logaddexp", logaddexp},
    {"logaddexp2", logaddexp2},
    {"xlogy", xlogy},
    {"xlog1py", xlog1py},
    {"hurwitz", zeta},
    {"betaln", betaln},
    {"gammainc", gammainc},
    {"gammaincc", gammaincc},
    {"beta", beta},
    {"gammaincinv", gammaincinv},
    {"gammainccinv", gammainccinv},
    {"gammainc_by_a",
     [](const Operand& a, const Operand& x) { return grad(sum(gammainc(a, x)), a.tensor()); }},
    {"zeta_by_s",
     [](const Operand& s, const Operand& q) { return grad(sum(zeta(s, q)), s.tensor()); }}};

const std::map<std::string, OfThree> of_three = {
    {"betainc", betainc},
    {"betaincinv", betaincinv},
    {"betainc_by_a", [](const Operand& a, const Operand& b,
                        const Operand& x) { return grad(sum(betainc(a, b, x)), a.tensor()); }},
    {"betainc_by_b", [](const Operand& a, const Operand& b, const Operand& x) {
       return grad(sum(betainc(a, b, x)), b.tensor());
     }}};

struct Line {
  std::vector<double> operands;
  double value = 0, rest = 0;  // in units of the last place of `value`
  double size = 0;             // what else the error is measured by
};

struct Block {
  std::string name;
  int operands = 1;
  double bound_f32 = 0, bound_f64 = 0;
  std::vector<Line> lines;
};

std::vector<Block> read_blocks(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::vector<Block> blocks;
  for (std::string text; std::getline(file, text);) {
    std::vector<std::string> words;
    std::istringstream in(text);
    for (std::string word; in >> word;) words.push_back(word);
    if (std::isalpha(text[0]) != 0 && text.substr(0, 3) != "inf" && text.substr(0, 3) != "nan") {
      blocks.push_back(
          {words[0], std::stoi(words[1]), std::stod(words[2]), std::stod(words[3]), {}});
      continue;
    }
    const auto number = [&](std::size_t k) { return std::strtod(words.at(k).c_str(), nullptr); };
    Line line;
    const auto count = static_cast<std::size_t>(blocks.back().operands);
    for (std::size_t k = 0; k < count; ++k) line.operands.push_back(number(k));
    line.value = number(count);
    line.rest = number(count + 1) / 1000;
    if (words.size() > count + 2) line.size = number(count + 2);
    blocks.back().lines.push_back(line);
  }
  return blocks;
}

template <class T>
double unit_at(double size) {
  using Limits = std::numeric_limits<T>;
  const double finite = std::fmin(std::abs(size), static_cast<double>(Limits::max()));
  const int exponent =
      finite == 0 ? Limits::min_exponent : std::max(std::ilogb(finite) + 1, Limits::min_exponent);
  return std::ldexp(1.0, exponent - Limits::digits);
}

// In ulp of the dtype at the exact value, or at `size` if that is larger; what overflows is taken
// as the power of two after the largest number.
template <class T>
double error_of(T got, const Line& line) {
  const double most = static_cast<double>(std::numeric_limits<T>::max());
  if (std::isnan(line.value) || std::isnan(got))
    return std::isnan(line.value) == std::isnan(got) ? 0 : 1e30;
  if (std::isinf(got) && std::abs(line.value) >= most && (got > 0) == (line.value > 0)) return 0;
  if (std::isinf(got) || std::isinf(line.value)) {
    return std::abs(static_cast<double>(got)) > most * 0.9999999 && std::abs(line.value) >= most
               ? 0
               : 1e30;
  }
  const double unit = unit_at<T>(std::fmax(std::abs(line.value), line.size));
  const double own = unit_at<double>(line.value);
  return std::abs((static_cast<double>(got) - line.value) / unit - line.rest * (own / unit));
}

struct Worst {
  double error = 0;
  std::vector<double> operands;
};

template <class T>
Worst worst_of(const Block& block) {
  constexpr DType dtype = sizeof(T) == 4 ? DType::f32 : DType::f64;
  std::vector<Line> lines;
  for (const Line& line : block.lines) {
    bool fits = true;
    for (const double x : line.operands) fits = fits && static_cast<double>(static_cast<T>(x)) == x;
    if (fits) lines.push_back(line);
  }
  const auto count = static_cast<std::int64_t>(lines.size());
  REQUIRE(count >= static_cast<std::int64_t>(block.lines.size() / 2));
  std::vector<Array> arguments;
  for (int k = 0; k < block.operands; ++k) {
    Array array = Array::zeros({count}, dtype);
    for (std::int64_t i = 0; i < count; ++i) {
      array.data<T>()[i] =
          static_cast<T>(lines[static_cast<std::size_t>(i)].operands[static_cast<std::size_t>(k)]);
    }
    arguments.push_back(array);
  }
  const Tensor x = vector("x", dtype), y = vector("y", dtype), z = vector("z", dtype);
  const std::string& name = block.name;
  const Array result = block.operands == 1 ? function({x}, of_one.at(name)(x))(arguments[0])
                       : block.operands == 2
                           ? function({x, y}, of_two.at(name)(x, y))(arguments[0], arguments[1])
                           : function({x, y, z}, of_three.at(name)(x, y, z))(
                                 arguments[0], arguments[1], arguments[2]);
  REQUIRE(result.dtype() == dtype);
  Worst worst;
  for (std::int64_t i = 0; i < count; ++i) {
    const Line& line = lines[static_cast<std::size_t>(i)];
    const double error = error_of<T>(result.data<T>()[i], line);
    if (error > worst.error) worst = {error, line.operands};
  }
  return worst;
}

void check(const Worst& worst, double bound) {
  INFO(worst.error << " ulp at " << (worst.operands.empty() ? 0 : worst.operands[0]) << ", "
                   << (worst.operands.size() > 1 ? worst.operands[1] : 0));
  CHECK(worst.error <= bound);
}

}  // namespace

TEST_CASE("special: values are within their bounds of mpmath's") {
  const char* other = std::getenv("KROTON_SPECIAL_VALUES");
  const std::vector<Block> blocks =
      read_blocks(other != nullptr ? other : places::source_dir() + "/tests/special/values.txt");
  CHECK(blocks.size() == of_one.size() + of_two.size() + of_three.size());
  if (other != nullptr) std::printf("| function | f32 | f64 |\n|---|---|---|\n");
  for (const Block& block : blocks) {
    CAPTURE(block.name);
    const Worst f32 = worst_of<float>(block), f64 = worst_of<double>(block);
    check(f32, block.bound_f32);
    check(f64, block.bound_f64);
    if (other != nullptr)
      std::printf("| `%s` | %.2f | %.2f |\n", block.name.c_str(), f32.error, f64.error);
  }
}

}  // namespace test_special_values
