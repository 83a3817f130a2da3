// Finds cameras and points of a scene from where the points are seen in pictures.
//   bundle_adjustment [SVG]
// Gauss and Newton's steps are damped, after Levenberg and Marquardt. The Jacobian is never made:
// conjugate gradients ask for its products with vectors only, forwards (jvp) and backwards (vjp).
// SVG, bundle_adjustment.svg if not given, shows the scene from above, before and after: found but
// for a turn, a move and a scale of all, which pictures do not show.
// After Triggs, McLauchlan, Hartley and Fitzgibbon, "Bundle Adjustment: A Modern Synthesis", 2000.
#include <kroton/kroton.h>

#include <cmath>
#include <cstdio>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;

namespace {

constexpr std::int64_t cameras = 6, points = 60;

// Vectors turned about the axis w, by as many radians as it is long: Rodrigues.
kt::Tensor turned(const kt::Tensor& w, const kt::Tensor& p) {
  const auto squared = kt::sum(kt::square(w), 1, true) + 1e-12;
  const auto angle = kt::sqrt(squared);
  const auto across = kt::cross(w, p);
  return p + kt::sin(angle) / angle * across +
         (1 - kt::cos(angle)) / squared * kt::cross(w, across);
}

// Where camera k, turned by its first three numbers and moved by the others, sees point i: for all
// pairs, (cameras * points, 2).
kt::Tensor seen(const kt::Tensor& poses, const kt::Tensor& places) {
  const auto pose = kt::repeat(poses, points, 0);
  const auto place = kt::tile(places, {cameras, 1});
  const auto p = turned(pose(kt::all, kt::slice(0, 3)), place) + pose(kt::all, kt::slice(3, 6));
  return p(kt::all, kt::slice(0, 2)) / p(kt::all, kt::slice(2, 3));
}

kt::Array normal(const kt::Shape& shape, std::uint64_t seed, double deviation) {
  return kt::Array::normal(shape, seed, 0, deviation, kt::f64);
}

kt::plot::Chart from_above(const std::string& title, const kt::Array& guess,
                           const kt::Array& truth) {
  kt::plot::Chart chart{.title = title, .width = 400, .height = 360};
  for (const auto& [name, places] : {std::pair("true", truth), std::pair("found", guess)}) {
    kt::plot::Series series{.name = name, .y = {}, .mark = kt::plot::Mark::points};
    for (std::int64_t i = 0; i < points; ++i) {
      series.x.push_back(places(i, 0).item<double>());
      series.y.push_back(places(i, 2).item<double>());
    }
    chart.series.push_back(series);
  }
  return chart;
}

int run(const std::string& svg) {
  // Cameras on an arc, 6 away from a cloud of points, which they look at.
  kt::Array true_poses = kt::Array::zeros({cameras, 6}, kt::f64);
  for (std::int64_t k = 0; k < cameras; ++k) {
    true_poses(k, 1) = 0.25 * (static_cast<double>(k) - 2.5);
    true_poses(k, 5) = 6.0;
  }
  const kt::Array true_places = normal({points, 3}, 1, 1);

  const auto x = kt::matrix("x", kt::f64), p = kt::matrix("p", kt::f64);
  const auto f_seen = kt::function({x, p}, seen(x, p));
  const auto noise = normal({cameras * points, 2}, 2, 1e-3);
  const kt::Array pictures =
      kt::function({}, kt::constant(f_seen(true_poses, true_places)) + noise)();

  kt::Shared poses = kt::shared(true_poses, "poses");
  kt::Shared places = kt::shared(true_places, "places");
  const auto residual = seen(poses, places) - pictures;
  const auto cost = kt::sum(kt::square(residual));
  const std::vector<kt::Tensor> unknown = {poses, places};

  // One step, for a damping: solves (J^T J + damping) d = -J^T r by conjugate gradients.
  const auto damping = kt::scalar("damping", kt::f64);
  const std::vector<kt::Tensor> down = kt::vjp({residual}, unknown, {-residual});
  const auto apply = [&](const kt::Tensor& a, const kt::Tensor& b) {
    const auto forwards = kt::jvp({residual}, unknown, {a, b});
    const auto product = kt::vjp({residual}, unknown, forwards);
    return std::pair{product[0] + damping * a, product[1] + damping * b};
  };
  const auto inner = [](const kt::Tensor& a, const kt::Tensor& b, const kt::Tensor& c,
                        const kt::Tensor& d) { return kt::sum(a * c) + kt::sum(b * d); };
  const auto [da, db, ra, rb, pa, pb] = kt::scan(
      [&](kt::Tensor a, kt::Tensor b, kt::Tensor r0, kt::Tensor r1, kt::Tensor p0, kt::Tensor p1) {
        const auto [q0, q1] = apply(p0, p1);
        const auto before = inner(r0, r1, r0, r1);
        const auto length = before / (inner(p0, p1, q0, q1) + 1e-300);
        const auto s0 = r0 - length * q0, s1 = r1 - length * q1;
        const auto turn = inner(s0, s1, s0, s1) / (before + 1e-300);
        return std::tuple{a + length * p0, b + length * p1, s0, s1, s0 + turn * p0, s1 + turn * p1};
      },
      {.outputs_info = {kt::zeros_like(down[0]), kt::zeros_like(down[1]), down[0], down[1], down[0],
                        down[1]},
       .n_steps = 40});
  const auto step =
      kt::function({damping}, {.updates = {{poses, poses + da[-1]}, {places, places + db[-1]}}});
  const auto cost_of = kt::function({}, cost);
  std::printf("%lld unknown numbers, %lld measured ones; compiled a step in %.2f s\n",
              static_cast<long long>(cameras * 6 + points * 3),
              static_cast<long long>(cameras * points * 2), step.compile_seconds());

  kt::function({}, {.updates = {{poses, poses + normal({cameras, 6}, 3, 0.05)},
                                {places, places + normal({points, 3}, 4, 0.3)}}})();
  const kt::Array begun = places.get_value();
  const auto root = [](double sum) {
    return std::sqrt(sum / static_cast<double>(cameras * points * 2));
  };
  double least = cost_of().item<double>(), damped = 1e-3;
  std::printf("before: %.5f off in the pictures\n", root(least));
  for (int k = 1; k <= 15; ++k) {
    const kt::Array old_poses = poses.get_value(), old_places = places.get_value();
    step(damped);
    const double now = cost_of().item<double>(), gain = least - now;
    if (gain >= 0) {
      least = now;
      damped *= 0.2;
    } else {
      poses.set_value(old_poses);
      places.set_value(old_places);
      damped *= 10;
    }
    std::printf("step %d: %.6f\n", k, root(least));
    if (gain >= 0 && gain < 1e-6 * least) break;
  }
  std::printf("after: %.5f off in the pictures, whose noise is 0.001\n", root(least));
  kt::plot::write_svg(svg, {from_above("before", begun, true_places),
                            from_above("after", places.get_value(), true_places)});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string svg = "bundle_adjustment.svg";
  return flags::run(argc, argv, {{"SVG", &svg}}, [&] { return run(svg); });
}
