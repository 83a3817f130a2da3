// The longest chain of dependent operations of a kernel, in cycles.
#include <doctest/doctest.h>

#include "compiler/loop/chain.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace test_chain {
namespace {

const Variable i = fresh_variable("i");
const Variable step = fresh_variable("step");
const Variable sum = fresh_variable("sum", DType::f32);

const BufferRef x = buffer(0, "x", 1024);
const BufferRef y = buffer(1, "y", 1024);
const BufferRef s = buffer(2, "s", 8);

For threads(const Expr& extent, Block body) {
  For loop;
  loop.kind = LoopKind::thread;
  loop.variable = i;
  loop.extent = extent;
  loop.body = std::move(body);
  return loop;
}

double cycles(Block body, bool is_bound, double barrier = 20) {
  For blocks;
  blocks.kind = LoopKind::block;
  blocks.variable = fresh_variable("block");
  blocks.extent = integer(1);
  blocks.width = 32;
  blocks.body = std::move(body);
  ChainCosts costs;
  costs.is_bound = is_bound;
  costs.load_global = is_bound ? 0 : 40;
  costs.barrier = barrier;
  costs.issue = is_bound ? 0 : 1;
  return chain_of(kernel({x}, {y, s}, {statement(std::move(blocks))}), costs, lookup({}));
}

// s[k] = a * s[k] + x[step], for all steps.
Block steps(std::int64_t count, Block further = {}) {
  const Expr before = load(s, variable(i));
  Block body{statement(
      threads(integer(8),
              {Store{s, variable(i), before * real(0.5, DType::f32) + load(x, variable(step))}}))};
  for (Stmt& one : further) body.push_back(std::move(one));
  return {serial(step, integer(count), std::move(body))};
}

}  // namespace

TEST_CASE("chain_of: steps take what one waits for of the one before") {
  // A product that is added is one operation.
  CHECK(cycles(steps(1), true) == 4);
  CHECK(cycles(steps(50), true) == 200);
  CHECK(cycles(steps(1000), true) == doctest::Approx(4000));
  // Elements that do not wait for each other are there together, however many.
  const Block apart{
      serial(step, integer(1000),
             {Store{y, variable(step), load(x, variable(step)) + real(1, DType::f32)}})};
  CHECK(cycles(apart, true) == doctest::Approx(4));
  // As the kernel says it: the state's way through memory, and barriers.
  CHECK(cycles(steps(1000), false) >= 1000 * (4 + 40));
  CHECK(cycles(steps(1000, {Barrier{}}), false) >= 1000 * (4 + 40 + 20));
  CHECK(cycles(steps(1000, {Barrier{}}), true) == doctest::Approx(4000));
}

TEST_CASE("chain_of: a bound takes sums for trees, and functions for the device's") {
  const auto dot = [](std::int64_t length) {
    return Block{
        Declare{sum, real(0, DType::f32)},
        serial(step, integer(length),
               {Accumulate{sum, Op::add, load(x, variable(step)) * load(x, variable(step))}}),
        Store{y, integer(0), variable(sum)}};
  };
  CHECK(cycles(dot(1), true) == 4);
  CHECK(cycles(dot(64), true) == doctest::Approx(6 * 4));
  CHECK(cycles(dot(64), false) >= 64 * 4);
  // A sum in an array's element is one too, a value that changes in another way is not.
  const Expr at = load(y, integer(0)), value = load(x, variable(step));
  CHECK(cycles({serial(step, integer(32), {Store{y, integer(0), at + value}})}, true) <= 6 * 4);
  CHECK(cycles({serial(step, integer(32), {Store{y, integer(0), value - at}})}, true) == 32 * 4);
  CHECK(cycles({serial(step, integer(32), {Store{y, integer(0), unary(Op::sin, at)}})}, true) ==
        32 * 20);
  CHECK(cycles({serial(step, integer(32), {Store{y, integer(0), unary(Op::sin, at)}})}, false) >
        32 * 40);
}

TEST_CASE("chain_of: loops that do not run take no time") {
  CHECK(cycles(steps(0), true) == 0);
  CHECK(cycles({statement(If{binary(Op::lt, integer(2), size(Dim(1))), steps(3), {}})}, true) == 0);
}

}  // namespace test_chain
