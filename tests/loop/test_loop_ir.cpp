#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "compiler/loop/scalar.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Variable x = fresh_variable("x", DType::f32);
const Variable b = fresh_variable("b", DType::boolean);
const Expr vi = variable(i);
const Expr vj = variable(j);
const Expr vx = variable(x);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "no error";
}

std::int64_t constant(const Expr& e) {
  std::int64_t value = -777;
  CHECK(is_integer_constant(e, value));
  return value;
}

Expr f32_value(double value) { return real(value, DType::f32); }

}  // namespace

TEST_CASE("loop ir: equal expressions are one node") {
  CHECK(vi * integer(4) + vj == variable(i) * integer(4) + variable(j));
  CHECK(vi + vj != vj + vi);
  CHECK(size(n * 3) == size(n + n + n));
  CHECK(real(0.0, DType::f32) != real(-0.0, DType::f32));
  CHECK(real(nan_value, DType::f64) == real(nan_value, DType::f64));
  CHECK(real(1, DType::f64) != real(1, DType::f32));
  CHECK(real(0.1, DType::f32)->real == static_cast<double>(0.1F));
  const BufferRef one = buffer(1, "a", 4);
  const BufferRef two = buffer(1, "a", 4);
  CHECK(load(one, vi) == load(one, vi));
  CHECK(load(one, vi) != load(two, vi));
}

TEST_CASE("loop ir: nodes die with their users and come back equal") {
  std::weak_ptr<const ExprNode> dead;
  {
    const Expr e = unary(Op::sqrt, vx + f32_value(123.25));
    dead = e;
    CHECK(!dead.expired());
  }
  CHECK(dead.expired());
  CHECK(unary(Op::sqrt, vx + f32_value(123.25))->op == Op::sqrt);
}

TEST_CASE("loop ir: a chain of 200,000 operations needs no stack") {
  Expr e = vx;
  for (int k = 0; k < 200000; ++k) e = unary(k % 2 == 0 ? Op::sqrt : Op::neg, e);
  CHECK(!depends_on(e, i));
  CHECK(depends_on(e, x));
  CHECK(constant(stride_of(e, i)) == 0);
  const Variable z = fresh_variable("z", DType::f32);
  const Expr other = substitute(e, {{x, variable(z)}});
  CHECK(other != e);
  CHECK(substitute(other, {{z, vx}}) == e);
  CHECK(!to_string(e).empty());
}

TEST_CASE("loop ir: threads that build the same expressions share them") {
  std::vector<std::vector<Expr>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : made) {
      threads.emplace_back([&mine] {
        for (int k = 0; k < 2000; ++k) mine.push_back(variable(i) * integer(k + 2) + variable(j));
      });
    }
  }
  for (const auto& mine : made) CHECK(mine == made[0]);
}

TEST_CASE("loop ir: identities of index arithmetic") {
  CHECK(vi + integer(0) == vi);
  CHECK(integer(0) + vi == vi);
  CHECK(vi - integer(0) == vi);
  CHECK(constant(vi - vi) == 0);
  CHECK(vi * integer(1) == vi);
  CHECK(constant(vi * integer(0)) == 0);
  CHECK(integer(5) * vi == vi * integer(5));
  CHECK((vi * integer(3)) * integer(4) == vi * integer(12));
  CHECK((vi + integer(3)) + integer(4) == vi + integer(7));
  CHECK((vi + integer(3)) - integer(3) == vi);
  CHECK(binary(Op::floor_div, vi, integer(1)) == vi);
  CHECK(constant(binary(Op::mod, vi, integer(1))) == 0);
  CHECK(binary(Op::floor_div, binary(Op::floor_div, vi, integer(3)), integer(4)) ==
        binary(Op::floor_div, vi, integer(12)));
  CHECK(binary(Op::min, vi, vi) == vi);
  CHECK(constant(binary(Op::lt, vi, vi)) == 0);
  // Nothing is known about the range of j, so these stay.
  CHECK(binary(Op::floor_div, vi * integer(4) + vj, integer(4))->op == Op::floor_div);
  CHECK(binary(Op::mod, vi * integer(4) + vj, integer(4))->op == Op::mod);
}

TEST_CASE("loop ir: sizes combine into one size") {
  CHECK(size(n) * size(m) == size(n * m));
  CHECK((vi * size(n)) * size(m) == vi * size(n * m));
  CHECK((vi * size(n)) * integer(2) == vi * size(n * 2));
  CHECK(constant(size(n) - size(n)) == 0);
  CHECK(constant(size(7)) == 7);
  CHECK(size(n * m + 1)->op == Op::size);
  CHECK(as_dim(size(n) + integer(2)) == n + 2);
  CHECK(!as_dim(vi).has_value());
  // Too large for a size: left to the kernel's wrapping arithmetic.
  const Expr huge = integer(std::int64_t{1} << 62);
  CHECK((size(n) * huge) * huge != nullptr);
}

TEST_CASE("loop ir: floating identities keep every bit") {
  CHECK(vx * f32_value(1) == vx);
  CHECK(vx + f32_value(0) != vx);
  CHECK(vx + f32_value(-0.0) == vx);
  CHECK(vx - f32_value(0) == vx);
  CHECK(vx * f32_value(0) != f32_value(0));
  CHECK((vx - vx)->op == Op::sub);
  CHECK(unary(Op::neg, unary(Op::neg, vx)) == vx);
  CHECK(binary(Op::eq, vx, vx)->op == Op::eq);
  CHECK(fma(vx, f32_value(1), vx) == vx + vx);
}

TEST_CASE("loop ir: comparisons that the sign of an operand decides") {
  const Expr square = vx * vx;
  const auto is_false = [](const Expr& e) { return e == boolean_constant(false); };
  CHECK(is_false(binary(Op::lt, f32_value(89), unary(Op::neg, square))));
  CHECK(is_false(
      binary(Op::lt, f32_value(0), binary(Op::div, unary(Op::neg, square), f32_value(2)))));
  CHECK(is_false(binary(Op::lt, unary(Op::abs, vx) * square + square, f32_value(-1))));
  CHECK_FALSE(is_false(binary(Op::lt, f32_value(-1), unary(Op::neg, square))));
  CHECK_FALSE(is_false(binary(Op::lt, f32_value(89), square)));
  CHECK_FALSE(is_false(binary(Op::lt, f32_value(89), binary(Op::div, square, f32_value(-0.0)))));
  CHECK_FALSE(is_false(binary(Op::lt, f32_value(0), vx + square)));
}

TEST_CASE("loop ir: constants fold in their own precision") {
  CHECK((f32_value(1) + f32_value(1e-9))->real == 1.0);
  CHECK((real(1, DType::f64) + real(1e-9, DType::f64))->real == 1.0 + 1e-9);
  CHECK((integer(1 << 30, DType::i32) * integer(4, DType::i32))->integer == 0);
  CHECK(constant(binary(Op::div, integer(-7), integer(2))) == -3);
  CHECK(constant(binary(Op::floor_div, integer(-7), integer(2))) == -4);
  CHECK(constant(binary(Op::floor_div, integer(7), integer(0))) == 0);
  CHECK(constant(binary(Op::mod, integer(-7), integer(3))) == 2);
  CHECK(constant(binary(Op::mod, integer(7), integer(-3))) == -2);
  CHECK(constant(binary(Op::mod, integer(7), integer(0))) == 0);
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  CHECK(constant(binary(Op::div, integer(least), integer(-1))) == least);
  CHECK(constant(unary(Op::abs, integer(least))) == least);
  CHECK(constant(binary(Op::lshr, integer(-1, DType::i32), integer(28, DType::i32))) == 15);
  CHECK(constant(binary(Op::ashr, integer(-16), integer(2))) == -4);
  CHECK(constant(cast(real(1e300, DType::f64), DType::i32)) == 2147483647);
  CHECK(constant(cast(real(-1e300, DType::f64), DType::i64)) == least);
  CHECK(constant(cast(real(nan_value, DType::f64), DType::i64)) == 0);
  CHECK(constant(cast(f32_value(-2.9), DType::i64)) == -2);
  CHECK(constant(cast(real(nan_value, DType::f64), DType::boolean)) == 1);
  CHECK(constant(cast(integer(std::int64_t{1} << 32), DType::i32)) == 0);
  CHECK(constant(bitcast(f32_value(1), DType::i32)) == 0x3f800000);
  CHECK(bitcast(integer(0x40490fdb, DType::i32), DType::f32)->real == doctest::Approx(3.14159265));
  CHECK(std::isnan(binary(Op::max, f32_value(nan_value), f32_value(1))->real));
  CHECK(std::isnan(binary(Op::min, f32_value(1), f32_value(nan_value))->real));
  CHECK(unary(Op::round_even, f32_value(2.5))->real == 2);
  CHECK(binary(Op::mod, f32_value(-7), f32_value(3))->real == 2);
  CHECK(select(boolean_constant(false), vi, vj) == vj);
  CHECK(binary(Op::logical_and, variable(b), boolean_constant(true)) == variable(b));
  CHECK(constant(binary(Op::logical_or, boolean_constant(true), variable(b))) == 1);
  CHECK(constant(check_index(integer(-1), integer(5), 0)) == 4);
  CHECK(check_index(integer(5), integer(5), 0)->op == Op::check_index);
}

TEST_CASE("loop ir: fma rounds once") {
  const float a = 1.0F + 0x1p-12F;
  const Expr e = fma(f32_value(a), f32_value(a), f32_value(-1));
  CHECK(e->real == static_cast<double>(std::fma(a, a, -1.0F)));
  CHECK(e->real != static_cast<double>(a * a - 1.0F));
}

TEST_CASE("loop ir: operands must agree in dtype") {
  CHECK(message_of([] { (void)(vi + vx); }) ==
        "loop IR: add: operands differ in dtype: i64 and f32");
  CHECK(message_of([] { (void)unary(Op::sqrt, vi); }) == "loop IR: sqrt: is not defined on i64");
  CHECK(message_of([] { (void)binary(Op::logical_and, vi, vj); }) ==
        "loop IR: and: is not defined on i64 and i64");
  CHECK(message_of([] { (void)select(vi, vx, vx); }) ==
        "loop IR: select: the condition is i64, expected boolean");
  CHECK(message_of([] { (void)load(buffer(0, "a", 3), vx); }) ==
        "loop IR: load: the index is f32, expected i64");
  CHECK(message_of([] { (void)bitcast(vx, DType::i64); }) ==
        "loop IR: bitcast: from f32 to i64: sizes differ");
  CHECK(message_of([] { (void)binary(Op::shl, vi, vj); }) ==
        "loop IR: shl: the shift count is j, expected a constant below 64");
  CHECK(message_of([] { (void)(vi + nullptr); }) == "loop IR: add: an operand is null");
  CHECK(message_of([] { (void)substitute(vi, {{i, vx}}); }) ==
        "loop IR: substitute: 'i' is i64, its replacement is f32");
}

TEST_CASE("loop ir: stride_of") {
  const Expr linear = vi * size(n * 3) + vj * integer(4) + integer(7);
  CHECK(stride_of(linear, i) == size(n * 3));
  CHECK(constant(stride_of(linear, j)) == 4);
  CHECK(constant(stride_of(integer(3) - vi * integer(2), i)) == -2);
  CHECK(constant(stride_of(vx + vx, i)) == 0);
  CHECK(stride_of(vi * vj, i) == vj);
  CHECK(stride_of(vi * vi, i) == nullptr);
  CHECK(constant(stride_of(binary(Op::floor_div, vi * integer(12) + vj, integer(4)), i)) == 3);
  CHECK(stride_of(binary(Op::floor_div, vi * integer(12) + vj, integer(4)), j) == nullptr);
  CHECK(constant(stride_of(binary(Op::mod, vi * integer(12) + vj, integer(4)), i)) == 0);
  CHECK(stride_of(binary(Op::mod, vi * integer(12) + vj, integer(5)), i) == nullptr);
  CHECK(constant(stride_of(binary(Op::floor_div, vi * size(n) + vj, size(n)), i)) == 1);
  CHECK(stride_of(load(buffer(0, "a", n), vi), i) == nullptr);
  CHECK(constant(stride_of(load(buffer(0, "a", n), vj), i)) == 0);
  const Expr mixed = binary(Op::mod, vi * integer(4), integer(4)) * vi;
  CHECK((stride_of(mixed, i) == nullptr || !depends_on(stride_of(mixed, i), i)));
}

TEST_CASE("loop ir: substitute folds on the way") {
  const Expr e = binary(Op::floor_div, vi * integer(12) + vj, integer(4));
  CHECK(constant(substitute(e, {{i, integer(2)}, {j, integer(3)}})) == 6);
  // Both at once: a replacement is not replaced again.
  CHECK(substitute(vi - vj, {{i, vj}, {j, vi}}) == vj - vi);
}

TEST_CASE("loop ir: expressions as text") {
  const BufferRef a = buffer(0, "a", n);
  CHECK(to_string(load(a, vi * integer(4) - integer(1))) == "a[i*4 - 1]");
  CHECK(to_string(vx - (vx - f32_value(0.5))) == "x - (x - 0.5)");
  CHECK(to_string((vx + vx) * vx) == "(x + x) * x");
  CHECK(to_string(vi * size(n * 3)) == "i*(3*n)");
  CHECK(to_string(cast(vi, DType::f32)) == "f32(i)");
  CHECK(to_string(check_index(vi, size(n), 3)) == "check_index(i, n, site 3)");
  CHECK(to_string(unary(Op::logical_not, binary(Op::lt, vi, vj))) == "not i < j");
  const Expr shared = unary(Op::sqrt, vx) + vx;
  CHECK(to_string(shared * shared) == "t1 * t1 where t1 = sqrt(x) + x");
}

TEST_CASE("loop ir: a kernel as text") {
  const Dim batch = Dim::named("batch");
  const BufferRef in = buffer(0, "x", batch * 512);
  const BufferRef bias = buffer(1, "b", 512);
  const BufferRef out = buffer(2, "y", batch * 512);
  const Expr at = vi * integer(512) + vj;
  const Expr sum = load(in, at) + load(bias, vj);
  For inner;
  inner.variable = j;
  inner.extent = integer(512);
  inner.kind = LoopKind::vector;
  inner.width = 16;
  inner.interleave = 2;
  inner.body = {Store{out, at, binary(Op::max, sum, f32_value(0)) * sum}};
  For outer;
  outer.variable = fresh_variable("i");
  outer.extent = size(batch);
  outer.kind = LoopKind::parallel;
  outer.body = {statement(inner)};
  outer.body = substitute(outer.body, {{i, variable(outer.variable)}});
  Kernel k = kernel({in, bias}, {out}, {statement(outer)});
  k.name = "add_relu";
  k.work = size(batch * 512);
  k.source = "model.cpp:17";
  CHECK(to_string(k) == R"(# model.cpp:17
kernel add_relu(in x: f32[512*batch], in b: f32[512], out y: f32[512*batch]) work (512*batch) {
  parallel for i in 0..batch {
    vector<16 x2> for j in 0..512 {
      let t1 = x[i*512 + j] + b[j]
      y[i*512 + j] = max(t1, 0.0) * t1
    }
  }
}
)");
}

TEST_CASE("loop ir: shared values are named in the innermost block that holds them") {
  const BufferRef a = buffer(0, "a", n);
  const BufferRef y = buffer(1, "y", n);
  const Expr row = unary(Op::sqrt, load(a, vi) + f32_value(1));
  const Variable sum = fresh_variable("i", DType::f32);  // a name that is taken
  Kernel k = kernel(
      {a}, {y},
      {serial(i, size(n),
              {Declare{sum, f32_value(0)}, serial(j, integer(4), {Accumulate{sum, Op::add, row}}),
               Store{y, vi, row * variable(sum) + load(y, vi)},
               Store{y, vi, variable(sum) + load(y, vi)}})});
  // What reads y or the sum is not shared between the two stores.
  CHECK(to_string(k) == R"(kernel k(in a: f32[n], out y: f32[n]) work 1 {
  for i in 0..n {
    var i_1: f32 = 0.0
    let t1 = sqrt(a[i] + 1.0)
    for j in 0..4 {
      i_1 += t1
    }
    y[i] = t1 * i_1 + y[i]
    y[i] = i_1 + y[i]
  }
}
)");
}
