// What all vocabularies do alike.
#pragma once
#include <kroton/array.h>

#include <cstdint>
#include <span>
#include <string>

namespace kroton::data {

// ValueError unless all tokens are from 0 to size - 1. `vocabulary` begins the message.
void check_tokens(const char* vocabulary, std::span<const std::int64_t> tokens, std::int64_t size);

// An array of i64 or i32 as a row-major one of i64; TypeError for another dtype.
Array as_tokens(const char* function, const Array& tokens);

// Decodes an array's tokens in row-major order.
template <class Vocabulary>
std::string decode_array(const char* function, const Vocabulary& vocabulary, const Array& tokens) {
  const Array all = as_tokens(function, tokens);
  return vocabulary.decode(all.template data<std::int64_t>());
}

}  // namespace kroton::data
