// Learning rates as functions of the number of steps, and the host's Plateau.
#include <kroton/array.h>
#include <kroton/error.h>
#include <kroton/ops.h>
#include <kroton/schedule.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

#include "frontend/train/options.h"

namespace kroton::optim {

using namespace checks;

namespace {

void check_rate(const std::string& owner, double rate) {
  check_not_negative(owner, "the rate", rate);
}

void check_scalar(const Tensor& rate) {
  if (!is_float(rate.dtype())) {
    throw TypeError("schedule: the rate " + quoted(rate) + ", not floating");
  }
  if (rate.rank() != 0) {
    throw ShapeError("schedule: the rate " + quoted(rate) + ", not a scalar");
  }
}

// numbers[index] in the dtype, which the index does not leave.
Tensor entry(const std::vector<double>& numbers, const Tensor& index, DType dtype) {
  return take(Array::from(numbers).cast(dtype), index);
}

// The quotient of a whole number, which is not below 0 nor above the divisor, and the divisor.
Tensor part(const Tensor& whole, std::int64_t divisor, DType dtype) {
  return cast(whole, dtype) / static_cast<double>(divisor);
}

// From 1 at part 0 to 0 at part 1.
Tensor half_cosine(const Tensor& part) { return 0.5 + 0.5 * cos(std::numbers::pi * part); }

}  // namespace

Schedule::Schedule(const Tensor& rate) {
  if (!rate) throw ValueError("schedule: the rate is an empty Tensor");
  check_scalar(rate);
  rule_ = [rate](const Tensor&, DType dtype) { return cast(rate, dtype); };
}

Schedule Schedule::of(Rule rule) {
  if (!rule) throw ValueError("schedule: the rule is empty");
  Schedule schedule(0, 0);
  schedule.constant_.reset();
  schedule.rule_ = std::move(rule);
  return schedule;
}

Tensor Schedule::apply(const std::function<Tensor(const Tensor&)>& rule, const Tensor& step,
                       DType dtype) {
  const Tensor rate = rule(cast(step, dtype));
  if (!rate) throw ValueError("schedule: the rule returns an empty Tensor");
  check_scalar(rate);
  return cast(rate, dtype);
}

Tensor Schedule::at(const Tensor& step, DType dtype) const {
  if (!is_float(dtype)) {
    throw TypeError("schedule: a rate is floating, not " + std::string(name_of(dtype)));
  }
  if (constant_) return Operand(*constant_).tensor(dtype);
  if (step.rank() != 0 || !is_integer(step.dtype())) {
    throw TypeError("schedule: the step " + quoted(step) + ", not an integer scalar");
  }
  return rule_(step, dtype);
}

Schedule step_decay(double rate, double factor, std::int64_t every) {
  check_rate("step_decay", rate);
  check_not_negative("step_decay", "factor", factor);
  check_at_least("step_decay", "every", every, 1);
  return Schedule::of([=](const Tensor& step, DType dtype) {
    return rate * pow(Operand(factor).tensor(dtype), cast(floor_div(step, every), dtype));
  });
}

Schedule exponential(double rate, double factor, std::int64_t every) {
  check_rate("exponential", rate);
  check_positive("exponential", "factor", factor);
  check_at_least("exponential", "every", every, 1);
  // The logarithm is taken in double precision, so that its error does not grow with the step.
  const double log_factor = std::log(factor) / static_cast<double>(every);
  return Schedule::of(
      [=](const Tensor& step, DType dtype) { return rate * exp(cast(step, dtype) * log_factor); });
}

Schedule inverse_time(double rate, double decay) {
  check_rate("inverse_time", rate);
  check_not_negative("inverse_time", "decay", decay);
  return Schedule::of(
      [=](const Tensor& step, DType dtype) { return rate / (1 + decay * cast(step, dtype)); });
}

Schedule polynomial(double rate, std::int64_t steps, double power, double end) {
  check_rate("polynomial", rate);
  check_at_least("polynomial", "steps", steps, 1);
  check_positive("polynomial", "power", power);
  check_not_negative("polynomial", "end", end);
  return Schedule::of([=](const Tensor& step, DType dtype) {
    const Tensor left = part(maximum(steps - step, 0), steps, dtype);
    return end + (rate - end) * pow(left, power);
  });
}

Schedule cosine(double rate, std::int64_t steps, double end) {
  check_rate("cosine", rate);
  check_at_least("cosine", "steps", steps, 1);
  check_not_negative("cosine", "end", end);
  return Schedule::of([=](const Tensor& step, DType dtype) {
    return end + (rate - end) * half_cosine(part(minimum(step, steps), steps, dtype));
  });
}

Schedule cosine_restarts(double rate, std::int64_t steps, std::int64_t growth, double end) {
  check_rate("cosine_restarts", rate);
  check_at_least("cosine_restarts", "steps", steps, 1);
  check_at_least("cosine_restarts", "growth", growth, 1);
  check_not_negative("cosine_restarts", "end", end);
  if (growth == 1) {
    return Schedule::of([=](const Tensor& step, DType dtype) {
      return end + (rate - end) * half_cosine(part(step % steps, steps, dtype));
    });
  }
  // The periods that begin within the range of the counter: a table, in whole numbers, has no
  // rounding at their beginnings.
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> lengths;
  constexpr std::int64_t limit = std::int64_t{1} << 61;
  for (std::int64_t start = 0, length = steps; start < limit; length *= growth) {
    starts.push_back(start);
    lengths.push_back(length);
    if (length > limit / growth) break;
    start += length;
  }
  return Schedule::of([=](const Tensor& step, DType dtype) {
    const Tensor period = sum(ge(step, Array::from(starts))) - 1;
    const Tensor length = take(Array::from(lengths), period);
    const Tensor done = step - take(Array::from(starts), period);
    return end + (rate - end) * half_cosine(cast(done, dtype) / cast(length, dtype));
  });
}

Schedule one_cycle(double max_rate, std::int64_t steps, const OneCycleOptions& options) {
  check_rate("one_cycle", max_rate);
  check_at_least("one_cycle", "steps", steps, 2);
  check(options.rise >= 0 && options.rise <= 1, "one_cycle", "rise", options.rise, "in [0, 1]");
  check_positive("one_cycle", "start_divisor", options.start_divisor);
  check_positive("one_cycle", "final_divisor", options.final_divisor);
  const double first = max_rate / options.start_divisor;
  const double final = first / options.final_divisor;
  const double top = options.rise * static_cast<double>(steps) - 1;
  const double last = static_cast<double>(steps - 1);
  const bool is_linear = options.shape == OneCycleOptions::Shape::linear;
  return Schedule::of([=](const Tensor& step, DType dtype) {
    const Tensor now = cast(minimum(step, steps - 1), dtype);
    const auto between = [&](double from, double to, const Tensor& part) {
      return is_linear ? from + (to - from) * part : to + (from - to) * half_cosine(part);
    };
    const Tensor down = last > top ? between(max_rate, final, (now - top) / (last - top))
                                   : between(max_rate, final, zeros_like(now));
    return top > 0 ? where(now <= top, between(first, max_rate, now / top), down) : down;
  });
}

Schedule warm_up(std::int64_t steps, const Schedule& then, double start) {
  check_at_least("warm_up", "steps", steps, 1);
  check(start >= 0 && start <= 1, "warm_up", "start", start, "in [0, 1]");
  return Schedule::of([=](const Tensor& step, DType dtype) {
    // Exactly 1 from step `steps` on.
    const Tensor factor = 1 - (1 - start) * part(maximum(steps - step, 0), steps, dtype);
    return factor * then.at(maximum(step - steps, 0), dtype);
  });
}

Schedule piecewise(std::vector<std::int64_t> boundaries, std::vector<double> rates) {
  if (rates.size() != boundaries.size() + 1) {
    throw ValueError("piecewise: " + std::to_string(boundaries.size()) + " boundaries and " +
                     std::to_string(rates.size()) + " rates: there is one more rate");
  }
  if (!std::ranges::is_sorted(boundaries, std::less_equal<>())) {
    throw ValueError("piecewise: the boundaries do not ascend");
  }
  for (const double rate : rates) check_rate("piecewise", rate);
  if (boundaries.empty()) return rates.front();
  return Schedule::of([=](const Tensor& step, DType dtype) {
    return entry(rates, sum(ge(step, Array::from(boundaries))), dtype);
  });
}

Schedule per_minibatch(const std::vector<double>& rates, std::int64_t period) {
  if (rates.empty()) throw ValueError("per_minibatch: no rates");
  for (const double rate : rates) check_rate("per_minibatch", rate);
  check_at_least("per_minibatch", "period", period, 1);
  const auto last = static_cast<std::int64_t>(rates.size()) - 1;
  return Schedule::of([=](const Tensor& step, DType dtype) {
    return entry(rates, minimum(floor_div(step, period), last), dtype);
  });
}

Schedule per_sample(const std::vector<double>& rates, std::int64_t minibatch_size,
                    std::int64_t period) {
  if (rates.empty()) throw ValueError("per_sample: no rates");
  for (const double rate : rates) check_rate("per_sample", rate);
  check_at_least("per_sample", "minibatch_size", minibatch_size, 1);
  check_at_least("per_sample", "period", period, 1);
  const auto last = static_cast<std::int64_t>(rates.size()) - 1;
  std::vector<double> of_batch = rates;
  for (double& rate : of_batch) rate *= static_cast<double>(minibatch_size);
  return Schedule::of([=](const Tensor& step, DType dtype) {
    return entry(of_batch, minimum(floor_div(step * minibatch_size, period), last), dtype);
  });
}

Plateau::Plateau(const Shared& rate, const PlateauOptions& options)
    : rate_(rate),
      options_(options),
      best_(options.maximize.value_or(false) ? -std::numeric_limits<double>::infinity()
                                             : std::numeric_limits<double>::infinity()) {
  if (!is_float(rate.dtype())) {
    throw TypeError("plateau: the rate " + quoted(rate) + ", not floating");
  }
  if (rate.rank() != 0) throw ShapeError("plateau: the rate " + quoted(rate) + ", not a scalar");
  check_fraction("plateau", "factor", options.factor);
  check_at_least("plateau", "patience", options.patience, 0);
  check_not_negative("plateau", "threshold", options.threshold);
  check_at_least("plateau", "cooldown", options.cooldown, 0);
  check_not_negative("plateau", "min_rate", options.min_rate);
}

bool Plateau::observe(double metric) {
  const double sign = options_.maximize.value_or(false) ? -1 : 1;
  double target = best_;
  if (std::isfinite(best_)) {
    target = options_.relative ? best_ * (1 - sign * options_.threshold)
                               : best_ - sign * options_.threshold;
  }
  if (sign * metric < sign * target) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooling_ > 0) {
    --cooling_;
    bad_ = 0;
  }
  if (bad_ <= options_.patience) return false;
  cooling_ = options_.cooldown;
  bad_ = 0;
  const double before = rate();
  const double after = std::max(before * options_.factor, options_.min_rate);
  if (before - after <= 1e-8) return false;
  rate_.set_value(Array::full({}, after, rate_.dtype()));
  return true;
}

double Plateau::rate() const { return rate_.get_value().item<double>(); }

}  // namespace kroton::optim
