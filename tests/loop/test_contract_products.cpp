#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "compiler/loop/schedule.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Expr vi = variable(i);
const Dim n = Dim::named("n");
const BufferRef x = buffer(0, "x", n);
const BufferRef y = buffer(1, "y", n);
const BufferRef z = buffer(2, "z", n);
const Expr a = load(x, vi);
const Expr b = load(y, vi);

std::string contracted(const Expr& value) {
  const Kernel before = kernel({x, y}, {z}, {serial(i, size(n), {Store{z, vi, value}})});
  const Kernel after = contract_products(before);
  return to_string(std::get<Store>(as_for(after.body[0])->body[0]).value);
}

}  // namespace

TEST_CASE("contract_products: a product and what it is added to are one operation") {
  CHECK(contracted(a * b + a) == "fma(x[i], y[i], x[i])");
  CHECK(contracted(b + a * a) == "fma(x[i], x[i], y[i])");
  CHECK(contracted(a * b - a) == "fma(x[i], y[i], -x[i])");
  CHECK(contracted(a - a * b) == "fma(-x[i], y[i], x[i])");
  CHECK(contracted(a * a + b * b) == "fma(x[i], x[i], y[i] * y[i])");
  CHECK(contracted((a * b + a) * b + b) == "fma(fma(x[i], y[i], x[i]), y[i], y[i])");
  CHECK(contracted(a + b) == "x[i] + y[i]");
  CHECK(contracted(a * b) == "x[i] * y[i]");
}

TEST_CASE("functions contract products if asked to, and only then") {
  const Tensor u = vector("u"), v = vector("v"), w = vector("w");
  const Array first = Array::normal({37}, 1), second = Array::normal({37}, 2);
  const Array third = Array::normal({37}, 3);
  const auto plain = function({u, v, w}, u * v + w);
  const auto once = function({u, v, w}, u * v + w, {.contract = true});
  const Array twice_rounded = plain(first, second, third);
  const Array rounded = once(first, second, third);
  bool any = false;
  for (std::int64_t k = 0; k < 37; ++k) {
    const float p = first.data<float>()[k], q = second.data<float>()[k];
    const float r = third.data<float>()[k];
    const float product = p * q;
    CHECK(twice_rounded.data<float>()[k] == product + r);
    CHECK(rounded.data<float>()[k] == std::fma(p, q, r));
    any = any || std::fma(p, q, r) != product + r;
  }
  CHECK(any);
}
