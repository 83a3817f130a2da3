#include "tests/tools/gpu_loops.h"

#include <doctest/doctest.h>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/program_call.h"

using namespace kroton;  // NOLINT: tests

namespace compiled_test {

Program lowered_for_gpu(const Problem& problem) {
  Graph graph(problem.inputs, problem.outputs, {});
  run_passes(graph);
  return lower(graph, "lowered", gpu_machine());
}

std::vector<Array> interpreted_for_gpu(const Problem& problem) {
  const Program program = lowered_for_gpu(problem);
  ProgramCall call(program, problem.values);
  REQUIRE(!call.interpret());
  return call.outputs();
}

void check_for_gpu(const Problem& problem, const Tolerance& tolerance) {
  const std::vector<ReferenceValue> want = expected(problem);
  const std::vector<Array> have = interpreted_for_gpu(problem);
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    CHECK(difference(want[k], have[k], tolerance) == "");
  }
}

}  // namespace compiled_test
