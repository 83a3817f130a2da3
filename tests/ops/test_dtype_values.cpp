// Promotion, conversions and arithmetic of every dtype against NumPy's: dtype_values.txt, written
// by dtype_values.py.
#include <doctest/doctest.h>
#include <kroton/elementwise.h>
#include <kroton/kroton.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "runtime/visit.h"
#include "tests/tools/places.h"

namespace test_dtype_values {

using namespace kroton;  // NOLINT: tests

namespace {

struct Line {
  std::istringstream words;
  std::string word() {
    std::string result;
    words >> result;
    return result;
  }
  DType dtype() {
    const std::string name = word();
    for (const DTypeInfo& info : dtype_table) {
      if (info.name == name) return info.dtype;
    }
    FAIL("there is no dtype " << name);
    return f32;
  }
  Array array(DType dtype, std::int64_t count) {
    Array result = Array::empty({count}, dtype);
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (std::int64_t k = 0; k < count; ++k) {
        T& element = static_cast<T*>(result.raw())[k];
        const std::string text = word();
        if constexpr (is_floating_element<T>) {
          element = T(std::strtod(text.c_str(), nullptr));
        } else if constexpr (std::same_as<T, std::uint64_t>) {
          element = std::strtoull(text.c_str(), nullptr, 10);
        } else {
          element = static_cast<T>(std::strtoll(text.c_str(), nullptr, 10));
        }
      }
    });
    return result;
  }
};

std::vector<Line> lines_of(const std::string& kind) {
  std::ifstream file(places::source_dir() + "/tests/ops/dtype_values.txt");
  REQUIRE(file);
  std::vector<Line> result;
  for (std::string text; std::getline(file, text);) {
    Line line{std::istringstream(text)};
    if (line.word() == kind) result.push_back(std::move(line));
  }
  REQUIRE(!result.empty());
  return result;
}

// Equal bits, but any NaN for a NaN.
void check_same(const Array& got, const Array& wanted, const Array& x, const Array& y) {
  REQUIRE(got.dtype() == wanted.dtype());
  REQUIRE(got.shape() == wanted.shape());
  visit_dtype(got.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto* a = static_cast<const T*>(got.raw());
    const auto* b = static_cast<const T*>(wanted.raw());
    for (std::int64_t k = 0; k < got.size(); ++k) {
      bool same = a[k] == b[k];
      if constexpr (is_floating_element<T>) {
        same = (same && std::signbit(float(a[k])) == std::signbit(float(b[k]))) ||
               (a[k] != a[k] && b[k] != b[k]);
      }
      if (same) continue;
      CAPTURE(k);
      CAPTURE(static_cast<double>(a[k]));
      CAPTURE(static_cast<double>(b[k]));
      if (x.size() == got.size()) CAPTURE(x.cast(f64).data<double>()[std::size_t(k)]);
      if (y.size() == got.size()) CAPTURE(y.cast(f64).data<double>()[std::size_t(k)]);
      FAIL_CHECK("element " << k << " is " << double(a[k]) << ", expected " << double(b[k]));
      break;
    }
  });
}

using OfTwo = Tensor (*)(const Operand&, const Operand&);
template <Mask (*f)(const Operand&, const Operand&)>
Tensor mask(const Operand& x, const Operand& y) {
  return f(x, y);
}
const std::map<std::string, OfTwo> functions = {{"add", add},
                                                {"sub", sub},
                                                {"mul", mul},
                                                {"div", div},
                                                {"floor_div", floor_div},
                                                {"mod", mod},
                                                {"maximum", maximum},
                                                {"minimum", minimum},
                                                {"fmod", fmod},
                                                {"eq", mask<eq>},
                                                {"ne", mask<ne>},
                                                {"lt", mask<lt>},
                                                {"le", mask<le>},
                                                {"bitwise_and", bitwise_and},
                                                {"bitwise_or", bitwise_or},
                                                {"bitwise_xor", bitwise_xor},
                                                {"gcd", gcd}};

}  // namespace

TEST_CASE("dtypes: promotion is NumPy's but for integers with floats and u64 with signed ones") {
  int same = 0;
  for (Line& line : lines_of("promote")) {
    const DType a = line.dtype(), b = line.dtype();
    const std::string theirs = line.word();
    CAPTURE(name_of(a));
    CAPTURE(name_of(b));
    const DType ours = promote(a, b);
    if (is_float(a) != is_float(b)) {
      CHECK(ours == (is_float(a) ? a : b));  // they have room for all integers
    } else if ((a == u64 && is_signed(b)) || (b == u64 && is_signed(a))) {
      CHECK(ours == i64);
      CHECK(theirs == "f64");
    } else {
      CHECK(name_of(ours) == (theirs == "none" ? "f32" : theirs));
      ++same;
    }
    const Tensor sum = tensor("x", {3}, a) * tensor("y", {3}, b == boolean ? i8 : b);
    CHECK(sum.dtype() == promote(a, b == boolean ? i8 : b));
  }
  CHECK(same > 80);
}

TEST_CASE("dtypes: conversions of every dtype to every other one") {
  std::map<DType, std::vector<std::pair<Array, Array>>> cases;  // of one source
  for (Line& line : lines_of("cast")) {
    const DType from = line.dtype(), to = line.dtype();
    CAPTURE(name_of(from));
    CAPTURE(name_of(to));
    const std::int64_t count = std::stoll(line.word());
    const Array x = line.array(from, count), y = line.array(to, count);
    check_same(x.cast(to), y, x, Array());
    cases[from].emplace_back(x, y);
  }
  for (const auto& [from, all] : cases) {
    CAPTURE(name_of(from));
    const Tensor x = tensor("x", {dim("n")}, from);
    std::vector<Tensor> outputs, folded;
    for (const auto& [given, wanted] : all) {
      outputs.push_back(cast(x, wanted.dtype()));
      folded.push_back(cast(given, wanted.dtype()));
    }
    const std::vector<Array> values = function({x}, outputs)(all[0].first);
    const std::vector<Array> constants = function({}, folded)();
    for (std::size_t k = 0; k < all.size(); ++k) {
      CAPTURE(name_of(all[k].second.dtype()));
      check_same(values[k], all[k].second, all[k].first, Array());
      check_same(constants[k], all[k].second, all[k].first, Array());
    }
  }
}

TEST_CASE("dtypes: arithmetic of every dtype") {
  struct Of {
    std::vector<Tensor> inputs, outputs;
    std::vector<Array> arguments, wanted;
    std::vector<std::string> names;
  };
  std::map<DType, Of> by_dtype;
  for (Line& line : lines_of("op")) {
    const std::string name = line.word();
    const DType dtype = line.dtype();
    const std::int64_t count = std::stoll(line.word());
    Of& of = by_dtype[dtype];
    const Tensor x = tensor("x", {count}, dtype), y = tensor("y", {count}, dtype);
    of.inputs.insert(of.inputs.end(), {x, y});
    of.outputs.push_back(functions.at(name)(x, y));
    of.arguments.push_back(line.array(dtype, count));
    of.arguments.push_back(line.array(dtype, count));
    of.wanted.push_back(line.array(of.outputs.back().dtype(), count));
    of.names.push_back(name);
  }
  CHECK(by_dtype.size() == 12);
  for (const auto& [dtype, of] : by_dtype) {
    CAPTURE(name_of(dtype));
    const std::vector<Argument> arguments(of.arguments.begin(), of.arguments.end());
    const std::vector<Array> values = function(of.inputs, of.outputs).call(arguments);
    for (std::size_t k = 0; k < values.size(); ++k) {
      CAPTURE(of.names[k]);
      check_same(values[k], of.wanted[k], of.arguments[2 * k], of.arguments[2 * k + 1]);
    }
  }
}

TEST_CASE("dtypes: sums and products of integers have 64 bits") {
  for (Line& line : lines_of("reduce")) {
    const std::string name = line.word();
    const DType dtype = line.dtype(), result = line.dtype();
    CAPTURE(name);
    CAPTURE(name_of(dtype));
    const std::int64_t count = std::stoll(line.word());
    const Array x = line.array(dtype, count);
    const Array wanted = line.array(result, std::stoll(line.word()));
    const Tensor in = tensor("x", {dim("n")}, dtype);
    const Tensor y = name == "sum" ? sum(in) : name == "prod" ? prod(in) : cumsum(in, 0);
    CHECK(y.dtype() == result);
    const Array got = function({in}, y)(x);
    check_same(got.rank() == 0 ? got.reshape({1}) : got, wanted, Array(), Array());
  }
}

}  // namespace test_dtype_values
