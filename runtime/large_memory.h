#pragma once

#include <cstddef>

namespace kroton {

// Memory for large arrays, straight from the operating system, and what keeps it for the next one.
//
// A large block fresh from the operating system costs a page fault and the zeroing of the page for
// every 4 KB that is touched, which takes longer than most computations that fill it. So the blocks
// lie where the processor can map 2 MB at once, and freed ones are kept, as malloc keeps small
// ones. What is kept is bounded: at most `most_kept_bytes` in all, the longest unused given back
// first; a block larger than that is given back at once.

/// What is smaller is left to malloc.
inline constexpr std::size_t least_large_bytes = std::size_t{2} << 20;
inline constexpr std::size_t most_kept_bytes = std::size_t{64} << 20;

/// A block and its size, at least what was asked for.
struct LargeBlock {
  void* address = nullptr;
  std::size_t bytes = 0;
};

/// At least `bytes` bytes, aligned to 2 MB; the address is null where there is no memory. Any
/// thread.
LargeBlock allocate_large(std::size_t bytes, bool zeroed) noexcept;

void free_large(LargeBlock block) noexcept;

/// The bytes of freed blocks that wait to be used again.
std::size_t kept_large_bytes() noexcept;

}  // namespace kroton
