#include "frontend/train/json_header.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdio>

#include "frontend/train/files.h"

namespace kroton::files {

namespace {

void append_utf8(std::string& to, std::uint32_t code) {
  const auto append = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xc0 | code >> 6);
    append(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    append(0xe0 | code >> 12);
    append(0x80 | (code >> 6 & 0x3f));
    append(0x80 | (code & 0x3f));
  } else {
    append(0xf0 | code >> 18);
    append(0x80 | (code >> 12 & 0x3f));
    append(0x80 | (code >> 6 & 0x3f));
    append(0x80 | (code & 0x3f));
  }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::size_t JsonReader::position() {
  at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size());
  return at_;
}

void JsonReader::fail(std::size_t position, const std::string& message) {
  fail_(position, context_ + message);
  throw InternalError("JsonReader: a failure that throws nothing");
}

void JsonReader::fail_expected(const std::string& what) {
  const std::size_t start = position();
  fail(start,
       "expected " + what + ", got " +
           (start == text_.size() ? "the end of the header" : shown(text_.substr(start, 1))));
}

bool JsonReader::next_is(char token) { return position() < text_.size() && text_[at_] == token; }

void JsonReader::expect(char token, const std::string& what) {
  if (!next_is(token)) fail_expected(what);
  ++at_;
}

void JsonReader::expect_end() {
  if (position() != text_.size()) fail_expected("the end of the header");
}

std::uint64_t JsonReader::whole_number(const std::string& what) {
  const std::size_t start = position();
  if (start == text_.size() || !is_digit(text_[start])) fail_expected(what);
  std::int64_t value = 0;
  for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, text_[at_] - '0', &value)) {
      fail(start, "a number that 63 bits do not hold");
    }
  }
  if (text_[start] == '0' && at_ > start + 1) fail(start, "a number with a 0 in front");
  return static_cast<std::uint64_t>(value);
}

std::uint32_t JsonReader::hexadecimal() {
  std::uint32_t value = 0;
  for (int k = 0; k < 4; ++k, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : ' ';
    const char lower = static_cast<char>(c | 0x20);
    const bool is_letter = lower >= 'a' && lower <= 'f';
    if (!is_digit(c) && !is_letter) fail(at_, "\\u without four hexadecimal digits");
    value = 16 * value + static_cast<std::uint32_t>(is_letter ? lower - 'a' + 10 : c - '0');
  }
  return value;
}

// After the backslash.
void JsonReader::escape(std::string& to) {
  static constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
  const std::size_t start = at_ - 1;
  const char c = at_ < text_.size() ? text_[at_++] : ' ';
  if (const std::size_t k = names.find(c); k != std::string_view::npos) {
    to += meanings[k];
    return;
  }
  if (c != 'u') fail(start, "an escape that JSON does not have");
  std::uint32_t code = hexadecimal();
  if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
    at_ += 2;
    const std::uint32_t low = hexadecimal();
    if (low < 0xdc00 || low > 0xdfff) fail(start, "half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xd800 && code < 0xe000) {
    fail(start, "half of a surrogate pair");
  }
  append_utf8(to, code);
}

std::string JsonReader::string(const std::string& what) {
  expect('"', what);
  std::string result;
  while (true) {
    if (at_ == text_.size()) fail(at_, "the header ends in a string");
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c < 0x20) fail(at_, "a control character in a string");
    ++at_;
    if (c == '"') return result;
    if (c == '\\') {
      escape(result);
    } else {
      result += static_cast<char>(c);
    }
  }
}

void JsonReader::object(const std::string& what,
                        const std::function<void(const std::string&, std::size_t)>& member) {
  expect('{', what);
  if (next_is('}')) {
    ++at_;
    return;
  }
  while (true) {
    const std::size_t start = position();
    const std::string key = string("a name in quotes");
    expect(':', "':'");
    member(key, start);
    if (!next_is(',')) break;
    ++at_;
  }
  expect('}', "',' or '}'");
}

void JsonReader::list(const std::string& what, const std::function<void()>& element) {
  expect('[', what);
  if (next_is(']')) {
    ++at_;
    return;
  }
  while (true) {
    element();
    if (!next_is(',')) break;
    ++at_;
  }
  expect(']', "',' or ']'");
}

std::string json_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      result += escaped;
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace kroton::files
