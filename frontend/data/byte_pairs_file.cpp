// Byte pairs in files: readable, and checked as they are read.
#include <kroton/error.h>
#include <kroton/text.h>

#include <charconv>
#include <string>

#include "frontend/data/byte_pairs.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

constexpr std::string_view first_line = "kroton byte pairs 1";

// The bytes of a token in characters without blanks.
std::string readable(std::string_view bytes) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    if (c > ' ' && c <= '~' && c != '\\') {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return text;
}

// The lines of a file.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path)
      : path_(path), text_(read_text(path, {.bytes = true})), rest_(text_) {}

  // The next one, or "expected `what`".
  std::string_view next(const std::string& what) {
    ++number_;
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) {
      fail("expected " + what +
           (rest_.empty() ? ", got the end of the file" : " and a line break"));
    }
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

  void expect_end() {
    ++number_;
    if (!rest_.empty()) fail("expected the end of the file after the last merge");
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw IoError(path_.string() + ": line " + std::to_string(number_) + ": " + message);
  }

 private:
  const std::filesystem::path& path_;
  std::string text_;
  std::string_view rest_;
  std::int64_t number_ = 0;
};

// Takes a number and the blank after it from the front of a line.
bool take_number(std::string_view& line, std::int64_t& number) {
  const char* const end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, number);
  if (error != std::errc() || stop == end || *stop != ' ' || number < 0) return false;
  line.remove_prefix(static_cast<std::size_t>(stop + 1 - line.data()));
  return true;
}

}  // namespace

void BytePairEncoding::save(const std::filesystem::path& path) const {
  std::string text(first_line);
  text += '\n' + std::to_string(merges_.size()) + " merges\n";
  for (std::size_t k = 0; k < merges_.size(); ++k) {
    const auto [left, right] = merges_[k];
    text += std::to_string(left) + ' ' + std::to_string(right) + ' ' + readable(tokens_[256 + k]) +
            '\n';
  }
  files::OutputFile file(path);
  file.write(text);
  file.commit();
}

BytePairEncoding BytePairEncoding::load(const std::filesystem::path& path) {
  Lines lines(path);
  const std::string_view first = lines.next(files::shown(first_line));
  if (first != first_line) {
    lines.fail("expected " + files::shown(first_line) + ", got " + files::shown(first));
  }
  BytePairEncoding result;
  std::int64_t count = 0;
  std::string_view line = lines.next("the number of merges");
  const std::string_view second = line;
  if (!take_number(line, count) || line != "merges" || count > largest_vocabulary - result.size()) {
    lines.fail("expected a number of merges up to " +
               std::to_string(largest_vocabulary - result.size()) + ", got " +
               files::shown(second));
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const std::string what = "merge " + std::to_string(k + 1) + " of " + std::to_string(count);
    const std::string_view whole = line = lines.next(what);
    std::int64_t left = 0, right = 0;
    if (!take_number(line, left) || !take_number(line, right)) {
      lines.fail("expected two tokens and their text, got " + files::shown(whole));
    }
    if (left >= result.size() || right >= result.size()) {
      lines.fail("expected two tokens below " + std::to_string(result.size()) + ", got " +
                 files::shown(whole));
    }
    const std::size_t length = result.token(left).size() + result.token(right).size();
    if (length > longest_token) {
      lines.fail("a token of " + std::to_string(length) + " bytes, above " +
                 std::to_string(longest_token));
    }
    if (result.merged_.contains(pair_key(left, right))) {
      lines.fail("tokens " + std::to_string(left) + " and " + std::to_string(right) +
                 " are merged twice");
    }
    result.add(left, right);
    if (const std::string text = readable(result.tokens_.back()); line != text) {
      lines.fail("tokens " + std::to_string(left) + " and " + std::to_string(right) + " are " +
                 files::shown(text) + ", got " + files::shown(line));
    }
  }
  lines.expect_end();
  return result;
}

}  // namespace kroton::data
