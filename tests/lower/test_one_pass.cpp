// Sums of whole arrays that are computed on the way, in the kernel that gives a result for each
// element.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <array>

#include "compiler/fusion/fusion.h"
#include "compiler/ir/graph.h"
#include "compiler/passes/passes.h"
#include "tests/tools/compiled_tools.h"

namespace kt = kroton;

namespace {

std::vector<kt::Cluster> clusters_of(const std::vector<kt::Tensor>& inputs,
                                     const std::vector<kt::Tensor>& outputs) {
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  return kt::fuse(graph).clusters;
}

void check_shapes(const std::vector<kt::Tensor>& inputs, const std::vector<kt::Tensor>& outputs,
                  const std::vector<kt::Shape>& shapes) {
  for (const kt::Shape& shape : shapes) {
    CAPTURE(kt::to_string(shape));
    std::vector<kt::Array> values;
    for (const kt::Tensor& x : inputs) {
      values.push_back(compiled_test::random_array(shape, x.dtype(), 7 + values.size()));
    }
    compiled_test::check_agrees({inputs, outputs, values}, {1e-5, 1e-12});
  }
}

const std::vector<kt::Shape> lengths = {kt::Shape{0},    kt::Shape{1},    kt::Shape{100},
                                        kt::Shape{8192}, kt::Shape{8193}, kt::Shape{30000}};

}  // namespace

TEST_CASE("one pass: results for each element and sums of all of them") {
  const kt::Tensor x = kt::vector("x"), y = kt::tensor("y", {x.shape()[0]});
  const kt::Tensor difference = x - y;
  const std::vector<kt::Tensor> outputs{difference * kt::exp(y), kt::sum(kt::square(difference)),
                                        kt::max(difference), 2 * kt::sum(kt::exp(difference))};
  const std::vector<kt::Cluster> clusters = clusters_of({x, y}, outputs);
  REQUIRE(clusters.size() == 1);
  CHECK(clusters[0].roots.size() == 4);
  check_shapes({x, y}, outputs, lengths);
  // The difference is stored as well.
  check_shapes({x, y}, {difference, difference + 1, kt::sum(difference)}, lengths);
}

TEST_CASE("one pass: matrices, whatever is known of their rows") {
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 7}), y = kt::tensor("y", {x.shape()[0], 7});
  const std::vector<kt::Tensor> outputs{(x - y) * y, kt::sum(kt::square(x - y))};
  CHECK(clusters_of({x, y}, outputs).size() == 1);
  check_shapes({x, y}, outputs, {kt::Shape{0, 7}, kt::Shape{3, 7}, kt::Shape{5000, 7}});
  const kt::Tensor u = kt::matrix("u"), v = kt::tensor("v", {u.shape()[0], u.shape()[1]});
  const std::vector<kt::Tensor> free{(u - v) * v, kt::sum(kt::square(u - v))};
  CHECK(clusters_of({u, v}, free).size() == 1);
  check_shapes({u, v}, free, {kt::Shape{0, 7}, kt::Shape{3, 0}, kt::Shape{300, 70}});
}

TEST_CASE("one pass: reductions of the same rows, in as many stages as they need") {
  const kt::Tensor x = kt::matrix("x"), y = kt::tensor("y", {x.shape()[0], x.shape()[1]});
  for (const int axis : {0, 1}) {
    CAPTURE(axis);
    const kt::Tensor product = kt::exp(x) * y;
    const kt::Tensor centred = product - kt::mean(product, axis, true);
    const std::vector<kt::Tensor> outputs{kt::sum(product, axis), kt::max(product, axis),
                                          kt::sum(kt::square(centred), axis)};
    const std::vector<kt::Cluster> clusters = clusters_of({x, y}, outputs);
    CHECK(clusters.size() == 1);
    check_shapes({x, y}, outputs, {kt::Shape{1, 1}, kt::Shape{3, 17}, kt::Shape{700, 70}});
  }
}

TEST_CASE("one pass: not where a result waits for the sum, or a position is wanted") {
  const kt::Tensor x = kt::vector("x"), y = kt::tensor("y", {x.shape()[0]});
  const kt::Tensor difference = x - y;
  const kt::Tensor total = kt::sum(kt::square(difference));
  check_shapes({x, y}, {difference / total, total}, lengths);
  check_shapes({x, y},
               {kt::exp(difference) * y, kt::mean(kt::square(difference - kt::mean(difference)))},
               lengths);
  check_shapes({x, y}, {kt::exp(difference) * y, kt::logsumexp(difference, 0)}, lengths);
  const std::vector<kt::Shape> some(lengths.begin() + 1, lengths.end());
  check_shapes({x, y}, {difference * y, kt::argmax(difference), kt::sum(difference)}, some);
  // Through another kernel: the rows' products need the sum, and the results need these.
  const kt::Tensor a = kt::tensor("a", {9, 9}), b = kt::tensor("b", {9, 9});
  const kt::Tensor shared = a - b;
  const kt::Tensor product = kt::dot(a / kt::sum(kt::square(shared)), b);
  check_shapes({a, b}, {shared * product, kt::exp(shared), product}, {kt::Shape{9, 9}});
  check_shapes({a, b}, {shared - 0.1 * kt::dot(a, b), kt::sum(kt::square(shared))},
               {kt::Shape{9, 9}});
}

TEST_CASE("one pass: a loss that may fail stays apart from the step that overwrites a state") {
  const kt::Shared p = kt::shared(kt::Array::uniform({20000}, 1));
  const kt::Tensor x = kt::tensor("x", {20000}), i = kt::tensor("i", {20000}, kt::i64);
  const kt::Tensor difference = p - x;
  const kt::Tensor loss = kt::sum(difference * kt::take(x, i));
  kt::Graph graph(std::vector<kt::Tensor>{x, i}, std::vector<kt::Tensor>{loss},
                  std::vector<std::pair<kt::Shared, kt::Tensor>>{{p, p - 0.1 * difference}});
  kt::run_passes(graph);
  CHECK(kt::fuse(graph).clusters.size() == 2);
  const auto f = kt::function({x, i}, loss, {.updates = {{p, p - 0.1 * difference}}});
  const kt::Array before = p.get_value().copy();
  const kt::Array ones = kt::Array::ones({20000});
  CHECK_THROWS_AS(f(ones, kt::Array::full({20000}, 20000, kt::i64)), kt::Error);
  CHECK(kt::all_close(p.get_value(), before, 0, 0));
  f(ones, kt::Array::zeros({20000}, kt::i64));
  CHECK(!kt::all_close(p.get_value(), before));
}

TEST_CASE("one pass: a step of descent with its loss, with any number of threads") {
  for (const std::int64_t threads : {1, 3}) {
    const compiled_test::ThreadCount count(threads);
    const kt::Shared p = kt::shared(kt::Array::uniform({40000}, 1));
    const kt::Shared velocity = kt::shared(kt::Array::uniform({40000}, 2));
    const kt::Tensor target = kt::tensor("target", {40000});
    const kt::Tensor loss = 0.5 * kt::sum(kt::square(p - target));
    const kt::Tensor next = 0.9 * velocity + kt::grad(loss, p);
    const auto f = kt::function(
        {target}, loss, {.updates = {{velocity, next}, {p, p - 0.1 * next}}, .profile = true});
    const kt::Array goal = kt::Array::full({40000}, 0.25);
    std::array<float, 4> position{}, speed{};
    for (std::size_t k = 0; k < 4; ++k) {
      position[k] = p.get_value().data<float>()[k];
      speed[k] = velocity.get_value().data<float>()[k];
    }
    for (int step = 0; step < 5; ++step) {
      f(goal);
      for (std::size_t k = 0; k < 4; ++k) {
        speed[k] = 0.9F * speed[k] + (position[k] - 0.25F);
        position[k] = position[k] - 0.1F * speed[k];
      }
    }
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(p.get_value().data<float>()[k] == doctest::Approx(position[k]).epsilon(1e-5));
      CHECK(velocity.get_value().data<float>()[k] == doctest::Approx(speed[k]).epsilon(1e-5));
    }
    // Three arrays are read and two written, once; the rest is the loss's parts.
    double bytes = 0;
    for (const kt::KernelProfile& k : f.profile().kernels) bytes += k.bytes;
    CHECK(bytes <= 1.01 * 5 * 5 * 4 * 40000);
  }
}
