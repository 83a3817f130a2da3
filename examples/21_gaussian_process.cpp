// Fits a curve with error bars: a Gaussian process, its kernel learnt from the data.
//   gaussian_process [SVG]
// How long and how high the waves of the function are, and how noisy the data, is what makes the
// data most probable: the logarithm of that probability needs a Cholesky factor, and so does its
// gradient. SVG, gaussian_process.svg if not given, shows what is known in between.
// After Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
#include <kroton/kroton.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;

namespace {

// exp of the logarithms of the length, the height and the noise.
struct Kernel {
  kt::Shared log_scales = kt::shared(kt::Array::from({0.0, 0.0, -1.0}), "log_scales");
  kt::Tensor length = kt::exp(log_scales[0]), height = kt::exp(log_scales[1]);
  kt::Tensor noise = kt::exp(log_scales[2]);

  // The covariance of the function at a (n) and b (m): (n, m).
  kt::Tensor operator()(const kt::Tensor& a, const kt::Tensor& b) const {
    const auto apart = (kt::expand_dims(a, 1) - b) / length;
    return kt::square(height) * kt::exp(-0.5 * kt::square(apart));
  }
};

int run(const std::string& svg) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> place(-4, 4);
  std::normal_distribution<double> error(0, 0.15);
  std::vector<double> places, values;
  while (places.size() < 40) {
    const double at = place(random);
    if (at > 0.5 && at < 2) continue;  // where nothing is known
    places.push_back(at);
    values.push_back(std::sin(2 * at) + 0.3 * at + error(random));
  }

  const Kernel kernel;
  const auto x = kt::vector("x", kt::f64), y = kt::vector("y", kt::f64);
  const auto at = kt::vector("at", kt::f64);
  const auto covariance =
      kernel(x, x) + kt::square(kernel.noise) * kt::eye(x.shape(0), {}, 0, kt::f64);
  const auto l = kt::cholesky(covariance);
  const auto white = kt::solve_triangular(l, y);
  // -log of the probability of the data, less a constant.
  const auto loss = 0.5 * kt::sum(kt::square(white)) + kt::sum(kt::log(kt::diagonal(l)));
  kt::optim::Adam adam({.rate = 0.05});
  const auto train = kt::function(
      {x, y}, loss, {.updates = adam.minimize(loss, std::vector<kt::Shared>{kernel.log_scales})});
  const auto between = kt::solve_triangular(l, kernel(x, at));
  const auto mean = kt::dot(kt::transpose(between), white);
  const auto variance = kt::square(kernel.height) - kt::sum(kt::square(between), 0);
  const auto predict = kt::function({x, y, at}, {mean, kt::sqrt(kt::maximum(variance, 0))});

  for (int step = 1; step <= 300; ++step) {
    const double now = train(places, values).item<double>();
    if (step % 100 != 0) continue;
    const kt::Array logs = kernel.log_scales.get_value();
    std::printf("step %d  loss %.3f  length %.3f  height %.3f  noise %.3f\n", step, now,
                std::exp(logs(0).item<double>()), std::exp(logs(1).item<double>()),
                std::exp(logs(2).item<double>()));
  }

  std::vector<double> grid;
  for (int k = 0; k <= 200; ++k) grid.push_back(-5 + 0.05 * k);
  const auto [means, deviations] = predict(places, values, grid);
  const std::span<const double> m = means.data<double>(), s = deviations.data<double>();
  kt::plot::Series curve{.name = "mean", .x = grid, .y = {m.begin(), m.end()}};
  kt::plot::Series upper{.name = "two deviations",
                         .x = grid,
                         .y = {},
                         .mark = kt::plot::Mark::dashed,
                         .color = "#999999"};
  kt::plot::Series lower = upper;
  lower.name.clear();
  for (std::size_t k = 0; k < grid.size(); ++k) {
    upper.y.push_back(m[k] + 2 * s[k]);
    lower.y.push_back(m[k] - 2 * s[k]);
  }
  std::printf("at 1.25, between the data: %.2f +- %.2f; at -2.5, among them: +- %.2f\n", m[125],
              s[125], s[50]);
  kt::plot::write_svg(
      svg, {.title = "A Gaussian process",
            .series = {{.name = "data", .x = places, .y = values, .mark = kt::plot::Mark::points},
                       curve,
                       upper,
                       lower}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string svg = "gaussian_process.svg";
  return flags::run(argc, argv, {{"SVG", &svg}}, [&] { return run(svg); });
}
