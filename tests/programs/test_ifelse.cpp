// ifelse in compiled functions: values, and that the side not taken is not evaluated, shown by an
// index out of range in it.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <random>
#include <set>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/compiled_tools.h"

namespace test_ifelse {

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

using Floats = std::vector<float>;

Floats floats(const Array& array) {
  const std::span<const float> data = array.data<float>();
  return {data.begin(), data.end()};
}

Tensor flag(const char* name) { return scalar(name, boolean); }

Array truth(bool value) { return Array::full({}, value ? 1 : 0, boolean); }

// Two inputs, a table and indices into it, good ones and bad ones.
struct Lookup {
  Tensor c = flag("c");
  Tensor d = flag("d");
  Tensor x = vector("x");
  Tensor ids = vector("ids", i64);
  Array table = Array::from({1.0F, 2.0F, 4.0F});
  Array good = Array::from({std::int64_t{2}, std::int64_t{0}});
  Array bad = Array::from({std::int64_t{2}, std::int64_t{7}});
  Tensor rows = take(x, ids);
};

int count_branches(const std::vector<Step>& steps) {
  int count = 0;
  for (const Step& step : steps) {
    if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      count += 1 + count_branches((*branch)->then_steps) + count_branches((*branch)->else_steps);
    }
  }
  return count;
}

Program program_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                   const std::vector<std::pair<Shared, Tensor>>& updates = {}) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  return lower(graph, "program", x86_machine(64));
}

// Gradients of the cost compiled, for both conditions, against the reference interpreter, and
// there against finite differences.
void check_gradients(const Tensor& cost, const Tensor& c, const Tensor& x, const Array& at) {
  for (const bool taken : {true, false}) {
    CAPTURE(taken);
    CHECK_NOTHROW(verify_grad(cost, {{c, truth(taken)}, {x, at}}));
    check_agrees({{c, x}, {cost, grad(cost, x)}, {truth(taken), at}});
  }
}

// Vectors computed from each other, some by lookups with indices of their own, some by an ifelse of
// one of three flags; the cost is the sum of the last two.
class RandomGraph {
 public:
  explicit RandomGraph(std::uint64_t seed) : random_(seed) {
    const Tensor flags[] = {flag("c0"), flag("c1"), flag("c2")};
    inputs.assign(flags, flags + 3);
    inputs.push_back(x);
    std::vector<Tensor> values{x};
    steps_.push_back({});
    while (values.size() < 14) {
      Step step{pick(8), {}, 0};
      for (std::size_t& operand : step.operands) {
        operand = values.size() - 1 - pick(std::min<std::size_t>(values.size(), 5));
      }
      const Tensor& a = values[step.operands[0]];
      const Tensor& b = values[step.operands[1]];
      if (step.kind < 2) {
        values.push_back(step.kind == 0 ? tanh(a) : a * 0.5 + b);
      } else if (step.kind == 2) {
        values.push_back(a * b + sum(b) * 0.1);
      } else if (step.kind < 5) {
        step.which = lookups++;
        inputs.push_back(tensor("ids" + std::to_string(step.which), {3}, i64));
        values.push_back(take(a, inputs.back()));
      } else {
        step.which = pick(3);
        values.push_back(ifelse(flags[step.which], a, b));
      }
      steps_.push_back(step);
    }
    cost = sum(values.back()) + sum(values[values.size() - 2]) + sum(x);
  }

  // Which lookups the cost needs with these flags.
  std::set<std::size_t> needed_lookups(unsigned flags) const {
    std::set<std::size_t> result;
    std::vector<bool> needed(steps_.size(), false);
    needed[steps_.size() - 1] = needed[steps_.size() - 2] = true;
    for (std::size_t k = steps_.size(); k-- > 1;) {
      if (!needed[k]) continue;
      const Step& step = steps_[k];
      const bool branch = step.kind >= 5;
      const bool lookup = step.kind >= 3 && !branch;
      if (lookup) result.insert(step.which);
      const bool taken = (flags >> step.which & 1) != 0;
      if (!branch || taken) needed[step.operands[0]] = true;
      if (branch ? !taken : step.kind == 1 || step.kind == 2) needed[step.operands[1]] = true;
    }
    return result;
  }

  std::vector<Array> values(unsigned flags, const std::set<std::size_t>& bad) const {
    std::vector<Array> result;
    for (unsigned k = 0; k < 3; ++k) result.push_back(truth((flags >> k & 1) != 0));
    result.push_back(Array::from({0.5F, -1.25F, 0.75F}));
    for (std::size_t k = 0; k < lookups; ++k) {
      const std::int64_t last = bad.contains(k) ? 3 : static_cast<std::int64_t>(k % 3);
      result.push_back(Array::from({std::int64_t{2}, std::int64_t{0}, last}));
    }
    return result;
  }

  Tensor x = tensor("x", {3});
  std::vector<Tensor> inputs;
  Tensor cost;
  std::size_t lookups = 0;

 private:
  struct Step {
    std::size_t kind = 0;  // 0: tanh, 1 and 2: of two, 3 and 4: a lookup, above: an ifelse
    std::size_t operands[2] = {0, 0};
    std::size_t which = 0;  // lookup or flag
  };
  std::size_t pick(std::size_t count) { return random_() % count; }
  std::mt19937_64 random_;
  std::vector<Step> steps_;
};

std::vector<Argument> arguments(const std::vector<Array>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("ifelse: both values, scalars and matrices, sizes 0 to 17") {
  const Tensor c = flag("c");
  const Tensor x = matrix("x");
  const Tensor y = matrix("y");
  for (const std::int64_t rows : {0, 1, 3, 17}) {
    for (const bool taken : {true, false}) {
      CAPTURE(rows);
      CAPTURE(taken);
      const Tensor mixed = ifelse(c, exp(x) + 1, dot(y, transpose(y)) * sum(x));
      check_agrees(
          {{c, x, y},
           {ifelse(c, x, y), ifelse(c, sum(x), 3), ifelse(c, x * 2, 0) + y, mixed},
           {truth(taken), random_array({rows, rows}, f32, 1), random_array({rows, rows}, f32, 2)}});
    }
  }
}

TEST_CASE("ifelse: integers, booleans, and a computed condition") {
  const Tensor x = vector("x", i32);
  const Tensor y = vector("y", i32);
  const Tensor more = sum(x) > sum(y);
  const Tensor larger = ifelse(more, x, y);
  const Tensor flags = ifelse(more, x<y, x> y);
  for (const int first : {5, -5}) {
    check_agrees({{x, y},
                  {larger, flags, ifelse(more, 1, 2) + x},
                  {Array::from({first, 2, 3}), Array::from({1, 1, 9})}});
  }
}

TEST_CASE("ifelse: constants, leaves, views and outputs given twice") {
  const Tensor c = flag("c");
  const Tensor x = matrix("x");
  const Shared w = shared(Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}}), "w");
  const Tensor chosen = ifelse(c, transpose(x), w);
  for (const bool taken : {true, false}) {
    check_agrees({{c, x},
                  {chosen, chosen, ifelse(c, x, x), ifelse(true, x, w), ifelse(c & ~c, x, w),
                   ifelse(~c, x, w) * 2, ifelse(c, 1.0F, 2.0F) + x},
                  {truth(taken), random_array({2, 2}, f32, 1)}});
  }
}

TEST_CASE("ifelse: the side not taken is not evaluated") {
  const Lookup t;
  const auto f = function({t.c, t.x, t.ids}, ifelse(t.c, sum(t.rows) * 2, sum(t.x)));
  CHECK(f(true, t.table, t.good).item<float>() == 10);
  CHECK(f(false, t.table, t.good).item<float>() == 7);
  CHECK(f(false, t.table, t.bad).item<float>() == 7);
  CHECK_THROWS_WITH_AS(f(true, t.table, t.bad),
                       doctest::Contains("take: index 7 is out of range for axis 0 of x, whose "
                                         "size is 3  [test_ifelse.cpp:"),
                       ValueError);
}

TEST_CASE("ifelse: what both sides share is evaluated once, before") {
  const Lookup t;
  const Tensor chosen = ifelse(t.c, t.rows * 2, t.rows + 1);
  const auto f = function({t.c, t.x, t.ids}, chosen);
  CHECK(floats(f(true, t.table, t.good)) == Floats{8, 2});
  CHECK(floats(f(false, t.table, t.good)) == Floats{5, 2});
  CHECK_THROWS_AS(f(true, t.table, t.bad), ValueError);
  CHECK_THROWS_AS(f(false, t.table, t.bad), ValueError);
  // Also elsewhere: then it is needed in any case.
  const auto g = function({t.c, t.x, t.ids}, {ifelse(t.c, sum(t.rows), 0), t.rows + 1});
  CHECK_THROWS_AS(g(false, t.table, t.bad), ValueError);
  CHECK(g(false, t.table, t.good)[0].item<float>() == 0);
}

TEST_CASE("ifelse: nested") {
  const Lookup t;
  const Tensor inner = ifelse(t.d, sum(t.rows), sum(t.x * t.x));
  const auto f = function({t.c, t.d, t.x, t.ids}, ifelse(t.c, inner * 10, sum(t.x)));
  CHECK(f(true, true, t.table, t.good).item<float>() == 50);
  CHECK(f(true, false, t.table, t.bad).item<float>() == 210);
  CHECK(f(false, true, t.table, t.bad).item<float>() == 7);
  CHECK_THROWS_AS(f(true, true, t.table, t.bad), ValueError);
  // A condition that only one side has.
  const Tensor late = ifelse(t.c, ifelse(sum(t.rows) > 4, t.x, -t.x), t.x * 3);
  const auto g = function({t.c, t.x, t.ids}, late);
  CHECK(floats(g(true, t.table, t.good)) == Floats{1, 2, 4});
  CHECK(floats(g(false, t.table, t.bad)) == Floats{3, 6, 12});
  CHECK_THROWS_AS(g(true, t.table, t.bad), ValueError);
}

TEST_CASE("ifelse: what several branches need, but not always, is evaluated only for them") {
  const Lookup t;
  const Tensor shared_rows = exp(t.rows) - 1;
  const Tensor total =
      ifelse(t.c, sum(shared_rows), 1) + ifelse(t.d, sum(shared_rows * shared_rows), 2);
  const auto f = function({t.c, t.d, t.x, t.ids}, total);
  CHECK(f(false, false, t.table, t.bad).item<float>() == 3);
  const double a = std::exp(4.0) - 1;
  const double b = std::exp(1.0) - 1;
  CHECK(f(true, false, t.table, t.good).item<float>() == doctest::Approx(a + b + 2));
  CHECK(f(false, true, t.table, t.good).item<float>() == doctest::Approx(1 + a * a + b * b));
  CHECK(f(true, true, t.table, t.good).item<float>() ==
        doctest::Approx(a + b + a * a + b * b).epsilon(1e-6));
  CHECK_THROWS_AS(f(true, false, t.table, t.bad), ValueError);
  CHECK_THROWS_AS(f(false, true, t.table, t.bad), ValueError);
}

TEST_CASE("ifelse: a condition that says where another one, which it is computed from, is needed") {
  const Lookup t;
  const Tensor large = sum(t.rows) > 3;
  const Tensor first = ifelse(t.c, ifelse(large, sum(t.x), 1), 2);
  const Tensor small = ifelse(t.c, ~large, false);
  const Array low = Array::from({std::int64_t{0}, std::int64_t{0}});
  const auto f = function({t.c, t.x, t.ids},
                          first + 10 * ifelse(small, ifelse(t.c, ifelse(large, 5, 6), 7), 8));
  CHECK(f(false, t.table, t.bad).item<float>() == 82);
  CHECK(f(true, t.table, t.good).item<float>() == 87);
  CHECK(f(true, t.table, low).item<float>() == 61);
  CHECK_THROWS_AS(f(true, t.table, t.bad), ValueError);
  // The second use is not behind all that the first one is behind.
  const auto g = function({t.c, t.d, t.x, t.ids},
                          first + 10 * ifelse(small, ifelse(t.d, ifelse(large, 5, 6), 7), 8));
  CHECK(g(false, false, t.table, t.bad).item<float>() == 82);
  CHECK(g(false, true, t.table, t.good).item<float>() == 82);
  for (const bool d : {false, true}) {
    CHECK(g(true, d, t.table, t.good).item<float>() == 87);
    CHECK(g(true, d, t.table, low).item<float>() == (d ? 61 : 71));
  }
  CHECK_THROWS_AS(g(true, false, t.table, t.bad), ValueError);
}

TEST_CASE("ifelse: gradients") {
  const Tensor c = flag("c");
  const Tensor x = vector("x");
  const Array at = Array::from({0.5F, -0.25F, 1.5F});
  const Tensor y = tanh(x);
  check_gradients(ifelse(c, sum(y * y), sum(exp(x))), c, x, at);
  check_gradients(sum(ifelse(c, y * x, 0) * y), c, x, at);
  check_gradients(sum(square(ifelse(c, y, x))) + sum(ifelse(c, y * 2, y * y)), c, x, at);
  // Nested, with a condition that is computed, and with a gradient of the gradient.
  const Tensor nested = ifelse(c, ifelse(sum(x) > 1, exp(y), y * y), ifelse(sum(y) > 9, x, y));
  check_gradients(sum(nested * x), c, x, at);
  const Tensor slope = grad(sum(nested * nested), x);
  check_gradients(sum(slope * slope * x), c, x, at);
}

TEST_CASE("ifelse: gradients of what several conditions share") {
  const Tensor c = flag("c");
  const Tensor d = flag("d");
  const Tensor x = vector("x");
  const Array at = Array::from({0.5F, -0.25F, 1.5F});
  const Tensor y = tanh(x) * x;
  const Tensor z = exp(y);
  const Tensor cost =
      sum(ifelse(c, z, x)) + sum(ifelse(d, z * y, 0)) + ifelse(c, ifelse(d, sum(y), 0), sum(z * z));
  for (const bool first : {true, false}) {
    for (const bool second : {true, false}) {
      CHECK_NOTHROW(verify_grad(cost, {{c, truth(first)}, {d, truth(second)}, {x, at}}));
      check_agrees({{c, d, x}, {cost, grad(cost, x)}, {truth(first), truth(second), at}});
    }
  }
}

TEST_CASE("ifelse: the gradient of the side not taken is not evaluated") {
  const Lookup t;
  const Tensor cost = ifelse(t.c, sum(t.rows * t.rows), sum(t.x * t.x * t.x));
  const auto f = function({t.c, t.x, t.ids}, {cost, grad(cost, t.x)});
  CHECK(floats(f(true, t.table, t.good)[1]) == Floats{2, 0, 8});
  CHECK(floats(f(false, t.table, t.good)[1]) == Floats{3, 12, 48});
  CHECK(floats(f(false, t.table, t.bad)[1]) == Floats{3, 12, 48});
  CHECK_THROWS_AS(f(true, t.table, t.bad), ValueError);
  CHECK_NOTHROW(verify_grad(cost, {{t.c, truth(false)}, {t.x, t.table}, {t.ids, t.bad}}));
  CHECK_THROWS_AS(verify_grad(cost, {{t.c, truth(true)}, {t.x, t.table}, {t.ids, t.bad}}),
                  ValueError);
  // The gradient alone, and one that no value of the lookup is needed for.
  const Tensor linear = ifelse(t.c, sum(t.rows), sum(t.x));
  const auto g = function({t.c, t.x, t.ids}, grad(linear, t.x));
  CHECK(floats(g(true, t.table, t.good)) == Floats{1, 0, 1});
  CHECK(floats(g(false, t.table, t.bad)) == Floats{1, 1, 1});
  CHECK_THROWS_AS(g(true, t.table, t.bad), ValueError);
}

TEST_CASE("ifelse: the gradient of what two branches share is evaluated only for them") {
  const Lookup t;
  const Tensor cost = ifelse(t.c, sum(t.rows), 0) + ifelse(t.d, sum(t.rows * t.rows), 0) + sum(t.x);
  const auto f = function({t.c, t.d, t.x, t.ids}, grad(cost, t.x));
  CHECK(floats(f(false, false, t.table, t.bad)) == Floats{1, 1, 1});
  CHECK(floats(f(true, false, t.table, t.good)) == Floats{2, 1, 2});
  CHECK(floats(f(true, true, t.table, t.good)) == Floats{4, 1, 10});
  CHECK_THROWS_AS(f(false, true, t.table, t.bad), ValueError);
  // Two values of one condition: both are in one branch.
  const Tensor pair = sum(ifelse(t.c, t.rows, 0)) + sum(ifelse(t.c, exp(t.rows), 0)) + sum(t.x);
  const auto g = function({t.c, t.x, t.ids}, grad(pair, t.x));
  CHECK(floats(g(false, t.table, t.bad)) == Floats{1, 1, 1});
  CHECK(floats(g(true, t.table, t.good))[2] == doctest::Approx(2 + std::exp(4.0)));
}

TEST_CASE("ifelse: updates under a condition") {
  const Lookup t;
  const Shared w = shared(Array::from({1.0F, 2.0F, 3.0F}), "w");
  const Shared n = shared(Array::full({}, 0, i64), "n");
  const auto f = function({t.c, t.ids}, sum(w),
                          {.updates = {{w, ifelse(t.c, w * 2 + sum(take(w, t.ids)), w)},
                                       {n, ifelse(t.c, n + 1, n - 1)}}});
  CHECK(f(true, t.good).item<float>() == 6);
  CHECK(floats(w.get_value()) == Floats{6, 8, 10});
  CHECK(n.get_value().item<std::int64_t>() == 1);
  CHECK_THROWS_AS(f(true, t.bad), ValueError);
  CHECK(floats(w.get_value()) == Floats{6, 8, 10});
  CHECK(n.get_value().item<std::int64_t>() == 1);
  CHECK(f(false, t.bad).item<float>() == 24);
  CHECK(floats(w.get_value()) == Floats{6, 8, 10});
  CHECK(n.get_value().item<std::int64_t>() == 0);
}

TEST_CASE("ifelse: updates that read each other and the condition's own state") {
  const Shared on = shared(truth(true), "on");
  const Shared a = shared(Array::from({1.0F, 2.0F}), "a");
  const Shared b = shared(Array::from({3.0F, 4.0F}), "b");
  const auto swap = function(
      {}, {.updates = {{on, logical_not(on)}, {a, ifelse(on, b, a)}, {b, ifelse(on, a, b * 10)}}});
  swap();
  CHECK(floats(a.get_value()) == Floats{3, 4});
  CHECK(floats(b.get_value()) == Floats{1, 2});
  CHECK_FALSE(on.get_value().item<bool>());
  swap();
  CHECK(floats(a.get_value()) == Floats{3, 4});
  CHECK(floats(b.get_value()) == Floats{10, 20});
  const Tensor total = ifelse(sum(a) > 5, a + b, 0);
  const auto add = function({}, total, {.updates = {{a, total}, {b, ifelse(on, 1, total)}}});
  CHECK(floats(add()) == Floats{13, 24});
  CHECK(floats(a.get_value()) == Floats{13, 24});
  CHECK(floats(b.get_value()) == Floats{1, 1});
}

TEST_CASE("ifelse: a training step that skips a gradient that is not finite") {
  const Tensor x = matrix("x");
  const Shared w = shared(Array::normal({3, 2}, 1), "w");
  const Tensor loss = sum(square(dot(x, w)));
  const Tensor finite = loss < 1e30;
  const auto train =
      function({x}, loss, {.updates = {{w, ifelse(finite, w - 0.01 * grad(loss, w), w)}}});
  const Array before = w.get_value();
  train(Array::full({5, 3}, 1e30));
  CHECK(floats(w.get_value()) == floats(before));
  const float first = train(Array::normal({5, 3}, 2)).item<float>();
  CHECK(train(Array::normal({5, 3}, 2)).item<float>() < first);
  // In place, in one branch.
  const Program program =
      program_of({x}, {loss}, {{w, ifelse(finite, w - 0.01 * grad(loss, w), w)}});
  CHECK(count_branches(program.steps) == 1);
  CHECK(to_string(program).find("_copy") == std::string::npos);
}

TEST_CASE("ifelse: several of one condition share a branch, and results are written in place") {
  const Tensor c = flag("c");
  const Tensor x = matrix("x");
  const Tensor h = ifelse(c, tanh(dot(x, x)), x);
  const Tensor k = ifelse(c, exp(dot(x, x)), dot(x, transpose(x)));
  const Tensor m = ifelse(~c, x + 1, sum(h) + k);
  const Program program = program_of({c, x}, {h * 2, k, m});
  CHECK(count_branches(program.steps) == 1);
  const std::string text = to_string(program);
  CHECK(text.find("if c") != std::string::npos);
  // Only x must be copied: all else is computed where the result lies.
  CHECK(text.find("_ifelse(in x: ") != std::string::npos);
  CHECK(text.find("_ifelse(") == text.rfind("_ifelse("));
}

TEST_CASE("ifelse: random graphs evaluate what they need, and nothing else that may fail") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const RandomGraph graph(seed);
    const Tensor slope = grad(graph.cost, graph.x);
    const auto f =
        function(graph.inputs, {graph.cost, slope}, {.on_unused_input = UnusedInput::ignore});
    for (unsigned flags = 0; flags < 8; ++flags) {
      CAPTURE(flags);
      const std::set<std::size_t> needed = graph.needed_lookups(flags);
      const std::vector<Array> good = graph.values(flags, {});
      const auto results = f.call(arguments(good));
      const auto want = expected({graph.inputs, {graph.cost, slope}, good});
      CHECK(difference(want[0], results[0]) == "");
      CHECK(difference(want[1], results[1], {1e-5}) == "");
      // All the others out of range.
      std::set<std::size_t> others;
      for (std::size_t k = 0; k < graph.lookups; ++k) {
        if (!needed.contains(k)) others.insert(k);
      }
      const auto again = f.call(arguments(graph.values(flags, others)));
      CHECK(floats(again[0]) == floats(results[0]));
      CHECK(floats(again[1]) == floats(results[1]));
      for (const std::size_t k : needed) {
        CAPTURE(k);
        CHECK_THROWS_AS(f.call(arguments(graph.values(flags, {k}))), ValueError);
      }
    }
  }
}

TEST_CASE("ifelse: errors of building it") {
  const Tensor c = flag("c");
  const Tensor x = matrix("x");
  const Tensor v = vector("v");
  CHECK_THROWS_WITH_AS(ifelse(sum(x), x, x),
                       doctest::Contains("ifelse: the condition must be boolean: "), TypeError);
  CHECK_THROWS_WITH_AS(ifelse(x > 0, x, x * 2),
                       doctest::Contains("ifelse: the condition must be a scalar"), ShapeError);
  CHECK_THROWS_WITH_AS(ifelse(c, x, v), doctest::Contains("ifelse: ranks differ: "), ShapeError);
  CHECK_THROWS_WITH_AS(ifelse(c, zeros({3}), zeros({4})),
                       doctest::Contains("ifelse: sizes differ: "), ShapeError);
  CHECK_THROWS_AS(ifelse(c, vector("i", i64), 0.5), TypeError);
  // Free sizes must be equal at every call.
  const Tensor u = vector("u");
  const auto g = function({c, v, u}, ifelse(c, v, u));
  CHECK_THROWS_AS(g(true, Array::zeros({3}), Array::zeros({4})), ShapeError);
}

}  // namespace test_ifelse
