// The fields of tables in text files, row by row, and the numbers in them.
#pragma once
#include <kroton/csv.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kroton::data {

struct CsvField {
  std::string_view text;
  bool quoted = false;
};

// Whole numbers within 64 bits, "-0" left out, which is none. Without blanks around them.
std::optional<std::int64_t> parse_integer(std::string_view text);
// The nearest number, infinite beyond the largest one. Without blanks around it.
std::optional<double> parse_real(std::string_view text);

class CsvRows {
 public:
  // `text` ends in a '\0' that is not part of it and outlives the rows; so do the options.
  CsvRows(std::string_view text, const CsvOptions& options, const std::filesystem::path& path);

  // Goes to the next row; false after the last one. All have as many fields as the first one.
  bool next();
  // Valid until next().
  std::span<const CsvField> fields() const { return fields_; }
  // Before the row that next() gave last, which it gives again.
  void step_back();
  // Before the first row.
  void restart();
  std::int64_t line() const { return row_line_; }  // where the row begins, from 1

  // IoError at a field of the row, by its number from 0.
  [[noreturn]] void fail(std::size_t field, const std::string& message) const;

  // A field without the blanks around it.
  std::string_view trimmed(std::string_view text) const;

 private:
  static constexpr std::uint8_t ends_field = 1, blank = 2;
  bool is(char c, std::uint8_t kind) const {
    return (kinds_[static_cast<unsigned char>(c)] & kind) != 0;
  }
  bool at_line_end() const { return at_ == end_ || *at_ == '\n' || *at_ == '\r'; }
  void skip_blanks();
  bool to_next_field();
  void skip_line();
  void skip_line_end();
  bool skip_to_row();
  void read_field();
  void read_quoted();

  const CsvOptions& options_;
  const std::filesystem::path& path_;
  const bool by_runs_;  // of blanks, as separators
  const char* begin_;
  const char* end_;
  const char* at_ = nullptr;
  const char* row_ = nullptr;  // where the last one begins
  std::int64_t line_ = 1, row_line_ = 1;
  std::array<std::uint8_t, 256> kinds_{};
  std::vector<CsvField> fields_;
  std::deque<std::string> unescaped_;  // of fields that have quotes inside
  std::size_t expected_ = 0;           // 0: what the first row has
};

}  // namespace kroton::data
