// What runs when in a graph: any order that its edges allow.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace gpu_emulator {

// `behind[k]`: the positions that k waits for, all of them before k. Another order for every seed.
inline std::vector<std::size_t> any_order(const std::vector<std::vector<std::size_t>>& behind,
                                          std::uint64_t seed) {
  std::uint64_t state = seed * 0x9e3779b97f4a7c15U;
  const auto below = [&](std::size_t n) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>((state >> 33) % n);
  };
  std::vector<std::vector<std::size_t>> after(behind.size());
  std::vector<std::size_t> waits, ready, order;
  for (std::size_t k = 0; k < behind.size(); ++k) {
    waits.push_back(behind[k].size());
    for (const std::size_t before : behind[k]) after[before].push_back(k);
    if (behind[k].empty()) ready.push_back(k);
  }
  while (!ready.empty()) {
    std::swap(ready[below(ready.size())], ready.back());
    const std::size_t next = ready.back();
    ready.pop_back();
    order.push_back(next);
    for (const std::size_t k : after[next]) {
      if (--waits[k] == 0) ready.push_back(k);
    }
  }
  return order;
}

}  // namespace gpu_emulator
