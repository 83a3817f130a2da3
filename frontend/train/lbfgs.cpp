// L-BFGS, driven from the host: the function gives cost and gradients, all else is vectors of
// doubles.
#include <kroton/array.h>
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/lbfgs.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <numeric>
#include <optional>
#include <utility>

#include "frontend/train/options.h"

namespace kroton::optim {

using namespace checks;

namespace {

using Vector = std::vector<double>;

double product(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// a += factor * b
void add(Vector& a, double factor, const Vector& b) {
  for (std::size_t k = 0; k < a.size(); ++k) a[k] += factor * b[k];
}

double largest(const Vector& a) {
  double result = 0;
  for (const double value : a) result = std::max(result, std::abs(value));
  return result;
}

void append(Vector& to, const Array& values) {
  const Array as_doubles = values.cast(f64);
  const auto elements = as_doubles.data<double>();
  to.insert(to.end(), elements.begin(), elements.end());
}

// A place on the line of a search, with all that is known there.
struct Point {
  Vector x, gradient;
  double cost = 0;
  double length = 0;  // from the start, in directions
  double slope = 0;   // along the direction

  bool is_finite() const { return std::isfinite(cost) && std::isfinite(slope); }
};

// The minimum of the cubic that has the costs and slopes of both, kept off the ends; the middle
// where there is none.
double interpolated(const Point& a, const Point& b) {
  const double low = std::min(a.length, b.length);
  const double high = std::max(a.length, b.length);
  const double margin = 0.1 * (high - low);
  const double middle = low + (high - low) / 2;
  if (!a.is_finite() || !b.is_finite()) return middle;
  const double d1 = a.slope + b.slope - 3 * (a.cost - b.cost) / (a.length - b.length);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return middle;
  const double d2 = std::copysign(std::sqrt(square), b.length - a.length);
  const double divisor = b.slope - a.slope + 2 * d2;
  if (divisor == 0) return middle;
  const double best = b.length - (b.length - a.length) * (b.slope + d2 - d1) / divisor;
  return std::isfinite(best) ? std::clamp(best, low + margin, high - margin) : middle;
}

void check_options(const LbfgsOptions& options) {
  check_at_least("lbfgs", "history", options.history, 1);
  check_at_least("lbfgs", "iterations", options.iterations, 1);
  check_at_least("lbfgs", "evaluations", options.evaluations, 1);
  check_not_negative("lbfgs", "gradient_tolerance", options.gradient_tolerance);
  check_not_negative("lbfgs", "change_tolerance", options.change_tolerance);
  check_positive("lbfgs", "rate", options.rate);
  check(options.c1 > 0 && options.c1 < 1, "lbfgs", "c1", options.c1, "in (0, 1)");
  check(options.c2 > options.c1 && options.c2 < 1, "lbfgs", "c2", options.c2, "in (c1, 1)");
}

std::vector<Tensor> cost_and_gradients(const Tensor& cost, const std::vector<Shared>& parameters,
                                       const LbfgsOptions& options, const SourceLine& line) {
  check_options(options);
  check_parameters("lbfgs", parameters, place_of(line));
  const LineScope scope(line, "lbfgs");
  std::vector<Tensor> outputs = grad(cost, parameters);
  outputs.insert(outputs.begin(), cost);
  return outputs;
}

}  // namespace

struct Lbfgs::Parts {
  // What one step has shown of the Hessian: the change of the place and of the gradient.
  struct Pair {
    Vector place, gradient;
    double product;
  };

  std::vector<Shared> parameters;
  LbfgsOptions options;
  Function<dynamic_outputs> function;
  std::deque<Pair> history;
  std::int64_t evaluations = 0;  // of the call that is under way

  void place_parameters(const Vector& x) {
    std::size_t at = 0;
    for (Shared& parameter : parameters) {
      Array value = parameter.get_value();
      const auto count = static_cast<std::size_t>(value.size());
      parameter.set_value(Array::view(x.data() + at, value.shape()).cast(parameter.dtype()));
      at += count;
    }
  }

  Vector place_of_parameters() const {
    Vector x;
    for (const Shared& parameter : parameters) append(x, parameter.get_value());
    return x;
  }

  // Cost and gradient where the parameters are.
  Point here(std::span<const Argument> arguments) {
    ++evaluations;
    const std::vector<Array> results = function.call(arguments);
    Point point;
    point.x = place_of_parameters();
    point.cost = results[0].item<double>();
    for (std::size_t k = 1; k < results.size(); ++k) append(point.gradient, results[k]);
    return point;
  }

  Point at(const Point& start, const Vector& direction, double length,
           std::span<const Argument> arguments) {
    Vector x = start.x;
    add(x, length, direction);
    place_parameters(x);
    Point point = here(arguments);
    point.length = length;
    point.slope = product(point.gradient, direction);
    return point;
  }

  // Minus the inverse Hessian times the gradient.
  Vector direction(const Vector& gradient) const {
    Vector d = gradient;
    for (double& value : d) value = -value;
    std::vector<double> factors(history.size());
    for (std::size_t k = history.size(); k-- > 0;) {
      factors[k] = product(history[k].place, d) / history[k].product;
      add(d, -factors[k], history[k].gradient);
    }
    if (!history.empty()) {
      const Pair& last = history.back();
      const double scale = last.product / product(last.gradient, last.gradient);
      for (double& value : d) value *= scale;
    }
    for (std::size_t k = 0; k < history.size(); ++k) {
      const double factor = product(history[k].gradient, d) / history[k].product;
      add(d, factors[k] - factor, history[k].place);
    }
    return d;
  }

  std::optional<Point> search(const Point& start, const Vector& direction, double length,
                              std::span<const Argument> arguments);
  LbfgsResult run(std::span<const Argument> arguments);
};

// A point that fulfils the strong Wolfe conditions, or, where the evaluations do not suffice, the
// best with a sufficient decrease; none if there is none.
std::optional<Point> Lbfgs::Parts::search(const Point& start, const Vector& direction,
                                          double length, std::span<const Argument> arguments) {
  const auto decreases = [&](const Point& p) {
    return p.is_finite() && p.cost <= start.cost + options.c1 * p.length * start.slope;
  };
  const auto is_flat = [&](const Point& p) {
    return std::abs(p.slope) <= -options.c2 * start.slope;
  };
  // The best so far, and the other end of what holds a solution, once that is known.
  Point low = start;
  std::optional<Point> high;
  for (std::int64_t k = 0; k < options.evaluations; ++k) {
    Point now = at(start, direction, high ? interpolated(low, *high) : length, arguments);
    if (!decreases(now) || (low.length > 0 && now.cost >= low.cost)) {
      high = std::move(now);
    } else if (is_flat(now)) {
      return now;
    } else {
      // Downhill goes on towards `high`, or away from it: then a solution lies behind.
      const bool turns = high ? now.slope * (high->length - low.length) >= 0 : now.slope >= 0;
      if (turns) high = low;
      low = std::move(now);
      if (!high) length = 2 * low.length;
    }
    if (high && std::abs(high->length - low.length) * largest(direction) <=
                    options.change_tolerance * 1e-3) {
      break;
    }
  }
  if (low.length == 0) return std::nullopt;
  return low;
}

LbfgsResult Lbfgs::Parts::run(std::span<const Argument> arguments) {
  evaluations = 0;
  Point now = here(arguments);
  if (!std::isfinite(now.cost)) {
    throw ValueError("lbfgs: the cost is " + text(now.cost) + " at the start");
  }
  if (!std::isfinite(product(now.gradient, now.gradient))) {
    throw ValueError("lbfgs: the gradient is not finite at the start");
  }
  LbfgsResult result;
  result.converged = largest(now.gradient) <= options.gradient_tolerance;
  while (!result.converged && result.iterations < options.iterations) {
    Vector d = direction(now.gradient);
    now.slope = product(now.gradient, d);
    if (!(now.slope < 0)) {
      history.clear();
      d = direction(now.gradient);
      now.slope = product(now.gradient, d);
    }
    now.length = 0;
    // Without a Hessian the gradient's length says nothing about that of the step.
    double total = 0;
    for (const double g : now.gradient) total += std::abs(g);
    const double first = history.empty() ? options.rate * std::min(1.0, 1 / total) : options.rate;
    std::optional<Point> found = search(now, d, first, arguments);
    ++result.iterations;
    if (!found) {
      // Along a direction that old pairs have spoilt there may be nothing; the gradient's may do.
      if (history.empty()) break;
      history.clear();
      continue;
    }
    Pair pair{found->x, found->gradient, 0};
    add(pair.place, -1, now.x);
    add(pair.gradient, -1, now.gradient);
    pair.product = product(pair.place, pair.gradient);
    const double moved = largest(pair.place);
    const double change = std::abs(found->cost - now.cost);
    now = std::move(*found);
    if (pair.product > 1e-14 * product(pair.gradient, pair.gradient)) {
      history.push_back(std::move(pair));
      if (history.size() > static_cast<std::size_t>(options.history)) history.pop_front();
    }
    result.converged = largest(now.gradient) <= options.gradient_tolerance ||
                       moved <= options.change_tolerance || change < options.change_tolerance;
  }
  place_parameters(now.x);
  result.cost = now.cost;
  result.largest_gradient = largest(now.gradient);
  result.evaluations = evaluations;
  return result;
}

Lbfgs::Lbfgs(const Tensor& cost, const std::vector<Shared>& parameters,
             const std::vector<Tensor>& inputs, const LbfgsOptions& options,
             const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  const std::vector<Tensor> outputs = cost_and_gradients(cost, parameters, options, line);
  parts_.reset(new Parts{.parameters = parameters,
                         .options = options,
                         .function = function(inputs, outputs, {.name = "lbfgs"}, at),
                         .history = {}});
}

Lbfgs::~Lbfgs() = default;

LbfgsResult Lbfgs::minimize(std::span<const Argument> arguments) {
  const Vector before = parts_->place_of_parameters();
  try {
    return parts_->run(arguments);
  } catch (...) {
    parts_->place_parameters(before);
    throw;
  }
}

}  // namespace kroton::optim
