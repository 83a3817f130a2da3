// Tracks a moving point by a Kalman filter whose noises are learnt from the likelihood's gradient.
//   kalman [SVG]
// The state is position and velocity on a plane, of which the position is measured, with noise. The
// filter is a scan; the size of both noises is what makes the measurements most probable, by
// gradients through all its steps. SVG, kalman.svg if not given, shows the track.
// After Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960.
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

constexpr std::int64_t steps = 200;
constexpr double dt = 0.1, true_push = 0.8, true_noise = 0.5;

struct Track {
  kt::Array positions = kt::Array::zeros({steps, 2}, kt::f64);
  kt::Array measured = kt::Array::zeros({steps, 2}, kt::f64);
};

// A point that is pushed at random.
Track simulate() {
  Track track;
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  double position[2] = {0, 0}, velocity[2] = {1, 0.5};
  for (std::int64_t t = 0; t < steps; ++t) {
    for (const int k : {0, 1}) {
      const double push = true_push * normal(random);
      position[k] += dt * velocity[k] + 0.5 * dt * dt * push;
      velocity[k] += dt * push;
      track.positions(t, k) = position[k];
      track.measured(t, k) = position[k] + true_noise * normal(random);
    }
  }
  return track;
}

kt::plot::Series series(const std::string& name, const kt::Array& points, kt::plot::Mark mark) {
  kt::plot::Series result{.name = name, .y = {}, .mark = mark};
  const std::span<const double> values = points.data<double>();
  for (std::size_t k = 0; k < values.size(); k += 2) {
    result.x.push_back(values[k]);
    result.y.push_back(values[k + 1]);
  }
  return result;
}

int run(const std::string& svg) {
  const Track track = simulate();
  const auto z = kt::tensor("z", {kt::dim("steps"), 2}, kt::f64);
  const auto log_push = kt::shared(kt::Array(0.0), "log_push");
  const auto log_noise = kt::shared(kt::Array(0.0), "log_noise");

  const auto eye2 = kt::eye(2, {}, 0, kt::f64), eye4 = kt::eye(4, {}, 0, kt::f64);
  // x' = F x + G push, z = H x + noise.
  const auto f = kt::kron(kt::constant(kt::Array::from({{1.0, dt}, {0.0, 1.0}})), eye2);
  const auto g = kt::kron(kt::constant(kt::Array::from({{0.5 * dt * dt}, {dt}})), eye2);
  const auto h = kt::kron(kt::constant(kt::Array::from({{1.0, 0.0}})), eye2);
  const auto q = kt::exp(2 * log_push) * kt::matmul(g, kt::transpose(g));
  const auto r = kt::exp(2 * log_noise) * eye2;

  const auto [mean, covariance, energy] = kt::scan(
      [&](kt::Tensor z_t, kt::Tensor m, kt::Tensor p) {
        const auto expected = kt::dot(f, m);
        const auto spread = kt::matmul(kt::matmul(f, p), kt::transpose(f)) + q;
        const auto innovation = z_t - kt::dot(h, expected);
        const auto s = kt::matmul(kt::matmul(h, spread), kt::transpose(h)) + r;
        const auto gain = kt::transpose(kt::solve(s, kt::dot(h, spread)));
        // -2 log of the probability of this measurement, less a constant.
        const auto surprise = kt::dot(innovation, kt::solve(s, innovation)) + kt::logdet(s);
        return std::tuple{expected + kt::dot(gain, innovation),
                          kt::matmul(eye4 - kt::matmul(gain, h), spread), surprise};
      },
      {.sequences = {z}, .outputs_info = {kt::zeros({4}, kt::f64), 4 * eye4, kt::none}});
  const auto loss = 0.5 * kt::mean(energy);
  kt::optim::Adam adam({.rate = 0.05});
  const auto train = kt::function(
      {z}, loss, {.updates = adam.minimize(loss, std::vector<kt::Shared>{log_push, log_noise})});
  const auto filter = kt::function({z}, mean(kt::all, kt::slice(0, 2)));

  std::printf("compiled the filter with its gradient in %.2f s\n", train.compile_seconds());
  for (int epoch = 1; epoch <= 200; ++epoch) {
    const double now = train(track.measured).item<double>();
    if (epoch % 50 != 0) continue;
    std::printf("epoch %d  loss %.4f  push %.3f (true %.1f)  noise %.3f (true %.1f)\n", epoch, now,
                std::exp(log_push.get_value().item<double>()), true_push,
                std::exp(log_noise.get_value().item<double>()), true_noise);
  }

  const kt::Array filtered = filter(track.measured);
  const auto error = [&](const kt::Array& points) {
    double sum = 0;
    for (std::int64_t t = 0; t < steps; ++t) {
      for (const int k : {0, 1}) {
        const double d = points(t, k).item<double>() - track.positions(t, k).item<double>();
        sum += d * d;
      }
    }
    return std::sqrt(sum / static_cast<double>(steps));
  };
  std::printf("off by %.3f as measured, by %.3f as filtered\n", error(track.measured),
              error(filtered));
  kt::plot::write_svg(svg, {.title = "A track, measured and filtered",
                            .series = {series("measured", track.measured, kt::plot::Mark::points),
                                       series("true", track.positions, kt::plot::Mark::dashed),
                                       series("filtered", filtered, kt::plot::Mark::line)}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string svg = "kalman.svg";
  return flags::run(argc, argv, {{"SVG", &svg}}, [&] { return run(svg); });
}
