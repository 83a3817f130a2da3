// Gradients by pictures that are small for their windows: what each element is multiplied by is
// added up, instead of gathered from zeros.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/compile.h"
#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

// The gradient by the picture of a convolution without padding, with an epilogue; the sizes are
// those of the gradient that is given.
struct Layer {
  Shape given, filters;
  std::int64_t groups = 1;
  bool free_batch = false;
};

Problem gradient_of(const Layer& layer, DType dtype) {
  Dims sizes(layer.given.begin(), layer.given.end());
  if (layer.free_batch) sizes[0] = dim("n");
  const Tensor g = tensor("g", sizes, dtype);
  const Tensor w = tensor("w", Dims(layer.filters.begin(), layer.filters.end()), dtype);
  const ConvTransposeOptions options{.groups = layer.groups};
  const Tensor x = layer.given.rank() == 3   ? conv_transpose1d(g, w, options)
                   : layer.given.rank() == 4 ? conv_transpose2d(g, w, options)
                                             : conv_transpose3d(g, w, options);
  return {{g, w},
          {relu(x) + 0.5},
          {random_array(layer.given, dtype, 1), random_array(layer.filters, dtype, 2)}};
}

bool is_scattered(const Problem& problem) {
  Graph graph(problem.inputs, problem.outputs, {}, true);
  const Program program = make_program(graph, "f", codegen::named_target("x86-64-v4"), {Checks{}});
  // Sums in tiles have products, too, of what they see.
  bool has_products = false, sees_tiles = false;
  for (const Step& step : program.steps) {
    const auto* kernel = std::get_if<loop::Kernel>(&step.kind);
    if (kernel == nullptr) continue;
    for (const loop::BufferRef& buffer : kernel->scratch) {
      has_products = has_products || buffer->name == "products";
      sees_tiles = sees_tiles || buffer->name == "seen";
    }
  }
  return has_products && !sees_tiles;
}

}  // namespace

TEST_CASE("scattered windows: values of any shape") {
  const Layer layers[] = {
      {{3, 40, 8, 8}, {40, 32, 5, 5}},           {{1, 33, 3, 5}, {33, 17, 4, 3}},
      {{17, 64, 1, 7}, {64, 20, 5, 5}, 1, true}, {{5, 64, 10, 10}, {64, 20, 5, 5}, 1, true},
      {{4, 64, 6, 6}, {64, 16, 5, 4}, 2},        {{3, 48, 9}, {48, 30, 12}},
      {{2, 32, 3, 4, 3}, {32, 16, 3, 3, 4}},
  };
  for (const Layer& layer : layers) {
    CAPTURE(layer.given);
    for (const DType dtype : {f32, f64}) {
      const Problem problem = gradient_of(layer, dtype);
      CHECK(is_scattered(problem));
      check_agrees(problem, {.f32 = 1e-4, .f64 = 1e-12, .magnitude = 10});
    }
  }
}

TEST_CASE("scattered windows: not where little is padding, or few channels are added") {
  CHECK_FALSE(is_scattered(gradient_of({{3, 40, 56, 56}, {40, 32, 3, 3}}, f32)));
  CHECK_FALSE(is_scattered(gradient_of({{3, 2, 8, 8}, {2, 32, 5, 5}}, f32)));
}
