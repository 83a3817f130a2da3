#include <kroton/error.h>
#include <kroton/text.h>

#include <algorithm>
#include <string>

#include "frontend/data/tokens.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Calls `take` with every word.
template <class Take>
void for_each_word(std::string_view text, const Take& take) {
  for (std::size_t at = 0; at < text.size();) {
    if (is_blank(text[at])) {
      ++at;
      continue;
    }
    std::size_t end = at + 1;
    if (is_letter(text[at])) {
      const auto goes_on = [&](std::size_t k) {
        return k < text.size() && (is_letter(text[k]) || (text[k] == '\'' && k + 1 < text.size() &&
                                                          is_letter(text[k + 1])));
      };
      while (goes_on(end)) ++end;
    }
    take(text.substr(at, end - at));
    at = end;
  }
}

// The small letter of a capital one of two bytes of UTF-8, which has two bytes too.
unsigned small_letter(unsigned code) {
  const auto within = [&](unsigned first, unsigned last) { return code >= first && code <= last; };
  if (within(0xc0, 0xde) && code != 0xd7) return code + 32;
  if (code == 0x178) return 0xff;
  // Latin Extended-A: pairs of neighbours, but for the dotted I.
  if ((within(0x100, 0x137) && code != 0x130) || within(0x14a, 0x177)) return code | 1;
  if (within(0x139, 0x148) || within(0x179, 0x17e)) return code + code % 2;
  if (code == 0x386) return 0x3ac;
  if (within(0x388, 0x38a)) return code + 37;
  if (code == 0x38c) return 0x3cc;
  if (within(0x38e, 0x38f)) return code + 63;
  if (within(0x391, 0x3ab) && code != 0x3a2) return code + 32;
  if (within(0x400, 0x40f)) return code + 80;
  if (within(0x410, 0x42f)) return code + 32;
  return code;
}

std::string in_lower_case(std::string_view word) {
  std::string result(word);
  for (std::size_t k = 0; k < result.size();) {
    const std::size_t length = files::utf8_character(std::string_view(result).substr(k));
    if (length == 1 && result[k] >= 'A' && result[k] <= 'Z') {
      result[k] = static_cast<char>(result[k] + ('a' - 'A'));
    } else if (length == 2) {
      const auto first = static_cast<unsigned char>(result[k]);
      const auto second = static_cast<unsigned char>(result[k + 1]);
      const unsigned code = small_letter((first & 0x1fU) << 6 | (second & 0x3fU));
      result[k] = static_cast<char>(0xc0U | code >> 6);
      result[k + 1] = static_cast<char>(0x80U | (code & 0x3fU));
    }
    k += std::max<std::size_t>(length, 1);
  }
  return result;
}

}  // namespace

WordVocabulary::WordVocabulary(std::string_view text, const WordOptions& options)
    : lower_case_(options.lower_case) {
  if (options.most < 0) {
    throw ValueError("WordVocabulary: most is " + std::to_string(options.most));
  }
  if (options.at_least < 1) {
    throw ValueError("WordVocabulary: at_least is " + std::to_string(options.at_least));
  }
  std::unordered_map<std::string, std::int64_t> counts;
  for_each_word(text, [&](std::string_view word) {
    ++counts[lower_case_ ? in_lower_case(word) : std::string(word)];
  });
  std::vector<std::pair<std::string, std::int64_t>> sorted;
  for (const auto& [word, count] : counts) {
    if (count >= options.at_least) sorted.emplace_back(word, count);
  }
  std::ranges::sort(sorted, [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  const auto most = static_cast<std::size_t>(options.most);
  if (most > 0 && sorted.size() > most - 1) sorted.resize(most - 1);
  for (const auto& [word, count] : sorted) add(word);
}

WordVocabulary WordVocabulary::of(const std::vector<std::string>& words, bool lower_case) {
  WordVocabulary vocabulary;
  vocabulary.lower_case_ = lower_case;
  for (const std::string& word : words) vocabulary.add(word);
  return vocabulary;
}

void WordVocabulary::add(const std::string& word) {
  if (!tokens_.emplace(word, size()).second) {
    throw ValueError("WordVocabulary: " + files::shown(word) + " is listed twice");
  }
  words_.push_back(word);
}

std::vector<std::int64_t> WordVocabulary::encode(std::string_view text) const {
  std::vector<std::int64_t> tokens;
  for_each_word(text, [&](std::string_view word) {
    const auto at = tokens_.find(lower_case_ ? in_lower_case(word) : std::string(word));
    tokens.push_back(at == tokens_.end() ? unknown : at->second);
  });
  return tokens;
}

std::string WordVocabulary::decode(std::span<const std::int64_t> tokens) const {
  check_tokens("WordVocabulary", tokens, size());
  std::string text;
  for (const std::int64_t token : tokens) {
    if (!text.empty()) text += ' ';
    text += words_[static_cast<std::size_t>(token)];
  }
  return text;
}

std::string WordVocabulary::decode(const Array& tokens) const {
  return decode_array("WordVocabulary", *this, tokens);
}

std::vector<std::string> WordVocabulary::words() const {
  return {words_.begin() + 1, words_.end()};
}

}  // namespace kroton::data
