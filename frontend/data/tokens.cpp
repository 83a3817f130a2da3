#include "frontend/data/tokens.h"

#include <kroton/error.h>

#include <algorithm>

namespace kroton::data {

void check_tokens(const char* vocabulary, std::span<const std::int64_t> tokens, std::int64_t size) {
  const auto bad =
      std::ranges::find_if(tokens, [&](std::int64_t token) { return token < 0 || token >= size; });
  if (bad == tokens.end()) return;
  throw ValueError(std::string(vocabulary) + ": token " + std::to_string(*bad) + " at position " +
                   std::to_string(bad - tokens.begin()) + " is out of range for " +
                   std::to_string(size) + " tokens");
}

Array as_tokens(const char* function, const Array& tokens) {
  if (!is_integer(tokens.dtype())) {
    throw TypeError(std::string(function) + ": expected tokens of i64 or i32, got " +
                    std::string(name_of(tokens.dtype())));
  }
  return tokens.cast(i64).contiguous();
}

}  // namespace kroton::data
