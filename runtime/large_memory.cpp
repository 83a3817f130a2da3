#include "runtime/large_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>

namespace kroton {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t whole_pages(std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Zeroed pages, aligned to a huge page.
LargeBlock map(std::size_t bytes) {
  const std::size_t wanted = whole_pages(bytes);
  const std::size_t total = wanted + huge_page;
  if (total < bytes) return {};
  void* mapped = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return {};
  auto* first = static_cast<std::byte*>(mapped);
  const std::size_t skip =
      (huge_page - reinterpret_cast<std::uintptr_t>(mapped) % huge_page) % huge_page;
  if (skip != 0) munmap(first, skip);
  munmap(first + skip + wanted, huge_page - skip);
#ifdef MADV_HUGEPAGE
  madvise(first + skip, wanted, MADV_HUGEPAGE);  // advice: a system without them ignores it
#endif
  return {first + skip, wanted};
}

// The freed blocks, the longest unused first.
class Kept {
 public:
  // A kept block of at least `bytes` that would not waste more than an eighth, if there is one.
  LargeBlock take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    LargeBlock* best = nullptr;
    for (LargeBlock& block : blocks()) {
      const bool fits = block.bytes >= bytes && block.bytes - bytes <= bytes / 8;
      if (fits && (best == nullptr || block.bytes <= best->bytes)) best = &block;
    }
    if (best == nullptr) return {};
    const LargeBlock found = *best;
    remove(best);
    return found;
  }

  void add(LargeBlock block) {
    const std::lock_guard lock(mutex_);
    while (count_ == blocks_.size() || bytes_ + block.bytes > most_kept_bytes) {
      munmap(blocks_[0].address, blocks_[0].bytes);
      remove(blocks_.data());
    }
    blocks_[count_++] = block;
    bytes_ += block.bytes;
  }

  std::size_t bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  std::span<LargeBlock> blocks() { return {blocks_.data(), count_}; }

  void remove(LargeBlock* block) {
    bytes_ -= block->bytes;
    std::move(block + 1, blocks_.data() + count_, block);
    --count_;
  }

  std::mutex mutex_;
  std::array<LargeBlock, most_kept_bytes / least_large_bytes> blocks_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

// Never destroyed: arrays in static storage are freed after it would be.
Kept& kept() {
  static Kept& instance = *new Kept;
  return instance;
}

}  // namespace

LargeBlock allocate_large(std::size_t bytes, bool zeroed) noexcept {
  const LargeBlock block = kept().take(bytes);
  if (block.address == nullptr) return map(bytes);
  if (zeroed) std::memset(block.address, 0, bytes);
  return block;
}

void free_large(LargeBlock block) noexcept {
  if (block.bytes > most_kept_bytes) {
    munmap(block.address, block.bytes);
  } else {
    kept().add(block);
  }
}

std::size_t kept_large_bytes() noexcept { return kept().bytes(); }

}  // namespace kroton
