#include <kroton/csv.h>
#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "frontend/train/files.h"

namespace kroton::data {

namespace {

// Characters of numbers, of lines and of quotes, which cannot separate fields.
constexpr std::string_view not_separators{"0123456789+-.eEinfaNItyA\"\n\r\0", 27};

class Writer {
 public:
  explicit Writer(const WriteCsvOptions& options) : options_(options) {}

  void text(std::string_view text) {
    if (needs_quotes(text)) {
      buffer += '"';
      for (const char c : text) {
        if (c == '"') buffer += '"';
        buffer += c;
      }
      buffer += '"';
    } else {
      buffer += text;
    }
  }

  void number(std::int64_t value) {
    char digits[32];
    const char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    buffer += std::string_view(digits, end);
  }

  void number(double value) {
    char digits[32];
    const char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    buffer += std::string_view(digits, end);
    // It is read as f64 again.
    if (std::isfinite(value) &&
        std::string_view(digits, end).find_first_of(".e") == std::string_view::npos) {
      buffer += ".0";
    }
  }

  void value(const Column& column, std::int64_t row) {
    if (column.is_missing(row)) {
      buffer += options_.missing;
    } else if (column.type() == ColumnType::text) {
      text(column.text(row));
    } else if (column.type() == ColumnType::i64) {
      number(column.i64_values()[static_cast<std::size_t>(row)]);
    } else {
      number(column.f64_values()[static_cast<std::size_t>(row)]);
    }
  }

  std::string buffer;

 private:
  bool needs_quotes(std::string_view text) const {
    // What a reader takes for no value, or takes off.
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    if (text.empty() || is_blank(text.front()) || is_blank(text.back())) return true;
    if (text == options_.missing || std::ranges::find(missing_, text) != missing_.end())
      return true;
    if (text.front() == '\xef' || text.front() == '\xfe' || text.front() == '\xff') return true;
    return std::ranges::any_of(text, [&](char c) {
      return c == options_.separator || c == '"' || c == '\n' || c == '\r' ||
             (options_.separator == ' ' && c == '\t');
    });
  }

  const WriteCsvOptions& options_;
  const std::vector<std::string> missing_ = CsvOptions().missing;
};

void check(const Table& table, const WriteCsvOptions& options) {
  if (not_separators.find(options.separator) != std::string_view::npos) {
    throw ValueError("write_csv: " + files::shown(std::string(1, options.separator)) +
                     " cannot separate fields");
  }
  const std::string& missing = options.missing;
  const bool by_runs = options.separator == ' ';
  if (missing.find_first_of(std::string("\"\n\r") + options.separator) != std::string::npos ||
      (by_runs && (missing.empty() || missing.find('\t') != std::string::npos))) {
    throw ValueError("write_csv: a missing value cannot be written as " + files::shown(missing));
  }
  if (table.columns() == 1 && options.missing.empty() && table.column(0).missing() > 0) {
    throw ValueError("write_csv: column " + files::shown(table.column(0).name()) +
                     " has missing values and is the only one: an empty line is no row");
  }
}

}  // namespace

void write_csv(const std::filesystem::path& path, const Table& table,
               const WriteCsvOptions& options) {
  check(table, options);
  constexpr std::size_t at_once = 1U << 20;
  files::OutputFile file(path);
  Writer writer(options);
  const std::int64_t columns = table.columns();
  for (std::int64_t k = 0; options.header && k < columns; ++k) {
    if (k > 0) writer.buffer += options.separator;
    writer.text(table.column(k).name());
  }
  if (options.header && columns > 0) writer.buffer += '\n';
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    for (std::int64_t k = 0; k < columns; ++k) {
      if (k > 0) writer.buffer += options.separator;
      writer.value(table.column(k), row);
    }
    writer.buffer += '\n';
    if (writer.buffer.size() < at_once) continue;
    file.write(writer.buffer);
    writer.buffer.clear();
  }
  file.write(writer.buffer);
  file.commit();
}

}  // namespace kroton::data
