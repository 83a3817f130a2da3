#include "compiler/loop/schedule.h"

#include <doctest/doctest.h>

#include "compiler/loop/simplify.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

constexpr int lanes_bytes = 64;

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Variable k = fresh_variable("k");
const Variable sum = fresh_variable("sum", DType::f32);
const Expr vi = variable(i);
const Expr vj = variable(j);
const Expr vk = variable(k);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");
const BufferRef a = buffer(0, "a", n* m * 4);
const BufferRef b = buffer(1, "b", m);
const BufferRef y = buffer(2, "y", n* m * 4);
const BufferRef ids = buffer(3, "ids", n, DType::i64);
const Expr zero = real(0, DType::f32);

Kernel with_body(Block body) { return kernel({a, b, ids}, {y}, std::move(body)); }

// The loop headers of the kernel, outermost first: "parallel i, vector<16 x2> j".
std::string loops(const Kernel& kernel) {
  verify(kernel);
  std::string text;
  visit_statements(kernel.body, [&](const Stmt& s) {
    const For* loop = as_for(s);
    if (loop == nullptr) return;
    if (!text.empty()) text += ", ";
    if (loop->kind == LoopKind::parallel) text += "parallel ";
    if (loop->kind == LoopKind::vector) {
      text +=
          "vector<" + std::to_string(loop->width) + " x" + std::to_string(loop->interleave) + "> ";
    }
    text += loop->variable.name;
  });
  return text;
}

std::string vectorized(Block body, int bytes = lanes_bytes) {
  return loops(vectorize(with_body(std::move(body)), bytes));
}

std::string parallelized(Block body) { return loops(parallelize(with_body(std::move(body)))); }

Block map_1d(const Expr& value, const Expr& extent = size(n)) {
  return {serial(i, extent, {Store{y, vi, value}})};
}

}  // namespace

TEST_CASE("vectorize: elementwise loops take the target's width") {
  const Expr x = load(a, vi);
  CHECK(vectorized(map_1d(x + x)) == "vector<16 x2> i");
  CHECK(vectorized(map_1d(x + x), 32) == "vector<8 x2> i");
  CHECK(vectorized(map_1d(zero)) == "vector<16 x2> i");
  Expr deep = x;
  for (int step = 0; step < 39; ++step) deep = unary(Op::sqrt, deep + x);
  CHECK(vectorized(map_1d(deep)) == "vector<16 x2> i");
  CHECK(vectorized(map_1d(unary(Op::sqrt, deep + x))) == "vector<16 x1> i");
  // The widest element decides, index arithmetic and values that all lanes share aside.
  CHECK(vectorized(map_1d(cast(cast(x, DType::f64) * real(0.1, DType::f64), DType::f32))) ==
        "vector<8 x2> i");
  CHECK(vectorized(map_1d(cast(load(ids, vi), DType::f32))) == "vector<8 x2> i");
  CHECK(vectorized(map_1d(x * cast(load(ids, integer(0)), DType::f32))) == "vector<16 x2> i");
  CHECK(vectorized(map_1d(x + cast(vi, DType::f32))) == "vector<16 x2> i");
}

TEST_CASE("vectorize: small constant extents") {
  const Expr x = load(a, vi);
  CHECK(vectorized(map_1d(x, integer(3))) == "i");
  CHECK(vectorized(map_1d(x, integer(4))) == "vector<4 x1> i");
  CHECK(vectorized(map_1d(x, integer(10))) == "vector<16 x1> i");
  CHECK(vectorized(map_1d(x, integer(100))) == "vector<16 x2> i");
}

TEST_CASE("vectorize: the innermost loop, with broadcasts") {
  CHECK(vectorized(
            {serial(i, size(n),
                    {serial(j, size(m),
                            {Store{y, vi * size(m) + vj,
                                   load(a, vi * size(m) + vj) + load(b, vj) + load(a, vi)}})})}) ==
        "i, vector<16 x2> j");
}

TEST_CASE("vectorize: accumulations along the row, or along the column by the loop around") {
  const auto reduce = [&](const Expr& index, Op op = Op::add) {
    return vectorized(
        {serial(i, size(n),
                {Declare{sum, zero}, serial(j, size(m), {Accumulate{sum, op, load(a, index)}}),
                 Store{y, vi, variable(sum)}})});
  };
  CHECK(reduce(vi * size(m) + vj) == "i, vector<16 x4> j");
  CHECK(reduce(vi * size(m) + vj, Op::max) == "i, vector<16 x4> j");
  CHECK(reduce(vj * size(n) + vi) == "vector<16 x1> i, j");
  // A vector of positions beside the maximum.
  const Variable position = fresh_variable("position");
  CHECK(vectorized(
            {serial(i, size(n),
                    {Declare{sum, zero}, Declare{position, integer(0)},
                     serial(j, size(m),
                            {AccumulateArg{sum, position, true, load(a, vi * size(m) + vj), vj}}),
                     Store{y, vi, variable(sum)}})})
            .find("vector<16") != std::string::npos);
}

TEST_CASE("vectorize: gathers beside as many contiguous loads") {
  const Expr id = check_index(load(ids, vi), size(n), 0);
  CHECK(vectorized(map_1d(load(a, vi * size(m) + id))) == "vector<8 x2> i");
  CHECK(vectorized(map_1d(load(a, vi * size(m)))) == "i");
  CHECK(vectorized({serial(
            i, size(n),
            {serial(j, size(m), {Store{y, vi * size(m) + vj, load(a, id * size(m) + vj)}})})}) ==
        "i, vector<16 x2> j");
}

TEST_CASE("vectorize: what must keep its order stays serial") {
  const Expr x = load(a, vi);
  // A recurrence, a scatter, one element written by all, a running sum.
  CHECK(vectorized(map_1d(load(y, vi + integer(1)) + x)) == "i");
  CHECK(vectorized({serial(i, size(n), {Store{y, load(ids, vi), x}})}) == "i");
  CHECK(vectorized({serial(i, size(n), {Store{y, integer(0), x}})}) == "i");
  CHECK(vectorized({serial(i, size(n), {Store{y, vi * integer(2), x}})}) == "i");
  CHECK(vectorized({Declare{sum, zero},
                    serial(i, size(n),
                           {Accumulate{sum, Op::add, x}, Store{y, vi, variable(sum)}})}) == "i");
  // In place at the same element is no dependence.
  CHECK(vectorized(map_1d(load(y, vi) + x)) == "vector<16 x2> i");
  // Diagonals: elements written by several (i, j) pairs.
  CHECK(vectorized({serial(i, size(n),
                           {serial(j, integer(3), {Store{y, vi + vj, load(a, vi)}})})}) == "i, j");
  // Branches and extents that differ between iterations.
  CHECK(vectorized({serial(i, size(n),
                           {statement(If{binary(Op::lt, vi, size(m)), {Store{y, vi, x}}, {}})})}) ==
        "i");
  CHECK(vectorized({serial(i, size(n),
                           {Declare{sum, zero},
                            serial(j, vi, {Accumulate{sum, Op::add, load(a, vj * size(n) + vi)}}),
                            Store{y, vi, variable(sum)}})}) == "i, j");
}

TEST_CASE("vectorize: rows added at looked-up places") {
  const Expr at = check_index(load(ids, vi), size(n), 0) * size(m) + vj;
  CHECK(vectorized({serial(
            i, size(n),
            {serial(j, size(m), {Store{y, at, load(y, at) + load(a, vi * size(m) + vj)}})})}) ==
        "i, vector<16 x2> j");
}

TEST_CASE("parallelize: one-dimensional loops in chunks of a fixed size") {
  const Kernel wide = vectorize(with_body(map_1d(load(a, vi))), lanes_bytes);
  const Kernel split = parallelize(wide);
  CHECK(loops(split) == "parallel chunk, vector<16 x2> i");
  const std::string text = to_string(split);
  CHECK(text.find("let t1 = chunk*16384") == std::string::npos);
  CHECK(text.find("for i in 0..min(n - chunk*16384, 16384) {") != std::string::npos);
  CHECK(text.find("y[chunk*16384 + i] = a[chunk*16384 + i]") != std::string::npos);
  CHECK(parallelized(map_1d(load(a, vi), integer(16384))) == "i");
  CHECK(parallelized(map_1d(load(a, vi), integer(16385))) == "parallel chunk, i");
  for (const std::int64_t count : {0, 1, 16384, 16385, 40000}) {
    const Sizes sizes{{"n", count}, {"m", 1}};
    const Contents contents = random_contents(split, sizes, 1);
    CHECK(outcome(split, sizes, contents) == outcome(wide, sizes, contents));
  }
}

TEST_CASE("parallelize: rows") {
  const Expr at = vi * size(m) + vj;
  CHECK(parallelized({serial(i, size(n), {serial(j, size(m), {Store{y, at, load(b, vj)}})})}) ==
        "parallel i, j");
  // Written transposed.
  CHECK(parallelized(
            {serial(i, size(n), {serial(j, size(m), {Store{y, vj * size(n) + vi, zero}})})}) ==
        "parallel i, j");
  // Two loops over the same row, as softmax has; the rows of a concatenation.
  const Expr again = vi * size(m) + vk;
  CHECK(parallelized({serial(i, size(n),
                             {serial(j, size(m), {Store{y, at, zero}}),
                              serial(k, size(m), {Store{y, again, load(y, again)}})})}) ==
        "parallel i, j, k");
  const Expr wide = vi * size(m * 2) + vj;
  CHECK(parallelized({serial(i, size(n),
                             {serial(j, size(m), {Store{y, wide, zero}}),
                              serial(j, size(m), {Store{y, wide + size(m), zero}})})}) ==
        "parallel i, j, j");
  CHECK(parallelized({serial(
            i, size(n),
            {Declare{sum, zero}, serial(j, size(m), {Accumulate{sum, Op::add, load(a, at)}}),
             Store{y, vi, variable(sum)}})}) == "parallel i, j");
}

TEST_CASE("parallelize: iterations that meet stay on one thread") {
  const Expr at = check_index(load(ids, vi), size(n), 0) * size(m) + vj;
  CHECK(parallelized({serial(i, size(n), {serial(j, size(m), {Store{y, at, zero}})})}) == "i, j");
  const Expr overlapping = vi * integer(2) + vj;
  CHECK(parallelized({serial(i, size(n),
                             {serial(j, integer(3), {Store{y, overlapping, zero}})})}) == "i, j");
  CHECK(parallelized({serial(i, size(n), {serial(j, size(m), {Store{y, vj, zero}})})}) == "i, j");
  CHECK(
      parallelized({Declare{sum, zero}, serial(i, size(n), {Accumulate{sum, Op::add, load(a, vi)}}),
                    Store{y, integer(0), variable(sum)}}) == "i");
  CHECK(parallelized(
            {Declare{sum, zero},
             serial(i, size(n), {serial(j, size(m), {Accumulate{sum, Op::add, load(b, vj)}})})}) ==
        "i, j");
  // One row of scratch per worker is no meeting; one in global memory is.
  const auto with_row = [&](Space space) {
    const BufferRef row = buffer(8, "row", m, DType::f32, space);
    Kernel result =
        with_body({serial(i, size(n),
                          {serial(j, size(m), {Store{row, vj, load(a, vi * size(m) + vj)}}),
                           serial(k, size(m), {Store{y, vi * size(m) + vk, load(row, vk)}})})});
    (space == Space::worker ? result.scratch : result.outputs).push_back(row);
    return loops(parallelize(result));
  };
  CHECK(with_row(Space::worker) == "parallel i, j, k");
  CHECK(with_row(Space::global) == "i, j, k");
}

TEST_CASE("schedules keep what random kernels compute, in any order of the iterations") {
  int vector_loops = 0;
  int parallel_loops = 0;
  for (unsigned seed = 1000; seed < 1300; ++seed) {
    CAPTURE(seed);
    const Kernel before = RandomKernel(seed).make();
    const Kernel after =
        parallelize(vectorize(collapse_loops(simplify(before)), seed % 2 == 0 ? 64 : 32));
    const std::string text = loops(after);
    vector_loops += text.find("vector") != std::string::npos ? 1 : 0;
    parallel_loops += text.find("parallel") != std::string::npos ? 1 : 0;
    const Kernel turned = backwards(after);
    const std::int64_t choices[] = {0, 1, 3, 17};
    for (unsigned round = 0; round < 2; ++round) {
      const Sizes sizes{{"m", choices[(seed + round) % 4]},
                        {"n", choices[(seed / 4 + round) % 4]},
                        {"p", choices[(seed / 16 + round) % 4]}};
      const Contents contents = random_contents(before, sizes, seed);
      const Contents expected = outcome(before, sizes, contents);
      CHECK_MESSAGE(outcome(after, sizes, contents) == expected, to_string(after));
      CHECK_MESSAGE(outcome(turned, sizes, contents) == expected, to_string(after));
    }
  }
  CHECK(vector_loops > 100);
  CHECK(parallel_loops > 100);
}
