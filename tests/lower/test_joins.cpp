// Joins, pads and gradients of slices, alone and fused with what reads them: at sizes that leave
// parts empty, with sizes known and free.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

namespace test_joins {

namespace kt = kroton;

namespace {

using compiled_test::check_agrees;
using compiled_test::Problem;

// Programs of x (n, m), y (n, m), both of that dtype, and ids, which hold positions below n.
struct Operands {
  kt::Tensor x, y, ids;
};
using Program = std::vector<kt::Tensor> (*)(const Operands&);

std::vector<kt::Tensor> joins(const Operands& o) {
  const kt::Tensor rows = kt::concatenate({o.x * 2, o.y, o.x + o.y}, 0);
  const kt::Tensor columns = kt::concatenate({o.x * 2, o.y}, 1);
  return {rows,
          columns,
          kt::concatenate({columns, kt::square(columns), o.x}, 1),
          kt::concatenate({kt::concatenate({o.x, o.y}, 0), rows * rows}, 0),
          kt::stack({o.x, o.y * 3, o.x - o.y}, 2),
          kt::stack({o.x, o.y}, 0),
          kt::transpose(columns) * 3,
          kt::sum(columns, 1),
          kt::max(rows, 1) + kt::min(rows, 1),
          kt::sum(rows, 0),
          kt::dot(kt::transpose(o.x), kt::concatenate({o.y, o.x}, 1)),
          kt::reshape(columns, {o.x.shape(0) * 2, o.x.shape(1)}) + 1,
          kt::mean(kt::square(rows))};
}

std::vector<kt::Tensor> parts(const Operands& o) {
  const auto all = kt::slice(0, kt::end);
  const kt::Tensor padded = kt::pad(o.x, {{1, 2}, {3, 0}});
  const kt::Tensor sides = kt::sum(o.x(kt::slice(1, kt::end)) * o.y(kt::slice(0, -1))) +
                           kt::sum(o.x(all, kt::slice(2, kt::end)) * o.y(all, kt::slice(0, -2)));
  return {padded,
          kt::pad(padded * 2, {{0, 1}, {1, 1}}) + 1,
          padded * kt::pad(o.y, {{2, 1}, {0, 3}}),
          kt::grad(sides, o.x),
          kt::grad(sides * sides, o.y),
          kt::grad(kt::sum(kt::square(o.x(kt::slice(0, kt::end, 2)))), o.x),
          kt::grad(kt::sum(kt::square(o.x(all, kt::slice(kt::end, kt::end, -3)))), o.x) + o.y,
          kt::concatenate({o.x(kt::slice(1, kt::end)), o.x(kt::slice(0, 1))}, 0),
          kt::sum(kt::pad(kt::square(o.x), {{0, 0}, {2, 2}}), 1),
          kt::softmax(kt::pad(o.x, {{0, 0}, {1, 1}}), 1)};
}

// Where elements are asked for at other indices, and where asking may fail.
std::vector<kt::Tensor> elsewhere(const Operands& o) {
  const kt::Tensor rows = kt::concatenate({o.x, o.y}, 0);
  return {kt::take(rows, o.ids), kt::concatenate({kt::take(o.x, o.ids), o.y * 2}, 0),
          kt::pad(kt::take(o.x, o.ids), {{2, 0}, {1, 1}}),
          kt::sum(kt::pad(kt::take(o.x, o.ids), {{2, 0}, {0, 0}}), 0),
          kt::grad(kt::sum(kt::square(kt::take(rows, o.ids))), o.y)};
}

void check(Program program, kt::DType dtype, std::int64_t n, std::int64_t m, bool free,
           const kt::Target& target = kt::cpu()) {
  CAPTURE(n);
  CAPTURE(m);
  CAPTURE(free);
  const kt::Dim rows = free ? kt::dim("n") : kt::Dim(n);
  const kt::Dim columns = free ? kt::dim("m") : kt::Dim(m);
  Operands o{kt::tensor("x", {rows, columns}, dtype), kt::tensor("y", {rows, columns}, dtype),
             kt::tensor("ids", {free ? kt::dim("k") : kt::Dim(4)}, kt::i32)};
  Problem problem;
  problem.outputs = program(o);
  problem.inputs = {o.x, o.y};
  problem.values = {compiled_test::random_array({n, m}, dtype, 1),
                    compiled_test::random_array({n, m}, dtype, 2)};
  if (program == elsewhere) {
    problem.inputs.push_back(o.ids);
    const auto last = static_cast<std::int32_t>(n - 1);
    problem.values.push_back(kt::Array::from({0, last, -1, last / 2}));
  }
  check_agrees(problem, {5e-6, 1e-13}, target);
}

}  // namespace

TEST_CASE("joins: every size, known and free") {
  for (const Program program : {joins, parts, elsewhere}) {
    for (const bool free : {false, true}) {
      for (const std::int64_t n : {1, 2, 3, 17}) {
        for (const std::int64_t m : {2, 5, 40}) check(program, kt::f32, n, m, free);
      }
    }
  }
  check(joins, kt::f32, 0, 3, true);
  check(joins, kt::f64, 5, 0, true);
  check(joins, kt::f64, 9, 9, false);
  check(parts, kt::f64, 9, 9, true);
}

TEST_CASE("joins: large arrays, whose parts are kernels of their own, with one thread and two") {
  for (const std::int64_t threads : {1, 2}) {
    const compiled_test::ThreadCount count(threads);
    for (const bool free : {false, true}) {
      check(joins, kt::f32, 301, 203, free);
      check(parts, kt::f32, 301, 203, free);
    }
  }
}

TEST_CASE("joins: integers and booleans") {
  for (const kt::DType dtype : {kt::i32, kt::i64}) {
    const auto x = kt::tensor("x", {kt::dim("n"), 3}, dtype);
    const kt::Tensor is_small = kt::lt(x, 1);
    Problem problem;
    problem.inputs = {x};
    problem.outputs = {kt::concatenate({x, x * 2}, 1), kt::pad(x + 1, {{1, 1}, {0, 2}}),
                       kt::concatenate({is_small, kt::logical_not(is_small)}, 0),
                       kt::sum(kt::concatenate({x, x}, 0), 0)};
    for (const std::int64_t n : {0, 1, 5, 100}) {
      problem.values = {compiled_test::random_array({n, 3}, dtype, 3)};
      check_agrees(problem);
    }
  }
}

TEST_CASE("joins: few elements side by side, whose lanes are stored together") {
  const kt::Dim n = kt::dim("n");
  for (std::size_t count = 1; count <= 10; ++count) {
    CAPTURE(count);
    std::vector<kt::Tensor> vectors, flags;
    Problem problem;
    for (std::size_t k = 0; k < count; ++k) {
      vectors.push_back(kt::tensor("x" + std::to_string(k), {n}));
      flags.push_back(kt::lt(vectors.back(), 0));
    }
    problem.inputs = vectors;
    const kt::Tensor pairs = kt::stack(vectors, 1);
    problem.outputs = {pairs, kt::stack(flags, 1),
                       kt::stack({pairs * 2, kt::cast(pairs, kt::f32) + 1}, 2),
                       kt::concatenate({pairs, pairs * pairs}, 1)};
    for (const std::int64_t size : {0, 1, 15, 16, 17, 40}) {
      CAPTURE(size);
      problem.values.clear();
      for (std::size_t k = 0; k < count; ++k) {
        problem.values.push_back(compiled_test::random_array({size}, kt::f32, k));
      }
      check_agrees(problem);
    }
  }
  // Each new pair is computed from the old one.
  const kt::Shared state = kt::shared(compiled_test::random_array({37, 2}, kt::f64, 3));
  const auto all = kt::slice(0, kt::end);
  const kt::Tensor first = kt::Tensor(state)(all, 0), second = kt::Tensor(state)(all, 1);
  const kt::Tensor next = kt::stack({first * 3 - second, first + second}, 1);
  const kt::Array want = kt::function({}, next)();
  kt::function({}, {.updates = {{state, next}}})();
  CHECK(kt::all_close(state.get_value(), want, 1e-15, 1e-15));
}

TEST_CASE("cuda: joins on the device") {
  const gpu_emulator::TestCuda cuda;
  for (const Program program : {joins, parts, elsewhere}) {
    check(program, kt::f32, 3, 5, false, kt::cuda());
    check(program, kt::f32, 17, 40, true, kt::cuda());
  }
}

TEST_CASE("joins: what may fail is asked for where it is wanted only, and fails there") {
  const auto x = kt::tensor("x", {kt::dim("n"), 2});
  const auto ids = kt::tensor("ids", {kt::dim("k")}, kt::i32);
  // All rows are taken, whatever lies around them.
  const auto f = kt::function({x, ids}, kt::pad(kt::take(x, ids), {{3, 3}, {0, 0}}));
  const auto good = kt::Array::from({1, 0});
  CHECK(f(kt::Array::full({2, 2}, 7), good).shape() == kt::Shape{8, 2});
  // Of no rows none can be taken, and none is: the zeros need none.
  CHECK(f(kt::Array::zeros({0, 2}), kt::Array::zeros({0}, kt::i32)).shape() == kt::Shape{6, 2});
  CHECK_THROWS_AS(f(kt::Array::full({2, 2}, 7), kt::Array::from({1, 2})), kt::ValueError);
}

TEST_CASE("rows of an unknown width: every width around that of a vector") {
  const auto x = kt::tensor("x", {kt::dim("n"), kt::dim("w")});
  const auto wide = kt::tensor("wide", {kt::dim("n"), kt::dim("w")}, kt::f64);
  Problem narrow{
      {x},
      {kt::sum(x, 1), kt::max(x, 1), kt::argmin(x, 1), kt::softmax(x, 1), kt::log_softmax(x * 2, 1),
       kt::sum(kt::square(x), 1), kt::mean(x, 1), kt::prod(x, 1)},
      {}};
  Problem doubles{{wide}, {kt::sum(wide, 1), kt::argmax(wide, 1), kt::softmax(wide, 1)}, {}};
  for (const std::int64_t w : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 130}) {
    for (const std::int64_t n : {1, 15, 16, 35}) {
      CAPTURE(w);
      CAPTURE(n);
      narrow.values = {compiled_test::random_array({n, w}, kt::f32, 1)};
      check_agrees(narrow, {5e-6, 1e-13});
      doubles.values = {compiled_test::random_array({n, w}, kt::f64, 2)};
      check_agrees(doubles);
    }
  }
}

TEST_CASE("joins: of many parts whose sizes nobody can order") {
  const kt::Tensor x = kt::vector("x");
  std::vector<kt::Tensor> parts;
  for (int k = 0; k < 30; ++k) parts.push_back(x(kt::slice(k, k + 3)) * k);
  kt::Tensor rolled = x;
  for (int k = 0; k < 5; ++k) {
    rolled = kt::concatenate({rolled(kt::slice(1, kt::end)), rolled(kt::slice(0, 1)) * 2});
  }
  Problem problem{{x}, {kt::concatenate(parts), rolled}, {}};
  for (const std::int64_t size : {0, 1, 2, 7, 40}) {
    CAPTURE(size);
    problem.values = {compiled_test::random_array({size}, kt::f32, 1)};
    check_agrees(problem);
  }
}

TEST_CASE("joins: sums and maxima of more rows than a run has") {
  const kt::Tensor x = kt::vector("x");
  std::vector<kt::Tensor> rows;
  for (int k = 0; k < 300; ++k) rows.push_back(x * k + 1);
  const kt::Tensor all = kt::stack(rows);
  const auto f = kt::function({x}, {kt::sum(all, 0), kt::max(all, 0), kt::sum(kt::square(all), 0)});
  for (const std::int64_t n : {0, 1, 3, 17, 100}) {
    const auto results = f(kt::Array::full({n}, 2));
    CHECK(kt::array_equal(results[0], kt::Array::full({n}, 2 * 299 * 150 + 300)));
    CHECK(kt::array_equal(results[1], kt::Array::full({n}, 2 * 299 + 1)));
    const double squares = 300.0 * (4.0 * 300 * 300 - 1) / 3;  // of the odd numbers
    CHECK(kt::all_close(results[2], kt::Array::full({n}, squares), 1e-6));
  }
}

TEST_CASE("joins and reductions by columns with their values checked") {
  const kt::FunctionOptions checked = {.check = kt::Check::values};
  const kt::Tensor m = kt::matrix("m"), d = kt::tensor("d", {8});
  const kt::Tensor centred = m - kt::mean(m, 0);
  const kt::Tensor deviation = kt::sqrt(kt::mean(kt::square(centred), 0) + 0.1);
  const std::vector<kt::Tensor> by_columns = {m * kt::sum(m, 0), centred / deviation, kt::var(m, 0),
                                              m * kt::prod(m, 0)};
  const std::vector<kt::Tensor> of_scalars = {kt::concatenate({d, kt::zeros({7}) + kt::sum(d)}),
                                              kt::pad(kt::broadcast_to(kt::sum(d), {7}), {{1, 1}}),
                                              kt::stack({d, kt::zeros({8}) + d[0]})};
  for (const std::int64_t rows : {1, 3, 300}) {
    const kt::Array values = compiled_test::random_array({rows, 20}, kt::f32, 2);
    const auto want = kt::function({m}, by_columns)(values);
    const auto have = kt::function({m}, by_columns, checked)(values);
    for (std::size_t k = 0; k < want.size(); ++k)
      CHECK(kt::all_close(have[k], want[k], 1e-5, 1e-5));
  }
  const kt::Array values = compiled_test::random_array({8}, kt::f32, 3);
  const auto want = kt::function({d}, of_scalars)(values);
  const auto have = kt::function({d}, of_scalars, checked)(values);
  for (std::size_t k = 0; k < want.size(); ++k) CHECK(kt::all_close(have[k], want[k], 1e-5, 1e-5));
  // The sum of the second column is not finite, though its elements are.
  const auto f = kt::function({m}, m * kt::sum(m, 0), checked);
  CHECK_THROWS_AS(f(kt::Array::from({{1.0F, 3e38F}, {1.0F, 3e38F}})), kt::NotFiniteError);
}

}  // namespace test_joins
