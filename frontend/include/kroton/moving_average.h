// Averages of parameters over the steps of a training, which often predict better.
#pragma once
#include <kroton/function.h>

#include <source_location>
#include <vector>

namespace kroton::optim {

/// Exponential moving averages of parameters: after each step average = decay * average +
/// (1 - decay) * parameter. They start with the values that the parameters have when they are made.
/// Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
///
///     optim::MovingAverage ema(parameters, 0.999);
///     auto updates = ema.updates(adam.minimize(loss, parameters));
///     auto train = kt::function({x, y}, loss, {.updates = updates});
///     ema.swap();   // the parameters are the averages: evaluate
///     ema.swap();   // and back: train on
class MovingAverage {
 public:
  /// Throws ValueError for no parameters, one that is listed twice, and a decay outside [0, 1);
  /// TypeError for a parameter that is not floating.
  MovingAverage(const std::vector<Shared>& parameters, double decay);

  /// `step`, the updates of a training step, and those of the averages, from the new values that
  /// `step` gives the parameters. Without a step, from the values before the call: for a function
  /// of its own that is called after each step. With an optimizer that accumulates, calls that
  /// change no parameter move the averages too.
  [[nodiscard]] std::vector<Update> updates(
      const std::vector<Update>& step = {},
      const std::source_location& at = std::source_location::current()) const;

  /// The averages, in the order of the parameters, named "average.<parameter>".
  [[nodiscard]] const std::vector<Shared>& averages() const& { return averages_; }
  [[nodiscard]] std::vector<Shared> averages() && { return averages_; }
  /// Exchanges the values of parameters and averages; a second time brings them back. No other
  /// thread may train meanwhile.
  void swap();

 private:
  std::vector<Shared> parameters_;
  std::vector<Shared> averages_;
  double decay_;
};

}  // namespace kroton::optim
