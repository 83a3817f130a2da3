#include "compiler/loop/place_values.h"

#include <doctest/doctest.h>

#include "compiler/loop/count.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Variable j = fresh_variable("j");
const Variable acc = fresh_variable("acc", DType::f32);
const Expr vi = variable(i);
const Expr vj = variable(j);
const Dim n = Dim::named("n");
const Dim m = Dim::named("m");
const BufferRef x = buffer(0, "x", n* m);
const BufferRef b = buffer(1, "b", n);
const BufferRef y = buffer(2, "y", n* m);

Expr half(const Expr& e) { return e * real(0.5, DType::f32); }
Expr squared(const Expr& e) { return e * e; }

// The text of the placed body, without the line of the kernel.
std::string placed(Block body) {
  const std::string text = to_string(place_values(kernel({x, b}, {y}, std::move(body))));
  return text.substr(text.find("{\n"));
}

}  // namespace

TEST_CASE("place_values: a value with one use stays where it is, one with two is named") {
  const Expr row = vi * size(m) + vj;
  const std::string text = placed(
      {serial(i, size(n), {serial(j, size(m), {Store{y, row, squared(half(load(x, row)))}})})});
  CHECK(text ==
        "{\n"
        "  for i in 0..n {\n"
        "    for j in 0..m {\n"
        "      let t1 = x[i*m + j] * 0.5\n"
        "      y[i*m + j] = t1 * t1\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: arithmetic leaves a loop, loads and divisions only for its beginning") {
  const Expr at = vi * size(m) + vj;
  const Expr scale = cast(size(n), DType::f32);
  const Expr quotient = binary(Op::div, real(1, DType::f32), scale);
  const std::string text = placed(
      {serial(i, size(n),
              {serial(j, size(m), {Store{y, at, load(b, vi) * scale + quotient * load(x, at)}})})});
  CHECK(text ==
        "{\n"
        "  let t1 = f32(n)\n"
        "  for i in 0..n {\n"
        "    once let t2 = 1.0 / t1\n"
        "    for j in 0..m {\n"
        "      once let t3 = b[i] * t1\n"
        "      y[i*m + j] = t3 + t2 * x[i*m + j]\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: a loop that has an iteration lets everything out") {
  const std::string text =
      placed({serial(j, integer(3), {Store{y, vj, load(b, integer(0)) * load(x, vj)}})});
  CHECK(text ==
        "{\n"
        "  let t1 = b[0]\n"
        "  for j in 0..3 {\n"
        "    y[j] = t1 * x[j]\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: no load leaves the side of a branch") {
  const Expr value = squared(load(b, integer(0)));
  const Expr index = binary(Op::mod, vi * size(m) + integer(3), integer(7));
  const std::string text =
      placed({serial(i, size(n),
                     {statement(If{binary(Op::lt, vi, integer(5)),
                                   {Store{y, index, value}},
                                   {Store{y, index, value + real(1, DType::f32)}}})})});
  CHECK(text ==
        "{\n"
        "  for i in 0..n {\n"
        "    let t1 = mod(i*m + 3, 7)\n"
        "    if i < 5 {\n"
        "      let t2 = b[0]\n"
        "      y[t1] = t2 * t2\n"
        "    } else {\n"
        "      let t3 = b[0]\n"
        "      y[t1] = t3 * t3 + 1.0\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: what the kernel has written is read again") {
  const Expr first = load(y, integer(0));
  const std::string text =
      placed({serial(i, size(n),
                     {Store{y, vi, squared(first)}, Store{y, vi + integer(1), squared(first)},
                      serial(j, size(m), {Accumulate{acc, Op::add, first}})})});
  CHECK(text ==
        "{\n"
        "  for i in 0..n {\n"
        "    let t1 = y[0]\n"
        "    y[i] = t1 * t1\n"
        "    let t2 = y[0]\n"
        "    y[i + 1] = t2 * t2\n"
        "    for j in 0..m {\n"
        "      once let t3 = y[0]\n"
        "      acc += t3\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: a name from before a loop is not read in it for what the loop changes") {
  const Expr first = load(y, integer(0));
  If branch;
  branch.condition = binary(Op::lt, squared(first), first);
  branch.then_body = {serial(j, size(m), {Store{y, integer(0), half(first)}})};
  const std::string text = placed({serial(i, size(n), {statement(std::move(branch))})});
  CHECK(text ==
        "{\n"
        "  for i in 0..n {\n"
        "    let t1 = y[0]\n"
        "    if t1 * t1 < t1 {\n"
        "      for j in 0..m {\n"
        "        let t2 = y[0]\n"
        "        y[0] = t2 * 0.5\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: an accumulator is read after the loop that accumulates it") {
  const std::string text =
      placed({Declare{acc, real(0, DType::f32)},
              serial(i, size(n), {Accumulate{acc, Op::add, load(b, vi)}}),
              serial(i, size(n), {Store{y, vi, load(b, vi) * half(variable(acc))}})});
  CHECK(text ==
        "{\n"
        "  var acc: f32 = 0.0\n"
        "  for i in 0..n {\n"
        "    acc += b[i]\n"
        "  }\n"
        "  let t1 = acc * 0.5\n"
        "  for i in 0..n {\n"
        "    y[i] = b[i] * t1\n"
        "  }\n"
        "}\n");
}

TEST_CASE("place_values: long expressions are cut into named parts") {
  Expr e = load(x, vi);
  for (int k = 0; k < 40; ++k) e = half(e) + real(1, DType::f32);
  const std::string text = placed({serial(i, size(n), {Store{y, vi, e}})});
  CHECK(text.find("let t6 = ") != std::string::npos);
}

TEST_CASE("place_values: work counts where it is placed") {
  const Sizes sizes{{"n", 5}, {"m", 7}};
  const Expr at = vi * size(m) + vj;
  const Kernel nest = kernel(
      {x, b}, {y},
      {serial(i, size(n),
              {serial(j, size(m), {Store{y, at, squared(half(load(b, vi))) * load(x, at)}})})});
  const Work work = count_work(nest, lookup(sizes));
  CHECK(work.flops == 5 * 2 + 5 * 7);
  CHECK(work.loads.at(b->id) == 5);
  CHECK(work.loads.at(x->id) == 5 * 7);
  CHECK(work.stores.at(y->id) == 5 * 7);
}

TEST_CASE("place_values: what a thread has in registers stays in the loop over threads") {
  const BufferRef own = buffer(3, "own", 1, DType::f32, Space::registers);
  const Variable t = fresh_variable("t"), u = fresh_variable("u");
  const auto loop_of = [](LoopKind kind, const Variable& v, int extent, Block body) {
    For loop;
    loop.kind = kind;
    loop.variable = v;
    loop.extent = integer(extent);
    loop.width = 32;
    loop.body = std::move(body);
    return statement(std::move(loop));
  };
  const Expr first = integer(0);
  const std::string text = placed({loop_of(
      LoopKind::block, i, 1,
      {Allocate{own}, loop_of(LoopKind::thread, t, 32, {Store{own, first, load(x, variable(t))}}),
       loop_of(LoopKind::thread, u, 32,
               {Store{y, variable(u), squared(half(load(own, first)))}})})});
  CHECK(text.find("thread for u in 0..32 {\n      let t1 = own[0] * 0.5\n") != std::string::npos);
}
