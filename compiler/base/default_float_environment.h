// Compilation does not depend on the floating-point environment of whoever asks for it.
#pragma once
#include <cfenv>

namespace kroton {

// Rounding to nearest, gradual underflow and no traps, until the end of its life; then the
// environment of before, flags included.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&before_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace kroton
