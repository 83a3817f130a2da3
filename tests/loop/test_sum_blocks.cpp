#include <doctest/doctest.h>

#include "compiler/loop/sum_blocks.h"
#include "tests/loop/kernel_tools.h"
#include "tests/tools/error_text.h"

using namespace loop_test;  // NOLINT: tests

using error_text::contains;

namespace {

const Variable i = fresh_variable("i");
const Variable k = fresh_variable("k");
const Variable sum = fresh_variable("sum", DType::f32);
const Variable top = fresh_variable("top", DType::f32);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");

// y[0] = 1 + the sum of x, and z[0] its maximum, by two loops.
Kernel whole_sum(const Dim& rows, const Dim& columns) {
  const BufferRef x = buffer(0, "x", rows * columns);
  const BufferRef y = buffer(1, "y", 1);
  const BufferRef z = buffer(2, "z", 1);
  const Expr value = load(x, variable(i) * size(columns) + variable(k));
  return kernel(
      {x}, {y, z},
      {Declare{sum, real(1, DType::f32)}, Declare{top, real(-100, DType::f32)},
       serial(i, size(rows),
              {serial(k, size(columns),
                      {Accumulate{sum, Op::add, value}, Accumulate{top, Op::max, value}})}),
       Store{y, integer(0), variable(sum)}, Store{z, integer(0), variable(top)}});
}

}  // namespace

TEST_CASE("sum_in_blocks: what is known to be short stays") {
  const auto stays = [](const Kernel& kernel) {
    return to_string(sum_in_blocks(kernel)) == to_string(kernel);
  };
  CHECK(stays(whole_sum(1, 512)));
  CHECK(stays(whole_sum(8, 64)));
  CHECK(!stays(whole_sum(1, 513)));
  CHECK(!stays(whole_sum(9, 64)));
  CHECK(!stays(whole_sum(n, 1)));
  CHECK(!stays(whole_sum(1, n)));
}

TEST_CASE("sum_in_blocks: blocks, groups of blocks, and their sums") {
  const std::string text = to_string(sum_in_blocks(whole_sum(n, 64)));
  // 8 rows of 64 are a block.
  CHECK(contains(text, "for block in 0..(floor_div(n + 4095, 4096))"));
  CHECK(contains(text, "let t1 = (block*512 + block_1)*8"));
  CHECK(contains(text, "for i in 0..min(n - t1, 8)"));
  CHECK(contains(text, "top max= "));
  CHECK(contains(text, "sum += sum_1"));
}

TEST_CASE("sum_in_blocks keep what loops compute") {
  for (const std::int64_t rows : {0, 1, 3, 511, 512, 513, 1025}) {
    for (const std::int64_t columns : {0, 1, 2, 65, 600}) {
      if (rows * columns > 70'000) continue;
      for (const bool known : {false, true}) {
        CAPTURE(rows);
        CAPTURE(columns);
        const Kernel before = whole_sum(known ? Dim(rows) : n, known ? Dim(columns) : m);
        const Kernel after = sum_in_blocks(before);
        verify(after);
        const Sizes sizes{{"n", rows}, {"m", columns}};
        const Contents contents = random_contents(before, sizes, 1);
        CHECK_MESSAGE(outcome(after, sizes, contents) == outcome(before, sizes, contents),
                      to_string(after));
      }
    }
  }
}

TEST_CASE("carry_sums: all blocks' sums, and none twice") {
  // sums[e] of block b is b + e + 1; what comes out is stored to y.
  const std::int64_t elements = 3;
  const Variable b = fresh_variable("b");
  const auto over = [&](const std::function<Block(const Expr&)>& body) {
    const Variable e = fresh_variable("e");
    return serial(e, integer(elements), body(variable(e)));
  };
  const BufferRef y = buffer(0, "y", elements);
  const auto array = [&](int id, const char* name) {
    return buffer(id, name, elements, DType::f32, Space::stack);
  };
  const CarriedSums arrays{array(1, "sums"), array(2, "groups"), array(3, "totals")};
  for (const std::int64_t count : {1, 2, 3, 511, 512, 513, 1024, 1025, 1300}) {
    const auto value = [&](const Expr& e) {
      return cast(variable(b) + e + integer(1), DType::f32);
    };
    Block body{over([&](const Expr& e) {
      return Block{Store{arrays.sums, e, load(arrays.sums, e) + value(e)}};
    })};
    body.push_back(carry_sums({arrays}, variable(b), integer(count), over));
    Block all{Allocate{arrays.sums}, Allocate{arrays.groups}, Allocate{arrays.totals}};
    all.push_back(
        over([&](const Expr& e) { return Block{Store{arrays.sums, e, real(0, DType::f32)}}; }));
    all.push_back(serial(b, integer(count), std::move(body)));
    all.push_back(over([&](const Expr& e) { return Block{Store{y, e, load(arrays.sums, e)}}; }));
    const Kernel carried = kernel({}, {y}, std::move(all));
    verify(carried);
    const Contents contents = random_contents(carried, {}, 1);
    const std::vector<float> got = values<float>(outcome(carried, {}, contents).at(0));
    for (std::int64_t e = 0; e < elements; ++e) {
      const std::int64_t expected = count * (count - 1) / 2 + count * (e + 1);
      CHECK(got.at(static_cast<std::size_t>(e)) == static_cast<float>(expected));
    }
  }
}
