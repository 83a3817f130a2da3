// Texts from files, and their characters.
#include <kroton/error.h>
#include <kroton/text.h>

#include <algorithm>
#include <string>
#include <vector>

#include "frontend/data/data_file.h"
#include "frontend/data/tokens.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

constexpr char32_t replacement = 0xfffd;

// The code point of a well-formed character.
char32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first;
  char32_t code = first & (0x7fU >> character.size());
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3fU);
  return code;
}

void append(std::string& text, char32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
  text += static_cast<char>((0xf80U >> more & 0xf0U) | code >> 6 * more);
  for (int k = more - 1; k >= 0; --k) text += static_cast<char>(0x80U | (code >> 6 * k & 0x3fU));
}

// Calls `take` with every character and its offset.
template <class Take>
void for_each_character(std::string_view text, const Take& take) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = files::utf8_character(text.substr(at));
    if (length == 0) {
      throw ValueError("CharacterVocabulary: the text is not UTF-8 at byte " + std::to_string(at));
    }
    take(text.substr(at, length), at);
    at += length;
  }
}

}  // namespace

std::string read_text(const std::filesystem::path& path, const TextOptions& options) {
  DataFile file(path);
  std::string text = file.read_rest();
  if (options.bytes) return text;
  const std::size_t valid = files::valid_utf8_prefix(text);
  if (valid != text.size()) {
    file.fail(static_cast<std::int64_t>(valid), "the text is not UTF-8 from here");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  return text;
}

CharacterVocabulary::CharacterVocabulary(std::string_view text, const CharacterOptions& options)
    : options_(options) {
  std::vector<bool> seen;
  for_each_character(text, [&](std::string_view character, std::size_t) {
    const char32_t code = code_point(character);
    if (code >= seen.size()) seen.resize(code + 1);
    seen[code] = true;
  });
  for (char32_t code = 0; code < seen.size(); ++code) {
    if (seen[code]) characters_.push_back(code);
  }
}

std::int64_t CharacterVocabulary::size() const {
  return static_cast<std::int64_t>(characters_.size()) + (options_.unknown ? 1 : 0);
}

std::vector<std::int64_t> CharacterVocabulary::encode(std::string_view text) const {
  std::vector<std::int64_t> tokens;
  tokens.reserve(text.size());
  const std::int64_t first = options_.unknown ? 1 : 0;
  for_each_character(text, [&](std::string_view character, std::size_t offset) {
    const char32_t code = code_point(character);
    const auto at = std::ranges::lower_bound(characters_, code);
    if (at != characters_.end() && *at == code) {
      tokens.push_back(at - characters_.begin() + first);
    } else if (options_.unknown) {
      tokens.push_back(0);
    } else {
      throw ValueError("CharacterVocabulary: " + files::shown(character) + " at byte " +
                       std::to_string(offset) + " is not in the vocabulary");
    }
  });
  return tokens;
}

std::string CharacterVocabulary::decode(std::span<const std::int64_t> tokens) const {
  check_tokens("CharacterVocabulary", tokens, size());
  std::string text;
  text.reserve(tokens.size());
  const std::int64_t first = options_.unknown ? 1 : 0;
  for (const std::int64_t token : tokens) {
    append(text,
           token < first ? replacement : characters_[static_cast<std::size_t>(token - first)]);
  }
  return text;
}

std::string CharacterVocabulary::decode(const Array& tokens) const {
  return decode_array("CharacterVocabulary", *this, tokens);
}

std::string CharacterVocabulary::characters() const {
  std::string text;
  for (const char32_t code : characters_) append(text, code);
  return text;
}

}  // namespace kroton::data
