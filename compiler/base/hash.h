// Hashes of values made of parts.
#pragma once
#include <cstddef>

namespace kroton {

// The hash of a sequence that had the hash `seed` when `value` is appended to it.
inline std::size_t hash_combine(std::size_t seed, std::size_t value) {
  return (seed ^ (value + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2))) *
         0xff51afd7ed558ccdULL;
}

}  // namespace kroton
