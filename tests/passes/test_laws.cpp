// Rewrites are laws: a graph has the same values after a pass as before it. Random graphs, pass by
// pass, so that the pass that breaks one is named; on random values and on special ones.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "compiler/passes/passes.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/generator.h"
#include "tests/tools/graph_helpers.h"

using namespace kroton;  // NOLINT: tests

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

enum class Kind { ordinary, ties, huge_and_tiny, not_finite };
constexpr Kind kinds[] = {Kind::ordinary, Kind::ties, Kind::huge_and_tiny, Kind::not_finite};

// Floating inputs get values of that kind, the others keep theirs.
void specialise(ReferenceValue& value, Kind kind, std::uint64_t seed) {
  if (!is_float(value.dtype) || kind == Kind::ordinary) return;
  constexpr std::array<double, 5> ties = {0, 1, -1, -0.0, 1};
  constexpr std::array<double, 7> extremes = {1e30, -1e30, 1e-30, -1e-30, 0, -0.0, 1};
  constexpr std::array<double, 8> specials = {inf, 1, -inf, nan, 0, -0.0, 2, -1};
  const auto fill = [&](const auto& from) {
    for (std::size_t i = 0; i < value.data.size(); ++i) {
      value.data[i] = from[(i * 7 + seed) % from.size()];
      if (value.dtype == DType::f32) value.data[i] = static_cast<float>(value.data[i]);
    }
  };
  if (kind == Kind::ties) fill(ties);
  if (kind == Kind::huge_and_tiny) fill(extremes);
  if (kind == Kind::not_finite) fill(specials);
}

// The graph's outputs, as expressions that the interpreter takes, and its inputs' nodes.
struct Exported {
  std::vector<Tensor> all;  // keeps inputs that no output needs
  std::vector<Tensor> outputs;
  fuzz::Bindings bindings;
};
Exported exported(const Graph& graph, const std::vector<ReferenceValue>& inputs) {
  std::vector<Graph::Vertex> roots = graph.inputs;
  roots.insert(roots.end(), graph.outputs.begin(), graph.outputs.end());
  Exported result;
  result.all = graph.export_expressions(roots);
  const std::vector<Tensor>& all = result.all;
  for (std::size_t k = 0; k < inputs.size(); ++k) result.bindings[&all[k].node()] = inputs[k];
  result.outputs.assign(all.begin() + static_cast<std::ptrdiff_t>(inputs.size()), all.end());
  return result;
}

// What one pass changed, or "". `stabilizes`: what was not finite may become finite.
std::string change(const fuzz::Expected& before, const std::vector<ReferenceValue>& after,
                   bool stabilizes) {
  for (std::size_t k = 0; k < before.values.size(); ++k) {
    if (after[k].dtype != before.values[k].dtype || after[k].shape != before.values[k].shape) {
      return "output " + std::to_string(k) + " has another type";
    }
    for (std::size_t i = 0; i < after[k].data.size(); ++i) {
      const double want = before.values[k].data[i];
      const double have = after[k].data[i];
      if (want == have || (std::isnan(want) && std::isnan(have))) continue;
      if (std::isinf(before.bounds[k][i])) continue;
      if (stabilizes && !std::isfinite(want)) continue;
      if (std::abs(want - have) <= before.bounds[k][i]) continue;
      return "element " + std::to_string(i) + " of output " + std::to_string(k) + " was " +
             std::to_string(want) + ", is " + std::to_string(have);
    }
  }
  return "";
}

struct Values {
  std::vector<ReferenceValue> inputs;
  const char* of;
};

// Runs the passes one after the other on the graph of the program.
void check_laws(std::uint64_t seed, bool before_gradient) {
  const fuzz::Program program = fuzz::generate(seed);
  const fuzz::Built built = fuzz::build(program);
  std::optional<Graph> graph;
  try {
    graph.emplace(built.inputs, built.outputs, std::span<const std::pair<Shared, Tensor>>());
  } catch (const ShapeError&) {
    return;  // two sizes at once
  }
  constexpr const char* names[] = {"ordinary values", "ties", "huge and tiny values",
                                   "values that are not finite"};
  std::vector<Values> samples;
  for (const Kind kind : kinds) {
    std::vector<ReferenceValue> inputs;
    for (const Array& array : built.arguments(program, false)) {
      inputs.push_back(from_array(array));
      specialise(inputs.back(), kind, seed + inputs.size());
    }
    samples.push_back({std::move(inputs), names[static_cast<std::size_t>(kind)]});
  }
  for (const Pass& pass : all_passes()) {
    if (before_gradient && !pass.before_gradient) continue;
    // What each sample gives before the pass; those that end in an error say nothing.
    std::vector<fuzz::Expected> before;
    for (const Values& sample : samples) {
      const Exported expressions = exported(*graph, sample.inputs);
      before.push_back(fuzz::expect(expressions.outputs, expressions.bindings, 2, 1));
    }
    const std::string text = to_string(*graph);
    if (!pass.run(*graph)) continue;
    CAPTURE(seed);
    CAPTURE(pass.name);
    REQUIRE_NOTHROW(verify(*graph));
    for (std::size_t s = 0; s < samples.size(); ++s) {
      if (!before[s].error.empty()) continue;
      const Exported expressions = exported(*graph, samples[s].inputs);
      const std::vector<ReferenceValue> after = evaluate(expressions.outputs, expressions.bindings);
      const bool stabilizes = std::string_view(pass.name) == "stabilize";
      std::string changed = change(before[s], after, stabilizes);
      if (changed.empty()) continue;
      // The bounds of many runs, before it is called wrong.
      Graph again(built.inputs, built.outputs, std::span<const std::pair<Shared, Tensor>>());
      for (const Pass& earlier : all_passes()) {
        if (&earlier == &pass) break;
        if (!before_gradient || earlier.before_gradient) earlier.run(again);
      }
      const Exported old = exported(again, samples[s].inputs);
      changed = change(fuzz::expect(old.outputs, old.bindings, 30, 4), after, stabilizes);
      if (changed.empty()) continue;
      FAIL_CHECK(samples[s].of << ": " << changed << "\nbefore:\n"
                               << text << "after:\n"
                               << to_string(*graph));
      return;
    }
  }
}

}  // namespace

TEST_CASE("laws: each pass keeps the values of random graphs") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) check_laws(seed, false);
}

TEST_CASE("laws: each pass that runs before a gradient keeps them too") {
  for (std::uint64_t seed = 150; seed < 250; ++seed) check_laws(seed, true);
}

TEST_CASE("laws: passes leave nothing for a second run, and what they leave verifies") {
  verify_passes = true;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const fuzz::Program program = fuzz::generate(seed);
    const fuzz::Built built = fuzz::build(program);
    CAPTURE(seed);
    try {
      Graph graph(built.inputs, built.outputs, std::span<const std::pair<Shared, Tensor>>());
      REQUIRE_NOTHROW(run_passes(graph));
      const std::size_t size = graph.size();
      REQUIRE_NOTHROW(run_passes(graph));
      CHECK(graph.size() <= size);
    } catch (const ShapeError&) {
    }
  }
}
