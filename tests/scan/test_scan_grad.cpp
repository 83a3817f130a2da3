// Gradients of scans: against the unrolled graph, against finite differences, of second order, of
// no steps, truncated.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/scan/scan_tools.h"

using namespace kroton;     // NOLINT: tests
using namespace scan_test;  // NOLINT: tests

namespace {

using Tensors = std::span<const Tensor>;

// Depends on every element with a weight of its own.
Tensor weighted(const Tensor& y) {
  if (y.rank() == 0) return y * y + y;
  Tensor weights = sin(cast(iota(y.shape(), 0), y.dtype()) + 1);
  if (y.rank() > 1) weights = weights * cos(cast(iota(y.shape(), y.rank() - 1), y.dtype()));
  return sum(weights * y * y) + sum(y);
}
Tensor all_weighted(Tensors outputs) {
  Tensor total = weighted(outputs[0]);
  for (const Tensor& y : outputs.subspan(1)) total = total + weighted(y);
  return total;
}
Tensor last_weighted(Tensors outputs) { return weighted(outputs[0][-1]); }

Array normal(const Shape& shape, std::uint64_t seed, DType dtype) {
  return Array::normal(shape, seed, 0, 0.5, dtype);
}

// s_t = tanh(x_t W + s_{t-1} V + b), rows of x (n, 3), hidden 4.
Recurrence recurrent_network(DType dtype, const ScanOptions& others = {}) {
  const Tensor x = matrix("x", dtype);
  const Tensor s0 = vector("s0", dtype);
  const Tensor w = matrix("w", dtype);
  const Tensor v = matrix("v", dtype);
  const Tensor b = vector("b", dtype);
  ScanOptions options = others;
  options.sequences = {x};
  options.outputs_info = {s0};
  options.non_sequences = {w, v};
  const auto step = [b](Tensors a) -> std::vector<Tensor> {
    return {tanh(dot(a[0], a[2]) + dot(a[1], a[3]) + b)};
  };
  const auto values = [dtype](std::int64_t n) -> std::vector<Array> {
    return {normal({n, 3}, 1, dtype), normal({4}, 2, dtype), normal({3, 4}, 3, dtype),
            normal({4, 4}, 4, dtype), normal({4}, 5, dtype)};
  };
  return {step, options, all_weighted, {x, s0, w, v, b}, {x, s0, w, v, b}, values};
}

}  // namespace

TEST_CASE("scan gradient: cumulative sum and product") {
  const Tensor x = vector("x", f64);
  const Tensor s0 = scalar("s0", f64);
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    return {Array::from(some_numbers(n)), Array(0.75)};
  };
  const ScanOptions options = {.sequences = {x}, .outputs_info = {s0}};
  const auto add_step = [](Tensors a) -> std::vector<Tensor> { return {a[1] + a[0]}; };
  const auto mul_step = [](Tensors a) -> std::vector<Tensor> { return {a[1] * (a[0] + 1.5)}; };
  check_against_unrolled({add_step, options, all_weighted, {x, s0}, {x, s0}, values}, 2);
  check_against_unrolled({mul_step, options, all_weighted, {x, s0}, {x, s0}, values}, 2);
  check_against_unrolled({mul_step, options, last_weighted, {x, s0}, {x, s0}, values}, 2);
}

TEST_CASE("scan gradient: a recurrent network, with respect to everything") {
  check_against_unrolled(recurrent_network(f64));
  check_against_unrolled(recurrent_network(f32));
}

TEST_CASE("scan gradient: a recurrent network, only the last state used") {
  Recurrence r = recurrent_network(f64);
  r.cost = last_weighted;
  check_against_unrolled(r);
}

TEST_CASE("scan gradient: of second order") {
  check_against_unrolled(recurrent_network(f64), 2, {1, 3});
  Recurrence last = recurrent_network(f64);
  last.cost = last_weighted;
  check_against_unrolled(last, 2, {1, 3});
}

TEST_CASE("scan gradient: with respect to one variable at a time") {
  const Recurrence every = recurrent_network(f64);
  for (const Tensor& variable : every.wrt) {
    CAPTURE(variable.name());
    Recurrence one = every;
    one.wrt = {variable};
    check_against_unrolled(one, 1, {3});
  }
}

TEST_CASE("scan gradient: finite differences of first and second order") {
  const Recurrence r = recurrent_network(f64);
  const Tensor cost = r.cost(scan(r.step, r.options));
  check_finite_differences(cost, r.inputs, r.values(3));
  Tensor second;
  for (const Tensor& g : grad(cost, r.wrt)) second = second ? second + weighted(g) : weighted(g);
  check_finite_differences(second, r.inputs, r.values(2));
}

TEST_CASE("scan gradient: of third order") {
  const Tensor x = scalar("x", f64);
  const Tensor n = scalar("n", i64);
  const Tensor y =
      scan([&](Tensor p) { return p * x; }, {.outputs_info = {ones({}, f64)}, .n_steps = n})[-1];
  const Tensor first = grad(y, x);
  const Tensor second = grad(first, x);
  const Tensor third = grad(second, x);
  const auto f = function({x, n}, {y, first, second, third});
  for (const int k : {1, 3, 7}) {
    CAPTURE(k);
    const auto [y0, y1, y2, y3] = f(1.25, k);
    CHECK(y0.item<double>() == doctest::Approx(std::pow(1.25, k)));
    CHECK(y1.item<double>() == doctest::Approx(k * std::pow(1.25, k - 1)));
    CHECK(y2.item<double>() == doctest::Approx(k * (k - 1) * std::pow(1.25, k - 2)));
    CHECK(y3.item<double>() == doctest::Approx(k * (k - 1) * (k - 2) * std::pow(1.25, k - 3)));
  }
}

TEST_CASE("scan gradient: verify_grad runs the loop by the reference interpreter") {
  const Recurrence r = recurrent_network(f64);
  const Tensor cost = r.cost(scan(r.step, r.options));
  std::vector<std::pair<Tensor, Array>> at;
  const std::vector<Array> values = r.values(3);
  for (std::size_t k = 0; k < values.size(); ++k) at.emplace_back(r.inputs[k], values[k]);
  verify_grad(cost, at);
}

TEST_CASE("scan gradient: no steps give zeros") {
  Recurrence r = recurrent_network(f64);
  const std::vector<Tensor> outputs = scan(r.step, r.options);
  // The cost also depends on the initial state by another way.
  const Tensor cost = all_weighted(outputs) + 3 * sum(r.inputs[1]);
  const auto f = function(r.inputs, grad(cost, r.wrt));
  const std::vector<Array> values = r.values(0);
  const std::vector<Argument> arguments(values.begin(), values.end());
  const std::vector<Array> gradients = f.call(arguments);
  CHECK(gradients[0].shape() == Shape{0, 3});
  check_values(gradients[1], {3, 3, 3, 3}, 0);
  check_values(gradients[2], std::vector<double>(12, 0.0), 0);
  check_values(gradients[3], std::vector<double>(16, 0.0), 0);
  check_values(gradients[4], std::vector<double>(4, 0.0), 0);
}

TEST_CASE("scan gradient: several outputs, some of them used") {
  const Tensor x = matrix("x", f64);
  const Tensor a0 = vector("a0", f64);
  const Tensor w = vector("w", f64);
  const auto step = [](Tensors a) -> std::vector<Tensor> {
    const Tensor next_a = sin(a[1] * a[3] + a[0]);
    const Tensor next_b = a[2] * 0.5 + sum(next_a * a[0]);
    return {next_a, next_b, next_a * next_b};
  };
  const ScanOptions options = {
      .sequences = {x}, .outputs_info = {a0, zeros({}, f64), none}, .non_sequences = {w}};
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    return {normal({n, 3}, 1, f64), normal({3}, 2, f64), normal({3}, 3, f64)};
  };
  const std::vector<Tensor> all_inputs = {x, a0, w};
  check_against_unrolled({step, options, all_weighted, all_inputs, all_inputs, values});
  for (const std::size_t used : {0U, 1U, 2U}) {
    CAPTURE(used);
    const auto one = [used](Tensors y) { return weighted(y[used]); };
    const auto last_of_one = [used](Tensors y) { return weighted(y[used][-1]); };
    check_against_unrolled({step, options, one, all_inputs, all_inputs, values}, 1, {1, 3});
    check_against_unrolled({step, options, last_of_one, all_inputs, all_inputs, values}, 1, {3});
  }
  const auto mixed = [](Tensors y) { return weighted(y[0][-1]) + weighted(y[1]) + sum(y[2][0]); };
  check_against_unrolled({step, options, mixed, all_inputs, all_inputs, values}, 2, {1, 3});
}

TEST_CASE("scan gradient: taps of sequences and states") {
  const Tensor x = vector("x", f64);
  const Tensor s0 = vector("s0", f64);
  const Tensor w = scalar("w", f64);
  const auto step = [w](Tensors a) -> std::vector<Tensor> {
    return {tanh(a[0] * a[3] + w * a[1] * a[4] + a[2])};
  };
  const ScanOptions options = {.sequences = {{x, {-1, 0, 2}}}, .outputs_info = {{s0, {-3, -1}}}};
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    return {Array::from(some_numbers(n + 3, 1)), Array::from(some_numbers(3, 2)), Array(0.5)};
  };
  check_against_unrolled({step, options, all_weighted, {x, s0, w}, {x, s0, w}, values}, 1,
                         {1, 2, 3, 4, 17});
  check_against_unrolled({step, options, last_weighted, {x, s0, w}, {x, s0, w}, values}, 1,
                         {1, 2, 3, 4, 17});
  check_against_unrolled({step, options, all_weighted, {x, s0, w}, {x, s0, w}, values}, 2, {1, 4});
}

TEST_CASE("scan gradient: sequences longer than the loop") {
  const Tensor x = vector("x", f64);
  const Tensor y = vector("y", f64);
  const auto step = [](Tensors a) -> std::vector<Tensor> { return {a[2] * a[0] + a[1]}; };
  const ScanOptions options = {.sequences = {x, y}, .outputs_info = {ones({}, f64)}};
  const auto longer_x = [](std::int64_t n) -> std::vector<Array> {
    return {Array::from(some_numbers(n + 2, 1)), Array::from(some_numbers(n, 2))};
  };
  const auto longer_y = [](std::int64_t n) -> std::vector<Array> {
    return {Array::from(some_numbers(n, 1)), Array::from(some_numbers(n + 5, 2))};
  };
  check_against_unrolled({step, options, all_weighted, {x, y}, {x, y}, longer_x}, 1, {1, 3});
  check_against_unrolled({step, options, all_weighted, {x, y}, {x, y}, longer_y}, 1, {1, 3});
}

TEST_CASE("scan gradient: backwards") {
  check_against_unrolled(recurrent_network(f64, {.go_backwards = true}));
  Recurrence last = recurrent_network(f64, {.go_backwards = true});
  last.cost = last_weighted;
  check_against_unrolled(last, 2, {1, 3});
}

TEST_CASE("scan gradient: truncated to the last steps") {
  for (const int k : {1, 4, 100}) {
    CAPTURE(k);
    check_against_unrolled(recurrent_network(f64, {.truncate_gradient = k}), 1, {1, 3, 4, 5, 17});
  }
}

TEST_CASE("scan gradient: a state that changes nothing, a state that nothing changes") {
  const Tensor x = vector("x", f64);
  const Tensor a0 = scalar("a0", f64);
  const Tensor b0 = scalar("b0", f64);
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    return {Array::from(some_numbers(n)), Array(0.5), Array(2.0)};
  };
  // b stays b0; the new a does not depend on the old one.
  const auto step = [](Tensors a) -> std::vector<Tensor> {
    return {a[0] * a[0] * a[2] + 0 * a[1], a[2]};
  };
  const auto cost = [](Tensors y) { return weighted(y[0]); };
  check_against_unrolled(
      {step, {.sequences = {x}, .outputs_info = {a0, b0}}, cost, {x, a0, b0}, {x, a0, b0}, values});
}

TEST_CASE("scan gradient: with respect to an intermediate result and a shared variable") {
  const Tensor x = vector("x", f64);
  const Shared w = shared(Array(0.75), "w");
  const Tensor scaled = x * w;
  const Tensor y = scan([&](Tensor row, Tensor s) { return sin(s * w + row); },
                        {.sequences = {scaled}, .outputs_info = {w * 2}});
  const auto [g_scaled, gw] = grad(weighted(y), scaled, w);
  const auto f = function({x}, {g_scaled, gw, weighted(y)});
  const std::vector<double> xs = some_numbers(3);
  const auto [gs, g, cost] = f(Array::from(xs));
  CHECK(gs.shape() == Shape{3});
  // By finite differences of the same loop.
  const auto at = [](const std::vector<double>& rows, double weight) {
    double s = 2 * weight;
    double total = 0;
    for (std::size_t t = 0; t < rows.size(); ++t) {
      s = std::sin(s * weight + rows[t]);
      total += std::sin(static_cast<double>(t) + 1) * s * s + s;
    }
    return total;
  };
  const auto of_x = [&](double weight) {
    std::vector<double> rows = xs;
    for (double& row : rows) row *= weight;
    return at(rows, weight);
  };
  CHECK(cost.item<double>() == doctest::Approx(of_x(0.75)).epsilon(1e-12));
  const double h = 1e-6;
  CHECK(g.item<double>() ==
        doctest::Approx((of_x(0.75 + h) - of_x(0.75 - h)) / (2 * h)).epsilon(1e-7));
  for (std::size_t t = 0; t < 3; ++t) {
    std::vector<double> up = xs;
    for (double& row : up) row *= 0.75;
    std::vector<double> down = up;
    up[t] += h;
    down[t] -= h;
    CHECK(gs.data<double>()[t] ==
          doctest::Approx((at(up, 0.75) - at(down, 0.75)) / (2 * h)).epsilon(1e-7));
  }
}

TEST_CASE("scan gradient: a variable on which only the number of steps depends") {
  const Tensor x = vector("x", f64);
  const Tensor s0 = scalar("s0", f64);
  const Tensor y =
      scan([](Tensor s) { return s * s; }, {.outputs_info = {s0}, .n_steps = x.shape(0)});
  CHECK_THROWS_WITH_AS(grad(sum(y), x), doctest::Contains("grad: the cost does not depend on x"),
                       ValueError);
  const auto f = function({x, s0}, grad(sum(y), s0));
  CHECK(f(Array::zeros({3}, f64), 1.0).item<double>() == 14);  // 2 s + 4 s^3 + 8 s^7
}

TEST_CASE("scan gradient: rows of a table by number") {
  const Tensor ids = vector("ids", i64);
  const Tensor table = matrix("table", f64);
  const auto step = [table](Tensors a) -> std::vector<Tensor> {
    return {tanh(a[1] + table[a[0]])};
  };
  const ScanOptions options = {.sequences = {ids}, .outputs_info = {zeros({3}, f64)}};
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    std::vector<double> rows;
    for (std::int64_t t = 0; t < n; ++t) rows.push_back(static_cast<double>((t * 7) % 5));
    return {array_of(rows, i64), normal({5, 3}, 1, f64)};
  };
  check_against_unrolled({step, options, all_weighted, {ids, table}, {table}, values}, 1,
                         {1, 3, 17});
  // Columns, as in a network whose words are the columns of its first matrix.
  const auto columns = [table](Tensors a) -> std::vector<Tensor> {
    return {tanh(a[1] + table(all, a[0]))};
  };
  const ScanOptions of_five = {.sequences = {ids}, .outputs_info = {zeros({5}, f64)}};
  const auto column_values = [](std::int64_t n) -> std::vector<Array> {
    std::vector<double> rows;
    for (std::int64_t t = 0; t < n; ++t) rows.push_back(static_cast<double>((t * 7) % 3));
    return {array_of(rows, i64), normal({5, 3}, 1, f64)};
  };
  check_against_unrolled({columns, of_five, all_weighted, {ids, table}, {table}, column_values}, 1,
                         {1, 3, 17});
}

TEST_CASE("scan gradient: a recurrent network of words with softmax outputs") {
  for (const DType dtype : {f32, f64}) {
    CAPTURE(name_of(dtype));
    const Tensor x = vector("x", i64);
    const Tensor y = vector("y", i64);
    const Tensor u = matrix("u", dtype);
    const Tensor v = matrix("v", dtype);
    const Tensor w = matrix("w", dtype);
    const auto step = [](Tensors a) -> std::vector<Tensor> {
      const Tensor s = tanh(a[2](all, a[0]) + dot(a[4], a[1]));
      return {softmax(dot(a[3], s)), s};
    };
    const ScanOptions options = {
        .sequences = {x}, .outputs_info = {none, zeros({4}, dtype)}, .non_sequences = {u, v, w}};
    const auto cost = [y](Tensors o) { return -sum(log(pick(o[0], y))); };
    const auto values = [dtype](std::int64_t n) -> std::vector<Array> {
      std::vector<double> words, answers;
      for (std::int64_t t = 0; t < n; ++t) {
        words.push_back(static_cast<double>((t * 7) % 11));
        answers.push_back(static_cast<double>((t * 5 + 3) % 11));
      }
      return {array_of(words, i64), array_of(answers, i64), normal({4, 11}, 1, dtype),
              normal({11, 4}, 2, dtype), normal({4, 4}, 3, dtype)};
    };
    check_against_unrolled({step, options, cost, {x, y, u, v, w}, {u, v, w}, values});
    ScanOptions truncated = options;
    truncated.truncate_gradient = 4;
    check_against_unrolled({step, truncated, cost, {x, y, u, v, w}, {u, v, w}, values}, 1, {3, 17});
  }
}

TEST_CASE("scan gradient: a long short-term memory cell") {
  // Gates from one product; two states.
  for (const DType dtype : {f32, f64}) {
    CAPTURE(name_of(dtype));
    const std::int64_t hidden = 3;
    const Tensor x = tensor("x", {dim("steps"), dim("batch"), 2}, dtype);
    const Tensor h0 = tensor("h0", {dim("batch"), hidden}, dtype);
    const Tensor c0 = tensor("c0", {dim("batch"), hidden}, dtype);
    const Tensor w = tensor("w", {2, 4 * hidden}, dtype);
    const Tensor r = tensor("r", {hidden, 4 * hidden}, dtype);
    const Tensor b = tensor("b", {4 * hidden}, dtype);
    const auto step = [=](Tensors a) -> std::vector<Tensor> {
      const Tensor gates = dot(a[0], w) + dot(a[1], r) + b;
      const auto part = [&](std::int64_t k) {
        return gates(all, slice(k * hidden, (k + 1) * hidden));
      };
      const Tensor c = sigmoid(part(0)) * a[2] + sigmoid(part(1)) * tanh(part(2));
      return {sigmoid(part(3)) * tanh(c), c};
    };
    const auto cost = [](Tensors y) { return weighted(y[0]); };
    const auto values = [=](std::int64_t n) -> std::vector<Array> {
      return {normal({n, 5, 2}, 1, dtype),
              normal({5, hidden}, 2, dtype),
              normal({5, hidden}, 3, dtype),
              normal({2, 4 * hidden}, 4, dtype),
              normal({hidden, 4 * hidden}, 5, dtype),
              normal({4 * hidden}, 6, dtype)};
    };
    const std::vector<Tensor> inputs = {x, h0, c0, w, r, b};
    check_against_unrolled(
        {step, {.sequences = {x}, .outputs_info = {h0, c0}}, cost, inputs, inputs, values});
  }
}

TEST_CASE("scan gradient: a gated recurrent unit, its state tapped by name") {
  const Tensor x = matrix("x", f64);
  const Tensor h0 = vector("h0", f64);
  const Tensor wz = matrix("wz", f64);
  const Tensor wr = matrix("wr", f64);
  const Tensor wh = matrix("wh", f64);
  const auto step = [=](Tensors a) -> std::vector<Tensor> {
    const Tensor both = concatenate({a[0], a[1]});
    const Tensor z = sigmoid(dot(both, wz));
    const Tensor r = sigmoid(dot(both, wr));
    const Tensor candidate = tanh(dot(concatenate({a[0], r * a[1]}), wh));
    return {(1 - z) * a[1] + z * candidate};
  };
  const auto values = [](std::int64_t n) -> std::vector<Array> {
    return {normal({n, 2}, 1, f64), normal({3}, 2, f64), normal({5, 3}, 3, f64),
            normal({5, 3}, 4, f64), normal({5, 3}, 5, f64)};
  };
  const std::vector<Tensor> inputs = {x, h0, wz, wr, wh};
  const ScanOptions options = {.sequences = {x}, .outputs_info = {h0}};
  check_against_unrolled({step, options, all_weighted, inputs, inputs, values});
  check_against_unrolled({step, options, last_weighted, inputs, inputs, values}, 2, {3});
}

TEST_CASE("scan gradient: a scan inside a scan") {
  const Tensor x = matrix("x", f64);
  const Tensor w = scalar("w", f64);
  const auto inner_step = [w](Tensors a) -> std::vector<Tensor> { return {sin(a[1] * w + a[0])}; };
  const auto outer = [&](const std::function<Tensor(const Tensor& row, const Tensor& s)>& inner) {
    return [inner](Tensors a) -> std::vector<Tensor> {
      const Tensor all_of_them = inner(a[0], a[1]);
      return {all_of_them[-1] + sum(all_of_them)};
    };
  };
  const auto looped = outer([&](const Tensor& row, const Tensor& s) {
    return scan(inner_step, {.sequences = {row}, .outputs_info = {s}})[0];
  });
  const ScanOptions options = {.sequences = {x}, .outputs_info = {zeros({}, f64)}};
  const Tensor cost = weighted(scan(looped, options)[0]);
  const Array rows = normal({3, 4}, 1, f64);
  check_finite_differences(cost, {x, w}, {rows, Array(0.5)});
  // Both loops unrolled.
  const auto flat = outer([&](const Tensor& row, const Tensor& s) {
    return unrolled(inner_step, {.sequences = {row}, .outputs_info = {s}}, 4)[0];
  });
  const Tensor flat_cost = weighted(unrolled(flat, options, 3)[0]);
  const std::vector<ReferenceValue> want =
      compiled_test::expected({{x, w}, grad(flat_cost, {x, w}), {rows, Array(0.5)}});
  const auto [gx, gw] = function({x, w}, {grad(cost, x), grad(cost, w)})(rows, 0.5);
  CHECK(compiled_test::difference(want[0], gx, {.f64 = 1e-12}) == "");
  CHECK(compiled_test::difference(want[1], gw, {.f64 = 1e-12}) == "");
}

TEST_CASE("scan gradient: training through a loop lowers the cost") {
  // A running mean with an unknown weight: the weight is found.
  const Tensor x = vector("x");
  const Shared w = shared(Array(0.1F), "w");
  const auto run = [&](const Tensor& weight) {
    return scan([&](Tensor row, Tensor s) { return weight * s + row; },
                {.sequences = {x}, .outputs_info = {zeros({})}});
  };
  const Tensor target = vector("target");
  const Tensor cost = mean(square(run(w) - target));
  const auto train = function({x, target}, cost, {.updates = {{w, w - 0.05 * grad(cost, w)}}});
  const Array rows = array_of(some_numbers(17));
  std::vector<double> wanted;
  double s = 0;
  for (const double row : some_numbers(17)) wanted.push_back(s = 0.7 * s + row);
  const float before = train(rows, array_of(wanted)).item<float>();
  for (int k = 0; k < 200; ++k) train(rows, array_of(wanted));
  CHECK(before > 0.01F);
  CHECK(w.get_value().item<float>() == doctest::Approx(0.7).epsilon(1e-3));
}
