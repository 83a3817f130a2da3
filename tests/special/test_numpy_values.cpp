// Elementwise and special functions, compiled, against NumPy's and SciPy's values at special
// numbers and on integers.
#include <doctest/doctest.h>
#include <kroton/elementwise.h>
#include <kroton/kroton.h>
#include <kroton/special.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/tools/places.h"

using namespace kroton;  // NOLINT: tests

namespace {

using OfOne = std::function<Tensor(const Tensor&)>;
using OfTwo = std::function<Tensor(const Tensor&, const Tensor&)>;

template <Tensor (*f)(const Operand&)>
Tensor one(const Tensor& x) {
  return f(x);
}
template <Mask (*f)(const Operand&)>
Tensor one_mask(const Tensor& x) {
  return f(x);
}
template <Tensor (*f)(const Operand&, const Operand&)>
Tensor two(const Tensor& x, const Tensor& y) {
  return f(x, y);
}

const std::map<std::string, OfOne> of_one = {
    {"trunc", one<trunc>},
    {"round", one<round>},
    {"isnan", one_mask<isnan>},
    {"isinf", one_mask<isinf>},
    {"isfinite", one_mask<isfinite>},
    {"signbit", one_mask<signbit>},
    {"nan_to_num", [](const Tensor& x) { return nan_to_num(x); }},
    {"exp2", one<exp2>},
    {"log2", one<log2>},
    {"log10", one<log10>},
    {"tan", one<tan>},
    {"sinh", one<sinh>},
    {"cosh", one<cosh>},
    {"cbrt", one<cbrt>},
    {"asinh", one<asinh>},
    {"acosh", one<acosh>},
    {"atanh", one<atanh>},
    {"bitwise_not", one<bitwise_not>},
    {"bitwise_count", one<bitwise_count>},
    {"erfc", one<erfc>},
    {"erfcx", one<erfcx>},
    {"erfinv", one<erfinv>},
    {"erfcinv", one<erfcinv>},
    {"ndtr", one<ndtr>},
    {"log_ndtr", one<log_ndtr>},
    {"ndtri", one<ndtri>},
    {"gammaln", one<gammaln>},
    {"gamma", one<gamma>},
    {"digamma", one<digamma>},
    {"trigamma", one<trigamma>},
    {"zeta", one<zeta>},
    {"j0", one<j0>},
    {"j1", one<j1>},
    {"y0", one<y0>},
    {"y1", one<y1>},
    {"i0", one<i0>},
    {"i1", one<i1>},
    {"i0e", one<i0e>},
    {"i1e", one<i1e>},
    {"k0", one<k0>},
    {"k1", one<k1>},
    {"k0e", one<k0e>},
    {"k1e", one<k1e>},
    {"exp1", one<exp1>},
    {"expi", one<expi>},
    {"sinc", one<sinc>},
    {"log1mexp", one<log1mexp>}};

const std::map<std::string, OfTwo> of_two = {{"fmod", two<fmod>},
                                             {"remainder", two<remainder>},
                                             {"copysign", two<copysign>},
                                             {"nextafter", two<nextafter>},
                                             {"fmax", two<fmax>},
                                             {"fmin", two<fmin>},
                                             {"heaviside", two<heaviside>},
                                             {"hypot", two<hypot>},
                                             {"logaddexp", two<logaddexp>},
                                             {"logaddexp2", two<logaddexp2>},
                                             {"xlogy", two<xlogy>},
                                             {"xlog1py", two<xlog1py>},
                                             {"bitwise_and", two<bitwise_and>},
                                             {"bitwise_or", two<bitwise_or>},
                                             {"bitwise_xor", two<bitwise_xor>},
                                             {"gcd", two<gcd>},
                                             {"lcm", two<lcm>},
                                             {"left_shift", two<left_shift>},
                                             {"right_shift", two<right_shift>},
                                             {"integer_power", two<integer_power>},
                                             {"gammainc", two<gammainc>},
                                             {"gammaincc", two<gammaincc>},
                                             {"betaln", two<betaln>}};

struct Block {
  std::string name, dtype;
  std::size_t operands = 1;
  double tolerance = 0;
  std::vector<std::vector<std::string>> lines;
};

std::vector<Block> read_blocks() {
  std::ifstream file(places::source_dir() + "/tests/special/numpy_values.txt");
  REQUIRE(file.good());
  std::vector<Block> blocks;
  for (std::string text; std::getline(file, text);) {
    std::vector<std::string> words;
    std::istringstream in(text);
    for (std::string word; in >> word;) words.push_back(word);
    if (words.size() == 4 && (words[1][0] == 'f' || words[1][0] == 'i') && words[1] != "inf") {
      blocks.push_back({words[0],
                        words[1],
                        static_cast<std::size_t>(std::stoi(words[2])),
                        std::stod(words[3]),
                        {}});
    } else {
      blocks.back().lines.push_back(words);
    }
  }
  return blocks;
}

template <class T>
T parsed(const std::string& word) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(std::strtoll(word.c_str(), nullptr, 10));
  } else {
    return static_cast<T>(std::strtod(word.c_str(), nullptr));
  }
}

template <class T>
bool agrees(T got, T expected, double tolerance) {
  if constexpr (std::is_integral_v<T>) {
    return got == expected;
  } else {
    if (std::isnan(got) || std::isnan(expected)) return std::isnan(got) && std::isnan(expected);
    if (got == expected) return tolerance > 0 || std::signbit(got) == std::signbit(expected);
    const double off = std::abs(static_cast<double>(got) - static_cast<double>(expected));
    return off <= tolerance * std::abs(static_cast<double>(expected));
  }
}

// What differs, one line each.
template <class T>
std::string differences(const Block& block, DType dtype) {
  const auto count = static_cast<std::int64_t>(block.lines.size());
  std::vector<Array> arguments;
  for (std::size_t k = 0; k < block.operands; ++k) {
    Array array = Array::zeros({count}, dtype);
    for (std::int64_t i = 0; i < count; ++i) {
      array.data<T>()[i] = parsed<T>(block.lines[static_cast<std::size_t>(i)].at(k));
    }
    arguments.push_back(array);
  }
  const Tensor x = vector("x", dtype), y = vector("y", dtype);
  const Array result = (block.operands == 1 ? function({x}, of_one.at(block.name)(x))(arguments[0])
                                            : function({x, y}, of_two.at(block.name)(x, y))(
                                                  arguments[0], arguments[1]))
                           .cast(dtype);
  std::ostringstream text;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::vector<std::string>& line = block.lines[static_cast<std::size_t>(i)];
    const T got = result.data<T>()[i];
    if (agrees(got, parsed<T>(line.at(block.operands)), block.tolerance)) continue;
    for (const std::string& word : line) text << word << " ";
    text << "got " << got << "\n";
  }
  return text.str();
}

}  // namespace

TEST_CASE("special: NumPy's and SciPy's values at special numbers and on integers") {
  int count = 0;
  for (const Block& block : read_blocks()) {
    CAPTURE(block.name);
    CAPTURE(block.dtype);
    ++count;
    CHECK((block.dtype == "f32"   ? differences<float>(block, f32)
           : block.dtype == "f64" ? differences<double>(block, f64)
           : block.dtype == "i32" ? differences<std::int32_t>(block, i32)
                                  : differences<std::int64_t>(block, i64)) == "");
  }
  CHECK(count > 90);
}
