#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Expr vi = variable(i);
const Dim n = Dim::named("n");

}  // namespace

TEST_CASE("loop interpreter: a gather with its check") {
  const BufferRef table = buffer(0, "table", n);
  const BufferRef ids = buffer(1, "ids", 3, DType::i64);
  const BufferRef y = buffer(2, "y", 3);
  const Kernel k = kernel(
      {table, ids}, {y},
      {serial(i, integer(3), {Store{y, vi, load(table, check_index(load(ids, vi), size(n), 5))}})});
  Contents contents{{0, bytes<float>({1, 2, 3, 4})},
                    {1, bytes<std::int64_t>({0, -1, 2})},
                    {2, bytes<float>({0, 0, 0})}};
  CHECK(!run(k, {{"n", 4}}, contents));
  CHECK(values<float>(contents[2]) == std::vector<float>{1, 4, 3});
  contents[1] = bytes<std::int64_t>({3, -5, 0});
  const std::optional<IndexFault> fault = run(k, {{"n", 4}}, contents);
  REQUIRE(fault.has_value());
  CHECK(fault->site == 5);
  CHECK(fault->index == -5);
  CHECK(fault->size == 4);
}

TEST_CASE("loop interpreter: an access outside a buffer names everything") {
  const BufferRef a = buffer(0, "a", n);
  const BufferRef y = buffer(1, "y", n);
  const Kernel k = kernel({a}, {y}, {serial(i, size(n), {Store{y, vi, load(a, vi + integer(1))}})});
  Contents contents{{0, bytes<float>({1, 2, 3})}, {1, bytes<float>({0, 0, 0})}};
  std::string message;
  try {
    run(k, {{"n", 3}}, contents);
  } catch (const InternalError& error) {
    message = error.what();
  }
  CHECK(message.find("load outside buffer 'a': index 3, size 3") != std::string::npos);
  CHECK(message.find("kernel k(in a: f32[n]") != std::string::npos);
}

TEST_CASE("loop interpreter: arg-maximum takes the lowest position, and the first NaN") {
  const BufferRef a = buffer(0, "a", n);
  const BufferRef y = buffer(1, "y", 1, DType::i64);
  const Variable best = fresh_variable("best", DType::f32);
  const Variable position = fresh_variable("position");
  const float nan_value = std::numeric_limits<float>::quiet_NaN();
  const auto winner = [&](const std::vector<float>& data, bool maximum) {
    const double worst = maximum ? -INFINITY : INFINITY;
    const Kernel k =
        kernel({a}, {y},
               {Declare{best, real(worst, DType::f32)},
                Declare{position, integer(std::numeric_limits<std::int64_t>::max())},
                serial(i, size(n), {AccumulateArg{best, position, maximum, load(a, vi), vi}}),
                Store{y, integer(0), variable(position)}});
    Contents contents{{0, bytes(data)}, {1, bytes<std::int64_t>({-1})}};
    CHECK(!run(k, {{"n", static_cast<std::int64_t>(data.size())}}, contents));
    return values<std::int64_t>(contents[1])[0];
  };
  CHECK(winner({3, 5, 5, 1}, true) == 1);
  CHECK(winner({3, 1, 5, 1}, false) == 1);
  CHECK(winner({3, nan_value, 5, nan_value}, true) == 1);
  CHECK(winner({-INFINITY, -INFINITY}, true) == 0);
}

TEST_CASE("loop interpreter: branches, registers and scratch") {
  const BufferRef y = buffer(0, "y", 4);
  const BufferRef tile = buffer(1, "tile", 4, DType::f32, Space::registers);
  const BufferRef row = buffer(2, "row", n, DType::f32, Space::worker);
  For fill;
  fill.variable = i;
  fill.extent = integer(4);
  fill.kind = LoopKind::unroll;
  fill.body = {Store{tile, vi, cast(vi, DType::f32)}, Store{row, vi, load(tile, vi)}};
  Kernel k = kernel({}, {y},
                    {Allocate{tile}, statement(fill),
                     serial(i, integer(4),
                            {statement(If{binary(Op::lt, vi, integer(2)),
                                          {Store{y, vi, load(tile, vi) + load(row, vi)}},
                                          {Store{y, vi, real(-1, DType::f32)}}})})});
  k.scratch = {row};
  Contents contents{{0, bytes<float>({9, 9, 9, 9})}};
  CHECK(!run(k, {{"n", 4}}, contents));
  CHECK(values<float>(contents[0]) == std::vector<float>{0, 2, -1, -1});
}
