// The rules of the optimizers.
#include <kroton/error.h>
#include <kroton/ops.h>
#include <kroton/optim.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "frontend/train/options.h"

namespace kroton::optim {

using namespace checks;

namespace {

template <class Options>
CommonOptions common(const Options& options, Decay decay = Decay::l2) {
  return {.rate = options.rate,
          .weight_decay = options.weight_decay,
          .decay = decay,
          .clip_value = options.clip_value,
          .clip_norm = options.clip_norm,
          .accumulate = options.accumulate,
          .groups = options.groups};
}

template <class Options>
void check_betas(const std::string& owner, const Options& options) {
  check_fraction(owner, "beta1", options.beta1);
  check_fraction(owner, "beta2", options.beta2);
}

void check_share(const std::string& owner, const char* option, double value) {
  check(value >= 0 && value <= 1, owner, option, value, "in [0, 1]");
}

// The moving average of `value` in the state `name`, brought up to date.
Tensor average(Step& step, const char* name, double keep, const Tensor& value) {
  const Shared state = step.state(name);
  return step.update(state, keep * state + (1 - keep) * value);
}

// 1 / sqrt(1 - beta2^t), which stands for the correction of v under its root.
Tensor root_correction(const Step& step, double beta2) {
  return 1 / sqrt(step.one_minus_power(beta2));
}

// Adam's step, without the rate: the corrected first moment over the root of the second.
template <class Options>
Tensor adam_direction(Step& step, const Options& options, bool amsgrad = false) {
  const Tensor m = average(step, "m", options.beta1, step.gradient);
  Tensor v = average(step, "v", options.beta2, square(step.gradient));
  if (amsgrad) {
    const Shared largest = step.state("largest_v");
    v = step.update(largest, maximum(largest, v));
  }
  const Tensor root = sqrt(v) * root_correction(step, options.beta2) + options.epsilon;
  return m / root;
}

// The square root of the sum of squares.
Tensor norm(const Tensor& x) { return sqrt(sum(square(x))); }

}  // namespace

Sgd::Sgd(const SgdOptions& options) : Optimizer("sgd", common(options)), options_(options) {
  check_fraction(name(), "momentum", options.momentum);
  check_share(name(), "dampening", options.dampening);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw ValueError("sgd: nesterov takes a momentum above 0 and no dampening");
  }
}

Tensor Sgd::rule(Step& step) {
  const Tensor& g = step.gradient;
  if (options_.momentum == 0) return step.value - step.rate * g;
  const Shared v = step.state("momentum");
  // The first gradient is not dampened.
  const Tensor added =
      options_.dampening == 0 ? g : g * where(step.count > 1, 1 - options_.dampening, 1);
  const Tensor mean = step.update(v, options_.momentum * v + added);
  return step.value - step.rate * (options_.nesterov ? g + options_.momentum * mean : mean);
}

Adagrad::Adagrad(const AdagradOptions& options)
    : Optimizer("adagrad", common(options)), options_(options) {
  check_not_negative(name(), "rate_decay", options.rate_decay);
  check_not_negative(name(), "initial", options.initial);
  check_not_negative(name(), "epsilon", options.epsilon);
}

Tensor Adagrad::rule(Step& step) {
  const Shared s = step.state("squares", options_.initial);
  const Tensor squares = step.update(s, s + square(step.gradient));
  Tensor rate = step.rate;
  if (options_.rate_decay != 0) rate = rate / (1 + (step.count - 1) * options_.rate_decay);
  return step.value - rate * (step.gradient / (sqrt(squares) + options_.epsilon));
}

Adadelta::Adadelta(const AdadeltaOptions& options)
    : Optimizer("adadelta", common(options)), options_(options) {
  check_share(name(), "rho", options.rho);
  check_not_negative(name(), "epsilon", options.epsilon);
}

Tensor Adadelta::rule(Step& step) {
  const Tensor squares = average(step, "squares", options_.rho, square(step.gradient));
  const Shared changes = step.state("changes");
  const Tensor change =
      sqrt(changes + options_.epsilon) / sqrt(squares + options_.epsilon) * step.gradient;
  step.update(changes, options_.rho * changes + (1 - options_.rho) * square(change));
  return step.value - step.rate * change;
}

RmsProp::RmsProp(const RmsPropOptions& options)
    : Optimizer("rmsprop", common(options)), options_(options) {
  check_share(name(), "alpha", options.alpha);
  check_not_negative(name(), "epsilon", options.epsilon);
  check_fraction(name(), "momentum", options.momentum);
}

Tensor RmsProp::rule(Step& step) {
  Tensor variance = average(step, "squares", options_.alpha, square(step.gradient));
  if (options_.centered) {
    const Tensor mean = average(step, "mean", options_.alpha, step.gradient);
    // Rounding may leave a little less than nothing.
    variance = maximum(variance - square(mean), 0);
  }
  Tensor change = step.gradient / (sqrt(variance) + options_.epsilon);
  if (options_.momentum != 0) {
    const Shared b = step.state("momentum");
    change = step.update(b, options_.momentum * b + change);
  }
  return step.value - step.rate * change;
}

Adam::Adam(const AdamOptions& options) : Adam("adam", options, Decay::l2) {}

Adam::Adam(std::string name, const AdamOptions& options, Decay decay)
    : Optimizer(std::move(name), common(options, decay)), options_(options) {
  check_betas(this->name(), options);
  check_not_negative(this->name(), "epsilon", options.epsilon);
}

Tensor Adam::rule(Step& step) {
  const Tensor direction = adam_direction(step, options_, options_.amsgrad);
  return step.value - step.rate / step.one_minus_power(options_.beta1) * direction;
}

AdamW::AdamW(const AdamWOptions& options)
    : Adam("adamw",
           {.rate = options.rate,
            .beta1 = options.beta1,
            .beta2 = options.beta2,
            .epsilon = options.epsilon,
            .weight_decay = options.weight_decay,
            .amsgrad = options.amsgrad,
            .clip_value = options.clip_value,
            .clip_norm = options.clip_norm,
            .accumulate = options.accumulate,
            .groups = options.groups},
           Decay::decoupled) {}

NAdam::NAdam(const NAdamOptions& options) : Optimizer("nadam", common(options)), options_(options) {
  check_betas(name(), options);
  check_not_negative(name(), "epsilon", options.epsilon);
  check_not_negative(name(), "momentum_decay", options.momentum_decay);
}

Tensor NAdam::rule(Step& step) {
  const Tensor& g = step.gradient;
  const Tensor m = average(step, "m", options_.beta1, g);
  const Tensor v = average(step, "v", options_.beta2, square(g));
  const auto momentum = [&](const Tensor& count) {
    const double log_base = std::log(0.96) * options_.momentum_decay;
    return options_.beta1 * (1 - 0.5 * exp(count * log_base));
  };
  const Tensor mu = momentum(step.count);
  const Tensor next = momentum(step.count + 1);
  const Shared product = step.common_state("mu_product", 1);
  const Tensor until = step.update(product, product * mu);
  const Tensor of_gradient = step.rate * (1 - mu) / (1 - until);
  const Tensor of_mean = step.rate * next / (1 - until * next);
  const Tensor root = sqrt(v) * root_correction(step, options_.beta2) + options_.epsilon;
  return step.value - (of_gradient * g + of_mean * m) / root;
}

Adamax::Adamax(const AdamaxOptions& options)
    : Optimizer("adamax", common(options)), options_(options) {
  check_betas(name(), options);
  check_not_negative(name(), "epsilon", options.epsilon);
}

Tensor Adamax::rule(Step& step) {
  const Tensor m = average(step, "m", options_.beta1, step.gradient);
  const Shared u = step.state("u");
  const Tensor largest =
      step.update(u, maximum(options_.beta2 * u, abs(step.gradient) + options_.epsilon));
  return step.value - step.rate / step.one_minus_power(options_.beta1) * (m / largest);
}

Lamb::Lamb(const LambOptions& options)
    : Optimizer("lamb", common(options, Decay::rule)), options_(options) {
  check_betas(name(), options);
  check_not_negative(name(), "epsilon", options.epsilon);
}

Tensor Lamb::rule(Step& step) {
  Tensor change = adam_direction(step, options_) / step.one_minus_power(options_.beta1);
  if (step.weight_decay != 0) change = change + step.weight_decay * step.value;
  const Tensor size = norm(step.value);
  const Tensor length = norm(change);
  const Tensor is_usable = (size > 0) & (length > 0);
  const Tensor trust = where(is_usable, size / where(is_usable, length, 1), 1);
  return step.value - step.rate * trust * change;
}

Lion::Lion(const LionOptions& options)
    : Optimizer("lion", common(options, Decay::decoupled)), options_(options) {
  check_betas(name(), options);
}

Tensor Lion::rule(Step& step) {
  const Shared m = step.state("m");
  const Tensor direction = sign(options_.beta1 * m + (1 - options_.beta1) * step.gradient);
  step.update(m, options_.beta2 * m + (1 - options_.beta2) * step.gradient);
  return step.value - step.rate * direction;
}

Muon::Muon(const MuonOptions& options)
    : Optimizer("muon", common(options, Decay::rule)), options_(options) {
  check_fraction(name(), "momentum", options.momentum);
  check_positive(name(), "epsilon", options.epsilon);
  check_at_least(name(), "iterations", options.iterations, 1);
  check_not_negative(name(), "the fallback's rate", options.fallback.rate);
  check_fraction(name(), "the fallback's beta1", options.fallback.beta1);
  check_fraction(name(), "the fallback's beta2", options.fallback.beta2);
  check_not_negative(name(), "the fallback's epsilon", options.fallback.epsilon);
}

Tensor Muon::rule(Step& step) {
  const MuonFallback& fallback = options_.fallback;
  const bool falls_back = std::ranges::any_of(
      fallback.parameters, [&](const Shared& p) { return p.state() == step.parameter.state(); });
  const Tensor rate = falls_back && fallback.rate != 1 ? step.rate * fallback.rate : step.rate;
  const Tensor value =
      step.weight_decay == 0 ? step.value : step.value * (1 - rate * step.weight_decay);
  if (falls_back) {
    const Tensor direction = adam_direction(step, fallback);
    return value - rate / step.one_minus_power(fallback.beta1) * direction;
  }
  if (step.parameter.rank() < 2) {
    throw ShapeError("muon: the parameter " + quoted(step.parameter) +
                     ", not a matrix: list it in fallback.parameters" +
                     place_of(*LineScope::current()));
  }
  const Dims& shape = step.parameter.shape();
  const double rows = static_cast<double>(shape[0].constant());
  double columns = 1;
  for (std::size_t k = 1; k < shape.size(); ++k) {
    columns *= static_cast<double>(shape[k].constant());
  }
  const Tensor m = average(step, "momentum", options_.momentum, step.gradient);
  Tensor d =
      options_.nesterov ? (1 - options_.momentum) * step.gradient + options_.momentum * m : m;
  if (shape.size() > 2) d = flatten(d, 1);
  // The products with itself are of the smaller size.
  Tensor x = rows > columns ? transpose(d) : d;
  x = x / maximum(norm(d), options_.epsilon);
  for (int k = 0; k < options_.iterations; ++k) {
    const Tensor gram = dot(x, transpose(x));
    x = options_.a * x + dot(options_.b * gram + options_.c * dot(gram, gram), x);
  }
  if (rows > columns) x = transpose(x);
  if (shape.size() > 2) x = reshape(x, shape);
  const double scale = options_.scale == MuonOptions::Scale::original
                           ? std::sqrt(std::max(1.0, rows / columns))
                           : 0.2 * std::sqrt(std::max(rows, columns));
  return value - rate * scale * x;
}

}  // namespace kroton::optim
