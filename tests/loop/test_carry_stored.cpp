#include <doctest/doctest.h>

#include "compiler/loop/schedule.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
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
  const Kernel one_row =
      kernel({x}, {y},
             {serial(j, size(m) - integer(1),
                     {Store{y, vj + integer(1), load(y, vj) + load(x, vj + integer(1))}})});
  const std::string text = to_string(carry_stored(one_row));
  CHECK(text.substr(text.find("{\n")) ==
        "{\n"
        "  if 0 < (m - 1) {\n"
        "    var held: f32 = y[0]\n"
        "    for j in 0..(m - 1) {\n"
        "      held += x[j + 1]\n"
        "      y[j + 1] = held\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("carry_stored: rows of a free size that have no element in common run in step") {
  const auto rows_of = [](const Dim& running) {
    const Expr at = vi * size(m) + vj, next = at + integer(1);
    return to_string(carry_stored(kernel(
        {x}, {y},
        {serial(i, size(n),
                {serial(j, size(running), {Store{y, next, load(y, at) + load(x, next)}})})})));
  };
  const auto in_step = [&](const Dim& running) {
    return rows_of(running).find("held_3") != std::string::npos;
  };
  CHECK(in_step(m - 1));
  CHECK(in_step(maximum(0, m - 1)));  // none where m is 0
  CHECK(in_step(maximum(m - 2, 0)));
  CHECK(!in_step(m));  // to the first of the next row
  CHECK(!in_step(maximum(1, m - 1)));
  CHECK(!in_step(maximum(0, m)));
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
      for (const std::int64_t rows : {0, 1, 3, 4, 9}) {
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
