// SHA-256 (FIPS 180-4): names of cache entries, and the check that an entry is whole.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kroton {

using Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  void update(const void* data, std::size_t size);
  void update(std::string_view bytes) { update(bytes.data(), bytes.size()); }
  // The digest of everything given so far. Nothing may follow.
  Digest finish();

 private:
  void compress(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> rest_{};  // what does not fill a block yet
  std::uint64_t length_ = 0;             // bytes so far
};

Digest sha256(std::string_view bytes);
// 64 lower-case hexadecimal digits.
std::string to_hex(const Digest& digest);

}  // namespace kroton
