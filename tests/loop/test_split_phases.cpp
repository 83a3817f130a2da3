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
const BufferRef a = buffer(0, "a", n);

// Every step-th element, from `first` on, is one of a; the others are 0.
Expr with_gaps(const Expr& at, std::int64_t step, std::int64_t first) {
  const Expr from = at - integer(first);
  const Expr place = binary(Op::floor_div, from, integer(step));
  const Expr is_one = binary(
      Op::logical_and, binary(Op::eq, binary(Op::mod, from, integer(step)), integer(0)),
      binary(Op::logical_and, binary(Op::le, integer(0), place), binary(Op::lt, place, size(n))));
  return select(is_one, load(a, place, is_one), real(0, DType::f32));
}

// y[j, i] = value for each i below `count`, in each of three rows.
Kernel over(const Dim& count, const Expr& value) {
  const BufferRef y = buffer(2, "y", count * Dim(3));
  Kernel result = kernel(
      {a}, {y},
      {serial(j, integer(3), {serial(i, size(count), {Store{y, vj * size(count) + vi, value}})})});
  result.work = size(count);
  return result;
}

void check_same(const Kernel& before) {
  for (const std::int64_t of_n : {0, 1, 2, 3, 9, 17, 40}) {
    const Sizes sizes{{"n", of_n}};
    const Contents contents = random_contents(before, sizes, 1);
    const Kernel after = split_phases(before);
    verify(after);
    CHECK_MESSAGE(outcome(after, sizes, contents) == outcome(before, sizes, contents),
                  "n " << of_n << "\n"
                       << to_string(after));
  }
}

}  // namespace

TEST_CASE("split_phases: a loop over elements with gaps has no remainders") {
  const Kernel two = over(n * 2, with_gaps(vi, 2, 0));
  const std::string text = to_string(split_phases(two));
  CHECK(text.substr(text.find("{\n")) ==
        "{\n"
        "  for j in 0..3 {\n"
        "    for i in 0..n {\n"
        "      let t1 = j*(2*n) + i*2\n"
        "      y[t1] = a[i]\n"
        "      y[t1 + 1] = 0.0\n"
        "    }\n"
        "  }\n"
        "}\n");
  check_same(two);
}

TEST_CASE("split_phases: what is left over at the end keeps its conditions") {
  check_same(over(n, with_gaps(vi, 2, 1)));
  check_same(over(n * 2 + 1, with_gaps(vi, 2, 0) + with_gaps(vi, 2, 1)));
  check_same(over(n * 3 + 2, with_gaps(vi, 3, 1) * with_gaps(vi, 3, 2)));
  check_same(over(17, with_gaps(vi, 4, 3)));
  check_same(over(n + 5, with_gaps(vi, 2, 0) + with_gaps(vi, 3, 0)));
  check_same(over(n, with_gaps(size(n) - vi, 2, 0)));
}

TEST_CASE("split_phases: too many phases stay as they are") {
  const Kernel nine = over(n, with_gaps(vi, 9, 0));
  CHECK(to_string(split_phases(nine)) == to_string(nine));
}
