// The base of the optimizers: checks, clipping, weight decay, groups, accumulation and state.
#include <kroton/array.h>
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>
#include <kroton/optimizer.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "frontend/train/options.h"

namespace kroton::optim {

using namespace checks;

void checks::check_parameters(const std::string& owner, const std::vector<Shared>& parameters,
                              const std::string& place) {
  if (parameters.empty()) throw ValueError(owner + ": no parameters" + place);
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const Shared& parameter = parameters[k];
    if (!is_float(parameter.dtype())) {
      throw TypeError(owner + ": the parameter " + quoted(parameter) + ", not floating" + place);
    }
    for (std::size_t before = 0; before < k; ++before) {
      if (parameters[before].state() == parameter.state()) {
        throw ValueError(owner + ": the parameter " + parameter.name() + " is listed twice" +
                         place);
      }
    }
  }
}

struct Optimizer::Parts {
  std::string name;
  CommonOptions options;
  std::vector<Shared> state;
  // By parameter (null for the optimizer's own) and name.
  std::map<std::pair<std::shared_ptr<SharedState>, std::string>, Shared> by_name;
  std::set<std::string> taken;             // the names of the state
  std::map<std::string, int> last_number;  // behind a name of which there are several
  std::vector<Update> pending;             // of the call of updates() that is under way
  SourceLine line;

  Shared make(const std::shared_ptr<SharedState>& parameter, const std::string& key,
              const std::string& suffix, const std::function<Array()>& initial) {
    const auto found = by_name.find({parameter, key});
    if (found != by_name.end()) return found->second;
    const std::string first = name + '.' + suffix;
    std::string full = first;
    for (int& number = last_number[first]; !taken.insert(full).second;) {
      number = std::max(number + 1, 2);
      full = first + '.' + std::to_string(number);
    }
    const Shared made(initial(), full, line);
    by_name.emplace(std::pair{parameter, key}, made);
    state.push_back(made);
    return made;
  }

  Shared of_parameter(const Shared& parameter, const std::string& key, double initial) {
    return make(parameter.state(), key, key + '.' + parameter.name(), [&] {
      std::vector<std::int64_t> sizes;
      for (const Dim& size : parameter.shape()) sizes.push_back(size.constant());
      return Array::full(Shape(sizes), initial, parameter.dtype());
    });
  }

  Shared counter(const std::string& key) {
    return make(nullptr, key, key, [] { return Array(std::int64_t{0}); });
  }

  void add(const Shared& target, const Tensor& value) {
    for (const Update& update : pending) {
      if (update.target.state() != target.state()) continue;
      // State that parameters have in common is updated by each of them, alike.
      if (same(update.value, value)) return;
      throw ValueError(name + ": two different updates of " + target.name() + place_of(line));
    }
    pending.emplace_back(target, value);
  }

  const Group* group_of(const Shared& parameter) const {
    for (const Group& group : options.groups) {
      for (const Shared& member : group.parameters) {
        if (member.state() == parameter.state()) return &group;
      }
    }
    return nullptr;
  }

  void check_gradients(const std::vector<Shared>& parameters, const std::vector<Tensor>& gradients,
                       const std::string& place) const;
  std::vector<Tensor> clipped(std::vector<Tensor> gradients) const;
};

void Optimizer::Parts::check_gradients(const std::vector<Shared>& parameters,
                                       const std::vector<Tensor>& gradients,
                                       const std::string& place) const {
  if (gradients.size() != parameters.size()) {
    throw ValueError(name + ": " + std::to_string(parameters.size()) + " parameters and " +
                     std::to_string(gradients.size()) + " gradients" + place);
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const Shared& parameter = parameters[k];
    const Tensor& gradient = gradients[k];
    const std::string of = name + ": the gradient of " + parameter.name();
    if (!gradient) throw ValueError(of + " is an empty Tensor" + place);
    const std::string difference = of + " is " + to_string(gradient.type()) + ", the parameter " +
                                   to_string(parameter.type()) + place;
    if (gradient.dtype() != parameter.dtype()) throw TypeError(difference);
    bool fits = gradient.rank() == parameter.rank();
    for (int axis = 0; fits && axis < parameter.rank(); ++axis) {
      // A free size is checked in the call.
      const Dim& size = gradient.shape(axis);
      fits = !size.is_constant() || size == parameter.shape(axis);
    }
    if (!fits) throw ShapeError(difference);
  }
}

std::vector<Tensor> Optimizer::Parts::clipped(std::vector<Tensor> gradients) const {
  if (options.clip_value) {
    for (Tensor& g : gradients) g = clip(g, -*options.clip_value, *options.clip_value);
  }
  if (options.clip_norm) {
    Tensor squares;
    for (const Tensor& g : gradients) {
      const Tensor of_one = sum(square(g));
      squares = squares ? squares + of_one : of_one;
    }
    const Tensor factor = minimum(*options.clip_norm / (sqrt(squares) + 1e-6), 1);
    for (Tensor& g : gradients) g = g * cast(factor, g.dtype());
  }
  return gradients;
}

Step::Step(Optimizer& optimizer, Shared variable)
    : parameter(std::move(variable)), weight_decay(0), optimizer_(&optimizer) {}

Shared Step::state(const std::string& name, double initial) {
  return optimizer_->parts_->of_parameter(parameter, name, initial);
}

Shared Step::common_state(const std::string& name, double initial) {
  const std::string key = name + ' ' + std::string(name_of(parameter.dtype()));
  return optimizer_->parts_->make(nullptr, key, name,
                                  [&] { return Array::full({}, initial, parameter.dtype()); });
}

Tensor Step::update(const Shared& state, const Tensor& new_value) {
  optimizer_->parts_->add(state, new_value);
  return new_value;
}

Tensor Step::one_minus_power(double base) const {
  if (base == 0) return ones_like(count);
  // The difference 1 - base^count itself would lose what base lacks of 1.
  return -expm1(count * std::log(base));
}

Optimizer::Optimizer(std::string name, CommonOptions options) : parts_(new Parts) {
  parts_->name = std::move(name);
  parts_->options = std::move(options);
  const std::string& owner = parts_->name;
  const CommonOptions& given = parts_->options;
  if (given.rate.constant()) check_not_negative(owner, "rate", *given.rate.constant());
  check_not_negative(owner, "weight_decay", given.weight_decay);
  if (given.clip_value) check_positive(owner, "clip_value", *given.clip_value);
  if (given.clip_norm) check_positive(owner, "clip_norm", *given.clip_norm);
  check_at_least(owner, "accumulate", given.accumulate, 1);
  std::vector<Shared> members;
  for (const Group& group : given.groups) {
    check_not_negative(owner, "a group's rate", group.rate);
    if (group.weight_decay) {
      check_not_negative(owner, "a group's weight_decay", *group.weight_decay);
    }
    members.insert(members.end(), group.parameters.begin(), group.parameters.end());
  }
  if (!members.empty()) check_parameters(owner + ": groups", members);
}

Optimizer::~Optimizer() = default;

const std::vector<Shared>& Optimizer::state() const& { return parts_->state; }
const std::string& Optimizer::name() const& { return parts_->name; }

std::vector<Update> Optimizer::minimize(const Tensor& cost, const std::vector<Shared>& parameters,
                                        const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  const LineScope scope(line);
  check_parameters(parts_->name, parameters, place_of(line));
  return updates(parameters, grad(cost, parameters), at);
}

std::vector<Update> Optimizer::updates(const std::vector<Shared>& parameters,
                                       const std::vector<Tensor>& gradients,
                                       const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  const LineScope scope(line);
  const CommonOptions& options = parts_->options;
  const std::string place = place_of(line);
  check_parameters(parts_->name, parameters, place);
  parts_->check_gradients(parameters, gradients, place);
  for (const Group& group : options.groups) {
    for (const Shared& member : group.parameters) {
      const bool is_there = std::ranges::any_of(
          parameters, [&](const Shared& p) { return p.state() == member.state(); });
      if (!is_there) {
        throw ValueError(parts_->name + ": the parameter " + member.name() +
                         " of a group is not among the parameters" + place);
      }
    }
  }

  parts_->line = line;
  parts_->pending.clear();
  const Shared steps = parts_->counter("steps");
  std::vector<Tensor> means = gradients;
  std::vector<Update> result;
  Tensor is_due;
  if (options.accumulate > 1) {
    const Shared calls = parts_->counter("calls");
    is_due = ge(calls + 1, options.accumulate);
    result.emplace_back(calls, where(is_due, 0, calls + 1));
    for (std::size_t k = 0; k < means.size(); ++k) {
      const Shared total = parts_->of_parameter(parameters[k], "gradient", 0);
      const Tensor sum = total + means[k];
      result.emplace_back(total, where(is_due, 0, sum));
      means[k] = sum / static_cast<double>(options.accumulate);
    }
  }
  means = parts_->clipped(std::move(means));

  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const Shared& parameter = parameters[k];
    const DType dtype = parameter.dtype();
    const Group* group = parts_->group_of(parameter);
    Step step(*this, parameter);
    step.value = parameter;
    step.gradient = means[k];
    step.rate = options.rate.at(steps, dtype);
    step.count = cast(steps + 1, dtype);
    step.weight_decay = options.weight_decay;
    if (group != nullptr) {
      if (group->rate != 1) step.rate = step.rate * group->rate;
      step.weight_decay = group->weight_decay.value_or(step.weight_decay);
    }
    if (step.weight_decay != 0 && options.decay == Decay::l2) {
      step.gradient = step.gradient + step.weight_decay * step.value;
    }
    if (step.weight_decay != 0 && options.decay == Decay::decoupled) {
      step.value = step.value * (1 - step.rate * step.weight_decay);
    }
    parts_->add(parameter, rule(step));
  }
  parts_->add(steps, steps + 1);

  for (const Update& update : parts_->pending) {
    const Shared& target = update.target;
    result.emplace_back(target, is_due ? ifelse(is_due, update.value, target) : update.value);
  }
  parts_->pending.clear();
  return result;
}

}  // namespace kroton::optim
