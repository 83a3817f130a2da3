#include <doctest/doctest.h>

#include "compiler/loop/schedule.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = index_variable(0, "i");
const Variable j = index_variable(1, "j");
const Expr vi = variable(i);
const Expr vj = variable(j);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");
const BufferRef x = buffer(0, "x", n* m);
const BufferRef y = buffer(1, "y", n* m);

// y[i, j + 1] = y[i, j] op x[i, j + 1] for each row i.
Kernel running(Op op, bool last_first = true) {
  const Expr at = vi * size(m) + vj;
  const Expr next = vi * size(m) + (vj + integer(1));
  const Expr before = load(y, at);
  const Expr added = load(x, next);
  const Expr value = last_first ? binary(op, before, added) : binary(op, added, before);
  return kernel({x}, {y},
                {serial(i, size(n), {serial(j, size(m) - integer(1), {Store{y, next, value}})})});
}

bool carries(const Kernel& kernel) {
  return to_string(carry_stored(kernel)).find("var held") != std::string::npos;
}

}  // namespace

TEST_CASE("carry_stored: a running sum is held in a scalar") {
  const std::string text = to_string(carry_stored(running(Op::add)));
  CHECK(text.substr(text.find("{\n")) ==
        "{\n"
        "  let t1 = 0 < (m - 1)\n"
        "  for i in 0..n {\n"
        "    if t1 {\n"
        "      var held: f32 = y[i*m]\n"
        "      for j in 0..(m - 1) {\n"
        "        let t2 = i*m + (j + 1)\n"
        "        held += x[t2]\n"
        "        y[t2] = held\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("carry_stored: only what the iteration before has stored is held") {
  CHECK(carries(running(Op::mul, false)));
  CHECK(!carries(running(Op::sub)));  // no accumulation
  const Expr at = vi * size(m) + vj;
  const auto nest = [&](const Expr& value) {
    return kernel({x}, {y}, {serial(i, size(n), {serial(j, size(m), {Store{y, at, value}})})});
  };
  CHECK(!carries(nest(load(y, at) + load(x, at))));                // its own element
  CHECK(!carries(nest(load(y, at + integer(-2)) + load(x, at))));  // the one before the last
  CHECK(!carries(nest(load(y, at + integer(-1)) + load(y, integer(0)))));  // another one as well
  CHECK(!carries(nest(load(x, at + integer(-1)) + load(x, at))));          // of another buffer
}

TEST_CASE("carry_stored keeps what loops compute") {
  for (const Op op : {Op::add, Op::mul, Op::min, Op::max}) {
    for (const bool last_first : {false, true}) {
      for (const std::int64_t rows : {0, 1, 3}) {
        for (const std::int64_t columns : {1, 2, 17}) {
          const Kernel before = running(op, last_first);
          const Kernel after = carry_stored(before);
          verify(after);
          const Sizes sizes{{"n", rows}, {"m", columns}};
          const Contents contents = random_contents(before, sizes, 1);
          CHECK_MESSAGE(outcome(after, sizes, contents) == outcome(before, sizes, contents),
                        to_string(after));
        }
      }
    }
  }
}
