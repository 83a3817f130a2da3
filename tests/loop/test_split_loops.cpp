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
const BufferRef a = buffer(0, "a", n);
const BufferRef b = buffer(1, "b", m);

Expr below(const Expr& x, const Expr& y) { return binary(Op::lt, x, y); }
Expr both(const Expr& x, const Expr& y) { return binary(Op::logical_and, x, y); }
Expr negated(const Expr& x) { return unary(Op::logical_not, x); }
Expr zero() { return real(0, DType::f32); }

// x[at] inside zeros.
Expr inside(const BufferRef& x, const Expr& at) {
  const Expr is_inside = both(binary(Op::le, integer(0), at), below(at, size(x->size)));
  return select(is_inside, load(x, at, is_inside), zero());
}

// a, then b.
Expr joined(const Expr& at) {
  const Expr first = below(at, size(n));
  return select(first, load(a, at, first), load(b, at - size(n), negated(first)));
}

// y[i] = value for each i below `count`.
Kernel over(const Dim& count, const Expr& value) {
  const BufferRef y = buffer(2, "y", count);
  Kernel result = kernel({a, b}, {y}, {serial(i, size(count), {Store{y, vi, value}})});
  result.work = size(count);
  return result;
}

std::string text_of(const std::vector<Kernel>& kernels) {
  std::string text;
  for (const Kernel& k : kernels) text += to_string(k);
  return text;
}

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Split in both ways, the kernel does what it did.
void check_same(const Kernel& before) {
  for (const std::int64_t of_n : {0, 1, 2, 3, 9, 17, 40}) {
    for (const std::int64_t of_m : {0, 1, 3, 17}) {
      const Sizes sizes{{"n", of_n}, {"m", of_m}};
      const Contents contents = random_contents(before, sizes, 1);
      const auto expected = outcome(before, sizes, contents);
      for (const bool into_kernels : {false, true}) {
        Kernel after = before;
        after.body.clear();
        for (const Kernel& part : split_loops(before, into_kernels)) {
          verify(part);
          after.body.insert(after.body.end(), part.body.begin(), part.body.end());
        }
        CHECK_MESSAGE(outcome(after, sizes, contents) == expected, "n " << of_n << " m " << of_m
                                                                        << "\n"
                                                                        << to_string(after));
      }
    }
  }
}

}  // namespace

TEST_CASE("split_loops: a join is one loop for each operand") {
  const Kernel join = over(n + m, joined(vi));
  const std::string text = text_of(split_loops(join, false));
  CHECK(text.substr(text.find("{\n")) ==
        "{\n"
        "  for i in 0..n {\n"
        "    y[i] = a[i]\n"
        "  }\n"
        "  for i_1 in 0..m {\n"
        "    y[i_1 + n] = b[i_1]\n"
        "  }\n"
        "}\n");
  const std::vector<Kernel> kernels = split_loops(join, true);
  REQUIRE(kernels.size() == 2);
  CHECK(to_string(kernels[1].work) == "m");
  check_same(join);
}

TEST_CASE("split_loops: what lies inside zeros has an inside and its borders") {
  const Kernel one = over(n + 5, inside(a, vi - integer(2)));
  const std::string text = text_of(split_loops(one, false));
  CHECK(text.find(" if ") == std::string::npos);
  CHECK(text.find("for i_1 in 0..n {\n    y[i_1 + 2] = a[i_1]") != std::string::npos);
  check_same(one);
  // Parts at different places, whose ends nobody can order.
  check_same(over(n + m, inside(a, vi) + inside(b, vi - integer(1)) * joined(vi)));
  check_same(over(n + m, inside(a, size(n) - vi) - inside(b, vi * integer(2) - integer(3))));
  check_same(over(n + 1, inside(a, size(n) - vi * integer(3)) + inside(b, vi + integer(4))));
}

TEST_CASE("split_loops: few iterations between conditions stay one loop") {
  Expr sum = zero();
  for (const int k : {0, 1, 2, 3}) sum = sum + inside(a, vi - integer(k));
  const Kernel stencil = over(n + 3, sum);
  const std::string text = text_of(split_loops(stencil, false));
  // The inside without conditions; both borders with some.
  CHECK(count_of(text, "for ") <= 4);
  CHECK(text.find("= 0.0 + a[i_1 + (min(n, 3))] + a[i_1 + (min(n, 3) - 1)] + "
                  "a[i_1 + (min(n, 3) - 2)] + a[i_1 + (min(n, 3) - 3)]\n") != std::string::npos);
  CHECK(text.find(" if ") != std::string::npos);
  check_same(stencil);
}

TEST_CASE("split_loops: of a tiny loop each iteration knows its conditions") {
  const auto element = [](int k) { return below(vi, integer(k)); };
  const Expr three =
      select(element(1), load(a, integer(0), element(1)),
             select(element(2), load(b, integer(0), both(negated(element(1)), element(2))),
                    load(b, integer(1), both(negated(element(1)), negated(element(2))))));
  const std::string text = text_of(split_loops(over(3, three), false));
  CHECK(text.substr(text.find("{\n")) ==
        "{\n"
        "  y[0] = a[0]\n"
        "  y[1] = b[0]\n"
        "  y[2] = b[1]\n"
        "}\n");
}

TEST_CASE("split_loops: of up to 64 columns that are joined each knows its conditions") {
  const auto joined = [](int columns) {
    Expr value = load(b, integer(0), negated(below(vi, integer(columns - 1))));
    for (int k = columns - 2; k >= 0; --k) {
      const Expr first = below(vi, integer(k + 1));
      const Expr own = k == 0 ? first : both(negated(below(vi, integer(k))), first);
      value = select(first, load(a, integer(k), own), value);
    }
    return text_of(split_loops(over(columns, value), false));
  };
  CHECK(count_of(joined(64), " if ") == 0);
  CHECK(count_of(joined(64), "for ") == 0);
  CHECK(count_of(joined(65), " if ") > 0);
}

TEST_CASE("split_loops: many operands are as many loops, of code that grows with their number") {
  const int parts = 64;
  Expr value = load(a, vi - integer(100 * (parts - 1)), negated(below(vi, integer(6300))));
  for (int k = parts - 2; k >= 0; --k) {
    const Expr first = below(vi, integer(100 * (k + 1)));
    const Expr own = k == 0 ? first : both(negated(below(vi, integer(100 * k))), first);
    value = select(first, load(a, vi - integer(100 * k), own), value);
  }
  const std::string text = text_of(split_loops(over(100 * parts, value), false));
  CHECK(count_of(text, "for ") == parts);
  CHECK(text.find(" if ") == std::string::npos);
}

TEST_CASE("split_loops: inner loops are split in place, around reductions too") {
  const BufferRef y = buffer(2, "y", n);
  const Variable sum = fresh_variable("sum", DType::f32);
  const Expr value = load(a, vi) * joined(vj);
  const Kernel rows = kernel(
      {a, b}, {y},
      {serial(i, size(n),
              {Declare{sum, zero()}, serial(j, size(n + m), {Accumulate{sum, Op::add, value}}),
               Store{y, vi, variable(sum)}})});
  const std::vector<Kernel> kernels = split_loops(rows, true);
  REQUIRE(kernels.size() == 1);
  const std::string text = to_string(kernels[0]);
  CHECK(count_of(text, "for ") == 3);
  CHECK(text.find(" if ") == std::string::npos);
  check_same(rows);
  // Rows of a join of columns store apart, which the parts alone do not show.
  const BufferRef all = buffer(3, "all", n * (n + m));
  const Kernel columns =
      kernel({a, b}, {all},
             {serial(i, size(n),
                     {serial(j, size(n + m), {Store{all, vi * size(n + m) + vj, joined(vj)}})})});
  const std::string parallel = to_string(parallelize(split_loops(columns, true).at(0)));
  CHECK(parallel.find("parallel for i") != std::string::npos);
}

TEST_CASE("split_loops: a loop without conditional loads stays as it is") {
  const Kernel masked = over(n, select(below(vi, integer(5)), load(a, vi), zero()));
  CHECK(text_of(split_loops(masked, true)) == to_string(masked));
}
