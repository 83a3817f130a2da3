// Random numbers of what reads and changes data: functions of a seed, a stream and how many were
// drawn before, so that they are the same whichever thread draws them.
#pragma once
#include <kroton/philox.h>

#include <cstdint>

namespace kroton::data {

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  // Uniform below a bound that is not 0, without bias: Lemire, "Fast random integer generation in
  // an interval", ACM TOMACS 29 (2019).
  std::uint32_t below(std::uint32_t bound) {
    std::uint64_t product = std::uint64_t{next()} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {
      const std::uint32_t threshold = (0U - bound) % bound;
      while (static_cast<std::uint32_t>(product) < threshold) {
        product = std::uint64_t{next()} * bound;
      }
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  // Uniform in [low, high).
  double uniform(double low = 0, double high = 1) {
    return low + (high - low) * (next() * 0x1p-32);
  }

 private:
  std::uint32_t next() {
    if (used_ == words_.size()) {
      words_ = Philox::block(seed_, stream_, block_++);
      used_ = 0;
    }
    return words_[used_++];
  }

  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t block_ = 0;
  Philox::Words words_{};
  std::size_t used_ = words_.size();
};

}  // namespace kroton::data
