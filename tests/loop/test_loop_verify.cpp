#include <doctest/doctest.h>

#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Variable sum = fresh_variable("sum", DType::f32);
const Expr vi = variable(i);
const Expr vj = variable(j);
const Dim n = Dim::named("n");
const BufferRef a = buffer(0, "a", n);
const BufferRef y = buffer(1, "y", n);
const Expr zero = real(0, DType::f32);

Kernel with_body(Block body) { return kernel({a}, {y}, std::move(body)); }

Stmt loop_of(LoopKind kind, const Expr& extent, Block body, const Variable& v = i) {
  For loop;
  loop.variable = v;
  loop.extent = extent;
  loop.kind = kind;
  loop.width = kind == LoopKind::vector ? 8 : 1;
  loop.body = std::move(body);
  return statement(std::move(loop));
}

// The fault that verify finds, without the kernel's text, which must follow it.
std::string fault(const Kernel& kernel) {
  try {
    verify(kernel);
  } catch (const InternalError& error) {
    const std::string text = error.what();
    const std::string prefix = "loop IR: kernel 'k': ";
    const std::size_t end = text.find('\n');
    REQUIRE(text.rfind(prefix, 0) == 0);
    CHECK(text.substr(end + 1) == to_string(kernel));
    return text.substr(prefix.size(), end - prefix.size());
  }
  return "none";
}

}  // namespace

TEST_CASE("loop verify: a sound kernel passes") {
  const BufferRef tile = buffer(2, "tile", 16, DType::f32, Space::registers);
  For lanes;
  lanes.variable = j;
  lanes.extent = integer(16);
  lanes.kind = LoopKind::vector;
  lanes.width = 8;
  lanes.unrolled = 16;
  lanes.body = {Store{tile, vj, zero}};
  CHECK(fault(with_body({Allocate{tile}, statement(lanes),
                         loop_of(LoopKind::parallel, size(n),
                                 {Declare{sum, zero},
                                  loop_of(LoopKind::vector, size(n),
                                          {Accumulate{sum, Op::add, load(a, vj)}}, j),
                                  Store{y, vi, variable(sum)}})})) == "none");
  // Loops side by side may share a variable.
  CHECK(fault(with_body({serial(i, size(n), {Store{y, vi, zero}}),
                         serial(i, size(n), {Store{y, vi, load(a, vi)}})})) == "none");
}

TEST_CASE("loop verify: variables") {
  CHECK(fault(with_body({Store{y, vi, zero}})) ==
        "the store to 'y' reads 'i', which is not declared here");
  CHECK(fault(with_body({serial(i, size(n), {Store{y, vi, zero}}), Store{y, vi, zero}})) ==
        "the store to 'y' reads 'i', which is not declared here");
  CHECK(fault(with_body({serial(i, size(n), {serial(i, size(n), {Store{y, vi, zero}})})})) ==
        "variable 'i' is declared where its id is in use");
  CHECK(fault(with_body({Declare{sum, integer(0)}})) ==
        "variable 'sum' is f32, its initial value is i64");
  const Variable other{sum.id, DType::f64, "sum"};
  CHECK(fault(with_body(
            {Declare{sum, zero}, Store{y, integer(0), cast(variable(other), DType::f32)}})) ==
        "the store to 'y' reads 'sum' as f64, it is declared as f32");
}

TEST_CASE("loop verify: buffers") {
  const BufferRef strange = buffer(9, "strange", n);
  CHECK(fault(with_body({Store{a, integer(0), zero}})) ==
        "the store to 'a': the buffer is read-only");
  CHECK(fault(with_body({Store{y, integer(0), load(strange, integer(0))}})) ==
        "the store to 'y' uses buffer 'strange', which the kernel does not have here");
  CHECK(fault(with_body({Store{y, integer(0), integer(1)}})) ==
        "the store to 'y': the value is i64, the buffer f32");
  const BufferRef twin = buffer(1, "twin", n);
  CHECK(fault(kernel({twin}, {y}, {})) == "input 'twin' has the id 1 of another buffer");
  const BufferRef registers = buffer(5, "r", n, DType::f32, Space::registers);
  CHECK(fault(with_body({Allocate{registers}})) ==
        "register buffer 'r' has the size n, which is not constant");
  const BufferRef tile = buffer(6, "tile", 8, DType::f32, Space::registers);
  CHECK(fault(with_body({Allocate{tile}, serial(i, integer(8), {Store{tile, vi, zero}})})) ==
        "the store to 'tile': the index i of register buffer 'tile' is not constant after "
        "unrolling");
  CHECK(fault(with_body({Allocate{strange}})) == "buffer 'strange' is allocated in global space");
  // Gone at the end of its block.
  CHECK(fault(with_body({serial(i, size(n), {Allocate{tile}}), Store{tile, integer(0), zero}})) ==
        "the store to 'tile' uses buffer 'tile', which the kernel does not have here");
}

TEST_CASE("loop verify: loops") {
  CHECK(fault(with_body({serial(i, size(n), {loop_of(LoopKind::parallel, size(n), {}, j)})})) ==
        "none");
  CHECK(fault(with_body({serial(
            i, size(n), {Store{y, vi, zero}, loop_of(LoopKind::parallel, size(n), {}, j)})})) ==
        "the loop over 'j' is parallel but neither outermost nor alone in serial loops");
  CHECK(fault(with_body(
            {loop_of(LoopKind::vector, size(n), {loop_of(LoopKind::parallel, size(n), {}, j)})})) ==
        "the loop over 'j' is parallel but neither outermost nor alone in serial loops");
  CHECK(fault(with_body({loop_of(LoopKind::unroll, size(n), {})})) ==
        "the loop over 'i' is unrolled but its extent n is not constant");
  CHECK(fault(with_body(
            {loop_of(LoopKind::vector, size(n), {loop_of(LoopKind::vector, size(n), {}, j)})})) ==
        "the loop over 'j' is a vector loop inside another");
  CHECK(fault(with_body({loop_of(LoopKind::vector, size(n), {serial(j, vi, {})})})) ==
        "the extent i differs between the lanes of the vector loop over 'i'");
  CHECK(fault(with_body({loop_of(LoopKind::vector, size(n),
                                 {statement(If{binary(Op::lt, vi, integer(3)), {}, {}})})})) ==
        "the condition i < 3 differs between the lanes of the vector loop over 'i'");
  CHECK(fault(with_body({serial(i, zero, {})})) == "the loop over 'i': the extent is f32");
  For short_of;
  short_of.variable = i;
  short_of.extent = integer(16);
  short_of.kind = LoopKind::vector;
  short_of.width = 8;
  short_of.unrolled = 8;
  CHECK(fault(with_body({statement(short_of)})) ==
        "the loop over 'i' is written out for 8 of its 16 iterations");
  For odd;
  odd.variable = i;
  odd.extent = size(n);
  odd.kind = LoopKind::vector;
  odd.width = 12;
  CHECK(fault(with_body({statement(odd)})) ==
        "the loop over 'i' has 12 lanes and 1 copies; both must be powers of two");
}

TEST_CASE("loop verify: accumulation") {
  const Expr element = load(a, vi);
  CHECK(fault(with_body({serial(i, size(n), {Accumulate{sum, Op::add, element}})})) ==
        "'sum' is accumulated but not declared here");
  CHECK(fault(with_body({serial(i, size(n), {Accumulate{i, Op::add, integer(1)}})})) ==
        "'i' is accumulated but is a loop's variable");
  CHECK(fault(with_body(
            {Declare{sum, zero}, serial(i, size(n), {Accumulate{sum, Op::sub, element}})})) ==
        "the accumulation of 'sum' is by sub, which is not associative");
  CHECK(fault(with_body(
            {Declare{sum, zero}, Accumulate{sum, Op::logical_or, boolean_constant(true)}})) ==
        "the accumulation of 'sum' by or is not defined on f32");
  CHECK(fault(with_body({Declare{sum, zero}, Accumulate{sum, Op::add, integer(1)}})) ==
        "the accumulation of 'sum': the value is i64, the variable f32");
  CHECK(fault(with_body({Declare{sum, zero}, loop_of(LoopKind::parallel, size(n),
                                                     {Accumulate{sum, Op::add, element}})})) ==
        "'sum' is accumulated across the iterations of a parallel loop");
  // A running sum needs the order of the iterations.
  CHECK(fault(with_body({Declare{sum, zero}, loop_of(LoopKind::vector, size(n),
                                                     {Accumulate{sum, Op::add, element},
                                                      Store{y, vi, variable(sum)}})})) ==
        "the store to 'y' reads 'sum' inside the vector loop that accumulates it");
}

TEST_CASE("loop verify: null parts are named") {
  CHECK(fault(with_body({Store{y, nullptr, zero}})) == "the store to 'y' is null");
  Kernel no_work = with_body({});
  no_work.work = nullptr;
  CHECK(fault(no_work) == "the work is null");
}
