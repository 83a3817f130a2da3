// Exponential moving averages of parameters.
#include <kroton/moving_average.h>
#include <kroton/ops.h>

#include "frontend/train/options.h"

namespace kroton::optim {

using namespace checks;

MovingAverage::MovingAverage(const std::vector<Shared>& parameters, double decay)
    : parameters_(parameters), decay_(decay) {
  check_parameters("moving_average", parameters);
  check_fraction("moving_average", "decay", decay);
  for (const Shared& parameter : parameters_) {
    averages_.push_back(shared(parameter.get_value(), "average." + parameter.name()));
  }
}

std::vector<Update> MovingAverage::updates(const std::vector<Update>& step,
                                           const std::source_location& at) const {
  const LineScope scope({at.file_name(), at.line()});
  std::vector<Update> result = step;
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    Tensor value = parameters_[k];
    for (const Update& update : step) {
      if (update.target.state() == parameters_[k].state()) value = update.value;
    }
    result.emplace_back(averages_[k], decay_ * averages_[k] + (1 - decay_) * value);
  }
  return result;
}

void MovingAverage::swap() {
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    const Array value = parameters_[k].get_value();
    parameters_[k].set_value(averages_[k].get_value());
    averages_[k].set_value(value);
  }
}

}  // namespace kroton::optim
