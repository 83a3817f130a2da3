// Fits a sum of peaks to noisy counts by least squares, with a Jacobian.
//   levenberg_marquardt [SVG]
// Each step solves (J^T J + damping diag(J^T J)) d = -J^T r, which is small: three numbers for each
// peak. SVG, levenberg_marquardt.svg if not given, shows the data and the fit.
// After Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters", 1963.
#include <kroton/kroton.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;

namespace {

constexpr int peaks = 3;

// The sum of peaks of so many (height, place, width) at x (n).
kt::Tensor model(const kt::Tensor& parameters, const kt::Tensor& x) {
  const auto p = kt::reshape(parameters, {peaks, 3});
  const auto apart = (x - p(kt::all, kt::slice(1, 2))) / p(kt::all, kt::slice(2, 3));
  return kt::sum(p(kt::all, kt::slice(0, 1)) * kt::exp(-0.5 * kt::square(apart)), 0);
}

int run(const std::string& svg) {
  const std::vector<double> truth = {5, 2, 0.4, 3, 4, 0.8, 4, 6.5, 0.5};
  std::vector<double> places, values, guess = {3, 1.5, 1, 3, 4.5, 1, 3, 7, 1};
  const auto p = kt::vector("p", kt::f64), x = kt::vector("x", kt::f64);
  for (int k = 0; k < 200; ++k) places.push_back(0.045 * k);
  const auto f = kt::function({p, x}, model(p, x));
  std::mt19937 random(2);
  std::normal_distribution<double> error(0, 0.15);
  for (const double value : f(truth, places).data<double>())
    values.push_back(value + error(random));

  const auto y = kt::vector("y", kt::f64), damping = kt::scalar("damping", kt::f64);
  kt::Shared parameters = kt::shared(kt::Array::from(guess), "parameters");
  const auto residual = model(parameters, x) - y;
  const auto cost = 0.5 * kt::sum(kt::square(residual));
  const auto j = kt::jacobian(residual, parameters);
  const auto normal = kt::matmul(kt::transpose(j), j);
  const auto damped = normal + damping * kt::diag(kt::diagonal(normal));
  const auto direction = kt::solve(damped, -kt::dot(kt::transpose(j), residual));
  const auto step =
      kt::function({x, y, damping}, cost, {.updates = {{parameters, parameters + direction}}});
  const auto cost_of = kt::function({x, y}, cost);

  double factor = 1e-2, least = cost_of(places, values).item<double>();
  int taken = 0;
  for (; taken < 100; ++taken) {
    const kt::Array before = parameters.get_value();
    step(places, values, factor);
    const double now = cost_of(places, values).item<double>();
    const double gain = least - now;
    if (gain >= 0) {
      least = now;
      factor *= 0.2;
      if (gain < 1e-12 * least) break;
    } else {
      parameters.set_value(before);
      factor *= 5;
    }
  }
  // Where the cost is least the parameters' errors are those of the residuals, through J.
  const auto variance = 2 * cost / static_cast<double>(places.size() - truth.size());
  const auto deviations =
      kt::function({x, y}, kt::sqrt(variance * kt::diagonal(kt::inv(normal))))(places, values);
  std::printf("%d steps, cost %.6f\n", taken, least);
  const kt::Array found = parameters.get_value();
  const char* const names[] = {"height", "place", "width"};
  for (int k = 0; k < 3 * peaks; ++k) {
    std::printf("%-6s of peak %d: %.3f +- %.3f, true %.1f\n", names[k % 3], k / 3 + 1,
                found(k).item<double>(), deviations(k).item<double>(),
                truth[static_cast<std::size_t>(k)]);
  }
  const kt::Array fit = f(found, places), begun = f(guess, places);
  const auto list = [](const kt::Array& a) {
    return std::vector<double>(a.data<double>().begin(), a.data<double>().end());
  };
  kt::plot::write_svg(
      svg,
      {.title = "A sum of peaks",
       .series = {{.name = "data", .x = places, .y = values, .mark = kt::plot::Mark::points},
                  {.name = "guess", .x = places, .y = list(begun), .mark = kt::plot::Mark::dashed},
                  {.name = "fit", .x = places, .y = list(fit)}}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string svg = "levenberg_marquardt.svg";
  return flags::run(argc, argv, {{"SVG", &svg}}, [&] { return run(svg); });
}
