// What stands before a block of a long line, against sums in their order.
#include "compiler/loop/gpu_earlier_blocks.h"

#include <doctest/doctest.h>

#include "tests/loop/kernel_tools.h"

namespace test_gpu_earlier_blocks {
namespace {

using namespace loop_test;  // NOLINT: tests

// Sums of all that stands before each chunk of one element, and, if `pairs`, the last element
// beside them.
void check_line(const Dim& chunks, std::int64_t count, bool pairs) {
  CAPTURE(count);
  CAPTURE(pairs);
  const BufferRef x = buffer(0, "x", chunks, DType::i32), y = buffer(1, "y", chunks, DType::i32),
                  z = buffer(2, "z", chunks, DType::i32);
  int id = 3;
  const NewBuffer new_buffer = [&](const std::string& name, DType dtype, const Dim& size,
                                   Space space) { return buffer(id++, name, size, dtype, space); };
  const std::vector<DType> dtypes(pairs ? 2 : 1, DType::i32);
  const EarlierBlocks earlier(chunks, chunks, dtypes, new_buffer);
  const Variable chunk = fresh_variable("chunk"), t = fresh_variable("t");
  const auto combine = [&](const EarlierBlocks::Values& first,
                           const EarlierBlocks::Values& behind) {
    EarlierBlocks::Values both{first[0] + behind[0]};
    if (pairs) both.push_back(behind[1]);
    return both;
  };
  const auto place = [](const Expr& at) { return at; };
  const Expr own = load(x, variable(chunk));
  const EarlierBlocks::Values values(dtypes.size(), own);
  For threads;
  threads.variable = t;
  threads.extent = integer(1);
  threads.kind = LoopKind::thread;
  const auto add = [&](Block more) {
    for (Stmt& s : more) threads.body.push_back(std::move(s));
  };
  add(earlier.tell(variable(chunk), place, values));
  add(earlier.find(variable(chunk), place, values, combine));
  const EarlierBlocks::Values before = earlier.before();
  const Expr is_behind = binary(Op::lt, integer(0), variable(chunk));
  const Expr none = integer(-1, DType::i32);
  const auto found = [&](std::size_t k) {
    return before.empty() ? none : select(is_behind, before[k], none);
  };
  threads.body.push_back(Store{y, variable(chunk), found(0)});
  threads.body.push_back(Store{z, variable(chunk), pairs ? found(1) : none});
  For blocks;
  blocks.variable = chunk;
  blocks.extent = size(chunks);
  blocks.kind = LoopKind::block;
  blocks.width = 32;
  blocks.body = earlier.buffers();
  blocks.body.push_back(statement(std::move(threads)));
  const Kernel one = kernel({x}, {y, z}, {statement(std::move(blocks))});
  verify(one);

  const auto n = static_cast<std::size_t>(count);
  std::vector<std::int32_t> in(n), sums(n), lasts(n);
  for (std::size_t k = 0; k < n; ++k) in[k] = static_cast<std::int32_t>(k * 7 % 23);
  Memory memory;
  memory.buffers = {{0, {in.data(), count}}, {1, {sums.data(), count}}, {2, {lasts.data(), count}}};
  memory.size_of = [&](const DimAtom&) { return count; };
  REQUIRE(!interpret(one, memory));
  std::int32_t sum = 0;
  bool is_right = true;
  for (std::size_t k = 0; k < n; ++k) {
    is_right = is_right && sums[k] == (k == 0 ? -1 : sum);
    is_right = is_right && lasts[k] == (k == 0 || !pairs ? -1 : in[k - 1]);
    sum += in[k];
  }
  CHECK(is_right);
}

TEST_CASE("earlier blocks: sums of all that stands before, of short lines and long ones") {
  const Dim n = Dim::named("n");
  for (const bool pairs : {false, true}) {
    for (const std::int64_t count : {1, 2, 16, 17, 256, 257, 300}) {
      check_line(Dim(count), count, pairs);
      check_line(n, count, pairs);
    }
  }
  // More groups of 4096 than are gone through at a time.
  check_line(n, 70000, false);
  check_line(n, 45000, true);
}

}  // namespace
}  // namespace test_gpu_earlier_blocks
