// A Program's code in several modules, made by several threads.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/graph.h"
#include "compiler/ir/reference.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/compiled_tools.h"

namespace kt = kroton;

namespace {

// A product of free size for each of some inner sizes, so that no two have the same kernel; the
// last of them twice, with other constants behind it, in one kernel.
std::vector<kt::Tensor> products(const kt::Tensor& x) {
  std::vector<kt::Tensor> results;
  for (const std::int64_t inner : {3, 17, 33, 40}) {
    const kt::Tensor part = kt::dot(x, kt::Operand(kt::Array::normal({8, inner}, 5)).tensor());
    results.push_back(kt::tanh(kt::dot(part, kt::transpose(part))));
  }
  results.push_back(results.back() * 3.0 + 1.0);
  return results;
}

kt::Program program_of(const kt::Tensor& x) {
  const std::vector<kt::Tensor> inputs{x};
  const std::vector<kt::Tensor> outputs = products(x);
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  return kt::lower(graph, "f", kt::codegen::host_target().machine);
}

}  // namespace

TEST_CASE(
    "objects: a program of many kernels is several files, the same by any number of threads") {
  const auto x = kt::tensor("x", {kt::dim("rows"), 8});
  const kt::Program program = program_of(x);
  std::vector<std::string> made;
  for (const std::int64_t threads : {1, 2, 5}) {
    const compiled_test::ThreadCount count(threads);
    kt::codegen::CompileTimes times;
    made.push_back(kt::on_deep_stack([&] {
      return kt::codegen::generate_objects(program, kt::codegen::host_target(), &times);
    }));
    CHECK(times.all >= times.emit);
  }
  CHECK(kt::codegen::object_files(made[0]).size() >= 3);
  CHECK(made[0] == made[1]);
  CHECK(made[0] == made[2]);
}

TEST_CASE("objects: kernels of other modules are called with their buffers and numbers") {
  const auto x = kt::tensor("x", {kt::dim("rows"), 8});
  const std::vector<kt::Tensor> outputs = products(x);
  const auto f = kt::function({x}, outputs);
  for (const std::int64_t rows : {0, 1, 3, 17, 100}) {
    const kt::Array value = kt::Array::normal({rows, 8}, 7);
    const std::vector<kt::Array> results = f(value);
    const auto expected = kt::evaluate(outputs, {{&x.node(), kt::from_array(value)}});
    for (std::size_t k = 0; k < results.size(); ++k) {
      CHECK(kt::all_close(results[k], kt::to_array(expected[k]), 1e-4, 1e-4));
    }
  }
}

TEST_CASE("objects: bytes that are no list of files are noticed") {
  const auto x = kt::tensor("x", {3});
  const std::vector<kt::Tensor> inputs{x};
  const std::vector<kt::Tensor> outputs{x + 1.0};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::codegen::host_target().machine);
  const std::string objects = kt::codegen::generate_objects(program, kt::codegen::host_target());
  CHECK(kt::codegen::object_files(objects).size() == 1);
  for (const std::size_t length : {std::size_t{3}, std::size_t{8}, objects.size() - 1}) {
    CHECK_THROWS_AS(kt::codegen::object_files(std::string_view(objects).substr(0, length)),
                    kt::InternalError);
  }
  CHECK_THROWS_AS(kt::codegen::object_files(objects + "more"), kt::InternalError);
  CHECK_THROWS_AS(kt::codegen::link_objects(""), kt::InternalError);
}

TEST_CASE("deep stacks: a thread beside the caller's does its work and hands on what it throws") {
  int done = 0;
  kt::DeepThread first([&] { done = 1; });
  first.join();
  CHECK(done == 1);
  kt::DeepThread second([] { throw kt::ValueError("no"); });
  CHECK_THROWS_AS(second.join(), kt::ValueError);
  const kt::DeepThread dropped([] { throw kt::ValueError("nobody asks"); });
}
