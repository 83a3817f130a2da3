#include <doctest/doctest.h>

#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"
#include "tests/loop/kernel_tools.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"

using namespace loop_test;  // NOLINT: tests

using error_text::contains;

namespace {

const Variable h = fresh_variable("h");
const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Expr vh = variable(h);
const Expr vi = variable(i);
const Expr vj = variable(j);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");

enum class What : std::uint8_t {
  transpose,  // y[i, j] = x[j, i]
  with_row,   // y[i, j] = z[i, j] - x[j, i] * c[j]
  two,        // y[i, j] = x[j, i] + z[j, i] * c[i], w[i, j] = x[j, i]
  middle      // y[i, h, j] = x[h, j, i]
};

Kernel make(What what, const Dim& rows, const Dim& columns) {
  const Dim count = what == What::middle ? rows * columns * 3 : rows * columns;
  const BufferRef x = buffer(0, "x", count);
  const BufferRef z = buffer(1, "z", count);
  const BufferRef c = buffer(2, "c", what == What::with_row ? columns : rows);
  const BufferRef y = buffer(3, "y", count);
  const BufferRef w = buffer(4, "w", count);
  const Expr across = load(x, vj * size(rows) + vi);
  const Expr at = vi * size(columns) + vj;
  switch (what) {
    case What::transpose:
      return kernel({x}, {y},
                    {serial(i, size(rows), {serial(j, size(columns), {Store{y, at, across}})})});
    case What::with_row:
      return kernel(
          {x, z, c}, {y},
          {serial(i, size(rows),
                  {serial(j, size(columns), {Store{y, at, load(z, at) - across * load(c, vj)}})})});
    case What::two:
      return kernel(
          {x, z, c}, {y, w},
          {serial(i, size(rows),
                  {serial(j, size(columns),
                          {Store{y, at, across + load(z, vj * size(rows) + vi) * load(c, vi)},
                           Store{w, at, across}})})});
    case What::middle:
      break;
  }
  const Expr from = (vh * size(columns) + vj) * size(rows) + vi;
  const Expr to = (vi * integer(3) + vh) * size(columns) + vj;
  return kernel(
      {x}, {y},
      {serial(i, size(rows),
              {serial(h, integer(3), {serial(j, size(columns), {Store{y, to, load(x, from)}})})})});
}

Kernel tiled(const Kernel& kernel, int lanes_bytes) {
  int next = 100;
  const NewBuffer new_buffer = [&](const std::string& name, DType dtype, const Dim& count,
                                   Space space) {
    return buffer(next++, name, count, dtype, space);
  };
  Kernel result = parallelize(vectorize(
      tile_transposed(collapse_loops(simplify(kernel)), lanes_bytes, new_buffer), lanes_bytes));
  verify(result);
  return result;
}

}  // namespace

TEST_CASE("tile_transposed: squares change places in registers") {
  const std::string plain = to_string(tiled(make(What::transpose, n, m), 64));
  CHECK(contains(plain, "vector<16> for a in 0..16 {"));
  CHECK(contains(plain, "unroll for b in 0..16 {"));
  CHECK(!contains(plain, "stack"));
  // An operand that lies along the results meets a copy of a tile of the other.
  const std::string mixed = to_string(tiled(make(What::with_row, n, m), 64));
  CHECK(contains(mixed, "stack tile: f32[1024]"));
  // Sizes that are multiples of a tile need no code for parts of one.
  CHECK(!contains(to_string(tiled(make(What::transpose, 64, 96), 64)), "if "));
}

TEST_CASE("tile_transposed: short axes and results that lie across stay") {
  const auto stays = [](const Kernel& kernel) {
    return to_string(tile_transposed(kernel, 64, [](const auto&, auto, const auto&, auto) {
             FAIL("a new buffer");
             return nullptr;
           })) == to_string(kernel);
  };
  CHECK(stays(make(What::transpose, n, 3)));
  CHECK(stays(make(What::with_row, 3, m)));
  const BufferRef x = buffer(0, "x", n * m);
  const BufferRef y = buffer(1, "y", n * m);
  const Expr at = vi * size(m) + vj;
  CHECK(stays(
      kernel({x}, {y}, {serial(i, size(n), {serial(j, size(m), {Store{y, at, load(x, at)}})})})));
  // In place: the element across may have changed.
  CHECK(stays(kernel(
      {}, {y},
      {serial(i, size(n), {serial(j, size(m), {Store{y, at, load(y, vj * size(n) + vi)}})})})));
}

TEST_CASE("tile_transposed: squares are no larger than an axis that is known to be short") {
  const auto tiled = [](const Kernel& kernel) {
    return to_string(tile_transposed(
        kernel, 64, [](const std::string& name, DType dtype, const Dim& size, Space space) {
          return buffer(9, name, size, dtype, space);
        }));
  };
  CHECK(tiled(make(What::transpose, n, 8)).find("vector<8> for") != std::string::npos);
  CHECK(tiled(make(What::transpose, 5, m)).find("vector<4> for") != std::string::npos);
  CHECK(tiled(make(What::transpose, 30, m)).find("vector<16> for") != std::string::npos);
}

TEST_CASE("tile_transposed keeps what nests compute") {
  for (const What what : {What::transpose, What::with_row, What::two, What::middle}) {
    for (const std::int64_t rows : {0, 1, 3, 16, 17, 32, 33, 70}) {
      for (const std::int64_t columns : {0, 1, 5, 16, 31, 32, 64, 67}) {
        for (const bool known : {false, true}) {
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(known);
          const Kernel before = make(what, known ? Dim(rows) : n, known ? Dim(columns) : m);
          const Kernel after = tiled(before, rows % 2 == 0 ? 64 : 16);
          const Sizes sizes{{"n", rows}, {"m", columns}};
          const Contents contents = random_contents(before, sizes, 1);
          const Contents expected = outcome(before, sizes, contents);
          CHECK_MESSAGE(outcome(after, sizes, contents) == expected, to_string(after));
          CHECK_MESSAGE(outcome(backwards(after), sizes, contents) == expected, to_string(after));
        }
      }
    }
  }
}

TEST_CASE("tile_transposed: loops around that have been merged keep their own variables") {
  const Tensor known = kroton::tensor("known", {4, 4});
  const Dim size = kroton::dim("size");
  const Tensor free = kroton::tensor("free", {size, size}, kroton::f64);
  for (const std::int64_t m : {1, 4, 17, 33}) {
    compiled_test::check_agrees(
        {{known, free},
         {kroton::broadcast_to(kroton::transpose(known), {2, 3, 4, 4}),
          kroton::broadcast_to(kroton::transpose(free), {2, size, size, size})},
         {compiled_test::random_array({4, 4}, kroton::f32, 1),
          compiled_test::random_array({m, m}, kroton::f64, 2)}});
  }
}
