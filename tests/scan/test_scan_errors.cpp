// The errors of scans: when one is built, and at a call.
#include <doctest/doctest.h>

#include <limits>

#include "tests/scan/scan_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace scan_test;   // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

bool has(const std::string& message, std::string_view part) {
  const bool found = message.find(part) != std::string::npos;
  if (!found) MESSAGE(message << "\nhas not: " << std::string(part));
  return found;
}

}  // namespace

TEST_CASE("scan error: a state that changes its dtype") {
  const Tensor x = vector("x", f64);
  const std::string message = type_error([&] {
    scan([](Tensor row, Tensor s) { return s + row; },
         {.sequences = {x}, .outputs_info = {zeros({})}, .name = "totals"});
  });
  CHECK(has(message, "totals"));
  CHECK(has(message, "state 0"));
  CHECK(has(message, "f32 ()"));  // outside
  CHECK(has(message, "f64 ()"));  // inside
  CHECK(has(message, "[here]"));
}

TEST_CASE("scan error: a state that changes its rank or its size") {
  const Tensor x = tensor("x", {dim("steps"), 5});
  const std::string rank = shape_error([&] {
    scan([](Tensor row, Tensor, Tensor s) { return std::pair{row, s + row}; },
         {.sequences = {x}, .outputs_info = {zeros({5}), zeros({})}});
  });
  CHECK(has(rank, "state 1"));
  CHECK(has(rank, "f32 ()"));
  CHECK(has(rank, "f32 (5,)"));
  CHECK(has(rank, "[here]"));
  const std::string size = shape_error([&] {
    scan([](Tensor s) { return concatenate({s, s}); },
         {.outputs_info = {zeros({3})}, .n_steps = 4});
  });
  CHECK(has(size, "state 0"));
  CHECK(has(size, "f32 (3,)"));
  CHECK(has(size, "f32 (6,)"));
  const Tensor s0 = tensor("s0", {2, 3});
  const std::string tapped = shape_error([&] {
    scan([](Tensor a, Tensor b) { return concatenate({a, b}); },
         {.outputs_info = {{s0, {-2, -1}}}, .n_steps = 4});
  });
  CHECK(has(tapped, "state 0"));
  CHECK(has(tapped, "f32 (3,)"));
  CHECK(has(tapped, "f32 (6,)"));
}

TEST_CASE("scan error: a state that has another size at the call") {
  const Tensor s0 = vector("s0");
  const Tensor w = matrix("w");
  const Tensor y = scan([&](Tensor s) { return dot(s, w); }, {.outputs_info = {s0}, .n_steps = 2});
  const auto f = function({s0, w}, y, {.name = "f"});
  CHECK(f(Array::ones({2}), Array::ones({2, 2})).shape() == Shape{2, 2});
  const std::string message = shape_error([&] { f(Array::ones({2}), Array::ones({2, 3})); });
  CHECK(has(message, "f: "));
  CHECK(has(message, "w.shape[1]"));
  CHECK(has(message, "3"));
  CHECK(has(message, "[here]"));
}

TEST_CASE("scan error: a wrong number of arguments") {
  const Tensor x = vector("x");
  const std::string message = value_error([&] {
    scan([](Tensor, Tensor s, Tensor) { return s; },
         {.sequences = {x}, .outputs_info = {zeros({})}});
  });
  CHECK(has(message, "3"));
  CHECK(has(message, "2"));
  CHECK(has(message, "[here]"));
  CHECK(has(
      value_error([&] { scan([](Tensor row) { return row; }, {.sequences = {{x, {-1, 0, 1}}}}); }),
      "[here]"));
}

TEST_CASE("scan error: a wrong number of outputs") {
  const Tensor x = vector("x");
  const std::string message = value_error([&] {
    scan([](Tensor row, Tensor s) { return std::pair{s + row, s}; },
         {.sequences = {x}, .outputs_info = {zeros({})}});
  });
  CHECK(has(message, "2"));
  CHECK(has(message, "1"));
  CHECK(has(message, "[here]"));
  CHECK(has(value_error([&] {
              scan([](Tensor row, Tensor s) { return s + row; },
                   {.sequences = {x}, .outputs_info = {zeros({}), none}});
            }),
            "[here]"));
  CHECK(has(value_error([&] {
              scan([](std::span<const Tensor>) { return std::vector<Tensor>{}; },
                   {.sequences = {x}});
            }),
            "[here]"));
}

TEST_CASE("scan error: nothing sets the number of steps") {
  const std::string message =
      value_error([&] { scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}}); });
  CHECK(has(message, "n_steps"));
  CHECK(has(message, "[here]"));
}

TEST_CASE("scan error: a number of steps that is no integer scalar") {
  const auto steps = [](const Tensor& n) {
    scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}, .n_steps = n});
  };
  CHECK(has(type_error([&] { steps(scalar("n")); }), "n_steps"));
  CHECK(has(shape_error([&] { steps(vector("n", i64)); }), "n_steps"));
  // Its value must be known before the function runs.
  CHECK(has(value_error([&] { steps(sum(vector("n", i64))); }), "n_steps"));
  CHECK(has(value_error([&] {
              scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}, .n_steps = -1});
            }),
            "-1"));
}

TEST_CASE("scan error: taps that are no earlier values") {
  const Tensor s0 = vector("s0");
  const Tensor x = vector("x");
  for (const std::vector<int>& taps : {std::vector{0}, {1}, {-2, 0}}) {
    const std::string message = value_error([&] {
      scan([](std::span<const Tensor> a) { return std::vector<Tensor>{a[0]}; },
           {.outputs_info = {{s0, taps}}, .n_steps = 3});
    });
    CHECK(has(message, "tap"));
    CHECK(has(message, "state 0"));
    CHECK(has(message, "[here]"));
  }
  CHECK(has(value_error([&] {
              scan([](std::span<const Tensor>) { return std::vector<Tensor>{ones({})}; },
                   {.sequences = {{x, {}}}});
            }),
            "tap"));
  constexpr int lowest = std::numeric_limits<int>::min();
  CHECK(has(value_error([&] {
              scan([](Tensor s) { return s; }, {.outputs_info = {{s0, {lowest}}}, .n_steps = 3});
            }),
            "-2147483648"));
  // The rows of a sequence may be as far apart as an int says: of few there are no steps.
  for (const std::vector<int>& taps :
       {std::vector{lowest}, {lowest, -1}, {lowest, -(lowest + 1)}}) {
    const auto none = scan([](std::span<const Tensor> a) { return std::vector<Tensor>{a[0]}; },
                           {.sequences = {{x, taps}}});
    CHECK(function({x}, none[0])(Array::ones({4})).shape() == Shape{0});
  }
}

TEST_CASE("scan error: an initial value with a wrong number of rows for the taps") {
  const auto with_taps = [](const Tensor& initial) {
    scan([](Tensor a, Tensor b) { return a + b; },
         {.outputs_info = {{initial, {-2, -1}}}, .n_steps = 3});
  };
  const std::string message = shape_error([&] { with_taps(tensor("s0", {3})); });
  CHECK(has(message, "state 0"));
  CHECK(has(message, "2"));
  CHECK(has(message, "[here]"));
  CHECK(has(shape_error([&] { with_taps(scalar("s0")); }), "state 0"));
  // A free size may fit or not: the call tells.
  const Tensor s0 = vector("s0");
  const Tensor y = scan([](Tensor a, Tensor b) { return a + b; },
                        {.outputs_info = {{s0, {-2, -1}}}, .n_steps = 3});
  const auto f = function({s0}, y, {.name = "f"});
  check_values(f(array_of({0, 1})), {1, 2, 3}, 0);
  CHECK(has(shape_error([&] { f(array_of({0, 1, 2})); }), "s0.shape[0] is 3"));
}

TEST_CASE("scan error: a sequence without rows to step over") {
  const Tensor s = scalar("s");
  const std::string message =
      shape_error([&] { scan([](Tensor row) { return row; }, {.sequences = {s}}); });
  CHECK(has(message, "sequence 0, s, is f32 ()"));
  CHECK(has(message, "[here]"));
  CHECK(has(value_error([&] { scan([](Tensor row) { return row; }, {.sequences = {Tensor()}}); }),
            "[here]"));
}

TEST_CASE("scan error: strict, and a tensor captured by the step") {
  const Tensor x = vector("x");
  const Tensor scale = scalar("scale");
  const std::string message = value_error([&] {
    scan([&](Tensor row, Tensor s) { return s * scale + row; },
         {.sequences = {x}, .outputs_info = {zeros({})}, .strict = true});
  });
  CHECK(has(message, "scale"));
  CHECK(has(message, "strict"));
  CHECK(has(message, "[here]"));
  // Given as a non-sequence it is allowed.
  const Tensor y = scan(
      [](Tensor row, Tensor s, Tensor factor) { return s * factor + row; },
      {.sequences = {x}, .outputs_info = {zeros({})}, .non_sequences = {scale}, .strict = true});
  check_values(function({x, scale}, y)(array_of({1, 2}), 3.0F), {1, 5}, 0);
}

TEST_CASE("scan error: the step's own error names its line") {
  const Tensor x = tensor("x", {dim("steps"), 5});
  const Tensor w = tensor("w", {7, 7});
  CHECK(has(shape_error([&] { map([&](Tensor row) { return dot(row, w); }, {x}); }),
            "dot: inner sizes differ"));
}

TEST_CASE("scan call error: a sequence shorter than n_steps") {
  const Tensor x = vector("x");
  const Tensor n = scalar("n", i64);
  const Tensor y = scan([](Tensor row, Tensor s) { return s + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}, .n_steps = n});
  const auto f = function({x, n}, y, {.name = "f"});
  check_values(f(array_of({1, 2, 3}), 3), {1, 3, 6}, 0);
  const std::string message = shape_error([&] { f(array_of({1, 2, 3}), 4); });
  CHECK(message == "f: scan: sequence x has 3 rows, n_steps is 4  [here]");
  // Known when it is built.
  const Tensor three = tensor("three", {3});
  CHECK(has(shape_error([&] {
              scan([](Tensor row) { return row; }, {.sequences = {three}, .n_steps = 4});
            }),
            "the sequences give 3 steps, n_steps is 4  [here]"));
  // After an error the function works as before.
  check_values(f(array_of({1, 2, 3}), 2), {1, 3}, 0);
}

TEST_CASE("scan call error: a negative number of steps") {
  const Tensor n = scalar("n", i64);
  const Tensor y =
      scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}, .n_steps = n - 2});
  const auto f = function({n}, y, {.name = "f"});
  CHECK(f(2).shape() == Shape{0});
  const std::string message = value_error([&] { f(1); });
  CHECK(has(message, "f: "));
  CHECK(message == "f: n_steps is negative: n - 2 is -1  [here]");
  CHECK(value_error([&] { f(-5); }) ==
        "f: n sets a number of steps and cannot be negative, the argument is -5");
  check_values(f(4), {2, 4}, 0);
  // Also where no loop is left, and where only the last value is used, and inside another loop.
  const Tensor x = vector("x");
  const Tensor mapped =
      scan([](Tensor row) { return row * 2; }, {.sequences = {x}, .n_steps = n - 3});
  const auto g = function({x, n}, mapped, {.name = "g"});
  check_values(g(array_of({1, 2}), 4), {2}, 0);
  CHECK(value_error([&] { g(array_of({1, 2}), 2); }) ==
        "g: n_steps is negative: n - 3 is -1  [here]");
  const Tensor inner = map(
      [&](Tensor row) {
        return scan([&](Tensor s) { return sin(s) + row; },
                    {.outputs_info = {ones({})}, .n_steps = 2 * n - 6})[-1];
      },
      {x});
  const auto h = function({x, n}, inner, {.name = "h"});
  CHECK(h(array_of({1, 2}), 4).size() == 2);
  CHECK(value_error([&] { h(array_of({1, 2}), 1); }) ==
        "h: n_steps is negative: 2*n - 6 is -4  [here]");
}

TEST_CASE("scan call error: the last of no steps") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor row, Tensor s) { return s + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}});
  const auto f = function({x}, y[-1], {.name = "f"});
  CHECK(f(array_of({5})).item<float>() == 5);
  CHECK(shape_error([&] { f(Array::zeros({0})); }) ==
        "f: index: index -1 is out of range for axis 0 of scan, which made 0 steps  [here]");
  const Tensor named = scan([](Tensor row, Tensor s) { return s + row; },
                            {.sequences = {x}, .outputs_info = {zeros({})}, .name = "s"});
  const auto g = function({x}, named[2], {.name = "g"});
  CHECK(shape_error([&] { g(Array::zeros({2})); }) ==
        "g: index: index 2 is out of range for axis 0 of scan s, which made 2 steps  [here]");
  // A loop that keeps few of its states is put together of parts.
  for (const bool by_root : {false, true}) {
    ScanOptions options{.sequences = {x}, .outputs_info = {zeros({})}, .name = "s"};
    if (by_root) {
      options.checkpoint = Checkpoints::sqrt;
    } else {
      options.checkpoint_every = 3;
    }
    const Tensor sparing = scan([](Tensor row, Tensor s) { return s + row; }, options);
    const auto h = function({x}, sparing[-1], {.name = "h"});
    CHECK(h(array_of({5, 2})).item<float>() == 7);
    CHECK(shape_error([&] { h(Array::zeros({0})); }) ==
          "h: index: index -1 is out of range for axis 0 of scan s, which made 0 steps  [here]");
  }
}

TEST_CASE("scan call error: taps that reach further than the sequence") {
  const Tensor x = vector("x");
  const Tensor n = scalar("n", i64);
  const Tensor y = scan([](Tensor now, Tensor later) { return now * later; },
                        {.sequences = {{x, {0, 2}}}, .n_steps = n, .name = "pairs"});
  const auto f = function({x, n}, y, {.name = "f"});
  check_values(f(array_of({1, 2, 3, 4}), 2), {3, 8}, 0);
  CHECK(shape_error([&] { f(array_of({1, 2, 3, 4}), 3); }) ==
        "f: scan pairs: sequence x has 4 rows, n_steps is 3: row 4 is read  [here]");
  CHECK(f(array_of({1}), 0).size() == 0);
}

TEST_CASE("scan: a count of one function says nothing about another") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n});
  const Tensor steps = size_of_dim(n) - 3;
  const Tensor y =
      scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}, .n_steps = steps});
  const auto f = function({x}, y, {.name = "f"});
  CHECK(value_error([&] { f(Array::zeros({2})); }) ==
        "f: n_steps is negative: n - 3 is -1  [here]");
  // The same size, as that of a slice.
  const auto g = function({x}, x(slice(3, end)), {.name = "g"});
  CHECK(g(Array::zeros({2})).size() == 0);
  check_values(g(array_of({1, 2, 3, 4})), {4}, 0);
  // Where both meet, they are one size.
  const auto h = function({x}, y + x(slice(3, end)), {.name = "h"});
  check_values(h(array_of({1, 2, 3, 4, 5})), {2 + 4, 4 + 5}, 0);
  // An input that sets a number of steps in one function is any number in another.
  const Tensor k = scalar("k", i64);
  const Tensor powers =
      scan([](Tensor s) { return s * 2; }, {.outputs_info = {ones({})}, .n_steps = k});
  const auto counts = function({k}, powers, {.name = "counts"});
  CHECK(counts(2).size() == 2);
  CHECK(function({k}, k + 1)(-5).item<std::int64_t>() == -4);
}

TEST_CASE("scan call error: nothing has changed after one") {
  const Shared w = shared(Array(2.0F), "w");
  const Shared table = shared(Array::from({1.0F, 2.0F, 4.0F}), "table");
  const Tensor ids = vector("ids", i64);
  const Tensor y = scan([&](Tensor id, Tensor s) { return s * w + table[id]; },
                        {.sequences = {ids}, .outputs_info = {zeros({})}});
  const auto f = function({ids}, y[-1], {.updates = {{w, y[-1]}, {table, table + w}}});
  CHECK_THROWS_AS(f(array_of({0, 1, 3}, i64)), ValueError);
  CHECK(w.get_value().item<float>() == 2);
  check_values(table.get_value(), {1, 2, 4}, 0);
  CHECK(f(array_of({0, 1, 2}, i64)).item<float>() == 12);
  CHECK(w.get_value().item<float>() == 12);
  check_values(table.get_value(), {3, 4, 6}, 0);
}

TEST_CASE("scan call error: sizes that differ name the scan, the state and both types") {
  const Tensor x = matrix("x");
  const Tensor y = scan([](Tensor row, Tensor s) { return row + s; },
                        {.sequences = {x}, .outputs_info = {zeros({7})}, .name = "totals"});
  const auto f = function({x}, y, {.name = "f"});
  CHECK(f(Array::ones({2, 7})).size() == 14);
  CHECK(
      shape_error([&] { f(Array::ones({2, 5})); }) ==
      "f: add: sizes differ: x.shape[1] and 7: x is f32 (x.shape[1],), state0 is f32 (7,)  [here], "
      "in scan totals  [here], where state 0, state0, is f32 (7,): x.shape[1] is 5");
  // Where it is not the state itself that meets the row.
  const Tensor z = scan([](Tensor row, Tensor s) { return tanh(s) * 2 + row; },
                        {.sequences = {x}, .outputs_info = {zeros({7})}});
  CHECK(has(shape_error([&] { function({x}, z, {.name = "f"})(Array::ones({2, 5})); }),
            "in scan  [here], where state 0, state0, is f32 (7,): x.shape[1] is 5"));
}

TEST_CASE("scan call error: a state that no step reads has its type too") {
  const Tensor x = matrix("x");
  const auto last = [&](const Tensor& initial) {
    return function({x},
                    scan([](Tensor row, Tensor) { return tanh(row); },
                         {.sequences = {x}, .outputs_info = {initial}}),
                    {.name = "f"});
  };
  CHECK(shape_error([&] { last(zeros({7}))(Array::ones({2, 5})); }) ==
        "f: broadcast: cannot be repeated to (x.shape[0], 7): 7 and x.shape[1]: tanh is f32 "
        "(x.shape[0], x.shape[1])  [here], in scan  [here], where state 0, state0, is f32 (7,): "
        "x.shape[1] is 5");
  CHECK(last(zeros({7}))(Array::ones({2, 7})).size() == 14);
  const Tensor columns = tensor("columns", {dim("n"), 1});
  const Tensor free = vector("free");
  const Tensor y = scan([](Tensor row, Tensor) { return row; },
                        {.sequences = {columns}, .outputs_info = {free}});
  const auto g = function({columns, free}, y, {.name = "g"});
  CHECK(g(Array::ones({2, 1}), Array::ones({1})).size() == 2);
  CHECK(has(shape_error([&] { g(Array::ones({2, 1}), Array::ones({3})); }),
            "n is 2, n*free.shape[0] is 6"));
}
