// Jacobians and Hessians against the gradients of each element, in every mode.
#include <doctest/doctest.h>
#include <kroton/derivatives.h>
#include <kroton/external.h>
#include <kroton/kroton.h>

#include <cmath>

#include "compiler/passes/passes.h"
#include "tests/tools/error_text.h"
#include "tests/tools/op_tools.h"

using namespace op_test;     // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

template <class Body>
std::string text_of(const Body& body) {
  return message_of<Error>(body);
}

Tensor identity(std::int64_t n) { return cast(eq(iota({n, n}, 0), iota({n, n}, 1)), f64); }

Array spread_over(const std::vector<std::int64_t>& shape, int seed) {
  return to_array(ops::spread(f64, shape, -1.5, 1.5, seed));
}

// d y / d x by one gradient for each element of y, as f64 (elements of y, elements of x).
std::vector<double> by_gradients(const Tensor& y, const Tensor& x, const Bindings& at) {
  std::vector<double> rows;
  const Tensor flat = flatten(y);
  const ReferenceValue value = value_of(flat, at);
  for (std::int64_t k = 0; k < value.shape[0]; ++k) {
    const ReferenceValue row = value_of(grad(flat[k], x, {.allow_unused = true}), at);
    for (const Number& number : row.data) rows.push_back(number);
  }
  return rows;
}

void check_equal(const ReferenceValue& got, const std::vector<double>& want) {
  REQUIRE(got.data.size() == want.size());
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    CHECK(double(got.data[k]) == doctest::Approx(want[k]).epsilon(1e-10));
  }
}

// In both modes, of known sizes and of free ones, by the interpreter and compiled.
void check_jacobian(const std::function<Tensor(const Tensor&)>& f,
                    const std::vector<std::int64_t>& shape, bool compiled = false) {
  const Array point = spread_over(shape, 5);
  for (const bool free : {false, true}) {
    CAPTURE(free);
    Dims dims;
    for (const std::int64_t size : shape) dims.push_back(free ? Dim::fresh("n") : Dim(size));
    const Tensor x = tensor("x", dims, f64);
    const Bindings at = {{&x.node(), from_array(point)}};
    const Tensor y = f(x);
    const std::vector<double> want = by_gradients(y, x, at);
    std::vector<std::int64_t> want_shape = value_of(y, at).shape;
    want_shape.insert(want_shape.end(), shape.begin(), shape.end());
    for (const DerivativeMode mode :
         {DerivativeMode::automatic, DerivativeMode::forward, DerivativeMode::reverse}) {
      CAPTURE(int(mode));
      const Tensor j = jacobian(y, x, {.mode = mode});
      const ReferenceValue got = value_of(j, at);
      CHECK(got.shape == want_shape);
      check_equal(got, want);
      if (!compiled) continue;
      const auto g = function({x}, j, {.on_unused_input = UnusedInput::ignore});
      check_equal(from_array(g(point)), want);
    }
  }
}

}  // namespace

TEST_CASE("jacobian: of elementwise work, products, reductions and views") {
  for (const std::int64_t n : {0, 1, 3, 17}) {
    CAPTURE(n);
    check_jacobian([](const Tensor& x) { return tanh(x) * exp(x); }, {n}, n == 3);
    check_jacobian([](const Tensor& x) { return cumsum(x * x, 0); }, {n});
    check_jacobian([](const Tensor& x) { return sum(sin(x)); }, {n}, n == 3);
  }
  check_jacobian([](const Tensor& x) { return dot(spread_over({4, 3}, 2), x); }, {3}, true);
  check_jacobian([](const Tensor& x) { return dot(x, spread_over({3, 4}, 2)); }, {3}, true);
  // Parts with little in common, and with much.
  check_jacobian([](const Tensor& x) { return stack({sin(x[0]), x[1] * x[2], exp(x[1])}); }, {3});
  check_jacobian(
      [](const Tensor& x) {
        const Tensor s = sum(exp(sin(tanh(x))) * x);
        return stack({s, s * x[0]});
      },
      {3});
  check_jacobian([](const Tensor& x) { return concatenate({sin(x), sum(x, 0, true)}); }, {3, 2});
  check_jacobian([](const Tensor& x) { return dot(x, transpose(x)); }, {2, 3}, true);
  check_jacobian([](const Tensor& x) { return stack({sum(x, 0), max(x, 0)}); }, {2, 3}, true);
  check_jacobian([](const Tensor& x) { return softmax(x, 0)[1]; }, {3, 2});
  check_jacobian([](const Tensor& x) { return stack({x, x * x, sin(x)}); }, {}, true);
  check_jacobian([](const Tensor& x) { return prod(x, 0); }, {3, 2});
  check_jacobian([](const Tensor& x) { return conv1d(x, ones({2, 2, 2}, f64)); }, {1, 2, 4});
  check_jacobian([](const Tensor& x) { return cholesky(dot(x, transpose(x)) + 2 * identity(2)); },
                 {2, 2}, true);
}

TEST_CASE("jacobian: through loops and branches") {
  const auto loop = [](const Tensor& x) {
    return scan([&](Tensor row, Tensor s) { return tanh(s * row + x[0]); },
                {.sequences = {x}, .outputs_info = {x[1]}});
  };
  check_jacobian(loop, {3}, true);
  check_jacobian([&](const Tensor& x) { return loop(x)[-1]; }, {4}, true);
  check_jacobian([](const Tensor& x) { return ifelse(x[0] > 0, x * x, sin(x)); }, {3}, true);
}

namespace {

std::int32_t cube(void* const* arrays, const std::int64_t* sizes) {
  const auto* x = static_cast<const double*>(arrays[0]);
  auto* y = static_cast<double*>(arrays[1]);
  for (std::int64_t k = 0; k < sizes[0]; ++k) y[k] = x[k] * x[k] * x[k];
  return 0;
}

std::int32_t three_squares(void* const* arrays, const std::int64_t* sizes) {
  const auto* x = static_cast<const double*>(arrays[0]);
  const auto* g = static_cast<const double*>(arrays[1]);
  auto* y = static_cast<double*>(arrays[2]);
  for (std::int64_t k = 0; k < sizes[0]; ++k) y[k] = 3 * x[k] * x[k] * g[k];
  return 0;
}

}  // namespace

TEST_CASE("jacobian: a function of the user's own is called in a loop") {
  const auto first = [](std::span<const TensorType> in) { return std::vector<TensorType>{in[0]}; };
  const ExternalOp slope({.name = "three_squares", .function = three_squares, .results = first});
  const ExternalOp op(
      {.name = "cube",
       .function = cube,
       .results = first,
       .gradient = [&](std::span<const Tensor> in, std::span<const Tensor>,
                       std::span<const Tensor> g) { return slope({in[0], g[0]}); }});
  const Tensor x = tensor("x", {3}, f64);
  const Tensor j = jacobian(op({x})[0], x, {.mode = DerivativeMode::reverse});
  const Array at = Array::from({1.0, 2.0, 3.0});
  check_equal(from_array(function({x}, j)(at)), {3, 0, 0, 0, 12, 0, 0, 0, 27});
  // The gradient calls another function of the user's own: nothing says how it is turned round.
  CHECK_THROWS_AS(jacobian(op({x})[0], x, {.mode = DerivativeMode::forward}), ValueError);
}

TEST_CASE("jacobian: with respect to several variables and to intermediate results") {
  const Tensor x = tensor("x", {2}, f64), w = tensor("w", {3, 2}, f64);
  const Tensor h = tanh(dot(w, x));
  const Tensor y = h * h;
  const Bindings at = {{&x.node(), ops::spread(f64, {2}, -1, 1, 1)},
                       {&w.node(), ops::spread(f64, {3, 2}, -1, 1, 2)}};
  const std::vector<Tensor> all = jacobian(y, std::vector<Tensor>{x, w, h});
  CHECK(value_of(all[0], at).shape == std::vector<std::int64_t>{3, 2});
  CHECK(value_of(all[1], at).shape == std::vector<std::int64_t>{3, 3, 2});
  check_equal(value_of(all[0], at), by_gradients(y, x, at));
  check_equal(value_of(all[1], at), by_gradients(y, w, at));
  check_equal(value_of(all[2], at), by_gradients(y, h, at));
}

TEST_CASE("jacobian: has the dtype of what changes, in every mode") {
  const Tensor x = tensor("x", {3}), d = tensor("d", {3}, f64);
  const Tensor y = cast(x, f64) * d;
  for (const DerivativeMode mode : {DerivativeMode::forward, DerivativeMode::reverse}) {
    CHECK(jacobian(y, x, {.mode = mode}).dtype() == f32);
    CHECK(jacobian(cast(y, f32), d, {.mode = mode}).dtype() == f64);
  }
}

TEST_CASE("hessian: as the gradients of the gradient") {
  const auto check = [](const std::function<Tensor(const Tensor&)>& f,
                        const std::vector<std::int64_t>& shape) {
    for (const bool free : {false, true}) {
      Dims dims;
      for (const std::int64_t size : shape) dims.push_back(free ? Dim::fresh("n") : Dim(size));
      const Tensor x = tensor("x", dims, f64), v = tensor("v", dims, f64);
      const Array point = spread_over(shape, 7), direction = spread_over(shape, 8);
      const Bindings at = {{&x.node(), from_array(point)}, {&v.node(), from_array(direction)}};
      const Tensor cost = f(x);
      const Tensor h = hessian(cost, x);
      const std::vector<double> want = by_gradients(grad(cost, x), x, at);
      check_equal(value_of(h, at), want);
      const auto compiled = function({x}, h, {.on_unused_input = UnusedInput::ignore});
      check_equal(from_array(compiled(point)), want);
      const std::size_t n = point.size();
      std::vector<double> product(n, 0);
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < n; ++k) {
          product[i] += want[i * n + k] * direction.data<double>()[k];
        }
      }
      check_equal(value_of(hvp(cost, x, v), at), product);
    }
  };
  check([](const Tensor& x) { return sum(exp(x) * x); }, {3});
  check([](const Tensor& x) { return prod(x); }, {4});
  check([](const Tensor& x) { return sum(dot(x, transpose(x))); }, {2, 3});
  check([](const Tensor& x) { return logsumexp(x); }, {5});
  check([](const Tensor& x) { return sum(x); }, {3});
  check([](const Tensor& x) { return x * x * x; }, {});
  check(
      [](const Tensor& x) {
        return foldl([](Tensor row, Tensor s) { return sin(s * row); }, {x}, ones({}, f64));
      },
      {3});
}

TEST_CASE("hessian: the blocks of several variables") {
  const Tensor x = scalar("x", f64), y = tensor("y", {2}, f64);
  const Bindings at = {{&x.node(), {f64, {}, {2}}}, {&y.node(), {f64, {2}, {3, 5}}}};
  const auto blocks = hessian(x * x * sum(y * y * y), {x, y});
  check_equal(value_of(blocks[0][0], at), {2 * (27.0 + 125)});
  check_equal(value_of(blocks[0][1], at), {4 * 27.0, 4 * 75.0});
  check_equal(value_of(blocks[1][0], at), {4 * 27.0, 4 * 75.0});
  check_equal(value_of(blocks[1][1], at), {4 * 18.0, 0, 0, 4 * 30.0});
  const auto products = hvp(x * x * sum(y * y * y), {x, y}, {ones({}, f64), zeros({2}, f64)});
  check_equal(value_of(products[0], at), {304});
  check_equal(value_of(products[1], at), {108, 300});
}

TEST_CASE("jvp: of several outputs, with intermediate results among what changes") {
  const Tensor x = tensor("x", {3}, f64), t = tensor("t", {3}, f64), u = tensor("u", {3}, f64);
  const Tensor h = exp(x);
  const Bindings at = {{&x.node(), {f64, {3}, {0, 1, 2}}},
                       {&t.node(), {f64, {3}, {1, 2, 3}}},
                       {&u.node(), {f64, {3}, {5, 7, 11}}}};
  // The change of x and that of h add up.
  const auto both = jvp({h * h, x}, {x, h}, {t, u});
  const double e = std::exp(1.0), e2 = std::exp(2.0);
  check_equal(value_of(both[0], at), {2 * (1 + 5), 2 * e * (2 * e + 7), 2 * e2 * (3 * e2 + 11)});
  check_equal(value_of(both[1], at), {1, 2, 3});
  CHECK(jvp({h}, {x}, {t}).size() == 1);
  const Tensor none = tensor("none", {2}, f64);
  check_equal(value_of(jvp(none, x, t), {{&none.node(), {f64, {2}, {1, 1}}}}), {0, 0});
}

TEST_CASE("jvp: of a loop whose gradient is cut off, the product with what its gradient is") {
  for (const int steps : {0, 1, 2, 5}) {
    for (const std::int64_t truncate : {0, 1, 3, 7}) {
      CAPTURE(steps);
      CAPTURE(truncate);
      const Tensor x = tensor("x", {steps}, f64), s0 = scalar("s0", f64), w = scalar("w", f64);
      const Tensor y =
          scan([&](Tensor row, Tensor s) { return tanh(w * s + row); },
               {.sequences = {x}, .outputs_info = {s0}, .truncate_gradient = truncate});
      const Tensor cost = sum(y * y) + (steps > 0 ? 3 * y[-1] : zeros({}, f64));
      Bindings at = {{&x.node(), ops::spread(f64, {steps}, -1, 1, 1)},
                     {&s0.node(), {f64, {}, {0.5}}},
                     {&w.node(), {f64, {}, {0.7}}}};
      const std::vector<Tensor> wrt{x, s0, w};
      std::vector<Tensor> tangents;
      Tensor want = zeros({}, f64);
      const auto gradients = grad(cost, wrt, {.allow_unused = true});
      for (std::size_t k = 0; k < wrt.size(); ++k) {
        tangents.push_back(make_input("t", wrt[k].type(), wrt[k].line()));
        at[&tangents[k].node()] =
            ops::spread(f64, at.at(&wrt[k].node()).shape, -1, 1, 10 + static_cast<int>(k));
        want = want + sum(gradients[k] * tangents[k]);
      }
      check_equal(value_of(jvp({cost}, wrt, tangents)[0], at), {value_of(want, at).data[0]});
    }
  }
}

TEST_CASE("jvp of a loop keeps no value of its steps") {
  const Tensor n = scalar("n", i64), x = scalar("x", f64);
  const Tensor y =
      scan([&](Tensor s) { return s + 0.001 * sin(s); }, {.outputs_info = {x}, .n_steps = n})[-1];
  const auto f = function({x, n}, {y, jvp(y, x, 1.0)});
  const auto at = [&](double start) { return f(Array(start), 1000); };
  const double h = 1e-6;
  const double slope = (at(0.5 + h)[0].item<double>() - at(0.5 - h)[0].item<double>()) / (2 * h);
  CHECK(at(0.5)[1].item<double>() == doctest::Approx(slope).epsilon(1e-7));
}

TEST_CASE("jvp of a loop and the loop itself are one loop") {
  const Tensor xs = vector("xs", f64), w = scalar("w", f64), s0 = scalar("s0", f64);
  const Tensor y = scan([&](Tensor row, Tensor s) { return tanh(w * s + row); },
                        {.sequences = {xs}, .outputs_info = {s0}});
  const auto loops = [&](const std::vector<Tensor>& outputs) {
    Graph graph(std::vector<Tensor>{xs, w, s0}, outputs, {});
    run_passes(graph);
    int count = 0;
    for (const Graph::Vertex v : graph.topological_order()) {
      count += graph[v].op->kind == OpKind::scan ? 1 : 0;
    }
    return count;
  };
  const std::vector<Tensor> wrt{xs, w, s0};
  const Tensor t = jvp({y}, wrt, {ones_like(xs), w, s0})[0];
  CHECK(loops({y}) == 1);
  CHECK(loops({y, t}) == 1);
  CHECK(loops({y[-1], t[-1]}) == 1);
  CHECK(loops({y, grad(sum(y), w)}) == 2);  // back from the last step
  const auto values = function({xs, w, s0}, {y, t, jvp({y[-1]}, wrt, {ones_like(xs), w, s0})[0]})(
      Array::from({0.5, -0.25, 1.0}), 0.7, 0.3);
  const Bindings at = {{&xs.node(), {f64, {3}, {0.5, -0.25, 1.0}}},
                       {&w.node(), {f64, {}, {0.7}}},
                       {&s0.node(), {f64, {}, {0.3}}}};
  for (const auto& [k, tensor] : {std::pair(0, y), std::pair(1, t)}) {
    const ReferenceValue want = value_of(tensor, at);
    check_equal(from_array(values[static_cast<std::size_t>(k)]),
                {want.data.begin(), want.data.end()});
  }
}

TEST_CASE("derivatives beyond the gradient refuse what has none, naming it") {
  const Tensor x = vector("x", f64), k = vector("k", i64), z = vector("z", f64), e;
  const Tensor y = x * x;
  CHECK(text_of([&] { jacobian(y, z); }).find("jacobian: y does not depend on z") == 0);
  CHECK(text_of([&] { jacobian(y, k); }).find("jacobian: expected a floating wrt: k is i64") == 0);
  CHECK(text_of([&] { jacobian(k, x); }).find("jacobian: expected a floating y: k is i64") == 0);
  CHECK(text_of([&] { jacobian(e, x); }).find("jacobian: y is an empty Tensor") == 0);
  CHECK(text_of([&] { hessian(y, x); }).find("hessian: expected a scalar cost") == 0);
  CHECK(text_of([&] { hessian(sum(y), z); }).find("hessian: the cost does not depend on z") == 0);
  CHECK(text_of([&] {
          hvp(sum(y), x, scalar("v", f64));
        }).find("hvp: expected a vector of the type of x is f64") == 0);
  CHECK(text_of([&] {
          jvp(y, x, vector("v"));
        }).find("jvp: expected a tangent of the type of x is f64") == 0);
  CHECK(text_of([&] {
          jvp({y}, {x, z}, {x});
        }).find("jvp: expected one tangent for each of 2 wrt, got 1") == 0);
  CHECK(text_of([&] { jvp({k}, {x}, std::vector<Tensor>{x}); }).find("jvp: expected a floating") ==
        0);
  CHECK(text_of([&] { jvp({e}, {x, x}, {x, x}); }).find("jvp: an output is an empty Tensor") == 0);
  check_equal(value_of(jacobian(y, z, {.allow_unused = true}),
                       {{&x.node(), {f64, {1}, {2}}}, {&z.node(), {f64, {2}, {2, 3}}}}),
              {0, 0});
}

TEST_CASE("subgraph_grad: part after part gives the gradient of the whole") {
  const Tensor x = tensor("x", {3}, f64), w1 = tensor("w1", {4, 3}, f64);
  const Tensor w2 = tensor("w2", {2, 4}, f64);
  const Tensor h = tanh(dot(w1, x)), cost = sum(sin(dot(w2, h)));
  const Bindings at = {{&x.node(), ops::spread(f64, {3}, -1, 1, 1)},
                       {&w1.node(), ops::spread(f64, {4, 3}, -1, 1, 2)},
                       {&w2.node(), ops::spread(f64, {2, 4}, -1, 1, 3)}};
  const auto [of_w2, of_h] = subgraph_grad({w2}, {h}, {}, cost);
  const auto [of_w1, of_x] = subgraph_grad({w1}, {x}, {{h, of_h[0]}});
  const auto want = grad(cost, {w1, w2, x});
  const auto data = [&](const Tensor& t) {
    const ReferenceValue value = value_of(t, at);
    return std::vector<double>(value.data.begin(), value.data.end());
  };
  check_equal(value_of(of_w1[0], at), data(want[0]));
  check_equal(value_of(of_w2[0], at), data(want[1]));
  check_equal(value_of(of_x[0], at), data(want[2]));
  // Nothing passes below an end; a cost beside known gradients is added.
  check_equal(value_of(subgraph_grad({w1}, {h}, {}, cost).wrt[0], at), std::vector<double>(12, 0));
  check_equal(value_of(subgraph_grad({}, {h}, {{h, ones({4}, f64)}}, sum(h)).end[0], at),
              {2, 2, 2, 2});
  CHECK(text_of([&] { subgraph_grad({w1}, {x}); }).find("subgraph_grad: expected a cost or") == 0);
}
