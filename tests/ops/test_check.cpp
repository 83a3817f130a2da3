// kt::check: what it lets through, what it says, and where it takes part.
#include <doctest/doctest.h>
#include <kroton/check.h>
#include <kroton/kroton.h>

#include <limits>

#include "tests/aot/aot_tools.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

namespace test_check {

using namespace kroton;  // NOLINT: tests
using error_text::shape_error;
using error_text::type_error;
using error_text::value_error;

namespace {

const Tensor x = vector("x");

Array floats(std::initializer_list<float> values) { return Array::from(values); }

}  // namespace

TEST_CASE("check: the value where the condition holds, and else an error with the first place") {
  const Shared calls = shared(0.0F, "calls");
  const auto f = function({x}, 2 * check(x >= 0, x, "x must not be negative"),
                          {.updates = {{calls, calls + 1}}, .name = "f"});
  CHECK(array_equal(f(floats({1, 0, 3})), floats({2, 0, 6})));
  CHECK(array_equal(f(Array::zeros({0})), Array::zeros({0})));
  CHECK(value_error([&] { f(floats({1, 0, 3, -1, 4, -2})); }) ==
        "f: check: x must not be negative: it does not hold at index 3  [here]");
  // A NaN fails every comparison but ne; nothing has been updated.
  CHECK(value_error([&] { f(floats({std::numeric_limits<float>::quiet_NaN()})); }) ==
        "f: check: x must not be negative: it does not hold at index 0  [here]");
  CHECK(calls.get_value().item<float>() == 2);
  for (const std::int64_t size : {1, 7, 8, 17, 1000, 100000}) {
    Array values = Array::ones({size});
    values.data<float>()[static_cast<std::size_t>(size - 1)] = -1;
    CHECK(value_error([&] { f(values); }) ==
          "f: check: x must not be negative: it does not hold at index " +
              std::to_string(size - 1) + "  [here]");
  }
}

TEST_CASE("check: conditions of other ranks and shapes") {
  const Tensor m = matrix("m"), t = tensor("t", {dim("n"), 2, 3}), s = scalar("s");
  const auto f = function({m}, check(m < 5, m, "large"), {.name = "f"});
  CHECK(value_error([&] { f(Array::from({{1.0F, 2.0F, 3.0F}, {4.0F, 5.0F, 6.0F}})); }) ==
        "f: check: large: it does not hold at index (1, 1)  [here]");
  const auto g = function({t}, check(t < 5, t, "large"), {.name = "g"});
  Array values = Array::ones({2, 2, 3});
  values.data<float>()[10] = 7;
  CHECK(value_error([&] { g(values); }) ==
        "g: check: large: it does not hold at index 1 of the first axis and element 4 of the "
        "others  [here]");
  const auto h = function({s, x}, check(s > 0, x, "no"), {.name = "h"});
  CHECK(value_error([&] { h(-1.0F, floats({1, 2})); }) == "h: check: no: it does not hold  [here]");
  CHECK(array_equal(h(1.0F, floats({1, 2})), floats({1, 2})));
  // Of another shape than x.
  const auto k = function({m, x}, check(m < 5, x, "no"), {.name = "k"});
  CHECK(array_equal(k(Array::ones({4, 5}), floats({1, 2})), floats({1, 2})));
  CHECK(array_equal(k(Array::ones({0, 5}), floats({1, 2})), floats({1, 2})));
  CHECK(value_error([&] { k(Array::from({{1.0F, 2.0F}, {4.0F, 5.0F}}), floats({1})); }) ==
        "k: check: no: it does not hold at index (1, 1)  [here]");
  CHECK(type_error([&] { check(x, x, "no"); }) ==
        "check: the condition must be boolean: x is f32 (x.shape[0],), x is f32 (x.shape[0],)  "
        "[here]");
}

TEST_CASE("check: all of it is looked at, though a part is wanted, and nothing that is not") {
  const Tensor held = check(x > 0, x, "positive");
  const std::pair<const char*, Tensor> parts[] = {
      {"first", held[0]},
      {"slice", held(slice(0, 2))},
      {"reversed", held(slice(end, end, -1))[0]},
      {"sum", sum(held)},
      {"taken", take(held, Operand(Array::from({std::int64_t{0}})))},
      {"times 0", held * 0}};
  for (const auto& [name, part] : parts) {
    CAPTURE(name);
    CHECK_THROWS_AS(function({x}, part)(floats({1, 2, -1})), ValueError);
    CHECK_NOTHROW(function({x}, part)(floats({1, 2, 1})));
  }
  // Its text is no name.
  CHECK(held.name() == "check");
  const auto f = function({x}, where(x > 0, 1, 0) + 0 * x);
  CHECK_NOTHROW(f(floats({-1})));
  const Tensor wanted = scalar("wanted", boolean);
  const auto g = function({wanted, x}, ifelse(wanted, held, x));
  CHECK(array_equal(g(false, floats({-1})), floats({-1})));
  CHECK_THROWS_AS(g(true, floats({-1})), ValueError);
}

TEST_CASE("check: the gradient passes through, in scans too") {
  const Tensor d = vector("d", f64);
  const Tensor held = check(d > 0, d, "positive");
  const Array at = Array::from({1.0, 2.0, 3.0});
  const Tensor cost = sum(held * held * held);
  verify_grad(cost, {{d, at}});
  verify_grad(sum(sin(grad(cost, d))), {{d, at}});
  CHECK_THROWS_AS(function({d}, grad(cost, d))(Array::from({1.0, -2.0})), ValueError);
  const auto running =
      scan([](Tensor v, Tensor total) { return total + check(v > total, v, "it must rise"); },
           {.sequences = {d}, .outputs_info = {zeros({}, f64)}});
  const auto f = function({d}, {running, grad(sum(running), d)}, {.name = "f"});
  CHECK(array_equal(f(Array::from({1.0, 2.0, 4.0}))[1], Array::from({3.0, 2.0, 1.0})));
  CHECK(value_error([&] { f(Array::from({1.0, 0.5})); }) ==
        "f: check: it must rise: it does not hold  [here]");
}

TEST_CASE("check: ahead of time") {
  const TemporaryDirectory directory;
  aot::write({x}, check(x > 0, x, "positive"), {.name = "held", .directory = directory.path()});
  const std::string text = aot_tools::read_file(directory.path() + "/held.o");
  CHECK(text.find("held: check: positive: it does not hold at an index") != std::string::npos);
}

TEST_CASE("cuda: checks") {
  const gpu_emulator::TestCuda cuda;
  const auto f =
      function({x}, 2 * check(x > 0, x, "positive"), {.name = "f", .target = kroton::cuda()});
  CHECK(array_equal(f(floats({1, 2})), floats({2, 4})));
  CHECK(value_error([&] { f(floats({1, 2, -1})); }) ==
        "f: check: positive: it does not hold at index 2  [here]");
}

TEST_CASE("check: constants are arrays as expressions") {
  const Tensor c = constant(floats({1, 2}));
  CHECK(c.dtype() == f32);
  CHECK(array_equal(function({x}, concatenate({c, x}))(floats({3})), floats({1, 2, 3})));
  CHECK(constant(Array(2.0)).rank() == 0);
}

}  // namespace test_check
