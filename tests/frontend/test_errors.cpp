// The errors of building and of calling functions: what each says, and that nothing has changed
// after one. (Errors of building expressions: tests/ops/test_op_errors.cpp.)
#include <doctest/doctest.h>

#include <cmath>

#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests
using namespace error_text;     // NOLINT: tests

namespace {

Array ids_of(std::int64_t count, std::int64_t value = 3) {
  return Array::full({count}, value, i64);
}

}  // namespace

// ---- Building a function.

TEST_CASE("function error: an input that is no variable") {
  const Tensor x = vector("x");
  CHECK(value_error([&] { function({x + 1}, x); }) ==
        "function: input 0 is not a variable but the result of add  [here]  [here]");
  const Shared w = shared(Array::zeros({3}), "w");
  CHECK(value_error([&] { function({x, w}, x + w); }) ==
        "function: input 1, w, is a shared variable, which a function has without its being an "
        "input: leave it out  [here]");
  CHECK(value_error([&] { function({Tensor()}, x); }) == "function: input 0 is empty  [here]");
}

TEST_CASE("function error: a variable that is neither an input nor given") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  CHECK(value_error([&] { function({x}, x + y); }) ==
        "function: the outputs depend on the variable y  [here], which is neither an input nor "
        "given  [here]");
}

TEST_CASE("function error: what a step of a scan knows only, used outside of it") {
  const Tensor x = matrix("x");
  Tensor kept;
  const Tensor all_rows = map(
      [&](Tensor row) {
        kept = tanh(row);
        return row * 2;
      },
      {x});
  CHECK(value_error([&] { function({x}, all_rows + kept); }) ==
        "function: the outputs depend on a row of x inside the scan  [here], which has a value in "
        "the steps only: what is needed of it, the step returns  [here]");
  const Tensor total = scan(
      [&](Tensor row, Tensor sum_so_far) {
        kept = sum_so_far + 1;
        return sum_so_far + row;
      },
      {.sequences = {x}, .outputs_info = {zeros({3})}});
  CHECK(value_error([&] { function({x}, {total, kept}); }) ==
        "function: the outputs depend on the state state0 inside the scan  [here], which has a "
        "value in the steps only: what is needed of it, the step returns  [here]");
}

TEST_CASE("function error: an input that is not used") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  CHECK(value_error([&] { function({x, y}, x); }) ==
        "function: input y is not used by any output or update (on_unused_input = ignore allows "
        "it)  [here]");
  const auto f = function({x, y}, x + 1, {.on_unused_input = UnusedInput::ignore});
  CHECK(f(Array::zeros({2}), Array::zeros({5})).size() == 2);
}

TEST_CASE("function error: an input that appears twice") {
  const Tensor x = vector("x");
  CHECK(value_error([&] { function({x, x}, x); }) == "function: input 1, x, appears twice  [here]");
}

TEST_CASE("function error: an empty output") {
  const Tensor x = vector("x");
  CHECK(value_error([&] { function({x}, Tensor()); }) == "function: an output is empty  [here]");
}

TEST_CASE("function error: two updates of one shared variable") {
  const Shared w = shared(Array::zeros({3}), "w");
  CHECK(value_error([&] { function({}, {.updates = {{w, w + 1}, {w, w + 2}}}); }) ==
        "function: two updates of w  [here]");
  CHECK(value_error([&] { function({}, {.updates = {{w, Tensor()}}}); }) ==
        "function: the update of w is empty  [here]");
}

TEST_CASE("function error: an update of another dtype or shape") {
  const Shared w = shared(Array::zeros({3}), "w");
  const Tensor x = matrix("x");
  CHECK(type_error([&] { function({}, {.updates = {{w, cast(w, f64)}}}); }) ==
        "update of w: expected f32 (3,), got f64 (3,)  [here]");
  CHECK(shape_error([&] { function({x}, {.updates = {{w, x + 1}}}); }) ==
        "update of w: expected f32 (3,), got f32 (x.shape[0], x.shape[1])  [here]");
  CHECK(shape_error([&] { function({}, {.updates = {{w, concatenate({w, w})}}}); }) ==
        "update of w: axis 0 must be 3, is 6  [here] (3 and 6)");
  // A free size may fit or not: the call tells.
  const auto set = function({x}, {.updates = {{w, x[0] * 2}}});
  set(Array::ones({1, 3}));
  CHECK(array_equal(w.get_value(), Array::full({3}, 2)));
  CHECK(shape_error([&] { set(Array::ones({1, 4})); }) ==
        "function: update of w: axis 0 must be 3, is x.shape[1]  [here]: x.shape[1] is 4");
  CHECK(array_equal(w.get_value(), Array::full({3}, 2)));
}

TEST_CASE("function error: a given of another type") {
  const Tensor x = vector("x");
  const Tensor y = vector("y", f64);
  const Tensor z = matrix("z");
  CHECK(type_error([&] { function({y}, x + 1, {.givens = {{x, y}}}); }) ==
        "function: the given of x is f64 (y.shape[0],), x is f32 (x.shape[0],)  [here]");
  CHECK(shape_error([&] { function({z}, x + 1, {.givens = {{x, z}}}); }) ==
        "function: the given of x is f32 (z.shape[0], z.shape[1]), x is f32 (x.shape[0],)  [here]");
  const Tensor u = vector("u");
  CHECK(value_error([&] { function({u}, x + 1, {.givens = {{x, u}, {x, 2 * u}}}); }) ==
        "function: two givens of x  [here]");
  CHECK(value_error([&] { function({u}, x + 1, {.givens = {{x, Tensor()}}}); }) ==
        "function: an empty given  [here]");
  CHECK(value_error([&] { function({u}, u + 1, {.givens = {{x, u}}}); }) ==
        "function: the given of x replaces nothing: no output or update depends on it "
        "(on_unused_input = ignore allows it)  [here]");
  const auto f = function({u}, u + 1, {.givens = {{x, u}}, .on_unused_input = UnusedInput::ignore});
  CHECK(f(Array::ones({2})).size() == 2);
  // Its size may be all that is replaced.
  const auto g = function({u}, ones({x.shape(0)}) + sum(u), {.givens = {{x, u}}});
  CHECK(g(Array::ones({5})).size() == 5);
}

TEST_CASE("function error: a size that no input fixes") {
  const Tensor x = vector("x");
  const std::string text =
      "function: the size nobody of broadcast  [here]: nobody is not the size of any input's axis  "
      "[here]";
  CHECK(value_error([&] { function({}, zeros({dim("nobody")})); }) == text);
  CHECK(value_error([&] { function({x}, sum(zeros({dim("nobody")})) + sum(x)); }) == text);
  CHECK(value_error([&] { function({x}, size_of_dim(dim("nobody")) + sum(x)); }) ==
        "function: the size nobody of size  [here]: nobody is not the size of any input's axis  "
        "[here]");
  const Tensor twice = tensor("twice", {2 * dim("k")});
  CHECK(
      value_error([&] { function({twice}, sum(twice) + sum(zeros({dim("k")}))); }) ==
      "function: the size 2*k of input  [here]: k cannot be worked out of 2*k, the size of axis 0 "
      "of twice; it must be the size of an axis itself  [here]");
  const Tensor once = tensor("once", {dim("k")});
  CHECK(function({once, twice}, sum(twice) + sum(once))(Array::ones({2}), Array::ones({4}))
            .item<float>() == 6);
}

TEST_CASE("an error names the line in the user's file") {
  const Tensor x = vector("x");
  const int line = __LINE__ + 2;
  try {
    function({x, x}, x);
    FAIL("no error");
  } catch (const ValueError& error) {
    CHECK(std::string(error.what()) ==
          "function: input 1, x, appears twice  [test_errors.cpp:" + std::to_string(line) + "]");
  }
}

// ---- Calling one.

TEST_CASE("call error: the number of arguments") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const auto f = function({x, y}, x + y, {.name = "add_up"});
  CHECK(value_error([&] { f(Array::zeros({3})); }) == "add_up: takes 2 arguments (x, y), got 1");
  CHECK(value_error([&] { f(Array::zeros({3}), Array::zeros({3}), 1); }) ==
        "add_up: takes 2 arguments (x, y), got 3");
}

TEST_CASE("call error: dtype, rank or size of an argument") {
  const Tensor x = tensor("x", {dim("batch"), 3});
  const auto f = function({x}, x + 1, {.name = "f"});
  CHECK(type_error([&] { f(Array::zeros({2, 3}, f64)); }) ==
        "f: x is f32 (batch, 3), the argument is f64 (2, 3)");
  CHECK(shape_error([&] { f(Array::zeros({3})); }) ==
        "f: x is f32 (batch, 3), the argument is f32 (3,)");
  CHECK(shape_error([&] { f(Array::zeros({2, 4})); }) ==
        "f: x is f32 (batch, 3), the argument is f32 (2, 4)");
  CHECK(shape_error([&] { f(1.5F); }) == "f: x is f32 (batch, 3), the argument is a number");
  CHECK(f(Array::zeros({17, 3})).size() == 51);
}

TEST_CASE("call error: a named size that differs between two inputs") {
  const Tensor x = tensor("x", {dim("batch"), 3});
  const Tensor y = tensor("y", {dim("batch")});
  const auto f = function({x, y}, sum(x) + sum(y), {.name = "f"});
  CHECK(shape_error([&] { f(Array::zeros({2, 3}), Array::zeros({4})); }) ==
        "f: y is f32 (batch,), the argument is f32 (4,), but batch is 2");
  CHECK(f(Array::ones({2, 3}), Array::ones({2})).item<float>() == 8);
  const Tensor z = tensor("z", {2 * dim("batch") + 1});
  const auto g = function({x, z}, sum(x) + sum(z), {.name = "g"});
  CHECK(shape_error([&] { g(Array::zeros({2, 3}), Array::zeros({4})); }) ==
        "g: z is f32 (2*batch + 1,), where 2*batch + 1 is 5; the argument is (4,)");
}

TEST_CASE("call error: two free sizes that must be equal and differ") {
  const Tensor p = vector("p");
  const Tensor q = vector("q");
  const auto f = function({p, q}, p + q, {.name = "f"});
  CHECK(
      shape_error([&] { f(Array::zeros({3}), Array::zeros({2})); }) ==
      "f: add: sizes differ: p.shape[0] and q.shape[0]  [here]: p.shape[0] is 3, q.shape[0] is 2");
  const auto stacked = function({p, q}, stack({p, q}), {.name = "f"});
  CHECK(shape_error([&] { stacked(Array::ones({3}), Array::ones({2})); }) ==
        "f: stack: sizes differ on axis 1: p.shape[0] and q.shape[0]  [here]: p.shape[0] is 3, "
        "q.shape[0] is 2");
  const Tensor a = matrix("a");
  const Tensor b = matrix("b");
  const auto g = function({a, b}, dot(a, b), {.name = "g"});
  CHECK(shape_error([&] { g(Array::zeros({3, 4}), Array::zeros({5, 6})); }) ==
        "g: dot: inner sizes differ: a.shape[1] and b.shape[0]  [here]: a.shape[1] is 4, "
        "b.shape[0] is 5");
  CHECK(g(Array::zeros({3, 4}), Array::zeros({4, 6})).size() == 18);
}

TEST_CASE("call error: a size that comes out negative, or is divided by zero") {
  const Tensor x = matrix("x");
  const Dim rows = x.shape(0);
  const Dim columns = x.shape(1);
  const auto shorter = function({x}, {zeros({rows - 3}), x}, {.name = "f"});
  CHECK(shape_error([&] { shorter(Array::ones({2, 1})); }) ==
        "f: broadcast: axis 0 has a negative size  [here]: x.shape[0] - 3 is -1");
  CHECK(shorter(Array::ones({3, 1}))[0].size() == 0);
  // Inside of a kernel only.
  const auto inside = function({x}, sum(zeros({rows - 3})) + sum(arange(rows - 2)) + sum(x));
  CHECK(shape_error([&] { inside(Array::ones({1, 1})); }) ==
        "function: broadcast: axis 0 has a negative size  [here]: x.shape[0] - 3 is -2");
  CHECK(inside(Array::ones({4, 1})).item<float>() == 5);
  const auto divided =
      function({x}, {zeros({floor_div(rows, columns)}), sum(x)}, {.name = "divided"});
  CHECK(
      shape_error([&] { divided(Array::ones({2, 0})); }) ==
      "divided: broadcast: the size x.shape[0] is divided by x.shape[1]  [here]: x.shape[1] is 0");
  CHECK(divided(Array::ones({7, 2}))[0].size() == 3);
  const auto divided_inside =
      function({x}, sum(zeros({floor_div(rows, columns)}) + 1) + sum(x), {.name = "divided"});
  CHECK(
      shape_error([&] { divided_inside(Array::ones({2, 0})); }) ==
      "divided: broadcast: the size x.shape[0] is divided by x.shape[1]  [here]: x.shape[1] is 0");
  CHECK(divided_inside(Array::ones({4, 2})).item<float>() == 10);
  const Tensor v = vector("v");
  const auto reshaped = function({v, x}, {reshape(v, {-1, columns}), sum(x)}, {.name = "reshaped"});
  CHECK(shape_error([&] {
          reshaped(Array::ones({2}), Array::ones({3, 0}));
        }).starts_with("reshaped: reshape: the size v.shape[0] is divided by x.shape[1]  [here]"));
  CHECK(reshaped(Array::ones({6}), Array::ones({1, 2}))[0].shape() == Shape{3, 2});
}

TEST_CASE("a call takes vectors and other ranges of elements") {
  const Tensor x = vector("x");
  const Tensor ids = vector("ids", i64);
  const auto f = function({x, ids}, sum(take(x, ids)), {.name = "f"});
  const std::vector<float> values{1, 2, 3};
  CHECK(f(values, std::array<std::int64_t, 2>{0, 2}).item<float>() == 4);
  CHECK(f(std::vector<float>{1, 2, 4}, std::vector<std::int64_t>{2}).item<float>() == 4);
  CHECK(f(std::span(values).first(2), std::vector<std::int64_t>{1}).item<float>() == 2);
  CHECK(type_error([&] { f(std::vector<double>{1}, std::vector<std::int64_t>{0}); }) ==
        "f: x is f32 (x.shape[0],), the argument is f64 (1,)");
}

TEST_CASE("call error: a number that the input's dtype does not hold") {
  const Tensor i = scalar("i", i64);
  const Tensor n = scalar("n", i32);
  const auto f = function({i, n}, i + n, {.name = "f"});
  CHECK(type_error([&] { f(1.5, 1); }) == "f: i is i64, the argument is a floating number");
  CHECK(type_error([&] { f(1, 2.0F); }) == "f: n is i32, the argument is a floating number");
  CHECK(value_error([&] { f(1, std::int64_t{1} << 40); }) ==
        "f: 1099511627776 for n does not fit i32");
  CHECK(f(1, 2).item<std::int64_t>() == 3);
}

TEST_CASE("call error: an index out of range names index, axis and size") {
  const Shared table = shared(Array::arange(34).reshape({17, 2}), "table");
  const Tensor ids = vector("ids", i64);
  const auto rows = function({ids}, take(table, ids), {.name = "rows"});
  const std::string place = " of table, whose size is 17  [here]";
  for (const std::int64_t bad : {17, -18, 1000000}) {
    CAPTURE(bad);
    const std::string want =
        "rows: take: index " + std::to_string(bad) + " is out of range for axis 0" + place;
    // In every lane of a vector and in the tail after it.
    for (const std::int64_t count : {1, 3, 17, 64, 100}) {
      for (const std::int64_t at : {std::int64_t{0}, count / 2, count - 1}) {
        CAPTURE(count);
        CAPTURE(at);
        Array some = ids_of(count);
        some.data<std::int64_t>()[static_cast<std::size_t>(at)] = bad;
        CHECK(value_error([&] { rows(some); }) == want);
      }
    }
  }
  CHECK(rows(ids_of(3, -17)).data<float>()[5] == 1);
  CHECK(rows(ids_of(3, 16)).data<float>()[5] == 33);
}

TEST_CASE("call error: an index out of range counts, whichever elements are read after it") {
  const Tensor x = matrix("x");
  const Tensor labels = vector("labels", i64);
  const Tensor few = Operand(Array::from(std::vector<std::int64_t>{0, 1, 1})).tensor();
  for (const Tensor& y :
       {pick(x, labels)(slice(0, 2)), (pick(x, labels) + 1)(slice(0, 2)),
        take(pick(x, labels), few), take(x, labels, 1)(all, slice(0, 1)),
        sum(pick(x, labels)(slice(0, end, 2))), pick(take(x, labels, 1), labels % 2),
        take(softmax_cross_entropy(x, labels), labels % 2), add_at(x, x, labels)(slice(0, 1))}) {
    const auto f = function({labels, x}, y, {.name = "f"});
    const Array table = Array::ones({4, 4});
    CHECK(value_error([&] {
            f(Array::from(std::vector<std::int64_t>{0, 1, 2, 7}), table);
          }).find("index 7 is out of range for axis") != std::string::npos);
    f(Array::from(std::vector<std::int64_t>{0, 1, 2, 3}), table);
  }
}

TEST_CASE("call error: indices out of range in each kind of loop") {
  const Tensor x = matrix("x");
  const Tensor v = vector("v");
  const Tensor ids = vector("ids", i32);
  const Array bad = Array::full({3}, 9, i32);
  const Array table = Array::ones({5, 4});
  const auto error = [&](const Tensor& output, const Array& value) {
    const Tensor& input = value.rank() == 2 ? x : v;
    const auto f = function({input, ids}, output, {.name = "f"});
    return value_error([&] { f(value, bad); });
  };
  CHECK(error(take(v, ids), Array::ones({5})) ==
        "f: take: index 9 is out of range for axis 0 of v, whose size is 5  [here]");
  CHECK(error(take(x, ids, 1), table) ==
        "f: take: index 9 is out of range for axis 1 of x, whose size is 4  [here]");
  CHECK(error(sum(take(v, ids)), Array::ones({5})) ==
        "f: take: index 9 is out of range for axis 0 of v, whose size is 5  [here]");
  CHECK(error(pick(x, ids), Array::ones({3, 4})) ==
        "f: pick: index 9 is out of range for axis 1 of x, whose size is 4  [here]");
  CHECK(error(dot(take(x, ids), transpose(x)), table) ==
        "f: take: index 9 is out of range for axis 0 of x, whose size is 5  [here]");
  CHECK(error(add_at(zeros({2, 7}), broadcast_to(v, {2, 3}), ids, 1), Array::ones({3})) ==
        "f: add_at: index 9 is out of range for axis 1, whose size is 7  [here]");
  CHECK(error(scatter_add(v, ids, {7}), Array::ones({3})) ==
        "f: scatter_add: index 9 is out of range for axis 0, whose size is 7  [here]");
  CHECK(error(one_hot(ids, 6) * sum(v), Array::ones({3})) ==
        "f: one_hot: index 9 is out of range for axis 1, whose size is 6  [here]");
  CHECK(error(mean(softmax_cross_entropy(x, ids)), Array::ones({3, 4})) ==
        "f: pick: index 9 is out of range for axis 1, whose size is 4  [here]");
}

TEST_CASE("call error: indices out of range found by several threads at once") {
  const ThreadCount threads(4);
  const Shared table = shared(Array::zeros({17}), "table");
  const Tensor ids = vector("ids", i64);
  const auto f = function({ids}, exp(take(table, ids)), {.name = "f"});
  Array some = ids_of(400000);
  for (std::size_t k = 0; k < 400000; k += 40000) some.data<std::int64_t>()[k + 77] = 100;
  for (int k = 0; k < 20; ++k) {
    CHECK(value_error([&] { f(some); }) ==
          "f: take: index 100 is out of range for axis 0 of table, whose size is 17  [here]");
  }
  CHECK(f(ids_of(400000)).data<float>()[399999] == 1);
}

TEST_CASE("call error: an integer index outside a free size") {
  const Tensor x = vector("x");
  const auto f = function({x}, x[3] + x[-2], {.name = "f"});
  CHECK(f(Array::arange(4)).item<float>() == 5);
  CHECK(shape_error([&] { f(Array::arange(3)); }) ==
        "f: index: index 3 is out of range for axis 0 of x, whose size is 3  [here]");
}

TEST_CASE("call error: arrays to write results into") {
  const Tensor x = vector("x");
  const auto f = function({x}, {x * 2, sum(x)}, {.name = "f"});
  const Array value = Array::ones({3});
  Array y = Array::zeros({3});
  Array s = Array::zeros({});
  Array y64 = Array::zeros({3}, f64);
  CHECK(type_error([&] { f.into(y64, s)(value); }) ==
        "f: output 0 is f32 (3,), the given array is f64 (3,)");
  Array longer = Array::zeros({4});
  CHECK(shape_error([&] { f.into(longer, s)(value); }) ==
        "f: output 0 is f32 (3,), the given array is f32 (4,)");
  CHECK(value_error([&] { f.into(y)(value); }) == "f: has 2 outputs, got 1 arrays to write into");
  std::array<float, 6> memory{};
  Array strided = Array::view(memory.data(), {3}, {2});
  CHECK(value_error([&] { f.into(strided, s)(value); }) ==
        "f: output 0: the given array is not row-major");
  Array front = Array::view(memory.data(), {3});
  Array middle = Array::view(memory.data() + 2, {3});
  CHECK(value_error([&] { f.into(front, s)(middle); }) ==
        "f: output 0: the given array overlaps the argument x");
  Array inside = Array::view(memory.data() + 1, {});
  CHECK(value_error([&] { f.into(front, inside)(value); }) ==
        "f: output 1: the given array overlaps that of output 0");
  const float* constant = memory.data();
  Array read_only = Array::view(constant, {3});
  CHECK(value_error([&] { f.into(read_only, s)(value); }) != "no error");
  CHECK(memory == std::array<float, 6>{});
  f.into(y, s)(value);
  CHECK(s.item<float>() == 3);
}

TEST_CASE("call error: a shared variable is given another type") {
  Shared w = shared(Array::zeros({3}), "w");
  CHECK(shape_error([&] { w.set_value(Array::zeros({4})); }) ==
        "set_value: w is f32 (3,), got f32 (4,)");
  CHECK(type_error([&] { w.set_value(Array::zeros({3}, f64)); }) ==
        "set_value: w is f32 (3,), got f64 (3,)");
}

TEST_CASE("after an error everything is as before the call") {
  const Shared table = shared(Array::normal({17, 4}, 1), "table");
  const Shared w = shared(Array::normal({4, 3}, 2), "w");
  const Shared calls = shared(Array(std::int64_t{0}), "calls");
  const Tensor ids = vector("ids", i64);
  const Tensor labels = vector("labels", i64);
  const Tensor loss = mean(softmax_cross_entropy(dot(take(table, ids), w), labels));
  const auto [gt, gw] = grad(loss, table, w);
  const auto train =
      function({ids, labels}, loss,
               {.updates = {{table, table - 0.1 * gt}, {w, w - 0.1 * gw}, {calls, calls + 1}},
                .name = "train"});
  const Array good_ids = Array::from({std::int64_t{0}, std::int64_t{-1}, std::int64_t{5}});
  const Array good_labels = Array::from({std::int64_t{0}, std::int64_t{1}, std::int64_t{2}});
  train(good_ids, good_labels);
  const Array before[] = {table.get_value(), w.get_value()};
  Array bad_ids = good_ids.copy();
  bad_ids.data<std::int64_t>()[2] = 17;
  Array bad_labels = good_labels.copy();
  bad_labels.data<std::int64_t>()[0] = 3;
  CHECK(value_error([&] { train(bad_ids, good_labels); }).starts_with("train: "));
  CHECK(value_error([&] { train(good_ids, bad_labels); }).starts_with("train: "));
  CHECK(shape_error([&] { train(good_ids, ids_of(4, 0)); }).starts_with("train: "));
  CHECK(type_error([&] { train(good_ids, good_labels.cast(f32)); }).starts_with("train: "));
  CHECK(array_equal(table.get_value(), before[0]));
  CHECK(array_equal(w.get_value(), before[1]));
  CHECK(calls.get_value().item<std::int64_t>() == 1);
  const Tensor new_w = w - 0.1 * gw;
  const ReferenceValue want = expected(new_w, {{ids, good_ids}, {labels, good_labels}});
  train(good_ids, good_labels);
  CHECK(difference(want, w.get_value()) == "");
  CHECK(calls.get_value().item<std::int64_t>() == 2);
}
