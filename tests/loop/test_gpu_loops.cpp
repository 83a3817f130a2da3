// The GPU form of the loop IR: what verify demands, how it prints, how the interpreter runs it.
#include <doctest/doctest.h>

#include "compiler/loop/gpu_schedule.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable b = fresh_variable("b");
const Variable t = fresh_variable("t");
const Variable sum = fresh_variable("sum", DType::f32);
const Dim n = Dim::named("n");
const BufferRef x = buffer(0, "x", n);
const BufferRef y = buffer(1, "y", n);
const Expr zero = real(0, DType::f32);

Stmt loop_of(LoopKind kind, const Variable& v, const Expr& extent, Block body, int width = 1) {
  For loop;
  loop.variable = v;
  loop.extent = extent;
  loop.kind = kind;
  loop.width = width;
  loop.body = std::move(body);
  return statement(std::move(loop));
}

Kernel blocks(Block body, int width = 32) {
  return kernel({x}, {y}, {loop_of(LoopKind::block, b, integer(1), std::move(body), width)});
}

Stmt threads(Block body) { return loop_of(LoopKind::thread, t, size(n), std::move(body)); }

std::string fault(const Kernel& kernel) {
  try {
    verify(kernel);
  } catch (const InternalError& error) {
    const std::string text = error.what();
    const std::string prefix = "loop IR: kernel 'k': ";
    REQUIRE(text.starts_with(prefix));
    return text.substr(prefix.size(), text.find('\n') - prefix.size());
  }
  return "none";
}

const Block copy{Store{y, variable(t), load(x, variable(t))}};

}  // namespace

TEST_CASE("GPU loops: a sound kernel passes, and prints") {
  const BufferRef row = buffer(2, "row", 32, DType::f32, Space::shared);
  const Kernel sound =
      blocks({Allocate{row}, Declare{sum, zero},
              threads({Accumulate{sum, Op::add, load(x, variable(t))}}), Barrier{}, threads(copy)});
  CHECK(fault(sound) == "none");
  CHECK(to_string(sound) ==
        "kernel k(in x: f32[n], out y: f32[n]) work 1 {\n"
        "  block<32> for b in 0..1 {\n"
        "    shared row: f32[32]\n"
        "    var sum: f32 = 0.0\n"
        "    thread for t in 0..n {\n"
        "      sum += x[t]\n"
        "    }\n"
        "    barrier\n"
        "    thread for t in 0..n {\n"
        "      y[t] = x[t]\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("GPU loops: what verify finds") {
  const Kernel beside = kernel({x}, {y}, {Declare{sum, zero}, blocks({threads(copy)}).body[0]});
  CHECK(fault(beside) == "the loop over 'b' is a block loop but not all of the kernel");
  CHECK(fault(blocks({threads(copy)}, 48)) ==
        "the loop over 'b' has 48 threads; expected a power of two up to 32, or a multiple of 32 "
        "up to 1024");
  CHECK(fault(kernel({x}, {y}, {threads(copy)})) ==
        "the loop over 't' is a thread loop outside a block loop or inside another");
  CHECK(fault(blocks({threads({Barrier{}})})) ==
        "a barrier is outside a block loop or inside a thread loop");
  const BufferRef row = buffer(2, "row", n, DType::f32, Space::shared);
  CHECK(fault(blocks({Allocate{row}})) ==
        "shared buffer 'row' has the size n, which is not constant");
  const BufferRef small = buffer(2, "small", 4, DType::f32, Space::shared);
  CHECK(fault(blocks({threads({Allocate{small}})})) ==
        "shared buffer 'small' is allocated outside a block loop or inside a thread loop");
  CHECK(fault(blocks({Declare{sum, zero}, threads({Accumulate{sum, Op::add, variable(sum)}})})) ==
        "the accumulation of 'sum' reads 'sum' inside the thread loop that accumulates it");
  const BufferRef own = buffer(2, "own", 4, DType::f32, Space::registers);
  CHECK(fault(blocks({Allocate{own}, Store{own, integer(0), zero}})) ==
        "the store to 'own': register buffer 'own' is used outside a thread loop");
}

TEST_CASE("GPU loops: what blocks wait for, and what they count") {
  const BufferRef told = buffer(2, "told", n, DType::f32, Space::awaited),
                  own = buffer(3, "own", 1, DType::f32, Space::registers),
                  counts = buffer(4, "counts", 4, DType::i32, Space::counters);
  const Block allocate{Allocate{told}, Allocate{own}, Allocate{counts}};
  const auto with = [&](const Stmt& s) {
    Block body = allocate;
    body.push_back(s);
    return blocks(std::move(body));
  };
  const Expr before = load(told, variable(b), binary(Op::lt, integer(0), variable(b)));
  const Kernel sound =
      with(threads({Store{own, integer(0), before}, Store{told, variable(t), load(own, integer(0))},
                    Store{counts, integer(2), integer(1, DType::i32)}}));
  CHECK(fault(sound) == "none");
  const std::string text = to_string(sound);
  for (const char* line :
       {"    awaited told: f32[n]\n", "    counters counts: i32[4]\n", "      counts[2] += 1\n"}) {
    CAPTURE(line);
    CHECK(text.find(line) != std::string::npos);
  }
  CHECK(fault(with(threads({Store{y, variable(t), before}}))) ==
        "the store to 'y' loads from an awaited buffer; such a load is stored to registers");
  CHECK(fault(with(Store{told, integer(0), zero})) ==
        "the store to 'told' is outside a thread loop");
  CHECK(fault(blocks({threads({Allocate{told}})})) ==
        "awaited buffer 'told' is allocated outside a block loop or inside a thread loop");
}

TEST_CASE("GPU loops: schedules of elements, rows and one thread") {
  const auto nest = [](Block body) {
    return kernel({x}, {y}, {serial(t, size(n), std::move(body))});
  };
  const std::string elements = to_string(schedule_for_gpu(nest(copy)));
  CHECK(elements.find("block<64> for b in 0..(floor_div(n + 255, 256))") != std::string::npos);
  // What an iteration reads another has written: one thread keeps the order.
  const Kernel chain = nest({Store{y, variable(t) + integer(1), load(y, variable(t))}});
  CHECK(to_string(schedule_for_gpu(chain)).find("block<32> for b in 0..1") != std::string::npos);
  Kernel total = nest({Accumulate{sum, Op::add, load(x, variable(t))}});
  total.body.insert(total.body.begin(), Declare{sum, zero});
  total.body.push_back(Store{y, integer(0), variable(sum)});
  const std::string rows = to_string(schedule_for_gpu(total));
  CHECK(rows.find("thread for t in 0..n {\n      sum += x[t]") != std::string::npos);
}
