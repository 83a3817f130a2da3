#include "compiler/dim/size_samples.h"

#include <kroton/error.h>

#include <utility>

namespace kroton {

SizeSamples::SizeSamples(const Dim& size) {
  // Sizes of all magnitudes, as they are divided by what a line or a block of blocks holds; for
  // products of several sizes those of the first samples only fit.
  constexpr std::array<std::pair<std::uint64_t, std::uint64_t>, count> bits = {
      {{0, 8}, {0, 10}, {0, 22}, {8, 22}, {16, 22}, {20, 36}, {20, 40}, {24, 40}}};
  for (std::size_t sample = 0; sample < count; ++sample) {
    const auto [least, most] = bits[sample];
    const auto at_random = [&](const DimAtom& atom) {
      std::uint64_t mixed = (atom.identity * count + sample + 1) * 0x9e3779b97f4a7c15;
      mixed ^= mixed >> 31;
      const std::uint64_t magnitude = least + (mixed >> 48) % (most - least);
      return static_cast<std::int64_t>((1 + (mixed & 0xffff)) << magnitude >> 16);
    };
    try {
      values_[sample] = size.evaluate(at_random);
      sum_ += static_cast<double>(values_[sample]);
    } catch (const ValueError&) {
      values_[sample] = unknown;
      sum_ += static_cast<double>(std::numeric_limits<std::int64_t>::max());
    }
  }
}

}  // namespace kroton
