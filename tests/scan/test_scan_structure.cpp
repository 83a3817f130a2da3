// What a scan becomes: one loop of the Program whatever its length, with nothing in it that could
// be outside, and nothing stored that nobody reads.
#include <doctest/doctest.h>

#include <set>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

// As for a GPU, where every loop stays a Scan step (on CPUs: test_scan_merged.cpp).
Program program_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                   const std::vector<std::pair<Shared, Tensor>>& updates = {}) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  Machine machine = gpu_machine();
  machine.persistent_scans = false;
  return lower(graph, "scan_structure", machine);
}

void collect_loops(const std::vector<Step>& steps, std::vector<const Scan*>& loops) {
  for (const Step& step : steps) {
    if (const auto* loop = std::get_if<std::shared_ptr<const Scan>>(&step.kind)) {
      loops.push_back(loop->get());
      collect_loops((*loop)->steps, loops);
    }
  }
}
// Outer ones first.
std::vector<const Scan*> loops_of(const Program& program) {
  std::vector<const Scan*> loops;
  collect_loops(program.steps, loops);
  return loops;
}

// The buffer that a buffer is a part of, or itself.
const loop::Buffer& whole(const Program& program, const loop::BufferRef& buffer) {
  const Placement& place = program.placements.at(buffer->id);
  return place.kind == Placement::Kind::part ? whole(program, place.of) : *buffer;
}

// Whether a kernel inside the loop reads argument `index` (inputs, then shared variables).
bool reads_argument(const Program& program, const Scan& loop, int index) {
  bool found = false;
  for_each_kernel(loop.steps, [&](const loop::Kernel& kernel) {
    for (const loop::BufferRef& buffer : kernel.inputs) {
      const Placement& place = program.placements.at(whole(program, buffer).id);
      found |= place.kind == Placement::Kind::argument && place.argument == index;
    }
  });
  return found;
}

// Whether a kernel inside the loop writes a buffer of that many elements.
bool writes_size(const Scan& loop, std::int64_t elements) {
  bool found = false;
  for_each_kernel(loop.steps, [&](const loop::Kernel& kernel) {
    for (const loop::BufferRef& buffer : kernel.outputs) {
      found |= buffer->size.is_constant(elements);
    }
  });
  return found;
}

bool mentions(const Dim& dim, const std::string& name) {
  bool found = false;
  dim.visit_variables([&](const DimAtomRef& atom) { found |= atom->name == name; });
  return found;
}

// The arena of a function, so many steps long.
std::int64_t arena_bytes(const Program& program, std::int64_t steps) {
  return program.arena_bytes.evaluate(
      [&](const DimAtom& atom) { return atom.name == "steps" ? steps : 1; });
}

}  // namespace

TEST_CASE("scan structure: one loop, whatever the number of steps") {
  const auto of_length = [](const Steps& n, const std::vector<Tensor>& more = {}) {
    const Tensor s0 = tensor("s0", {7});
    const Tensor w = tensor("w", {7, 7});
    const Tensor y =
        scan([&](Tensor s) { return tanh(dot(s, w)); }, {.outputs_info = {s0}, .n_steps = n});
    const auto [g0, gw] = grad(sum(square(y)), s0, w);
    std::vector<Tensor> inputs = {s0, w};
    inputs.insert(inputs.end(), more.begin(), more.end());
    return program_of(inputs, {y, g0, gw});
  };
  const Program ten = of_length(10);
  const Program thousand = of_length(1000);
  REQUIRE(loops_of(ten).size() == 2);  // there and back
  REQUIRE(loops_of(thousand).size() == 2);
  CHECK(loops_of(ten)[0]->extent == Dim(10));
  CHECK(loops_of(thousand)[0]->extent == Dim(1000));
  CHECK(ten.steps.size() == thousand.steps.size());
  CHECK(kernel_count(ten.steps) == kernel_count(thousand.steps));
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(kernel_count(loops_of(ten)[k]->steps) == kernel_count(loops_of(thousand)[k]->steps));
  }
  const Tensor n = scalar("n", i64);
  CHECK(loops_of(of_length(n, {n})).size() == 2);
}

TEST_CASE("scan structure: products of sequences leave the loop as one") {
  const Tensor x = tensor("x", {dim("steps"), 5});
  const Tensor w = tensor("w", {5, 7});
  const Tensor v = tensor("v", {7, 7});
  const Tensor s0 = tensor("s0", {7});
  const Tensor y = scan([&](Tensor row, Tensor s) { return tanh(dot(row, w) + dot(s, v)); },
                        {.sequences = {x}, .outputs_info = {s0}});
  const Program program = program_of({x, w, v, s0}, {y});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 1);
  CHECK(loops[0]->extent == dim("steps"));
  CHECK_FALSE(reads_argument(program, *loops[0], 0));  // x
  CHECK_FALSE(reads_argument(program, *loops[0], 1));  // w
  CHECK(reads_argument(program, *loops[0], 2));        // v
}

TEST_CASE("scan structure: a matrix that products read transposed is transposed before the loop") {
  const Tensor x = tensor("x", {dim("steps"), 3, 7});
  const Tensor w = tensor("w", {7, 7});
  const auto states = [&](bool transposed) {
    const auto step = [&](Tensor row, Tensor s) {
      const Tensor matrix = transposed ? transpose(w) : w;
      return tanh(row + dot(tanh(dot(s, matrix)), matrix));
    };
    return scan(step, {.sequences = {x}, .outputs_info = {zeros({3, 7})}});
  };
  const Program direct = program_of({x, w}, {states(false)});
  REQUIRE(loops_of(direct).size() == 1);
  CHECK(reads_argument(direct, *loops_of(direct)[0], 1));
  const Program program = program_of({x, w}, {states(true)});
  REQUIRE(loops_of(program).size() == 1);
  CHECK_FALSE(reads_argument(program, *loops_of(program)[0], 1));
  CHECK(kernel_count(loops_of(program)[0]->steps) == kernel_count(loops_of(direct)[0]->steps));
  // One launch with what makes the first state.
  CHECK(kernel_count(program.steps) == kernel_count(direct.steps));
}

TEST_CASE("scan structure: chosen columns of a matrix leave the loop as one") {
  const Tensor x = tensor("x", {dim("steps")}, i64);
  const Tensor u = tensor("u", {7, 11});
  const Tensor v = tensor("v", {7, 7});
  const Tensor y = scan([&](Tensor word, Tensor s) { return tanh(u(all, word) + dot(v, s)); },
                        {.sequences = {x}, .outputs_info = {zeros({7})}});
  const Program program = program_of({x, u, v}, {y});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 1);
  CHECK_FALSE(reads_argument(program, *loops[0], 0));
  CHECK_FALSE(reads_argument(program, *loops[0], 1));
}

TEST_CASE("scan structure: outputs that no step reads back are computed after the loop") {
  const Tensor x = tensor("x", {dim("steps"), 7});
  const Tensor v = tensor("v", {11, 7});
  const auto outputs = scan(
      [&](Tensor row, Tensor s) {
        const Tensor next = tanh(row + 0.5 * s);
        return std::pair{softmax(dot(v, next)), next};
      },
      {.sequences = {x}, .outputs_info = {none, zeros({7})}});
  const Program program = program_of({x, v}, {outputs[0]});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 1);
  CHECK_FALSE(reads_argument(program, *loops[0], 1));
}

TEST_CASE("scan structure: what is the same in every step is computed before the loop") {
  const Tensor x = tensor("x", {dim("steps"), 7});
  const Tensor w = tensor("w", {7});
  const Tensor y = scan([&](Tensor row, Tensor s) { return s * exp(w) + row; },
                        {.sequences = {x}, .outputs_info = {zeros({7})}});
  const Program program = program_of({x, w}, {y});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 1);
  CHECK_FALSE(reads_argument(program, *loops[0], 1));
  CHECK(kernel_count(loops[0]->steps) == 1);
}

TEST_CASE("scan structure: a map is no loop") {
  const Tensor x = tensor("x", {dim("steps"), 7});
  const Tensor w = tensor("w", {7, 5});
  const Tensor y = map([&](Tensor row) { return tanh(dot(row, w)); }, {x});
  CHECK(loops_of(program_of({x, w}, {y})).empty());
}

TEST_CASE("scan structure: the gradient of a weight is one product after the loop") {
  const Tensor x = tensor("x", {dim("steps"), 5});
  const Tensor w = tensor("w", {5, 7});
  const Tensor v = tensor("v", {7, 7});
  const Tensor s0 = tensor("s0", {7});
  const Tensor y = scan([&](Tensor row, Tensor s) { return tanh(dot(row, w) + dot(s, v)); },
                        {.sequences = {x}, .outputs_info = {s0}});
  const auto [gw, gv] = grad(sum(square(y)), w, v);
  const Program program = program_of({x, w, v, s0}, {gw, gv});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 2);
  for (const Scan* loop : loops) {
    CHECK_FALSE(writes_size(*loop, 35));
    CHECK_FALSE(writes_size(*loop, 49));
    CHECK_FALSE(reads_argument(program, *loop, 0));
    CHECK_FALSE(reads_argument(program, *loop, 1));
  }
}

TEST_CASE("scan structure: a state of which only the last value is read is not stored") {
  const Tensor x = tensor("x", {dim("steps"), 100});
  const Tensor y = scan([](Tensor row, Tensor s) { return sin(s) + row; },
                        {.sequences = {x}, .outputs_info = {zeros({100})}});
  const Program last = program_of({x}, {y[-1]});
  CHECK_FALSE(mentions(last.arena_bytes, "steps"));
  CHECK(arena_bytes(last, 1000) == arena_bytes(last, 10));
  // What is read whole is stored whole.
  const Program whole_sum = program_of({x}, {sum(cos(y))});
  CHECK(arena_bytes(whole_sum, 1000) >= 1000 * 400);
}

TEST_CASE("scan structure: only the last values of several states and of taps") {
  const Tensor x = tensor("x", {dim("steps"), 100});
  const Tensor start = tensor("start", {3, 100});
  const auto [a, b] = scan(
      [](Tensor row, Tensor a3, Tensor a1, Tensor b1) {
        const Tensor next = sin(a3 + a1) + row;
        return std::pair{next, b1 * cos(next)};
      },
      {.sequences = {x}, .outputs_info = {{start, {-3, -1}}, ones({100})}});
  const Program program = program_of({x, start}, {a[-1], b[-1]});
  CHECK(arena_bytes(program, 1000) == arena_bytes(program, 10));
  CHECK(arena_bytes(program, 1000) < 16 * 400);
}

TEST_CASE("scan structure: an output that is not used is not computed") {
  const Tensor x = tensor("x", {dim("steps"), 7});
  const Tensor w = tensor("w", {7, 7});
  const auto outputs = scan(
      [&](Tensor row, Tensor s, Tensor unused) {
        const Tensor next = sin(s) + row;
        return std::array{next, dot(unused, w), dot(s, w)};
      },
      {.sequences = {x}, .outputs_info = {zeros({7}), zeros({7}), none}});
  const Program program = program_of({x, w}, {outputs[0]});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 1);
  CHECK(kernel_count(loops[0]->steps) == 1);
  CHECK_FALSE(reads_argument(program, *loops[0], 1));
}

TEST_CASE("scan structure: a scan inside a scan is a loop inside a loop") {
  const Tensor x = tensor("x", {dim("rows"), dim("columns")});
  const Tensor y = scan(
      [](Tensor row, Tensor carry) {
        return scan([](Tensor e, Tensor s) { return sin(s) + e; },
                    {.sequences = {row}, .outputs_info = {carry}})[-1];
      },
      {.sequences = {x}, .outputs_info = {zeros({})}});
  const Program program = program_of({x}, {y});
  const std::vector<const Scan*> loops = loops_of(program);
  REQUIRE(loops.size() == 2);
  CHECK(loops[0]->extent == dim("rows"));
  CHECK(loops[1]->extent == dim("columns"));
}

TEST_CASE("scan structure: a dump is the same every time") {
  const auto once = [] {
    const Tensor x = tensor("x", {dim("steps"), 5});
    const Shared w = shared(Array::zeros({5, 5}), "w");
    const Tensor y = scan([&](Tensor row, Tensor s) { return tanh(row + dot(s, w)); },
                          {.sequences = {x}, .outputs_info = {zeros({5})}});
    return to_string(program_of({x}, {y}, {{w, w - grad(sum(square(y)), w)}}));
  };
  CHECK(once() == once());
}
