// Conversions and arithmetic of every dtype on an emulated GPU: the bits of the CPU.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "runtime/visit.h"
#include "tests/gpu_emulator/emulated_device.h"

using namespace kroton;  // NOLINT: tests

namespace {

// Ends, halves, and numbers that other dtypes do not hold.
Array numbers(DType dtype, std::size_t first) {
  const double some[] = {0,      1,     -1,   0.5,  2.5,   127,   128,     -129,   255,
                         256,    257,   1e-7, 6e-8, 3e-39, 65504, 65520,   -40000, 1e10,
                         -1e20,  3e38,  1.1,  0.1,  -0.9,  7,     -13,     100,    1e5,
                         2.0e-5, 0.125, 4097, 3,    -2,    1e300, -1e-310, NAN,    INFINITY};
  constexpr std::size_t count = std::size(some);
  Array x = Array::empty({count}, f64);
  for (std::size_t k = 0; k < count; ++k) x.data<double>()[k] = some[(k * first) % count];
  return x.cast(dtype);
}

bool same(const Array& a, const Array& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  return visit_dtype(a.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto x = a.data<T>(), y = b.data<T>();
    for (std::size_t k = 0; k < x.size(); ++k) {
      if (x[k] != y[k] && !(x[k] != x[k] && y[k] != y[k])) return false;
    }
    return true;
  });
}

}  // namespace

TEST_CASE("cuda: conversions and arithmetic of every dtype") {
  const gpu_emulator::TestCuda device;
  std::vector<Tensor> inputs, outputs;
  std::vector<Array> given;
  std::vector<std::string> what;
  for (const DTypeInfo& info : dtype_table) {
    const Array a = numbers(info.dtype, 1), b = numbers(info.dtype, 5);
    const Tensor x = tensor("x", {a.size()}, info.dtype), y = tensor("y", {a.size()}, info.dtype);
    inputs.insert(inputs.end(), {x, y});
    given.insert(given.end(), {a, b});
    const auto add = [&](const char* name, const Tensor& z) {
      outputs.push_back(z);
      what.push_back(name + (" of " + std::string(info.name)));
    };
    for (const DTypeInfo& to : dtype_table) add(to.name.data(), cast(x, to.dtype));
    add("where", where(ne(x, y), x, y));
    if (info.dtype == boolean) continue;
    add("lt", x < y);
    add("add", x + y);
    add("mul", x * y - x);
    add("maximum", maximum(x, y));
    add("sum", sum(x));
    add("max", max(where(ne(x, x), 0, x)));
    add("argmax", argmax(x));
    if (!is_integer(info.dtype)) continue;
    add("floor_div", floor_div(x, y));
    add("mod", mod(x, y));
    add("xor", bitwise_xor(x, y) + (x & 7));
    add("shift", left_shift(x, 3) + right_shift(y, 2));
    add("not", -bitwise_not(x) + abs(y));
  }
  const std::vector<Argument> arguments(given.begin(), given.end());
  const std::vector<Array> wanted = function(inputs, outputs).call(arguments);
  const std::vector<Array> got = function(inputs, outputs, {.target = cuda()}).call(arguments);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    CAPTURE(what[k]);
    if (what[k].starts_with("sum of f")) continue;  // in another order
    CHECK(same(got[k], wanted[k]));
  }
}

TEST_CASE("cuda: products and rows of 16 bits") {
  const gpu_emulator::TestCuda device;
  const Tensor x = tensor("x", {dim("n"), 40}, bf16), w = tensor("w", {40, 24}, f16);
  const Tensor y = dot(x, cast(w, bf16));
  const std::vector<Tensor> outputs = {y, softmax(x, 1), sum(x, 0), transpose(x)};
  const Array a = Array::normal({33, 40}, 1, 0, 1, bf16), b = Array::normal({40, 24}, 2, 0, 1, f16);
  const std::vector<Array> wanted = function({x, w}, outputs)(a, b);
  const std::vector<Array> got = function({x, w}, outputs, {.target = cuda()})(a, b);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    CAPTURE(k);
    CHECK(all_close(got[k], wanted[k], 0.01, 0.02));
  }
  CHECK(array_equal(got[3], wanted[3]));
}
