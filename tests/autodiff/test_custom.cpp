// Derivatives of one's own: a rule that is the true one gives what the function itself gives, to
// any order and wherever it is used; one that is not gives what it says.
#include <doctest/doctest.h>
#include <kroton/custom_gradient.h>
#include <kroton/kroton.h>
#include <kroton/vmap.h>

#include <cmath>

#include "tests/tools/error_text.h"
#include "tests/tools/op_tools.h"

using namespace op_test;     // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

void check_values(const Tensor& got, const std::vector<double>& want, const Bindings& at) {
  const ReferenceValue value = value_of(got, at);
  REQUIRE(value.data.size() == want.size());
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    CHECK(double(value.data[k]) == doctest::Approx(want[k]).epsilon(1e-10));
  }
}

std::vector<double> values_of(const Tensor& tensor, const Bindings& at) {
  const ReferenceValue value = value_of(tensor, at);
  return {value.data.begin(), value.data.end()};
}

const auto plain = [](Tensor x, Tensor w) { return sin(x * w) * x; };

// The same function with its reverse rule, and with its forward rule.
const auto by_vjp = custom_vjp(plain, [](Tensor x, Tensor w, Tensor, Tensor g) {
  return std::pair{g * (cos(x * w) * w * x + sin(x * w)), g * cos(x * w) * x * x};
});
const auto by_jvp = custom_jvp(plain, [](Tensor x, Tensor w, Tensor, Tensor tx, Tensor tw) {
  return (cos(x * w) * w * x + sin(x * w)) * tx + cos(x * w) * x * x * tw;
});

}  // namespace

TEST_CASE("custom rules: true ones give the derivatives of the function to the third order") {
  const Tensor x = tensor("x", {3}, f64), w = tensor("w", {3}, f64);
  const Bindings at = {{&x.node(), ops::spread(f64, {3}, -1, 1, 1)},
                       {&w.node(), ops::spread(f64, {3}, -1, 1, 2)}};
  const auto derivatives = [&](const Tensor& y) {
    std::vector<Tensor> all{y};
    const auto first = grad(sum(y * y), {x, w});
    const auto second = grad(sum(first[0] * first[1]), {x, w});
    const auto third = grad(sum(second[0] * second[1]), {x, w});
    for (const auto& some : {first, second, third}) all.insert(all.end(), some.begin(), some.end());
    const Tensor tangent = jvp({y}, {x, w}, {x, w})[0];
    all.push_back(tangent);
    all.push_back(jvp({tangent}, {x, w}, {w, x})[0]);
    all.push_back(jvp(first, {x, w}, {w, x})[1]);
    all.push_back(grad(sum(tangent * tangent), w));
    all.push_back(hessian(sum(y), x));
    return all;
  };
  const auto want = derivatives(plain(x, w));
  const auto from_vjp = derivatives(by_vjp(x, w)), from_jvp = derivatives(by_jvp(x, w));
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    check_values(from_vjp[k], values_of(want[k], at), at);
    check_values(from_jvp[k], values_of(want[k], at), at);
  }
  // Compiled, too.
  const auto f = function({x, w}, {want[5], from_vjp[5], from_jvp[5]});
  const auto values = f(to_array(at.at(&x.node())), to_array(at.at(&w.node())));
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(values[1](k) == doctest::Approx(double(values[0](k))));
    CHECK(values[2](k) == doctest::Approx(double(values[0](k))));
  }
}

TEST_CASE("custom rules: hold in loops, branches, vmap and Jacobians") {
  const Tensor x = tensor("x", {3}, f64), w = scalar("w", f64);
  const Bindings at = {{&x.node(), ops::spread(f64, {3}, -1, 1, 1)}, {&w.node(), {f64, {}, {0.7}}}};
  // Twice the true derivative, so that the use of another rule would show.
  const auto doubled = custom_vjp([](Tensor a) { return a * a; },
                                  [](Tensor a, Tensor, Tensor g) { return 4 * a * g; });
  const auto want = [&](double power) {
    std::vector<double> result;
    for (const double a : values_of(x, at)) result.push_back(power * a);
    return result;
  };
  check_values(grad(sum(doubled(x)), x), want(4), at);
  check_values(grad(sum(map([&](Tensor a) { return doubled(a); }, {x})), x), want(4), at);
  check_values(grad(sum(vmap([&](Tensor a) { return doubled(a); })(x)), x), want(4), at);
  check_values(grad(sum(ifelse(w > 0, doubled(x), x)), x), want(4), at);
  const Tensor each = vmap([&](Tensor a) { return grad(doubled(a), a); })(x);
  check_values(each, want(4), at);
  check_values(jvp(doubled(x), x, 1.0), want(4), at);
  for (const DerivativeMode mode : {DerivativeMode::forward, DerivativeMode::reverse}) {
    check_values(sum(jacobian(doubled(x), x, {.mode = mode}), 0), want(4), at);
  }
  // A step that feeds back: s = 2 s with the derivative 3 instead.
  const auto tripled =
      custom_jvp([](Tensor s) { return 2 * s; }, [](Tensor, Tensor, Tensor t) { return 3 * t; });
  const Tensor last =
      scan([&](Tensor s) { return tripled(s); }, {.outputs_info = {w}, .n_steps = 4})[-1];
  check_values(last, {0.7 * 16}, at);
  check_values(grad(last, w), {81}, at);
  check_values(jvp(last, w, 1.0), {81}, at);
  // A step from which two results come, only one of which feeds back.
  const auto two =
      custom_vjp([](Tensor s) { return std::pair{2 * s, s * s}; },
                 [](Tensor s, Tensor, Tensor, Tensor g, Tensor h) { return 3 * g + 20 * s * h; });
  auto [states, squares] = scan(
      [&](Tensor s) {
        auto [next, square] = two(s);
        return std::pair{next, square};
      },
      {.outputs_info = {w, none}, .n_steps = 2});
  check_values(grad(sum(squares), w), {20 * 0.7 + 3 * 20 * 1.4}, at);
  check_values(grad(states[-1], w), {9}, at);
}

TEST_CASE("custom rules: what they capture counts as constant, and follows a loop's steps") {
  const Tensor x = tensor("x", {3}, f64), w = tensor("w", {3}, f64);
  const Bindings at = {{&x.node(), {f64, {3}, {1, 2, 3}}}, {&w.node(), {f64, {3}, {5, 7, 11}}}};
  const auto scaled = [&](Tensor a, Tensor by) {
    return custom_vjp([&](Tensor b) { return b * by; },
                      [&](Tensor, Tensor, Tensor g) { return g * by * by; })(a);
  };
  check_values(grad(sum(scaled(x, w)), x), {25, 49, 121}, at);
  check_values(grad(sum(scaled(x, w)), std::vector<Tensor>{w}, {.allow_unused = true})[0],
               {0, 0, 0}, at);
  const Tensor looped = scan([&](Tensor a, Tensor by, Tensor s) { return scaled(a, by) + 0 * s; },
                             {.sequences = {x, w}, .outputs_info = {zeros({}, f64)}});
  check_values(grad(sum(looped), x), {25, 49, 121}, at);
  check_values(jvp(looped, x, 1.0), {25, 49, 121}, at);
}

TEST_CASE("custom rules: integers among the inputs, literals and nothing among what rules give") {
  const Tensor x = tensor("x", {3}, f64), k = tensor("k", {2}, i64);
  const Bindings at = {{&x.node(), {f64, {3}, {1, 2, 3}}}, {&k.node(), {i64, {2}, {2, 0}}}};
  const auto picked = custom_vjp([](Tensor a, Tensor i) { return a[i]; },
                                 [](Tensor, Tensor, Tensor, Tensor) { return std::pair{7, 0}; });
  check_values(picked(x, k), {3, 1}, at);
  check_values(grad(sum(picked(x, k)), x), {7, 7, 7}, at);
  const auto none = custom_vjp([](Tensor a) { return sum(a * a); },
                               [](Tensor, Tensor, Tensor) { return Tensor(); });
  check_values(grad(none(x) + sum(x), x), {1, 1, 1}, at);
}

TEST_CASE("grad_clip and grad_scale change the gradient alone") {
  const Tensor x = tensor("x", {3}, f64);
  const Bindings at = {{&x.node(), {f64, {3}, {-2, 0.25, 2}}}};
  check_values(grad_clip(x, -1, 1), {-2, 0.25, 2}, at);
  check_values(grad(sum(grad_clip(x, -1, 1) * grad_clip(x, -1, 1)), x), {-2, 0.5, 2}, at);
  const Tensor y = grad_clip(x, -1, 1);
  check_values(grad(sum(y * y), x), {-1, 0.5, 1}, at);
  check_values(jvp(sum(y * y), x, 1.0), {-4 + 0.5 + 4}, at);
  check_values(grad(sum(exp(grad_scale(x, -1))), x),
               {-std::exp(-2.0), -std::exp(0.25), -std::exp(2.0)}, at);
  check_values(jvp(exp(grad_scale(x, -1)), x, 1.0),
               {-std::exp(-2.0), -std::exp(0.25), -std::exp(2.0)}, at);
  check_values(grad(sum(x * grad_scale(x, 0)), x), {-2, 0.25, 2}, at);
  // In a loop that explodes: the cotangent is clipped in each step.
  const Tensor w = scalar("w", f64);
  const Tensor last = scan([&](Tensor s) { return 10 * grad_clip(s, -0.5, 0.5); },
                           {.outputs_info = {w}, .n_steps = 5})[-1];
  check_values(grad(last, w), {0.5}, {{&w.node(), {f64, {}, {1}}}});
  const auto f = function({x}, {y, grad(sum(y * y), x)});
  CHECK(f(Array::from({-2.0, 0.25, 2.0}))[1](0) == -1.0);
}

TEST_CASE("custom rules: what does not fit is refused, naming it") {
  const Tensor x = tensor("x", {3}, f64), k = tensor("k", {3}, i64), e;
  const auto square = [](Tensor a) { return a * a; };
  const auto message = [](const auto& body) { return message_of<Error>(body); };
  CHECK(contains(message([&] { custom_vjp(square, square)(x); }),
                 "custom_vjp: backward takes 1 arguments, it gets 3"));
  CHECK(contains(message([&] {
                   custom_vjp(square, [](Tensor, Tensor, Tensor g) { return std::pair{g, g}; })(x);
                 }),
                 "custom_vjp: backward: expected 1 cotangents, one for each input, got 2"));
  CHECK(contains(
      message([&] { custom_vjp(square, [](Tensor, Tensor, Tensor g) { return sum(g); })(x); }),
      "custom_vjp: backward: the cotangent of input 0 is f64 (), expected f64 (3,)"));
  CHECK(contains(message([&] { custom_vjp(square, square)(k); }),
                 "custom_vjp: result 0 of the function is not floating"));
  CHECK(contains(message([&] { custom_vjp([&](Tensor) { return e; }, square)(x); }),
                 "custom_vjp: result 0 of the function is an empty Tensor"));
  CHECK(contains(
      message([&] { custom_jvp(square, [](Tensor, Tensor, Tensor t) { return t * t; })(x); }),
      "custom_jvp: forward: the tangents of the results are not linear"));
  const Tensor clipped =
      custom_vjp(square, [](Tensor a, Tensor, Tensor g) { return clip(2 * a * g, -1, 1); })(x);
  CHECK(contains(message([&] { jvp(clipped, x, 1.0); }),
                 "custom_vjp: a tangent goes through it, and its backward is not linear"));
  CHECK(contains(message([&] { grad_clip(k, 0, 1); }), "grad_clip: "));
  CHECK(contains(message([&] { grad_scale(e, 1); }), "grad_scale"));
}
