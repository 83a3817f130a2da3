// What kernels for GPUs compute again, or as they go, so that less goes between them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/lower/kernel_context.h"
#include "compiler/passes/passes.h"
#include "tests/tools/gpu_loops.h"

namespace gpu_fusion_tests {
namespace {

namespace kt = kroton;
using compiled_test::random_array;

std::vector<kt::Cluster> clusters_of(const std::vector<kt::Tensor>& inputs,
                                     const std::vector<kt::Tensor>& outputs) {
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  return kt::fuse(graph, {.gpu = true}).clusters;
}

TEST_CASE("gpu fusion: a norm whose variance something else reads is one kernel") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 48});
  const kt::Tensor centre = kt::mean(x, -1, true);
  const kt::Tensor scale = kt::rsqrt(kt::mean(kt::square(x - centre), -1, true) + 1e-5);
  const std::vector<kt::Tensor> outputs{(x - centre) * scale, kt::sum(kt::square(x) * scale, 0)};
  CHECK(clusters_of({x}, outputs).size() == 2);
  for (const std::int64_t n : {0, 1, 3, 17}) {
    CAPTURE(n);
    compiled_test::check_for_gpu({{x}, outputs, {random_array({n, 48}, kt::f32, 1)}});
  }
}

TEST_CASE("gpu fusion: what is stored, rounded and added up is one kernel behind a product") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("b"), kt::dim("l"), 24}),
                   w = kt::tensor("w", {24, 16});
  const kt::Tensor y = kt::tanh(kt::matmul(x, w));
  const std::vector<kt::Tensor> outputs{y, kt::cast(y, kt::bf16), kt::sum(y, {0, 1})};
  CHECK(clusters_of({x, w}, outputs).size() == 2);
  for (const std::int64_t n : {0, 1, 3, 17}) {
    CAPTURE(n);
    compiled_test::check_for_gpu(
        {{x, w},
         outputs,
         {random_array({n, 5, 24}, kt::f32, 1), random_array({24, 16}, kt::f32, 2)}},
        {1e-2, 1e-2});
  }
}

TEST_CASE("gpu fusion: a function of what others read is computed again") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 40}), w = kt::tensor("w", {40, 8}),
                   v = kt::tensor("v", {40, 8});
  const kt::Tensor e = kt::erf(x);
  const std::vector<kt::Tensor> outputs{kt::dot(x * e, w), kt::dot(x + e, v)};
  // The sum and the product, and no third one that keeps the function.
  for (const kt::Cluster& cluster : clusters_of({x, w, v}, outputs)) {
    CHECK(cluster.roots.size() == 1);
  }
  for (const std::int64_t n : {0, 1, 3, 17}) {
    CAPTURE(n);
    compiled_test::check_for_gpu(
        {{x, w, v},
         outputs,
         {random_array({n, 40}, kt::f32, 1), random_array({40, 8}, kt::f32, 2),
          random_array({40, 8}, kt::f32, 3)}});
  }
}

}  // namespace
}  // namespace gpu_fusion_tests
