// Random small graphs keep their values through all passes.
#include <doctest/doctest.h>
#include <kroton/grad.h>
#include <kroton/index.h>

#include <random>

#include "compiler/passes/passes.h"
#include "tests/compiler/graph_helpers.h"

using namespace kroton;  // NOLINT

namespace {

// Grows expressions out of a pool by random steps. Values stay of moderate size, so that the two
// ways of computing them agree to many digits.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : engine_(seed) {
    const Dim n = dim("n");
    pool_ = {tensor("x", {n, 3}, f64),     tensor("y", {n, 3}, f64), tensor("b", {3}, f64),
             tensor("c", {n, 1}, f64),     tensor("s", {}, f64),     tensor("w", {3, 3}, f64),
             tensor("p", {n, 3}, boolean), tensor("i", {n}, i64)};
  }

  std::vector<Tensor> outputs() {
    const int steps = 4 + pick_below(12);
    for (int k = 0; k < steps; ++k) {
      if (std::optional<Tensor> made = step()) pool_.push_back(*made);
    }
    const std::ptrdiff_t count = 1 + std::ptrdiff_t{pick_below(3)};
    std::vector<Tensor> result(pool_.end() - count, pool_.end());
    result.push_back(pool_[0]);  // gives n its value
    return result;
  }

 private:
  int pick_below(int bound) {
    return static_cast<int>(engine_() % static_cast<std::uint64_t>(bound));
  }
  const Tensor& any_of_pool() {
    return pool_[static_cast<std::size_t>(pick_below(static_cast<int>(pool_.size())))];
  }
  double literal() {
    const double values[] = {0, 1, -1, 0.5, 2, -3, 1};
    return values[pick_below(7)];
  }
  Tensor real() {
    for (int tries = 0; tries < 100; ++tries) {
      if (const Tensor& x = any_of_pool(); x.dtype() == f64) return x;
    }
    return pool_[0];
  }
  std::optional<Tensor> real_of_rank(int rank) {
    for (int tries = 0; tries < 30; ++tries) {
      if (Tensor x = real(); x.rank() == rank) return x;
    }
    return std::nullopt;
  }
  int axis_of(const Tensor& x) { return pick_below(x.rank()); }

  std::optional<Tensor> step() {
    switch (pick_below(8)) {
      case 0:
        return unary();
      case 1:
      case 2:
        return binary();
      case 3:
        return with_literal();
      case 4:
        return view();
      case 5:
        return reduction();
      case 6:
        return unstable();
      default:
        return matrix();
    }
  }

  Tensor unary() {
    const Tensor x = real();
    switch (pick_below(12)) {
      case 0:
        return -x;
      case 1:
        return exp(-abs(x));
      case 2:
        return tanh(x);
      case 3:
        return sigmoid(x);
      case 4:
        return relu(x);
      case 5:
        return sqrt(abs(x));
      case 6:
        return abs(x);
      case 7:
        return sin(x);
      case 8:
        return stop_gradient(x);
      case 9:
        return log1p(abs(x));
      case 10:
        return cast(cast(x > 0, i32), f64);
      default:
        return softplus(x);
    }
  }

  std::optional<Tensor> binary() {
    const Tensor x = real();
    const Tensor y = real();
    try {
      switch (pick_below(7)) {
        case 0:
          return tanh(x + y);
        case 1:
          return x - y;
        case 2:
          return tanh(x * y);
        case 3:
          return x / (1 + abs(y));
        case 4:
          return maximum(x, y);
        case 5:
          return where(pool_[6], x, y);
        default:
          return x + -y;
      }
    } catch (const ShapeError&) {
      return std::nullopt;
    }
  }

  Tensor with_literal() {
    const Tensor x = real();
    switch (pick_below(7)) {
      case 0:
        return x * literal();
      case 1:
        return x + literal();
      case 2:
        return literal() - x;
      case 3:
        return x / 4.0;
      case 4:
        return tanh(pow(x, 2));
      case 5:
        return pow(abs(x) + 1, 0.5);
      default:
        return literal() * (x * literal());
    }
  }

  Tensor view() {
    const Tensor x = real();
    if (x.rank() == 0) return broadcast_to(x, {dim("n"), 3});
    const int axis = axis_of(x);
    switch (pick_below(8)) {
      case 0:
        return transpose(x);
      case 1:
        return x.rank() < 4 ? expand_dims(x, axis) : x;
      case 2:
        return squeeze(x);
      case 3:
        return flatten(x);
      case 4:
        return x.rank() < 4 ? broadcast_to(x, with_front(x.shape())) : x;
      case 5:
        return x.shape(x.rank() - 1).is_constant(3) ? last(x, slice(1, end)) : x;
      case 6:
        return x.shape(x.rank() - 1).is_constant(3) ? last(x, slice(end, end, -1)) : x;
      default:
        return concatenate({x, x}, axis);
    }
  }
  static Dims with_front(Dims shape) {
    shape.insert(shape.begin(), 2);
    return shape;
  }
  static Tensor last(const Tensor& x, const Slice& part) {
    std::vector<IndexItem> items(static_cast<std::size_t>(x.rank()) - 1, IndexItem(all));
    items.emplace_back(part);
    return index(x, items);
  }

  Tensor reduction() {
    const Tensor x = real();
    if (x.rank() == 0) return x * x;
    const int axis = axis_of(x);
    const bool keepdims = pick_below(2) == 0;
    switch (pick_below(4)) {
      case 0:
        return tanh(sum(x, axis, keepdims));
      case 1:
        return x.shape(axis).is_constant(0) ? x : max(x, axis, keepdims);
      case 2:
        return mean(x);
      default:
        return tanh(sum(sum(x, axis, keepdims)));
    }
  }

  std::optional<Tensor> unstable() {
    const Tensor x = real();
    switch (pick_below(9)) {
      case 0:
        return 1 / (1 + exp(-x));
      case 1:
        return log(1 + exp(x));
      case 2:
        return log(sigmoid(x));
      case 3:
        return 1 - sigmoid(x);
      case 4:
        return sqrt(square(x));
      case 5:
        return x.rank() > 0 ? std::optional(log(sum(exp(x), axis_of(x), true) + 1)) : x;
      case 6:
        return x.rank() > 0 ? std::optional(softmax(x, axis_of(x))) : x;
      case 7:
        return x.rank() > 0 ? std::optional(log(softmax(x, axis_of(x)))) : x;
      default:
        return tanh(exp(x) - 1);
    }
  }

  std::optional<Tensor> matrix() {
    const std::optional<Tensor> x = real_of_rank(2);
    if (!x) return std::nullopt;
    try {
      switch (pick_below(5)) {
        case 0:
          return tanh(dot(*x, pool_[5]));
        case 1:
          return tanh(dot(transpose(*x), *x));
        case 2:
          return tanh(dot(*x, transpose(*x)));
        case 3:
          return tanh(dot(*x, pool_[2]));
        default:
          return transpose(dot(transpose(*x), pool_[3]));
      }
    } catch (const ShapeError&) {
      return std::nullopt;
    }
  }

  std::mt19937_64 engine_;
  std::vector<Tensor> pool_;
};

}  // namespace

TEST_CASE("passes: random graphs keep their values") {
  verify_passes = true;
  int tested = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::vector<Tensor> outputs = Generator(seed).outputs();
    // Gradients are the graphs that the passes see most of.
    if (seed % 2 == 0 && outputs[0].dtype() == f64) {
      GradOptions options;
      options.allow_unused = true;
      outputs.push_back(grad(sum(outputs[0]), outputs.back(), options));
    }
    std::optional<Graph> imported;
    try {
      imported = graph_test::graph_of(outputs);
    } catch (const ShapeError&) {
      continue;  // the steps asked for two sizes at once
    }
    ++tested;
    const Graph& before = *imported;
    CAPTURE(seed);
    CAPTURE(to_string(before));
    Graph graph = graph_test::graph_of(outputs);
    REQUIRE_NOTHROW(run_passes(graph));
    Graph stable = graph_test::graph_of(outputs);
    REQUIRE_NOTHROW(run_passes_before_gradient(stable));
    for (const std::int64_t size : {0, 1, 3, 17}) {
      CAPTURE(size);
      const auto inputs = graph_test::random_inputs(graph, size, seed);
      std::vector<ReferenceValue> expected;
      try {
        expected = graph_test::values(before, inputs);
      } catch (const ShapeError&) {
        continue;  // not a size for this graph
      }
      graph_test::check_close(expected, graph_test::values(graph, inputs), 1e-7);
      graph_test::check_close(expected, graph_test::values(stable, inputs), 1e-7);
    }
    const std::size_t size_after_passes = graph.size();
    REQUIRE_NOTHROW(run_passes(graph));
    CHECK(graph.size() <= size_after_passes);
  }
  CHECK(tested > 150);
}
