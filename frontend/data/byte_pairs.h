// What learning and encoding byte pairs share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kroton::data {

// No token stands for more bytes. Damaged files could otherwise double them line by line.
constexpr std::size_t longest_token = 256;
constexpr std::int64_t largest_vocabulary = std::int64_t{1} << 24;

// The length of the piece at the front of a text that is not empty, within which merges stay.
std::size_t piece_length(std::string_view text);

// A pair of tokens as a key.
inline std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

}  // namespace kroton::data
