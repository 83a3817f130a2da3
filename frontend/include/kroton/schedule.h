// Learning rates: numbers, variables, and functions of the number of steps taken.
#pragma once
#include <kroton/tensor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <vector>

namespace kroton::optim {

/// A learning rate. Optimizers evaluate it in every call, inside the compiled function: a number is
/// a literal there, a variable is read, and a function of the number of steps is part of the graph.
///
///     optim::Sgd a({.rate = 0.1});
///     auto rate = kt::shared(0.1, "rate");            // rate.set_value(kt::Array(0.05F)) later
///     optim::Sgd b({.rate = rate});
///     optim::Sgd c({.rate = optim::cosine(0.1, 1000)});
///     optim::Sgd d({.rate = [](const kt::Tensor& step) { return 0.1 / kt::sqrt(step + 1); }});
///
/// Steps are counted from 0: the first update uses the rate of step 0.
class Schedule {
 public:
  /// The rate at a step, an i64 scalar, as a scalar of the dtype.
  using Rule = std::function<Tensor(const Tensor& step, DType dtype)>;

  /// The same rate in every step.
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::same_as<T, bool>)
  Schedule(T rate) : Schedule(static_cast<double>(rate), 0) {}  // NOLINT: a number is one

  /// What a scalar is at the time of the step: a shared variable that the program sets, or an input
  /// of the function. It is converted to the dtype of the parameter. Throws ShapeError unless it is
  /// a scalar, TypeError unless it is floating, ValueError if it is empty.
  Schedule(const Tensor& rate);  // NOLINT: a variable is one

  /// A function of the number of steps taken, a scalar of the parameter's dtype (an f32 counts to
  /// 2^24 one by one). The result is a floating scalar (TypeError, ShapeError at the first use).
  template <class F>
    requires(std::is_invocable_r_v<Tensor, const F&, const Tensor&> &&
             !std::derived_from<F, Tensor> && !std::same_as<F, Schedule>)
  Schedule(F rule)  // NOLINT: a function is one
      : rule_([rule](const Tensor& step, DType dtype) { return apply(rule, step, dtype); }) {}

  /// One that is given all there is. The functions below are made with it: they work with the
  /// whole numbers as long as they can.
  static Schedule of(Rule rule);

  /// The rate at `step`, an i64 scalar, as a scalar of a floating dtype.
  [[nodiscard]] Tensor at(const Tensor& step, DType dtype = f32) const;
  /// The number, if it is one.
  [[nodiscard]] std::optional<double> constant() const { return constant_; }

 private:
  Schedule(double rate, int) : constant_(rate) {}
  static Tensor apply(const std::function<Tensor(const Tensor&)>& rule, const Tensor& step,
                      DType dtype);

  std::optional<double> constant_;
  Rule rule_;
};

// ---- Functions of the step t = 0, 1, 2, ... All throw ValueError, naming themselves, for a rate
// ---- that is negative or not finite and for a number of steps below 1.

/// rate * factor^floor(t / every). PyTorch's StepLR.
[[nodiscard]] Schedule step_decay(double rate, double factor, std::int64_t every);

/// rate * factor^(t / every), without steps in between. PyTorch's ExponentialLR with every = 1,
/// Keras' ExponentialDecay.
[[nodiscard]] Schedule exponential(double rate, double factor, std::int64_t every = 1);

/// rate / (1 + decay * t). Keras' InverseTimeDecay.
[[nodiscard]] Schedule inverse_time(double rate, double decay);

/// end + (rate - end) * (1 - t / steps)^power, and `end` from step `steps` on. PyTorch's
/// PolynomialLR, whose end is 0; Keras' PolynomialDecay, whose end is 1e-4 unless given.
[[nodiscard]] Schedule polynomial(double rate, std::int64_t steps, double power = 1,
                                  double end = 0);

/// end + (rate - end) * (1 + cos(pi * t / steps)) / 2, and `end` from step `steps` on, where
/// PyTorch's CosineAnnealingLR rises again. Loshchilov and Hutter, "SGDR: Stochastic Gradient
/// Descent with Warm Restarts", 2017.
[[nodiscard]] Schedule cosine(double rate, std::int64_t steps, double end = 0);

/// The same again and again: the first period takes `steps` steps, each one `growth` times as many
/// as the one before. PyTorch's CosineAnnealingWarmRestarts. ValueError for growth below 1.
[[nodiscard]] Schedule cosine_restarts(double rate, std::int64_t steps, std::int64_t growth = 1,
                                       double end = 0);

struct OneCycleOptions {
  double rise = 0.3;           ///< the part of the steps in which the rate rises
  double start_divisor = 25;   ///< the first rate is max_rate / start_divisor
  double final_divisor = 1e4;  ///< the last one is the first / final_divisor
  enum class Shape : std::uint8_t { cosine, linear } shape = Shape::cosine;
};

/// From max_rate / start_divisor up to max_rate at step rise * steps - 1, down to the last rate at
/// step steps - 1, which stays. PyTorch's OneCycleLR with two phases. Smith and Topin,
/// "Super-Convergence", 2018. ValueError unless 0 <= rise <= 1, both divisors are above 0 and
/// there are at least 2 steps.
[[nodiscard]] Schedule one_cycle(double max_rate, std::int64_t steps,
                                 const OneCycleOptions& options = {});

/// Before step `steps` the rate of `then` at its step 0, times start + (1 - start) * t / steps;
/// from there on `then`, whose step 0 is step `steps`. PyTorch's LinearLR, and SequentialLR after
/// it, with the same start. ValueError unless 0 <= start <= 1.
[[nodiscard]] Schedule warm_up(std::int64_t steps, const Schedule& then, double start = 1.0 / 3);

/// rates[k], where k is how many of the boundaries are at or below t: one more rate than
/// boundaries, which ascend (ValueError). Keras' PiecewiseConstantDecay changes one step later.
[[nodiscard]] Schedule piecewise(std::vector<std::int64_t> boundaries, std::vector<double> rates);

/// rates[floor(t / period)], the last one for ever. CNTK's learning_rate_schedule per minibatch,
/// whose epoch_size counts samples where this period counts minibatches. ValueError for no rates.
[[nodiscard]] Schedule per_minibatch(const std::vector<double>& rates, std::int64_t period = 1);

/// The same with the rate of one sample, and the period counted in samples: CNTK's
/// learning_rate_schedule per sample with its epoch_size. `minibatch_size` samples make a step;
/// with a cost that is their mean, the step's rate is that of a sample times minibatch_size:
/// rates[floor(t * minibatch_size / period)] * minibatch_size.
[[nodiscard]] Schedule per_sample(const std::vector<double>& rates, std::int64_t minibatch_size,
                                  std::int64_t period = 1);

struct PlateauOptions {
  double factor = 0.1;         ///< what the rate is multiplied by
  std::int64_t patience = 10;  ///< observations without improvement that are let pass
  double threshold = 1e-4;     ///< how much better counts: relative to the best, or absolute
  bool relative = true;
  /// Whether larger is better: unless given it is not; nn::ReduceOnPlateau knows it by the name.
  std::optional<bool> maximize = {};
  std::int64_t cooldown = 0;  ///< observations after a change that are not counted
  double min_rate = 0;        ///< the rate does not fall below it
};

/// Lowers a rate when a metric has stopped improving. It runs on the host:
///
///     auto rate = kt::shared(0.1, "rate");
///     optim::Sgd sgd({.rate = rate});
///     optim::Plateau plateau(rate, {.patience = 3});
///     for (...) { ...; plateau.observe(validation_loss); }
///
/// PyTorch's ReduceLROnPlateau. Keras' default threshold is absolute, and it lowers the rate one
/// observation earlier.
class Plateau {
 public:
  /// Throws ShapeError or TypeError unless the rate is a floating scalar; ValueError unless
  /// 0 <= factor < 1 and nothing else is negative.
  Plateau(const Shared& rate, const PlateauOptions& options = {});

  /// Takes the metric of an epoch. Returns whether it has lowered the rate, which it does when more
  /// than `patience` observations in a row were no better than the best. A NaN is no better. A
  /// change of 1e-8 or less is not made.
  bool observe(double metric);
  /// The rate now.
  [[nodiscard]] double rate() const;
  /// The best metric so far; infinite before the first.
  [[nodiscard]] double best() const { return best_; }

 private:
  Shared rate_;
  PlateauOptions options_;
  double best_;
  std::int64_t bad_ = 0;
  std::int64_t cooling_ = 0;
};

}  // namespace kroton::optim
