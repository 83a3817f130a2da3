#pragma once
#include <cstddef>
#include <cstdint>

namespace kroton {

// An axis, or another number that is not negative, as an index of a container.
inline std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace kroton
