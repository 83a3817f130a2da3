// Random damage to the bytes of a file.
#pragma once
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

// A few bytes are changed, or some are missing, doubled, or in the wrong place.
template <class Random>
Bytes damaged(Bytes bytes, Random& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  const auto place = [&] {
    return bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size()));
  };
  switch (random() % 6) {
    case 0:  // a bit
    case 1:  // bytes
      if (bytes.empty()) break;
      for (std::size_t k = 0, count = 1 + below(4); k < count; ++k) {
        *place() = static_cast<std::uint8_t>(random());
      }
      *place() ^= static_cast<std::uint8_t>(1U << below(8));
      break;
    case 2:  // the end
      bytes.resize(below(bytes.size()));
      break;
    case 3: {  // a digit, which changes sizes and offsets in headers
      const auto digit = std::find_if(place(), bytes.end(), [](int c) { return std::isdigit(c); });
      if (digit != bytes.end()) *digit = static_cast<std::uint8_t>('0' + below(10));
      break;
    }
    case 4: {  // some bytes twice
      const auto from = place();
      const Bytes again(from, from + static_cast<std::ptrdiff_t>(
                                         below(static_cast<std::size_t>(bytes.end() - from))));
      bytes.insert(place(), again.begin(), again.end());
      break;
    }
    default: {  // some bytes not at all
      const auto from = place();
      bytes.erase(from, from + static_cast<std::ptrdiff_t>(
                                   below(static_cast<std::size_t>(bytes.end() - from))));
    }
  }
  return bytes;
}

// One of `words`, or a number as binary headers have them that is very large, put in or in place of
// what was there.
template <class Random>
Bytes with_a_word(Bytes bytes, const std::vector<std::string>& words, Random& random) {
  constexpr std::uint32_t extremes[] = {0xffffffff, 0x7fffffff, 0x80000000, 0x00ffffff,
                                        0x01000000, 0x0000ffff, 0xfffffff8, 0};
  Bytes word;
  if (words.empty() || random() % 4 == 0) {
    const std::uint32_t number = extremes[random() % std::size(extremes)];
    for (int k = 0; k < 4; ++k) word.push_back(static_cast<std::uint8_t>(number >> 8 * k));
    if (random() % 2 == 0) std::ranges::reverse(word);
  } else {
    const std::string& text = words[random() % words.size()];
    word.assign(text.begin(), text.end());
  }
  const std::size_t at = random() % (bytes.size() + 1);
  const std::size_t replaced =
      random() % 2 == 0 ? 0 : std::min<std::size_t>(word.size(), bytes.size() - at);
  const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  bytes.erase(place, place + static_cast<std::ptrdiff_t>(replaced));
  bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), word.begin(), word.end());
  return bytes;
}
