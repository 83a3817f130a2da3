// The base of all optimizers, for writing one's own; those that there are: optim.h.
#pragma once
#include <kroton/function.h>
#include <kroton/schedule.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace kroton::optim {

/// Parameters that are treated in another way than the rest: biases without weight decay, say.
struct Group {
  std::vector<Shared> parameters = {};
  double rate = 1;                          ///< multiplies the optimizer's rate
  std::optional<double> weight_decay = {};  ///< in place of the optimizer's
};

/// What weight decay does.
enum class Decay : std::uint8_t {
  l2,         ///< weight_decay * parameter is added to the gradient
  decoupled,  ///< the parameter is multiplied by 1 - rate * weight_decay before the step
  rule        ///< the rule sees to it
};

/// What all optimizers have in common. A gradient is clipped by value, then by norm; then weight
/// decay is added to it.
struct CommonOptions {
  Schedule rate = 1e-3;
  double weight_decay = 0;
  Decay decay = Decay::l2;
  /// Every element of a gradient is brought into [-clip_value, clip_value].
  std::optional<double> clip_value = {};
  /// All gradients are multiplied by min(1, clip_norm / (norm + 1e-6)), where norm is the square
  /// root of the sum of the squares of all elements of all gradients. PyTorch's clip_grad_norm_;
  /// Keras' global_clipnorm adds nothing to the norm. Pascanu, Mikolov and Bengio, "On the
  /// Difficulty of Training Recurrent Neural Networks", 2013.
  std::optional<double> clip_norm = {};
  /// A step is taken in every `accumulate`-th call, with the mean of the gradients of these calls;
  /// the others add to it and change no parameter. With a cost that is a mean, the step is that of
  /// a batch `accumulate` times as large.
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};

class Optimizer;

/// What a rule is given: one parameter, its gradient, and the numbers of this step.
class Step {
 public:
  Shared parameter;
  Tensor value;         ///< the parameter's value, after decoupled weight decay
  Tensor gradient;      ///< after clipping and L2 weight decay
  Tensor rate;          ///< this step's, times the group's: a scalar of the parameter's dtype
  Tensor count;         ///< the number of this step, from 1: a scalar of the parameter's dtype
  double weight_decay;  ///< the optimizer's, or the group's

  /// A variable of this parameter's, of its shape and dtype, full of `initial`. It is made when the
  /// optimizer meets the parameter for the first time, and named "<optimizer>.<name>.<parameter>".
  Shared state(const std::string& name, double initial = 0);
  /// A scalar of the optimizer's, for all parameters of this dtype: "<optimizer>.<name>".
  Shared common_state(const std::string& name, double initial = 0);
  /// Gives a state its new value, which is returned.
  Tensor update(const Shared& state, const Tensor& new_value);
  /// 1 - base^count, for bias corrections: exact to the rounding of the dtype for any count.
  [[nodiscard]] Tensor one_minus_power(double base) const;

 private:
  friend class Optimizer;
  Step(Optimizer& optimizer, Shared variable);
  Optimizer* optimizer_;
};

/// The base of all optimizers. One of your own is a struct with a rule, which returns the new value
/// of one parameter:
///
///     struct SignMomentum : optim::Optimizer {
///       explicit SignMomentum(double rate) : Optimizer("sign_momentum", {.rate = rate}) {}
///       kt::Tensor rule(optim::Step& step) override {
///         auto m = step.state("m");
///         auto mean = step.update(m, 0.9 * m + 0.1 * step.gradient);
///         return step.value - step.rate * kt::sign(mean);
///       }
///     };
///
///     SignMomentum optimizer(0.01);
///     auto train = kt::function({x, y}, loss, {.updates = optimizer.minimize(loss, {w, b})});
///
/// State is kept in shared variables, which are made when a parameter is seen for the first time;
/// asked again for the same parameter, an optimizer goes on with the same state. The updates of one
/// function come from one call, as each call counts steps.
class Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// The updates that lower `cost`, a floating scalar: those of the gradients with respect to the
  /// parameters. Throws as kt::grad and updates() do.
  [[nodiscard]] std::vector<Update> minimize(
      const Tensor& cost, const std::vector<Shared>& parameters,
      const std::source_location& at = std::source_location::current());

  /// The updates for gradients that are given, one for each parameter. Beside those of the
  /// parameters there are those of the state. Errors name the optimizer and the parameter:
  /// ValueError for no parameters, one that is listed twice, another number of gradients, an empty
  /// gradient, and a parameter of a group that is not among them; TypeError for a parameter that is
  /// not floating and a gradient of another dtype; ShapeError for a gradient of another shape.
  [[nodiscard]] std::vector<Update> updates(
      const std::vector<Shared>& parameters, const std::vector<Tensor>& gradients,
      const std::source_location& at = std::source_location::current());

  /// All variables that a checkpoint holds beside the parameters, in the order in which they were
  /// made: "adam.steps" (i64, the number of steps taken), "adam.m.<parameter>", ... A name that
  /// there is already gets a number: "adam.m.w.2". With `accumulate` also "adam.calls" (i64, the
  /// calls since the last step) and "adam.gradient.<parameter>".
  [[nodiscard]] const std::vector<Shared>& state() const&;
  [[nodiscard]] std::vector<Shared> state() && { return state(); }
  [[nodiscard]] const std::string& name() const&;
  [[nodiscard]] std::string name() && { return name(); }
  /// Empty when the optimizer is no longer there: for what keeps a reference to it.
  [[nodiscard]] std::weak_ptr<const void> lifetime() const { return parts_; }

 protected:
  /// Throws ValueError, naming the optimizer, for a negative rate, weight decay or multiplier,
  /// for a clip_value or clip_norm that is not above 0, for accumulate below 1, and for a parameter
  /// in two groups. `name` is in front of the names of the state.
  Optimizer(std::string name, CommonOptions options);

  /// The new value of one parameter, of its dtype and shape.
  virtual Tensor rule(Step& step) = 0;

 private:
  friend class Step;
  struct Parts;
  std::shared_ptr<Parts> parts_;  // the optimizer's alone
};

}  // namespace kroton::optim
