// Loops of small steps become one kernel, with scalar states in registers: what it looks like, and
// that it computes what the steps one by one would.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "compiler/loop/traverse.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/scan/scan_tools.h"
#include "tests/tools/program_call.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

Program program_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  return lower(graph, "merged", x86_machine(64));
}

int loop_count(const std::vector<Step>& steps) {
  int count = 0;
  for (const Step& step : steps) {
    if (const auto* loop = std::get_if<std::shared_ptr<const Scan>>(&step.kind)) {
      count += 1 + loop_count((*loop)->steps);
    }
  }
  return count;
}

// The kernels that were loops of kernels.
std::vector<loop::Kernel> merged_loops(const Program& program) {
  std::vector<loop::Kernel> kernels;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    if (kernel.name.find("_scan") != std::string::npos) kernels.push_back(kernel);
  });
  return kernels;
}

int register_count(const loop::Kernel& kernel) {
  int count = 0;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    if (const auto* buffer = std::get_if<loop::Allocate>(&s)) {
      count += buffer->buffer->space == loop::Space::registers ? 1 : 0;
    }
  });
  return count;
}

}  // namespace

TEST_CASE("scan merged: a running sum is one kernel with its state in registers") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor row, Tensor total) { return total + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}});
  const Program every = program_of({x}, {y});
  CHECK(loop_count(every.steps) == 0);
  REQUIRE(merged_loops(every).size() == 1);
  CHECK(register_count(merged_loops(every)[0]) == 2);  // before and after the step
  const Program last = program_of({x}, {y[-1]});
  REQUIRE(merged_loops(last).size() == 1);
  CHECK(register_count(merged_loops(last)[0]) == 2);
  // Of the last value there is one, stored after the loop.
  int stores_in_scan = 0;
  loop::visit_statements(merged_loops(last)[0].body, [&](const loop::Stmt& s) {
    const loop::For* steps = loop::as_for(s);
    if (steps == nullptr) return;
    loop::visit_statements(steps->body, [&](const loop::Stmt& inner) {
      const auto* store = std::get_if<loop::Store>(&inner);
      stores_in_scan += store != nullptr && store->buffer->space == loop::Space::global ? 1 : 0;
    });
  });
  CHECK(stores_in_scan == 0);
}

TEST_CASE("scan merged: steps that threads may share stay steps") {
  const auto loops = [](std::int64_t size) {
    const Tensor w = tensor("w", {size, size}), s0 = tensor("s0", {size});
    const Tensor y =
        scan([&](Tensor s) { return tanh(dot(w, s)); }, {.outputs_info = {s0}, .n_steps = 10});
    return loop_count(program_of({w, s0}, {y}).steps);
  };
  CHECK(loops(16) == 0);
  CHECK(loops(1000) == 1);
  // Nothing is known of this size.
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor s) { return s * s; }, {.outputs_info = {x}, .n_steps = 10});
  CHECK(loop_count(program_of({x}, {y}).steps) == 1);
}

TEST_CASE("scan merged: the compiled kernel and the interpreter agree to the bit") {
  const Tensor x = tensor("x", {dim("steps")});
  const auto [a, b] = scan(
      [](Tensor row, Tensor angle, Tensor speed) {
        const Tensor next = speed - 0.5 * sin(angle) + row;
        return std::pair{angle + 0.5 * next, next};
      },
      {.sequences = {x}, .outputs_info = {ones({}), zeros({})}});
  const Tensor g = grad(sum(square(a)) + b[-1], x);
  const Program program = program_of({x}, {a, b[-1], g});
  CHECK(loop_count(program.steps) == 0);
  const auto f = function({x}, {a, b[-1], g});
  for (const std::int64_t n : {1, 3, 17, 1000}) {
    const Array values = array_of(some_numbers(n));
    compiled_test::ProgramCall call(program, {values});
    REQUIRE_FALSE(call.interpret().has_value());
    const auto have = f(values);
    const std::vector<Array> want = call.outputs();
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(n);
      CAPTURE(k);
      CHECK(numbers(have[k]) == numbers(want[k]));
    }
  }
}

TEST_CASE("scan merged: states of every dtype, all rows, last rows and rows before the step") {
  const Tensor x = vector("x", f64);
  const Tensor flags = vector("flags", boolean);
  const auto outputs = scan(
      [](std::span<const Tensor> args) -> std::vector<Tensor> {
        const Tensor &row = args[0], &flag = args[1], &real = args[2], &single = args[3],
                     &number = args[4], &small = args[5], &odd = args[6];
        return {real * 0.5 + row, single + cast(real, f32), number * 3 + cast(flag, i64),
                where(odd, small + 1, small), ne(odd, flag)};
      },
      {.sequences = {x, flags},
       .outputs_info = {zeros({}, f64), ones({}), ones({}, i64), zeros({}, i32),
                        zeros({}, boolean)}});
  std::vector<Tensor> all(outputs.begin(), outputs.end());
  for (const Tensor& y : outputs) all.push_back(y[-1]);
  const auto stacks = function({x, flags}, {outputs.begin(), outputs.end()});
  const auto f = function({x, flags}, all);
  for (const std::int64_t n : {1, 3, 17, 1000}) {
    CAPTURE(n);
    const std::vector<double> rows = some_numbers(n);
    std::vector<double> bits;
    for (const double value : rows) bits.push_back(value > 0 ? 1 : 0);
    double real = 0;
    float single = 1;
    std::int64_t number = 1;
    std::int32_t small = 0;
    bool odd = false;
    std::vector<std::vector<double>> want(5);
    for (std::int64_t t = 0; t < n; ++t) {
      const auto at = static_cast<std::size_t>(t);
      const bool flag = bits[at] != 0;
      const bool was_odd = odd;
      single += static_cast<float>(real);
      real = real * 0.5 + rows[at];
      number = static_cast<std::int64_t>(static_cast<std::uint64_t>(number) * 3 + (flag ? 1 : 0));
      if (was_odd) ++small;
      odd = was_odd != flag;
      want[0].push_back(real);
      want[1].push_back(static_cast<double>(single));
      want[2].push_back(static_cast<double>(number));
      want[3].push_back(small);
      want[4].push_back(odd ? 1 : 0);
    }
    const std::vector<Array> have = f(array_of(rows, f64), array_of(bits, boolean));
    REQUIRE(have.size() == 10);
    for (std::size_t k = 0; k < 5; ++k) {
      CAPTURE(k);
      CHECK(numbers(have[k]) == want[k]);
      CHECK(numbers(have[k + 5]) == std::vector<double>{want[k].back()});
    }
  }
  for (const Array& nothing : stacks(Array::zeros({0}, f64), Array::zeros({0}, boolean))) {
    CHECK(nothing.shape() == Shape{0});
  }
}

TEST_CASE("scan merged: a step of many kernels, its states vectors and scalars") {
  // Each new value needs the sum of another: kernels of their own.
  const Tensor x = tensor("x", {dim("steps"), 17}, f64);
  const auto [v, s] = scan(
      [](Tensor row, Tensor vector_before, Tensor scalar_before) {
        const Tensor moved = vector_before * 0.5 + row + scalar_before;
        const Tensor total = sum(moved * exp(-square(moved)));
        return std::pair{moved / (1 + square(total)), 0.25 * total};
      },
      {.sequences = {x}, .outputs_info = {zeros({17}, f64), ones({}, f64)}});
  CHECK(loop_count(program_of({x}, {v, s}).steps) == 0);
  const auto f = function({x}, {v, s, v[-1], s[-1]});
  for (const std::int64_t n : {1, 3, 17}) {
    CAPTURE(n);
    const std::vector<double> rows = some_numbers(n * 17);
    std::vector<double> state(17, 0.0), states, scalars;
    double scalar = 1;
    for (std::int64_t t = 0; t < n; ++t) {
      double total = 0;
      for (std::size_t i = 0; i < 17; ++i) {
        state[i] = state[i] * 0.5 + rows[static_cast<std::size_t>(t) * 17 + i] + scalar;
        total += state[i] * std::exp(-state[i] * state[i]);
      }
      for (double& value : state) value /= 1 + total * total;
      scalar = 0.25 * total;
      states.insert(states.end(), state.begin(), state.end());
      scalars.push_back(scalar);
    }
    const auto [all_v, all_s, last_v, last_s] = f(Array::from(rows, {n, 17}));
    check_values(all_v, states, 1e-13);
    check_values(all_s, scalars, 1e-13);
    check_values(last_v, state, 1e-13);
    check_values(last_s, {scalar}, 1e-13);
  }
}

TEST_CASE("scan merged: states of few elements are in registers") {
  for (const DType dtype : {f32, f64, i32}) {
    for (const std::int64_t size : {2, 3, 4, 5, 8, 13, 16, 17}) {
      CAPTURE(size);
      CAPTURE(static_cast<int>(dtype));
      const Tensor x = tensor("x", {dim("steps"), size}, dtype);
      const Tensor w = tensor("w", {size, size}, dtype);
      const auto [a, b] = scan(
          [&](Tensor row, Tensor first, Tensor second) {
            const Tensor turned = first(slice(end, end, -1));
            return std::pair{cast(dot(second, w), dtype) + row,
                             turned - second * cast(sum(row), dtype)};
          },
          {.sequences = {x}, .outputs_info = {zeros({size}, dtype), ones({size}, dtype)}});
      const Program program = program_of({x, w}, {a, b[-1]});
      CHECK(loop_count(program.steps) == 0);
      REQUIRE(merged_loops(program).size() == 1);
      CHECK((register_count(merged_loops(program)[0]) >= 4) == (size <= 16));
      const auto f = function({x, w}, {a, b[-1]});
      for (const std::int64_t n : {1, 3, 17}) {
        CAPTURE(n);
        std::vector<double> rows = some_numbers(n * size), weights = some_numbers(size * size, 2);
        for (double& value : rows) value = dtype == i32 ? std::round(4 * value) : value;
        for (double& value : weights) value = dtype == i32 ? std::round(2 * value) : value / 4;
        const std::vector<Array> values = {array_of(rows, dtype).reshape({n, size}),
                                           array_of(weights, dtype).reshape({size, size})};
        compiled_test::ProgramCall call(program, values);
        REQUIRE_FALSE(call.interpret().has_value());
        const auto have = f(values[0], values[1]);
        const std::vector<Array> interpreted = call.outputs();
        const double tolerance = dtype == f32 ? 1e-4 : 1e-12;  // sums are in another order
        check_values(have[0], numbers(interpreted[0]), tolerance);
        check_values(have[1], numbers(interpreted[1]), tolerance);
        if (dtype != f64) continue;
        const auto width = static_cast<std::size_t>(size);
        std::vector<double> first(width, 0.0), second(width, 1.0), want;
        for (std::size_t t = 0; t < static_cast<std::size_t>(n); ++t) {
          std::vector<double> next(rows.begin() + static_cast<std::ptrdiff_t>(t * width),
                                   rows.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
          double total = 0;
          for (const double value : next) total += value;
          std::vector<double> other(width);
          for (std::size_t i = 0; i < width; ++i) {
            for (std::size_t k = 0; k < width; ++k) next[i] += second[k] * weights[k * width + i];
            other[i] = first[width - 1 - i] - second[i] * total;
          }
          first = next;
          second = other;
          want.insert(want.end(), first.begin(), first.end());
        }
        check_values(have[0], want, 1e-12);
        check_values(have[1], second, 1e-12);
      }
    }
  }
}

TEST_CASE("scan merged: backwards, and taps of a state") {
  const Tensor x = vector("x", f64);
  const Tensor start = vector("start", f64);
  const Tensor y =
      scan([](Tensor row, Tensor before_last,
              Tensor last) { return row + 0.5 * last - 0.25 * before_last; },
           {.sequences = {x}, .outputs_info = {{start, {-2, -1}}}, .go_backwards = true});
  CHECK(loop_count(program_of({x, start}, {y}).steps) == 0);
  const auto f = function({x, start}, {y, grad(sum(square(y)), x)});
  for (const std::int64_t n : {1, 3, 17, 1000}) {
    CAPTURE(n);
    const std::vector<double> rows = some_numbers(n);
    std::vector<double> want{0.5, -1};
    for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
      want.push_back(*row + 0.5 * want.back() - 0.25 * want[want.size() - 2]);
    }
    std::vector<double> back(static_cast<std::size_t>(n) + 2, 0.0);
    for (std::size_t t = static_cast<std::size_t>(n); t-- > 0;) {
      back[t] = 2 * want[t + 2] + 0.5 * back[t + 1] - 0.25 * back[t + 2];
    }
    const auto [have, gradient] = f(Array::from(rows), Array::from({0.5, -1.0}));
    check_values(have, {want.begin() + 2, want.end()}, 1e-13);
    back.resize(static_cast<std::size_t>(n));
    std::reverse(back.begin(), back.end());
    check_values(gradient, back, 1e-12);
  }
}

TEST_CASE("scan merged: an ifelse in the step") {
  const Tensor x = vector("x", f64);
  const auto [a, b] = scan(
      [](Tensor row, Tensor first, Tensor second) {
        const Tensor up = first < 1.0;
        return std::pair{ifelse(up, first + exp(row), first - 1.5),
                         ifelse(up, second, second * 2 + row)};
      },
      {.sequences = {x}, .outputs_info = {zeros({}, f64), ones({}, f64)}});
  const Program program = program_of({x}, {a, b});
  CHECK(loop_count(program.steps) == 0);
  CHECK(merged_loops(program).size() == 1);
  const auto f = function({x}, {a, b[-1]});
  for (const std::int64_t n : {1, 3, 17, 1000}) {
    CAPTURE(n);
    const std::vector<double> rows = some_numbers(n);
    double a_now = 0, b_now = 1;
    std::vector<double> want;
    for (const double row : rows) {
      const bool up = a_now < 1.0;
      a_now = up ? a_now + std::exp(row) : a_now - 1.5;
      b_now = up ? b_now : b_now * 2 + row;
      want.push_back(a_now);
    }
    const auto [all, last] = f(Array::from(rows));
    check_values(all, want, 1e-11);
    check_values(last, {b_now}, 1e-11);
  }
}

TEST_CASE("scan merged: an inner loop in a step that stays a step") {
  // The outer state is large; the inner loop runs over its own row of the sequence each time.
  const Tensor x = tensor("x", {dim("rows"), dim("columns")}, f64);
  const Tensor wide = vector("wide", f64);
  const auto [totals, states] = scan(
      [](Tensor row, Tensor carry, Tensor state) {
        const Tensor total = scan([](Tensor e, Tensor s) { return 0.5 * s + e; },
                                  {.sequences = {row}, .outputs_info = {carry}});
        return std::pair{total[-1], state * total[-1] + 1};
      },
      {.sequences = {x}, .outputs_info = {zeros({}, f64), wide}});
  const Program program = program_of({x, wide}, {totals, states[-1]});
  CHECK(loop_count(program.steps) == 1);
  CHECK(merged_loops(program).size() == 1);
  const auto f = function({x, wide}, {totals, states[-1]});
  for (const std::int64_t rows : {1, 3, 17}) {
    for (const std::int64_t columns : {1, 3, 17}) {
      CAPTURE(rows);
      CAPTURE(columns);
      const std::vector<double> values = some_numbers(rows * columns);
      std::vector<double> want, state{0.5, 1, -2};
      double carry = 0;
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          carry = 0.5 * carry + values[static_cast<std::size_t>(i * columns + j)];
        }
        want.push_back(carry);
        for (double& value : state) value = value * carry + 1;
      }
      const auto [have, last] =
          f(Array::from(values, {rows, columns}), Array::from({0.5, 1.0, -2.0}));
      check_values(have, want, 1e-13);
      check_values(last, state, 1e-12);
    }
  }
}

TEST_CASE("scan merged: loops in loops are one kernel") {
  const Tensor x = tensor("x", {dim("rows"), 3}, f64);
  const Tensor y = scan(
      [](Tensor row, Tensor carry) {
        return scan([](Tensor e, Tensor s) { return sin(s) + e; },
                    {.sequences = {row}, .outputs_info = {carry}})[-1];
      },
      {.sequences = {x}, .outputs_info = {zeros({}, f64)}});
  const Program program = program_of({x}, {y});
  CHECK(loop_count(program.steps) == 0);
  CHECK(merged_loops(program).size() == 1);
  const auto f = function({x}, {y, grad(sum(y), x)});
  const std::vector<double> values = some_numbers(17 * 3);
  double s = 0;
  std::vector<double> want;
  for (std::size_t k = 0; k < values.size(); ++k) {
    s = std::sin(s) + values[k];
    if (k % 3 == 2) want.push_back(s);
  }
  check_values(f(Array::from(values, {17, 3}))[0], want, 1e-13);
}

TEST_CASE("scan merged: a step that fails stops the loop, and nothing is updated") {
  const Shared table = shared(Array::arange(10), "table");
  const Shared calls = shared(Array::zeros({}), "calls");
  const Tensor n = scalar("n", i64);
  const Tensor walk = scan([&](Tensor at) { return cast(take(table, at), i64) * 2 + 1; },
                           {.outputs_info = {zeros({}, i64)}, .n_steps = n});
  CHECK(loop_count(program_of({n}, {walk}).steps) == 0);
  const auto f = function({n}, walk, {.updates = {{calls, calls + 1}}, .name = "walk"});
  check_values(f(4), {1, 3, 7, 15}, 0);
  CHECK_THROWS_WITH_AS(f(5), doctest::Contains("walk: take: index 15 is out of range for axis 0"),
                       ValueError);
  CHECK(calls.get_value().item<float>() == 1);
  check_values(f(0), {}, 0);
  CHECK(calls.get_value().item<float>() == 2);
}

TEST_CASE("scan merged: print and profile show the loop's lines") {
  const Tensor x = vector("x");
  const Tensor y = scan([](Tensor row, Tensor s) { return tanh(s) + row; },
                        {.sequences = {x}, .outputs_info = {zeros({})}});
  const auto f = function({x}, y, {.profile = true});
  f(Array::zeros({17}));
  const Profile profile = f.profile();
  const auto loop = std::find_if(profile.kernels.begin(), profile.kernels.end(), [](auto& row) {
    return row.name.find("_scan") != std::string::npos;
  });
  REQUIRE(loop != profile.kernels.end());
  CHECK(loop->calls == 1);
  CHECK(loop->flops >= 17 * 10);
  CHECK(loop->source.find("test_scan_merged.cpp:") != std::string::npos);
  std::ostringstream text;
  f.print(text);
  CHECK(text.str().find(loop->name) != std::string::npos);
}
