// What compiled functions show of themselves: print, dot, profile.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <sstream>

#include "compiler/codegen/llvm/machine_peak.h"
#include "compiler/ir/graph.h"
#include "compiler/loop/count.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"

namespace kt = kroton;

namespace {

struct Layer {
  kt::Tensor x = kt::tensor("x", {kt::dim("n"), 3});
  kt::Shared w = kt::shared(kt::Array::ones({3, 5}), "w");
  kt::Shared total = kt::shared(kt::Array::zeros({5}), "total");

  kt::Function<1> make(bool profile) {
    const kt::Tensor y = kt::relu(kt::dot(x, w));
    return kt::function(
        {x}, kt::softmax(y, 1),
        {.updates = {{total, total + kt::sum(y, 0)}}, .name = "layer", .profile = profile});
  }
};

int count(const std::string& text, const std::string& what) {
  int found = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

// The one kernel of y = f(x), and its work for n rows.
kt::loop::Work work_of(const kt::Tensor& x, const kt::Tensor& y, std::int64_t n, double* bytes) {
  const std::vector<kt::Tensor> inputs{x}, outputs{y};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::x86_machine(32));
  REQUIRE(program.steps.size() == 1);
  const auto& kernel = std::get<kt::loop::Kernel>(program.steps[0].kind);
  const auto value_of = [&](const kt::DimAtom&) { return n; };
  const kt::loop::Work work = kt::loop::count_work(kernel, value_of);
  *bytes = kt::loop::count_bytes(kernel, work, value_of);
  return work;
}

}  // namespace

TEST_CASE("print: the program's arguments, kernels, lines and buffers") {
  Layer layer;
  const auto f = layer.make(false);
  std::ostringstream stream;
  f.print(stream);
  const std::string text = stream.str();
  CAPTURE(text);
  CHECK(text.starts_with("function layer  [test_inspect.cpp:"));
  CHECK(count(text, "  input x : f32 (n, 3)\n") == 1);
  CHECK(count(text, "  shared w : f32 (3, 5)\n") == 1);
  CHECK(count(text, "  shared total : f32 (5,), updated\n") == 1);
  CHECK(count(text, "  output 0 : f32 (n, 5)\n") == 1);
  CHECK(count(text, "  arena : ") == 1);
  CHECK(count(text, "k0_dot  [test_inspect.cpp:") == 1);
  CHECK(count(text, "  in x : f32[3*n], input x\n") == 1);
  CHECK(count(text, "  in w : f32[15], shared w\n") == 1);
  CHECK(count(text, ", slot 0\n") >= 2);  // the product's result: written, and read
  CHECK(count(text, ", output 0\n") == 1);
  CHECK(count(text, "  out total : f32[5], shared total\n") == 1);
}

TEST_CASE("dot: a graph of kernels, stored values and results") {
  Layer layer;
  const std::string text = layer.make(false).dot();
  CAPTURE(text);
  CHECK(text.starts_with("digraph \"layer\" {\n"));
  CHECK(text.ends_with("}\n"));
  CHECK(count(text, "{") == count(text, "}"));
  CHECK(count(text, "subgraph cluster_") >= 2);
  CHECK(count(text, "[label=\"dot\\nf32 (n, 5)\\ntest_inspect.cpp:") == 1);
  CHECK(count(text, "[label=\"input x\\nf32 (n, 3)") == 1);
  CHECK(count(text, "[label=\"output 0\", shape=ellipse]") == 1);
  CHECK(count(text, "[label=\"new total\", shape=ellipse]") == 1);
  // Names are quoted.
  auto odd = kt::vector("a\"b\\c");
  CHECK(count(kt::function({odd}, odd + 1).dot(), "input a\\\"b\\\\c\\n") == 1);
}

TEST_CASE("profile: calls, time, operations and bytes of every kernel") {
  Layer layer;
  const auto f = layer.make(true);
  for (int k = 0; k < 3; ++k) f(kt::Array::ones({17, 3}));
  f(kt::Array::ones({1, 3}));
  f(kt::Array::ones({0, 3}));
  const kt::Profile profile = f.profile();
  CHECK(profile.name == "layer");
  CHECK(profile.calls == 5);
  CHECK(profile.seconds > 0);
  CHECK(profile.peak_flops > 1e8);
  CHECK(profile.peak_bandwidth > 1e7);
  REQUIRE(profile.kernels.size() >= 2);
  double sum = 0;
  for (const kt::KernelProfile& row : profile.kernels) {
    CAPTURE(row.name);
    CHECK(row.calls == 5);
    CHECK(row.seconds >= 0);
    CHECK(row.bytes > 0);
    CHECK(row.depth == 0);
    CHECK(row.source.starts_with("test_inspect.cpp:"));
    CHECK(row.flop_share >= 0);
    sum += row.seconds;
  }
  CHECK(sum <= profile.seconds);
  const kt::KernelProfile& product = profile.kernels[0];
  CHECK(product.name == "k0_dot");
  // A multiply-add for each of 17 * 3 * 5 (1 * 3 * 5), and more for rows that fill up a tile.
  CHECK(product.flops >= (3 * 17 + 1) * 3 * 5 * 2);
  CHECK(product.flops < (3 * 20 + 4) * (3 + 1) * 5 * 2 * 4);
  // x, w and the result, 4 bytes each; with no rows perhaps still w.
  CHECK(product.bytes >= 4 * (3 * (17 * 3 + 15 + 17 * 5) + (3 + 15 + 5)));
  CHECK(product.bytes <= 4 * (3 * (17 * 3 + 15 + 17 * 5) + (3 + 15 + 5) + 15));

  std::ostringstream table;
  table << profile;
  CAPTURE(table.str());
  CHECK(table.str().starts_with("layer: 5 calls, "));
  CHECK(count(table.str(), "k0_dot  [test_inspect.cpp:") == 1);
  CHECK(count(table.str(), "between kernels\n") == 1);
}

TEST_CASE("print, dot and profile of a loop") {
  auto x = kt::matrix("x");
  // Large enough that a step stays a step.
  auto w = kt::shared(kt::Array::normal({1000, 1000}, 1), "w");
  const kt::Tensor h =
      kt::scan([&](const kt::Tensor& row,
                   const kt::Tensor& before) { return kt::tanh(row + kt::dot(w, before)); },
               {.sequences = {x}, .outputs_info = {kt::Tensor(kt::sum(x, 0) * 0)}});
  const auto f = kt::function({x}, h[-1], {.profile = true});
  f(kt::Array::ones({7, 1000}));
  f(kt::Array::ones({1, 1000}));
  const kt::Profile profile = f.profile();
  int inside = 0;
  for (const kt::KernelProfile& row : profile.kernels) {
    CAPTURE(row.name);
    if (row.depth == 0) {
      CHECK(row.calls == 2);
      continue;
    }
    ++inside;
    CHECK(row.depth == 1);
    CHECK(row.calls == 7 + 1);
    CHECK(row.source.starts_with("test_inspect.cpp:"));
  }
  CHECK(inside >= 1);
  std::ostringstream stream;
  f.print(stream);
  CAPTURE(stream.str());
  CHECK(count(stream.str(), "scan ") == 1);
  CHECK(count(stream.str(), " times  [test_inspect.cpp:") == 1);
  CHECK(count(stream.str(), " from element ") >= 1);
  const std::string graph = f.dot();
  CAPTURE(graph);
  CHECK(count(graph, "tanh") == 1);  // the loop's own graph is in its frame
}

TEST_CASE("profile: only of functions made for it") {
  Layer layer;
  const auto f = layer.make(false);
  CHECK_THROWS_AS((void)f.profile(), kt::ValueError);
  Layer another;
  const auto g = another.make(true);
  const kt::Array x = kt::Array::normal({17, 3}, 1);
  CHECK(kt::all_close(f(x), g(x), 0, 0));  // measuring changes no result
  CHECK(kt::all_close(layer.total.get_value(), another.total.get_value(), 0, 0));
}

TEST_CASE("profile: an error inside a measured call is still an error") {
  auto x = kt::vector("x");
  auto ids = kt::vector("ids", kt::i64);
  const auto f = kt::function({x, ids}, kt::take(x, ids, 0) * 2, {.profile = true});
  const kt::Array wrong = kt::Array::from(std::vector<std::int64_t>{3});
  CHECK_THROWS_AS(f(kt::Array::ones({3}), wrong), kt::ValueError);
  CHECK(f(kt::Array::ones({4}), wrong).item<float>() == 2);
}

TEST_CASE("profile: the counts of simple kernels are exact") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 3});
  const kt::Tensor row = kt::vector("row");
  double bytes = 0;
  CHECK(work_of(x, x + 1, 17, &bytes).flops == 17 * 3);
  CHECK(bytes == 2 * 4 * 17 * 3);
  CHECK(work_of(x, x * x + x, 17, &bytes).flops == 17 * 3 * 2);
  CHECK(bytes == 2 * 4 * 17 * 3);
  CHECK(work_of(x, x + 1, 0, &bytes).flops == 0);
  CHECK(bytes == 0);
  CHECK(work_of(x, kt::sum(x, 1), 17, &bytes).flops == 17 * 3);
  CHECK(bytes == 4 * (17 * 3 + 17));
  // The square root is taken once a row, not once an element; a division for each element.
  CHECK(work_of(x, x / kt::sqrt(kt::sum(x, 1, true)), 17, &bytes).flops == 17 * (3 + 1 + 3));
  // A gather reads what it takes, not all there is.
  const kt::Tensor table = kt::tensor("table", {1000, kt::dim("n")});
  CHECK(work_of(table, table[7], 5, &bytes).flops == 0);
  CHECK(bytes == 2 * 4 * 5);
  // Of a product's code for whole and for partial panels, each panel runs one; lanes past its end
  // are work too.
  const kt::Tensor rows = kt::tensor("rows", {kt::dim("n"), 131});
  const double exact = 2.0 * 131 * 131 * 16;
  const double counted = work_of(rows, kt::dot(kt::transpose(rows), rows), 16, &bytes).flops;
  CHECK(counted >= exact);
  CHECK(counted < 1.2 * exact);
}

TEST_CASE("machine peak: measured once") {
  const kt::MachinePeak first = kt::machine_peak(1);
  CHECK(first.flops > 1e8);
  CHECK(first.bandwidth > 1e7);
  const kt::MachinePeak second = kt::machine_peak(1);
  CHECK(first.flops == second.flops);
  CHECK(first.bandwidth == second.bandwidth);
}
