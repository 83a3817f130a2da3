#pragma once

#include <array>
#include <cstdint>

namespace kroton {

/// Philox4x32-10: a counter-based generator. Four random words are a pure function of a 128-bit
/// counter and a 64-bit key, so any element of a stream is computed on its own, on any processor.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
struct Philox {
  using Words = std::array<std::uint32_t, 4>;
  using Key = std::array<std::uint32_t, 2>;
  static constexpr std::array<std::uint32_t, 2> multipliers = {0xD2511F53, 0xCD9E8D57};
  static constexpr std::array<std::uint32_t, 2> weyl = {0x9E3779B9, 0xBB67AE85};
  /// The high half of the streams that keys of calls come from, which nothing else uses.
  static constexpr std::uint64_t call_stream = 0xC0;

  /// The four words of a counter under a key.
  static constexpr Words words(Words counter, Key key) noexcept {
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = std::uint64_t{multipliers[0]} * counter[0];
      const std::uint64_t b = std::uint64_t{multipliers[1]} * counter[2];
      counter = {
          static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
      key = {key[0] + weyl[0], key[1] + weyl[1]};
    }
    return counter;
  }

  /// The four words of block `block` of stream `stream` of a seed.
  static constexpr Words block(std::uint64_t seed, std::uint64_t stream,
                               std::uint64_t block) noexcept {
    return words({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                  static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                 {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  }
};

/// A word as a float in [0, 1): a multiple of 2^-24.
constexpr float unit_float(std::uint32_t word) noexcept {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

/// Two words as a double in [0, 1): a multiple of 2^-53.
constexpr double unit_double(std::uint32_t low, std::uint32_t high) noexcept {
  const std::uint64_t bits = (std::uint64_t{high} << 32) | low;
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace kroton
