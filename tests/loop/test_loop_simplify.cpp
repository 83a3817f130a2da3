#include "compiler/loop/simplify.h"

#include <doctest/doctest.h>

#include "compiler/loop/index_arithmetic.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Variable k = fresh_variable("k");
const Expr vi = variable(i);
const Expr vj = variable(j);
const Expr vk = variable(k);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");
const BufferRef a = buffer(0, "a", n* m * 100);
const BufferRef y = buffer(1, "y", n* m * 100);

// The store's index after simplify_indices inside loops over i in n, j in m, k in 28.
std::string simplified(const Expr& index) {
  const Block block = simplify_indices({serial(
      i, size(n),
      {serial(j, size(m), {serial(k, integer(28), {Store{y, index, real(0, DType::f32)}})})})});
  std::string text;
  visit_statements(block, [&](const Stmt& s) {
    if (const auto* store = std::get_if<Store>(&s)) text = to_string(store->index);
  });
  return text;
}

Expr quotient(const Expr& e, const Expr& divisor) { return binary(Op::floor_div, e, divisor); }
Expr rest(const Expr& e, const Expr& divisor) { return binary(Op::mod, e, divisor); }

std::string body_of(const Kernel& kernel) {
  const std::string text = to_string(kernel);
  return text.substr(text.find("{\n"));
}

}  // namespace

TEST_CASE("loop index: quotients and rests with known ranges") {
  CHECK(simplified(quotient(vi * integer(28) + vk, integer(28))) == "i");
  CHECK(simplified(rest(vi * integer(28) + vk, integer(28))) == "k");
  CHECK(simplified(quotient(vi * size(m) + vj, size(m))) == "i");
  CHECK(simplified(rest(vi * size(m) + vj, size(m))) == "j");
  CHECK(simplified(rest((vi * size(m) + vj) * integer(28) + vk, size(m * 28))) == "j*28 + k");
  CHECK(simplified(quotient(vi * integer(56) + vk + integer(28), integer(28))) == "i*2 + 1");
  // What divides the divisor and all but what is below it is left out.
  CHECK(simplified(quotient(vi * integer(28) + vk, size(m * 28))) == "floor_div(i, m)");
  CHECK(simplified(rest(vi * integer(28) + vk, size(m * 28))) == "mod(i, m)*28 + k");
  CHECK(simplified(quotient(vi * integer(56) + vk, integer(84))) == "floor_div(i*2, 3)");
  CHECK(simplified(rest(vi * integer(56) + vk, integer(84))) == "mod(i*2, 3)*28 + k");
  CHECK(simplified(quotient(vi * integer(8) + vk, integer(16))) == "floor_div(i*8 + k, 16)");
  // k reaches beyond 20: nothing is lost.
  CHECK(simplified(quotient(vi * integer(20) + vk, integer(20))) == "i + floor_div(k, 20)");
  CHECK(simplified(rest(vi * integer(20) + vk, integer(20))) == "mod(k, 20)");
  // j may exceed n.
  CHECK(simplified(rest(vi * size(n) + vj, size(n))) == "mod(j, n)");
}

TEST_CASE("loop index: what a reshape takes apart comes together again") {
  const Expr flat = (vi * size(m) + vj) * integer(28) + vk;
  const Expr last = rest(flat, integer(4));
  const Expr middle = rest(quotient(flat, integer(4)), integer(7));
  const Expr first = quotient(quotient(flat, integer(4)), integer(7));
  CHECK(simplified(first * integer(28) + middle * integer(4) + last) ==
        simplified((vi * size(m) + vj) * integer(28) + vk));
  const Expr x = vi + vj;
  CHECK(simplified(quotient(x, size(n)) * size(n * 3) + rest(x, size(n)) * integer(3)) ==
        "i*3 + j*3");
}

TEST_CASE("loop index: loaded integers keep their own arithmetic") {
  const BufferRef ids = buffer(2, "ids", n, DType::i64);
  const Expr id = load(ids, vi);
  CHECK(simplified(quotient(id * integer(28) + vk, integer(28))) == "floor_div(ids[i]*28 + k, 28)");
  CHECK(simplified(quotient(check_index(id, size(n), 0) * integer(28) + vk, integer(28))) ==
        "check_index(ids[i], n, site 0)");
  const Expr huge = integer((std::int64_t{1} << 62) + 1);
  CHECK(simplified(((vi * huge + vj) * size(n)) * huge) != "");
}

TEST_CASE("loop index: checks and comparisons that the ranges decide") {
  CHECK(simplified(check_index(vj, size(m), 0)) == "j");
  CHECK(simplified(check_index(vj + integer(1), size(m), 0)) == "check_index(j + 1, m, site 0)");
  CHECK(simplified(select(binary(Op::lt, vk, integer(28)), vi, vj)) == "i");
  CHECK(simplified(select(binary(Op::le, integer(28), vk), vi, vj)) == "j");
  CHECK(simplified(select(binary(Op::lt, vk, integer(27)), vi, vj)) == "select(k < 27, i, j)");
}

TEST_CASE("loop simplify: loops that run once or never, decided branches, unread scalars") {
  const Variable unread = fresh_variable("unread", DType::f32);
  const Variable sum = fresh_variable("sum", DType::f32);
  const Kernel before = kernel(
      {a}, {y},
      {serial(i, integer(1),
              {Declare{unread, real(0, DType::f32)}, Declare{sum, real(0, DType::f32)},
               serial(k, integer(4),
                      {Accumulate{unread, Op::add, variable(sum)},
                       Accumulate{sum, Op::add, load(a, vi * integer(4) + vk)}}),
               serial(j, integer(0), {Store{y, vj, real(0, DType::f32)}}),
               statement(If{boolean_constant(false), {Store{y, vi, real(1, DType::f32)}}, {}}),
               Store{y, vi, variable(sum)}})});
  CHECK(body_of(simplify(before)) == R"({
  var sum: f32 = 0.0
  for k in 0..4 {
    sum += a[k]
  }
  y[0] = sum
}
)");
}

TEST_CASE("loop simplify: what is declared twice stays in its own block") {
  const Variable sum = fresh_variable("sum", DType::f32);
  const auto once = [&](std::int64_t at) {
    return serial(i, integer(1),
                  {Declare{sum, real(0, DType::f32)}, Accumulate{sum, Op::add, load(a, vi)},
                   Store{y, integer(at), variable(sum)}});
  };
  CHECK_NOTHROW(verify(simplify(kernel({a}, {y}, {once(0), once(1)}))));
}

TEST_CASE("loop collapse: elementwise loops become one") {
  const Expr at = (vi * size(m) + vj) * integer(28) + vk;
  const Kernel before =
      kernel({a}, {y},
             {serial(i, size(n),
                     {serial(j, size(m), {serial(k, integer(28), {Store{y, at, load(a, at)}})})})});
  CHECK(body_of(collapse_loops(before)) == R"({
  for ijk in 0..(28*n*m) {
    y[ijk] = a[ijk]
  }
}
)");
}

TEST_CASE("loop collapse: loops that something distinguishes stay apart") {
  const Expr at = (vi * size(m) + vj) * integer(28) + vk;
  const auto nest = [&](const Expr& value) {
    return body_of(collapse_loops(
        kernel({a}, {y},
               {serial(i, size(n),
                       {serial(j, size(m), {serial(k, integer(28), {Store{y, at, value}})})})})));
  };
  // A broadcast along the outer two: they merge, the innermost stays.
  CHECK(nest(load(a, vk)) == R"({
  for ij in 0..(n*m) {
    for k in 0..28 {
      y[ij*28 + k] = a[k]
    }
  }
}
)");
  CHECK(nest(load(a, vj)).find("for i in 0..n") != std::string::npos);
  CHECK(nest(cast(vj, DType::f32)).find("for j in 0..m") != std::string::npos);
  // An extent that depends on the outer loop.
  const Kernel triangle = kernel(
      {a}, {y}, {serial(i, size(n), {serial(j, vi, {Store{y, vi * vi + vj, load(a, vj)}})})});
  CHECK(to_string(collapse_loops(triangle)) == to_string(triangle));
}

TEST_CASE("loop simplify and collapse keep what random kernels compute") {
  int collapsed = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const Kernel before = RandomKernel(seed).make();
    REQUIRE_NOTHROW(verify(before));
    const Kernel simple = simplify(before);
    REQUIRE_NOTHROW(verify(simple));
    const Kernel flat = collapse_loops(simple);
    REQUIRE_NOTHROW(verify(flat));
    collapsed += to_string(flat) != to_string(simple) ? 1 : 0;
    const std::int64_t choices[] = {0, 1, 3, 17};
    for (unsigned round = 0; round < 3; ++round) {
      const Sizes sizes{{"m", choices[(seed + round) % 4]},
                        {"n", choices[(seed / 4 + round) % 4]},
                        {"p", choices[(seed / 16 + round) % 4]}};
      const Contents contents = random_contents(before, sizes, seed);
      const Contents expected = outcome(before, sizes, contents);
      CHECK_MESSAGE(outcome(simple, sizes, contents) == expected, to_string(simple));
      CHECK_MESSAGE(outcome(flat, sizes, contents) == expected, to_string(flat));
    }
  }
  CHECK(collapsed > 20);
}
