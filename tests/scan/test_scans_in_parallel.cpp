// Scans that become running operations on a GPU: which do, and that they compute the same, by the
// interpreter of the loop IR and, some of them, in the emulator.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <limits>

#include "compiler/lower/lower.h"
#include "compiler/ops/records.h"
#include "compiler/passes/passes.h"
#include "compiler/scan/parallel.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/like_cpu.h"
#include "tests/tools/program_call.h"

using namespace compiled_test;  // NOLINT: tests
using namespace kroton;         // NOLINT: tests

namespace {

Graph graph_for_gpu(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  run_gpu_passes(graph);
  verify(graph);
  return graph;
}

int loops_left(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  const Graph graph = graph_for_gpu(inputs, outputs);
  const auto order = graph.topological_order();
  return static_cast<int>(std::count_if(order.begin(), order.end(),
                                        [&](Graph::Vertex v) { return graph.is_op(v, scan_op); }));
}

// The results without loops, for each set of arguments.
void check_without_loops(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                         const std::vector<std::vector<Array>>& calls,
                         const Tolerance& tolerance = {1e-4, 1e-11}) {
  CHECK(loops_left(inputs, outputs) == 0);
  const Program program = lower(graph_for_gpu(inputs, outputs), "parallel", gpu_machine());
  for (const std::vector<Array>& values : calls) {
    CAPTURE(to_string(values[0].shape()));
    const std::vector<ReferenceValue> want = expected({inputs, outputs, values});
    ProgramCall call(program, values);
    REQUIRE(!call.interpret());
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(difference(want[k], call.outputs()[k], tolerance) == "");
    }
  }
}

// Steps of one state and one row, of any shape.
using OneStep = Tensor (*)(const Tensor& row, const Tensor& state);
const std::vector<std::pair<const char*, OneStep>> linear_steps = {
    {"sum", [](const Tensor& x, const Tensor& s) { return s + x; }},
    {"difference", [](const Tensor& x, const Tensor& s) { return x - s; }},
    {"decay", [](const Tensor& x, const Tensor& s) { return 0.9 * s + x; }},
    {"a mean that moves", [](const Tensor& x, const Tensor& s) { return s + 0.1 * (x - s); }},
    {"product", [](const Tensor& x, const Tensor& s) { return s * (1 + 0.01 * x); }},
    {"factor and term", [](const Tensor& x, const Tensor& s) { return s * sin(x) - x * x; }},
    {"quotient", [](const Tensor& x, const Tensor& s) { return (s - x) / (2 + x * x); }},
    {"by turns",
     [](const Tensor& x, const Tensor& s) {
       return where(gt(x, 0), s, 0) * 0.5 + where(gt(x, 0), 0, s - x);
     }},
    {"kept", [](const Tensor& x, const Tensor& s) { return where(gt(x, 0), 0.5 * s, s); }},
    {"negated", [](const Tensor& x, const Tensor& s) { return -(s - x) * 0.5 + (s + s) * 0.2; }},
    {"largest", [](const Tensor& x, const Tensor& s) { return maximum(x, s); }},
    {"smallest", [](const Tensor& x, const Tensor& s) { return minimum(minimum(s, x), x + 1); }},
    {"same", [](const Tensor&, const Tensor& s) { return s; }},
    {"new", [](const Tensor& x, const Tensor&) { return 2 * x; }},
};
const std::vector<std::pair<const char*, OneStep>> other_steps = {
    {"tanh", [](const Tensor& x, const Tensor& s) { return tanh(s + x); }},
    {"square", [](const Tensor& x, const Tensor& s) { return s * s + x; }},
    {"divisor", [](const Tensor& x, const Tensor& s) { return x / (1 + s); }},
    // A NaN of before is forgotten.
    {"restart", [](const Tensor& x, const Tensor& s) { return where(gt(x, 1), x, s + x); }},
    {"forgotten", [](const Tensor& x, const Tensor& s) { return -where(gt(x, 0), 0, s) + x; }},
    {"forgotten twice",
     [](const Tensor& x, const Tensor& s) {
       return where(gt(x, 0), s, 0) + where(gt(x, 1), 0, s);
     }},
    {"condition", [](const Tensor& x, const Tensor& s) { return where(gt(s, 0), s - x, s + x); }},
    {"between", [](const Tensor& x, const Tensor& s) { return minimum(maximum(s + x, -1), 1); }},
};

// For rows of 3, and what stands before the first one.
std::vector<std::vector<Array>> rows_and_starts() {
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t n : {0, 1, 2, 129}) {
    calls.push_back({random_array({n, 3}, f64, 1), random_array({3}, f64, 2)});
  }
  return calls;
}

}  // namespace

TEST_CASE("scans in parallel: every form of a linear step with gradients") {
  for (const auto& [name, step] : linear_steps) {
    CAPTURE(name);
    for (const bool backwards : {false, true}) {
      CAPTURE(backwards);
      const Tensor x = tensor("x", {dim("n"), 3}, f64), s0 = tensor("s0", {3}, f64);
      const Tensor y = scan([&](Tensor row, Tensor state) { return step(row, state); },
                            {.sequences = {x}, .outputs_info = {s0}, .go_backwards = backwards});
      const auto [gx, gs] = grad(sum(y * y) + sum(x) + sum(s0), x, s0);
      const bool is_extreme = name == std::string("largest") || name == std::string("smallest");
      std::vector<Tensor> outputs = {y, y * 2};
      if (!is_extreme) outputs.insert(outputs.end(), {gx, gs});
      check_without_loops({x, s0}, outputs, rows_and_starts());
    }
  }
}

TEST_CASE("scans in parallel: the last value alone") {
  for (const auto& [name, step] : linear_steps) {
    CAPTURE(name);
    const Tensor x = tensor("x", {dim("n"), 3}, f64), s0 = tensor("s0", {3}, f64);
    const Tensor y = foldl([&](Tensor row, Tensor state) { return step(row, state); }, {x}, s0);
    check_without_loops({x, s0}, {y}, rows_and_starts());
  }
}

TEST_CASE("scans in parallel: other steps stay loops") {
  for (const auto& [name, step] : other_steps) {
    CAPTURE(name);
    const Tensor x = vector("x"), s0 = scalar("s0");
    const Tensor y = scan([&](Tensor row, Tensor state) { return step(row, state); },
                          {.sequences = {x}, .outputs_info = {s0}});
    CHECK(loops_left({x, s0}, {y}) == 1);
  }
}

TEST_CASE("scans in parallel: where threads or memory speak against it they stay loops") {
  const auto loops = [](const Dims& shape, const Dim& steps, bool all_rows) {
    const Tensor a = tensor("a", shape), x = tensor("x", {steps});
    const Tensor y = scan([&](Tensor row, Tensor state) { return a * state + row; },
                          {.sequences = {x}, .outputs_info = {zeros(shape)}});
    return loops_left({a, x}, {all_rows ? y : y[-1]});
  };
  CHECK(loops({5000}, dim("n"), true) == 1);  // as many threads
  CHECK(loops({4000}, dim("n"), true) == 0);
  CHECK(loops({4000}, dim("n"), false) == 1);  // all values would be kept
  CHECK(loops({dim("m")}, dim("n"), false) == 1);
  CHECK(loops({8}, dim("n"), false) == 0);
  CHECK(loops({8}, 128, true) == 1);
  CHECK(loops({8}, 129, true) == 0);
}

TEST_CASE("scans in parallel: states that read others and scalars and whole numbers") {
  const Tensor x = vector("x", f64), k = vector("k", i32);
  const Tensor start = scalar("start", i32), a = scalar("a", f64);
  const auto [sums, means, counts] = scan(
      [&](Tensor now, Tensor sum, Tensor mean, Tensor count) {
        const Tensor next = sum + now;
        return std::tuple{next, a * mean + next / cast(count + 1, f64), count + 1};
      },
      {.sequences = {x}, .outputs_info = {zeros({}, f64), zeros({}, f64), std::int64_t{0}}});
  const auto totals = scan([](Tensor now, Tensor total) { return total * 3 + now; },
                           {.sequences = {k}, .outputs_info = {start}});
  const auto [ga, gx] = grad(sum(means * means), a, x);
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t n : {0, 1, 200}) {
    calls.push_back(
        {random_array({n}, f64, 1), random_array({n}, i32, 2), Array(std::int32_t{7}), Array(0.9)});
  }
  check_without_loops({x, k, start, a}, {sums, means, counts, totals, ga, gx}, calls);
}

TEST_CASE("scans in parallel: rows by taps and steps and an older state") {
  const Tensor x = tensor("x", {dim("n"), 2}, f64), s0 = tensor("s0", {2, 2}, f64);
  for (const bool backwards : {false, true}) {
    const auto [y, sums] =
        scan([](Tensor before, Tensor after, Tensor older,
                Tensor last) { return std::pair{0.5 * last + before * after, older + last}; },
             {.sequences = {{x, {-1, 1}}},
              .outputs_info = {{s0, {-2, -1}}, none},
              .go_backwards = backwards});
    std::vector<std::vector<Array>> calls;
    for (const std::int64_t n : {2, 3, 4, 200}) {
      calls.push_back({random_array({n, 2}, f64, 1), random_array({2, 2}, f64, 2)});
    }
    check_without_loops({x, s0}, {y, sums, y * 3}, calls);
  }
}

TEST_CASE("scans in parallel: NaN and infinity stay from where they are") {
  const Tensor x = vector("x", f64);
  const auto by = [&](OneStep step) {
    return scan([&](Tensor row, Tensor state) { return step(row, state); },
                {.sequences = {x}, .outputs_info = {zeros({}, f64)}});
  };
  std::vector<std::vector<Array>> calls;
  for (const double special :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Array values = random_array({300}, f64, 1);
    values.data<double>()[170] = special;
    calls.push_back({values});
  }
  std::vector<Tensor> outputs;
  for (const char* name : {"sum", "decay", "largest", "smallest"}) {
    for (const auto& [other, step] : linear_steps) {
      if (other == std::string(name)) outputs.push_back(by(step));
    }
  }
  check_without_loops({x}, outputs, calls);
}

TEST_CASE("cuda: scans in parallel under a condition and beside a loop that stays") {
  const Tensor x = vector("x", f64), c = scalar("c", boolean);
  const Tensor y = scan([](Tensor row, Tensor state) { return 0.9 * state + row; },
                        {.sequences = {x}, .outputs_info = {zeros({}, f64)}});
  const Tensor z = scan([](Tensor row, Tensor state) { return tanh(state + row); },
                        {.sequences = {y}, .outputs_info = {zeros({}, f64)}});
  CHECK(loops_left({x, c}, {ifelse(c, y, z)}) == 1);
  const gpu_emulator::TestCuda cuda;
  std::vector<std::vector<Array>> calls;
  for (const bool condition : {false, true}) {
    calls.push_back({random_array({150}, f64, 1), Array(condition)});
  }
  check_like_cpu({x, c}, {ifelse(c, y, z), grad(sum(z * y), x)}, calls);
}

TEST_CASE("cuda: scans in parallel") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = tensor("x", {dim("n"), 2}), s0 = tensor("s0", {2}), a = tensor("a", {2});
  const Tensor y = scan([&](Tensor row, Tensor state) { return a * state + row; },
                        {.sequences = {x}, .outputs_info = {s0}});
  const Tensor total = reduce([](Tensor row, Tensor state) { return state + sum(row); },
                              {.sequences = {x}, .outputs_info = {zeros({})}});
  const auto [gx, gs, ga] = grad(sum(y * y), x, s0, a);
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t n : {0, 1, 128, 129, 2100}) {
    calls.push_back(
        {random_array({n, 2}, f32, 1), random_array({2}, f32, 2), Array::from({0.9F, -0.5F})});
  }
  check_like_cpu({x, s0, a}, {y, total, gx, gs, ga}, calls, 1e-4);
  // Neighbours in memory, in chunks.
  const Tensor v = vector("v"), factors = vector("factors");
  const Tensor z = scan([](Tensor now, Tensor by, Tensor state) { return by * state + now; },
                        {.sequences = {v, factors}, .outputs_info = {zeros({})}});
  check_like_cpu({v, factors}, {z, grad(sum(z * z), factors)},
                 {{random_array({9000}, f32, 1), random_array({9000}, f32, 2)}}, 1e-4);
}

TEST_CASE("cuda: scans beside those in parallel") {
  const gpu_emulator::TestCuda cuda;
  const Tensor v = vector("v"), k = scalar("k", i64), h = tensor("h", {dim("n")}, f16);
  const auto decays = [](const Tensor& row, const Tensor& state) { return 0.9 * state + row; };
  // The number of steps is an input, and there are no rows.
  const Tensor powers =
      scan([](Tensor state) { return 1.001 * state; }, {.outputs_info = {ones({2})}, .n_steps = k});
  // A state that is rounded in each step, one that ends the loop, one that is computed again.
  const Tensor narrow = scan([](Tensor row, Tensor state) { return state + row; },
                             {.sequences = {h}, .outputs_info = {zeros({}, f16)}});
  const Tensor ended =
      scan([](Tensor row, Tensor state) { return until(state + row, gt(state + row, 3)); },
           {.sequences = {v}, .outputs_info = {zeros({})}});
  const Tensor again = reduce(
      decays, {.sequences = {v}, .outputs_info = {zeros({})}, .checkpoint = Checkpoints::sqrt});
  const Tensor y = scan(decays, {.sequences = {v}, .outputs_info = {zeros({})}});
  // A loop in each step of another one.
  const Tensor nested = scan(
      [&](Tensor row, Tensor state) {
        return state + row * reduce(decays, {.sequences = {v}, .outputs_info = {state}});
      },
      {.sequences = {v}, .outputs_info = {zeros({})}, .n_steps = 3});
  const std::vector<Tensor> outputs = {powers,
                                       narrow,
                                       ended,
                                       again,
                                       y,
                                       y[-1],
                                       powers[-1] * 2,
                                       nested,
                                       grad(again + sum(y), v),
                                       grad(grad(sum(y * y * y), v)[0], v)};
  for (const std::int64_t n : {3, 150}) {
    check_like_cpu({v, k, h}, outputs,
                   {{random_array({n}, f32, 1), Array(n), random_array({n}, f16, 2)}}, 1e-3);
  }
}
