#include "frontend/data/csv_rows.h"

#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace kroton::data {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether a number that from_chars finds out of range is too large rather than too small: by the
// power of ten of its first digit.
bool is_huge(std::string_view text) {
  std::int64_t power = 0;  // of the digit before the point
  std::size_t k = 0;
  while (k < text.size() && !is_digit(text[k]) && text[k] != '.') ++k;
  const std::size_t point = std::min(text.find('.', k), text.find_first_of("eE", k));
  const std::size_t whole_end = std::min(point, text.size());
  const std::size_t first = text.find_first_of("123456789", k);
  if (first < whole_end) {
    power = static_cast<std::int64_t>(whole_end - first);
  } else if (first != std::string_view::npos) {
    power = -static_cast<std::int64_t>(first - whole_end);
  }
  const std::size_t mark = text.find_first_of("eE", k);
  if (mark == std::string_view::npos) return power > 0;
  std::string_view digits = text.substr(mark + 1);
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  // Far enough for any number of digits that fits in memory.
  std::int64_t exponent = 0;
  for (const char c : digits) {
    exponent = std::min<std::int64_t>(exponent * 10 + (c - '0'), std::int64_t{1} << 50);
  }
  return power + (negative ? -exponent : exponent) > 0;
}

// Without a plus sign, which from_chars does not know.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  return plus ? text.substr(1) : text;
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
  text = without_plus(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  if (value == 0 && text[0] == '-') return {};
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  text = without_plus(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return {};
  if (error == std::errc::result_out_of_range) {
    value = is_huge(text) ? std::numeric_limits<double>::infinity() : 0.0;
    return text[0] == '-' ? -value : value;
  }
  // from_chars takes nan(...) for a number.
  if (std::isnan(value) && text.back() == ')') return {};
  return value;
}

CsvRows::CsvRows(std::string_view text, const CsvOptions& options,
                 const std::filesystem::path& path)
    : options_(options),
      path_(path),
      by_runs_(options.separator == ' '),
      begin_(text.data()),
      end_(text.data() + text.size()) {
  for (const char c : {options.separator, '\n', '\r', '\0'}) {
    kinds_[static_cast<unsigned char>(c)] |= ends_field;
  }
  for (const char c : {' ', '\t'}) {
    if (by_runs_) kinds_[static_cast<unsigned char>(c)] |= ends_field;
    if (by_runs_ || c != options.separator) kinds_[static_cast<unsigned char>(c)] |= blank;
  }
  restart();
}

void CsvRows::restart() {
  at_ = begin_;
  line_ = 1;
  for (std::int64_t k = 0; k < options_.skip_rows && at_ != end_; ++k) skip_line();
}

void CsvRows::fail(std::size_t field, const std::string& message) const {
  throw IoError(path_.string() + ": line " + std::to_string(row_line_) + ", column " +
                std::to_string(field + 1) + ": " + message);
}

std::string_view CsvRows::trimmed(std::string_view text) const {
  while (!text.empty() && is(text.front(), blank)) text.remove_prefix(1);
  while (!text.empty() && is(text.back(), blank)) text.remove_suffix(1);
  return text;
}

void CsvRows::step_back() {
  at_ = row_;
  line_ = row_line_;
}

void CsvRows::skip_blanks() {
  while (at_ != end_ && is(*at_, blank)) ++at_;
}

// Past the separator; false at the end of the row.
bool CsvRows::to_next_field() {
  if (by_runs_) skip_blanks();
  if (at_line_end()) return false;
  if (!by_runs_) ++at_;
  return true;
}

void CsvRows::skip_line_end() {
  if (at_ == end_) return;
  if (*at_ == '\r' && at_ + 1 != end_ && at_[1] == '\n') ++at_;
  ++at_;
  ++line_;
}

void CsvRows::skip_line() {
  while (!at_line_end()) ++at_;
  skip_line_end();
}

// Past comments and lines that are empty; false at the end of the file.
bool CsvRows::skip_to_row() {
  while (at_ != end_) {
    if (options_.comment != '\0' && *at_ == options_.comment) {
      skip_line();
      continue;
    }
    const char* const start = at_;
    skip_blanks();
    if (!at_line_end()) {
      at_ = start;
      return true;
    }
    skip_line_end();
  }
  return false;
}

bool CsvRows::next() {
  if (!skip_to_row()) return false;
  row_ = at_;
  row_line_ = line_;
  fields_.clear();
  unescaped_.clear();
  if (by_runs_) skip_blanks();
  do {
    read_field();
  } while (to_next_field());
  if (expected_ == 0) expected_ = fields_.size();
  if (fields_.size() != expected_) {
    fail(
        std::min(fields_.size() - 1, expected_),
        "expected " + std::to_string(expected_) + " fields, got " + std::to_string(fields_.size()));
  }
  skip_line_end();
  return true;
}

void CsvRows::read_field() {
  if (options_.trim) skip_blanks();
  if (options_.quote != '\0' && at_ != end_ && *at_ == options_.quote) {
    read_quoted();
    return;
  }
  const char* const start = at_;
  const char* at = start;
  for (;;) {
    while (!is(*at, ends_field)) ++at;
    if (*at != '\0' || at == end_) break;  // a '\0' is a character like others
    ++at;
  }
  at_ = at;
  std::string_view text(start, static_cast<std::size_t>(at - start));
  if (options_.trim) text = trimmed(text);
  fields_.push_back({text});
}

void CsvRows::read_quoted() {
  const char quote = options_.quote;
  const std::int64_t opened = line_;
  const char* start = ++at_;
  std::string* joined = nullptr;
  for (;; ++at_) {
    while (at_ != end_ && *at_ != quote) {
      if (*at_ == '\n' || (*at_ == '\r' && (at_ + 1 == end_ || at_[1] != '\n'))) ++line_;
      ++at_;
    }
    if (at_ == end_) {
      row_line_ = opened;
      fail(fields_.size(), "the quote that opens here is not closed");
    }
    if (at_ + 1 == end_ || at_[1] != quote) break;
    ++at_;  // the second quote of two, the first of which stays
    if (joined == nullptr) joined = &unescaped_.emplace_back();
    joined->append(start, at_);
    start = at_ + 1;
  }
  std::string_view text(start, static_cast<std::size_t>(at_ - start));
  if (joined != nullptr) text = joined->append(text);
  ++at_;
  if (options_.trim) skip_blanks();
  if (!at_line_end() && *at_ != options_.separator && !(by_runs_ && *at_ == '\t')) {
    row_line_ = line_;
    fail(fields_.size(), "expected the separator or the end of the line after the closing quote");
  }
  fields_.push_back({text, true});
}

}  // namespace kroton::data
