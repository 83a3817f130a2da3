// Checks of what users pass to optimizers and schedules.
#pragma once
#include <kroton/error.h>
#include <kroton/tensor.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

namespace kroton::optim::checks {

inline std::string text(double value) {
  std::ostringstream stream;
  stream << value;
  return stream.str();
}

inline std::string quoted(const Tensor& tensor) {
  return tensor.name() + " is " + to_string(tensor.type());
}

// ValueError "adam: beta1 is 1.5, not in [0, 1)" unless `holds`.
inline void check(bool holds, const std::string& owner, const std::string& option, double value,
                  const char* range) {
  if (!holds) throw ValueError(owner + ": " + option + " is " + text(value) + ", not " + range);
}
inline void check_not_negative(const std::string& owner, const std::string& option, double value) {
  check(value >= 0 && std::isfinite(value), owner, option, value, "a finite number of at least 0");
}
inline void check_positive(const std::string& owner, const std::string& option, double value) {
  check(value > 0 && std::isfinite(value), owner, option, value, "a finite number above 0");
}
inline void check_at_least(const std::string& owner, const std::string& option, std::int64_t value,
                           std::int64_t least) {
  if (value < least) {
    throw ValueError(owner + ": " + option + " is " + std::to_string(value) + ", below " +
                     std::to_string(least));
  }
}
// In [0, 1).
inline void check_fraction(const std::string& owner, const std::string& option, double value) {
  check(value >= 0 && value < 1, owner, option, value, "in [0, 1)");
}

// A list of parameters: not empty, each once, all floating. `place` ends the message.
void check_parameters(const std::string& owner, const std::vector<Shared>& parameters,
                      const std::string& place = "");

// The place of a call in the user's program, as it ends messages: "  [model.cpp:17]".
inline std::string place_of(const SourceLine& line) { return "  [" + to_string(line) + "]"; }

}  // namespace kroton::optim::checks
