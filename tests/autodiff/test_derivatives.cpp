// Derivatives of every op up to the third order, along a direction, against finite differences of
// the function itself: at the samples, and there with zeros and ties among the values. At a kink
// the function is the smooth one that the sample gives for the op's convention.
#include <doctest/doctest.h>
#include <kroton/derivatives.h>
#include <kroton/variables.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "compiler/autodiff/forward_sweep.h"
#include "compiler/autodiff/sweep.h"
#include "tests/tools/op_tools.h"

using namespace op_test;  // NOLINT: tests

namespace {

constexpr std::size_t orders = 3;
constexpr int most_elements = 20;

// A scalar cost of a sample's inputs, and a direction in those that are floating.
struct Line {
  Case c;
  Tensor cost;
  std::vector<Tensor> wrt, direction;
};

Line line_of(const Sample& sample) {
  Line line{make_case(sample), {}, {}, {}};
  const ReferenceValue value = value_of(line.c.output, line.c.bindings);
  line.cost = cost_of(line.c.output, value, 3);
  int seed = 11;
  for (const Tensor& input : line.c.inputs) {
    if (!is_float(input.dtype())) continue;
    line.wrt.push_back(input);
    line.direction.push_back(make_input("v", input.type(), input.line()));
    const ReferenceValue& at = line.c.bindings.at(&input.node());
    line.c.bindings[&line.direction.back().node()] =
        ops::spread(at.dtype, at.shape, -1.5, 1.5, seed++);
  }
  return line;
}

Tensor along(const std::vector<Tensor>& gradients, const std::vector<Tensor>& direction) {
  Tensor total;
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const Tensor part =
        gradients[k] ? sum(gradients[k] * direction[k]) : sum(zeros_like(direction[k]));
    total = total ? cast(total, f64) + cast(part, f64) : cast(part, f64);
  }
  return total;
}

// The derivative along the direction, in a mode: 'r' reverse by the rules of the records as they
// are written, 'R' as grad applies them; 'f' and 'F' forward, likewise.
Tensor derivative(const Tensor& of, const Line& line, char mode) {
  switch (mode) {
    case 'r':
      return along(sweep({{of, ones_like(of)}}, line.wrt), line.direction);
    case 'R':
      return along(grad(of, line.wrt, {.allow_unused = true}), line.direction);
    case 'F':
      return cast(jvp({of}, line.wrt, line.direction)[0], f64);
    default: {
      Tangents seeds;
      for (std::size_t k = 0; k < line.wrt.size(); ++k) {
        seeds.emplace_back(line.wrt[k], line.direction[k]);
      }
      const Tensor tangent = forward_sweep(seeds, {&of, 1})[0];
      return cast(tangent ? tangent : zeros_like(of), f64);
    }
  }
}

std::array<double, orders> by_rules(const Line& line, std::string_view modes) {
  std::array<double, orders> result{};
  Tensor now = line.cost;
  for (std::size_t k = 0; k < orders; ++k) {
    now = derivative(now, line, modes[k]);
    result[k] = value_of(now, line.c.bindings).data[0];
  }
  return result;
}

// By differences of fourth order and more, of the cost or of what takes its place at a kink.
std::array<double, orders> by_differences(const Line& line, const Sample& sample) {
  Tensor cost = line.cost;
  if (sample.smooth) {
    const Tensor y = sample.smooth(line.c.inputs);
    cost = cost_of(y, value_of(line.c.output, line.c.bindings), 3);
  }
  constexpr double h = 0.004;
  const auto at = [&](int steps) {
    Bindings moved = line.c.bindings;
    for (std::size_t k = 0; k < line.wrt.size(); ++k) {
      ReferenceValue& x = moved.at(&line.wrt[k].node());
      const ReferenceValue& v = moved.at(&line.direction[k].node());
      for (std::size_t i = 0; i < x.data.size(); ++i) x.data[i] += steps * h * v.data[i];
    }
    return value_of(cost, moved).data[0];
  };
  const double m3 = at(-3), m2 = at(-2), m1 = at(-1), p0 = at(0), p1 = at(1), p2 = at(2),
               p3 = at(3);
  return {(p3 - m3 - 9 * (p2 - m2) + 45 * (p1 - m1)) / (60 * h),
          (2 * (p3 + m3) - 27 * (p2 + m2) + 270 * (p1 + m1) - 490 * p0) / (180 * h * h),
          (m3 - p3 + 8 * (p2 - m2) - 13 * (p1 - m1)) / (8 * h * h * h)};
}

bool is_tested(const Sample& sample) {
  std::size_t elements = 0;
  bool floating = false;
  for (const ReferenceValue& input : sample.inputs) {
    elements += input.data.size();
    floating = floating || is_float(input.dtype);
  }
  return (sample.differentiable || sample.smooth) && floating && elements <= most_elements;
}

using Modes = std::vector<std::string_view>;  // of the first, second and third derivative

// How many were compared.
int check(const Sample& sample, const Modes& all) {
  if (!is_tested(sample)) return 0;
  const Line line = line_of(sample);
  if (!is_float(line.cost.dtype())) return 0;
  const std::array<double, orders> expected = by_differences(line, sample);
  for (const std::string_view modes : all) {
    CAPTURE(modes);
    const std::array<double, orders> got = by_rules(line, modes);
    for (std::size_t k = 0; k < orders; ++k) {
      CAPTURE(k);
      CHECK(std::fabs(got[k] - expected[k]) <= 2e-3 * std::fmax(1, std::fabs(expected[k])));
    }
  }
  return 1;
}

// Whether the operand may be 0: samples of numbers of one sign keep away from a pole there.
bool may_be_zero(const std::vector<Sample>& samples, std::size_t operand) {
  bool low = false, high = false;
  for (const Sample& sample : samples) {
    if (sample.inputs.size() <= operand || !is_float(sample.inputs[operand].dtype)) continue;
    for (const double x : sample.inputs[operand].data) {
      low = low || x <= 0;
      high = high || x >= 0;
    }
  }
  return low && high;
}

// The sample with every second floating value 0 where it may be, or all of them equal.
Sample changed(const std::vector<Sample>& samples, Sample sample, bool zeros) {
  std::size_t next = 0;
  for (std::size_t k = 0; k < sample.inputs.size(); ++k) {
    ReferenceValue& input = sample.inputs[k];
    if (!is_float(input.dtype) || (zeros && !may_be_zero(samples, k))) continue;
    for (Number& value : input.data) {
      if (!zeros) value = 0.75;
      if (zeros && next++ % 2 == 0) value = 0;
    }
  }
  return sample;
}

// Whether the values are in the op's domain, and none is a pole.
bool has_value(const Sample& sample) {
  const Case c = make_case(sample);
  return std::ranges::all_of(value_of(c.output, c.bindings).data,
                             [](double x) { return std::isfinite(x); });
}

void check_all_ops(const Modes& modes) {
  for (const OpRecord* op : all_ops()) {
    if (op->vjp == nullptr && op->vjp_results == nullptr) continue;
    // The rule of one is an error, that of the other not the derivative of its value.
    if (op->name == "no_gradient" || op->name == "gamma_deviate") continue;
    CAPTURE(op->name);
    const std::vector<Sample> samples = op->samples();
    // What bends or jumps has samples that say how, where it does.
    const bool has_kinks =
        std::ranges::any_of(samples, [](const Sample& sample) { return bool(sample.smooth); });
    int tested = 0, number = -1;
    for (const Sample& sample : samples) {
      ++number;
      CAPTURE(number);
      // The jumps of a remainder are closer to its samples than differences of this order reach.
      if ((op->name == "mod" || op->name == "fmod") && !sample.smooth) continue;
      tested += check(sample, modes);
      if (has_kinks) continue;
      for (const bool zeros : {true, false}) {
        CAPTURE(zeros);
        const Sample other = changed(samples, sample, zeros);
        if (has_value(other)) check(other, modes);
      }
    }
    CHECK(tested > 0);
  }
}

}  // namespace

TEST_CASE("derivatives of every op up to the third order, zeros and ties among the values") {
  check_all_ops({"rrr", "RRR"});
}

TEST_CASE("tangents of every op up to the third order, zeros and ties among the values") {
  check_all_ops({"fff", "FFF"});
}

TEST_CASE("tangents of gradients and gradients of tangents of every op up to the third order") {
  check_all_ops({"RFR", "FRF"});
}

TEST_CASE("the Hessian of a product with zeros among its factors") {
  const Tensor x = tensor("x", {3}, f64);
  const auto hessian_at = [&](const std::vector<Number>& point) {
    const Tensor gradient = grad(prod(x), x);
    std::vector<double> rows;
    for (int k = 0; k < 3; ++k) {
      const ReferenceValue row = value_of(grad(gradient[k], x), {{&x.node(), {f64, {3}, point}}});
      rows.insert(rows.end(), row.data.begin(), row.data.end());
    }
    return rows;
  };
  CHECK(hessian_at({0, 2, 3}) == std::vector<double>{0, 3, 2, 3, 0, 0, 2, 0, 0});
  CHECK(hessian_at({0, 0, 3}) == std::vector<double>{0, 3, 0, 3, 0, 0, 0, 0, 0});
  CHECK(hessian_at({1, 2, 3}) == std::vector<double>{0, 3, 2, 3, 0, 1, 2, 1, 0});
  // d3 / dx0 dx1 dx2 is 1 wherever it is asked.
  const Tensor third = grad(grad(grad(prod(x), x)[0], x)[1], x);
  CHECK(value_of(third, {{&x.node(), {f64, {3}, {0, 0, 0}}}}).data == std::vector<Number>{0, 0, 1});
}

TEST_CASE("the mixed derivative of pow is x^(e - 1) (1 + e log(x)), also for e = 0") {
  const Tensor x = scalar("x", f64);
  const Tensor e = scalar("e", f64);
  const Bindings at = {{&x.node(), {f64, {}, {2}}}, {&e.node(), {f64, {}, {0}}}};
  CHECK(value_of(grad(grad(pow(x, e), x), e), at).data[0] == doctest::Approx(0.5));
  CHECK(value_of(grad(grad(pow(x, e), e), x), at).data[0] == doctest::Approx(0.5));
}

TEST_CASE("where the extreme is NaN the elements that are NaN share the gradient") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor("x", {4}, f64);
  const Tensor y = tensor("y", {4}, f64);
  const Bindings at = {{&x.node(), {f64, {4}, {1, nan, 5, nan}}},
                       {&y.node(), {f64, {4}, {nan, 2, 1, nan}}}};
  CHECK(value_of(grad(max(x), x), at).data == std::vector<Number>{0, 0.5, 0, 0.5});
  CHECK(value_of(grad(min(x), x), at).data == std::vector<Number>{0, 0.5, 0, 0.5});
  for (const bool larger : {true, false}) {
    const auto [dx, dy] = grad(sum(larger ? maximum(x, y) : minimum(x, y)), x, y);
    CHECK(value_of(dx, at).data ==
          (larger ? std::vector<Number>{0, 1, 1, 1} : std::vector<Number>{0, 1, 0, 1}));
    CHECK(value_of(dy, at).data ==
          (larger ? std::vector<Number>{1, 0, 0, 0} : std::vector<Number>{1, 0, 1, 0}));
  }
}
