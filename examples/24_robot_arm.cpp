// Moves the hand of a robot arm along a circle: inverse kinematics with a Jacobian.
//   robot_arm [SVG]
// The arm has six joints, more than a plane asks for. Each step of the solver goes
// J^T (J J^T + damping)^-1 times what the hand is off, in one compiled function with a loop, for
// all places of the circle in turn. SVG, robot_arm.svg if not given, shows the arm on its way.
// After Wampler, "Manipulator Inverse Kinematic Solutions Based on Vector Formulations and Damped
// Least-Squares Methods", 1986.
#include <kroton/kroton.h>

#include <cmath>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;

namespace {

constexpr std::int64_t joints = 6, places = 48;

// Where the joints and the hand are, (joints, 2): each link is 1 long and turned against the last.
kt::Tensor arm(const kt::Tensor& angles) {
  const auto direction = kt::cumsum(angles, 0);
  return kt::cumsum(kt::stack({kt::cos(direction), kt::sin(direction)}, 1), 0);
}

int run(const std::string& svg) {
  std::vector<double> circle;
  for (int k = 0; k < places; ++k) {
    const double turn = 2 * std::numbers::pi * k / places;
    circle.push_back(3 + 1.2 * std::cos(turn));
    circle.push_back(1 + 1.2 * std::sin(turn));
  }
  const auto targets = kt::tensor("targets", {kt::dim("places"), 2}, kt::f64);
  const auto start = kt::vector("start", kt::f64);

  // From the angles at one place to those at the next, by a loop in a loop.
  const auto eye = kt::eye(2, {}, 0, kt::f64);
  const auto reach = [&](const kt::Tensor& target, const kt::Tensor& from) {
    const auto all_angles = kt::scan(
        [&](kt::Tensor angles) {
          const auto hand = arm(angles)[-1];
          const auto j = kt::jacobian(hand, angles);
          const auto damped = kt::matmul(j, kt::transpose(j)) + 1e-3 * eye;
          return angles + kt::dot(kt::transpose(j), kt::solve(damped, target - hand));
        },
        {.outputs_info = {from}, .n_steps = 20});
    return all_angles[-1];
  };
  const auto angles =
      kt::scan([&](kt::Tensor target, kt::Tensor before) { return reach(target, before); },
               {.sequences = {targets}, .outputs_info = {kt::reshape(start, {joints})}});
  const auto positions = kt::vmap([](kt::Tensor a) { return arm(a); })(angles);
  const auto hands = positions(kt::all, -1);
  const auto off = kt::max(kt::sqrt(kt::sum(kt::square(hands - targets), 1)));
  const auto move = kt::function({targets, start}, {positions, off});

  const auto [way, error] =
      move(kt::Array::from(circle).reshape({places, 2}), std::vector<double>(joints, 0.3));
  std::printf("compiled in %.2f s; at %lld places the hand is off by at most %.1e\n",
              move.compile_seconds(), static_cast<long long>(places), error.item<double>());

  kt::plot::Chart chart{
      .title = "An arm of six joints", .x_range = {{-2, 6}}, .y_range = {{-3, 4}}};
  kt::plot::Series hand{
      .name = "hand", .y = {}, .mark = kt::plot::Mark::points, .color = "#d55e00"};
  for (std::int64_t k = 0; k < places; ++k) {
    kt::plot::Series links{.name = k == 0 ? "arm" : "", .x = {0}, .y = {0}, .color = "#0072b2"};
    for (std::int64_t i = 0; i < joints; ++i) {
      links.x.push_back(way(k, i, 0).item<double>());
      links.y.push_back(way(k, i, 1).item<double>());
    }
    hand.x.push_back(links.x.back());
    hand.y.push_back(links.y.back());
    if (k % 8 == 0) chart.series.push_back(links);
  }
  chart.series.push_back(hand);
  kt::plot::write_svg(svg, chart);
  return error.item<double>() < 1e-3 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string svg = "robot_arm.svg";
  return flags::run(argc, argv, {{"SVG", &svg}}, [&] { return run(svg); });
}
