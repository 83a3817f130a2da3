// The values of a size for a few sets of sizes at random. Where one form is below another for one
// of these, nobody has to look for a proof that it never is.
#pragma once
#include <kroton/dim.h>

#include <array>
#include <cstdint>
#include <limits>

namespace kroton {

class SizeSamples {
 public:
  explicit SizeSamples(const Dim& size);

  // Whether the size is known to be below the other one for some sizes.
  bool is_below_somewhere(const SizeSamples& other) const {
    for (std::size_t k = 0; k < count; ++k) {
      if (values_[k] != unknown && other.values_[k] != unknown && values_[k] < other.values_[k]) {
        return true;
      }
    }
    return false;
  }
  // An order by size: where one form is at least as large as another, and larger for one of the
  // samples, its sum is larger.
  double sum() const { return sum_; }

 private:
  static constexpr std::size_t count = 8;
  // Of sizes that do not fit in 64 bits, and divisors that are 0.
  static constexpr std::int64_t unknown = std::numeric_limits<std::int64_t>::min();

  std::array<std::int64_t, count> values_;
  double sum_ = 0;
};

}  // namespace kroton
