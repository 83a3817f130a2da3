// Numbers with names.
#pragma once
#include <limits>
#include <numbers>

namespace kroton::ops {

inline constexpr double inf = std::numeric_limits<double>::infinity();
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();
inline constexpr double pi = std::numbers::pi;
inline constexpr double two_pi = 2 * std::numbers::pi;
inline constexpr double ln2 = std::numbers::ln2;

}  // namespace kroton::ops
